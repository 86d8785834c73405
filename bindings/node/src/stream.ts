// A Stream as a node:stream Duplex: bytes by default, framed messages on request, a socket if you want one.
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { inspect } from 'node:util'
import { type CallOptions, call, type Late } from './call.js'
import { E, EVENT, FLAG, PENDING } from './constants.js'
import { ClosedError, errorOf, Libp2pError } from './errors.js'
import { bytesOf, check, checkOptions, type Handle, integerOf, lastError, takeText } from './memory.js'
import type { Queue, Source } from './queue.js'
import type { Records } from './records.js'
import { detach } from './socket.js'

/** Bytes that the library may have under way to a stream before it holds the peer back. */
const WINDOW = 256 * 1024
/** Small chunks that were written meanwhile go out as one, up to this size. */
const GATHER_LIMIT = 1024 * 1024
/** How long a detached stream may take to send what its socket wrote last. */
const FLUSH_MS = 10_000
const DEFAULT_MESSAGE_LIMIT = 1024 * 1024

/** What is known of a stream when it opens. */
export interface StreamFacts {
  readonly peer: string
  readonly protocol: string
  readonly flags: number
}

/** How to read one framed message. */
export interface MessageOptions extends CallOptions {
  /** Bytes that a message may have; a larger one resets the stream. Default: 1048576. */
  max?: number | undefined
}

type WriteCallback = (error?: Error | null) => void

const framed = new WeakSet<Uint8Array>()

/**
 * An ordered, reliable pair of byte flows with one peer under one protocol name.
 *
 * Each side ends its own flow: `end()` here is `'end'` there. `destroy()` before both flows have ended resets the stream,
 * unless the peer has ended its own and nothing of ours is left to send. After `end()`, `closeRead()` closes without a reset.
 * A reset by the peer is an `'error'` with `code` 'ERR_LIBP2P_RESET' and the peer's number as `reason`; it is never an `'end'`.
 */
export class Stream extends Duplex implements Source {
  /** The peer at the other end. */
  readonly peer: string
  /** The protocol that both sides agreed on. */
  readonly protocol: string
  /** The peer opened the connection. */
  readonly inbound: boolean
  /** The connection runs through a relay. */
  readonly relayed: boolean
  /** The relay limits time and bytes. */
  readonly limited: boolean

  readonly #queue: Queue
  readonly #handle: Handle
  readonly #onClose: (stream: Stream) => void
  readonly #tag: number
  #reading: 'not yet' | 'bytes' | 'messages' | 'socket' = 'not yet'
  #unreturned = 0
  #writing: WriteCallback | undefined
  #frames: Frames | undefined
  readonly #leaving = new Set<Promise<void>>()
  readonly #kept: Buffer[] = []
  #socket: Socket | undefined
  #gone = false
  #ended = false
  #deaf = false
  #promised = false

  /** @internal */
  constructor(queue: Queue, handle: Handle, facts: StreamFacts, onClose: (stream: Stream) => void) {
    super({ allowHalfOpen: true, readableHighWaterMark: 64 * 1024, writableHighWaterMark: 64 * 1024 })
    this.peer = facts.peer
    this.protocol = facts.protocol
    this.inbound = (facts.flags & FLAG.INBOUND) !== 0
    this.relayed = (facts.flags & FLAG.RELAYED) !== 0
    this.limited = (facts.flags & FLAG.LIMITED) !== 0
    this.#queue = queue
    this.#handle = handle
    this.#onClose = onClose
    this.#tag = queue.add(this)
  }

  // ---- reading bytes

  override _read(): void {
    if (this.#reading === 'not yet') this.#watch('bytes', 0)
    if (this.#reading === 'bytes' && this.#unreturned >= WINDOW / 2) this.#returnCredit()
  }

  #watch(mode: 'bytes' | 'messages', maxMessage: number): void {
    const { lib } = this.#queue
    const status = lib.p2p_stream_watch(this.#handle, this.#queue.handle, this.#tag, WINDOW, maxMessage)
    if (status < 0) this.destroy(lastError(lib, status))
    else this.#reading = mode
  }

  #returnCredit(): void {
    if (this.#gone) return
    this.#queue.lib.p2p_stream_credit(this.#handle, this.#unreturned)
    this.#unreturned = 0
  }

  /** Iterates over the bytes. Leaving the loop early destroys the stream; its end leaves our side open for writing. */
  override [Symbol.asyncIterator](): NodeJS.AsyncIterator<Buffer, undefined, undefined> {
    const chunks = this.iterator({ destroyOnReturn: false }) as NodeJS.AsyncIterator<Buffer, undefined, undefined>
    const leave = (): Promise<IteratorResult<Buffer, undefined>> => {
      this.destroy()
      return Promise.resolve({ value: undefined, done: true })
    }
    return {
      next: () => chunks.next(),
      return: leave,
      throw: leave,
      [Symbol.asyncIterator]() {
        return this
      },
      async [Symbol.asyncDispose]() {
        await leave()
      },
    }
  }

  /** Gives up reading: what the peer still sends is thrown away. Writing goes on. */
  closeRead(): void {
    if (this.destroyed || this.readableEnded) return
    check(this.#queue.lib, this.#queue.lib.p2p_stream_close_read(this.#handle))
    this.#deaf = true
    this.#endReading()
  }

  #endReading(): void {
    this.#ended = true
    if (this.#frames) this.#frames.end()
    if (this.#reading !== 'bytes') this.#reading = 'bytes'
    this.push(null)
    if (this.listenerCount('readable') === 0 && (this.#frames || this.readableFlowing !== true)) this.resume()
  }

  // ---- writing bytes

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: WriteCallback): void {
    const status = this.#send(chunk, callback)
    if (status !== PENDING) callback(status < 0 ? lastError(this.#queue.lib, status) : null)
  }

  override _writev(entries: { chunk: Buffer; encoding: BufferEncoding }[], callback: WriteCallback): void {
    let from = 0
    // A loop and no call from within a call: of small messages there may be more than the stack is deep.
    const next = (error?: Error | null): void => {
      let failure = error
      while (!failure && from < entries.length) {
        const chunk = (entries[from] as { chunk: Buffer }).chunk
        let to = from + 1
        let size = chunk.length
        while (to < entries.length && !framed.has(chunk)) {
          const { chunk: more } = entries[to] as { chunk: Buffer }
          if (framed.has(more) || size + more.length > GATHER_LIMIT) break
          size += more.length
          to++
        }
        const gathered =
          to === from + 1
            ? chunk
            : Buffer.concat(
                entries.slice(from, to).map((entry) => entry.chunk),
                size,
              )
        from = to
        const status = this.#send(gathered, next)
        if (status === PENDING) return
        if (status < 0) failure = lastError(this.#queue.lib, status)
      }
      callback(failure)
    }
    next()
  }

  /** Hands the library bytes, or a message, and returns its result; `done` follows if that is pending. */
  #send(chunk: Buffer, done: WriteCallback): number {
    const { lib } = this.#queue
    const write = framed.has(chunk) ? lib.p2p_stream_write_message : lib.p2p_stream_write
    // No timeout: backpressure may last; `setDeadline` bounds it where wanted.
    const status = write(this.#handle, chunk, chunk.length, this.#queue.callOf(this.#tag, -1))
    if (status === PENDING) this.#writing = done
    return status
  }

  override _final(callback: WriteCallback): void {
    const { lib } = this.#queue
    const status = lib.p2p_stream_close_write(this.#handle, this.#queue.callOf(this.#tag, -1))
    if (status === PENDING) this.#writing = callback
    else callback(status < 0 ? lastError(lib, status) : null)
  }

  /**
   * Bounds all present and later reads and writes, in milliseconds from now; past it the stream fails with
   * ERR_LIBP2P_TIMEOUT. 0 removes the bound, undefined leaves it as it is.
   */
  setDeadline(bounds: { read?: number | undefined; write?: number | undefined }): void {
    checkOptions(bounds, 'read', 'write')
    const ms = (name: string, value: number | undefined) =>
      value === undefined ? -1 : integerOf(name, value, 0, 0x7fff_ffff)
    const { lib } = this.#queue
    check(lib, lib.p2p_stream_deadline(this.#handle, ms('read', bounds.read), ms('write', bounds.write)))
  }

  // ---- messages

  /** Sends one message, framed with its length, and resolves when the stream takes more. */
  writeMessage(data: Uint8Array | string): Promise<void> {
    this.#tellByPromise()
    const bytes = bytesOf('data', data)
    // A view of its own marks this write alone as a message.
    const message = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    framed.add(message)
    return new Promise((resolve, reject) => {
      this.write(message, (error) => (error ? reject(error) : resolve()))
    })
  }

  /** Reads one message, framed with its length; null at the end of the peer's flow, and only there. */
  async readMessage(options: MessageOptions = {}): Promise<Buffer | null> {
    checkOptions(options, 'signal', 'timeout', 'max')
    this.#claim('readMessage')
    // What an aborted call takes in its last moment comes before what this one would take.
    while (this.#leaving.size > 0) await Promise.all(this.#leaving)
    if (this.#kept.length > 0) {
      options.signal?.throwIfAborted()
      return this.#kept.shift() as Buffer
    }
    if (this.#ended) return null
    if (this.destroyed) throw this.#whyClosed()
    this.#tellByPromise()
    this.#reading = 'messages'
    const max = integerOf('max', options.max ?? DEFAULT_MESSAGE_LIMIT, 1, 2 ** 30)
    const { lib } = this.#queue
    const bounds = { signal: options.signal, timeout: options.timeout ?? Number.POSITIVE_INFINITY }
    try {
      const message = await call(
        this.#queue,
        this.#handle,
        bounds,
        (request) => lib.p2p_stream_read_message(this.#handle, max, null, null, request),
        (event) => (event.value > 0 ? event.data() : null),
        () => this.#keep(),
      )
      if (message === null) this.#endReading()
      return message
    } catch (error) {
      // A timeout and an abort lose nothing; all else ends the stream.
      const { code } = error as { code?: string }
      if (code === 'ERR_LIBP2P_RESET' && this.destroyed) throw this.#whyClosed() // by this side
      if (code === 'ERR_LIBP2P_RESET' || code === 'ERR_LIBP2P_TOO_BIG') this.destroy(error as Error)
      throw error
    }
  }

  // Makes the calls that follow wait for an aborted one, and keeps the message that it still brings.
  #keep(): Late {
    let left = () => {}
    const leaving = new Promise<void>((resolve) => {
      left = resolve
    })
    this.#leaving.add(leaving)
    return (event) => {
      if (event.status >= 0) {
        if (event.value > 0) this.#kept.push(event.data())
        else this.#endReading()
      }
      this.#leaving.delete(leaving)
      left()
    }
  }

  /** Iterates over the peer's messages. Leaving the loop early destroys the stream. */
  frames(options: { max?: number | undefined } = {}): AsyncIterableIterator<Buffer> {
    checkOptions(options, 'max')
    this.#claim('frames')
    const max = integerOf('max', options.max ?? DEFAULT_MESSAGE_LIMIT, 1, 2 ** 30)
    this.#tellByPromise()
    const frames = new Frames(this, (bytes) => {
      this.#unreturned += bytes
      if (this.#unreturned >= WINDOW / 2) this.#returnCredit()
    })
    if (this.#ended) {
      frames.end()
      return frames
    }
    if (this.destroyed) throw this.#whyClosed()
    this.#frames = frames
    this.#watch('messages', max)
    return frames
  }

  // A flow that was cut must never look like one that ended.
  #whyClosed(): Error {
    return this.errored ?? new ClosedError('the stream is closed')
  }

  // An 'error' event that nobody listens to ends the process; here the promise has told it already.
  #tellByPromise(): void {
    if (this.#promised) return
    this.#promised = true
    this.on('error', () => {})
  }

  #claim(verb: string): void {
    const state = this.#frames
      ? 'frames()'
      : this.#reading === 'messages' && verb === 'readMessage'
        ? 'not yet'
        : this.#reading
    if (state !== 'not yet' && !this.#ended) {
      throw new Libp2pError('ERR_LIBP2P_STATE', `${verb}: the stream is read as ${state} already`)
    }
  }

  // ---- socket

  /**
   * Turns the stream into a net.Socket, for code that wants one. Nothing may have been read. The stream then follows the
   * socket: it closes after it, with what was written sent, and is reset if the socket is destroyed with an error.
   */
  detach(): Socket {
    this.#claim('detach')
    if (this.destroyed) throw new ClosedError('the stream is closed')
    this.#socket = detach(this.#handle, this)
    this.#reading = 'socket'
    this.#socket.once('close', () => this.#follow(Date.now() + FLUSH_MS))
    return this.#socket
  }

  /** @internal */
  get detached(): boolean {
    return this.#socket !== undefined
  }

  // What the socket wrote last is still on its way through the pair when the socket is closed, and closing the handle would cut it off.
  #follow(limit: number): void {
    if (this.destroyed) return
    const { state } = this.info()
    const sending = state === 'open' || state === 'read_closed'
    if (sending && Date.now() < limit) setTimeout(() => this.#follow(limit), 5).unref()
    else this.destroy()
  }

  // ---- ending

  /** Gives the stream up in both directions at once and tells the peer a code. */
  reset(code = 0): void {
    integerOf('code', code, 0, 0xffff_ffff)
    if (this.destroyed) return
    this.#queue.lib.p2p_stream_reset(this.#handle, code)
    this.#gone = true
    this.destroy()
  }

  override _destroy(error: Error | null, callback: WriteCallback): void {
    const { lib } = this.#queue
    // A detached stream follows its socket: whether that has ended its flow is the library's to know.
    const finished = this.#socket
      ? this.#socket.destroyed
      : this.#ended && (this.writableFinished || this.writableLength === 0)
    if (!this.#gone && (error || !finished)) lib.p2p_stream_reset(this.#handle, 0)
    this.#gone = true
    this.#socket?.destroy()
    lib.p2p_close(this.#handle)
    this.#frames?.end(error ?? this.#whyClosed())
    const writing = this.#writing
    this.#writing = undefined
    writing?.(error ?? new ClosedError('the stream was closed before the write was through'))
    this.#onClose(this)
    this.#queue.remove(this.#tag)
    callback(error)
  }

  /** What the library knows of the stream: state, bytes in each direction, and more; see docs/info.md. */
  info(): Record<string, unknown> {
    return JSON.parse(takeText((lib, out) => lib.p2p_info(this.#handle, out))) as Record<string, unknown>
  }

  /** @internal */
  onEvent(event: Records): void {
    if (this.destroyed || (this.#deaf && isOfReading(event))) return
    switch (event.type) {
      case EVENT.STREAM_DATA:
        if (this.#frames) this.#frames.push(event.data())
        else if (event.dataLength > 0) {
          this.#unreturned += event.dataLength
          this.push(event.data())
        }
        break
      case EVENT.STREAM_END:
        if (this.#frames) {
          this.#endReading()
        } else {
          this.#ended = true
          this.push(null)
        }
        break
      case EVENT.STREAM_RESET:
        // A deadline is ours alone: the peer hears of it by the reset.
        this.#gone = event.status !== E.TIMEOUT
        this.destroy(errorOf(event.status, event.text(), event.value))
        break
      case EVENT.DONE: {
        const callback = this.#writing
        this.#writing = undefined
        callback?.(event.status < 0 ? errorOf(event.status, event.text(), event.value) : null)
      }
    }
  }

  [inspect.custom](): string {
    const flow = (ended: boolean) => (ended ? 'ended' : 'open')
    const state = this.destroyed ? 'closed' : `reading ${flow(this.readableEnded)}, writing ${flow(this.writableEnded)}`
    return `Stream { peer: '${this.peer}', protocol: '${this.protocol}', state: '${state}' }`
  }
}

/** Tells only those who read: data, their end, and that reading ended by our own wish. A reset ends the writing too. */
function isOfReading({ type, status }: Records): boolean {
  return type === EVENT.STREAM_DATA || type === EVENT.STREAM_END || (type === EVENT.STREAM_RESET && status === E.STATE)
}

/** The messages of one stream, in order; bounded by the stream's credit. */
class Frames implements AsyncIterableIterator<Buffer> {
  readonly #stream: Stream
  readonly #consume: (bytes: number) => void
  readonly #messages: Buffer[] = []
  readonly #waiting: { resolve: (result: IteratorResult<Buffer>) => void; reject: (error: Error) => void }[] = []
  #ended = false
  #error: Error | undefined

  constructor(stream: Stream, consume: (bytes: number) => void) {
    this.#stream = stream
    this.#consume = consume
  }

  push(message: Buffer): void {
    const reader = this.#waiting.shift()
    if (!reader) {
      this.#messages.push(message)
      return
    }
    this.#consumed(message)
    reader.resolve({ value: message, done: false })
  }

  // An empty message takes a byte of the credit too, or a peer could send them without end.
  #consumed(message: Buffer): void {
    this.#consume(Math.max(message.length, 1))
  }

  end(error?: Error): void {
    if (this.#ended) return
    this.#ended = true
    this.#error = error
    for (const { resolve, reject } of this.#waiting.splice(0)) {
      if (error) reject(error)
      else resolve({ value: undefined, done: true })
    }
  }

  next(): Promise<IteratorResult<Buffer>> {
    const message = this.#messages.shift()
    if (message) {
      this.#consumed(message)
      return Promise.resolve({ value: message, done: false })
    }
    if (this.#ended) {
      const error = this.#error
      this.#error = undefined
      return error ? Promise.reject(error) : Promise.resolve({ value: undefined, done: true })
    }
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }))
  }

  return(): Promise<IteratorResult<Buffer>> {
    this.#messages.length = 0
    this.end()
    this.#stream.destroy()
    return Promise.resolve({ value: undefined, done: true })
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}
