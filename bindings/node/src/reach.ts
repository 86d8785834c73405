// Reaching a peer by its address: where a call takes a peer, an address stands for who is there.
import { type CallOptions, call, DEFAULT_TIMEOUT } from './call.js'
import type { Handle } from './memory.js'
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
