// A program with two nodes, open streams, requests and subscriptions in flight, that ends in the way it is told.
import { createNode } from 'libp2pgo'

const how = process.argv[2]
const listen = ['/ip4/127.0.0.1/tcp/0']
const a = await createNode({ listen })
const b = await createNode({ listen })
await a.connect(b.addresses)
b.handle('/flood/1', (stream) => stream.resume())
b.onRequest('/never/1', () => new Promise(() => {}))

for (let i = 0; i < 20; i++) {
  const stream = await a.open(b.id, '/flood/1')
  stream.on('error', () => {})
  const chunk = Buffer.alloc(64 * 1024)
  const flood = () => {
    while (!stream.destroyed && stream.write(chunk));
    stream.once('drain', flood)
  }
  flood()
  a.request(b.id, '/never/1', '').catch(() => {})
}
const detached = (await a.open(b.id, '/flood/1')).detach()
detached.on('error', () => {})
const subscription = a.subscribe('topic')
subscription.next()
for (let i = 0; i < 1000; i++) a.publish('topic', 'x').catch(() => {})

switch (how) {
  case 'exit':
    process.exit(7)
    break
  case 'throw':
    setTimeout(() => {
      throw new Error('thrown')
    }, 20)
    break
  case 'reject':
    setTimeout(() => Promise.reject(new Error('rejected')), 20)
    break
  case 'unref':
    a.unref()
    b.unref()
    detached.destroy()
    break
  case 'close':
    await a.close()
    await b.close()
    break
  case 'handler':
    process.on('SIGTERM', async () => {
      await a.close()
      await b.close()
      process.exitCode = 5
    })
    console.log('ready')
    break
  default:
    console.log('ready')
}
