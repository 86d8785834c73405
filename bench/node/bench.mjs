// The Node.js contender of the benchmark: `bench.mjs listen` and `bench.mjs dial` are the two ends of one pair,
// `bench.mjs local` tells what the library costs by itself. See README.md for the command line.
import { parseArgs } from 'node:util'

const BULK = '/bench/bulk/1.0.0'
const ECHO = '/bench/echo/1.0.0'
const REQUEST = '/bench/request/1.0.0'
const COUNT = '/bench/count/1.0.0'
const TOPIC = 'bench'

/** Milliseconds that nothing may arrive before the rest of the messages counts as lost. */
const QUIET = 3000
/** Messages handed to publish() before the first of them is awaited. */
const AHEAD = 256

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    scenario: { type: 'string', default: 'bulk' },
    transport: { type: 'string', default: 'tcp' },
    security: { type: 'string', default: 'tls' },
    peer: { type: 'string', default: '' },
    signing: { type: 'string', default: 'sign' },
    size: { type: 'string', default: '65536' },
    bytes: { type: 'string', default: String(256 << 20) },
    count: { type: 'string', default: '1000' },
    inflight: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '5' },
  },
})
const o = { ...values }
for (const key of ['size', 'bytes', 'count', 'inflight', 'seconds']) o[key] = Number(values[key])

const now = () => performance.now()
const say = (result) => process.stdout.write(`${JSON.stringify(result)}\n`)
const drained = (stream) => new Promise((resolve) => stream.once('drain', resolve))

function percentiles(times) {
  times.sort((a, b) => a - b)
  const at = (q) => (times[Math.floor(q * (times.length - 1))] ?? 0) * 1000
  return { p50_us: at(0.5), p99_us: at(0.99) }
}

async function readAll(stream) {
  const chunks = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}

// ---- listening

function serve(node) {
  node.handle(BULK, async (stream) => {
    let total = 0
    stream.on('data', (chunk) => {
      total += chunk.length
    })
    await new Promise((resolve, reject) => stream.once('end', resolve).once('error', reject))
    const answer = Buffer.alloc(8)
    answer.writeBigUInt64BE(BigInt(total))
    stream.end(answer)
  })
  node.handle(ECHO, (stream) => {
    stream.on('data', (chunk) => stream.write(chunk)).on('end', () => stream.end())
    stream.on('error', () => {})
  })
  node.onRequest(REQUEST, (question) => question)
}

function countMessages(node) {
  const subscription = node.subscribe(TOPIC)
  let received = 0
  let first = 0
  let last = 0
  const consume = async () => {
    for await (const _ of subscription) {
      last = now()
      if (received++ === 0) first = last
    }
  }
  consume()
  node.handle(COUNT, async (stream) => {
    const expected = Number((await readAll(stream)).readBigUInt64BE())
    const asked = now()
    while (received < expected && now() - Math.max(last, asked) < QUIET) {
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    stream.end(JSON.stringify({ received, seconds: (last - first) / 1000 }))
  })
}

// ---- dialling

async function bulk(node, peer) {
  const block = Buffer.alloc(o.size)
  const stream = await node.open(peer, BULK)
  const start = now()
  for (let sent = 0; sent < o.bytes && now() - start < o.seconds * 1000; sent += block.length) {
    if (!stream.write(block)) await drained(stream)
  }
  stream.end()
  const bytes = Number((await readAll(stream)).readBigUInt64BE())
  return { bytes, seconds: (now() - start) / 1000 }
}

async function roundtrip(node, peer) {
  const message = Buffer.alloc(o.size)
  const stream = await node.open(peer, ECHO)
  const times = []
  const end = now() + o.seconds * 1000
  await new Promise((resolve, reject) => {
    let before = now()
    let got = 0
    stream.on('error', reject).on('data', (chunk) => {
      got += chunk.length
      if (got < o.size) return
      got = 0
      const after = now()
      times.push(after - before)
      if (times.length >= o.count || after >= end) return resolve()
      before = after
      stream.write(message)
    })
    stream.write(message)
  })
  stream.end()
  return { count: times.length, ...percentiles(times) }
}

async function request(node, peer) {
  const question = Buffer.alloc(o.size)
  const times = []
  let asked = 0
  const ask = async () => {
    const before = now()
    const answer = await node.request(peer, REQUEST, question)
    if (answer.length !== o.size) throw new Error(`an answer of ${answer.length} bytes`)
    times.push(now() - before)
  }
  await ask() // identify and warm-up are not measured
  times.length = 0
  const start = now()
  const end = start + o.seconds * 1000
  const worker = async () => {
    while (asked++ < o.count && now() < end) await ask()
  }
  await Promise.all(Array.from({ length: o.inflight }, worker))
  return { count: times.length, seconds: (now() - start) / 1000, ...percentiles(times) }
}

async function publish(node, peer) {
  const topic = node.join(TOPIC)
  const message = Buffer.alloc(o.size)
  await topic.publish(message, { minPeers: 1 })
  const start = now()
  for (let i = 1; i < o.count; ) {
    const ahead = []
    for (const end = Math.min(o.count, i + AHEAD); i < end; i++) {
      message.writeUInt32BE(i)
      ahead.push(topic.publish(message))
    }
    await Promise.all(ahead)
  }
  const published = (now() - start) / 1000
  const stream = await node.open(peer, COUNT)
  const question = Buffer.alloc(8)
  question.writeBigUInt64BE(BigInt(o.count))
  stream.end(question)
  return { sent: o.count, publish_seconds: published, ...JSON.parse(await readAll(stream)) }
}

// ---- by itself

/** Nanoseconds for one event to reach a function of this program, with its bytes: what waits is drained in one go. */
function eventCost(queue, total) {
  const payload = Buffer.alloc(100, 1)
  let seen = 0
  let sum = 0
  queue.enter()
  const tag = queue.add({
    onEvent(event) {
      sum += event.data()[0]
      seen++
    },
  })
  const post = queue.lib.p2p_queue_post
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < 3; round++) {
    seen = 0
    for (let i = 0; i < total; i++) post(queue.handle, tag, i, payload, payload.length)
    const start = now()
    while (seen < total) queue.drain()
    best = Math.min(best, now() - start)
  }
  queue.remove(tag)
  queue.leave()
  return sum === 3 * total ? (best / total) * 1e6 : Number.NaN
}

function callCost(call) {
  const calls = 100_000
  for (let i = 0; i < calls; i++) call()
  const start = now()
  for (let i = 0; i < calls; i++) call()
  return ((now() - start) / calls) * 1e6
}

async function local() {
  const started = now()
  const { createNode } = await import('libp2pgo')
  const imported = now()
  // The module behind the package's front: calls and events are measured where the package itself makes them.
  const { native } = await import(new URL('./ffi.js', import.meta.resolve('libp2pgo')))
  const { queue } = await import(new URL('./queue.js', import.meta.resolve('libp2pgo')))
  const loading = now()
  const lib = native()
  const out = Buffer.alloc(8)
  lib.p2p_config_new(null, out) // the first call that enters Go waits until its packages are initialised
  const config = Number(out.readBigUInt64LE())
  const loaded = now()
  const node = await createNode({ listen: ['/ip4/127.0.0.1/tcp/0', '/ip4/127.0.0.1/udp/0/quic-v1'] })
  const up = now()
  const rss = process.memoryUsage.rss() / (1 << 20)
  const inbox = queue()
  say({
    import_ms: imported - started,
    load_ms: loaded - loading,
    first_node_ms: up - loaded,
    rss_mib: rss,
    noop_c_ns: callCost(() => lib.p2p_abi()),
    noop_go_ns: callCost(() => lib.p2p_kind(config)),
    event_ns: eventCost(inbox, o.count),
  })
  await node.close()
}

async function start() {
  const { createNode } = await import('libp2pgo')
  const listen = o.transport === 'quic' ? '/ip4/127.0.0.1/udp/0/quic-v1' : '/ip4/127.0.0.1/tcp/0'
  return createNode({ listen: [listen], security: [o.security], pubsub: { signing: o.signing } })
}

async function run(role) {
  if (role === 'local') return local()
  const node = await start()
  try {
    if (role === 'listen') {
      serve(node)
      if (o.scenario === 'pubsub') countMessages(node)
      say({ address: node.addresses[0] })
      for await (const _ of process.stdin);
    } else if (role === 'dial') {
      const scenario = { bulk, roundtrip, request, pubsub: publish }[o.scenario]
      if (!scenario) throw new Error(`unknown scenario ${o.scenario}`)
      say(await scenario(node, await node.connect(o.peer)))
    } else {
      throw new Error('usage: bench.mjs listen|dial|local --scenario NAME [--KEY VALUE ...]')
    }
  } finally {
    await node.close()
  }
}

await run(positionals[0])
