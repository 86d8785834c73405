// The actor in Node.js; README.md lists what it does.
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { createNode } from '../../../bindings/node/dist/index.js'

const ECHO = '/lab/echo/1'
// The header's names of the events.
const TYPES = {
  'peer:connect': 'peer_connected',
  'peer:disconnect': 'peer_disconnected',
  'peer:path': 'peer_path',
  'peer:discovery': 'peer_found',
  'peer:reconnect-failure': 'peer_unreachable',
  'self:peer:update': 'addresses',
  'nat:reachability': 'reachability',
  'nat:address': 'address_reachability',
  'nat:type': 'nat_type',
  'nat:hole-punch': 'hole_punch',
  'relay:reservation': 'reservation',
}

const nodes = []
const heardBy = []
const topics = new Map()

const say = (what) => process.stdout.write(`${JSON.stringify(what, (_, value) => (value instanceof Error ? value.message : value))}\n`)

async function tell(number, node) {
  for await (const { type, ...fields } of node.events()) say({ event: { node: number, type: TYPES[type] ?? type.replaceAll(/[:-]/g, '_'), ...fields } })
}

async function listen(subscription, heard) {
  for await (const message of subscription) {
    const what = message.data.toString()
    heard.set(what, (heard.get(what) ?? 0) + 1)
  }
}

const verbs = {
  async start({ nodes: count, options }) {
    const started = []
    for (let i = 0; i < count; i++) {
      const node = await createNode(options)
      node.onRequest(ECHO, (data) => data)
      tell(nodes.length, node)
      nodes.push(node)
      heardBy.push(new Map())
      started.push({ id: node.id, addresses: node.addresses })
    }
    return started
  },
  addresses: ({ node }) => nodes[node].addresses,
  connect: ({ node, to }) => nodes[node].connect(to),
  keep: ({ node, to }) => nodes[node].keep(to),
  disconnect: ({ node, peer }) => nodes[node].disconnect(peer),
  peers: ({ node }) => nodes[node].peers(),
  peer: ({ node, peer }) => nodes[node].peerInfo(peer),
  info: ({ node }) => nodes[node].info(),
  nat: ({ node }) => nodes[node].nat.info(),
  relay: ({ node }) => nodes[node].relay.info(),
  async ask({ node, peer, text, allow_limited = false, timeout_ms = 30000 }) {
    return (await nodes[node].request(peer, ECHO, text, { allow_limited, timeout: timeout_ms })).toString()
  },
  subscribe({ topic }) {
    topics.set(
      topic,
      nodes.map((node) => node.join(topic)),
    )
    topics.get(topic).forEach((joined, i) => {
      listen(joined.subscribe(), heardBy[i])
    })
  },
  members: ({ topic }) => topics.get(topic).map((joined) => joined.peers().length),
  counters: ({ topic }) => topics.get(topic).map((joined) => joined.info()),
  async publish({ topic, label, first, count, pause_ms }) {
    for (let n = first; n < first + count; n++) {
      await topics.get(topic)[n % nodes.length].publish(`${label} ${n}`)
      await pause(pause_ms)
    }
  },
  heard: ({ label }) =>
    heardBy.map((heard) => {
      const numbers = [...heard].filter(([what]) => what.startsWith(`${label} `)).map(([, n]) => n)
      return [numbers.length, numbers.reduce((a, b) => a + b, 0)]
    }),
  close: ({ node }) => nodes[node].close(),
}

async function obey({ id, do: verb, ...what }) {
  try {
    say({ id, ok: (await verbs[verb](what)) ?? null })
  } catch (error) {
    say({ id, error: { code: error.code?.replace('ERR_LIBP2P_', 'P2P_E_') ?? error.name, words: error.message } })
  }
}

for await (const line of createInterface({ input: process.stdin })) obey(JSON.parse(line))
await Promise.all(nodes.map((node) => node.close()))
