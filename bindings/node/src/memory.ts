// What crosses into the library and back: results checked, blocks copied and freed, arguments checked and encoded.
import { E } from './constants.js'
import { ConfigError, errorOf, InvalidArgumentError, type Libp2pError } from './errors.js'
import { type Native, native } from './ffi.js'

/** A handle or tag: below 2^53, so a plain number. */
export type Handle = number

/** Gives a node's handle to its parts. It throws as soon as the node is being closed, when the library may still take it for open. */
export type OpenNode = () => Handle

// Calls are synchronous and never nested, so one pair of out-parameters serves them all.
const out = Buffer.alloc(8)
const outLength = Buffer.alloc(8)
const outText = Buffer.alloc(8)

/** The error of this thread's last failed call. */
export function lastError(lib: Native, status: number): Libp2pError {
  return errorOf(status, lib.p2p_last_error(), lib.p2p_last_detail())
}

/** Returns a result that is good and throws one that is not. */
export function check(lib: Native, result: number): number {
  if (result < 0) throw lastError(lib, result)
  return result
}

/** Runs a call that verifies something: false if it says that it is not so. */
export function passes(call: (lib: Native) => number): boolean {
  const lib = native()
  const result = call(lib)
  if (result === E.SECURITY) return false
  check(lib, result)
  return true
}

function unsigned(buffer: Buffer): number {
  return buffer.readUInt32LE(0) + buffer.readUInt32LE(4) * 0x1_0000_0000
}

/** Runs a call that writes a handle. */
export function takeHandle(call: (lib: Native, out: Buffer) => number): Handle {
  const lib = native()
  check(lib, call(lib, out))
  return unsigned(out)
}

/** Runs a call that writes an int. */
export function takeInt(call: (lib: Native, out: Buffer) => number): number {
  const lib = native()
  check(lib, call(lib, out))
  return out.readInt32LE(0)
}

/** Runs a call that writes a text, copies it and frees the library's block. */
export function takeText(call: (lib: Native, out: Buffer) => number): string {
  const lib = native()
  check(lib, call(lib, out))
  const block = unsigned(out)
  return copy(lib, block, lib.strlen(block)).toString()
}

/** Runs a call that writes a list, one item per line. */
export function takeLines(call: (lib: Native, out: Buffer) => number): string[] {
  return lines(takeText(call))
}

/** Runs a call that writes bytes and their number, copies them and frees the library's block. */
export function takeBytes(call: (lib: Native, out: Buffer, length: Buffer) => number): Buffer {
  const lib = native()
  check(lib, call(lib, out, outLength))
  return copy(lib, unsigned(out), unsigned(outLength))
}

/** Runs a call that writes bytes, their number and a text. */
export function takeBytesAndText(
  call: (lib: Native, out: Buffer, length: Buffer, text: Buffer) => number,
): [Buffer, string] {
  const lib = native()
  check(lib, call(lib, out, outLength, outText))
  const block = unsigned(outText)
  return [copy(lib, unsigned(out), unsigned(outLength)), copy(lib, block, lib.strlen(block)).toString()]
}

function copy(lib: Native, block: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length)
  if (length > 0) lib.memcpy(bytes, block, length)
  lib.p2p_free(block)
  return bytes
}

/** Splits a list of the library; an empty text is an empty list. */
export function lines(text: string): string[] {
  if (text === '') return []
  return (text.endsWith('\n') ? text.slice(0, -1) : text).split('\n')
}

/** Checks a text argument. Objects with a text form, such as js-libp2p's peer ids and multiaddrs, are welcome. */
export function textOf(name: string, value: { toString(): string }): string {
  const text = typeof value === 'string' ? value : objectText(value)
  if (text === undefined) throw new InvalidArgumentError(`${name}: expected a string, got ${describe(value)}`)
  // C would see the text end at the NUL and act on something else than what was given.
  if (text.includes('\0')) throw new InvalidArgumentError(`${name}: must not contain a NUL character`)
  return text
}

function objectText(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || value.toString === Object.prototype.toString) return undefined
  return Array.isArray(value) || ArrayBuffer.isView(value) ? undefined : String(value)
}

/** Checks one text or a list of texts and joins them, one per line. */
export function listOf(name: string, value: { toString(): string } | readonly { toString(): string }[]): string {
  const items = Array.isArray(value) ? value : [value]
  return items
    .map((item) => {
      const text = textOf(name, item)
      if (text.includes('\n')) throw new InvalidArgumentError(`${name}: must not contain a line break`)
      return text
    })
    .join('\n')
}

/** Checks a payload. A string stands for its UTF-8 bytes. */
export function bytesOf(name: string, value: Uint8Array | string): Uint8Array {
  if (typeof value === 'string') return Buffer.from(value)
  if (value instanceof Uint8Array) return value
  throw new InvalidArgumentError(`${name}: expected a Uint8Array or a string, got ${describe(value)}`)
}

/** Encodes options for the library, null for none. Unknown keys are its to refuse. */
export function optionsOf(options: object | undefined): string | null {
  if (options === undefined) return null
  checkObject(options)
  const json = JSON.stringify(options)
  return json === '{}' ? null : json
}

/** Refuses what is none of the known options, in the library's words; for options that do not reach it. */
export function checkOptions<T extends object>(options: T | undefined, ...known: (keyof T & string)[]): void {
  if (options === undefined) return
  checkObject(options)
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || (known as string[]).includes(name)) continue
    const meant = known.find((key) => plain(key) === plain(name))
    const hint = meant ? `did you mean "${meant}"?` : `there are ${known.join(', ')}`
    throw new ConfigError(`${name}: unknown option; ${hint}`)
  }
}

/** What the same option is in all spellings: `min_peers` and `minPeers`, `timeout_ms` and `timeout`. */
function plain(name: string): string {
  return name.replace(/_ms$|[_-]/g, '').toLowerCase()
}

/** Refuses options that are no object. */
export function checkObject(options: unknown): void {
  if (typeof options === 'object' && options !== null) return
  throw new InvalidArgumentError(`options: expected an object, got ${describe(options)}`)
}

/** Checks an integer argument. */
export function integerOf(name: string, value: number, min: number, max: number): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value
  throw new InvalidArgumentError(`${name}: expected an integer from ${min} to ${max}, got ${describe(value)}`)
}

/** Names a value in an error message. */
export function describe(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  switch (typeof value) {
    case 'number':
    case 'boolean':
    case 'bigint':
    case 'undefined':
      return String(value)
    case 'string':
      return JSON.stringify(value)
    default:
      return `${(value as object).constructor?.name ?? typeof value}`
  }
}
