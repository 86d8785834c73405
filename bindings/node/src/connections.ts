// Which connections stay when there are too many: tags, protection, watermarks, trimming.
import { type CallOptions, call } from './call.js'
import { check, checkOptions, integerOf, type OpenNode, textOf } from './memory.js'
import type { Queue } from './queue.js'

type Text = string | { toString(): string }

const MAX = 0x7fff_ffff

/**
 * The worth of a node's connections: `node.connections`. When there are more than the option connections.high, the least useful are closed until
 * connections.low are left. A peer is worth the sum of its tags; `peerInfo` has them.
 */
export class Connections {
  readonly #queue: Queue
  readonly #node: OpenNode

  /** @internal */
  constructor(queue: Queue, node: OpenNode) {
    this.#queue = queue
    this.#node = node
  }

  /** Gives a peer a value under a name of yours, in place of the one it had. It outlasts the peer's connections, not the node. */
  tag(peer: Text, name: string, value: number): void {
    const worth = integerOf('value', value, -MAX, MAX)
    this.#check((lib) => lib.p2p_peer_tag(this.#node(), textOf('peer', peer), textOf('name', name), worth))
  }

  /** Takes a tag back. */
  untag(peer: Text, name: string): void {
    this.#check((lib) => lib.p2p_peer_untag(this.#node(), textOf('peer', peer), textOf('name', name)))
  }

  /** Spares a peer from trimming, until `unprotect` with the same name. */
  protect(peer: Text, name: string): void {
    this.#check((lib) => lib.p2p_peer_protect(this.#node(), textOf('peer', peer), textOf('name', name)))
  }

  /** Ends one protection. Returns whether the peer is still protected under another name. */
  unprotect(peer: Text, name: string): boolean {
    return this.#check((lib) => lib.p2p_peer_unprotect(this.#node(), textOf('peer', peer), textOf('name', name))) === 1
  }

  /**
   * Closes connections now, the least useful first, until `left` (default: connections.low) are there; resolves with how many went. Protected
   * peers and those younger than connections.grace_ms are spared.
   */
  async trim(left?: number, options?: CallOptions): Promise<number> {
    const target = left === undefined ? -1 : integerOf('left', left, 0, MAX)
    const { lib } = this.#queue
    return call(
      this.#queue,
      this.#node(),
      options,
      (request) => lib.p2p_peer_trim(this.#node(), target, request),
      (event) => event.value,
    )
  }

  /** Changes when and how far connections are trimmed, as the options in `connections` do. */
  setWatermarks(marks: { low?: number; high?: number; grace_ms?: number }): void {
    checkOptions(marks, 'low', 'high', 'grace_ms')
    const of = (name: 'low' | 'high' | 'grace_ms') => {
      const value = marks[name]
      return value === undefined ? -1 : integerOf(name, value, 0, MAX)
    }
    this.#check((lib) => lib.p2p_node_watermarks(this.#node(), of('low'), of('high'), of('grace_ms')))
  }

  #check(run: (lib: Queue['lib']) => number): number {
    const { lib } = this.#queue
    return check(lib, run(lib))
  }
}
