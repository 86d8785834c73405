// The library as a whole: version, schema, runtime, logs.
import { native } from './ffi.js'
import { check, checkOptions, integerOf, takeText, textOf } from './memory.js'

/** The library's version, "major.minor.patch". */
export function version(): string {
  return native().p2p_version()
}

/** What the library was built from: version, abi, go, modules, transports. */
export function buildInfo(): Record<string, unknown> {
  return JSON.parse(takeText((lib, out) => lib.p2p_build_info(out))) as Record<string, unknown>
}

/** The JSON Schema of a node's options and of each richer call's. */
export function configSchema(): Record<string, unknown> {
  return JSON.parse(takeText((lib, out) => lib.p2p_config_schema(out))) as Record<string, unknown>
}

/** The process as the library sees it: goroutines, heap_bytes, threads, file_descriptors, handles, panics. */
export function runtimeInfo(): Record<string, unknown> {
  return JSON.parse(takeText((lib, out) => lib.p2p_runtime_info(out))) as Record<string, unknown>
}

/** Sets how many threads run Go code at a time, and the soft limit of its heap; -1 is the default. */
export function tuneRuntime(limits: { threads?: number | undefined; heapBytes?: number | undefined }): void {
  checkOptions(limits, 'threads', 'heapBytes')
  const lib = native()
  const threads = integerOf('threads', limits.threads ?? 0, -1, 0x7fff_ffff)
  const heap = integerOf('heapBytes', limits.heapBytes ?? 0, -1, Number.MAX_SAFE_INTEGER)
  check(lib, lib.p2p_runtime_tune(threads, heap))
}

/** Names a file for the Go runtime's last words, should the process die of a bug in the library; null ends it. */
export function crashFile(path: string | null): void {
  const lib = native()
  check(lib, lib.p2p_crash_file(path === null ? null : textOf('path', path)))
}
