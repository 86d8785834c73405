// Go runs on stacks of its own, far too small for a signal handler, and demands that every handler runs on the alternate stack. libuv
// installs its handlers without SA_ONSTACK, so a signal that meets the main thread inside the library would destroy Go's stack. We add the
// flag to handlers as they come.
import { subscribe } from 'node:diagnostics_channel'
import { constants } from 'node:os'
import { isMainThread } from 'node:worker_threads'

type Sigaction = (signal: number, action: Uint8Array | null, old: Uint8Array | null) => number

// struct sigaction of glibc on 64-bit systems: handler, mask of 128 bytes, flags, restorer.
const STRUCT_BYTES = 152
const FLAGS = 136
const SA_ONSTACK = 0x0800_0000

/** Protects the handlers that exist, and from now on those of `process.on('SIG...')` and of child processes. */
export function protectSignalHandlers(sigaction: Sigaction): void {
  // Workers have no handlers of their own.
  if (process.platform !== 'linux' || !isMainThread) return
  const action = Buffer.alloc(STRUCT_BYTES)
  const protect = (signal: number): void => {
    if (sigaction(signal, null, action) !== 0) return
    const handler = action.readBigUInt64LE(0)
    const flags = action.readInt32LE(FLAGS)
    if (handler <= 1n || (flags & SA_ONSTACK) !== 0) return // default, ignored, or safe
    action.writeInt32LE(flags | SA_ONSTACK, FLAGS)
    sigaction(signal, action, null)
  }
  for (const signal of Object.values(constants.signals)) protect(signal)
  // Both are told before the handler is installed.
  process.on('newListener', (name) => {
    const signal = constants.signals[name as NodeJS.Signals]
    if (signal !== undefined) process.nextTick(protect, signal)
  })
  subscribe('child_process', () => process.nextTick(protect, constants.signals.SIGCHLD))
}
