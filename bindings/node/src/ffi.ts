// The one door to the shared library. Only this module knows how a C function is called; the others see typed functions.
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { ABI } from './constants.js'
import { LibraryError } from './errors.js'
import { protectSignalHandlers } from './signals.js'

/**
 * The types that the header uses. `text` and `bytes` are borrowed for the call, `out` is memory of ours that the library
 * fills, `block` is the address of memory that the library made.
 */
type Type = 'void' | 'i32' | 'u32' | 'i64' | 'u64' | 'size' | 'text' | 'bytes' | 'out' | 'block'

/** Every function of include/libp2p.h: its result, then its arguments. A test compares the table with the header. */
export const signatures = {
  p2p_abi: ['i32'],
  p2p_version: ['text'],
  p2p_build_info: ['i32', 'out'],
  p2p_error_name: ['text', 'i32'],
  p2p_last_error: ['text'],
  p2p_last_detail: ['i64'],
  p2p_free: ['void', 'block'],
  p2p_log_level: ['i32', 'text', 'text'],
  p2p_log_queue: ['i32', 'u64', 'u64'],
  p2p_log_fd: ['i32', 'i32', 'text'],
  p2p_log_file: ['i32', 'text', 'text'],
  p2p_crash_file: ['i32', 'text'],
  p2p_runtime_tune: ['i32', 'i32', 'i64'],
  p2p_runtime_info: ['i32', 'out'],
  p2p_live_handles: ['i64', 'i32'],

  p2p_close: ['i32', 'u64'],
  p2p_kind: ['i32', 'u64'],
  p2p_parent: ['i32', 'u64', 'out'],
  p2p_info: ['i32', 'u64', 'out'],
  p2p_cancel: ['i32', 'u64', 'u64'],
  p2p_answer: ['i32', 'u64', 'i32'],

  p2p_queue_new: ['i32', 'size', 'out'],
  p2p_queue_poll: ['i32', 'u64', 'out', 'i32', 'out', 'size', 'i32'],
  p2p_queue_fd: ['i32', 'u64', 'out'],
  p2p_queue_wake: ['i32', 'u64'],
  p2p_queue_post: ['i32', 'u64', 'u64', 'i64', 'bytes', 'size'],

  p2p_config_new: ['i32', 'text', 'out'],
  p2p_config_set: ['i32', 'u64', 'text', 'text'],
  p2p_config_set_secret: ['i32', 'u64', 'text', 'bytes', 'size'],
  p2p_config_get: ['i32', 'u64', 'text', 'out'],
  p2p_config_schema: ['i32', 'out'],

  p2p_key_new: ['i32', 'text', 'out', 'out'],
  p2p_key_peer_id: ['i32', 'bytes', 'size', 'out'],

  p2p_node_new: ['i32', 'u64', 'u64', 'u64', 'out', 'bytes'],
  p2p_node_close: ['i32', 'u64', 'bytes'],
  p2p_node_id: ['i32', 'u64', 'out'],
  p2p_node_addresses: ['i32', 'u64', 'out'],

  p2p_peer_connect: ['i32', 'u64', 'text', 'out', 'bytes'],
  p2p_peer_disconnect: ['i32', 'u64', 'text'],
  p2p_peer_list: ['i32', 'u64', 'out'],
  p2p_peer_info: ['i32', 'u64', 'text', 'out'],
  p2p_peer_ping: ['i32', 'u64', 'text', 'out', 'bytes'],
  p2p_peer_keep: ['i32', 'u64', 'text'],
  p2p_peer_release: ['i32', 'u64', 'text'],

  p2p_stream_serve: ['i32', 'u64', 'text', 'text', 'u64', 'u64', 'out'],
  p2p_stream_open: ['i32', 'u64', 'text', 'text', 'text', 'out', 'bytes'],
  p2p_stream_read: ['i64', 'u64', 'out', 'size', 'bytes'],
  p2p_stream_write: ['i64', 'u64', 'bytes', 'size', 'bytes'],
  p2p_stream_read_message: ['i32', 'u64', 'size', 'out', 'out', 'bytes'],
  p2p_stream_write_message: ['i64', 'u64', 'bytes', 'size', 'bytes'],
  p2p_stream_close_write: ['i32', 'u64', 'bytes'],
  p2p_stream_close_read: ['i32', 'u64'],
  p2p_stream_reset: ['i32', 'u64', 'u32'],
  p2p_stream_deadline: ['i32', 'u64', 'i32', 'i32'],
  p2p_stream_watch: ['i32', 'u64', 'u64', 'u64', 'size', 'size'],
  p2p_stream_credit: ['i32', 'u64', 'size'],
  p2p_stream_fd: ['i32', 'u64', 'out'],

  p2p_request_send: ['i32', 'u64', 'text', 'text', 'bytes', 'size', 'text', 'out', 'out', 'bytes'],
  p2p_request_open: ['i32', 'u64', 'text', 'text', 'bytes', 'size', 'text', 'out', 'bytes'],
  p2p_request_next: ['i32', 'u64', 'out', 'out', 'bytes'],
  p2p_request_serve: ['i32', 'u64', 'text', 'text', 'u64', 'u64', 'out'],
  p2p_request_respond: ['i32', 'u64', 'bytes', 'size', 'i32', 'bytes'],
  p2p_request_fail: ['i32', 'u64', 'i32', 'text'],

  p2p_topic_join: ['i32', 'u64', 'text', 'text', 'u64', 'u64', 'out'],
  p2p_topic_publish: ['i32', 'u64', 'bytes', 'size', 'i32', 'bytes'],
  p2p_topic_subscribe: ['i32', 'u64', 'text', 'u64', 'u64', 'out'],
  p2p_topic_peers: ['i32', 'u64', 'out'],

  p2p_topic_publish_batch: ['i32', 'u64', 'bytes', 'size', 'i32', 'out', 'bytes'],
  p2p_topic_score_set: ['i32', 'u64', 'text'],
  p2p_pubsub_info: ['i32', 'u64', 'out'],
  p2p_pubsub_score_set: ['i32', 'u64', 'text', 'i64'],
  p2p_pubsub_block: ['i32', 'u64', 'text'],
  p2p_pubsub_unblock: ['i32', 'u64', 'text'],
  p2p_pubsub_direct_add: ['i32', 'u64', 'text'],
  p2p_pubsub_direct_remove: ['i32', 'u64', 'text'],
  p2p_pubsub_trace: ['i32', 'u64', 'text', 'u64', 'u64', 'out'],
  p2p_nat_info: ['i32', 'u64', 'out'],
  p2p_nat_wait: ['i32', 'u64', 'text', 'out', 'bytes'],

  p2p_relay_reserve: ['i32', 'u64', 'text', 'u64', 'u64', 'out', 'out', 'bytes'],
  p2p_relay_info: ['i32', 'u64', 'out'],
  p2p_relay_allow: ['i32', 'u64', 'text'],
  p2p_relay_deny: ['i32', 'u64', 'text'],
  p2p_relay_forget: ['i32', 'u64', 'text'],

  p2p_node_listen: ['i32', 'u64', 'text', 'out'],
  p2p_node_unlisten: ['i32', 'u64', 'text'],
  p2p_node_announce: ['i32', 'u64', 'text'],

  p2p_gate_block: ['i32', 'u64', 'text'],
  p2p_gate_allow: ['i32', 'u64', 'text'],
  p2p_gate_remove: ['i32', 'u64', 'text'],
  p2p_gate_default: ['i32', 'u64', 'text'],
  p2p_gate_list: ['i32', 'u64', 'out'],
  p2p_gate_ask: ['i32', 'u64', 'text', 'u64', 'u64', 'out'],

  p2p_metrics: ['i32', 'u64', 'text', 'out'],
  p2p_metrics_serve: ['i32', 'u64', 'text', 'text', 'out'],
  p2p_bandwidth_info: ['i32', 'u64', 'out'],
  p2p_perf_serve: ['i32', 'u64', 'text', 'out'],
  p2p_perf_run: ['i32', 'u64', 'text', 'i64', 'i64', 'text', 'out', 'bytes'],

  p2p_key_import: ['i32', 'bytes', 'size', 'text', 'text', 'out', 'out'],
  p2p_key_export: ['i32', 'bytes', 'size', 'text', 'out', 'out'],
  p2p_key_public: ['i32', 'bytes', 'size', 'out', 'out'],
  p2p_key_sign: ['i32', 'bytes', 'size', 'bytes', 'size', 'out', 'out'],
  p2p_pubkey_import: ['i32', 'bytes', 'size', 'text', 'text', 'out', 'out'],
  p2p_pubkey_export: ['i32', 'bytes', 'size', 'text', 'out', 'out'],
  p2p_pubkey_info: ['i32', 'bytes', 'size', 'out'],
  p2p_pubkey_verify: ['i32', 'bytes', 'size', 'bytes', 'size', 'bytes', 'size'],
  p2p_id_info: ['i32', 'text', 'out'],
  p2p_id_bytes: ['i32', 'text', 'out', 'out'],
  p2p_id_text: ['i32', 'bytes', 'size', 'out'],
  p2p_id_public_key: ['i32', 'text', 'out', 'out'],
  p2p_envelope_seal: ['i32', 'bytes', 'size', 'text', 'bytes', 'size', 'bytes', 'size', 'out', 'out'],
  p2p_envelope_open: ['i32', 'bytes', 'size', 'text', 'out', 'out', 'out'],
  p2p_record_seal: ['i32', 'bytes', 'size', 'text', 'u64', 'out', 'out'],
  p2p_record_open: ['i32', 'bytes', 'size', 'out'],
  p2p_network_key_new: ['i32', 'out'],
  p2p_network_key_parse: ['i32', 'bytes', 'size', 'out', 'out'],
  p2p_network_key_text: ['i32', 'bytes', 'size', 'out'],
  p2p_network_key_fingerprint: ['i32', 'bytes', 'size', 'out'],

  p2p_address_info: ['i32', 'text', 'out'],
  p2p_address_bytes: ['i32', 'text', 'out', 'out'],
  p2p_address_text: ['i32', 'bytes', 'size', 'out'],
  p2p_address_join: ['i32', 'text', 'out'],
  p2p_address_decapsulate: ['i32', 'text', 'text', 'out'],
  p2p_address_split: ['i32', 'text', 'out'],
  p2p_address_resolve: ['i32', 'text', 'text', 'out', 'bytes'],

  p2p_cid_make: ['i32', 'bytes', 'size', 'text', 'out'],
  p2p_cid_info: ['i32', 'text', 'out'],
  p2p_cid_text: ['i32', 'text', 'text', 'out'],
  p2p_cid_bytes: ['i32', 'text', 'out', 'out'],
  p2p_cid_parse: ['i32', 'bytes', 'size', 'out'],
  p2p_cid_verify: ['i32', 'text', 'bytes', 'size'],

  p2p_discovery_join: ['i32', 'u64', 'text', 'text', 'u64', 'u64', 'out'],
  p2p_discovery_peers: ['i32', 'u64', 'out'],
  p2p_discovery_advertise: ['i32', 'u64', 'text', 'text', 'u64', 'u64', 'out'],
  p2p_discovery_find: ['i32', 'u64', 'text', 'text', 'u64', 'u64', 'out'],
  p2p_rendezvous_register: ['i32', 'u64', 'text', 'text', 'text', 'u64', 'u64', 'out', 'bytes'],
  p2p_rendezvous_unregister: ['i32', 'u64', 'text', 'text', 'bytes'],
  p2p_rendezvous_discover: ['i32', 'u64', 'text', 'text', 'text', 'out', 'bytes'],

  p2p_peer_tag: ['i32', 'u64', 'text', 'text', 'i32'],
  p2p_peer_untag: ['i32', 'u64', 'text', 'text'],
  p2p_peer_protect: ['i32', 'u64', 'text', 'text'],
  p2p_peer_unprotect: ['i32', 'u64', 'text', 'text'],
  p2p_peer_trim: ['i32', 'u64', 'i32', 'bytes'],
  p2p_node_watermarks: ['i32', 'u64', 'i32', 'i32', 'i32'],

  p2p_limits_info: ['i32', 'u64', 'out'],

  p2p_peer_explain: ['i32', 'u64', 'text', 'text', 'out', 'bytes'],
  p2p_dht_bootstrap: ['i32', 'u64', 'i32', 'bytes'],
  p2p_dht_put: ['i32', 'u64', 'text', 'bytes', 'size', 'text', 'bytes'],
  p2p_dht_get: ['i32', 'u64', 'text', 'text', 'out', 'out', 'bytes'],
  p2p_dht_search: ['i32', 'u64', 'text', 'text', 'u64', 'u64', 'out'],
  p2p_dht_set: ['i32', 'u64', 'text', 'bytes', 'size', 'text', 'bytes'],
  p2p_dht_unset: ['i32', 'u64', 'text', 'bytes'],
  p2p_dht_provide: ['i32', 'u64', 'text', 'bytes'],
  p2p_dht_provide_start: ['i32', 'u64', 'text', 'bytes'],
  p2p_dht_provide_stop: ['i32', 'u64', 'text', 'bytes'],
  p2p_dht_find_providers: ['i32', 'u64', 'text', 'text', 'u64', 'u64', 'out'],
  p2p_dht_find_peer: ['i32', 'u64', 'text', 'out', 'bytes'],
  p2p_dht_closest_peers: ['i32', 'u64', 'text', 'out', 'bytes'],
  p2p_dht_refresh: ['i32', 'u64', 'bytes'],
  p2p_dht_mode: ['i32', 'u64', 'text'],
  p2p_dht_info: ['i32', 'u64', 'out'],

  p2p_peer_add: ['i32', 'u64', 'text', 'i64', 'out'],
  p2p_peer_forget: ['i32', 'u64', 'text'],
  p2p_peer_known: ['i32', 'u64', 'out'],
  p2p_peer_put: ['i32', 'u64', 'text', 'text', 'bytes', 'size'],
  p2p_peer_get: ['i32', 'u64', 'text', 'text', 'out', 'out'],
  p2p_peer_record: ['i32', 'u64', 'text', 'out', 'out'],
  p2p_peer_add_record: ['i32', 'u64', 'bytes', 'size', 'i64', 'out'],
} as const satisfies Record<string, readonly Type[]>

/** Functions of libc: two that read memory which the library made, and one for signals.ts. */
const libc = {
  strlen: ['size', 'block'],
  memcpy: ['void', 'out', 'block', 'size'],
  sigaction: ['i32', 'i32', 'bytes', 'out'],
} as const satisfies Record<string, readonly Type[]>

interface Results {
  void: undefined
  i32: number
  u32: number
  i64: number
  u64: number
  size: number
  text: string
  bytes: never
  out: never
  block: never
}

interface Arguments {
  void: never
  i32: number
  u32: number
  i64: number
  u64: number | bigint
  size: number
  text: string | null
  bytes: Uint8Array | null
  out: Uint8Array | null
  block: number
}

type Args<T extends readonly Type[]> = T extends readonly [
  infer Head extends Type,
  ...infer Tail extends readonly Type[],
]
  ? [Arguments[Head], ...Args<Tail>]
  : []

type Callable<S extends readonly Type[]> = S extends readonly [infer R extends Type, ...infer A extends readonly Type[]]
  ? (...args: Args<A>) => Results[R]
  : never

type Functions<T extends Record<string, readonly Type[]>> = { readonly [K in keyof T]: Callable<T[K]> }

/** The library's functions, and those of libc. */
export type Native = Functions<typeof signatures> & Functions<typeof libc>

/** How one kind of FFI opens a library and binds functions. A second backend is a second value of this type. */
type Backend = (path: string, table: Record<string, readonly Type[]>) => Record<string, unknown>

const require = createRequire(import.meta.url)

const koffi: Backend = (path, table) => {
  const types: Record<Type, string> = {
    void: 'void',
    i32: 'int32',
    u32: 'uint32',
    i64: 'int64',
    u64: 'uint64',
    size: 'uint64',
    text: 'const char *',
    bytes: 'void *',
    out: 'void *',
    block: 'uint64',
  }
  const library = (require('koffi') as typeof import('koffi')).load(path)
  const functions: Record<string, unknown> = {}
  for (const [name, [result, ...args]] of Object.entries(table)) {
    functions[name] = library.func(
      name,
      types[result as Type],
      args.map((type) => types[type]),
    )
  }
  return functions
}

const backends: Record<string, Backend> = { koffi }

const libcPaths: Partial<Record<NodeJS.Platform, string>> = { linux: 'libc.so.6', darwin: 'libSystem.B.dylib' }

/** Where the library may lie, best first, each with the reason it is looked for there. */
function candidates(): { path: string; why: string }[] {
  const chosen = process.env.LIBP2PGO_LIBRARY
  if (chosen) return [{ path: chosen, why: 'LIBP2PGO_LIBRARY' }]
  const suffix = { darwin: 'dylib', win32: 'dll' }[process.platform as string] ?? 'so'
  const found: { path: string; why: string }[] = []
  const platform = `@libp2pgo/${process.platform}-${process.arch}${process.platform === 'linux' ? '-gnu' : ''}`
  try {
    found.push({ path: require.resolve(`${platform}/libp2pgo.${suffix}`), why: platform })
  } catch {
    // Not installed: the development build is next.
  }
  const development = fileURLToPath(new URL(`../../../build/libp2pgo.${suffix}`, import.meta.url))
  if (existsSync(development)) found.push({ path: development, why: 'development build' })
  if (found.length === 0) {
    throw new LibraryError(
      `no libp2pgo library for ${process.platform}-${process.arch}: install ${platform} (a lock file made on another ` +
        'system may lack it, npm/cli#4828), or set LIBP2PGO_LIBRARY to its path',
    )
  }
  return found
}

/** The report is slow to make, so it is asked for only once loading has failed. */
function isMusl(): boolean {
  if (process.platform !== 'linux') return false
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined
  return report?.header?.glibcVersionRuntime === undefined
}

function load(): Native {
  const name = process.env.LIBP2PGO_FFI ?? 'koffi'
  const backend = backends[name]
  if (!backend)
    throw new LibraryError(`LIBP2PGO_FFI: no backend "${name}"; there is ${Object.keys(backends).join(', ')}`)
  const { path, why } = candidates()[0] as { path: string; why: string }
  let functions: Record<string, unknown>
  try {
    const { p2p_abi: abi } = backend(path, { p2p_abi: signatures.p2p_abi }) as { p2p_abi: () => number }
    if (abi() !== ABI) {
      throw new LibraryError(
        `${path} (${why}) has ABI ${abi()}, this package needs ${ABI}: update the older of the two`,
      )
    }
    functions = { ...backend(path, signatures), ...backend(libcPaths[process.platform] ?? 'libc.so.6', libc) }
  } catch (error) {
    if (error instanceof LibraryError) throw error
    const hint = isMusl() ? ': this system uses musl, the library needs glibc (golang/go#54805)' : ''
    throw new LibraryError(`${path} (${why}) cannot be loaded${hint}: ${(error as Error).message}`, { cause: error })
  }
  return Object.freeze(functions) as unknown as Native
}

let loaded: Native | undefined

/** The library, loaded at the first call and kept for the life of the process. */
export function native(): Native {
  if (!loaded) {
    loaded = load()
    protectSignalHandlers(loaded.sigaction)
  }
  return loaded
}
