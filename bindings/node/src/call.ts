// Calls that wait on the network: started with a tag, completed by an event, ended early by an AbortSignal.
import { EVENT, PENDING } from './constants.js'
import { errorOf } from './errors.js'
import { checkObject, checkOptions, type Handle, integerOf, lastError, optionsOf } from './memory.js'
import type { Queue, Source } from './queue.js'
import type { Records } from './records.js'

/** How long a call may take, and what ends it. */
export interface CallOptions {
  /** Ends the call; it then rejects with the signal's reason. */
  signal?: AbortSignal | undefined
  /** Milliseconds until the call fails with ERR_LIBP2P_TIMEOUT; Infinity: no limit. Default: 30000. */
  timeout?: number | undefined
}

/** The timeout of calls that name none, in milliseconds. */
export const DEFAULT_TIMEOUT = 30_000

/** The timeout as p2p_call has it. */
export function timeoutOf(timeout: number | undefined): number {
  if (timeout === undefined) return 0
  if (timeout === Number.POSITIVE_INFINITY) return -1
  return integerOf('timeout', timeout, 1, 0x7fff_ffff)
}

/** Takes options apart: into the bounds of the call, and the document that the library takes and checks. */
export function splitOptions(options: CallOptions = {}): [CallOptions, string | null] {
  checkObject(options)
  const { signal, timeout, ...rest } = options
  return [{ signal, timeout }, optionsOf(rest)]
}

/** Takes the completion of a call whose promise an abort has ended. */
export type Late = (event: Records) => void

class Call<T> implements Source {
  readonly #queue: Queue
  readonly #owner: Handle
  readonly #finish: (event: Records) => T
  readonly #resolve: (value: T) => void
  readonly #reject: (reason: unknown) => void
  readonly #leave: (() => Late) | undefined
  readonly #signal: AbortSignal | undefined
  readonly #abort: (() => void) | undefined
  readonly #tag: number
  #late: Late | undefined

  constructor(
    queue: Queue,
    owner: Handle,
    options: CallOptions | undefined,
    begin: (call: Buffer) => number,
    finish: (event: Records) => T,
    resolve: (value: T) => void,
    reject: (reason: unknown) => void,
    leave: (() => Late) | undefined,
  ) {
    const timeout = timeoutOf(options?.timeout)
    this.#queue = queue
    this.#owner = owner
    this.#finish = finish
    this.#resolve = resolve
    this.#reject = reject
    this.#leave = leave
    this.#tag = queue.reserve()
    const status = begin(queue.callOf(this.#tag, timeout))
    if (status !== PENDING) throw lastError(queue.lib, status)
    queue.attach(this.#tag, this)
    const signal = options?.signal
    if (signal) {
      this.#signal = signal
      this.#abort = () => this.#cancel()
      signal.addEventListener('abort', this.#abort, { once: true })
    }
  }

  // The promise ends at once; the completion that follows may still bring something.
  #cancel(): void {
    this.#late = this.#leave?.() ?? ((event) => closeObject(this.#queue, event))
    this.#reject(this.#signal?.reason)
    this.#queue.lib.p2p_cancel(this.#owner, this.#tag)
  }

  onEvent(event: Records): void {
    if (event.type !== EVENT.DONE) return
    if (this.#abort) this.#signal?.removeEventListener('abort', this.#abort)
    const { status } = event
    try {
      if (this.#late) this.#late(event)
      else if (status < 0) this.#reject(errorOf(status, event.text(), event.value))
      else this.#resolve(this.#finish(event))
    } catch (error) {
      this.#reject(error) // what cannot be read fails this call alone
    } finally {
      this.#queue.remove(this.#tag)
    }
  }
}

function closeObject(queue: Queue, event: Records): void {
  if (event.status >= 0 && event.object > 0) queue.lib.p2p_close(event.object)
}

/**
 * Starts a call on `owner` and resolves with what `finish` makes of its completion.
 * @param bounds all that the call's options may hold; what else there is was taken out before
 * @param begin makes the call of the library with the p2p_call it is given, and returns its result
 * @param leave called at an abort, for what takes the completion that still follows; by default what it opened is closed
 */
export function call<T>(
  queue: Queue,
  owner: Handle,
  bounds: CallOptions | undefined,
  begin: (call: Buffer) => number,
  finish: (event: Records) => T,
  leave?: () => Late,
): Promise<T> {
  return new Promise((resolve, reject) => {
    checkOptions(bounds, 'signal', 'timeout')
    if (bounds?.signal?.aborted) reject(bounds.signal.reason)
    else new Call(queue, owner, bounds, begin, finish, resolve, reject, leave)
  })
}
