// Requests: one question, one answer (upper), or one question, a stream of answers (count).
//
//   node request.mjs serve
//   node request.mjs ask <address> upper <text>
//   node request.mjs ask <address> count <n>
import { createNode, RequestError } from 'libp2pgo'

const UPPER = '/examples/request/upper/1.0.0'
const COUNT = '/examples/request/count/1.0.0'

async function serve() {
  const node = await createNode({ listen: ['/ip4/127.0.0.1/tcp/0', '/ip4/127.0.0.1/udp/0/quic-v1'] })
  node.onRequest(UPPER, (data) => data.toString().toUpperCase())
  node.onRequest(COUNT, async function* (data) {
    const n = Number(data.toString())
    if (!Number.isInteger(n) || n < 1) throw new RequestError(1, 'count: want a number above 0')
    for (let i = 1; i <= n; i++) yield String(i)
  })
  for (const address of node.addresses) console.log(address)
  console.log()
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => node.close())
}

async function ask(address, kind, argument) {
  const node = await createNode({ listen: [] })
  try {
    const peer = await node.connect(address)
    if (kind === 'upper') {
      console.log((await node.request(peer, UPPER, argument)).toString())
    } else {
      for await (const part of node.requestStream(peer, COUNT, argument)) console.log(part.toString())
    }
  } finally {
    await node.close()
  }
}

function fail(error) {
  console.error(`request: ${error.message}`)
  process.exitCode = 1
}

const [command, address, kind, argument] = process.argv.slice(2)
if (command === 'serve') await serve().catch(fail)
else if (command === 'ask' && (kind === 'upper' || kind === 'count') && argument !== undefined) {
  await ask(address, kind, argument).catch(fail)
} else {
  console.error('usage: request.mjs serve | ask <address> upper <text> | ask <address> count <n>')
  process.exitCode = 2
}
