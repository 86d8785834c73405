// CIDs: names of bytes by their hash. None of it needs a node.
import { bytesOf, optionsOf, passes, takeBytes, takeText, textOf } from './memory.js'

/** How to make a CID. */
export interface CidOptions {
  /** What the bytes are: 'raw', 'dag-pb', 'dag-cbor', or any other multicodec. Default: 'raw'. */
  codec?: string | undefined
  /** How they are hashed. Default: 'sha2-256'. */
  hash?:
    | 'sha2-256'
    | 'sha2-512'
    | 'sha3-256'
    | 'sha3-512'
    | 'blake2b-256'
    | 'blake2s-256'
    | 'blake3'
    | 'identity'
    | undefined
  /** 0 is dag-pb with sha2-256. Default: 1. */
  version?: 0 | 1 | undefined
  /** The text's multibase. Default: 'base32', for version 0 'base58btc'. */
  base?: string | undefined
}

/** How to write a CID. */
export interface CidTextOptions {
  /** Default: as it is. */
  version?: 0 | 1 | undefined
  /** The text's multibase. Default: 'base32', for version 0 'base58btc'. */
  base?: string | undefined
}

/** A CID taken apart. */
export interface CidInfo {
  version: 0 | 1
  /** The multibase of the text it was read from. */
  base: string
  codec: string
  codec_code: number
  hash: string
  hash_code: number
  /** Hex. */
  digest: string
  /** As version 0; null if it has none. */
  v0: string | null
  /** As version 1, in base32. */
  v1: string
}

type Text = string | { toString(): string }

/** Hashes data and returns their CID. */
export function makeCid(data: Uint8Array | string, options?: CidOptions): string {
  const bytes = bytesOf('data', data)
  const document = optionsOf(options)
  return takeText((lib, out) => lib.p2p_cid_make(bytes, bytes.length, document, out))
}

/** Checks a CID and takes it apart. */
export function parseCid(cid: Text): CidInfo {
  const text = textOf('cid', cid)
  return JSON.parse(takeText((lib, out) => lib.p2p_cid_info(text, out))) as CidInfo
}

/** Writes a CID in another version or base. */
export function formatCid(cid: Text, options?: CidTextOptions): string {
  const text = textOf('cid', cid)
  const document = optionsOf(options)
  return takeText((lib, out) => lib.p2p_cid_text(text, document, out))
}

/** The binary form of a CID. */
export function cidToBytes(cid: Text): Buffer {
  const text = textOf('cid', cid)
  return takeBytes((lib, out, length) => lib.p2p_cid_bytes(text, out, length))
}

/** The CID of a binary form. */
export function cidFromBytes(data: Uint8Array): string {
  const bytes = bytesOf('data', data)
  return takeText((lib, out) => lib.p2p_cid_parse(bytes, bytes.length, out))
}

/** Whether a CID names these bytes. Throws ERR_LIBP2P_UNSUPPORTED if its hash is unknown or proves nothing. */
export function verifyCid(cid: Text, data: Uint8Array | string): boolean {
  const text = textOf('cid', cid)
  const bytes = bytesOf('data', data)
  return passes((lib) => lib.p2p_cid_verify(text, bytes, bytes.length))
}
