// Reaching a peer by its address: where a call takes a peer, an address stands for who is there.
import { parseAddress } from './address.js'
import { type CallOptions, call, DEFAULT_TIMEOUT } from './call.js'
import { Libp2pError } from './errors.js'
import { describe, type Handle } from './memory.js'
import type { Queue } from './queue.js'

/** Connects to a peer and resolves with its id. */
export function connect(
  queue: Queue,
  node: Handle,
  addresses: string,
  bounds: CallOptions | undefined,
): Promise<string> {
  return call(
    queue,
    node,
    bounds,
    (request) => queue.lib.p2p_peer_connect(node, addresses, null, request),
    (event) => event.text(),
  )
}

/** Goes on with a peer's id. An address is connected to first, and what follows has the time that this left of the call's. */
export async function reach<T>(
  queue: Queue,
  node: Handle,
  peer: string,
  bounds: CallOptions | undefined,
  go: (id: string, bounds: CallOptions | undefined) => Promise<T>,
): Promise<T> {
  if (!peer.startsWith('/')) return go(peer, bounds)
  const start = performance.now()
  const id = await connect(queue, node, peer, bounds)
  const left = (bounds?.timeout ?? DEFAULT_TIMEOUT) - (performance.now() - start)
  return go(id, { signal: bounds?.signal, timeout: Math.max(1, Math.ceil(left)) })
}

/** The id of a peer given by id or address, for who must not connect to learn it. */
export function peerNamed(peer: string): string {
  if (!peer.startsWith('/')) return peer
  const id = parseAddress(peer).peer
  if (id === null) {
    throw new Libp2pError('ERR_LIBP2P_PARSE', `address ${describe(peer)} does not end in /p2p/<peer id>`)
  }
  return id
}
