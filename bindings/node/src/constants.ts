// The numbers of include/libp2p.h. A test compares them with the header.

/** The ABI that this binding is written for: P2P_ABI. */
export const ABI = 1

/** A call that completes later: P2P_PENDING. */
export const PENDING = 1

/** P2P_E_ codes by name. */
export const E = {
  INVALID: -1,
  HANDLE: -2,
  KIND: -3,
  CONFIG: -4,
  PARSE: -5,
  CLOSED: -6,
  STATE: -7,
  EXISTS: -8,
  BUSY: -9,
  FORKED: -10,
  TIMEOUT: -11,
  CANCELLED: -12,
  AGAIN: -13,
  DIAL: -14,
  NO_ADDRESS: -15,
  NOT_FOUND: -16,
  REFUSED: -17,
  PROTOCOL: -18,
  RESET: -19,
  REMOTE: -20,
  SECURITY: -21,
  LISTEN: -22,
  LIMIT: -23,
  REJECTED: -24,
  TOO_BIG: -25,
  PERMISSION: -26,
  PEERS: -27,
  NOMEM: -28,
  SYSTEM: -29,
  UNSUPPORTED: -30,
  INTERNAL: -31,
  LIMITED: -32,
} as const

/** P2P_KIND_ numbers by name. */
export const KIND = {
  QUEUE: 1,
  CONFIG: 2,
  NODE: 3,
  SERVICE: 4,
  STREAM: 5,
  EXCHANGE: 6,
  REQUEST: 7,
  TOPIC: 8,
  SUBSCRIPTION: 9,
  TOKEN: 10,
  SEARCH: 11,
  DISCOVERY: 12,
  RESERVATION: 13,
} as const

/** P2P_EVENT_ types by name. */
export const EVENT = {
  DONE: 1,
  POST: 2,
  DROPPED: 3,
  CLOSED: 4,
  LOG: 5,
  PEER_CONNECTED: 10,
  PEER_DISCONNECTED: 11,
  PEER_PATH: 12,
  PEER_FOUND: 13,
  PEER_UNREACHABLE: 14,
  ADDRESSES: 15,
  LISTEN_FAILED: 16,
  STREAM: 20,
  STREAM_DATA: 21,
  STREAM_END: 22,
  STREAM_RESET: 23,
  REQUEST: 30,
  REQUEST_CANCELLED: 31,
  MESSAGE: 40,
  VALIDATE: 41,
  TOPIC_JOINED: 42,
  TOPIC_LEFT: 43,
  PUBSUB_TRACE: 44,
  PEER_GRAYLISTED: 45,
  PEER_PARDONED: 46,
  DISCOVERY_FOUND: 60,
  DISCOVERY_ADVERTISED: 61,
  DISCOVERY_FAILED: 62,
  DISCOVERY_CONNECTED: 63,
  DISCOVERY_LEFT: 64,
  DISCOVERY_UNREACHABLE: 65,
  GATE: 80,
  REACHABILITY: 70,
  ADDRESS_REACHABILITY: 71,
  NAT_TYPE: 72,
  HOLE_PUNCH: 73,
  RESERVATION: 74,
  PORT_MAPPING: 75,
  DHT_VALIDATE: 50,
  DHT_VALUE: 51,
  DHT_PROVIDER: 52,
  DHT_MODE: 53,
} as const

/** P2P_FLAG_ bits by name. */
export const FLAG = { INBOUND: 1, RELAYED: 2, LIMITED: 4, SIGNED: 8, LOCAL: 16 } as const

/** P2P_VERDICT_ numbers by name. */
export const VERDICT = { ACCEPT: 0, REJECT: 1, IGNORE: 2 } as const
