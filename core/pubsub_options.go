package core

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
)

// PubsubConfig tunes publishing and subscribing.
type PubsubConfig struct {
	Enabled         bool   `json:"enabled" doc:"whether topics can be joined"`
	Router          string `json:"router" enum:"gossipsub,floodsub,randomsub" doc:"how messages find their way: over a mesh with gossip; to every peer; to a random choice of about the square root of random_size peers"`
	RandomSize      int    `json:"random_size" min:"1" max:"1000000000" doc:"nodes that randomsub takes the network to have"`
	ProtocolPrefix  string `json:"protocol_prefix" doc:"put before the names of the protocols, such as /myapp, for a network of its own"`
	Signing         string `json:"signing" enum:"sign,none,lax_sign,lax_none" doc:"sign: messages are signed, and refused unsigned; none: they are not, and refused signed, about ten times faster; the lax forms sign or not, and refuse only wrong signatures"`
	Author          string `json:"author" enum:"auto,self,none" doc:"whom messages name as author: auto: this node if it signs, else nobody; without author equal messages are one"`
	AuthorFile      string `json:"author_file" doc:"file with the private key of whom to name as author, and to sign as, instead of this node; refused if others can read it"`
	MessageID       string `json:"message_id" enum:"auto,author,content,topic_content" doc:"what makes two messages the same: author: author and number; content: SHA-256 of the data; topic_content: of topic and data; auto: author, and topic_content for those without"`
	SeenMs          int    `json:"seen_ms" min:"1000" max:"86400000" doc:"how long a message is remembered, so that it is not taken twice"`
	SeenRefresh     bool   `json:"seen_refresh" doc:"count seen_ms from when a message last came, not from when it first did"`
	CheckSequence   bool   `json:"check_sequence" doc:"ignore a message whose number its author has used before, also when it is no longer remembered; authors have to count upwards, as this library and Go do"`
	FloodPublish    bool   `json:"flood_publish" doc:"send own messages to every peer of the topic, not to d of them; without it a peer that subscribed a moment ago may miss them"`
	MaxMessageSize  int    `json:"max_message_size" min:"1" max:"1073741824" doc:"bytes of the largest message, with its signature and other fields"`
	MaxControlSize  int    `json:"max_control_size" min:"1024" max:"1073741824" doc:"bytes of the largest control message and list of subscriptions, and of the names of all that are remembered of a peer"`
	OutboundQueue   int    `json:"outbound_queue" min:"1" max:"1000000" doc:"messages that may wait for one slow peer"`
	ValidateQueue   int    `json:"validate_queue" min:"1" max:"1000000" doc:"messages that may wait until their signature is checked and the topic's rules are asked, 8 bytes of memory each in advance; what comes beyond that is lost and counted as rejected, 'validation queue full'"`
	ValidateWorkers int    `json:"validate_workers" min:"0" max:"1024" doc:"messages validated at a time; 0: one per processor"`

	Topics           []string `json:"topics" doc:"the only topics that may be joined, and that peers' subscriptions are remembered of; one ending in * stands for all with that prefix; empty: all"`
	MaxSubscriptions int      `json:"max_subscriptions" min:"0" max:"1000000" doc:"subscriptions that are remembered of a peer; those to topics that are joined here always are; 0: no limit"`
	DirectPeers      []string `json:"direct_peers" doc:"addresses of peers to stay connected to and to pass every message to, outside the mesh; has to be the same at their end"`
	PeerExchange     bool     `json:"peer_exchange" doc:"give peers that are turned away from a mesh the addresses of others; for well-connected nodes"`

	D                int     `json:"d" min:"1" max:"1000" doc:"peers per topic that messages are passed to at once"`
	DLow             int     `json:"d_low" min:"0" max:"1000" doc:"below this, peers are added"`
	DHigh            int     `json:"d_high" min:"1" max:"1000" doc:"above this, peers are removed"`
	DScore           int     `json:"d_score" min:"0" max:"1000" doc:"peers of the best score that are kept when some are removed; unless given, at most d"`
	DOut             int     `json:"d_out" min:"0" max:"1000" doc:"peers among them that this node connected to, not the other way; unless given, as many as d_low and d / 2 allow"`
	DLazy            int     `json:"d_lazy" min:"0" max:"1000" doc:"peers that are told of messages by name only"`
	GossipFactor     float64 `json:"gossip_factor" min:"0" max:"1" doc:"part of the peers outside the mesh that are told, if more than d_lazy"`
	HeartbeatMs      int     `json:"heartbeat_ms" min:"50" max:"3600000" doc:"pause between rounds of upkeep and gossip"`
	HeartbeatDelayMs int     `json:"heartbeat_delay_ms" min:"0" max:"3600000" doc:"time from the start to the first round"`
	HistoryLength    int     `json:"history_length" min:"1" max:"10000" doc:"rounds that a message is kept for peers who ask"`
	HistoryGossip    int     `json:"history_gossip" min:"1" max:"10000" doc:"rounds that peers are told of it"`
	Retransmission   int     `json:"gossip_retransmission" min:"0" max:"1000" doc:"times that a peer may ask for the same message"`
	FanoutMs         int     `json:"fanout_ms" min:"1000" max:"86400000" doc:"how long the peers of a topic that is published to without subscribing are kept"`
	PrunePeers       int     `json:"prune_peers" min:"0" max:"1000" doc:"peers that are named in an exchange, and connected to after one"`
	PruneBackoffMs   int     `json:"prune_backoff_ms" min:"1000" max:"86400000" doc:"pause before a peer that was turned away may come back"`
	LeaveBackoffMs   int     `json:"unsubscribe_backoff_ms" min:"1000" max:"86400000" doc:"the same after leaving a topic"`
	GraftFloodMs     int     `json:"graft_flood_ms" min:"0" max:"86400000" doc:"coming back sooner than this counts twice against the peer"`
	Connectors       int     `json:"connectors" min:"1" max:"1000" doc:"connections attempted at a time after an exchange"`
	MaxPending       int     `json:"max_pending_connections" min:"1" max:"100000" doc:"connections that may wait to be attempted"`
	ConnectMs        int     `json:"connection_timeout_ms" min:"1" max:"3600000" doc:"time for one of them"`
	OpportunityTicks int     `json:"opportunistic_graft_ticks" min:"1" max:"1000000" doc:"rounds between looks for peers of a better score"`
	OpportunityPeers int     `json:"opportunistic_graft_peers" min:"0" max:"1000" doc:"peers taken at such a look"`
	MaxIHaveLength   int     `json:"max_ihave_length" min:"1" max:"1000000" doc:"messages that a peer may be told of, or tell of, in one round"`
	MaxIHave         int     `json:"max_ihave_messages" min:"1" max:"1000000" doc:"times that a peer may tell in one round"`
	MaxIDontWantLen  int     `json:"max_idontwant_length" min:"1" max:"1000000" doc:"messages that a peer may refuse in one packet"`
	MaxIDontWant     int     `json:"max_idontwant_messages" min:"1" max:"1000000" doc:"times that a peer may refuse in one round"`
	IDontWantBytes   int     `json:"idontwant_bytes" min:"1" max:"1073741824" doc:"from this size on, peers are told which messages they need not send any more"`
	IDontWantTTL     int     `json:"idontwant_ttl" min:"1" max:"1000" doc:"rounds that a refusal holds"`
	FollowupMs       int     `json:"iwant_followup_ms" min:"1" max:"3600000" doc:"time for a message that a peer told of and was asked for; then it counts against the peer"`

	Score ScoreConfig `json:"score" doc:"peer scoring, of gossipsub (libp2p/specs, gossipsub v1.1): who misbehaves is no longer heard"`
	Gater GaterConfig `json:"gater" doc:"under overload, refuse the messages of peers that bring little of worth (gossipsub)"`
}

// ScoreConfig tunes peer scoring. What counts in a topic is in the topic's own options.
type ScoreConfig struct {
	Enabled            bool     `json:"enabled" doc:"whether peers are scored"`
	GossipThreshold    float64  `json:"gossip_threshold" min:"-1e15" max:"0" doc:"below this, a peer is neither told of messages nor asked for them"`
	PublishThreshold   float64  `json:"publish_threshold" min:"-1e15" max:"0" doc:"below this, it is not sent own messages"`
	GraylistThreshold  float64  `json:"graylist_threshold" min:"-1e15" max:"0" doc:"below this, nothing it sends is heard"`
	AcceptPXThreshold  float64  `json:"accept_px_threshold" min:"0" max:"1e15" doc:"below this, the peers it names in an exchange are not connected to"`
	OpportunisticGraft float64  `json:"opportunistic_graft_threshold" min:"0" max:"1e15" doc:"when the median of a mesh is below this, better peers are looked for"`
	TopicCap           float64  `json:"topic_cap" min:"0" max:"1e15" doc:"what topics may add up to; 0: no bound"`
	AppWeight          float64  `json:"app_weight" min:"-1e15" max:"1e15" doc:"weight of the score that the program gave a peer"`
	IPWeight           float64  `json:"ip_weight" min:"-1e15" max:"0" doc:"weight of the square of how many more than ip_threshold peers share an address; 0: off"`
	IPThreshold        int      `json:"ip_threshold" min:"1" max:"1000000" doc:"peers that may share an address"`
	IPWhitelist        []string `json:"ip_whitelist" doc:"subnets where that does not count"`
	BehaviourWeight    float64  `json:"behaviour_weight" min:"-1e15" max:"0" doc:"weight of the square of broken promises and of coming back too soon, beyond behaviour_threshold"`
	BehaviourThreshold float64  `json:"behaviour_threshold" min:"0" max:"1e15" doc:"how many of those are forgiven"`
	BehaviourDecayMs   int      `json:"behaviour_decay_ms" min:"1000" max:"31536000000" doc:"time in which they are forgotten"`
	DecayIntervalMs    int      `json:"decay_interval_ms" min:"1000" max:"86400000" doc:"pause between the steps of forgetting"`
	DecayToZero        float64  `json:"decay_to_zero" min:"1e-9" max:"0.999" doc:"below this, a counter is 0"`
	RetainMs           int      `json:"retain_ms" min:"0" max:"31536000000" doc:"how long the score of a peer that left is kept"`
	InspectMs          int      `json:"inspect_ms" min:"100" max:"3600000" doc:"how old the scores are that p2p_pubsub_info shows, at most, and how soon the graylist's events come"`
}

// GaterConfig tunes the peer gater.
type GaterConfig struct {
	Enabled         bool    `json:"enabled" doc:"whether messages are refused under overload"`
	Threshold       float64 `json:"threshold" min:"0.001" max:"1000000" doc:"throttled messages per validated one at which it starts"`
	GlobalDecayMs   int     `json:"global_decay_ms" min:"1000" max:"31536000000" doc:"time in which those are forgotten"`
	SourceDecayMs   int     `json:"source_decay_ms" min:"1000" max:"31536000000" doc:"time in which what came from an address is forgotten"`
	QuietMs         int     `json:"quiet_ms" min:"1000" max:"86400000" doc:"time without overload after which it ends"`
	RetainMs        int     `json:"retain_ms" min:"0" max:"31536000000" doc:"how long the counters of a peer that left are kept"`
	DuplicateWeight float64 `json:"duplicate_weight" min:"0.001" max:"1000000" doc:"weight of a duplicate against a message of worth"`
	IgnoreWeight    float64 `json:"ignore_weight" min:"1" max:"1000000" doc:"weight of an ignored message"`
	RejectWeight    float64 `json:"reject_weight" min:"1" max:"1000000" doc:"weight of a rejected message"`
}

func defaultPubsub() PubsubConfig {
	return PubsubConfig{
		Enabled: true, Router: "gossipsub", RandomSize: 100, Signing: "sign", Author: "auto", MessageID: "auto", SeenMs: 120_000,
		FloodPublish: true, MaxMessageSize: 1 << 20, MaxControlSize: 512 << 10, OutboundQueue: 1024, ValidateQueue: 16384,
		MaxSubscriptions: 10_000, Topics: []string{}, DirectPeers: []string{},
		D: 6, DLow: 5, DHigh: 12, DScore: 4, DOut: 2, DLazy: 6, GossipFactor: 0.25, HeartbeatMs: 1000, HeartbeatDelayMs: 100,
		HistoryLength: 5, HistoryGossip: 3, Retransmission: 3, FanoutMs: 60_000, PrunePeers: 16, PruneBackoffMs: 60_000, LeaveBackoffMs: 10_000,
		GraftFloodMs: 10_000, Connectors: 8, MaxPending: 128, ConnectMs: 30_000, OpportunityTicks: 60, OpportunityPeers: 2,
		MaxIHaveLength: 5000, MaxIHave: 10, MaxIDontWantLen: 10, MaxIDontWant: 1000, IDontWantBytes: 1024, IDontWantTTL: 3, FollowupMs: 3000,
		Score: ScoreConfig{
			GossipThreshold: -10, PublishThreshold: -50, GraylistThreshold: -100, AcceptPXThreshold: 10, OpportunisticGraft: 1, TopicCap: 100,
			AppWeight: 1, IPThreshold: 10, IPWhitelist: []string{"127.0.0.0/8", "::1/128"}, BehaviourWeight: -10, BehaviourThreshold: 6,
			BehaviourDecayMs: 3_600_000, DecayIntervalMs: 1000, DecayToZero: 0.01, RetainMs: 3_600_000, InspectMs: 1000,
		},
		Gater: GaterConfig{
			Threshold: 0.33, GlobalDecayMs: 120_000, SourceDecayMs: 3_600_000, QuietMs: 60_000, RetainMs: 21_600_000, DuplicateWeight: 0.125,
			IgnoreWeight: 1, RejectWeight: 16,
		},
	}
}

func (c PubsubConfig) clone() PubsubConfig {
	c.Topics, c.DirectPeers, c.Score.IPWhitelist = slices.Clone(c.Topics), slices.Clone(c.DirectPeers), slices.Clone(c.Score.IPWhitelist)
	return c
}

// checkValues finds what the types do not say.
func (c *PubsubConfig) checkValues() error {
	for i, text := range c.DirectPeers {
		if _, _, err := parsePeerAddress(text); err != nil {
			return &OptionError{fmt.Sprintf("pubsub.direct_peers[%d]", i), err.Error()}
		}
	}
	for i, name := range c.Topics {
		if name == "" || len(name) > 1024 {
			return &OptionError{fmt.Sprintf("pubsub.topics[%d]", i), "a name is 1 to 1024 bytes"}
		}
	}
	for i, text := range c.Score.IPWhitelist {
		if _, _, err := net.ParseCIDR(text); err != nil {
			return &OptionError{fmt.Sprintf("pubsub.score.ip_whitelist[%d]", i), quoteShort(text) + " is not a subnet such as 10.0.0.0/8"}
		}
	}
	if p := c.ProtocolPrefix; p != "" && (!strings.HasPrefix(p, "/") || strings.HasSuffix(p, "/") || len(p) > 128 || strings.ContainsAny(p, " \t\r\n")) {
		return &OptionError{"pubsub.protocol_prefix", quoteShort(p) + " does not begin, or ends, with a slash, holds a space, or is longer than 128 bytes"}
	}
	return nil
}

// checkConflicts finds options that do not go together. given tells which were set.
func (c *PubsubConfig) checkConflicts(given map[string]bool) error {
	conflict := func(path, format string, args ...any) error {
		return &OptionError{"pubsub." + path, fmt.Sprintf(format, args...)}
	}
	signs := c.Signing == "sign" || c.Signing == "lax_sign"
	authored := c.Author == "self" || c.Author == "auto" && signs
	switch {
	case c.DLow > c.D:
		return conflict("d_low", "%d is more than pubsub.d, %d", c.DLow, c.D)
	case c.D > c.DHigh:
		return conflict("d", "%d is more than pubsub.d_high, %d", c.D, c.DHigh)
	case given["pubsub.d_score"] && c.DScore > c.DHigh:
		return conflict("d_score", "%d is more than pubsub.d_high, %d", c.DScore, c.DHigh)
	case given["pubsub.d_out"] && c.DOut > 0 && c.DOut >= c.DLow:
		return conflict("d_out", "%d is not less than pubsub.d_low, %d", c.DOut, c.DLow)
	case given["pubsub.d_out"] && c.DOut > 0 && c.DOut >= c.D/2:
		return conflict("d_out", "%d is not less than half of pubsub.d, %d", c.DOut, c.D)
	case c.HistoryGossip > c.HistoryLength:
		return conflict("history_gossip", "%d is more than pubsub.history_length, %d", c.HistoryGossip, c.HistoryLength)
	case c.Author == "none" && signs:
		return conflict("author", "none conflicts with pubsub.signing, %s: a signature names its author", c.Signing)
	case c.AuthorFile != "" && !authored:
		return conflict("author_file", "conflicts with pubsub.author, %s, and pubsub.signing, %s: messages carry no author", c.Author, c.Signing)
	case c.MessageID == "author" && !authored:
		return conflict("message_id", "author conflicts with pubsub.author, %s, and pubsub.signing, %s: messages carry no author", c.Author, c.Signing)
	case c.CheckSequence && c.Signing != "sign":
		return conflict("check_sequence", "conflicts with pubsub.signing, %s: anybody could use up an author's numbers", c.Signing)
	}
	if c.Router != "gossipsub" {
		for _, o := range []struct {
			path string
			on   bool
		}{{"score.enabled", c.Score.Enabled}, {"gater.enabled", c.Gater.Enabled}, {"peer_exchange", c.PeerExchange}, {"direct_peers", len(c.DirectPeers) > 0}} {
			if o.on {
				return conflict(o.path, "conflicts with pubsub.router, %s", c.Router)
			}
		}
	}
	if s := &c.Score; s.Enabled {
		switch {
		case s.PublishThreshold > s.GossipThreshold:
			return conflict("score.publish_threshold", "%v is more than pubsub.score.gossip_threshold, %v", s.PublishThreshold, s.GossipThreshold)
		case s.GraylistThreshold > s.PublishThreshold:
			return conflict("score.graylist_threshold", "%v is more than pubsub.score.publish_threshold, %v", s.GraylistThreshold, s.PublishThreshold)
		case s.BehaviourDecayMs < s.DecayIntervalMs:
			return conflict("score.behaviour_decay_ms", "%d is less than pubsub.score.decay_interval_ms, %d", s.BehaviourDecayMs, s.DecayIntervalMs)
		}
	}
	return nil
}

// gossip translates the options into upstream's.
func (c *PubsubConfig) gossip(given map[string]bool) pubsub.GossipSubParams {
	p := pubsub.DefaultGossipSubParams()
	p.D, p.Dlo, p.Dhi, p.Dscore, p.Dout, p.Dlazy = c.D, c.DLow, c.DHigh, c.DScore, c.DOut, c.DLazy
	if !given["pubsub.d_score"] {
		p.Dscore = min(p.Dscore, c.D)
	}
	if !given["pubsub.d_out"] {
		p.Dout = min(p.Dout, max(min(c.DLow-1, c.D/2-1), 0))
	}
	p.GossipFactor, p.GossipRetransmission = c.GossipFactor, c.Retransmission
	p.HeartbeatInterval, p.HeartbeatInitialDelay = ms(c.HeartbeatMs), ms(c.HeartbeatDelayMs)
	p.HistoryLength, p.HistoryGossip, p.FanoutTTL = c.HistoryLength, c.HistoryGossip, ms(c.FanoutMs)
	p.PrunePeers, p.PruneBackoff, p.UnsubscribeBackoff, p.GraftFloodThreshold = c.PrunePeers, ms(c.PruneBackoffMs), ms(c.LeaveBackoffMs), ms(c.GraftFloodMs)
	p.Connectors, p.MaxPendingConnections, p.ConnectionTimeout = c.Connectors, c.MaxPending, ms(c.ConnectMs)
	p.OpportunisticGraftTicks, p.OpportunisticGraftPeers = uint64(c.OpportunityTicks), c.OpportunityPeers
	p.MaxIHaveLength, p.MaxIHaveMessages = c.MaxIHaveLength, c.MaxIHave
	p.MaxIDontWantLength, p.MaxIDontWantMessages = c.MaxIDontWantLen, c.MaxIDontWant
	p.IDontWantMessageThreshold, p.IDontWantMessageTTL, p.IWantFollowupTime = c.IDontWantBytes, c.IDontWantTTL, ms(c.FollowupMs)
	return p
}

func (c *GaterConfig) params() *pubsub.PeerGaterParams {
	p := pubsub.NewPeerGaterParams(c.Threshold, pubsub.ScoreParameterDecay(ms(c.GlobalDecayMs)), pubsub.ScoreParameterDecay(ms(c.SourceDecayMs)))
	p.Quiet, p.RetainStats = ms(c.QuietMs), ms(c.RetainMs)
	p.DuplicateWeight, p.IgnoreWeight, p.RejectWeight = c.DuplicateWeight, c.IgnoreWeight, c.RejectWeight
	return p
}

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }
