// Keys, what they sign, and the peer ids and network keys that go with them. Keys are bytes in libp2p's protobuf form; none of this needs a node.
import { InvalidArgumentError } from './errors.js'
import { bytesOf, checkOptions, listOf, passes, takeBytes, takeBytesAndText, takeText, textOf } from './memory.js'
import type { KeyType } from './options.js'

/**
 * How a key is written: 'protobuf' is libp2p's own form and a file of `ipfs key export`, 'base64' the same as text (Identity.PrivKey in Kubo's
 * config), 'pem' PKCS #8 (public keys PKIX; SEC 1 and PKCS #1 are read too), 'raw' the bare bytes.
 */
export type KeyFormat = 'protobuf' | 'base64' | 'pem' | 'raw'

/** How to read a key. */
export interface ImportOptions {
  /** The format. Default: find out, which works for all but 'raw'. */
  format?: KeyFormat | undefined
  /** What type it must be of. A raw key needs it. Default: any. */
  type?: KeyType | undefined
}

/** What a public key tells. */
export interface PublicKeyInfo {
  type: KeyType
  /** The peer id of its holder, base58. */
  peer: string
  /** The same as CID. */
  cid: string
  /** Whether the peer id holds the key itself, not its hash. */
  inline: boolean
}

/** What a peer id tells. */
export interface PeerIdInfo {
  /** The form that the library writes: base58. */
  peer: string
  /** The other text form, a CID. */
  cid: string
  /** Whether it holds the public key itself, not its hash. */
  inline: boolean
  /** The type of that key; '' if it is not inline. */
  type: KeyType | ''
}

/** What an envelope holds. */
export interface Envelope {
  payload: Buffer
  payloadType: Buffer
  /** The signer's key, in protobuf form. */
  publicKey: Buffer
  /** The signer. */
  peer: string
}

/** A peer's own addresses, as it signed them. */
export interface PeerRecord {
  peer: string
  /** Of two records of a peer, the one with the higher number counts. */
  sequence: bigint
  addresses: string[]
}

const optional = (name: string, text: string | undefined): string | null =>
  text === undefined ? null : textOf(name, text)

function importing(options: ImportOptions): [format: string | null, type: string | null] {
  checkOptions(options, 'format', 'type')
  return [optional('format', options.format), optional('type', options.type)]
}

/** Makes a private key. Keep it where only you can read it. */
export function createKey(type: KeyType = 'ed25519'): Buffer {
  const name = textOf('type', type)
  return takeBytes((lib, out, length) => lib.p2p_key_new(name, out, length))
}

/** The peer id that belongs to a private key. */
export function peerIdOfKey(key: Uint8Array): string {
  const bytes = bytesOf('key', key)
  return takeText((lib, out) => lib.p2p_key_peer_id(bytes, bytes.length, out))
}

/** Reads a private key that another program wrote. Errors do not repeat it. */
export function importKey(data: Uint8Array | string, options: ImportOptions = {}): Buffer {
  const bytes = bytesOf('data', data)
  const [format, type] = importing(options)
  return takeBytes((lib, out, length) => lib.p2p_key_import(bytes, bytes.length, format, type, out, length))
}

/** Writes a private key for another program. */
export function exportKey(key: Uint8Array, format: KeyFormat = 'protobuf'): Buffer {
  const bytes = bytesOf('key', key)
  const name = textOf('format', format)
  return takeBytes((lib, out, length) => lib.p2p_key_export(bytes, bytes.length, name, out, length))
}

/** The public half of a private key. */
export function publicKeyOf(key: Uint8Array): Buffer {
  const bytes = bytesOf('key', key)
  return takeBytes((lib, out, length) => lib.p2p_key_public(bytes, bytes.length, out, length))
}

/** Signs data with a private key. */
export function sign(key: Uint8Array, data: Uint8Array | string): Buffer {
  const bytes = bytesOf('key', key)
  const message = bytesOf('data', data)
  return takeBytes((lib, out, length) => lib.p2p_key_sign(bytes, bytes.length, message, message.length, out, length))
}

/** Whether a signature is that of data by the holder of a public key. */
export function verify(publicKey: Uint8Array, data: Uint8Array | string, signature: Uint8Array): boolean {
  const key = bytesOf('publicKey', publicKey)
  const message = bytesOf('data', data)
  const sig = bytesOf('signature', signature)
  return passes((lib) => lib.p2p_pubkey_verify(key, key.length, message, message.length, sig, sig.length))
}

/** Reads a public key that another program wrote. */
export function importPublicKey(data: Uint8Array | string, options: ImportOptions = {}): Buffer {
  const bytes = bytesOf('data', data)
  const [format, type] = importing(options)
  return takeBytes((lib, out, length) => lib.p2p_pubkey_import(bytes, bytes.length, format, type, out, length))
}

/** Writes a public key for another program. */
export function exportPublicKey(publicKey: Uint8Array, format: KeyFormat = 'protobuf'): Buffer {
  const bytes = bytesOf('publicKey', publicKey)
  const name = textOf('format', format)
  return takeBytes((lib, out, length) => lib.p2p_pubkey_export(bytes, bytes.length, name, out, length))
}

/** What a public key is, and whose. */
export function publicKeyInfo(publicKey: Uint8Array): PublicKeyInfo {
  const bytes = bytesOf('publicKey', publicKey)
  return JSON.parse(takeText((lib, out) => lib.p2p_pubkey_info(bytes, bytes.length, out))) as PublicKeyInfo
}

/** Reads a peer id in either text form. */
export function peerIdInfo(peer: string | { toString(): string }): PeerIdInfo {
  const text = textOf('peer', peer)
  return JSON.parse(takeText((lib, out) => lib.p2p_id_info(text, out))) as PeerIdInfo
}

/** The binary form of a peer id, a multihash. */
export function peerIdToBytes(peer: string | { toString(): string }): Buffer {
  const text = textOf('peer', peer)
  return takeBytes((lib, out, length) => lib.p2p_id_bytes(text, out, length))
}

/** The peer id of a binary form. */
export function peerIdFromBytes(data: Uint8Array): string {
  const bytes = bytesOf('data', data)
  return takeText((lib, out) => lib.p2p_id_text(bytes, bytes.length, out))
}

/** The public key that a peer id holds. Throws ERR_LIBP2P_NOT_FOUND if it is only the hash of one, as for rsa and ecdsa keys. */
export function publicKeyOfPeer(peer: string | { toString(): string }): Buffer {
  const text = textOf('peer', peer)
  return takeBytes((lib, out, length) => lib.p2p_id_public_key(text, out, length))
}

/** Signs a payload for one purpose, the domain, as one type of content. Neither may be empty. */
export function sealEnvelope(
  key: Uint8Array,
  domain: string,
  payloadType: Uint8Array | string,
  payload: Uint8Array | string,
): Buffer {
  const bytes = bytesOf('key', key)
  const purpose = textOf('domain', domain)
  const type = bytesOf('payloadType', payloadType)
  const content = bytesOf('payload', payload)
  return takeBytes((lib, out, length) =>
    lib.p2p_envelope_seal(bytes, bytes.length, purpose, type, type.length, content, content.length, out, length),
  )
}

/**
 * Checks an envelope and returns what is in it; whether signer and type are the expected ones is yours to check. Throws ERR_LIBP2P_SECURITY if the
 * signature is wrong or was made for another domain.
 */
export function openEnvelope(envelope: Uint8Array, domain: string): Envelope {
  const bytes = bytesOf('envelope', envelope)
  const purpose = textOf('domain', domain)
  const [payload, json] = takeBytesAndText((lib, out, length, text) =>
    lib.p2p_envelope_open(bytes, bytes.length, purpose, out, length, text),
  )
  const known = JSON.parse(json) as { peer: string; public_key: string; payload_type: string }
  return {
    payload,
    payloadType: Buffer.from(known.payload_type, 'hex'),
    publicKey: Buffer.from(known.public_key, 'hex'),
    peer: known.peer,
  }
}

/** Signs the addresses of the key's holder. Default sequence: nanoseconds of Unix time. */
export function sealPeerRecord(key: Uint8Array, addresses: readonly string[], sequence = 0n): Buffer {
  if (typeof sequence !== 'bigint' || sequence < 0n || sequence > 0xffff_ffff_ffff_ffffn) {
    throw new InvalidArgumentError(`sequence: expected a bigint of 64 bits, got ${String(sequence)}`)
  }
  const bytes = bytesOf('key', key)
  const list = addresses.length === 0 ? '' : listOf('addresses', addresses)
  return takeBytes((lib, out, length) => lib.p2p_record_seal(bytes, bytes.length, list, sequence, out, length))
}

/** Checks a peer record. Throws ERR_LIBP2P_SECURITY if the signature is wrong, or of another peer than the record speaks of. */
export function openPeerRecord(record: Uint8Array): PeerRecord {
  const bytes = bytesOf('record', record)
  const known = JSON.parse(takeText((lib, out) => lib.p2p_record_open(bytes, bytes.length, out))) as {
    peer: string
    sequence: string
    addresses: string[]
  }
  return { ...known, sequence: BigInt(known.sequence) }
}

/** Makes a key for a private network: the text of its swarm.key file, a secret that all its nodes hold. */
export function createNetworkKey(): string {
  return takeText((lib, out) => lib.p2p_network_key_new(out))
}

/** Reads a network key (a swarm.key file's text, 64 hex digits, 32 bytes) and returns its 32 bytes. */
export function parseNetworkKey(data: Uint8Array | string): Buffer {
  const bytes = bytesOf('data', data)
  return takeBytes((lib, out, length) => lib.p2p_network_key_parse(bytes, bytes.length, out, length))
}

/** A network key as the text of a swarm.key file. */
export function networkKeyText(data: Uint8Array | string): string {
  const bytes = bytesOf('data', data)
  return takeText((lib, out) => lib.p2p_network_key_text(bytes, bytes.length, out))
}

/** 32 hex digits that are no secret: equal for equal network keys, and the same as Kubo prints. */
export function networkKeyFingerprint(data: Uint8Array | string): string {
  const bytes = bytesOf('data', data)
  return takeText((lib, out) => lib.p2p_network_key_fingerprint(bytes, bytes.length, out))
}
