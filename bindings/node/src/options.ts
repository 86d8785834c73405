// A node's options: the same document, with the same keys, in every language. A test compares it with the library's schema;
// docs/config.md has ranges and defaults. Only the two secrets travel beside the document.
import { InvalidArgumentError } from './errors.js'
import { type Native, native } from './ffi.js'
import { check, describe, type Handle, optionsOf, takeHandle, textOf } from './memory.js'
import type { PubsubOptions } from './pubsub_options.js'

export interface IdentityOptions {
  /** File with the private key; created with mode 0600 if it does not exist, refused if others can read it. */
  file?: string | undefined
  /** Type of a key to be created. Default: 'ed25519'. */
  type?: KeyType | undefined
  /** The private key itself, as from `createKey`. */
  key?: Uint8Array | undefined
}

export type KeyType = 'ed25519' | 'secp256k1' | 'ecdsa' | 'rsa'

/** A number of go-libp2p's limits: 0 and "blockAll" for none at all, "default" for the preset's. */
export type Limit = number | 'unlimited' | 'blockAll' | 'default' | `${number}`

/** The limits of one scope. */
export type ScopeLimits = Partial<
  Record<
    'Streams' | 'StreamsInbound' | 'StreamsOutbound' | 'Conns' | 'ConnsInbound' | 'ConnsOutbound' | 'FD' | 'Memory',
    Limit
  >
>

/** Limits by scope, as go-libp2p's PartialLimitConfig. */
export type ExactLimits = Partial<
  Record<
    | 'System'
    | 'Transient'
    | 'AllowlistedSystem'
    | 'AllowlistedTransient'
    | 'ServiceDefault'
    | 'ServicePeerDefault'
    | 'ProtocolDefault'
    | 'ProtocolPeerDefault'
    | 'PeerDefault'
    | 'Conn'
    | 'Stream',
    ScopeLimits
  > &
    Record<'Service' | 'ServicePeer' | 'Protocol' | 'ProtocolPeer' | 'Peer', Record<string, ScopeLimits>>
>

/** Which addresses peers are told; subnets are written "10.0.0.0/8". */
export interface AddressRules {
  /** Instead of all that the node finds out; empty: those. */
  announce?: readonly string[] | undefined
  /** Besides. */
  append?: readonly string[] | undefined
  /** Addresses and subnets not to tell. */
  hide?: readonly string[] | undefined
}

export interface NodeOptions {
  /** Ends the start; the promise then rejects with the signal's reason. */
  signal?: AbortSignal | undefined

  /** Who the node is: a key file's path, a key, or both in detail. Default: a new key that lasts as long as the node. */
  identity?: string | Uint8Array | IdentityOptions | undefined
  /** Addresses to listen at; [] for none. Default: TCP and QUIC on every interface, ports of the system's choice. */
  listen?: readonly string[] | null | undefined
  /** Whether the start fails when any address cannot be bound, or only when none can. Default: 'all'. */
  listen_require?: 'all' | 'any' | undefined
  /** Which addresses peers are told. */
  addresses?: AddressRules | undefined
  /** Transports to dial with and listen on. */
  transports?: {
    tcp?: boolean | undefined
    quic?: boolean | undefined
    websocket?: boolean | undefined
    webtransport?: boolean | undefined
    webrtc_direct?: boolean | undefined
    /** TCP and WebSocket listen at one port. Default: false. */
    share_tcp?: boolean | undefined
  }
  /** Certificate for listening on secure WebSocket. */
  websocket?: { cert_file?: string | undefined; key_file?: string | undefined }
  /** Secure channels, the preferred one first. Default: ['tls', 'noise']. */
  security?: readonly ('tls' | 'noise')[] | undefined
  /** The stream multiplexer on TCP and WebSocket. */
  yamux?: { window_bytes?: number | undefined; keepalive_ms?: number | undefined }
  /** The key that every node of a private network holds: a swarm.key file's path, its content, or 32 bytes. */
  private_network?: string | Uint8Array | { file?: string | undefined; key?: Uint8Array | undefined } | undefined
  /** What is remembered of peers: in memory, or in a directory, which never holds the private key. */
  peerstore?: {
    directory?: string | undefined
    /** For how long after the last connection; 0: 15 minutes, or 7 days with a directory. */
    remember_ms?: number | undefined
  }
  /** Resource limits; 0 takes the preset's value. */
  limits?: {
    preset?: 'default' | 'server' | 'embedded' | 'unlimited' | undefined
    streams_per_peer?: number | undefined
    connections?: number | undefined
    connections_per_ip?: number | undefined
    /** New connections per second from one IP address. */
    connection_rate?: number | undefined
    memory_bytes?: number | undefined
    file_descriptors?: number | undefined
    /** Limits of single scopes over those of the preset, in go-libp2p's own form (PartialLimitConfig). */
    exact?: ExactLimits | null | undefined
  }
  /** Who may be dialled and who may connect: peer ids, IP addresses and subnets. */
  gating?: {
    block?: readonly string[] | undefined
    allow?: readonly string[] | undefined
    /** What becomes of those that no rule names. Default: 'allow'. */
    default?: 'allow' | 'block' | undefined
  }
  /** When and how far the number of connections is trimmed. */
  connections?: { low?: number | undefined; high?: number | undefined; grace_ms?: number | undefined }
  /** How peers are dialled. */
  dial?: { timeout_ms?: number | undefined }
  /** Discovery of peers on the local network. Off by default. */
  mdns?: { enabled?: boolean | undefined; service?: string | undefined; connect?: boolean | undefined }
  /** Peers to connect to at start, and again whenever they are lost. */
  bootstrap?: {
    peers?: readonly string[] | undefined
    retry_min_ms?: number | undefined
    retry_max_ms?: number | undefined
  }
  /** The rendezvous points that discovery uses, and being one. */
  rendezvous?: {
    /** Let peers register here under names, and find each other. Default: false. */
    server?: boolean | undefined
    points?: readonly string[] | undefined
    max_registrations?: number | undefined
    max_per_peer?: number | undefined
    max_namespace?: number | undefined
    max_results?: number | undefined
    max_streams?: number | undefined
    /** Directory that keeps registrations over a restart. */
    store?: string | undefined
    ttl_min_ms?: number | undefined
    ttl_max_ms?: number | undefined
  }
  /** Pauses between attempts to reach kept peers. */
  keep?: { retry_min_ms?: number | undefined; retry_max_ms?: number | undefined }
  /** Publish and subscribe. */
  pubsub?: PubsubOptions | undefined
  /** The distributed hash table. Off by default. */
  dht?: {
    /** 'client' asks others only, 'server' also answers and stores for them, 'auto' does so while it is reachable. */
    mode?: 'off' | 'client' | 'server' | 'auto' | undefined
    /** First part of the protocol name: nodes meet that use the same. '' or '/ipfs' is the public DHT. Default: '/libp2pgo'. */
    prefix?: string | undefined
    /** Peers at which addresses are taken in. Default: 'any'. */
    network?: 'any' | 'lan' | 'wan' | 'dual' | undefined
    bucket_size?: number | undefined
    concurrency?: number | undefined
    resiliency?: number | undefined
    refresh_ms?: number | undefined
    refresh_timeout_ms?: number | undefined
    record_age_ms?: number | undefined
    provider_age_ms?: number | undefined
    reprovide_ms?: number | undefined
    republish_ms?: number | undefined
    max_value_size?: number | undefined
    /** Bytes of records and providers that are kept for others, about; beyond it new ones are refused. Default: 268435456. */
    max_bytes?: number | undefined
    /** Directory that keeps records and providers. Default: '', in memory. */
    store?: string | undefined
    /** Namespaces of keys beside pk, ipns and record, each as 'name=accept', '=hash', '=record' or '=ask'. */
    validators?: readonly string[] | undefined
    validate_timeout_ms?: number | undefined
    validate_default?: 'reject' | 'accept' | undefined
    validate_capacity?: number | undefined
  }
  /** What the node tells its peers about itself. */
  identify?: { agent?: string | undefined }
  /** The node's own events. */
  events?: { capacity?: number | undefined }
  /** Bytes accepted for writing ahead of the network, per stream. */
  stream?: { write_buffer?: number | undefined }
  /** What the node counts of its traffic, and how many peers and protocols its metrics name. */
  metrics?: { bandwidth?: boolean | undefined; peers?: number | undefined; protocols?: number | undefined }
  /** Reachability from outside, and ways through NATs. */
  nat?: {
    /** Ask the router to forward ports. Default: false. */
    port_map?: boolean | undefined
    /** Found out, or taken for granted. Default: 'auto'. */
    reachability?: 'auto' | 'public' | 'private' | undefined
    /** Dial others back that ask, AutoNAT version 1. Default: false. */
    autonat_service?: boolean | undefined
    autonat_service_rate?: number | undefined
    autonat_service_peer_rate?: number | undefined
    /** AutoNAT version 2, as client and server. Default: false. */
    autonat_v2?: boolean | undefined
    /** Turn relayed connections into direct ones. On by default. */
    hole_punch?: {
      enabled?: boolean | undefined
      dial_timeout_ms?: number | undefined
      history?: number | undefined
    }
  }
  /** Relays: using them and being one. */
  relay?: {
    client?: {
      enabled?: boolean | undefined
      /** Addresses of relays to reserve a place with. */
      relays?: readonly string[] | undefined
      /** Also consider connected peers that are relays. Default: false. */
      from_peers?: boolean | undefined
      /** Also consider peers of the DHT's table. Default: false. */
      from_dht?: boolean | undefined
      when?: 'not_public' | 'private' | 'always' | undefined
      number?: number | undefined
      boot_delay_ms?: number | undefined
      interval_ms?: number | undefined
      backoff_ms?: number | undefined
      retry_min_ms?: number | undefined
      retry_max_ms?: number | undefined
      /** How long a relayed connection stays beside a direct one; -1: for ever. Default: 5000. */
      linger_ms?: number | undefined
    }
    service?: {
      /** Relay connections for others. Default: false. */
      enabled?: boolean | undefined
      /** Only while this node is reachable, or always. Default: 'public'. */
      when?: 'public' | 'always' | undefined
      max_reservations?: number | undefined
      max_reservations_per_ip?: number | undefined
      max_reservations_per_asn?: number | undefined
      max_circuits?: number | undefined
      reservation_ms?: number | undefined
      /** Longest time of a relayed connection; 0: no limit. Default: 120000. */
      circuit_ms?: number | undefined
      /** Bytes of a relayed connection in each direction; 0: no limit. Default: 131072. */
      circuit_bytes?: number | undefined
      buffer_bytes?: number | undefined
      /** The only peers, IP addresses or subnets that may reserve a place, if there are any. */
      allow?: readonly string[] | undefined
      /** Peers, IP addresses or subnets that may not use the relay. */
      deny?: readonly string[] | undefined
    }
  }
}

interface Secret {
  path: string
  key: Uint8Array
}

/** Makes a config of the library; the caller closes it. */
export function configOf(options: NodeOptions): Handle {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new InvalidArgumentError(`options: expected an object, got ${describe(options)}`)
  }
  const { signal: _, identity, private_network: network, ...rest } = options
  const secrets: Secret[] = []
  const document: Record<string, unknown> = { ...rest }
  if (identity !== undefined) document.identity = split('identity', identity, secrets)
  if (network !== undefined) document.private_network = split('private_network', network, secrets)
  const json = optionsOf(document)
  const config = takeHandle((lib, out) => lib.p2p_config_new(json, out))
  for (const { path, key } of secrets) {
    onConfig(config, (lib) => lib.p2p_config_set_secret(config, path, key, key.length))
  }
  return config
}

/** Runs a call on a config that must not be left open when the call fails. */
function onConfig(config: Handle, call: (lib: Native) => number): void {
  const lib = native()
  try {
    check(lib, call(lib))
  } catch (error) {
    lib.p2p_close(config)
    throw error
  }
}

/** Takes the secret out of an option, for JSON cannot carry it. */
function split(path: string, value: unknown, secrets: Secret[]): unknown {
  if (typeof value === 'string') return { file: textOf(path, value) }
  if (value instanceof Uint8Array) {
    secrets.push({ path: `${path}.key`, key: value })
    return undefined
  }
  if (typeof value !== 'object' || value === null) return value
  const { key, ...rest } = value as { key?: unknown }
  if (key === undefined) return value
  if (!(key instanceof Uint8Array)) {
    throw new InvalidArgumentError(`${path}.key: expected a Uint8Array, got ${describe(key)}`)
  }
  secrets.push({ path: `${path}.key`, key })
  return Object.keys(rest).length > 0 ? rest : undefined
}
