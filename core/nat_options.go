package core

import (
	"fmt"
	"slices"
)

// NATConfig says how the node finds out whether others can reach it, and what it does if they cannot.
type NATConfig struct {
	PortMap         bool            `json:"port_map" doc:"ask the router to forward the ports that are listened at (UPnP, NAT-PMP); looks for the router on the local network"`
	Reachability    string          `json:"reachability" enum:"auto,public,private" doc:"auto: found out by asking connected peers (AutoNAT); public, private: taken for granted"`
	AutoNATService  bool            `json:"autonat_service" doc:"serve AutoNAT version 1: dial peers that ask back at their public addresses, and tell them whether that worked"`
	AutoNATRate     int             `json:"autonat_service_rate" min:"1" max:"1000000" doc:"dial-backs per minute of autonat_service in all"`
	AutoNATPeerRate int             `json:"autonat_service_peer_rate" min:"1" max:"1000000" doc:"dial-backs per minute of autonat_service for one peer"`
	AutoNATV2       bool            `json:"autonat_v2" doc:"AutoNAT version 2, as client and server: reachability of each single public address"`
	HolePunch       HolePunchConfig `json:"hole_punch" doc:"direct connections through NATs, coordinated over a relayed one (DCUtR)"`
}

// HolePunchConfig bounds hole punching.
type HolePunchConfig struct {
	Enabled       bool `json:"enabled" doc:"turn relayed connections into direct ones where the NATs allow it"`
	DialTimeoutMs int  `json:"dial_timeout_ms" min:"100" max:"600000" doc:"longest time of one attempt at a hole, of which there are three; before them comes a plain dial of at most 1 s, if the peer tells a public address"`
	History       int  `json:"history" min:"1" max:"100000" doc:"attempts that p2p_nat_info remembers"`
}

// RelayConfig is about relays: those that the node uses, and the one that it can be.
type RelayConfig struct {
	Client  RelayClientConfig  `json:"client" doc:"using relays"`
	Service RelayServiceConfig `json:"service" doc:"being a relay (circuit relay version 2)"`
}

// RelayClientConfig says which relays the node reserves a place with by itself.
type RelayClientConfig struct {
	Enabled     bool     `json:"enabled" doc:"dial peers through relays, and be dialled through them"`
	Relays      []string `json:"relays" doc:"addresses of relays to reserve a place with, ending in /p2p/<peer id>"`
	FromPeers   bool     `json:"from_peers" doc:"also consider connected peers that are relays"`
	FromDHT     bool     `json:"from_dht" doc:"also consider peers of the DHT's table, and connect to them to find out whether they are relays"`
	When        string   `json:"when" enum:"not_public,private,always" doc:"at which reachability of the node places are reserved"`
	Number      int      `json:"number" min:"1" max:"100" doc:"relays to hold a place with at a time"`
	BootDelayMs int      `json:"boot_delay_ms" min:"0" max:"86400000" doc:"how long after the start relays that are found are left alone while reachability is unknown; those in relays are asked at once"`
	IntervalMs  int      `json:"interval_ms" min:"10" max:"86400000" doc:"pause between two searches while places are missing"`
	BackoffMs   int      `json:"backoff_ms" min:"10" max:"86400000" doc:"how long a found relay that failed is not asked again"`
	RetryMinMs  int      `json:"retry_min_ms" min:"10" max:"86400000" doc:"first pause before a lost place is asked for again; it doubles"`
	RetryMaxMs  int      `json:"retry_max_ms" min:"10" max:"86400000" doc:"longest pause"`
	LingerMs    int      `json:"linger_ms" min:"-1" max:"86400000" doc:"how long a relayed connection stays beside a direct one to the same peer, and longer while it has streams; -1: for ever"`
}

// RelayServiceConfig bounds what the node does as a relay.
type RelayServiceConfig struct {
	Enabled         bool     `json:"enabled" doc:"relay connections for others"`
	When            string   `json:"when" enum:"public,always" doc:"public: only while the node is reachable; always: also on a network of one's own where that is not found out"`
	MaxReservations int      `json:"max_reservations" min:"1" max:"1000000" doc:"places in all"`
	MaxPerIP        int      `json:"max_reservations_per_ip" min:"1" max:"1000000" doc:"places for one IP address"`
	MaxPerASN       int      `json:"max_reservations_per_asn" min:"1" max:"1000000" doc:"places for one network operator (autonomous system; IPv6 only)"`
	MaxCircuits     int      `json:"max_circuits" min:"1" max:"1000000" doc:"relayed connections at a time from or to one peer"`
	ReservationMs   int      `json:"reservation_ms" min:"2000" max:"86400000" doc:"how long a place is held unless it is renewed"`
	CircuitMs       int      `json:"circuit_ms" min:"0" max:"2000000000" doc:"longest time of a relayed connection; 0: no limit"`
	CircuitBytes    int64    `json:"circuit_bytes" min:"0" max:"1125899906842624" doc:"bytes that a relayed connection carries in each direction; 0: no limit"`
	BufferBytes     int      `json:"buffer_bytes" min:"256" max:"16777216" doc:"buffer of a relayed connection in each direction"`
	Allow           []string `json:"allow" doc:"if there are any: the only peers (by id), IP addresses or subnets (10.0.0.0/8) that may reserve a place"`
	Deny            []string `json:"deny" doc:"peers, IP addresses or subnets that may neither reserve a place nor connect through this relay"`
}

func defaultNATConfig() NATConfig {
	return NATConfig{
		Reachability: "auto", AutoNATRate: 30, AutoNATPeerRate: 3,
		HolePunch: HolePunchConfig{Enabled: true, DialTimeoutMs: 5000, History: 64},
	}
}

func defaultRelayConfig() RelayConfig {
	return RelayConfig{
		Client: RelayClientConfig{
			Enabled: true, Relays: []string{}, When: "not_public", Number: 2, BootDelayMs: 10_000, IntervalMs: 30_000, BackoffMs: 300_000,
			RetryMinMs: 1000, RetryMaxMs: 60_000, LingerMs: 5000,
		},
		Service: RelayServiceConfig{
			When: "public", MaxReservations: 128, MaxPerIP: 8, MaxPerASN: 32, MaxCircuits: 16, ReservationMs: 3_600_000, CircuitMs: 120_000,
			CircuitBytes: 128 << 10, BufferBytes: 2048, Allow: []string{}, Deny: []string{},
		},
	}
}

func (c *RelayConfig) clone() RelayConfig {
	copied := *c
	copied.Client.Relays = slices.Clone(c.Client.Relays)
	copied.Service.Allow = slices.Clone(c.Service.Allow)
	copied.Service.Deny = slices.Clone(c.Service.Deny)
	return copied
}

// checkValues finds what the types of the options do not say.
func (c *RelayConfig) checkValues() error {
	for i, text := range c.Client.Relays {
		path := fmt.Sprintf("relay.client.relays[%d]", i)
		if _, addr, err := parsePeerAddress(text); err != nil {
			return &OptionError{path, err.Error()}
		} else if addr == nil {
			return &OptionError{path, quoteShort(text) + " is a peer id without an address"}
		} else if !isDirect(addr) {
			return &OptionError{path, quoteShort(text) + " is itself relayed"}
		}
	}
	for list, texts := range map[string][]string{"allow": c.Service.Allow, "deny": c.Service.Deny} {
		for i, text := range texts {
			if _, err := parseRelayRule(text); err != nil {
				return &OptionError{fmt.Sprintf("relay.service.%s[%d]", list, i), err.Error()}
			}
		}
	}
	return nil
}

// checkConflicts finds options that do not go together.
func (c *RelayConfig) checkConflicts() error {
	switch {
	case !c.Client.Enabled && len(c.Client.Relays) > 0:
		return &OptionError{"relay.client.relays", "conflicts with relay.client.enabled, which is off"}
	case !c.Client.Enabled && c.Client.FromDHT:
		return &OptionError{"relay.client.from_dht", "conflicts with relay.client.enabled, which is off"}
	case !c.Client.Enabled && c.Client.FromPeers:
		return &OptionError{"relay.client.from_peers", "conflicts with relay.client.enabled, which is off"}
	case c.Client.RetryMinMs > c.Client.RetryMaxMs:
		return &OptionError{"relay.client.retry_min_ms", fmt.Sprintf("%d is more than relay.client.retry_max_ms, %d", c.Client.RetryMinMs, c.Client.RetryMaxMs)}
	}
	return nil
}
