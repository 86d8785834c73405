// A worker with a node of its own: echoes requests to itself until it is told to stop, or terminated.
import { parentPort, workerData } from 'node:worker_threads'
import { createNode } from 'libp2pgo'

const node = await createNode({ listen: ['/ip4/127.0.0.1/tcp/0'] })
const peer = await createNode({ listen: ['/ip4/127.0.0.1/tcp/0'] })
peer.onRequest('/echo/1', (data) => data)
peer.handle('/flood/1', (stream) => stream.resume())
await node.connect(peer.addresses)
const stream = await node.open(peer.id, '/flood/1')
const flood = () => {
  while (stream.write(Buffer.alloc(16 * 1024)));
  stream.once('drain', flood)
}
if (workerData.flood) flood()
for (let i = 0; i < workerData.requests; i++) {
  const answer = await node.request(peer.id, '/echo/1', String(i))
  if (answer.toString() !== String(i)) throw new Error(`asked ${i}, was told ${answer}`)
}
parentPort.postMessage('done')
parentPort.once('message', async () => {
  stream.destroy()
  await node.close()
  await peer.close()
  parentPort.close()
})
