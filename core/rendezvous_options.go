package core

import (
	"fmt"
	"strings"
	"time"
)

// RendezvousConfig says which rendezvous points the node uses, and whether it is one.
type RendezvousConfig struct {
	Server           bool     `json:"server" doc:"be a rendezvous point: let peers register under names, and find each other"`
	Points           []string `json:"points" doc:"rendezvous points that discovery uses: addresses ending in /p2p/<peer id>"`
	MaxRegistrations int      `json:"max_registrations" min:"1" max:"10000000" doc:"registrations a point holds in all, of about half a KiB each; more are told that it is unavailable"`
	MaxPerPeer       int      `json:"max_per_peer" min:"1" max:"1000000" doc:"registrations a point holds of one peer"`
	MaxNamespace     int      `json:"max_namespace" min:"1" max:"255" doc:"bytes of the longest name a point takes"`
	MaxResults       int      `json:"max_results" min:"1" max:"1000" doc:"registrations in one answer of a point; the cookie brings the others"`
	MaxStreams       int      `json:"max_streams" min:"1" max:"1000000" doc:"peers that a point talks with at a time"`
	Store            string   `json:"store" doc:"directory that keeps a point's registrations, and its cookies good, over a restart; \"\": in memory, lost with the node"`
	TTLMinMs         int64    `json:"ttl_min_ms" min:"1000" max:"259200000" doc:"shortest life of a registration that a point grants"`
	TTLMaxMs         int64    `json:"ttl_max_ms" min:"1000" max:"259200000" doc:"longest life of a registration that a point grants"`
}

func defaultRendezvous() RendezvousConfig {
	return RendezvousConfig{
		Points: []string{}, MaxRegistrations: 10_000, MaxPerPeer: 100, MaxNamespace: maxNamespace, MaxResults: rendezvousMaxResults, MaxStreams: 256,
		TTLMinMs: 60_000, TTLMaxMs: rendezvousMaxTTL.Milliseconds(),
	}
}

// What libp2p/specs, rendezvous, recommends.
const (
	maxNamespace         = 255
	rendezvousMaxResults = 1000
	rendezvousTTL        = 2 * time.Hour
	rendezvousMaxTTL     = 72 * time.Hour
)

func (c *RendezvousConfig) checkValues() error {
	for i, text := range c.Points {
		if err := checkPoint(text, fmt.Sprintf("rendezvous.points[%d]", i)); err != nil {
			return err
		}
	}
	return nil
}

func (c *RendezvousConfig) checkConflicts() error {
	if c.TTLMinMs > c.TTLMaxMs {
		return &OptionError{"rendezvous.ttl_min_ms", fmt.Sprintf("%d is more than rendezvous.ttl_max_ms, %d", c.TTLMinMs, c.TTLMaxMs)}
	}
	if c.Store != "" && !c.Server {
		return &OptionError{"rendezvous.store", "conflicts with rendezvous.server, which is off: there is nothing to keep"}
	}
	return nil
}

// checkPoint checks the address of a rendezvous point. The peer id alone will do for a peer whose addresses are known by other means.
func checkPoint(text, path string) error {
	if strings.TrimSpace(text) == "" {
		return &OptionError{path, "empty"}
	}
	if _, _, err := parsePeerAddress(text); err != nil {
		return &OptionError{path, err.Error()}
	}
	return nil
}
