// Request and response: one question to a service of a peer, one answer or a stream of them.
import { type CallOptions, call, splitOptions } from './call.js'
import { EVENT, PENDING } from './constants.js'
import { errorOf, InvalidArgumentError, RequestError } from './errors.js'
import { bytesOf, type Handle, lastError, textOf } from './memory.js'
import type { Queue, Source } from './queue.js'
import { reach } from './reach.js'
import type { Records } from './records.js'

/** How to ask. The timeout travels along: the handler sees the deadline, and hears of a cancellation. */
export interface RequestOptions extends CallOptions {
  /** Bytes that an answer, or one part of it, may have. Default: 4194304. */
  max_response?: number | undefined
  /** Also ask over a relayed connection with limits. Default: false. */
  allow_limited?: boolean | undefined
}

/** How to serve requests. */
export interface ServeRequestOptions {
  /** Bytes that a request may have. Default: 4194304. */
  max_request?: number | undefined
  /** Requests open at a time; more are told ERR_LIBP2P_BUSY. Default: 1024. */
  max_concurrent?: number | undefined
  /** Longest time for an answer in milliseconds; 0: the asker's. Default: 0. */
  timeout_ms?: number | undefined
}

/** What a handler knows of a request beside its bytes. */
export interface RequestContext {
  /** Who asks. */
  readonly peer: string
  /** The protocol name it asked under. */
  readonly protocol: string
  /** When the asker stops waiting; null: never. */
  readonly deadline: Date | null
  /** Aborted when the asker gives up or the deadline passes. */
  readonly signal: AbortSignal
}

/** What a handler may answer with: bytes, text (as UTF-8), or parts of either, one by one. */
export type Answer = Uint8Array | string | undefined
/** Answers requests: returns the answer, or is a generator of its parts. A thrown RequestError reaches the asker. */
export type RequestHandler = (
  data: Buffer,
  context: RequestContext,
) => Answer | Promise<Answer> | AsyncIterable<Uint8Array | string> | Promise<AsyncIterable<Uint8Array | string>>

type Ask = {
  queue: Queue
  node: Handle
  peer: string
  protocol: string
  data: Uint8Array
  bounds: CallOptions
  document: string | null
}

/** Checks what all requests have in common. */
export function ask(
  queue: Queue,
  node: Handle,
  peer: { toString(): string },
  protocol: string,
  data: Uint8Array | string,
  options: RequestOptions | undefined,
): Ask {
  const [bounds, document] = splitOptions(options)
  return {
    queue,
    node,
    peer: textOf('peer', peer),
    protocol: textOf('protocol', protocol),
    data: bytesOf('data', data),
    bounds,
    document,
  }
}

/** Asks once and resolves with the answer. */
export function send({ queue, node, peer, protocol, data, bounds, document }: Ask): Promise<Buffer> {
  return reach(queue, node, peer, bounds, (id, left) =>
    call(
      queue,
      node,
      left,
      (request) => queue.lib.p2p_request_send(node, id, protocol, data, data.length, document, null, null, request),
      (event) => event.data(),
    ),
  )
}

/** Asks for a streamed answer and iterates over its parts. Parts that nobody fetches hold the handler back. */
export async function* open({
  queue,
  node,
  peer,
  protocol,
  data,
  bounds,
  document,
}: Ask): AsyncGenerator<Buffer, void, undefined> {
  const { lib } = queue
  const exchange = await reach(queue, node, peer, bounds, (id, left) =>
    call(
      queue,
      node,
      left,
      (request) => lib.p2p_request_open(node, id, protocol, data, data.length, document, null, request),
      (event) => event.object,
    ),
  )
  // The exchange's own deadline bounds each part.
  const unbounded = { signal: bounds.signal, timeout: Number.POSITIVE_INFINITY }
  const next = () =>
    call(
      queue,
      exchange,
      unbounded,
      (request) => lib.p2p_request_next(exchange, null, null, request),
      (event) => (event.value > 0 ? event.data() : null),
    )
  try {
    // The next part is under way while the consumer is busy with this one.
    let pending = next()
    for (;;) {
      const part = await pending
      if (part === null) return
      pending = next()
      pending.catch(() => {})
      yield part
    }
  } finally {
    lib.p2p_close(exchange)
  }
}

/** One inbound request. */
class Exchange implements RequestContext {
  readonly peer: string
  readonly protocol: string
  readonly deadline: Date | null
  #abort: AbortController | undefined
  #cancelled = false

  constructor(peer: string, protocol: string, deadlineMs: number) {
    this.peer = peer
    this.protocol = protocol
    this.deadline = deadlineMs < 0 ? null : new Date(Date.now() + deadlineMs)
  }

  get signal(): AbortSignal {
    if (!this.#abort) {
      this.#abort = new AbortController()
      if (this.#cancelled) this.#abort.abort()
    }
    return this.#abort.signal
  }

  get cancelled(): boolean {
    return this.#cancelled
  }

  cancel(): void {
    this.#cancelled = true
    this.#abort?.abort()
  }
}

/** Serves requests for one protocol name until closed. */
export class RequestService implements Source {
  readonly protocol: string
  readonly #queue: Queue
  readonly #handler: RequestHandler
  readonly #onError: (error: unknown, context: RequestContext) => void
  readonly #onClose: (service: RequestService) => void
  readonly #open = new Map<Handle, Exchange>()
  readonly #tag: number
  readonly #handle: Handle
  #closed = false
  #silent = false

  /** @internal */
  constructor(
    queue: Queue,
    protocol: string,
    handler: RequestHandler,
    serve: (tag: number) => Handle,
    onError: (error: unknown, context: RequestContext) => void,
    onClose: (service: RequestService) => void,
  ) {
    if (typeof handler !== 'function') throw new InvalidArgumentError('handler: expected a function')
    this.protocol = protocol
    this.#queue = queue
    this.#handler = handler
    this.#onError = onError
    this.#onClose = onClose
    const { tag, handle } = queue.open(this, serve)
    this.#tag = tag
    this.#handle = handle
  }

  /** Stops serving. Requests that are open may still be answered. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#queue.lib.p2p_close(this.#handle)
    this.#onClose(this)
  }

  // The service has told its last, and nobody is left who could hear of a cancellation.
  #removeWhenDone(): void {
    if (this.#silent && this.#open.size === 0) this.#queue.remove(this.#tag)
  }

  /** @internal The node is closing, and with it the requests that are open. */
  abandon(): void {
    this.close()
    for (const context of this.#open.values()) context.cancel()
    this.#queue.remove(this.#tag)
  }

  /** @internal */
  onEvent(event: Records): void {
    if (event.type === EVENT.REQUEST_CANCELLED) {
      this.#open.get(event.subject)?.cancel()
    } else if (event.type === EVENT.CLOSED) {
      this.#silent = true
      this.#removeWhenDone()
    } else if (event.type === EVENT.REQUEST) {
      const request = event.object
      // Requests that were on their way when we closed are nobody's.
      if (this.#closed) {
        this.#queue.lib.p2p_close(request)
        return
      }
      const [peer = '', protocol = ''] = event.lines()
      const context = new Exchange(peer, protocol, event.value)
      this.#open.set(request, context)
      void this.#answer(request, event.data(), context)
    }
  }

  async #answer(request: Handle, data: Buffer, context: Exchange): Promise<void> {
    const { lib } = this.#queue
    try {
      const answer = await this.#handler(data, context)
      if (isParts(answer)) {
        for await (const part of answer) {
          await this.#respond(request, bytesOf('part', part), 1)
          if (context.cancelled) break
        }
        await this.#respond(request, nothing, 0)
      } else {
        await this.#respond(request, answer === undefined ? nothing : bytesOf('answer', answer), 0)
      }
    } catch (error) {
      try {
        if (!(error instanceof RequestError)) throw error
        // The words travel as a C text, and what the asker sent may be quoted in them.
        lib.p2p_request_fail(request, error.reason, error.message.replaceAll('\0', '\ufffd'))
      } catch (mistake) {
        // The asker learns that it failed, not how: that is for the server's own log.
        if (!context.cancelled) this.#onError(mistake, context)
      }
    } finally {
      lib.p2p_close(request)
      this.#open.delete(request)
      this.#removeWhenDone()
    }
  }

  /** Sends a part, or the last one, and waits while the asker holds back. */
  #respond(request: Handle, data: Uint8Array, more: 0 | 1): Promise<void> | undefined {
    const queue = this.#queue
    const tag = queue.reserve()
    const status = queue.lib.p2p_request_respond(request, data, data.length, more, queue.callOf(tag, -1))
    if (status < 0) throw lastError(queue.lib, status)
    if (status !== PENDING) return undefined
    return new Promise((resolve, reject) => {
      queue.attach(tag, {
        onEvent(event) {
          queue.remove(tag)
          if (event.status < 0) reject(errorOf(event.status, event.text(), event.value))
          else resolve()
        },
      })
    })
  }
}

const nothing = new Uint8Array(0)

function isParts(answer: unknown): answer is AsyncIterable<Uint8Array | string> {
  return typeof answer === 'object' && answer !== null && Symbol.asyncIterator in answer
}
