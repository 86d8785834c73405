// Private keys, in libp2p's protobuf form, and the peer ids that belong to them.
import { bytesOf, takeBytes, takeText, textOf } from './memory.js'
import type { KeyType } from './options.js'

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
