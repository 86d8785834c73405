// Pubsub beyond topics: who is heard, what a peer is worth, and what goes on. It is reached as node.pubsub.
import { inspect } from 'node:util'
import { EVENT } from './constants.js'
import { Flow } from './flow.js'
import {
  check,
  type Handle,
  integerOf,
  listOf,
  type OpenNode,
  optionsOf,
  takeHandle,
  takeText,
  textOf,
} from './memory.js'
import type { Queue } from './queue.js'
import type { Records } from './records.js'

/** A peer id or address, as text or as an object with that text form. */
type Text = string | { toString(): string }

/** A peer's score with its parts, before their weights. */
export interface PubsubScore {
  score: number
  /** Nothing that it sends is heard. */
  graylisted: boolean
  /** What the program gave it. */
  app: number
  ip_colocation: number
  behaviour: number
  topics: Record<
    string,
    { time_in_mesh_ms: number; first_deliveries: number; mesh_deliveries: number; invalid_messages: number }
  >
}

/** What pubsub knows. Peers are named by their ids. */
export interface PubsubInfo {
  router: 'gossipsub' | 'floodsub' | 'randomsub'
  /** Names of its protocols, the best one first. */
  protocols: string[]
  signing: string
  /** Whom messages name as their author; empty for nobody. */
  author: string
  message_id: string
  /** Peers that messages can be sent to. */
  peers: Record<string, { protocol: string; waiting: number; waiting_bytes: number }>
  /** Topic to the peers that messages are passed to at once. */
  mesh: Record<string, string[]>
  scores: Record<string, PubsubScore>
  direct: string[]
  blocked: string[]
}

/** What a trace records. */
export type TraceKind =
  | 'publish'
  | 'deliver'
  | 'duplicate'
  | 'reject'
  | 'undeliverable'
  | 'validate'
  | 'send'
  | 'receive'
  | 'drop'
  | 'join'
  | 'leave'
  | 'graft'
  | 'prune'
  | 'open'
  | 'close'
  | 'throttle'

/** How to trace. */
export interface TraceOptions {
  /** File that gets the events, one JSON object a line; then there is nothing to iterate over. */
  file?: string | undefined
  /** Events that are recorded. Default: all. */
  events?: readonly TraceKind[] | undefined
  /** Topics whose events are recorded. Default: all. */
  topics?: readonly string[] | undefined
  /** Events that may wait; then the oldest are dropped. Default: 16384. */
  capacity?: number | undefined
}

/** One thing that pubsub did, or that happened to it; docs/pubsub.md lists the fields of each type. */
export interface TraceEvent {
  type: TraceKind
  time: string
  topic?: string
  peer?: string
  author?: string
  /** Of a message, in hex. */
  id?: string
  size?: number
  reason?: string
  protocol?: string
  peers?: number
  [packet: string]: unknown
}

/** What pubsub does, until closed. Leaving a `for await` loop ends it. */
export class Trace extends Flow<TraceEvent> {
  /** @internal */
  constructor(queue: Queue, node: Handle, options: TraceOptions, onClose: () => void) {
    const document = optionsOf(options)
    const toFile = options.file !== undefined
    const open = (inbox: Handle) =>
      takeHandle((lib, out) => lib.p2p_pubsub_trace(node, document, toFile ? 0 : inbox, 1, out))
    super(queue, open, onClose)
  }

  /** @internal */
  protected read(event: Records): TraceEvent | undefined {
    return event.type === EVENT.PUBSUB_TRACE ? (JSON.parse(event.data().toString()) as TraceEvent) : undefined
  }

  [inspect.custom](): string {
    return `Trace { dropped: ${this.dropped}, state: '${this.closed ? 'closed' : 'open'}' }`
  }
}

/** The pubsub of a node. */
export class Pubsub {
  readonly #queue: Queue
  readonly #node: OpenNode
  readonly #traces = new Set<Trace>()

  /** @internal */
  constructor(queue: Queue, node: OpenNode) {
    this.#queue = queue
    this.#node = node
  }

  /** What it knows: peers, the mesh of each topic, scores with their parts. Costs no network. */
  info(): PubsubInfo {
    return JSON.parse(takeText((lib, out) => lib.p2p_pubsub_info(this.#node(), out))) as PubsubInfo
  }

  /** Gives a peer a score of the program's own, a whole number, which counts with pubsub.score.app_weight; 0 takes it back. */
  setScore(peer: Text, score: number): void {
    const value = integerOf('score', score, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)
    this.#check(this.#queue.lib.p2p_pubsub_score_set(this.#node(), textOf('peer', peer), value))
  }

  /** Hears nothing of a peer, nor of what it authored, and sends it nothing, until `unblock`. The connection stays. */
  block(peer: Text): void {
    this.#check(this.#queue.lib.p2p_pubsub_block(this.#node(), textOf('peer', peer)))
  }

  /** Ends `block`. */
  unblock(peer: Text): void {
    this.#check(this.#queue.lib.p2p_pubsub_unblock(this.#node(), textOf('peer', peer)))
  }

  /** Stays connected to a peer and passes every message to it, outside the mesh. It has to do the same with this node. */
  addDirect(addresses: Text | readonly Text[]): void {
    this.#check(this.#queue.lib.p2p_pubsub_direct_add(this.#node(), listOf('addresses', addresses)))
  }

  /** Ends `addDirect`. */
  removeDirect(peer: Text): void {
    this.#check(this.#queue.lib.p2p_pubsub_direct_remove(this.#node(), textOf('peer', peer)))
  }

  /** Records what pubsub does, to be iterated over or written to a file, until closed. */
  trace(options: TraceOptions = {}): Trace {
    const trace = new Trace(this.#queue, this.#node(), options, () => this.#traces.delete(trace))
    this.#traces.add(trace)
    return trace
  }

  /** @internal */
  close(): void {
    for (const trace of [...this.#traces]) trace.close()
  }

  #check(result: number): void {
    check(this.#queue.lib, result)
  }
}
