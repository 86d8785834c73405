// Gating: who may be dialled, and who may connect.
import { EVENT, FLAG, VERDICT } from './constants.js'
import { InvalidArgumentError } from './errors.js'
import { check, type Handle, listOf, type OpenNode, optionsOf, takeHandle, takeText, textOf } from './memory.js'
import type { Queue, Source } from './queue.js'
import type { Records } from './records.js'

/** A peer id, an IP address or a subnet such as '10.0.0.0/8', as text or as an object with that text form. */
export type GateRule = string | { toString(): string }

/** A rule, and how many dials and connections it refused. */
export interface GateRuleInfo {
  rule: string
  refused: number
}

/** A node's rules, and what they did. */
export interface GateInfo {
  default: 'allow' | 'block'
  block: GateRuleInfo[]
  allow: GateRuleInfo[]
  /** A doorman is asked. */
  asking: boolean
  dials_refused: number
  connections_refused: number
}

/** A dial, or an inbound connection, that no rule names. */
export interface GateRequest {
  readonly peer: string
  /** Where the peer is; undefined before a dial, which may try several addresses. */
  readonly address: string | undefined
  readonly stage: 'dial' | 'connection'
  readonly inbound: boolean
  readonly relayed: boolean
}

/** Decides whether it may be. If it throws, the answer is no. */
export type Doorman = (request: GateRequest) => boolean | Promise<boolean>

/** How long a doorman may think. */
export interface AskOptions {
  /** Milliseconds for a verdict, at most 10000. Default: 1000. */
  timeout_ms?: number | undefined
  /** The verdict when the doorman is late. Default: 'block'. */
  default?: 'block' | 'allow' | undefined
  /** Verdicts that may be pending; beyond it the default holds. Default: 256. */
  capacity?: number | undefined
}

/**
 * A node's rules: `node.gater`. The most exact one holds: that of the peer, then that of the longest prefix of its address; where there is none,
 * the default. A dial that is refused rejects with ERR_LIBP2P_REFUSED, which names the rule.
 */
export class Gater {
  readonly #queue: Queue
  readonly #node: OpenNode
  #keeper: Gatekeeper | undefined

  /** @internal */
  constructor(queue: Queue, node: OpenNode) {
    this.#queue = queue
    this.#node = node
  }

  /** Refuses whom the rules name, and closes their connections. All are taken, or none. */
  block(...rules: GateRule[]): void {
    this.#check((lib) => lib.p2p_gate_block(this.#node(), listOf('rules', rules)))
  }

  /** Lets those through whom the rules name. */
  allow(...rules: GateRule[]): void {
    this.#check((lib) => lib.p2p_gate_allow(this.#node(), listOf('rules', rules)))
  }

  /** Takes rules out, whether they block or allow. */
  remove(...rules: GateRule[]): void {
    this.#check((lib) => lib.p2p_gate_remove(this.#node(), listOf('rules', rules)))
  }

  /** Says what becomes of those that no rule names. Present connections stay. */
  setDefault(verdict: 'allow' | 'block'): void {
    this.#check((lib) => lib.p2p_gate_default(this.#node(), textOf('verdict', verdict)))
  }

  /** The rules and what they refused. */
  list(): GateInfo {
    return JSON.parse(takeText((lib, out) => lib.p2p_gate_list(this.#node(), out))) as GateInfo
  }

  /** Has a doorman decide, from now on, about every dial and every inbound connection that no rule names. */
  ask(doorman: Doorman, options?: AskOptions): Gatekeeper {
    if (typeof doorman !== 'function') throw new InvalidArgumentError('doorman: expected a function')
    const document = optionsOf(options)
    const keeper = new Gatekeeper(this.#queue, doorman, (tag) =>
      takeHandle((lib, out) => lib.p2p_gate_ask(this.#node(), document, this.#queue.handle, tag, out)),
    )
    this.#keeper = keeper
    return keeper
  }

  /** @internal The node is closing; no event follows. */
  abandon(): void {
    this.#keeper?.abandon()
  }

  #check(run: (lib: Queue['lib']) => number): void {
    const { lib } = this.#queue
    check(lib, run(lib))
  }
}

/** A doorman at work, until closed. */
export class Gatekeeper implements Source {
  readonly #queue: Queue
  readonly #doorman: Doorman
  readonly #tag: number
  readonly #handle: Handle

  /** @internal */
  constructor(queue: Queue, doorman: Doorman, ask: (tag: number) => Handle) {
    this.#queue = queue
    this.#doorman = doorman
    const { tag, handle } = queue.open(this, ask)
    this.#tag = tag
    this.#handle = handle
  }

  /** Counters: asked, refused, late, pending. */
  info(): Record<string, unknown> {
    return JSON.parse(takeText((lib, out) => lib.p2p_info(this.#handle, out))) as Record<string, unknown>
  }

  /** Asks no more; what no rule names is up to the default of the rules again. */
  close(): void {
    this.#queue.lib.p2p_close(this.#handle)
  }

  /** @internal */
  abandon(): void {
    this.close()
    this.#queue.remove(this.#tag)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
  }

  /** @internal */
  onEvent(event: Records): void {
    if (event.type === EVENT.CLOSED) this.#queue.remove(this.#tag)
    if (event.type !== EVENT.GATE) return
    const [peer = '', address = '', stage = ''] = event.text().split('\n')
    void this.#judge(event.object, {
      peer,
      address: address || undefined,
      stage: stage as GateRequest['stage'],
      inbound: (event.flags & FLAG.INBOUND) !== 0,
      relayed: (event.flags & FLAG.RELAYED) !== 0,
    })
  }

  async #judge(token: Handle, request: GateRequest): Promise<void> {
    let verdict = false
    try {
      verdict = (await this.#doorman(request)) === true
    } catch (error) {
      process.emitWarning(`the doorman failed: ${String(error)}`, 'Libp2pWarning')
    }
    // Too late is no error: the default took its place and is counted in info().
    this.#queue.lib.p2p_answer(token, verdict ? VERDICT.ACCEPT : VERDICT.REJECT)
  }
}
