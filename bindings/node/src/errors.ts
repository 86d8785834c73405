// Errors. Match `code`, not the class: two copies of a package in one program have two sets of classes.
//
// Libp2pError
// ├── LibraryError              the shared library is missing or does not fit
// ├── InvalidArgumentError      an argument is not allowed here
// ├── ConfigError               .path
// ├── ClosedError               the node, stream or topic was closed
// ├── TimeoutError              time is up
// ├── DialError                 .attempts
// ├── NotFoundError             nothing by that name
// ├── UnsupportedProtocolError  the peer speaks none of the protocols
// ├── LimitedConnectionError    only a limited relayed connection exists
// ├── StreamResetError          .reason
// ├── TooBigError               larger than allowed
// └── RequestError              .reason; thrown by a handler, received by the asker
import { E } from './constants.js'
import { integerOf } from './memory.js'

/** The stable names of all errors, one per P2P_E_ code, and LIBRARY for one that cannot be loaded. */
export type ErrorCode = `ERR_LIBP2P_${keyof typeof E | 'LIBRARY'}`

const codes = new Map<number, ErrorCode>(
  Object.entries(E).map(([name, number]) => [number, `ERR_LIBP2P_${name as keyof typeof E}`]),
)

/** Any failure that this package reports. The message names the thing at fault: the address, the option, the peer. */
export class Libp2pError<Code extends ErrorCode = ErrorCode> extends Error {
  readonly code: Code

  constructor(code: Code, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
    this.code = code
  }
}

/** The shared library is missing, cannot be loaded or has another ABI. */
export class LibraryError extends Libp2pError<'ERR_LIBP2P_LIBRARY'> {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_LIBP2P_LIBRARY', message, options)
  }
}

/** An argument is not allowed here. The message names it and says what is expected. */
export class InvalidArgumentError extends Libp2pError<'ERR_LIBP2P_INVALID'> {
  constructor(message: string) {
    super('ERR_LIBP2P_INVALID', message)
  }
}

/** An option is unknown, mistyped, out of range, or in conflict with another. */
export class ConfigError extends Libp2pError<'ERR_LIBP2P_CONFIG'> {
  /** The option at fault, as in `pubsub.d_low`; empty if the document itself is malformed. */
  readonly path: string

  constructor(message: string) {
    super('ERR_LIBP2P_CONFIG', message)
    this.path = /^([a-z_][\w.[\]]*):/.exec(message)?.[1] ?? ''
  }
}

/** The node, stream, topic or service was closed before or while the call ran. */
export class ClosedError extends Libp2pError<'ERR_LIBP2P_CLOSED'> {
  constructor(message: string) {
    super('ERR_LIBP2P_CLOSED', message)
  }
}

/** The call's timeout, or a stream's deadline, has passed. */
export class TimeoutError extends Libp2pError<'ERR_LIBP2P_TIMEOUT'> {
  constructor(message: string) {
    super('ERR_LIBP2P_TIMEOUT', message)
  }
}

/** One address that was dialled, and why it failed. */
export interface DialAttempt {
  readonly address: string
  readonly reason: string
}

/** No address of a peer answered. */
export class DialError extends Libp2pError<'ERR_LIBP2P_DIAL'> {
  readonly attempts: readonly DialAttempt[]

  constructor(message: string) {
    super('ERR_LIBP2P_DIAL', message)
    this.attempts = parseAttempts(message)
  }
}

/** There is nothing by that name. */
export class NotFoundError extends Libp2pError<'ERR_LIBP2P_NOT_FOUND'> {
  constructor(message: string) {
    super('ERR_LIBP2P_NOT_FOUND', message)
  }
}

/** The peer speaks none of the protocols, or does not serve the request. */
export class UnsupportedProtocolError extends Libp2pError<'ERR_LIBP2P_PROTOCOL'> {
  constructor(message: string) {
    super('ERR_LIBP2P_PROTOCOL', message)
  }
}

/** Only a relayed connection with limits exists; pass `allow_limited` to use it. */
export class LimitedConnectionError extends Libp2pError<'ERR_LIBP2P_LIMITED'> {
  constructor(message: string) {
    super('ERR_LIBP2P_LIMITED', message)
  }
}

/** The peer gave the stream up before its end. */
export class StreamResetError extends Libp2pError<'ERR_LIBP2P_RESET'> {
  /** The peer's code, 0 if it gave none. */
  readonly reason: number

  constructor(message: string, reason: number) {
    super('ERR_LIBP2P_RESET', message)
    this.reason = reason
  }
}

/** A message, frame, request or answer is larger than its limit. */
export class TooBigError extends Libp2pError<'ERR_LIBP2P_TOO_BIG'> {
  constructor(message: string) {
    super('ERR_LIBP2P_TOO_BIG', message)
  }
}

/** An answer that is an error. Throw it in a request handler; the asker gets an equal one. */
export class RequestError extends Libp2pError<'ERR_LIBP2P_REMOTE'> {
  /** The handler's own number, from 0 to 2147483647; -1 at the asker: the handler gave no answer. */
  readonly reason: number

  constructor(reason: number, message: string) {
    super('ERR_LIBP2P_REMOTE', message)
    this.reason = integerOf('reason', reason, 0, 0x7fff_ffff)
  }
}

/** Makes the error for a P2P_E_ code with its words and detail. */
export function errorOf(status: number, words: string, detail: number): Libp2pError {
  switch (status) {
    case E.INVALID:
      return new InvalidArgumentError(words)
    case E.CONFIG:
      return new ConfigError(words)
    case E.CLOSED:
      return new ClosedError(words)
    case E.HANDLE:
      // Nobody but this package holds handles: one that is gone is that of an object that was closed.
      return new ClosedError(words.replace(/^(\w+) \d+ is closed or never was$/, 'the $1 is closed'))
    case E.TIMEOUT:
      return new TimeoutError(words)
    case E.DIAL:
      return new DialError(words)
    case E.NOT_FOUND:
      return new NotFoundError(words)
    case E.PROTOCOL:
      return new UnsupportedProtocolError(words)
    case E.LIMITED:
      return new LimitedConnectionError(words)
    case E.RESET:
      return new StreamResetError(words, detail)
    case E.TOO_BIG:
      return new TooBigError(words)
    case E.REMOTE:
      // No handler may say -1: so it is told here that there was no answer.
      return Object.assign(new RequestError(0, words), { reason: detail })
    default:
      return new Libp2pError(codes.get(status) ?? 'ERR_LIBP2P_INTERNAL', words)
  }
}

/** The words list each attempt as "<address> <reason>", separated by "; ". */
function parseAttempts(words: string): DialAttempt[] {
  const attempts: DialAttempt[] = []
  for (const part of words.split('; ')) {
    const found = /(?:^|\s)(\/[a-z0-9-]+\/\S*?):?\s+(.*)$/s.exec(part)
    if (found) attempts.push({ address: found[1] as string, reason: found[2] as string })
  }
  return attempts
}
