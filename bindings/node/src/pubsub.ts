// Publish and subscribe: a Topic is a name, a Subscription a bounded flow of its messages.
import { EventEmitter } from 'node:events'
import { endianness } from 'node:os'
import { inspect } from 'node:util'
import { type CallOptions, call } from './call.js'
import { EVENT, FLAG, VERDICT } from './constants.js'
import { errorOf, InvalidArgumentError, type Libp2pError } from './errors.js'
import { Flow } from './flow.js'
import {
  bytesOf,
  check,
  checkOptions,
  type Handle,
  integerOf,
  optionsOf,
  takeHandle,
  takeLines,
  takeText,
} from './memory.js'
import type { Queue, Source } from './queue.js'
import type { Records } from './records.js'

/** What a validator says: true and 'accept' let a message through, false and 'reject' hold it against the sender, 'ignore' does not. */
export type Verdict = boolean | 'accept' | 'reject' | 'ignore'

/** Rules that every message must pass before it is delivered or passed on. */
export interface TopicOptions {
  /** Bytes that a message may have. */
  max_size?: number | undefined
  /** Peer ids that may author messages. */
  signers?: readonly string[] | undefined
  /** Messages per second and author. */
  rate?: number | undefined
  /** Messages that an author may send at once before the rate holds. */
  burst?: number | undefined
  /** Asked about every message of others that passed the other rules. */
  validate?: ((message: Message) => Verdict | Promise<Verdict>) | undefined
  /** Milliseconds for a verdict; then validate_default holds. Default: 1000. */
  validate_timeout_ms?: number | undefined
  /** The verdict when the validator is late or busy. Default: 'ignore'. */
  validate_default?: 'accept' | 'reject' | 'ignore' | undefined
  /** Verdicts that may be pending. Default: 1024. */
  validate_capacity?: number | undefined
  /** Pass messages on without a subscription, too. Default: false. */
  relay?: boolean | undefined
  /** Only publish, never become a member of the mesh; a subscription gets this node's own messages alone. Default: false. */
  fanout_only?: boolean | undefined
  /** What makes two messages the same; 'node': what the node's pubsub.message_id says. Default: 'node'. */
  message_id?: 'node' | 'author' | 'content' | 'topic_content' | undefined
  /** What counts for and against a peer in this topic; needs pubsub.score.enabled. */
  score?: TopicScoreOptions | undefined
}

/** What counts for and against peers in a topic, where pubsub.score.enabled is set. */
export interface TopicScoreOptions {
  /** Weight of the topic in a peer's score. */
  weight?: number | undefined
  /** Weight of the time in the mesh. */
  time_in_mesh_weight?: number | undefined
  /** Time that counts as 1. */
  time_in_mesh_quantum_ms?: number | undefined
  /** The most that it counts. */
  time_in_mesh_cap?: number | undefined
  /** Weight of messages that it was the first to bring. */
  first_deliveries_weight?: number | undefined
  /** Their decay. */
  first_deliveries_decay_ms?: number | undefined
  /** The most that they count. */
  first_deliveries_cap?: number | undefined
  /** Weight of the square of what is missing to mesh_deliveries_threshold; 0: off, as a quiet topic would count against its peers. */
  mesh_deliveries_weight?: number | undefined
  /** Decay of the messages that it brought as a member of the mesh. */
  mesh_deliveries_decay_ms?: number | undefined
  /** The most that they count. */
  mesh_deliveries_cap?: number | undefined
  /** How many it should bring. */
  mesh_deliveries_threshold?: number | undefined
  /** Time after the first copy in which another still counts as brought. */
  mesh_deliveries_window_ms?: number | undefined
  /** Time in the mesh before it is expected. */
  mesh_deliveries_activation_ms?: number | undefined
  /** Weight of having been removed for that. */
  mesh_failure_weight?: number | undefined
  /** Its decay. */
  mesh_failure_decay_ms?: number | undefined
  /** Weight of the square of rejected messages. */
  invalid_messages_weight?: number | undefined
  /** Their decay. */
  invalid_messages_decay_ms?: number | undefined
}

/** How much a subscription may hold, and what happens beyond. */
export interface SubscribeOptions {
  /** Messages that may wait. Default: 16384. */
  capacity?: number | undefined
  /** Bytes that may wait. Default: 67108864. */
  capacity_bytes?: number | undefined
  /** 'block' holds the peers back, then loses where the network does. Default: 'block'. */
  overflow?: 'block' | 'drop_oldest' | 'drop_newest' | undefined
}

/** How to publish. */
export interface PublishOptions extends CallOptions {
  /** Wait until so many peers are subscribed. Default: 0. */
  minPeers?: number | undefined
}

/** One message of a topic. */
export class Message {
  /** The payload. */
  readonly data: Buffer
  readonly #seqLow: number
  readonly #seqHigh: number
  readonly #text: string
  readonly #flags: number
  #lines: string[] | undefined

  /** @internal */
  constructor(event: Records) {
    this.data = event.data()
    this.#seqLow = event.valueLow
    this.#seqHigh = event.valueHigh
    this.#flags = event.flags
    this.#text = event.rawText()
  }

  // Most readers want the payload and the author only: the text is taken apart when asked for.
  #line(index: number): string {
    this.#lines ??= this.#text.split('\n')
    return this.#lines[index] ?? ''
  }

  /** The author's peer id; checked if `signed`. Empty on a node that does not sign. */
  get author(): string {
    return this.#line(0)
  }

  /** The peer that passed it on to us. */
  get receivedFrom(): string {
    return this.#line(1)
  }

  /** The author's number for it: grows with each of its messages. */
  get seq(): bigint {
    return (BigInt(this.#seqHigh) << 32n) | BigInt(this.#seqLow)
  }

  /** The message id, in hex. */
  get id(): string {
    return this.#line(2)
  }

  /** The topic's name. */
  get topic(): string {
    return Buffer.from(this.#line(3), 'latin1').toString()
  }

  /** The author's signature was checked. */
  get signed(): boolean {
    return (this.#flags & FLAG.SIGNED) !== 0
  }

  /** Published by this node. */
  get local(): boolean {
    return (this.#flags & FLAG.LOCAL) !== 0
  }

  [inspect.custom](): string {
    return `Message { topic: '${this.topic}', author: '${this.author}', seq: ${this.seq}, data: ${inspect(this.data)} }`
  }
}

/** What a topic tells beside its messages. */
export interface TopicEvents {
  /** A peer subscribed. */
  'peer:join': [peer: string]
  /** A peer left. */
  'peer:leave': [peer: string]
  /** The validator threw; the default verdict holds for that message. */
  'error:validate': [error: unknown]
}

/** A topic that this node has joined. */
export class Topic extends EventEmitter<TopicEvents> implements Source {
  readonly name: string
  readonly #queue: Queue
  readonly #handle: Handle
  readonly #tag: number
  readonly #validate: TopicOptions['validate']
  readonly #onClose: (topic: Topic) => void
  readonly #subscriptions = new Set<Subscription>()
  #closed = false

  /** @internal */
  constructor(queue: Queue, node: Handle, name: string, options: TopicOptions, onClose: (topic: Topic) => void) {
    super()
    const { validate, ...rules } = options
    if (validate !== undefined && typeof validate !== 'function') {
      throw new InvalidArgumentError('validate: expected a function')
    }
    const document = optionsOf(validate ? { ...rules, validate: true } : rules)
    this.name = name
    this.#queue = queue
    this.#validate = validate
    this.#onClose = onClose
    const { tag, handle } = queue.open(this, (tag) =>
      takeHandle((lib, out) => lib.p2p_topic_join(node, name, document, queue.handle, tag, out)),
    )
    this.#tag = tag
    this.#handle = handle
  }

  /**
   * Publishes and resolves with the number of peers that it went to. Messages go out in the order of the calls. It waits while the queue to a slow
   * subscriber (`pubsub.outbound_queue`) is full; a timeout then means that nothing was sent.
   */
  async publish(data: Uint8Array | string, options?: PublishOptions): Promise<number> {
    const bytes = bytesOf('data', data)
    const [bounds, minPeers] = publishing(options)
    const { lib } = this.#queue
    return call(
      this.#queue,
      this.#handle,
      bounds,
      (request) => lib.p2p_topic_publish(this.#handle, bytes, bytes.length, minPeers, request),
      (event) => event.value,
    )
  }

  /**
   * Publishes messages in their order, in one call, several times as fast as one by one. Resolves, when all is done, with the number of peers that
   * each went to, or the error that it failed with: one failure does not keep the others back.
   */
  async publishMany(
    messages: readonly (Uint8Array | string)[],
    options?: PublishOptions,
  ): Promise<(number | Libp2pError)[]> {
    const [bounds, minPeers] = publishing(options)
    const data = framesOf(messages)
    const { lib } = this.#queue
    return call(
      this.#queue,
      this.#handle,
      bounds,
      (request) => lib.p2p_topic_publish_batch(this.#handle, data, data.length, minPeers, null, request),
      publishedOf,
    )
  }

  /** Replaces what counts for and against peers in the topic; needs pubsub.score.enabled. */
  setScore(options: TopicScoreOptions = {}): void {
    check(this.#queue.lib, this.#queue.lib.p2p_topic_score_set(this.#handle, optionsOf(options)))
  }

  /** Starts a flow of the topic's messages, those of this node included. Nothing from before is delivered. */
  subscribe(options: SubscribeOptions = {}): Subscription {
    const subscription = new Subscription(this.#queue, this.#handle, this.name, options, () => {
      this.#subscriptions.delete(subscription)
    })
    this.#subscriptions.add(subscription)
    return subscription
  }

  /** The peers that are subscribed, as far as this node knows. */
  peers(): string[] {
    return takeLines((lib, out) => lib.p2p_topic_peers(this.#handle, out))
  }

  /** Counters and options of the topic; see docs/info.md. */
  info(): Record<string, unknown> {
    return JSON.parse(takeText((lib, out) => lib.p2p_info(this.#handle, out))) as Record<string, unknown>
  }

  /** Leaves the topic and ends its subscriptions. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    for (const subscription of [...this.#subscriptions]) subscription.close()
    this.#queue.lib.p2p_close(this.#handle)
    this.#onClose(this)
    this.#queue.remove(this.#tag)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
  }

  /** @internal */
  onEvent(event: Records): void {
    switch (event.type) {
      case EVENT.VALIDATE:
        void this.#judge(event.object, new Message(event))
        break
      case EVENT.TOPIC_JOINED:
        this.emit('peer:join', event.text())
        break
      case EVENT.TOPIC_LEFT:
        this.emit('peer:leave', event.text())
        break
    }
  }

  async #judge(token: Handle, message: Message): Promise<void> {
    try {
      const verdict = await this.#validate?.(message)
      // Too late is no error: the default took its place and is counted in info().
      this.#queue.lib.p2p_answer(token, verdictOf(verdict))
    } catch (error) {
      this.emit('error:validate', error)
    }
  }

  [inspect.custom](): string {
    return `Topic { name: '${this.name}', state: '${this.#closed ? 'left' : 'joined'}' }`
  }
}

function publishing(options: PublishOptions = {}): [CallOptions, number] {
  checkOptions(options, 'signal', 'timeout', 'minPeers')
  const { minPeers = 0, ...bounds } = options
  return [bounds, integerOf('minPeers', minPeers, 0, 0x7fff_ffff)]
}

/** Messages one after the other, each behind its length as an unsigned varint. */
function framesOf(messages: readonly (Uint8Array | string)[]): Buffer {
  const parts: Uint8Array[] = []
  for (const [i, message] of messages.entries()) {
    const part = bytesOf(`messages[${i}]`, message)
    const frame: number[] = []
    let length = part.length
    for (; length >= 0x80; length = Math.floor(length / 0x80)) frame.push((length % 0x80) | 0x80)
    parts.push(Uint8Array.of(...frame, length), part)
  }
  return Buffer.concat(parts)
}

/** What became of each message of a batch. */
function publishedOf(event: Records): (number | Libp2pError)[] {
  const data = event.data()
  const results: (number | Libp2pError)[] = []
  for (let at = 0; at < data.length; at += 4)
    results.push(endian === 'LE' ? data.readInt32LE(at) : data.readInt32BE(at))
  for (const line of event.lines()) {
    const colon = line.indexOf(': ')
    const index = Number(line.slice(0, colon))
    results[index] = errorOf(results[index] as number, line.slice(colon + 2), 0)
  }
  return results
}

const endian = endianness()

/** @internal */
export function verdictOf(verdict: unknown): number {
  if (verdict === true || verdict === 'accept') return VERDICT.ACCEPT
  if (verdict === false || verdict === 'reject') return VERDICT.REJECT
  if (verdict === 'ignore') return VERDICT.IGNORE
  throw new InvalidArgumentError(
    `validate: expected true, false, 'accept', 'reject' or 'ignore', got ${String(verdict)}`,
  )
}

/** A bounded flow of a topic's messages; `capacity` and `overflow` hold to the last stage. Leaving a `for await` loop ends it. */
export class Subscription extends Flow<Message> {
  readonly topic: string

  /** @internal */
  constructor(queue: Queue, topic: Handle, name: string, options: SubscribeOptions, onClose: () => void) {
    const document = optionsOf(options)
    const open = (inbox: Handle) => takeHandle((lib, out) => lib.p2p_topic_subscribe(topic, document, inbox, 1, out))
    super(queue, open, onClose)
    this.topic = name
  }

  /** @internal */
  protected read(event: Records): Message | undefined {
    return event.type === EVENT.MESSAGE ? new Message(event) : undefined
  }

  [inspect.custom](): string {
    return `Subscription { topic: '${this.topic}', dropped: ${this.dropped}, state: '${this.closed ? 'closed' : 'open'}' }`
  }
}
