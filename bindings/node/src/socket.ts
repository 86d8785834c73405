// The adapter for code that wants a net.Socket: the library bridges the stream to one end of a socket pair.
import { Socket } from 'node:net'
import { StreamResetError } from './errors.js'
import { native } from './ffi.js'
import { type Handle, takeInt, takeText } from './memory.js'

/** What the adapter needs to know of its stream. */
interface Origin {
  readonly peer: string
}

class StreamSocket extends Socket {
  readonly #handle: Handle
  readonly #origin: Origin

  constructor(fd: number, handle: Handle, origin: Origin) {
    super({ fd, readable: true, writable: true, allowHalfOpen: true })
    this.#handle = handle
    this.#origin = origin
  }

  // A socket pair cannot carry a reset: it looks like a clean end, so the library is asked which of the two it was.
  override push(chunk: unknown, encoding?: BufferEncoding): boolean {
    const error = chunk === null ? this.#resetError() : undefined
    if (!error) return super.push(chunk, encoding)
    this.destroy(error)
    return false
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    const { code } = (error ?? {}) as { code?: string }
    const cause = code === 'ECONNRESET' || code === 'EPIPE' ? this.#resetError() : undefined
    // Before the descriptor closes: its end of file would call what the peer got the whole.
    if (error) native().p2p_stream_reset(this.#handle, 0)
    super._destroy(cause ?? error, callback)
  }

  #resetError(): StreamResetError | undefined {
    try {
      const info = JSON.parse(takeText((lib, out) => lib.p2p_info(this.#handle, out))) as {
        state?: string
        reset_code?: number
      }
      if (info.state !== 'reset') return undefined
      return new StreamResetError(`${this.#origin.peer} reset the stream`, info.reset_code ?? 0)
    } catch {
      return undefined // Closed by ourselves: an end.
    }
  }
}

/** Detaches a stream into a socket. */
export function detach(handle: Handle, origin: Origin): Socket {
  const fd = takeInt((lib, out) => lib.p2p_stream_fd(handle, out))
  return new StreamSocket(fd, handle, origin)
}
