// Discovery: how peers that know a name, and not each other, meet; and the rendezvous points at which they may.
import { EventEmitter } from 'node:events'
import { inspect } from 'node:util'
import { type CallOptions, call, splitOptions } from './call.js'
import { EVENT, FLAG } from './constants.js'
import { errorOf, type Libp2pError } from './errors.js'
import { type Handle, listOf, type OpenNode, optionsOf, takeHandle, takeLines, takeText, textOf } from './memory.js'
import type { Queue, Source } from './queue.js'
import type { Records } from './records.js'

/** A place to meet at. */
export type DiscoverySource = 'dht' | 'rendezvous' | 'mdns'

/** Where to advertise or look. */
export interface SourceOptions {
  /** Default: every source that is on. */
  sources?: readonly DiscoverySource[] | undefined
  /** Rendezvous points in place of the configured ones. */
  points?: readonly string[] | undefined
  /** Closes what was started. */
  signal?: AbortSignal | undefined
}

/** How to advertise. Times are milliseconds. */
export interface AdvertiseOptions extends SourceOptions {
  /** Life of an advertisement that is not renewed. Default: two hours. */
  ttl_ms?: number | undefined
  /** First pause after a failure; it doubles. Default: 1000. */
  retry_min_ms?: number | undefined
  /** Longest pause. Default: 60000. */
  retry_max_ms?: number | undefined
}

/** How to look for peers. Times are milliseconds. */
export interface FindOptions extends SourceOptions {
  /** Peers after which the search ends. Default: no limit. */
  limit?: number | undefined
  /** Look again and again instead of ending when every source has answered. Default: false. */
  follow?: boolean | undefined
  /** Longest pause between two looks. Default: 60000. */
  interval_ms?: number | undefined
  /** First pause; it doubles. Default: 1000. */
  retry_min_ms?: number | undefined
}

/** How to join a topic. Times are milliseconds. */
export interface MeetOptions extends Omit<AdvertiseOptions, 'sources'> {
  /** 'peers': those who are connected already. Default: every source that is on. */
  sources?: readonly (DiscoverySource | 'peers')[] | undefined
  /** Let others find this node. Default: true. */
  advertise?: boolean | undefined
  /** Look for others. Default: true. */
  find?: boolean | undefined
  /** Connect to those who were found. Default: true. */
  connect?: boolean | undefined
  /** Found peers are dialled while fewer are connected. Default: 64. */
  max_peers?: number | undefined
  /** Longest pause between two looks at a source. Default: 60000. */
  interval_ms?: number | undefined
  /** Failures after which a peer is forgotten until it is found again; 0: none. Default: 8. */
  retry_limit?: number | undefined
  /** Longest time for one attempt to connect. Default: 15000. */
  connect_timeout_ms?: number | undefined
}

/** How to register at a rendezvous point. */
export interface RegisterOptions extends CallOptions {
  /** Life of the registration; it is renewed before it ends. Default: two hours. */
  ttl_ms?: number | undefined
  retry_min_ms?: number | undefined
  retry_max_ms?: number | undefined
}

/** What to ask a rendezvous point for. */
export interface RendezvousQuestion extends CallOptions {
  limit?: number | undefined
  /** The cookie of an earlier answer: only what came since. */
  cookie?: string | undefined
}

/** A peer that has registered. Its addresses are signed by itself. */
export interface RegisteredPeer {
  peer: string
  namespace: string
  addresses: string[]
  /** Milliseconds left. */
  ttl_ms: number
}

/** What a rendezvous point answered. */
export interface RendezvousAnswer {
  registrations: RegisteredPeer[]
  cookie: string
  /** Registrations with a bad signature, which are left out. */
  refused: number
}

export interface FoundPeer {
  readonly peer: string
  /** 'dht', 'mdns', or 'rendezvous ' and the point's peer id. */
  readonly source: string
  readonly addresses: string[]
}

export interface MetPeer {
  readonly peer: string
  /** What told of it first; 'peers': its own word. */
  readonly source: string
  readonly address: string
  readonly inbound: boolean
  readonly relayed: boolean
  readonly limited: boolean
}

/** What discovery tells while it runs. */
export interface DiscoveryEvents {
  /** A source told of a peer of the topic. */
  'peer:found': [event: FoundPeer]
  /** A peer of the meeting is connected. */
  'peer:connect': [event: MetPeer]
  /** A peer left the meeting, or is no longer connected. */
  'peer:leave': [event: { readonly peer: string }]
  /** A peer that was found could not be connected; retryMs 0: there is no next try. */
  'peer:unreachable': [event: { readonly peer: string; readonly error: Libp2pError; readonly retryMs: number }]
  /** A source knows of this node now. */
  'source:advertised': [event: { readonly source: string; readonly nextMs: number }]
  /** A source could not be told or asked; retryMs 0: there is no next try. */
  'source:failure': [event: { readonly source: string; readonly error: Libp2pError; readonly retryMs: number }]
  /** Events were dropped here because the program did not read them in time. */
  'event:dropped': [event: { readonly count: number }]
  /** It has ended. */
  close: [error: Libp2pError | undefined]
}

/** Something that runs in the library until it is closed, and tells of it. */
class Running extends EventEmitter<DiscoveryEvents> implements Source {
  readonly topic: string
  protected readonly queue: Queue
  #handle: Handle = 0
  #tag = 0
  #ended = false
  #signal: AbortSignal | undefined
  #abort: (() => void) | undefined

  /** @internal */
  constructor(queue: Queue, topic: string) {
    super()
    this.queue = queue
    this.topic = topic
  }

  /** @internal */
  start(signal: AbortSignal | undefined, open: (tag: number, out: Buffer) => number): this {
    signal?.throwIfAborted()
    const { tag, handle } = this.queue.open(this, (tag) => takeHandle((_, out) => open(tag, out)))
    return this.started(tag, handle, signal)
  }

  /** @internal */
  started(tag: number, handle: Handle, signal: AbortSignal | undefined): this {
    this.#tag = tag
    this.#handle = handle
    if (signal) {
      this.#signal = signal
      this.#abort = () => this.close()
      signal.addEventListener('abort', this.#abort, { once: true })
    }
    return this
  }

  /** What the library knows of it, and of each source; see docs/info.md. */
  info(): Record<string, unknown> {
    return JSON.parse(takeText((lib, out) => lib.p2p_info(this.#handle, out))) as Record<string, unknown>
  }

  /** It has ended. */
  get closed(): boolean {
    return this.#ended
  }

  protected get handle(): Handle {
    return this.#handle
  }

  /** Ends it. */
  close(): void {
    this.queue.lib.p2p_close(this.#handle)
    this.#end(undefined)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
  }

  /** @internal Takes the end. */
  protected over(_error: Libp2pError | undefined): void {}

  #end(error: Libp2pError | undefined): void {
    if (this.#ended) return
    this.#ended = true
    if (this.#abort) this.#signal?.removeEventListener('abort', this.#abort)
    this.over(error)
    this.emit('close', error)
    this.queue.remove(this.#tag)
  }

  /** @internal */
  onEvent(event: Records): void {
    switch (event.type) {
      case EVENT.DISCOVERY_FOUND: {
        const [peer = '', source = '', ...addresses] = event.lines()
        this.emit('peer:found', { peer, source, addresses })
        break
      }
      case EVENT.DISCOVERY_CONNECTED: {
        const [peer = '', source = '', address = ''] = event.lines()
        const { flags } = event
        this.emit('peer:connect', {
          peer,
          source,
          address,
          inbound: (flags & FLAG.INBOUND) !== 0,
          relayed: (flags & FLAG.RELAYED) !== 0,
          limited: (flags & FLAG.LIMITED) !== 0,
        })
        break
      }
      case EVENT.DISCOVERY_LEFT:
        this.emit('peer:leave', { peer: event.text() })
        break
      case EVENT.DISCOVERY_UNREACHABLE: {
        const error = errorOf(event.status, event.text(), event.value)
        this.emit('peer:unreachable', { peer: before(event.text(), ':'), error, retryMs: event.object })
        break
      }
      case EVENT.DISCOVERY_ADVERTISED:
        this.emit('source:advertised', { source: event.text(), nextMs: event.value })
        break
      case EVENT.DISCOVERY_FAILED: {
        const error = errorOf(event.status, event.text(), event.value)
        this.emit('source:failure', { source: before(event.text(), ': '), error, retryMs: event.object })
        break
      }
      case EVENT.DROPPED:
        this.emit('event:dropped', { count: event.value })
        break
      case EVENT.CLOSED:
        if (event.status < 0) this.#end(errorOf(event.status, event.text(), event.value))
        else this.#end(undefined)
        // What ended by itself still has its handle.
        this.queue.lib.p2p_close(this.#handle)
        break
    }
  }

  [inspect.custom](): string {
    return `${this.constructor.name} { topic: '${this.topic}', state: '${this.#ended ? 'closed' : 'open'}' }`
  }
}

function before(text: string, separator: string): string {
  return text.slice(0, Math.max(0, text.indexOf(separator)))
}

/** Items that a reader has not taken yet; beyond this the oldest are dropped and counted. */
const CAPACITY = 1024

/** Items on their way to one reader. */
class Flow<T> {
  readonly #items: T[] = []
  readonly #waiting: { resolve: (result: IteratorResult<T, undefined>) => void; reject: (error: unknown) => void }[] =
    []
  readonly #capacity: number
  #ended = false
  #error: Libp2pError | undefined
  missed = 0

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  push(item: T): void {
    const reader = this.#waiting.shift()
    if (reader) {
      reader.resolve({ value: item, done: false })
      return
    }
    this.#items.push(item)
    if (this.#items.length > this.#capacity) {
      this.#items.shift()
      this.missed++
    }
  }

  next(): Promise<IteratorResult<T, undefined>> {
    const item = this.#items.shift()
    if (item !== undefined) return Promise.resolve({ value: item, done: false })
    if (!this.#ended) return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }))
    const error = this.#error
    this.#error = undefined
    return error ? Promise.reject(error) : Promise.resolve({ value: undefined, done: true })
  }

  end(error?: Libp2pError): void {
    this.#ended = true
    this.#error = error
    for (const { resolve, reject } of this.#waiting.splice(0)) {
      const failure = this.#error
      this.#error = undefined
      if (failure) reject(failure)
      else resolve({ value: undefined, done: true })
    }
  }
}

/** This node is told to be of a topic until `close`, which takes it back where that is possible. */
export class Advertisement extends Running {
  /** Milliseconds that a rendezvous point granted at first; 0 for what `advertise` began. */
  readonly grantedMs: number

  /** @internal */
  constructor(queue: Queue, topic: string, grantedMs = 0) {
    super(queue, topic)
    this.grantedMs = grantedMs
  }
}

/**
 * The peers of a topic as they are found, each once. The iteration ends when every source has answered, and fails if none could be asked.
 * Leaving a `for await` loop ends the search.
 */
export class PeerSearch extends Running implements AsyncIterableIterator<FoundPeer, undefined, undefined> {
  readonly #flow = new Flow<FoundPeer>(Number.POSITIVE_INFINITY)

  /** @internal */
  constructor(queue: Queue, topic: string) {
    super(queue, topic)
    this.on('peer:found', (found) => this.#flow.push(found))
  }

  /** @internal */
  protected override over(error: Libp2pError | undefined): void {
    this.#flow.end(error)
  }

  next(): Promise<IteratorResult<FoundPeer, undefined>> {
    return this.#flow.next()
  }

  return(): Promise<IteratorResult<FoundPeer, undefined>> {
    this.close()
    return Promise.resolve({ value: undefined, done: true })
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}

/**
 * This node together with all others that joined the topic, until `close`. Iterating brings each peer as it is connected; one that is lost
 * and comes back comes again. Leaving the loop does not leave the topic, and connections outlive the meeting.
 */
export class Meeting extends Running implements AsyncIterable<string> {
  readonly #flow = new Flow<string>(CAPACITY)

  /** @internal */
  constructor(queue: Queue, topic: string) {
    super(queue, topic)
    this.on('peer:connect', ({ peer }) => this.#flow.push(peer))
  }

  /** @internal */
  protected override over(): void {
    this.#flow.end()
  }

  /** The peers that are connected. */
  peers(): string[] {
    return takeLines((lib, out) => lib.p2p_discovery_peers(this.handle, out))
  }

  /** Peers that the iteration lost because they were not fetched; `peers()` has all. */
  get missed(): number {
    return this.#flow.missed
  }

  [Symbol.asyncIterator](): AsyncIterator<string, undefined, undefined> {
    return { next: () => this.#flow.next(), return: () => Promise.resolve({ value: undefined, done: true }) }
  }
}

/** How a node finds peers: `node.discovery`. Topics are names of 1 to 255 bytes; those of pubsub are another matter. */
export class Discovery {
  readonly #queue: Queue
  readonly #node: OpenNode

  /** @internal */
  constructor(queue: Queue, node: OpenNode) {
    this.#queue = queue
    this.#node = node
  }

  /** Joins a topic: peers that join the same one, anywhere, are found, connected and kept connected, until closed. */
  join(topic: string, options: MeetOptions = {}): Meeting {
    const { lib, handle } = this.#queue
    const { signal, ...rest } = options
    const [name, document] = [textOf('topic', topic), optionsOf(rest)]
    return new Meeting(this.#queue, name).start(signal, (tag, out) =>
      lib.p2p_discovery_join(this.#node(), name, document, handle, tag, out),
    )
  }

  /** Tells the sources that this node is of a topic, again and again, until closed. */
  advertise(topic: string, options: AdvertiseOptions = {}): Advertisement {
    const { lib, handle } = this.#queue
    const { signal, ...rest } = options
    const [name, document] = [textOf('topic', topic), optionsOf(rest)]
    return new Advertisement(this.#queue, name).start(signal, (tag, out) =>
      lib.p2p_discovery_advertise(this.#node(), name, document, handle, tag, out),
    )
  }

  /** Looks for peers of a topic: `for await (const { peer, addresses } of node.discovery.find('t'))`. They are not connected. */
  find(topic: string, options: FindOptions = {}): PeerSearch {
    const { lib, handle } = this.#queue
    const { signal, ...rest } = options
    const [name, document] = [textOf('topic', topic), optionsOf(rest)]
    return new PeerSearch(this.#queue, name).start(signal, (tag, out) =>
      lib.p2p_discovery_find(this.#node(), name, document, handle, tag, out),
    )
  }

  /** Registers at one rendezvous point and keeps that renewed until the result is closed, which takes it back. */
  async register(point: string | readonly string[], name: string, options?: RegisterOptions): Promise<Advertisement> {
    const [addresses, topic] = [listOf('point', point), textOf('name', name)]
    const [bounds, document] = splitOptions(options)
    const { lib, handle } = this.#queue
    // The result is made when the handle is there; the library holds events back until then.
    let result: Advertisement | undefined
    const tag = this.#queue.add({ onEvent: (event) => result?.onEvent(event) })
    try {
      const granted = await call(
        this.#queue,
        this.#node(),
        bounds,
        (request) => lib.p2p_rendezvous_register(this.#node(), addresses, topic, document, handle, tag, null, request),
        (event) => {
          result = new Advertisement(this.#queue, topic, event.value).started(tag, event.object, undefined)
          return result
        },
      )
      return granted
    } catch (error) {
      this.#queue.remove(tag)
      throw error
    }
  }

  /** Takes back a registration, also one of an earlier life of this node. There is no answer to it. */
  async unregister(point: string | readonly string[], name: string, options?: CallOptions): Promise<void> {
    const [addresses, topic] = [listOf('point', point), textOf('name', name)]
    const { lib } = this.#queue
    await call(
      this.#queue,
      this.#node(),
      options,
      (request) => lib.p2p_rendezvous_unregister(this.#node(), addresses, topic, request),
      () => undefined,
    )
  }

  /** Asks a rendezvous point who has registered under a name; '' for all names. */
  async discover(
    point: string | readonly string[],
    name = '',
    options?: RendezvousQuestion,
  ): Promise<RendezvousAnswer> {
    const [addresses, topic] = [listOf('point', point), textOf('name', name)]
    const [bounds, document] = splitOptions(options)
    const { lib } = this.#queue
    return call(
      this.#queue,
      this.#node(),
      bounds,
      (request) => lib.p2p_rendezvous_discover(this.#node(), addresses, topic, document, null, request),
      (event) => JSON.parse(event.text()) as RendezvousAnswer,
    )
  }
}
