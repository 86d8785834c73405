// Addresses (multiaddrs): taking them apart, putting them together, and asking DNS what they stand for. None of it needs a node.
import { type CallOptions, call, splitOptions } from './call.js'
import { bytesOf, lines, listOf, takeBytes, takeLines, takeText, textOf } from './memory.js'
import { queue } from './queue.js'

/** One step of an address: /tcp/4001, /quic-v1. */
export interface AddressComponent {
  protocol: string
  code: number
  /** '' if the protocol takes none. */
  value: string
}

/** An address taken apart. */
export interface AddressInfo {
  /** As the library writes it. */
  address: string
  /** The outermost first. */
  components: AddressComponent[]
  /** The peer at its end, base58. */
  peer: string | null
  /** Whether a name in it has to be resolved. */
  dns: boolean
  /** Whether it leads through a relay. */
  relayed: boolean
}

/** How to resolve an address. */
export interface ResolveOptions extends CallOptions {
  /** A DNS server, IP:port. Default: those of the system. */
  server?: string | undefined
  /** Addresses to return at most. Default: 100. */
  max?: number | undefined
}

type Text = string | { toString(): string }

/** Checks an address and takes it apart. */
export function parseAddress(address: Text): AddressInfo {
  const text = textOf('address', address)
  return JSON.parse(takeText((lib, out) => lib.p2p_address_info(text, out))) as AddressInfo
}

/** The binary form of an address. */
export function addressToBytes(address: Text): Buffer {
  const text = textOf('address', address)
  return takeBytes((lib, out, length) => lib.p2p_address_bytes(text, out, length))
}

/** The address of a binary form. */
export function addressFromBytes(data: Uint8Array): string {
  const bytes = bytesOf('data', data)
  return takeText((lib, out) => lib.p2p_address_text(bytes, bytes.length, out))
}

/** Puts addresses one behind the other: first the place, then what is reached there. */
export function joinAddresses(...addresses: Text[]): string {
  const list = listOf('addresses', addresses)
  return takeText((lib, out) => lib.p2p_address_join(list, out))
}

/** What stands in an address before the last `inner`, perhaps ''. Throws ERR_LIBP2P_NOT_FOUND if it is no part of it. */
export function decapsulateAddress(address: Text, inner: Text): string {
  const whole = textOf('address', address)
  const part = textOf('inner', inner)
  return takeText((lib, out) => lib.p2p_address_decapsulate(whole, part, out))
}

/** Each component as an address of its own. */
export function splitAddress(address: Text): string[] {
  const text = textOf('address', address)
  return takeLines((lib, out) => lib.p2p_address_split(text, out))
}

/** Asks DNS until no name is left in an address, and resolves with the addresses it stands for. */
export async function resolveAddress(address: Text, options?: ResolveOptions): Promise<string[]> {
  const text = textOf('address', address)
  const [bounds, document] = splitOptions(options)
  const inbox = queue()
  inbox.enter()
  inbox.hold()
  try {
    // The call has no handle of its own: its queue is its owner.
    return await call(
      inbox,
      inbox.handle,
      bounds,
      (request) => inbox.lib.p2p_address_resolve(text, document, null, request),
      (event) => lines(event.text()),
    )
  } finally {
    inbox.release()
    inbox.leave()
  }
}
