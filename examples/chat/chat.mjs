// Chat: what you type goes to everybody on the topic.
//
//   node chat.mjs [--listen <address>] [<address of somebody> ...]
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { createNode } from 'libp2pgo'

const TOPIC = 'examples-chat'

const { values, positionals } = parseArgs({ options: { listen: { type: 'string' } }, allowPositionals: true })
const listen = values.listen ? [values.listen] : ['/ip4/127.0.0.1/tcp/0', '/ip4/127.0.0.1/udp/0/quic-v1']
const node = await createNode({ listen })

for (const address of node.addresses) console.log(address)
console.log()

const topic = node.join(TOPIC)
const subscription = topic.subscribe()
topic.on('peer:join', (peer) => console.log(`* ${peer.slice(-6)} is here`))
topic.on('peer:leave', (peer) => console.log(`* ${peer.slice(-6)} left`))
for (const address of positionals) node.keep(address)

const input = createInterface({ input: process.stdin })
input.on('line', (line) => topic.publish(line).catch((error) => console.error(error.message)))
input.once('close', () => node.close())
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => input.close())

for await (const message of subscription) {
  if (!message.local) console.log(`${message.author.slice(-6)}: ${message.data}`)
}
