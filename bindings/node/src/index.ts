// libp2pgo: a complete libp2p node for Node.js.
export {
  type AddressComponent,
  type AddressInfo,
  addressFromBytes,
  addressToBytes,
  decapsulateAddress,
  joinAddresses,
  parseAddress,
  type ResolveOptions,
  resolveAddress,
  splitAddress,
} from './address.js'
export type { CallOptions } from './call.js'
export {
  type CidInfo,
  type CidOptions,
  type CidTextOptions,
  cidFromBytes,
  cidToBytes,
  formatCid,
  makeCid,
  parseCid,
  verifyCid,
} from './cid.js'
export type { Connections } from './connections.js'
export type {
  DHT,
  DHTGetOptions,
  DHTProvidersOptions,
  DHTPutOptions,
  DHTSearchOptions,
  DHTSetOptions,
  DHTValue,
  Provider,
  Search,
  ValueValidator,
} from './dht.js'
export type {
  Advertisement,
  AdvertiseOptions,
  Discovery,
  DiscoveryEvents,
  DiscoverySource,
  FindOptions,
  FoundPeer,
  Meeting,
  MeetOptions,
  MetPeer,
  PeerSearch,
  RegisteredPeer,
  RegisterOptions,
  RendezvousAnswer,
  RendezvousQuestion,
  SourceOptions,
} from './discovery.js'
export * from './errors.js'
export type {
  AddressesEvent,
  DHTModeEvent,
  EventFlow,
  ListenFailedEvent,
  NodeEvent,
  NodeEvents,
  PeerEvent,
  PeerFoundEvent,
  PeerPathEvent,
  PeerScoreEvent,
  PeerUnreachableEvent,
} from './events.js'
export type { ExplainedAttempt, ExplainOptions, Explanation } from './explain.js'
export type {
  AskOptions,
  Doorman,
  GateInfo,
  Gatekeeper,
  GateRequest,
  GateRule,
  GateRuleInfo,
  Gater,
} from './gater.js'
export {
  createKey,
  createNetworkKey,
  type Envelope,
  exportKey,
  exportPublicKey,
  type ImportOptions,
  importKey,
  importPublicKey,
  type KeyFormat,
  networkKeyFingerprint,
  networkKeyText,
  openEnvelope,
  openPeerRecord,
  type PeerIdInfo,
  type PeerRecord,
  type PublicKeyInfo,
  parseNetworkKey,
  peerIdFromBytes,
  peerIdInfo,
  peerIdOfKey,
  peerIdToBytes,
  publicKeyInfo,
  publicKeyOf,
  publicKeyOfPeer,
  sealEnvelope,
  sealPeerRecord,
  sign,
  verify,
} from './keys.js'
export { buildInfo, configSchema, crashFile, runtimeInfo, tuneRuntime, version } from './library.js'
export {
  type LogLevel,
  type LogOutputOptions,
  type LogRecord,
  setLogFd,
  setLogFile,
  setLogLevel,
  setLogListener,
} from './log.js'
export type {
  AddressReachabilityEvent,
  HolePunchEvent,
  NAT,
  NATInfo,
  NATType,
  NATTypeEvent,
  PortMappingEvent,
  Reachability,
  ReachabilityEvent,
} from './nat.js'
export { type Connection, createNode, type Node, type OpenOptions, type PeerInfo, type Text } from './node.js'
export type {
  Bandwidth,
  BandwidthInfo,
  MetricSample,
  Metrics,
  MetricsServeOptions,
  MetricsServer,
  MetricsSnapshot,
  Perf,
  PerfOptions,
  PerfResult,
  PerfServeOptions,
  Server,
} from './numbers.js'
export type { AddressRules, ExactLimits, IdentityOptions, KeyType, Limit, NodeOptions, ScopeLimits } from './options.js'
export type { KeepAddressesOptions, Peerstore } from './peerstore.js'
export type {
  Message,
  PublishOptions,
  SubscribeOptions,
  Subscription,
  Topic,
  TopicEvents,
  TopicOptions,
  TopicScoreOptions,
  Verdict,
} from './pubsub.js'
export type {
  Pubsub,
  PubsubInfo,
  PubsubScore,
  Trace,
  TraceEvent,
  TraceKind,
  TraceOptions,
} from './pubsub_control.js'
export type { PubsubGaterOptions, PubsubOptions, PubsubScoreOptions } from './pubsub_options.js'
export type { Relay, RelayInfo, Reservation, ReservationEvent, ReservationInfo } from './relay.js'
export type {
  Answer,
  RequestContext,
  RequestHandler,
  RequestOptions,
  RequestService,
  ServeRequestOptions,
} from './request.js'
export type { ServeOptions, StreamHandler, StreamService } from './service.js'
export type { MessageOptions, Stream } from './stream.js'
