// Diagnosis: why a peer can, or cannot, be reached.
import { type CallOptions, call, splitOptions } from './call.js'
import { checkOptions, type Handle, listOf } from './memory.js'
import type { PeerInfo } from './node.js'
import type { Queue } from './queue.js'

/** How to explain a peer. */
export interface ExplainOptions extends CallOptions {
  /** Longest time for one address, in milliseconds. Default: 5000. */
  attempt_ms?: number | undefined
  /** A protocol that the peer should speak. */
  protocol?: string | undefined
  /** Always JSON here; `text` of the result is for people. */
  format?: never
}

/** One address that was tried. */
export interface ExplainedAttempt {
  address: string
  source: 'given' | 'known' | 'dht'
  transport: string
  /** From where it can be reached at all. */
  scope: 'loopback' | 'private' | 'public' | 'relay' | 'name'
  /** 'ok', or one of the verdicts. */
  outcome: string
  words: string
  ms: number
}

/** Why a peer can, or cannot, be reached; docs/explain.md lists the verdicts. */
export interface Explanation {
  peer: string
  /** 'reachable', 'connected', 'nobody_listens', 'wrong_peer', ... */
  verdict: string
  /** The verdict in a sentence. */
  summary: string
  advice: string[]
  attempts: ExplainedAttempt[]
  /** What is known of the peer. */
  known: PeerInfo
  /** What this node has to do with it. */
  self: {
    id: string
    addresses: string[]
    transports: string[]
    security: string[]
    private_network: boolean
    connections: number
    refused: Record<string, number>
    black_holes: string[]
    reachability: string
    nat_type: { udp: string; tcp: string }
    relays: string[]
    dht_peers: number
  }
  /** Attempts at a direct connection with it that are remembered. */
  hole_punches: Record<string, unknown>[]
  protocol: string
  /** All of it for people. */
  text: string
}

/** @internal */
export async function explain(
  queue: Queue,
  node: Handle,
  addresses: { toString(): string } | readonly { toString(): string }[],
  options?: ExplainOptions,
): Promise<Explanation> {
  const list = listOf('addresses', addresses)
  // The library has a format too; here the answer is always an object, whose `text` is for people.
  checkOptions(options, 'signal', 'timeout', 'attempt_ms', 'protocol')
  const [bounds, document] = splitOptions(options)
  return call(
    queue,
    node,
    bounds,
    (request) => queue.lib.p2p_peer_explain(node, list, document, null, request),
    (event) => JSON.parse(event.text()) as Explanation,
  )
}
