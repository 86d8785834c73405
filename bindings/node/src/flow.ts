// Flows that are polled only when their consumer wants more: a topic's messages, a trace.
import type { Socket } from 'node:net'
import { EVENT } from './constants.js'
import { check, type Handle, takeHandle, takeText } from './memory.js'
import { doorbell, type Queue } from './queue.js'
import { Records } from './records.js'

type Result<T> = IteratorResult<T, undefined>

const END = { value: undefined, done: true } as const

/** Messages and bytes that one poll fetches ahead of the consumer, and bytes that its queue holds. */
const AHEAD_EVENTS = 256
const AHEAD_BYTES = 64 * 1024
const QUEUE_BYTES = 4 * 1024 * 1024

/**
 * A bounded flow. It has a queue of its own that is polled only when the consumer wants more, so that its capacity and
 * its overflow policy hold to the last stage. Leaving a `for await` loop ends it.
 */
export abstract class Flow<T> implements AsyncIterableIterator<T, undefined, undefined> {
  readonly #queue: Queue
  readonly #handle: Handle
  readonly #inbox: Handle
  readonly #bell: Socket
  readonly #records = new Records(AHEAD_EVENTS, AHEAD_BYTES)
  readonly #onClose: () => void
  readonly #waiting: ((result: Result<T>) => void)[] = []
  #count = 0
  #next = 0
  #dropped = 0
  #closed = false

  /** @internal `open` starts what fills the inbox. */
  constructor(queue: Queue, open: (inbox: Handle) => Handle, onClose: () => void) {
    const { lib } = queue
    this.#queue = queue
    this.#onClose = onClose
    this.#inbox = takeHandle((_, out) => lib.p2p_queue_new(QUEUE_BYTES, out))
    try {
      this.#handle = open(this.#inbox)
    } catch (error) {
      lib.p2p_close(this.#inbox)
      throw error
    }
    try {
      this.#bell = doorbell(this.#inbox, () => this.#serve())
    } catch (error) {
      lib.p2p_close(this.#handle)
      lib.p2p_close(this.#inbox)
      throw error
    }
    this.#bell.unref()
  }

  /** @internal Reads the event under the cursor; undefined if it is none of the flow. */
  protected abstract read(event: Records): T | undefined

  /** What was dropped by the overflow policy, up to the last that was handed out. */
  get dropped(): number {
    return this.#dropped
  }

  /** Whether it has ended. */
  get closed(): boolean {
    return this.#closed
  }

  /** Counters: delivered, dropped, waiting; see docs/info.md. */
  info(): Record<string, unknown> {
    return JSON.parse(takeText((lib, out) => lib.p2p_info(this.#handle, out))) as Record<string, unknown>
  }

  /** The next one, when it is here. */
  next(): Promise<Result<T>> {
    if (this.#waiting.length === 0) {
      const result = this.#take()
      if (result) return Promise.resolve(result)
    }
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** The next one or the end; undefined if none is here yet. */
  #take(): Result<T> | undefined {
    for (;;) {
      if (this.#closed) return END
      if (this.#next === this.#count) {
        this.#next = 0
        this.#count = check(this.#queue.lib, this.#records.poll(this.#queue.lib, this.#inbox))
        if (this.#count === 0) return undefined
      }
      const event = this.#records
      event.select(this.#next++)
      const value = this.read(event)
      if (value !== undefined) return { value, done: false }
      if (event.type === EVENT.DROPPED) this.#dropped += event.value
      else if (event.type === EVENT.CLOSED) this.close()
    }
  }

  #serve(): void {
    while (this.#waiting.length > 0) {
      const result = this.#take()
      if (!result) return
      this.#waiting.shift()?.(result)
    }
  }

  /** Ends it. What waited is thrown away. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#queue.lib.p2p_close(this.#handle)
    this.#queue.lib.p2p_close(this.#inbox)
    this.#bell.destroy()
    this.#onClose()
    for (const resolve of this.#waiting.splice(0)) resolve(END)
  }

  /** Ends it, as leaving a loop does. */
  return(): Promise<Result<T>> {
    this.close()
    return Promise.resolve(END)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}
