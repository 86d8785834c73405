// The options of a node's pubsub. A test compares them with the library's schema; docs/config.md has ranges and defaults.

/** Peer scoring: who misbehaves is no longer heard. */
export interface PubsubScoreOptions {
  /** Whether peers are scored. */
  enabled?: boolean | undefined
  /** Below this, a peer is neither told of messages nor asked for them. */
  gossip_threshold?: number | undefined
  /** Below this, it is not sent own messages. */
  publish_threshold?: number | undefined
  /** Below this, nothing it sends is heard. */
  graylist_threshold?: number | undefined
  /** Below this, the peers it names in an exchange are not connected to. */
  accept_px_threshold?: number | undefined
  /** When the median of a mesh is below this, better peers are looked for. */
  opportunistic_graft_threshold?: number | undefined
  /** What topics may add up to; 0: no bound. */
  topic_cap?: number | undefined
  /** Weight of the score that the program gave a peer. */
  app_weight?: number | undefined
  /** Weight of the square of how many more than ip_threshold peers share an address; 0: off. */
  ip_weight?: number | undefined
  /** Peers that may share an address. */
  ip_threshold?: number | undefined
  /** Subnets where that does not count. */
  ip_whitelist?: readonly string[] | undefined
  /** Weight of the square of broken promises and of coming back too soon, beyond behaviour_threshold. */
  behaviour_weight?: number | undefined
  /** How many of those are forgiven. */
  behaviour_threshold?: number | undefined
  /** Time in which they are forgotten. */
  behaviour_decay_ms?: number | undefined
  /** Pause between the steps of forgetting. */
  decay_interval_ms?: number | undefined
  /** Below this, a counter is 0. */
  decay_to_zero?: number | undefined
  /** How long the score of a peer that left is kept. */
  retain_ms?: number | undefined
  /** How old the scores are that p2p_pubsub_info shows, at most, and how soon the graylist's events come. */
  inspect_ms?: number | undefined
}

/** Under overload, the messages of peers that bring little of worth are refused. */
export interface PubsubGaterOptions {
  /** Whether messages are refused under overload. */
  enabled?: boolean | undefined
  /** Throttled messages per validated one at which it starts. */
  threshold?: number | undefined
  /** Time in which those are forgotten. */
  global_decay_ms?: number | undefined
  /** Time in which what came from an address is forgotten. */
  source_decay_ms?: number | undefined
  /** Time without overload after which it ends. */
  quiet_ms?: number | undefined
  /** How long the counters of a peer that left are kept. */
  retain_ms?: number | undefined
  /** Weight of a duplicate against a message of worth. */
  duplicate_weight?: number | undefined
  /** Weight of an ignored message. */
  ignore_weight?: number | undefined
  /** Weight of a rejected message. */
  reject_weight?: number | undefined
}

/** Publish and subscribe. */
export interface PubsubOptions {
  /** Whether topics can be joined. */
  enabled?: boolean | undefined
  /** How messages find their way: over a mesh with gossip; to every peer; to a random choice of about the square root of random_size peers. */
  router?: 'gossipsub' | 'floodsub' | 'randomsub' | undefined
  /** Nodes that randomsub takes the network to have. */
  random_size?: number | undefined
  /** Put before the names of the protocols, such as /myapp, for a network of its own. */
  protocol_prefix?: string | undefined
  /** Sign: messages are signed, and refused unsigned; none: they are not, and refused signed, about ten times faster; the lax forms sign or not, and refuse only wrong signatures. */
  signing?: 'sign' | 'none' | 'lax_sign' | 'lax_none' | undefined
  /** Whom messages name as author: auto: this node if it signs, else nobody; without author equal messages are one. */
  author?: 'auto' | 'self' | 'none' | undefined
  /** File with the private key of whom to name as author, and to sign as, instead of this node; refused if others can read it. */
  author_file?: string | undefined
  /** What makes two messages the same: author: author and number; content: SHA-256 of the data; topic_content: of topic and data; auto: author, and topic_content for those without. */
  message_id?: 'auto' | 'author' | 'content' | 'topic_content' | undefined
  /** How long a message is remembered, so that it is not taken twice. */
  seen_ms?: number | undefined
  /** Count seen_ms from when a message last came, not from when it first did. */
  seen_refresh?: boolean | undefined
  /** Ignore a message whose number its author has used before, also when it is no longer remembered; authors have to count upwards, as this library and Go do. */
  check_sequence?: boolean | undefined
  /** Send own messages to every peer of the topic, not to d of them; without it a peer that subscribed a moment ago may miss them. */
  flood_publish?: boolean | undefined
  /** Bytes of the largest message, with its signature and other fields. */
  max_message_size?: number | undefined
  /** Bytes of the largest control message and list of subscriptions. */
  max_control_size?: number | undefined
  /** Messages that may wait for one slow peer. */
  outbound_queue?: number | undefined
  /** Messages that may wait for validation. */
  validate_queue?: number | undefined
  /** Messages validated at a time; 0: one per processor. */
  validate_workers?: number | undefined
  /** The only topics that may be joined, and that peers' subscriptions are remembered of; one ending in * stands for all with that prefix; empty: all. */
  topics?: readonly string[] | undefined
  /** Topics that a peer may name in one packet; one with more is ignored; 0: no limit. */
  max_subscriptions?: number | undefined
  /** Addresses of peers to stay connected to and to pass every message to, outside the mesh; has to be the same at their end. */
  direct_peers?: readonly string[] | undefined
  /** Give peers that are turned away from a mesh the addresses of others; for well-connected nodes. */
  peer_exchange?: boolean | undefined
  /** Peers per topic that messages are passed to at once. */
  d?: number | undefined
  /** Below this, peers are added. */
  d_low?: number | undefined
  /** Above this, peers are removed. */
  d_high?: number | undefined
  /** Peers of the best score that are kept when some are removed; unless given, at most d. */
  d_score?: number | undefined
  /** Peers among them that this node connected to, not the other way; unless given, as many as d_low and d / 2 allow. */
  d_out?: number | undefined
  /** Peers that are told of messages by name only. */
  d_lazy?: number | undefined
  /** Part of the peers outside the mesh that are told, if more than d_lazy. */
  gossip_factor?: number | undefined
  /** Pause between rounds of upkeep and gossip. */
  heartbeat_ms?: number | undefined
  /** Time from the start to the first round. */
  heartbeat_delay_ms?: number | undefined
  /** Rounds that a message is kept for peers who ask. */
  history_length?: number | undefined
  /** Rounds that peers are told of it. */
  history_gossip?: number | undefined
  /** Times that a peer may ask for the same message. */
  gossip_retransmission?: number | undefined
  /** How long the peers of a topic that is published to without subscribing are kept. */
  fanout_ms?: number | undefined
  /** Peers that are named in an exchange, and connected to after one. */
  prune_peers?: number | undefined
  /** Pause before a peer that was turned away may come back. */
  prune_backoff_ms?: number | undefined
  /** The same after leaving a topic. */
  unsubscribe_backoff_ms?: number | undefined
  /** Coming back sooner than this counts twice against the peer. */
  graft_flood_ms?: number | undefined
  /** Connections attempted at a time after an exchange. */
  connectors?: number | undefined
  /** Connections that may wait to be attempted. */
  max_pending_connections?: number | undefined
  /** Time for one of them. */
  connection_timeout_ms?: number | undefined
  /** Rounds between looks for peers of a better score. */
  opportunistic_graft_ticks?: number | undefined
  /** Peers taken at such a look. */
  opportunistic_graft_peers?: number | undefined
  /** Messages that a peer may be told of, or tell of, in one round. */
  max_ihave_length?: number | undefined
  /** Times that a peer may tell in one round. */
  max_ihave_messages?: number | undefined
  /** Messages that a peer may refuse in one packet. */
  max_idontwant_length?: number | undefined
  /** Times that a peer may refuse in one round. */
  max_idontwant_messages?: number | undefined
  /** From this size on, peers are told which messages they need not send any more. */
  idontwant_bytes?: number | undefined
  /** Rounds that a refusal holds. */
  idontwant_ttl?: number | undefined
  /** Time for a message that a peer told of and was asked for; then it counts against the peer. */
  iwant_followup_ms?: number | undefined
  /** Peer scoring, of gossipsub (libp2p/specs, gossipsub v1.1): who misbehaves is no longer heard. */
  score?: PubsubScoreOptions | undefined
  /** Under overload, refuse the messages of peers that bring little of worth (gossipsub). */
  gater?: PubsubGaterOptions | undefined
}
