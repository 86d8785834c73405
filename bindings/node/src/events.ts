// A node's own events: their names and shapes, and how they are read from records.
import { EVENT, FLAG } from './constants.js'
import { errorOf, type Libp2pError } from './errors.js'
import { type NATEvents, natEventOf } from './nat.js'
import type { Records } from './records.js'
import { type RelayEvents, relayEventOf } from './relay.js'
import type { RequestContext } from './request.js'
import type { Stream } from './stream.js'

export interface PeerEvent {
  readonly peer: string
}

export interface PeerPathEvent extends PeerEvent {
  /** The best connection's address. */
  readonly address: string
  /** The peer opened the connection. */
  readonly inbound: boolean
  /** Through a relay. */
  readonly relayed: boolean
  /** The relay limits time and bytes. */
  readonly limited: boolean
}

export interface PeerFoundEvent extends PeerEvent {
  /** What met it: 'mdns' or 'bootstrap'. */
  readonly source: string
  readonly addresses: string[]
}

export interface PeerUnreachableEvent {
  readonly error: Libp2pError
  /** Milliseconds until the next attempt. */
  readonly retryMs: number
}

export interface PeerScoreEvent extends PeerEvent {
  /** Rounded to a whole number. */
  readonly score: number
}

export interface AddressesEvent {
  /** All addresses at which the node can be dialled now. */
  readonly addresses: string[]
}

export interface ListenFailedEvent {
  readonly address: string
  readonly reason: string
}

export interface DHTModeEvent {
  /** The node answers for the DHT now. */
  readonly serving: boolean
  /** The protocols that it answers. */
  readonly protocols: string[]
}

/** What a Node emits; the names are js-libp2p's where it has one. */
export interface NodeEvents extends NATEvents, RelayEvents {
  /** The first connection with a peer. */
  'peer:connect': [event: PeerPathEvent]
  /** The last connection with a peer is gone. */
  'peer:disconnect': [event: PeerEvent]
  /** The best connection changed between direct and relayed. */
  'peer:path': [event: PeerPathEvent]
  /** Discovery met a peer. */
  'peer:discovery': [event: PeerFoundEvent]
  /** A kept or bootstrap peer did not answer. */
  'peer:reconnect-failure': [event: PeerUnreachableEvent]
  /** A peer's score fell below pubsub.score.graylist_threshold: it is not heard any more. */
  'pubsub:graylist': [event: PeerScoreEvent]
  /** A peer's score is above that threshold again, or was forgotten. */
  'pubsub:pardon': [event: PeerScoreEvent]
  /** The node's own addresses changed. */
  'self:peer:update': [event: AddressesEvent]
  /** An address was not bound. */
  'listen:failure': [event: ListenFailedEvent]
  /** The node began, or ceased, to answer for the DHT. */
  'dht:mode': [event: DHTModeEvent]
  /** Events were dropped here because the program did not read them in time. */
  'event:dropped': [event: { readonly count: number }]
  /** A stream handler threw; its stream was reset. */
  'error:handler': [error: unknown, origin: Stream | RequestContext]
  /** The node has ended. */
  stop: []
}

/** One event of `node.events()`. */
export type NodeEvent = {
  [K in Exclude<keyof NodeEvents, 'error:handler' | 'stop'>]: { readonly type: K } & NodeEvents[K][0]
}[Exclude<keyof NodeEvents, 'error:handler' | 'stop'>]

function pathOf(event: Records): PeerPathEvent {
  const [peer = '', address = ''] = event.lines()
  const { flags } = event
  return {
    peer,
    address,
    inbound: (flags & FLAG.INBOUND) !== 0,
    relayed: (flags & FLAG.RELAYED) !== 0,
    limited: (flags & FLAG.LIMITED) !== 0,
  }
}

/** Reads a node's event; undefined for a type that this version does not know. */
export function nodeEventOf(event: Records): NodeEvent | undefined {
  switch (event.type) {
    case EVENT.PEER_CONNECTED:
      return { type: 'peer:connect', ...pathOf(event) }
    case EVENT.PEER_DISCONNECTED:
      return { type: 'peer:disconnect', peer: event.text() }
    case EVENT.PEER_PATH:
      return { type: 'peer:path', ...pathOf(event) }
    case EVENT.PEER_FOUND: {
      const [peer = '', source = '', ...addresses] = event.lines()
      return { type: 'peer:discovery', peer, source, addresses }
    }
    case EVENT.PEER_UNREACHABLE:
      return {
        type: 'peer:reconnect-failure',
        error: errorOf(event.status, event.text(), event.value),
        retryMs: event.object,
      }
    case EVENT.PEER_GRAYLISTED:
      return { type: 'pubsub:graylist', peer: event.text(), score: event.value }
    case EVENT.PEER_PARDONED:
      return { type: 'pubsub:pardon', peer: event.text(), score: event.value }
    case EVENT.ADDRESSES:
      return { type: 'self:peer:update', addresses: event.lines() }
    case EVENT.LISTEN_FAILED: {
      const [address = '', ...reason] = event.lines()
      return { type: 'listen:failure', address, reason: reason.join('\n') }
    }
    case EVENT.DHT_MODE: {
      const [mode, ...protocols] = event.lines()
      return { type: 'dht:mode', serving: mode === 'server', protocols }
    }
    case EVENT.DROPPED:
      return { type: 'event:dropped', count: event.value }
    default:
      return natEventOf(event) ?? relayEventOf(event)
  }
}

/** Events that a reader has not taken yet; beyond this the oldest are dropped and counted. */
const CAPACITY = 1024

/** A bounded flow of a node's events. Leaving a `for await` loop ends it. */
export class EventFlow implements AsyncIterableIterator<NodeEvent, undefined, undefined> {
  readonly #events: NodeEvent[] = []
  readonly #waiting: ((result: IteratorResult<NodeEvent, undefined>) => void)[] = []
  readonly #onClose: (flow: EventFlow) => void
  #dropped = 0
  #closed = false

  /** @internal */
  constructor(onClose: (flow: EventFlow) => void) {
    this.#onClose = onClose
  }

  /** @internal */
  push(event: NodeEvent): void {
    const reader = this.#waiting.shift()
    if (reader) {
      reader({ value: event, done: false })
      return
    }
    this.#events.push(event)
    if (this.#events.length > CAPACITY) {
      this.#events.shift()
      this.#dropped++
    }
  }

  next(): Promise<IteratorResult<NodeEvent, undefined>> {
    if (this.#dropped > 0) {
      const count = this.#dropped
      this.#dropped = 0
      return Promise.resolve({ value: { type: 'event:dropped', count }, done: false })
    }
    const event = this.#events.shift()
    if (event) return Promise.resolve({ value: event, done: false })
    if (this.#closed) return Promise.resolve({ value: undefined, done: true })
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** Ends the flow; what has arrived is still handed out. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#onClose(this)
    for (const resolve of this.#waiting.splice(0)) resolve({ value: undefined, done: true })
  }

  return(): Promise<IteratorResult<NodeEvent, undefined>> {
    this.#events.length = 0
    this.close()
    return Promise.resolve({ value: undefined, done: true })
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}
