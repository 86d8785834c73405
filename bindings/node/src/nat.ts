// Whether others can reach the node, and ways through NATs.
import { type CallOptions, call } from './call.js'
import { EVENT } from './constants.js'
import { errorOf, type Libp2pError } from './errors.js'
import { type OpenNode, takeText, textOf } from './memory.js'
import type { Queue } from './queue.js'
import type { Records } from './records.js'

export type Reachability = 'public' | 'private' | 'unknown'
export type NATType = 'endpoint_independent' | 'endpoint_dependent' | 'unknown'

export interface ReachabilityEvent {
  readonly reachability: Reachability
  /** How that is known. */
  readonly source: 'option' | 'autonat' | 'autonat_v2' | 'none'
}

export interface AddressReachabilityEvent {
  readonly address: string
  readonly reachability: Reachability
}

export interface NATTypeEvent {
  readonly protocol: 'udp' | 'tcp'
  /** endpoint_independent: cone; endpoint_dependent: symmetric, no hole can be punched. */
  readonly natType: NATType
}

/** One attempt at turning a relayed connection into a direct one. */
export interface HolePunchEvent {
  readonly peer: string
  /** initiator: the one that was dialled through the relay. */
  readonly side: 'initiator' | 'receiver'
  /** direct: a plain dial did it; failed: the next attempt follows. */
  readonly outcome: 'direct' | 'punched' | 'failed' | 'gave_up'
  /** 0: the plain dial, or none was possible. */
  readonly attempt: number
  readonly durationMs: number
  /** Why it failed. */
  readonly error: Libp2pError | undefined
}

export interface PortMappingEvent {
  readonly address: string
  /** Undefined: the port is forwarded no more. */
  readonly external: string | undefined
}

export interface NATEvents {
  /** Others can, or cannot, reach the node. */
  'nat:reachability': [event: ReachabilityEvent]
  /** The same for one public address, by AutoNAT version 2. */
  'nat:address': [event: AddressReachabilityEvent]
  /** How the NAT before the node maps addresses. */
  'nat:type': [event: NATTypeEvent]
  /** An attempt at a direct connection ended. */
  'nat:hole-punch': [event: HolePunchEvent]
  /** The router forwards a port, or does so no more. */
  'nat:port-mapping': [event: PortMappingEvent]
}

/** What NAT.info returns; docs/nat.md explains the keys. */
export interface NATInfo {
  reachability: Reachability
  source: ReachabilityEvent['source']
  addresses: { address: string; reachability: Reachability }[]
  nat_type: { udp: NATType; tcp: NATType }
  observed: string[]
  relayed: string[]
  port_map: { enabled: boolean; router: boolean; mappings: { address: string; external: string }[] }
  hole_punch: {
    enabled: boolean
    succeeded: number
    failed: number
    history: {
      peer: string
      side: HolePunchEvent['side']
      outcome: HolePunchEvent['outcome']
      attempt: number
      reason: string
      addresses: string[]
      duration_ms: number
      rtt_ms: number
      at_ms: number
    }[]
  }
}

/** Reads an event of NATs; undefined for another one. */
export function natEventOf(
  event: Records,
): { [K in keyof NATEvents]: { readonly type: K } & NATEvents[K][0] }[keyof NATEvents] | undefined {
  const [first = '', second = '', third = '', ...rest] = event.lines()
  switch (event.type) {
    case EVENT.REACHABILITY:
      return {
        type: 'nat:reachability',
        reachability: first as Reachability,
        source: second as ReachabilityEvent['source'],
      }
    case EVENT.ADDRESS_REACHABILITY:
      return { type: 'nat:address', address: first, reachability: second as Reachability }
    case EVENT.NAT_TYPE:
      return { type: 'nat:type', protocol: first as NATTypeEvent['protocol'], natType: second as NATType }
    case EVENT.HOLE_PUNCH:
      return {
        type: 'nat:hole-punch',
        peer: first,
        side: second as HolePunchEvent['side'],
        outcome: third as HolePunchEvent['outcome'],
        attempt: event.value,
        durationMs: event.object,
        error: event.status < 0 ? errorOf(event.status, rest.join('\n'), 0) : undefined,
      }
    case EVENT.PORT_MAPPING:
      return { type: 'nat:port-mapping', address: first, external: second || undefined }
    default:
      return undefined
  }
}

/** What a node knows of its place in the network: `node.nat`. */
export class NAT {
  readonly #queue: Queue
  readonly #node: OpenNode

  /** @internal */
  constructor(queue: Queue, node: OpenNode) {
    this.#queue = queue
    this.#node = node
  }

  /** Whether others can reach the node. */
  get reachability(): Reachability {
    return this.info().reachability
  }

  /** Reachability in all and by address, NAT types, observed and relayed addresses, mappings, history of hole punching. */
  info(): NATInfo {
    return JSON.parse(takeText((lib, out) => lib.p2p_nat_info(this.#node(), out))) as NATInfo
  }

  /**
   * Waits until others can reach the node, and resolves with its reachability.
   * @param what reachable: directly or through a relay; public: directly; relayed: through a relay; known: until it is
   *   known to be public or private
   */
  async wait(
    what: 'reachable' | 'public' | 'relayed' | 'known' = 'reachable',
    options?: CallOptions,
  ): Promise<Reachability> {
    const wanted = textOf('what', what)
    const { lib } = this.#queue
    return call(
      this.#queue,
      this.#node(),
      options,
      (request) => lib.p2p_nat_wait(this.#node(), wanted, null, request),
      (event) => event.text() as Reachability,
    )
  }
}
