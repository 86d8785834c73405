// A Node: who we are, whom we know, and the way to streams, requests and topics.
import { EventEmitter } from 'node:events'
import { inspect } from 'node:util'
import { type CallOptions, call, splitOptions } from './call.js'
import { Connections } from './connections.js'
import { EVENT } from './constants.js'
import { DHT } from './dht.js'
import { Discovery } from './discovery.js'
import { ClosedError } from './errors.js'
import { EventFlow, type NodeEvent, type NodeEvents, nodeEventOf } from './events.js'
import { type ExplainOptions, type Explanation, explain } from './explain.js'
import type { Native } from './ffi.js'
import { Gater } from './gater.js'
import {
  check,
  checkOptions,
  type Handle,
  listOf,
  optionsOf,
  takeHandle,
  takeLines,
  takeText,
  textOf,
} from './memory.js'
import { NAT } from './nat.js'
import { Metrics, Perf } from './numbers.js'
import { type AddressRules, configOf, type NodeOptions } from './options.js'
import { Peerstore } from './peerstore.js'
import { type PublishOptions, type SubscribeOptions, type Subscription, Topic, type TopicOptions } from './pubsub.js'
import { Pubsub } from './pubsub_control.js'
import { type Queue, queue, type Source } from './queue.js'
import { connect, peerNamed, reach } from './reach.js'
import type { Records } from './records.js'
import { Relay } from './relay.js'
import {
  ask,
  open,
  type RequestContext,
  type RequestHandler,
  type RequestOptions,
  RequestService,
  type ServeRequestOptions,
  send,
} from './request.js'
import { type ServeOptions, type StreamHandler, StreamService } from './service.js'
import { Stream, type StreamFacts } from './stream.js'

/** A peer id or address, as text or as an object with that text form. */
export type Text = string | { toString(): string }

/** How to open a stream. */
export interface OpenOptions extends CallOptions {
  /** Only over a connection that exists; an address then has to end in /p2p/ and the peer's id. Default: false. */
  no_dial?: boolean | undefined
  /** Also over a relayed connection with limits. Default: false. */
  allow_limited?: boolean | undefined
}

/** One connection with a peer. */
export interface Connection {
  id: string
  address: string
  direction: 'inbound' | 'outbound'
  transport: string
  security: string
  muxer: string
  relayed: boolean
  limited: boolean
  /** Milliseconds since 1970. */
  opened_ms: number
  streams: number
}

/** What is known of a peer. */
export interface PeerInfo {
  id: string
  connected: boolean
  addresses: string[]
  protocols: string[]
  agent: string
  /** The smoothed round trip; 0 before the first ping. */
  rtt_ms: number
  kept: boolean
  /** What the peer is worth, by name of the tag. */
  tags: Record<string, number>
  /** The sum of the tags; those with less are trimmed first. */
  tag_value: number
  /** Names under which it is protected from trimming. */
  protected: string[]
  connections: Connection[]
}

/** A node of the network. While it runs it keeps the process alive, unless `unref` was called. */
export class Node extends EventEmitter<NodeEvents> {
  /** Who this node is. */
  readonly id: string
  /** Which connections stay when there are too many. */
  readonly connections: Connections
  /** What is known of peers, connected or not. */
  readonly peerstore: Peerstore
  /** Who may be dialled, and who may connect. */
  readonly gater: Gater
  /** How peers that know a name meet. */
  readonly discovery: Discovery
  /** The node's numbers, for programs and for Prometheus. */
  readonly metrics: Metrics
  /** The perf protocol: how fast bytes travel to a peer. */
  readonly perf: Perf
  /** Who is heard, what a peer is worth, what goes on. */
  readonly pubsub: Pubsub
  /** Reachability, and ways through NATs. */
  readonly nat: NAT
  /** Relays in use, and the one that this node can be. */
  readonly relay: Relay
  /** The distributed hash table; the option `dht` turns it on. */
  readonly dht: DHT
  readonly #queue: Queue
  readonly #handle: Handle
  readonly #tag: number
  readonly #streams = new Set<Stream>()
  readonly #services = new Map<string, StreamService>()
  readonly #requests = new Map<string, RequestService>()
  readonly #topics = new Map<string, Topic>()
  readonly #flows = new Set<EventFlow>()
  #held = true
  #closed: Promise<void> | undefined

  /** @internal */
  constructor(queue: Queue, handle: Handle, tag: number) {
    super()
    this.#queue = queue
    this.#handle = handle
    this.#tag = tag
    const node = () => this.#open()
    this.connections = new Connections(queue, node)
    this.peerstore = new Peerstore(queue, node)
    this.gater = new Gater(queue, node)
    this.discovery = new Discovery(queue, node)
    this.metrics = new Metrics(node)
    this.perf = new Perf(queue, node)
    this.pubsub = new Pubsub(queue, node)
    this.id = takeText((lib, out) => lib.p2p_node_id(handle, out))
    this.nat = new NAT(queue, node)
    this.relay = new Relay(queue, node)
    this.dht = new DHT(queue, node, this.id)
  }

  /** The addresses at which the node can be dialled, each ending in /p2p/<peer id>. */
  get addresses(): string[] {
    return takeLines((lib, out) => lib.p2p_node_addresses(this.#open(), out))
  }

  /** What the library knows of the node; see docs/info.md. */
  info(): Record<string, unknown> {
    return JSON.parse(takeText((lib, out) => lib.p2p_info(this.#open(), out))) as Record<string, unknown>
  }

  /** Listens at more addresses, all or none, and returns them as they are bound. */
  listen(addresses: Text | readonly Text[]): string[] {
    const list = listOf('addresses', addresses)
    return takeLines((lib, out) => lib.p2p_node_listen(this.#open(), list, out))
  }

  /** Ends listening at addresses, named as in `info().listening`; connections stay. */
  unlisten(addresses: Text | readonly Text[]): void {
    this.#check((lib) => lib.p2p_node_unlisten(this.#open(), listOf('addresses', addresses)))
  }

  /** Changes which addresses peers are told; a list that is given replaces the present one. */
  announce(rules: AddressRules): void {
    this.#check((lib) => lib.p2p_node_announce(this.#open(), optionsOf(rules)))
  }

  /** The limits of resources, what is in use, and what was refused; see docs/info.md. */
  limits(): Record<string, unknown> {
    return JSON.parse(takeText((lib, out) => lib.p2p_limits_info(this.#open(), out))) as Record<string, unknown>
  }

  // ---- peers

  /** Connects to a peer by one of its addresses, or by its peer id if addresses are known. Resolves with its peer id. */
  async connect(addresses: Text | readonly Text[], options?: CallOptions): Promise<string> {
    return connect(this.#queue, this.#open(), listOf('addresses', addresses), options)
  }

  /** Closes all connections to a peer, and their streams. */
  disconnect(peer: Text): void {
    this.#check((lib) => lib.p2p_peer_disconnect(this.#open(), textOf('peer', peer)))
  }

  /** The peer ids of all connected peers. */
  peers(): string[] {
    return takeLines((lib, out) => lib.p2p_peer_list(this.#open(), out))
  }

  /** What is known of a peer. */
  peerInfo(peer: Text): PeerInfo
  /** What is known of all connected peers. */
  peerInfo(): PeerInfo[]
  peerInfo(peer?: Text): PeerInfo | PeerInfo[] {
    const id = peer === undefined ? null : textOf('peer', peer)
    return JSON.parse(takeText((lib, out) => lib.p2p_peer_info(this.#open(), id, out))) as PeerInfo | PeerInfo[]
  }

  /** Measures the round trip to a peer, by id or address, in milliseconds, dialling first if needed. */
  async ping(peer: Text, options?: CallOptions): Promise<number> {
    return reach(this.#queue, this.#open(), textOf('peer', peer), options, (id, bounds) =>
      this.#call(
        bounds,
        (lib, request) => lib.p2p_peer_ping(this.#open(), id, null, request),
        (event) => event.value / 1e6,
      ),
    )
  }

  /** Finds out why a peer can, or cannot, be reached: each address tried by itself, a verdict, and advice. */
  async explain(addresses: Text | readonly Text[], options?: ExplainOptions): Promise<Explanation> {
    return explain(this.#queue, this.#open(), addresses, options)
  }

  /** Connects to a peer, and again whenever it is lost, until `release`. */
  keep(addresses: Text | readonly Text[]): void {
    this.#check((lib) => lib.p2p_peer_keep(this.#open(), listOf('addresses', addresses)))
  }

  /** Ends `keep`; the connection stays. */
  release(peer: Text): void {
    this.#check((lib) => lib.p2p_peer_release(this.#open(), textOf('peer', peer)))
  }

  // ---- streams

  /** Serves streams for one or more protocol names; a name that ends in * serves all names with that prefix. */
  handle(protocols: string | readonly string[], handler: StreamHandler, options?: ServeOptions): StreamService {
    const list = listOf('protocols', protocols)
    const document = optionsOf(options)
    const service = new StreamService(
      this.#queue,
      list.split('\n'),
      handler,
      (tag) =>
        takeHandle((lib, out) => lib.p2p_stream_serve(this.#open(), list, document, this.#queue.handle, tag, out)),
      (handle, facts) => this.#adopt(handle, facts),
      (error, stream) => this.#onHandlerError(error, stream),
      (closed) => {
        for (const name of closed.protocols) this.#services.delete(name)
      },
    )
    for (const name of service.protocols) this.#services.set(name, service)
    return service
  }

  /** Ends serving under these names, and under the others of the same `handle`; open streams and requests stay. */
  unhandle(protocols: string | readonly string[]): void {
    for (const name of listOf('protocols', protocols).split('\n')) {
      this.#services.get(name)?.close()
      this.#requests.get(name)?.close()
    }
  }

  /** Opens a stream under the first of the protocols that the peer, by id or address, speaks, dialling first if needed. */
  async open(peer: Text, protocols: string | readonly string[], options?: OpenOptions): Promise<Stream> {
    const named = textOf('peer', peer)
    const to = options?.no_dial ? peerNamed(named) : named
    const list = listOf('protocols', protocols)
    const [bounds, document] = splitOptions(options)
    return reach(this.#queue, this.#open(), to, bounds, (id, left) =>
      this.#call(
        left,
        (lib, request) => lib.p2p_stream_open(this.#open(), id, list, document, null, request),
        (event) => this.#adopt(event.object, { peer: id, protocol: event.text(), flags: event.flags }),
      ),
    )
  }

  #adopt(handle: Handle, facts: StreamFacts): Stream {
    const stream = new Stream(this.#queue, handle, facts, (closed) => this.#streams.delete(closed))
    this.#streams.add(stream)
    return stream
  }

  /** A handler's own mistake must not pass unseen; that a peer gave up is no mistake. */
  #onHandlerError(error: unknown, origin: Stream | RequestContext): void {
    const warn = (what: string, why: unknown) => process.emitWarning(`${what} failed: ${inspect(why)}`, 'Libp2pWarning')
    try {
      if (this.emit('error:handler', error, origin) || isPeersDoing(error)) return
      warn(`handler of ${origin.protocol}`, error)
    } catch (mistake) {
      // Peers make handlers fail; they must not end the process by a listener that fails at that.
      warn("listener of 'error:handler'", mistake)
    }
  }

  // ---- requests

  /** Asks a peer, by id or address, and resolves with its answer. */
  async request(peer: Text, protocol: string, data: Uint8Array | string, options?: RequestOptions): Promise<Buffer> {
    return send(ask(this.#queue, this.#open(), peer, protocol, data, options))
  }

  /** Asks a peer, by id or address, for a streamed answer and iterates over its parts. Leaving the loop early cancels the handler. */
  requestStream(
    peer: Text,
    protocol: string,
    data: Uint8Array | string,
    options?: RequestOptions,
  ): AsyncGenerator<Buffer, void, undefined> {
    return open(ask(this.#queue, this.#open(), peer, protocol, data, options))
  }

  /** Serves requests under a protocol name. */
  onRequest(protocol: string, handler: RequestHandler, options?: ServeRequestOptions): RequestService {
    const name = textOf('protocol', protocol)
    const document = optionsOf(options)
    const service = new RequestService(
      this.#queue,
      name,
      handler,
      (tag) =>
        takeHandle((lib, out) => lib.p2p_request_serve(this.#open(), name, document, this.#queue.handle, tag, out)),
      (error, context) => this.#onHandlerError(error, context),
      (closed) => this.#requests.delete(closed.protocol),
    )
    this.#requests.set(name, service)
    return service
  }

  // ---- pubsub

  /** Joins a topic, with rules that its messages must pass. */
  join(name: string, rules: TopicOptions = {}): Topic {
    const topic = new Topic(this.#queue, this.#open(), textOf('name', name), rules, () => this.#topics.delete(name))
    this.#topics.set(name, topic)
    return topic
  }

  /** Publishes to a topic, joining it first if needed. Resolves with the number of peers that it went to. */
  async publish(topic: string, data: Uint8Array | string, options?: PublishOptions): Promise<number> {
    return (this.#topics.get(topic) ?? this.join(topic)).publish(data, options)
  }

  /** Subscribes to a topic, joining it first if needed. */
  subscribe(topic: string, options?: SubscribeOptions): Subscription {
    return (this.#topics.get(topic) ?? this.join(topic)).subscribe(options)
  }

  // ---- events

  /** Iterates over the node's events until it closes, the signal aborts or the loop is left. */
  events(options: { signal?: AbortSignal | undefined } = {}): EventFlow {
    checkOptions(options, 'signal')
    const { signal } = options
    const end = () => flow.close()
    const flow = new EventFlow((closed) => {
      this.#flows.delete(closed)
      signal?.removeEventListener('abort', end)
    })
    if (this.#closed || signal?.aborted) {
      flow.close()
    } else {
      this.#flows.add(flow)
      signal?.addEventListener('abort', end, { once: true })
    }
    return flow
  }

  /** @internal */
  tell(event: NodeEvent): void {
    const { type, ...detail } = event
    // The map from names to shapes is one to one, which the compiler cannot see through the union.
    ;(this.emit as (name: string, detail: object) => boolean).call(this, type, detail)
    for (const flow of this.#flows) flow.push(event)
  }

  // ---- life

  /** Lets the process end while the node runs; closing it holds the process until that is done. */
  unref(): this {
    if (this.#closed) return this
    if (this.#held) this.#queue.release()
    this.#held = false
    return this
  }

  /** Undoes `unref`. */
  ref(): this {
    if (this.#closed) return this
    if (!this.#held) this.#queue.hold()
    this.#held = true
    return this
  }

  /** Ends the node with all that belongs to it. Its ports are free when the promise resolves. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    for (const service of [...this.#services.values(), ...this.#requests.values()]) service.abandon()
    this.gater.abandon()
    for (const topic of [...this.#topics.values()]) topic.close()
    this.pubsub.close()
    for (const stream of [...this.#streams]) stream.destroy()
    const { lib } = this.#queue
    // Also a node that holds nothing can be awaited closed.
    this.ref()
    // Calls that were waiting complete with ERR_LIBP2P_CLOSED before this one does.
    await call(
      this.#queue,
      this.#handle,
      { timeout: Number.POSITIVE_INFINITY },
      (request) => lib.p2p_node_close(this.#handle, request),
      () => undefined,
    )
    for (const flow of [...this.#flows]) flow.close()
    this.#queue.release()
    this.#queue.remove(this.#tag)
    this.#queue.leave()
    this.emit('stop')
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** The handle, for all that a closed node does not do. */
  #open(): Handle {
    if (this.#closed) throw new ClosedError('the node is closed')
    return this.#handle
  }

  #call<T>(
    bounds: CallOptions | undefined,
    begin: (lib: Native, request: Buffer) => number,
    finish: (event: Records) => T,
  ): Promise<T> {
    const { lib } = this.#queue
    return call(this.#queue, this.#open(), bounds, (request) => begin(lib, request), finish)
  }

  #check(run: (lib: Native) => number): void {
    const { lib } = this.#queue
    check(lib, run(lib))
  }

  [inspect.custom](): string {
    return `Node { id: '${this.id}', state: '${this.#closed ? 'closed' : 'running'}' }`
  }
}

function isPeersDoing(error: unknown): boolean {
  const { code } = (error ?? {}) as { code?: unknown }
  return typeof code === 'string' && /^ERR_(LIBP2P|STREAM)_/.test(code) && code !== 'ERR_LIBP2P_INVALID'
}

/** Starts a node. */
export async function createNode(options: NodeOptions = {}): Promise<Node> {
  const config = configOf(options)
  const inbox = queue()
  inbox.enter()
  inbox.hold()
  let node: Node | undefined
  // Events that come before the caller could add a listener wait for it.
  let early: NodeEvent[] | undefined = []
  const source: Source = {
    onEvent(event) {
      if (event.type === EVENT.DHT_VALIDATE) {
        void node?.dht.judge(event.object, event.text(), event.data())
        return
      }
      const decoded = nodeEventOf(event)
      if (decoded && early) early.push(decoded)
      else if (decoded) node?.tell(decoded)
    },
  }
  const tag = inbox.add(source)
  try {
    const handle = await call(
      inbox,
      config,
      { signal: options.signal, timeout: Number.POSITIVE_INFINITY },
      (request) => inbox.lib.p2p_node_new(config, inbox.handle, tag, null, request),
      (event) => event.object,
    )
    const started = new Node(inbox, handle, tag)
    node = started
    setImmediate(() => {
      const waited = early ?? []
      early = undefined
      for (const event of waited) started.tell(event)
    })
    return started
  } catch (error) {
    inbox.release()
    inbox.remove(tag)
    inbox.leave()
    throw error
  } finally {
    inbox.lib.p2p_close(config)
  }
}
