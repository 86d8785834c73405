// Serving streams: each inbound stream goes to a handler, and is closed when the handler's promise resolves.
import { EVENT } from './constants.js'
import { InvalidArgumentError } from './errors.js'
import type { Handle } from './memory.js'
import type { Queue, Source } from './queue.js'
import type { Records } from './records.js'
import type { Stream, StreamFacts } from './stream.js'

/**
 * Gets each inbound stream. When the promise it returns resolves, the stream is ended and what the peer still sends is
 * thrown away; when it rejects, the stream is reset. A handler that returns no promise keeps its stream, and a stream that
 * was detached follows its socket. An 'error' of the stream that nobody listens to is dropped: no peer can end the process
 * by a reset.
 */
export type StreamHandler = (stream: Stream) => unknown

/** How to serve streams. */
export interface ServeOptions {
  /** Streams open at a time, beyond which the peer's are reset with code 0x1002; 0: unlimited. Default: 1024. */
  max_streams?: number | undefined
}

/** Serves streams for one or more protocol names until closed. */
export class StreamService implements Source {
  readonly protocols: readonly string[]
  readonly #queue: Queue
  readonly #handler: StreamHandler
  readonly #accept: (handle: Handle, facts: StreamFacts) => Stream
  readonly #onError: (error: unknown, stream: Stream) => void
  readonly #onClose: (service: StreamService) => void
  readonly #tag: number
  readonly #handle: Handle
  #closed = false

  /** @internal */
  constructor(
    queue: Queue,
    protocols: readonly string[],
    handler: StreamHandler,
    serve: (tag: number) => Handle,
    accept: (handle: Handle, facts: StreamFacts) => Stream,
    onError: (error: unknown, stream: Stream) => void,
    onClose: (service: StreamService) => void,
  ) {
    if (typeof handler !== 'function') throw new InvalidArgumentError('handler: expected a function')
    this.protocols = protocols
    this.#queue = queue
    this.#handler = handler
    this.#accept = accept
    this.#onError = onError
    this.#onClose = onClose
    const { tag, handle } = queue.open(this, serve)
    this.#tag = tag
    this.#handle = handle
  }

  /** Stops serving; open streams stay. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#queue.lib.p2p_close(this.#handle)
    this.#onClose(this)
  }

  /** @internal The node is closing; no event follows. */
  abandon(): void {
    this.close()
    this.#queue.remove(this.#tag)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
  }

  /** @internal */
  onEvent(event: Records): void {
    if (event.type === EVENT.CLOSED) {
      this.#queue.remove(this.#tag)
    } else if (event.type === EVENT.STREAM) {
      // Streams that were on their way when we closed are nobody's.
      if (this.#closed) {
        this.#queue.lib.p2p_stream_reset(event.object, 0)
        this.#queue.lib.p2p_close(event.object)
        return
      }
      const [peer = '', protocol = ''] = event.lines()
      void this.#run(this.#accept(event.object, { peer, protocol, flags: event.flags }))
    }
  }

  async #run(stream: Stream): Promise<void> {
    stream.on('error', () => {})
    try {
      const promise = this.#handler(stream)
      // `stream => stream.pipe(...)` returns something, but nothing to wait for.
      if (!(promise instanceof Promise)) return
      await promise
      if (stream.detached) return
      if (!stream.writableEnded) stream.end()
      stream.closeRead()
    } catch (error) {
      stream.reset()
      this.#onError(error, stream)
    }
  }
}
