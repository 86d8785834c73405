// One of three: meets a Python and a C program, publishes and verifies messages, counts in words for whoever asks, and sends a file.
// README.md tells the whole story.
//
//   node demo.mjs ADDRESS MESSAGES FOLDER BYTES      ADDRESS: where the Python program listens; BYTES: size of the file
//
// Lines that begin with @ are for the program that started this one.
import { createHash, randomBytes } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createNode, RequestError } from 'libp2pgo'

const NAME = 'node'
const MIB = 1 << 20
const [host, messages, folder, bytes] = process.argv.slice(2)
const expected = Number(messages)
const size = Number(bytes)

const say = (...words) => console.log(...words)
const result = (...columns) => say(`@result ${columns.join('\t')}`)
const short = (peer) => `${peer.slice(0, 8)}...${peer.slice(-6)}`

/** Introduces us to the peer that we were told of, and meets the others it tells us of as they come. */
async function meet(node) {
  const python = await node.connect(host)
  say('connected to the one address that I was told')
  const friends = new Map()
  const hello = [NAME, ...node.addresses].join('\n')
  for await (const part of node.requestStream(python, '/demo/meet/1.0.0', hello)) {
    // A name and a peer id, then the peer's addresses.
    const [who, ...addresses] = part.toString().split('\n')
    const [name, peer] = who.split(' ')
    // Of two who hear of each other at the same moment one calls, or they would meet on two connections.
    if (NAME < name) await node.connect(addresses)
    friends.set(peer, name)
    say(`know ${name} now, ${short(peer)}`)
  }
  return { python, friends }
}

const text = (name, i) => `${name} says ${i + 1} of ${expected}`

/** Verifies every message of the others: who signed it, and what it says. Each must come exactly once. */
async function hear(subscription, friends) {
  const start = performance.now()
  const missing = new Map()
  for (const name of friends.values()) {
    missing.set(name, new Set(Array.from({ length: expected }, (_, i) => text(name, i))))
  }
  for await (const message of subscription) {
    if (message.local) continue
    if (!message.signed) throw new Error('a message without a signature')
    const name = friends.get(message.author) ?? 'a stranger'
    const words = message.data.toString()
    if (!missing.get(name)?.delete(words)) throw new Error(`${name} says what was not to be said: ${words}`)
    if (missing.get(name).size > 0) continue
    say(`heard all ${expected} messages of ${name}, each signed by ${name}`)
    if ([...missing.values()].every((left) => left.size === 0)) break
  }
  const many = friends.size * expected
  const took = `in ${Math.round(performance.now() - start)} ms`
  result(NAME, 'signed messages, author and words verified', `${many} of ${many}`, took)
}

async function publish(topic, peers) {
  for (let i = 0; i < expected; i++) await topic.publish(text(NAME, i), { minPeers: peers })
  say(`published ${expected} signed messages`)
}

const SMALL =
  'zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen'.split(
    ' ',
  )
const TENS = 'twenty thirty forty fifty sixty seventy eighty ninety'.split(' ')

function inWords(n) {
  if (n < 20) return SMALL[n]
  const rest = (unit, glue) => (n % unit ? glue + inWords(n % unit) : '')
  if (n < 100) return TENS[Math.floor(n / 10) - 2] + rest(10, '-')
  return `${inWords(Math.floor(n / 100))} hundred${rest(100, ' ')}`
}

/** Answers with one part per word. */
async function* count(question) {
  const n = Number(question.toString())
  if (!Number.isInteger(n) || n < 1 || n > 999) throw new RequestError(1, 'count to what?')
  for (let i = 1; i <= n; i++) yield* inWords(i).split(' ')
}

async function makeFile(path) {
  function* content() {
    for (let left = size; left > 0; left -= MIB) yield randomBytes(Math.min(left, MIB))
  }
  await pipeline(Readable.from(content()), createWriteStream(path))
  say(`made a file of ${(size / MIB).toFixed(1)} MiB with random content`)
}

/** Sends the file's size in eight bytes, then the file; the peer answers with the SHA-256 of what it got. */
async function sendFile(node, peer, path) {
  const start = performance.now()
  const stream = await node.open(peer, '/demo/file/1.0.0')
  const head = Buffer.alloc(8)
  head.writeBigUInt64BE(BigInt(size))
  stream.write(head)
  const sha = createHash('sha256')
  const file = createReadStream(path, { highWaterMark: 256 * 1024 })
  file.on('data', (chunk) => sha.update(chunk))
  await pipeline(file, stream, { end: false })
  stream.end()
  const answer = []
  for await (const chunk of stream) answer.push(chunk)
  const here = sha.digest('hex')
  const there = Buffer.concat(answer).toString('hex')
  if (here !== there) throw new Error(`the file at python differs: SHA-256 ${there}, not ${here}`)
  say(`@sha256 ${here}`)
  const rate = Math.round((size / MIB / (performance.now() - start)) * 1000)
  result('node -> python', 'file with random content, SHA-256 equal', `${(size / MIB).toFixed(1)} MiB`, `${rate} MiB/s`)
}

async function main() {
  const node = await createNode({ listen: ['/ip4/127.0.0.1/tcp/0', '/ip4/127.0.0.1/udp/0/quic-v1'] })
  const topic = node.join('demo/news')
  const subscription = topic.subscribe()
  const asked = new Promise((resolve) => {
    node.onRequest('/demo/count/1.0.0', async function* (question) {
      yield* count(question)
      resolve()
    })
  })
  const path = join(folder, 'file-of-node')
  const { python, friends } = await meet(node)
  await Promise.all([
    hear(subscription, friends),
    publish(topic, friends.size),
    asked,
    makeFile(path).then(() => sendFile(node, python, path)),
  ])
  // What was ours is done. The answer comes when everybody's is; until then we stay, for others may need us.
  await node.request(python, '/demo/done/1.0.0', NAME, { timeout: 120_000 })
  await node.close()
}

main().catch((error) => {
  console.error(error.stack)
  process.exit(1)
})
