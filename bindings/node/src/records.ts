// The two buffers that a poll fills, and a cursor over them that reads fields where they lie.
import { markAsUntransferable } from 'node:worker_threads'
import { E } from './constants.js'
import type { Native } from './ffi.js'
import { type Handle, lines } from './memory.js'

const RECORD_BYTES = 64
const RECORD_WORDS = RECORD_BYTES / 4
const HIGH = 0x1_0000_0000

/** Payloads up to this size are copied; larger ones keep the poll's block alive instead. */
const COPY_LIMIT = 4096

/**
 * Event records of one queue. After `poll` returned n, `select(i)` moves the cursor; the getters then read record i.
 * They are valid until the next poll, except what `data` and `text` returned, which stays.
 */
export class Records {
  readonly #bytes: Buffer
  readonly #words: Uint32Array
  readonly #signed: Int32Array
  readonly #max: number
  readonly #size: number
  #block: Buffer
  #kept = 0
  #base = 0

  /**
   * @param max records that one poll may bring
   * @param size bytes of data that one poll may bring; more are fetched for a single larger record
   */
  constructor(max: number, size: number) {
    const memory = new ArrayBuffer(max * RECORD_BYTES)
    this.#bytes = Buffer.from(memory)
    this.#words = new Uint32Array(memory)
    this.#signed = new Int32Array(memory)
    this.#max = max
    this.#size = size
    this.#block = slab(4 * size)
  }

  /** Fetches what waits in the queue, without waiting. Returns the number of records, or a P2P_E_ code. */
  poll(lib: Native, queue: Handle): number {
    this.#makeRoom(this.#size)
    const n = lib.p2p_queue_poll(queue, this.#bytes, this.#max, this.#block, this.#block.length, 0)
    if (n !== E.TOO_BIG) return n
    this.#makeRoom(lib.p2p_last_detail())
    return lib.p2p_queue_poll(queue, this.#bytes, this.#max, this.#block, this.#block.length, 0)
  }

  // Payloads that were handed out by reference stay untouched: the next poll writes behind them, or into a new slab.
  #makeRoom(bytes: number): void {
    if (this.#kept > 0) {
      this.#block = this.#block.subarray(this.#kept)
      this.#kept = 0
    }
    if (this.#block.length >= bytes) return
    this.#block = slab(Math.max(bytes, 4 * this.#size))
  }

  select(index: number): void {
    this.#base = index * RECORD_WORDS
  }

  get type(): number {
    return this.#signed[this.#base] as number
  }

  get status(): number {
    return this.#signed[this.#base + 1] as number
  }

  get tag(): number {
    return this.#unsigned(2)
  }

  get subject(): Handle {
    return this.#unsigned(4)
  }

  get object(): Handle {
    return this.#unsigned(6)
  }

  get value(): number {
    return (this.#words[this.#base + 8] as number) + (this.#signed[this.#base + 9] as number) * HIGH
  }

  /** The value's low and high 32 bits, for numbers beyond 2^53. */
  get valueLow(): number {
    return this.#words[this.#base + 8] as number
  }

  get valueHigh(): number {
    return this.#words[this.#base + 9] as number
  }

  get flags(): number {
    return this.#words[this.#base + 10] as number
  }

  get dataLength(): number {
    return this.#words[this.#base + 14] as number
  }

  #unsigned(word: number): number {
    return (this.#words[this.#base + word] as number) + (this.#words[this.#base + word + 1] as number) * HIGH
  }

  /** The record's text. */
  text(): string {
    const start = this.#words[this.#base + 11] as number
    return this.#block.toString('utf8', start, start + (this.#words[this.#base + 12] as number))
  }

  /** The record's text as a list. */
  lines(): string[] {
    return lines(this.text())
  }

  /** The record's text, one character per byte: cheap to take, to be decoded later by `decodeLatin1`. */
  rawText(): string {
    const start = this.#words[this.#base + 11] as number
    return this.#block.toString('latin1', start, start + (this.#words[this.#base + 12] as number))
  }

  /** The record's payload, the caller's to keep. */
  data(): Buffer {
    const start = this.#words[this.#base + 13] as number
    const end = start + (this.#words[this.#base + 14] as number)
    if (end - start <= COPY_LIMIT) {
      const copy = Buffer.allocUnsafe(end - start)
      this.#block.copy(copy, 0, start, end)
      return copy
    }
    // Rounded up so that the next poll's texts start on an aligned address.
    this.#kept = Math.max(this.#kept, (end + 63) & ~63)
    return this.#block.subarray(start, end)
  }
}

/** A block for payloads. Whoever has one of them must not give the others' memory away, as postMessage does with a transfer list. */
function slab(size: number): Buffer {
  const block = Buffer.allocUnsafeSlow(size)
  markAsUntransferable(block.buffer)
  return block
}

/** Turns `rawText` into the text it stands for. */
export function decodeLatin1(raw: string): string {
  return Buffer.from(raw, 'latin1').toString()
}
