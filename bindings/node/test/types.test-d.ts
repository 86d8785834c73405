// What the types allow and refuse; checked by the compiler, never run.
import type { Duplex } from 'node:stream'
import {
  type Bandwidth,
  type BandwidthInfo,
  createKey,
  createNode,
  DialError,
  type ErrorCode,
  type EventFlow,
  Libp2pError,
  type Message,
  type MetricSample,
  type Metrics,
  type MetricsServeOptions,
  type MetricsServer,
  type MetricsSnapshot,
  type Node,
  type NodeEvent,
  type Perf,
  type PerfOptions,
  type PerfResult,
  type PerfServeOptions,
  RequestError,
  type Server,
  type Stream,
  StreamResetError,
  type Subscription,
  type Topic,
} from 'libp2pgo'

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
function same<A, B>(_: Equal<A, B>): void {}

const node: Node = await createNode({
  identity: './node.key',
  listen: ['/ip4/127.0.0.1/tcp/0'],
  pubsub: { d: 8, signing: 'none' },
  mdns: { enabled: true },
  signal: AbortSignal.timeout(1000),
})
await createNode({ identity: createKey('rsa'), private_network: new Uint8Array(32) })
await createNode({ identity: { file: 'a', type: 'ecdsa' }, listen: null })

// @ts-expect-error an option that does not exist
await createNode({ pubsubs: {} })
// @ts-expect-error a value that is none of the choices
await createNode({ pubsub: { signing: 'maybe' } })
// @ts-expect-error one address is not a list
await createNode({ listen: '/ip4/127.0.0.1/tcp/0' })
// @ts-expect-error no such type of key
createKey('ed448')

same<typeof node.id, string>(true)
same<typeof node.addresses, string[]>(true)
// @ts-expect-error it is who it is
node.id = 'x'

same<Awaited<ReturnType<typeof node.connect>>, string>(true)
await node.connect(['/ip4/127.0.0.1/tcp/1/p2p/x'], { timeout: Number.POSITIVE_INFINITY })
await node.connect({ toString: () => 'an address object' })
// @ts-expect-error a timeout is a number
await node.connect('x', { timeout: '5s' })

const stream: Stream = await node.open('peer', ['/a/1', '/b/1'], { no_dial: true })
const duplex: Duplex = stream
duplex.end()
stream.reset(5)
stream.setDeadline({ read: 100 })
for await (const chunk of stream) same<typeof chunk, Buffer>(true)
for await (const frame of stream.frames({ max: 100 })) same<typeof frame, Buffer>(true)
const message = await stream.readMessage()
same<typeof message, Buffer | null>(true)
// @ts-expect-error a message is bytes or text
await stream.writeMessage(5)

node.handle('/echo/1', async (inbound) => {
  same<typeof inbound, Stream>(true)
})
// @ts-expect-error a handler is a function
node.handle('/echo/1', 'echo')

const answer = await node.request('peer', '/sum/1', new Uint8Array(3), { max_response: 100 })
same<typeof answer, Buffer>(true)
for await (const part of node.requestStream('peer', '/count/1', '3')) same<typeof part, Buffer>(true)
node.onRequest('/sum/1', async (data, { peer, signal, deadline }) => {
  same<typeof data, Buffer>(true)
  same<typeof peer, string>(true)
  same<typeof signal, AbortSignal>(true)
  same<typeof deadline, Date | null>(true)
  return 'text'
})
node.onRequest('/count/1', async function* () {
  yield Buffer.from('part')
})
// @ts-expect-error a number is no answer
node.onRequest('/sum/1', () => 5)

const topic: Topic = node.join('fruit', { max_size: 100, validate: (m) => m.data.length > 0 })
const subscription: Subscription = topic.subscribe({ overflow: 'drop_oldest' })
for await (const m of subscription) same<typeof m, Message>(true)
const peers = await topic.publish('x', { minPeers: 1 })
same<typeof peers, number>(true)
// @ts-expect-error no such policy
topic.subscribe({ overflow: 'wait' })
// @ts-expect-error a verdict is not a number
node.join('fruit', { validate: () => 1 })

const metrics: Metrics = node.metrics
const numbers: MetricsSnapshot = metrics.json()
for (const { labels, value } of numbers.metrics.x?.samples ?? ([] as MetricSample[])) {
  same<typeof labels, Record<string, string>>(true)
  same<typeof value, number | undefined>(true)
}
const bytes: BandwidthInfo = metrics.bandwidth()
const total: Bandwidth = bytes.total
same<typeof total.in, number>(true)
const serveMetrics: MetricsServeOptions = { max_connections: 1 }
const endpoint: MetricsServer = metrics.serve('', serveMetrics)
const perf: Perf = node.perf
const servePerf: PerfServeOptions = { max_streams: 1 }
const server: Server = perf.serve(servePerf)
for (const each of [endpoint, server]) each.close()
const run: PerfOptions = { allow_limited: true, timeout: 5 }
const took: PerfResult = await perf.run('peer', { upload: 5 }, run)
same<typeof took.upload_ms, number>(true)
// @ts-expect-error no such direction
await perf.run('peer', { uplod: 5 })

const known = node.peerInfo('peer')
same<typeof known.rtt_ms, number>(true)

node.on('peer:connect', ({ peer, relayed }) => {
  same<typeof peer, string>(true)
  same<typeof relayed, boolean>(true)
})
// @ts-expect-error no such event
node.on('peer:conect', () => {})
const events: EventFlow = node.events()
for await (const event of events) {
  same<typeof event, NodeEvent>(true)
  if (event.type === 'peer:discovery') same<typeof event.addresses, string[]>(true)
}

function explain(error: unknown): string {
  if (error instanceof DialError) return error.attempts.map(({ address, reason }) => `${address}: ${reason}`).join()
  if (error instanceof StreamResetError) {
    same<typeof error.code, 'ERR_LIBP2P_RESET'>(true)
    return String(error.reason)
  }
  if (error instanceof Libp2pError) {
    const code: ErrorCode = error.code
    // @ts-expect-error no such code
    return code === 'ERR_LIBP2P_NONSENSE' ? '' : code
  }
  return ''
}
explain(new RequestError(404, 'no such thing'))
// @ts-expect-error the reason is a number
new RequestError('404', 'no such thing')

const meeting = node.discovery.join('x', { sources: ['dht', 'peers'], max_peers: 3 })
for await (const peer of meeting) same<typeof peer, string>(true)
for await (const found of node.discovery.find('x')) same<typeof found.addresses, string[]>(true)
meeting.on('peer:unreachable', ({ error }) => same<typeof error, Libp2pError>(true))
// @ts-expect-error no such source
node.discovery.find('x', { sources: ['peers'] })
const registration = await node.discovery.register('/x', 'name', { ttl_ms: 5, timeout: 5 })
same<typeof registration.grantedMs, number>(true)

await node[Symbol.asyncDispose]()
