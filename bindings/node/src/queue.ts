// Where everything arrives: one queue of the library and one doorbell socket per JS environment (main thread or worker).
import { Socket, type SocketConstructorOpts } from 'node:net'
import { EVENT } from './constants.js'
import { type Native, native } from './ffi.js'
import { check, type Handle, takeHandle, takeInt } from './memory.js'
import { Records } from './records.js'

/** Something that a tag stands for. It reads what it needs from the record under the cursor before it returns. */
export interface Source {
  onEvent(event: Records): void
}

/** The socket that wakes the loop when a queue is no longer empty. What it reads is of no meaning. */
export function doorbell(queue: Handle, ring: () => void): Socket {
  const options: SocketConstructorOpts & { onread: { buffer: Uint8Array; callback: () => boolean } } = {
    fd: takeInt((lib, out) => lib.p2p_queue_fd(queue, out)),
    readable: true,
    writable: false,
    onread: {
      buffer: Buffer.alloc(64),
      callback: () => {
        ring()
        return true
      },
    },
  }
  const bell = new Socket(options)
  // Its end and its errors mean that the queue was closed, which is ours to do.
  bell.on('error', () => {})
  bell.resume()
  return bell
}

/** Events per poll, bytes of data per poll, and polls before other work of the loop gets its turn. */
const MAX_EVENTS = 256
const MAX_DATA = 256 * 1024
const MAX_POLLS = 32

/** Events whose object is a handle that is the receiver's to close, 0 where there is none. */
const HANDS_OVER: ReadonlySet<number> = new Set([EVENT.STREAM, EVENT.REQUEST, EVENT.DONE])

/** The queue of this JS environment. It exists while something uses it. */
export class Queue {
  readonly lib: Native = native()
  readonly handle: Handle
  readonly #bell: Socket
  readonly #records = new Records(MAX_EVENTS, MAX_DATA)
  readonly #sources = new Map<number, Source>()
  readonly #call = Buffer.alloc(24)
  readonly #callWords = new Int32Array(this.#call.buffer, this.#call.byteOffset, 6)
  #lastTag = 0
  #users = 0
  #holds = 0
  #draining = false

  constructor() {
    this.handle = takeHandle((lib, out) => lib.p2p_queue_new(0, out))
    this.#call.writeUInt32LE(this.#call.length, 0)
    this.#call.writeBigUInt64LE(BigInt(this.handle), 8)
    this.#bell = doorbell(this.handle, () => this.drain())
    this.#bell.unref()
  }

  /** Registers a source and returns its tag. */
  add(source: Source): number {
    const tag = this.reserve()
    this.#sources.set(tag, source)
    return tag
  }

  /** Registers a source with the handle of what tells it events; nothing stays if opening that fails. */
  open(source: Source, open: (tag: number) => Handle): { tag: number; handle: Handle } {
    const tag = this.add(source)
    try {
      return { tag, handle: open(tag) }
    } catch (error) {
      this.remove(tag)
      throw error
    }
  }

  /** Takes a tag whose source follows with `attach`, if there is need of one, before the loop turns. */
  reserve(): number {
    return ++this.#lastTag
  }

  attach(tag: number, source: Source): void {
    this.#sources.set(tag, source)
  }

  /** Forgets a source. Events that still carry its tag are ignored, and what they hand over is closed. */
  remove(tag: number): void {
    this.#sources.delete(tag)
    this.#closeIfUnused()
  }

  /** The p2p_call for a call that completes here; valid until the next one. */
  callOf(tag: number, timeoutMs: number): Buffer {
    this.#callWords[1] = timeoutMs
    this.#callWords[4] = tag | 0
    this.#callWords[5] = (tag / 0x1_0000_0000) | 0
    return this.#call
  }

  /** Keeps the queue open until `leave`. */
  enter(): void {
    this.#users++
  }

  leave(): void {
    this.#users--
    this.#closeIfUnused()
  }

  /** Keeps the process alive until `release`. */
  hold(): void {
    if (this.#holds++ === 0) this.#bell.ref()
  }

  release(): void {
    if (--this.#holds === 0) this.#bell.unref()
  }

  /** Dispatches everything that waits. */
  drain(): void {
    // A listener that leads back here must not overwrite the records that are being read.
    if (this.#draining || current !== this) return
    this.#draining = true
    try {
      this.#drain()
    } finally {
      this.#draining = false
    }
    this.#closeIfUnused()
  }

  #drain(): void {
    for (let polls = 0; polls < MAX_POLLS; polls++) {
      const n = this.#records.poll(this.lib, this.handle)
      if (n === 0) return
      check(this.lib, n)
      for (let i = 0; i < n; i++) this.#dispatch(i)
    }
    // The bell does not ring again before the queue was seen empty.
    setImmediate(() => this.drain())
  }

  #dispatch(index: number): void {
    this.#records.select(index)
    try {
      const source = this.#sources.get(this.#records.tag)
      if (source) source.onEvent(this.#records)
      else if (HANDS_OVER.has(this.#records.type)) this.lib.p2p_close(this.#records.object)
    } catch (error) {
      // A listener's mistake is the program's, not that of the events behind it.
      process.nextTick(() => {
        throw error
      })
    }
  }

  #closeIfUnused(): void {
    if (this.#users > 0 || this.#sources.size > 0 || this.#draining || current !== this) return
    current = undefined
    this.lib.p2p_close(this.handle)
    this.#bell.destroy()
  }
}

let current: Queue | undefined

/** The queue of this environment, made when first asked for. The caller enters it before it awaits anything. */
export function queue(): Queue {
  current ??= new Queue()
  return current
}
