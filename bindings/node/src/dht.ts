// The distributed hash table: records, providers, and peers by their id.

export interface DHTPutOptions {
  /** Peers that must have taken the value, else the call fails; 0: none, it is kept here. Default: 1. */
  min_peers?: number | undefined
}

export interface DHTGetOptions {
  /** Answers that are enough; 0: all peers closest to the key are asked. Default: 0. */
  quorum?: number | undefined
  /** A signed record as it is, with its signature, instead of its value. */
  raw?: boolean | undefined
}

export interface DHTSearchOptions extends DHTGetOptions {
  /** When the search ends at the latest. Default: 60000. */
  timeout_ms?: number | undefined
}

export interface DHTProvidersOptions {
  /** Providers that are enough; 0: all that are found. Default: 0. */
  count?: number | undefined
  /** When the search ends at the latest. Default: 60000. */
  timeout_ms?: number | undefined
}

export interface DHTSetOptions {
  /** How long the value holds. Default: one day. */
  expiry_ms?: number | undefined
  /** Publish it again and again until it expires. Default: true. */
  republish?: boolean | undefined
  /** Peers that must have taken the value, else the call fails; 0: none. Default: 1. */
  min_peers?: number | undefined
}
