package core

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
)

// Config is what a Node is started with. DefaultConfig is the starting point; ParseConfig and Set check what they are given, New checks what
// only makes sense together. The defaults contact nobody: no mDNS, no bootstrap peers, no port mapping. A Config is not safe for
// concurrent use.
type Config struct {
	Identity       IdentityConfig       `json:"identity" doc:"the node's private key; without file and identity.key a new one that lasts as long as the node"`
	Listen         []string             `json:"listen" doc:"addresses to listen at; [] for none; null for TCP and QUIC on every interface with ports of the system's choice, each only if it can be bound"`
	ListenRequire  string               `json:"listen_require" enum:"all,any" doc:"whether the start fails when any of the addresses in listen cannot be bound (all), or only when none can (any)"`
	Addresses      AddressesConfig      `json:"addresses" doc:"which addresses peers are told"`
	Transports     TransportsConfig     `json:"transports" doc:"transports to dial with and listen on; under a private network only tcp and websocket remain"`
	WebSocket      WebSocketConfig      `json:"websocket" doc:"certificate for listening on secure WebSocket (/tls/ws)"`
	Security       []string             `json:"security" enum:"tls,noise" doc:"secure channels, the preferred one first; TLS is faster where the processor has AES instructions"`
	Yamux          YamuxConfig          `json:"yamux" doc:"the stream multiplexer on TCP and WebSocket"`
	PrivateNetwork PrivateNetworkConfig `json:"private_network" doc:"a key that every node of a private network holds; others cannot connect"`
	Peerstore      PeerstoreConfig      `json:"peerstore" doc:"what is remembered of peers"`
	Limits         LimitsConfig         `json:"limits" doc:"resource limits; 0 takes the preset's value"`
	Gating         GatingConfig         `json:"gating" doc:"who may be dialled and who may connect"`
	Connections    ConnectionsConfig    `json:"connections" doc:"when and how far the number of connections is trimmed"`
	Dial           DialConfig           `json:"dial" doc:"how peers are dialled"`
	MDNS           MDNSConfig           `json:"mdns" doc:"discovery of peers on the local network"`
	Bootstrap      BootstrapConfig      `json:"bootstrap" doc:"peers to connect to at start, and again whenever they are lost"`
	Rendezvous     RendezvousConfig     `json:"rendezvous" doc:"the rendezvous points that discovery uses, and being one (libp2p/specs, rendezvous)"`
	Keep           KeepConfig           `json:"keep" doc:"pauses between attempts to reach kept peers"`
	Pubsub         PubsubConfig         `json:"pubsub" doc:"publish and subscribe"`
	DHT            DHTConfig            `json:"dht" doc:"the distributed hash table (Kademlia): records, providers, peers by their id; docs/dht.md"`
	Identify       IdentifyConfig       `json:"identify" doc:"what the node tells its peers about itself"`
	Events         EventsConfig         `json:"events" doc:"the node's own events"`
	Stream         StreamConfig         `json:"stream" doc:"streams"`
	Metrics        MetricsConfig        `json:"metrics" doc:"what the node counts of its traffic"`
	NAT            NATConfig            `json:"nat" doc:"reachability from outside, and ways through NATs"`
	Relay          RelayConfig          `json:"relay" doc:"relays: using them and being one"`

	identityKey []byte          // secret: protobuf form
	networkKey  []byte          // secret: 32 bytes
	given       map[string]bool // paths that were set, as opposed to defaults
}

// IdentityConfig says where the private key comes from.
type IdentityConfig struct {
	File string `json:"file" doc:"file with the private key: protobuf form, as Kubo exports it, the same in base64, or PEM; made (protobuf, mode 0600) if it does not exist, refused if others can read it"`
	Type string `json:"type" enum:"ed25519,secp256k1,ecdsa,rsa" doc:"type of a key to be created"`
}

// TransportsConfig switches transports.
type TransportsConfig struct {
	TCP          bool `json:"tcp" doc:"TCP"`
	QUIC         bool `json:"quic" doc:"QUIC version 1"`
	WebSocket    bool `json:"websocket" doc:"WebSocket, for browsers and through HTTP proxies"`
	WebTransport bool `json:"webtransport" doc:"WebTransport, for browsers"`
	WebRTCDirect bool `json:"webrtc_direct" doc:"WebRTC direct, for browsers"`
	ShareTCP     bool `json:"share_tcp" doc:"let TCP and WebSocket listen at one and the same port"`
}

// WebSocketConfig names the certificate of secure WebSocket listeners.
type WebSocketConfig struct {
	CertFile string `json:"cert_file" doc:"file with the PEM certificate chain"`
	KeyFile  string `json:"key_file" doc:"file with the PEM private key; refused if everybody can read it"`
}

// YamuxConfig tunes the multiplexer.
type YamuxConfig struct {
	WindowBytes int `json:"window_bytes" min:"262144" max:"1073741824" doc:"largest receive window of a stream; raise it where bandwidth times delay is higher, it bounds the memory one stream can take"`
	KeepaliveMs int `json:"keepalive_ms" min:"0" max:"3600000" doc:"pause between keep-alive pings; 0: none"`
}

// PrivateNetworkConfig says where the network key comes from.
type PrivateNetworkConfig struct {
	File string `json:"file" doc:"file with the network's key: a swarm.key file, 64 hex digits, or 32 raw bytes; refused if others can read it"`
}

// LimitsConfig bounds what peers can make the node spend.
type LimitsConfig struct {
	Preset          string          `json:"preset" enum:"default,server,embedded,unlimited" doc:"default: for applications; server: eight times that; embedded: a quarter; unlimited: none at all"`
	StreamsPerPeer  int             `json:"streams_per_peer" min:"0" max:"1000000" doc:"streams open with one peer in each direction"`
	Connections     int             `json:"connections" min:"0" max:"1000000" doc:"connections in all"`
	ConnectionsIP   int             `json:"connections_per_ip" min:"0" max:"1000000" doc:"connections from one IP address (one /56 in IPv6)"`
	ConnectionRate  float64         `json:"connection_rate" min:"0" max:"1000000" doc:"new connections per second from one IP address (one /56 in IPv6), in bursts of twice connections_per_ip"`
	MemoryBytes     int64           `json:"memory_bytes" min:"0" max:"1125899906842624" doc:"memory that buffers of connections and streams may take in all"`
	FileDescriptors int             `json:"file_descriptors" min:"0" max:"10000000" doc:"file descriptors that connections may take"`
	Exact           json.RawMessage `json:"exact" doc:"limits of single scopes over those of the preset, in go-libp2p's own form (PartialLimitConfig): System, PeerDefault, Protocol and so on, each with Streams, Conns, FD, Memory and so on"`
}

// ConnectionsConfig bounds the number of connections that are kept.
type ConnectionsConfig struct {
	Low     int `json:"low" min:"0" max:"1000000" doc:"connections left after trimming"`
	High    int `json:"high" min:"0" max:"1000000" doc:"more connections than this are trimmed, the least useful first; 0: never"`
	GraceMs int `json:"grace_ms" min:"0" max:"86400000" doc:"age below which a connection is not trimmed"`
}

// DialConfig bounds dialling.
type DialConfig struct {
	TimeoutMs int `json:"timeout_ms" min:"1" max:"3600000" doc:"longest time for one address to answer and finish its handshake"`
}

// MDNSConfig switches discovery on the local network.
type MDNSConfig struct {
	Enabled bool   `json:"enabled" doc:"announce this node on the local network, and report the others there"`
	Service string `json:"service" doc:"DNS-SD service name; nodes meet that use the same"`
	Connect bool   `json:"connect" doc:"connect to every node that is met"`
}

// BootstrapConfig lists peers to stay connected to.
type BootstrapConfig struct {
	Peers      []string `json:"peers" doc:"addresses ending in /p2p/<peer id>"`
	RetryMinMs int      `json:"retry_min_ms" min:"10" max:"86400000" doc:"first pause before another attempt; it doubles"`
	RetryMaxMs int      `json:"retry_max_ms" min:"10" max:"86400000" doc:"longest pause"`
}

// KeepConfig bounds the pauses of kept peers.
type KeepConfig struct {
	RetryMinMs int `json:"retry_min_ms" min:"10" max:"86400000" doc:"first pause before another attempt; it doubles"`
	RetryMaxMs int `json:"retry_max_ms" min:"10" max:"86400000" doc:"longest pause"`
}

// IdentifyConfig is what peers are told.
type IdentifyConfig struct {
	Agent string `json:"agent" doc:"program and version"`
}

// EventsConfig bounds the events that wait.
type EventsConfig struct {
	Capacity int `json:"capacity" min:"1" max:"10000000" doc:"events of the node that may wait for a slow reader; then the oldest are dropped"`
}

// StreamConfig tunes streams.
type StreamConfig struct {
	WriteBuffer int `json:"write_buffer" min:"1024" max:"1073741824" doc:"bytes accepted for writing ahead of the network, per stream (the high-water mark)"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() *Config {
	return &Config{
		Identity:      IdentityConfig{Type: "ed25519"},
		ListenRequire: "all",
		Addresses:     AddressesConfig{Announce: []string{}, Append: []string{}, Hide: []string{}},
		Transports:    TransportsConfig{TCP: true, QUIC: true, WebSocket: true, WebTransport: true, WebRTCDirect: true},
		Security:      []string{"tls", "noise"},
		Yamux:         YamuxConfig{WindowBytes: 16 << 20, KeepaliveMs: 30_000},
		Limits:        LimitsConfig{Preset: "default"},
		Gating:        GatingConfig{Block: []string{}, Allow: []string{}, Default: "allow"},
		Connections:   ConnectionsConfig{Low: 160, High: 192, GraceMs: 60_000},
		Dial:          DialConfig{TimeoutMs: 15_000},
		MDNS:          MDNSConfig{Service: "_p2p._udp"},
		Bootstrap:     BootstrapConfig{Peers: []string{}, RetryMinMs: 1000, RetryMaxMs: 60_000},
		Rendezvous:    defaultRendezvous(),
		Keep:          KeepConfig{RetryMinMs: 1000, RetryMaxMs: 60_000},
		Pubsub:        defaultPubsub(),
		DHT:           defaultDHT(),
		Identify:      IdentifyConfig{Agent: "libp2pgo"},
		Events:        EventsConfig{Capacity: 1024},
		Stream:        StreamConfig{WriteBuffer: 1 << 20},
		Metrics:       MetricsConfig{Bandwidth: true, Peers: 100, Protocols: 100},
		NAT:           defaultNATConfig(),
		Relay:         defaultRelayConfig(),
		given:         map[string]bool{},
	}
}

// ParseConfig reads a JSON object over the defaults; nil or "" is the defaults.
func ParseConfig(doc []byte) (*Config, error) {
	c := DefaultConfig()
	given, err := parseOptionsNoting(doc, c, "")
	if err != nil {
		return nil, err
	}
	c.note(given)
	if err := c.checkValues(); err != nil {
		return nil, err
	}
	return c, nil
}

// Set sets the option at path ("pubsub.d") to value: JSON, the bare text for a text option, or one item per line for a list of texts.
// The Config is unchanged on an error.
func (c *Config) Set(path, value string) error {
	changed := c.Clone()
	if secretPath(path) {
		return &OptionError{path, "is a secret, which only SetSecret takes"}
	}
	given, err := setOption(changed, path, value)
	if err != nil {
		return err
	}
	changed.note(given)
	if err := changed.checkValues(); err != nil {
		return err
	}
	*c = *changed
	return nil
}

// Get returns the option at path as JSON, defaults included; the whole document for "". Secrets are not in it.
func (c *Config) Get(path string) ([]byte, error) {
	if secretPath(path) {
		return nil, &OptionError{path, "is a secret, which cannot be read back"}
	}
	value, _, err := findOption(reflect.ValueOf(c).Elem(), path)
	if err != nil {
		return nil, err
	}
	return marshalJSON(value.Interface())
}

// Clone returns a copy that shares nothing with c.
func (c *Config) Clone() *Config {
	copied := *c
	copied.Listen = slices.Clone(c.Listen)
	copied.Addresses = AddressesConfig{slices.Clone(c.Addresses.Announce), slices.Clone(c.Addresses.Append), slices.Clone(c.Addresses.Hide)}
	copied.Gating.Block, copied.Gating.Allow = slices.Clone(c.Gating.Block), slices.Clone(c.Gating.Allow)
	copied.Security = slices.Clone(c.Security)
	copied.Bootstrap.Peers = slices.Clone(c.Bootstrap.Peers)
	copied.DHT.Validators = slices.Clone(c.DHT.Validators)
	copied.Rendezvous.Points = slices.Clone(c.Rendezvous.Points)
	copied.Limits.Exact = bytes.Clone(c.Limits.Exact)
	copied.Pubsub = c.Pubsub.clone()
	copied.Relay = c.Relay.clone()
	copied.identityKey = bytes.Clone(c.identityKey)
	copied.networkKey = bytes.Clone(c.networkKey)
	copied.given = make(map[string]bool, len(c.given))
	for path := range c.given {
		copied.given[path] = true
	}
	return &copied
}

func (c *Config) note(given []string) {
	if c.given == nil {
		c.given = map[string]bool{}
	}
	for _, path := range given {
		c.given[path] = true
	}
}

func secretPath(path string) bool { return path == "identity.key" || path == "private_network.key" }

// String keeps secrets out of %v.
func (c *Config) String() string {
	text, err := c.Get("")
	if err != nil {
		return "core.Config"
	}
	return string(text)
}

// GoString keeps secrets out of %#v.
func (c *Config) GoString() string { return "core.Config" + strings.TrimSpace(c.String()) }
