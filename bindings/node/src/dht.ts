// The distributed hash table: values, providers, and peers by their id.
import { inspect } from 'node:util'
import { type CallOptions, call, splitOptions } from './call.js'
import { E, EVENT } from './constants.js'
import { errorOf, type Libp2pError } from './errors.js'
import type { Native } from './ffi.js'
import {
  bytesOf,
  check,
  type Handle,
  integerOf,
  lines,
  listOf,
  type OpenNode,
  optionsOf,
  takeHandle,
  takeText,
  textOf,
} from './memory.js'
import { type Verdict, verdictOf } from './pubsub.js'
import type { Queue, Source } from './queue.js'
import type { Records } from './records.js'

type Text = string | { toString(): string }

/** How to put a value. */
export interface DHTPutOptions extends CallOptions {
  /** Peers that must have taken the value, else the call fails; 0: none, it is kept here. Default: 1. */
  min_peers?: number | undefined
}

/** How to get a value. */
export interface DHTGetOptions extends CallOptions {
  /** Answers that are enough; 0: all peers closest to the key are asked. Default: 0. */
  quorum?: number | undefined
  /** A signed record as it is, with its signature, instead of its value. */
  raw?: boolean | undefined
}

/** How to search a value. */
export interface DHTSearchOptions {
  /** Answers that are enough; 0: all peers closest to the key are asked. Default: 0. */
  quorum?: number | undefined
  /** Signed records as they are, with their signature, instead of their values. */
  raw?: boolean | undefined
  /** When the search ends at the latest. Default: 60000. */
  timeout_ms?: number | undefined
}

/** How to find providers. */
export interface DHTProvidersOptions {
  /** Providers that are enough; 0: all that are found. Default: 0. */
  count?: number | undefined
  /** When the search ends at the latest. Default: 60000. */
  timeout_ms?: number | undefined
}

/** How to set a name. */
export interface DHTSetOptions extends CallOptions {
  /** How long the value holds. Default: one day. */
  expiry_ms?: number | undefined
  /** Publish it again and again until it expires. Default: true. */
  republish?: boolean | undefined
  /** Peers that must have taken the value, else the call fails; 0: none. Default: 1. */
  min_peers?: number | undefined
}

/** What a search found under a key: better than everything it found before. */
export interface DHTValue {
  readonly key: string
  readonly data: Buffer
  /** The running number of a signed record, else 0. */
  readonly sequence: number
  /** The record's owner took it back; data is empty. */
  readonly withdrawn: boolean
}

/** A peer that provides a key. */
export interface Provider {
  readonly peer: string
  readonly addresses: string[]
}

/** Judges a value for a namespace of the DHT with the rule 'ask'. */
export type ValueValidator = (key: string, data: Buffer) => Verdict | Promise<Verdict>

/** The results of a running query. It ends with the query, with the node, or when a `for await` loop is left. */
export class Search<T> implements AsyncIterableIterator<T, undefined, undefined>, Source {
  readonly #queue: Queue
  readonly #handle: Handle
  readonly #tag: number
  readonly #read: (event: Records) => T
  readonly #found: T[] = []
  readonly #waiting: PromiseWithResolvers<IteratorResult<T, undefined>>[] = []
  #error: Libp2pError | undefined
  #ended = false

  /** @internal */
  constructor(
    queue: Queue,
    read: (event: Records) => T,
    begin: (lib: Native, queue: Handle, tag: number, out: Buffer) => number,
  ) {
    this.#queue = queue
    this.#read = read
    const { tag, handle } = queue.open(this, (tag) => takeHandle((lib, out) => begin(lib, queue.handle, tag, out)))
    this.#tag = tag
    this.#handle = handle
  }

  /** @internal */
  onEvent(event: Records): void {
    if (event.type === EVENT.DHT_VALUE || event.type === EVENT.DHT_PROVIDER) {
      const value = this.#read(event)
      const reader = this.#waiting.shift()
      if (reader) reader.resolve({ value, done: false })
      else this.#found.push(value)
    } else if (event.type === EVENT.CLOSED) {
      if (event.status < 0 && !this.#ended) this.#error = errorOf(event.status, event.text(), event.value)
      this.close()
    }
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    if (this.#found.length > 0) return { value: this.#found.shift() as T, done: false }
    if (this.#ended) {
      const error = this.#error
      this.#error = undefined
      if (error) throw error
      return { value: undefined, done: true }
    }
    const reader = withResolvers<IteratorResult<T, undefined>>()
    this.#waiting.push(reader)
    return reader.promise
  }

  /** Ends the query; what has been found is still handed out. */
  close(): void {
    if (this.#ended) return
    this.#ended = true
    this.#queue.lib.p2p_close(this.#handle)
    this.#queue.remove(this.#tag)
    for (const reader of this.#waiting.splice(0)) {
      const error = this.#error
      this.#error = undefined
      if (error) reader.reject(error)
      else reader.resolve({ value: undefined, done: true })
    }
  }

  return(): Promise<IteratorResult<T, undefined>> {
    this.#found.length = 0
    this.close()
    return Promise.resolve({ value: undefined, done: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}

interface PromiseWithResolvers<T> {
  promise: Promise<T>
  resolve: (value: T) => void
  reject: (reason: unknown) => void
}

function withResolvers<T>(): PromiseWithResolvers<T> {
  let resolve!: (value: T) => void
  let reject!: (reason: unknown) => void
  const promise = new Promise<T>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}

/**
 * A node's part in the hash table, `node.dht`; the option `dht: { mode: 'server' }`, or 'client', turns it on.
 *
 * Keys of values are '/<namespace>/<rest>', under the rule that the option `validators` gives the namespace. A name without a slash in front is
 * a signed record of this node's own, which only it can set; others read it as '<its peer id>/<name>'. Keys of providers are a CID, a multihash in
 * base58, a SHA2-256 in hex, or a name that begins with a slash.
 */
export class DHT {
  readonly #queue: Queue
  readonly #node: OpenNode
  readonly #id: string
  #validator: ValueValidator | undefined

  /** @internal */
  constructor(queue: Queue, node: OpenNode, id: string) {
    this.#queue = queue
    this.#node = node
    this.#id = id
  }

  /** Waits until at least `minPeers` are in the routing table and resolves with how many are. */
  async bootstrap(minPeers = 1, options?: CallOptions): Promise<number> {
    const least = integerOf('minPeers', minPeers, 0, 0x7fff_ffff)
    return this.#call(options, (lib, request) => lib.p2p_dht_bootstrap(this.#node(), least, request), value)
  }

  // ---- values

  /** Stores a value under '/<namespace>/<rest>' at the peers closest to it and resolves with how many took it. */
  async put(key: Text, data: Uint8Array | string, options?: DHTPutOptions): Promise<number> {
    const name = textOf('key', key)
    const bytes = bytesOf('data', data)
    const [bounds, document] = splitOptions(options)
    return this.#call(
      bounds,
      (lib, request) => lib.p2p_dht_put(this.#node(), name, bytes, bytes.length, document, request),
      value,
    )
  }

  /** The best value for a key, or for a name that this node, or the owner before the slash, has set. */
  async get(key: Text, options?: DHTGetOptions): Promise<Buffer> {
    const name = textOf('key', key)
    const [bounds, document] = splitOptions(options)
    return this.#call(
      bounds,
      (lib, request) => lib.p2p_dht_get(this.#node(), name, document, null, null, request),
      (event) => event.data(),
    )
  }

  /** Iterates over better and better values for a key, as they are found. */
  search(key: Text, options?: DHTSearchOptions): Search<DHTValue> {
    const name = textOf('key', key)
    const document = optionsOf(options)
    return new Search(this.#queue, foundValue, (lib, queue, tag, out) =>
      lib.p2p_dht_search(this.#node(), name, document, queue, tag, out),
    )
  }

  /** Sets the value of a name of this node's own and resolves with how many peers took it. It is published again until it expires. */
  async set(name: Text, data: Uint8Array | string, options?: DHTSetOptions): Promise<number> {
    const text = textOf('name', name)
    const bytes = bytesOf('data', data)
    const [bounds, document] = splitOptions(options)
    return this.#call(
      bounds,
      (lib, request) => lib.p2p_dht_set(this.#node(), text, bytes, bytes.length, document, request),
      value,
    )
  }

  /** Withdraws what `set` has set. */
  async unset(name: Text, options?: CallOptions): Promise<void> {
    const text = textOf('name', name)
    return this.#call(options, (lib, request) => lib.p2p_dht_unset(this.#node(), text, request), nothing)
  }

  /** Has a function judge values of namespaces with the rule 'ask'; when it is late or throws, `validate_default` holds. */
  validator(judge: ValueValidator | undefined): void {
    this.#validator = judge
  }

  /** @internal */
  async judge(token: Handle, key: string, data: Buffer): Promise<void> {
    if (!this.#validator) return
    try {
      // Too late is no error: the default took its place.
      this.#queue.lib.p2p_answer(token, verdictOf(await this.#validator(key, data)))
    } catch (error) {
      process.emitWarning(`validator of the DHT failed: ${inspect(error)}`, 'Libp2pWarning')
    }
  }

  // ---- providers

  /** Tells the peers closest to a key, once, that this node provides it, and resolves with how many took note. */
  async provide(key: Text, options?: CallOptions): Promise<number> {
    const name = textOf('key', key)
    return this.#call(options, (lib, request) => lib.p2p_dht_provide(this.#node(), name, request), value)
  }

  /** Keeps telling that this node provides keys, until `stopProviding`. Good for many keys. */
  async startProviding(keys: Text | readonly Text[], options?: CallOptions): Promise<void> {
    const list = listOf('keys', keys)
    return this.#call(options, (lib, request) => lib.p2p_dht_provide_start(this.#node(), list, request), nothing)
  }

  /** Ends `startProviding`; others forget the keys in time. */
  async stopProviding(keys: Text | readonly Text[], options?: CallOptions): Promise<void> {
    const list = listOf('keys', keys)
    return this.#call(options, (lib, request) => lib.p2p_dht_provide_stop(this.#node(), list, request), nothing)
  }

  /** Iterates over who provides a key, as they are found. */
  findProviders(key: Text, options?: DHTProvidersOptions): Search<Provider> {
    const name = textOf('key', key)
    const document = optionsOf(options)
    return new Search(this.#queue, foundProvider, (lib, queue, tag, out) =>
      lib.p2p_dht_find_providers(this.#node(), name, document, queue, tag, out),
    )
  }

  // ---- peers

  /** A peer's addresses, as `node.connect` takes them. */
  async findPeer(peer: Text, options?: CallOptions): Promise<string[]> {
    const id = textOf('peer', peer)
    return this.#call(
      options,
      (lib, request) => lib.p2p_dht_find_peer(this.#node(), id, null, request),
      (event) => event.lines(),
    )
  }

  /** The peers closest to the key of a value, a CID or a peer id. */
  async closestPeers(key: Text, options?: CallOptions): Promise<string[]> {
    const name = textOf('key', key)
    return this.#call(
      options,
      (lib, request) => lib.p2p_dht_closest_peers(this.#node(), name, null, request),
      (event) => event.lines(),
    )
  }

  /** Looks for peers all over the routing table and resolves with how many are there. */
  async refresh(options?: CallOptions): Promise<number> {
    return this.#call(options, (lib, request) => lib.p2p_dht_refresh(this.#node(), request), value)
  }

  // ---- about itself

  /** 'client', 'server' or 'auto'. Setting it changes it while the node runs; what is stored and known stays. */
  get mode(): string {
    return this.info().mode as string
  }

  set mode(mode: 'client' | 'server' | 'auto') {
    const { lib } = this.#queue
    check(lib, lib.p2p_dht_mode(this.#node(), textOf('mode', mode)))
  }

  /** Mode, routing tables, and what is stored and provided; see docs/info.md. */
  info(): Record<string, unknown> {
    return JSON.parse(takeText((lib, out) => lib.p2p_dht_info(this.#node(), out))) as Record<string, unknown>
  }

  async #call<T>(
    bounds: CallOptions | undefined,
    begin: (lib: Native, request: Buffer) => number,
    finish: (event: Records) => T,
  ): Promise<T> {
    const { lib } = this.#queue
    return call(this.#queue, this.#node(), bounds, (request) => begin(lib, request), finish)
  }

  [inspect.custom](): string {
    return `DHT { node: '${this.#id}' }`
  }
}

const value = (event: Records): number => event.value
const nothing = (): undefined => undefined

function foundValue(event: Records): DHTValue {
  return {
    key: event.text(),
    data: event.data(),
    sequence: event.value,
    withdrawn: event.status === E.NOT_FOUND,
  }
}

function foundProvider(event: Records): Provider {
  const [peer = '', ...addresses] = lines(event.text())
  return { peer, addresses }
}
