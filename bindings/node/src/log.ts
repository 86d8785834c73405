// The library's logs. All are off at load, and nothing is ever written to stdout or stderr.
import { EVENT } from './constants.js'
import { native } from './ffi.js'
import { check, integerOf, optionsOf, textOf } from './memory.js'
import { type Queue, queue, type Source } from './queue.js'
import type { Records } from './records.js'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'off'

/** One record of a log. */
export interface LogRecord {
  readonly level: Exclude<LogLevel, 'off'>
  readonly time: Date
  readonly subsystem: string
  readonly message: string
  /** Each "key=value". */
  readonly attributes: readonly string[]
}

/** Sets how much a subsystem logs ("dht", "swarm2", "pubsub", "p2pgo"; "*" for all, also later ones). */
export function setLogLevel(subsystem: string, level: LogLevel): void {
  const lib = native()
  check(lib, lib.p2p_log_level(textOf('subsystem', subsystem), textOf('level', level)))
}

class LogSource implements Source {
  readonly queue: Queue
  readonly tag: number
  readonly #listener: (record: LogRecord) => void

  constructor(listener: (record: LogRecord) => void) {
    this.queue = queue()
    this.#listener = listener
    this.tag = this.queue.add(this)
  }

  onEvent(event: Records): void {
    if (event.type !== EVENT.LOG) return
    const [level = '', time = '', subsystem = '', message = '', ...attributes] = event.lines()
    this.#listener({
      level: level.toLowerCase() as LogRecord['level'],
      time: new Date(time),
      subsystem,
      message,
      attributes,
    })
  }
}

let listening: LogSource | undefined

/**
 * Sends the library's log records to a listener, in place of the one before; null ends it. The process has one log: the
 * last thread that asked gets it. It does not keep the process alive.
 */
export function setLogListener(listener: ((record: LogRecord) => void) | null): void {
  const lib = native()
  const previous = listening
  listening = listener ? new LogSource(listener) : undefined
  check(lib, lib.p2p_log_queue(listening?.queue.handle ?? 0, listening?.tag ?? 0))
  previous?.queue.remove(previous.tag)
}

/** How log records are written. */
export interface LogOutputOptions {
  /** 'text': time, level, subsystem, message and key=value, a record per line; 'json': an object per line. Default: 'text'. */
  format?: 'text' | 'json' | undefined
  /** Size of a file beyond which it becomes path.1 and a new one is begun. Default: 16777216. */
  max_bytes?: number | undefined
  /** Older files that are kept. Default: 1. */
  keep?: number | undefined
}

/**
 * Writes the library's log to a file descriptor too, such as 2; null ends that. Nothing waits for who reads it: what it
 * does not take at once is lost, counted in `runtimeInfo().log_dropped`, and told in the log.
 */
export function setLogFd(fd: number | null, options?: LogOutputOptions): void {
  const lib = native()
  const number = fd === null ? -1 : integerOf('fd', fd, 0, 0x7fff_ffff)
  check(lib, lib.p2p_log_fd(number, optionsOf(options)))
}

/** Writes the library's log to the end of a file too; null ends that when all is written. */
export function setLogFile(path: string | null, options?: LogOutputOptions): void {
  const lib = native()
  check(lib, lib.p2p_log_file(path === null ? null : textOf('path', path), optionsOf(options)))
}
