// What a node knows of peers, connected or not: addresses, signed records, and data of yours.
import {
  bytesOf,
  check,
  checkOptions,
  integerOf,
  listOf,
  type OpenNode,
  takeBytes,
  takeLines,
  takeText,
  textOf,
} from './memory.js'
import type { Queue } from './queue.js'

type Text = string | { toString(): string }

/** For how long addresses are kept. */
export interface KeepAddressesOptions {
  /** Milliseconds; Infinity: without end. Default: an hour. */
  ttl?: number | undefined
}

/** A node's memory of its peers: `node.peerstore`. With the option peerstore.directory it lasts over restarts. */
export class Peerstore {
  readonly #queue: Queue
  readonly #node: OpenNode

  /** @internal */
  constructor(queue: Queue, node: OpenNode) {
    this.#queue = queue
    this.#node = node
  }

  /** Adds addresses of one peer, each ending in /p2p/<peer id>, to those that are known, and returns the id. Nothing is dialled. */
  add(addresses: Text | readonly Text[], options: KeepAddressesOptions = {}): string {
    const list = listOf('addresses', addresses)
    const ttl = ttlOf(options)
    return takeText((lib, out) => lib.p2p_peer_add(this.#node(), list, ttl, out))
  }

  /** Removes all that is known of a peer: addresses, record, tags and data. It must be neither connected nor kept. */
  forget(peer: Text): void {
    this.#check((lib) => lib.p2p_peer_forget(this.#node(), textOf('peer', peer)))
  }

  /** The peers with a known address. */
  known(): string[] {
    return takeLines((lib, out) => lib.p2p_peer_known(this.#node(), out))
  }

  /** Keeps data of yours, at most 64 KiB, about a peer under a name; empty data removes it. */
  put(peer: Text, name: string, data: Uint8Array | string): void {
    const bytes = bytesOf('data', data)
    this.#check((lib) =>
      lib.p2p_peer_put(this.#node(), textOf('peer', peer), textOf('name', name), bytes, bytes.length),
    )
  }

  /** What `put` keeps. */
  get(peer: Text, name: string): Buffer {
    const [id, key] = [textOf('peer', peer), textOf('name', name)]
    return takeBytes((lib, out, length) => lib.p2p_peer_get(this.#node(), id, key, out, length))
  }

  /** The signed record of a peer, or the node's own, as `openPeerRecord` reads it. */
  record(peer?: Text): Buffer {
    const id = peer === undefined ? null : textOf('peer', peer)
    return takeBytes((lib, out, length) => lib.p2p_peer_record(this.#node(), id, out, length))
  }

  /** Takes a signed record, checks its signature, and keeps its addresses. Returns whose it is, undefined if a newer one is known. */
  addRecord(record: Uint8Array, options: KeepAddressesOptions = {}): string | undefined {
    const bytes = bytesOf('record', record)
    const ttl = ttlOf(options)
    let taken = 0
    const peer = takeText((lib, out) => {
      taken = lib.p2p_peer_add_record(this.#node(), bytes, bytes.length, ttl, out)
      return taken
    })
    return taken === 1 ? peer : undefined
  }

  #check(run: (lib: Queue['lib']) => number): void {
    const { lib } = this.#queue
    check(lib, run(lib))
  }
}

function ttlOf(options: KeepAddressesOptions): number {
  checkOptions(options, 'ttl')
  const { ttl } = options
  if (ttl === undefined) return 0
  return ttl === Number.POSITIVE_INFINITY ? -1 : integerOf('ttl', ttl, 1, Number.MAX_SAFE_INTEGER)
}
