// A node of the hash table that does what its standard input says, one command a line, and answers each with a line: ok RESULT, or error WORDS.
import { createInterface } from 'node:readline'
import { createNode } from 'libp2pgo'

const [identity, store] = process.argv.slice(2)
const node = await createNode({
  listen: ['/ip4/127.0.0.1/tcp/0'],
  identity,
  dht: { mode: 'server', validators: ['app=accept'], store },
})
const { dht } = node

const commands = {
  connect: (address) => node.connect(address),
  bootstrap: (peers) => dht.bootstrap(Number(peers)),
  put: (key, value) => dht.put(key, value),
  set: (name, value) => dht.set(name, value),
  provide: (key) => dht.provide(key),
  get: (key) => dht.get(key),
  peer: async (id) => (await dht.findPeer(id))[0],
  async providers(key) {
    const found = []
    for await (const { peer } of dht.findProviders(key)) found.push(peer)
    return found.join(' ')
  },
}

console.log(`ok ${node.id} ${node.addresses[0]}`)
for await (const line of createInterface({ input: process.stdin })) {
  const [command, ...words] = line.split(' ')
  try {
    console.log(`ok ${await commands[command](...words)}`)
  } catch (error) {
    console.log(`error ${error.message.replaceAll('\n', ' ')}`)
  }
}
await node.close()
