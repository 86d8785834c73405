// Relays: places that the node holds with some, and the one that it can be.
import { inspect } from 'node:util'
import { type CallOptions, call } from './call.js'
import { EVENT } from './constants.js'
import { errorOf, type Libp2pError } from './errors.js'
import { check, type Handle, listOf, type OpenNode, takeText } from './memory.js'
import type { Queue } from './queue.js'
import type { Records } from './records.js'

type Text = string | { toString(): string }

/** News of a place with a relay. */
export interface ReservationEvent {
  readonly relay: string
  /** failed: an attempt to make it. */
  readonly state: 'made' | 'renewed' | 'lost' | 'failed'
  /** Of this node, through the relay. */
  readonly addresses: string[]
  /** When it ends unless it is renewed, in milliseconds since 1970. */
  readonly expires: number | undefined
  /** Why it is lost, or the attempt failed. */
  readonly error: Libp2pError | undefined
  /** Milliseconds until the next attempt; undefined: there is none. */
  readonly retryMs: number | undefined
}

export interface RelayEvents {
  /** A place with a relay was made, renewed or lost. */
  'relay:reservation': [event: ReservationEvent]
}

/** One place with a relay. */
export interface ReservationInfo {
  kind: 'reservation'
  relay: string
  state: 'held' | 'lost'
  explicit: boolean
  addresses: string[]
  expires_ms: number
  limit_ms: number
  limit_bytes: number
  renewed: number
  lost: number
  error: string
}

/** What Relay.info returns; docs/nat.md explains the keys. */
export interface RelayInfo {
  client: { enabled: boolean; reservations: ReservationInfo[] }
  service: {
    enabled: boolean
    running: boolean
    reservations: { peer: string; since_ms: number; expires_ms: number }[]
    circuits: number
    circuit_peers: string[]
    total: { reservations: number; renewals: number; circuits: number; bytes: number }
    refused: Record<string, number>
    allow: string[]
    deny: string[]
  }
}

/** Reads an event of relays; undefined for another one. */
export function relayEventOf(event: Records): ({ readonly type: 'relay:reservation' } & ReservationEvent) | undefined {
  if (event.type !== EVENT.RESERVATION) return undefined
  const [relay = '', state = '', ...rest] = event.lines()
  const failed = event.status < 0
  return {
    type: 'relay:reservation',
    relay,
    state: state as ReservationEvent['state'],
    addresses: failed ? [] : rest,
    expires: failed ? undefined : event.value,
    error: failed ? errorOf(event.status, rest.join('\n'), 0) : undefined,
    retryMs: (failed && event.object) || undefined,
  }
}

/**
 * A place with a relay. It renews itself, and is made again after a loss, until `close` or the node's end; the node's
 * 'relay:reservation' events tell.
 */
export class Reservation {
  /** The relay's peer id. */
  readonly relay: string
  readonly #queue: Queue
  readonly #handle: Handle

  /** @internal */
  constructor(queue: Queue, handle: Handle) {
    this.#queue = queue
    this.#handle = handle
    this.relay = this.info().relay
  }

  /** State, addresses, expiry, the relay's limits, counters. */
  info(): ReservationInfo {
    return JSON.parse(takeText((lib, out) => lib.p2p_info(this.#handle, out))) as ReservationInfo
  }

  /** Where this node can be dialled through the relay; none while the place is lost. */
  get addresses(): string[] {
    return this.info().addresses
  }

  /** Gives it up. Connections through the relay stay; the relay holds the place until it expires. */
  close(): void {
    this.#queue.lib.p2p_close(this.#handle)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
  }

  [inspect.custom](): string {
    return `Reservation { relay: '${this.relay}' }`
  }
}

/** Relays of a node: `node.relay`. */
export class Relay {
  readonly #queue: Queue
  readonly #node: OpenNode

  /** @internal */
  constructor(queue: Queue, node: OpenNode) {
    this.#queue = queue
    this.#node = node
  }

  /** Reserves a place with a relay, connecting to it first if needed. Its addresses are then among the node's. */
  async reserve(addresses: Text | readonly Text[], options?: CallOptions): Promise<Reservation> {
    const list = listOf('addresses', addresses)
    const { lib } = this.#queue
    return call(
      this.#queue,
      this.#node(),
      options,
      (request) => lib.p2p_relay_reserve(this.#node(), list, 0, 0, null, null, request),
      (event) => new Reservation(this.#queue, event.object),
    )
  }

  /** Relays in use (`client`), and what this node does as one (`service`). */
  info(): RelayInfo {
    return JSON.parse(takeText((lib, out) => lib.p2p_relay_info(this.#node(), out))) as RelayInfo
  }

  /** Lets peers, IP addresses or subnets reserve a place with this node; from the first one on, others may not. */
  allow(subjects: Text | readonly Text[]): void {
    const { lib } = this.#queue
    check(lib, lib.p2p_relay_allow(this.#node(), listOf('subjects', subjects)))
  }

  /** Keeps peers, IP addresses or subnets from using this node's relay; those that hold a place are disconnected. */
  deny(subjects: Text | readonly Text[]): void {
    const { lib } = this.#queue
    check(lib, lib.p2p_relay_deny(this.#node(), listOf('subjects', subjects)))
  }

  /** Takes back what `allow`, `deny` or the options said of them. */
  forget(subjects: Text | readonly Text[]): void {
    const { lib } = this.#queue
    check(lib, lib.p2p_relay_forget(this.#node(), listOf('subjects', subjects)))
  }
}
