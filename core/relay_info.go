package core

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// RelayInfo is what RelayInfo returns; docs/nat.md explains the keys.
type RelayInfo struct {
	Client  RelayClientInfo  `json:"client"`
	Service RelayServiceInfo `json:"service"`
}

// RelayClientInfo tells of the relays in use.
type RelayClientInfo struct {
	Enabled      bool              `json:"enabled"`
	Reservations []ReservationInfo `json:"reservations"`
}

// ReservationInfo is one place with a relay.
type ReservationInfo struct {
	Kind       string   `json:"kind"`
	Relay      string   `json:"relay"`
	State      string   `json:"state"` // "held" or "lost"
	Explicit   bool     `json:"explicit"`
	Addresses  []string `json:"addresses"`
	ExpiresMs  int64    `json:"expires_ms"` // Unix
	LimitMs    int64    `json:"limit_ms"`
	LimitBytes int64    `json:"limit_bytes"`
	Renewed    int      `json:"renewed"`
	Lost       int      `json:"lost"`
	Error      string   `json:"error"`
}

// RelayServiceInfo tells what the node does as a relay.
type RelayServiceInfo struct {
	Enabled      bool              `json:"enabled"`
	Running      bool              `json:"running"`
	Reservations []RelayPlaceInfo  `json:"reservations"`
	Circuits     int               `json:"circuits"`
	CircuitPeers []string          `json:"circuit_peers"`
	Total        RelayCounts       `json:"total"`
	Refused      map[string]uint64 `json:"refused"`
	Allow        []string          `json:"allow"`
	Deny         []string          `json:"deny"`
}

// RelayPlaceInfo is one place that a peer holds here.
type RelayPlaceInfo struct {
	Peer      string `json:"peer"`
	SinceMs   int64  `json:"since_ms"`   // Unix
	ExpiresMs int64  `json:"expires_ms"` // Unix
}

// Info returns a ReservationInfo.
func (r *Reservation) Info() any { return r.info() }

func (r *Reservation) info() ReservationInfo {
	addresses := r.Addresses()
	r.mu.Lock()
	defer r.mu.Unlock()
	info := ReservationInfo{
		Kind: "reservation", Relay: r.relay.String(), State: "lost", Explicit: !r.found, Addresses: addresses, Renewed: r.renewed, Lost: r.lost,
	}
	if r.held {
		info.State = "held"
	}
	if r.current != nil {
		info.ExpiresMs, info.LimitMs = r.current.Expiration.UnixMilli(), r.current.LimitDuration.Milliseconds()
		info.LimitBytes = int64(min(r.current.LimitData, 1<<62))
	}
	if r.err != nil {
		info.Error = r.err.Error()
	}
	return info
}

// RelayInfo returns which relays the node uses and what it does as one. It costs no network.
func (n *Node) RelayInfo() RelayInfo {
	info := RelayInfo{Client: RelayClientInfo{Enabled: n.cfg.Relay.Client.Enabled, Reservations: []ReservationInfo{}}}
	n.relays.mu.Lock()
	list := make([]*Reservation, 0, len(n.relays.held))
	for r := range n.relays.held {
		list = append(list, r)
	}
	n.relays.mu.Unlock()
	for _, r := range list {
		if made := r.info(); made.ExpiresMs != 0 { // else it is just being asked for
			info.Client.Reservations = append(info.Client.Reservations, made)
		}
	}
	slices.SortFunc(info.Client.Reservations, func(a, b ReservationInfo) int { return strings.Compare(a.Relay, b.Relay) })
	info.Service = RelayServiceInfo{
		Reservations: []RelayPlaceInfo{}, CircuitPeers: []string{}, Refused: map[string]uint64{}, Allow: []string{}, Deny: []string{},
	}
	if n.relays.service != nil {
		n.relays.service.info(&info.Service)
	}
	return info
}

func (s *relayService) info(info *RelayServiceInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	info.Enabled, info.Running, info.Circuits, info.Total = true, s.running != nil, s.open, s.counts
	info.Total.Bytes = s.bytes.Load()
	s.pruneLocked()
	for id, place := range s.places {
		info.Reservations = append(info.Reservations, RelayPlaceInfo{id.String(), place.since.UnixMilli(), place.expires.UnixMilli()})
	}
	slices.SortFunc(info.Reservations, func(a, b RelayPlaceInfo) int { return strings.Compare(a.Peer, b.Peer) })
	for id := range s.hops {
		info.CircuitPeers = append(info.CircuitPeers, id.String())
	}
	slices.Sort(info.CircuitPeers)
	for reason, count := range s.refused {
		info.Refused[reason] = count
	}
	for _, r := range s.rules.allow {
		info.Allow = append(info.Allow, r.text)
	}
	for _, r := range s.rules.deny {
		info.Deny = append(info.Deny, r.text)
	}
}

// relayService returns the relay that the node is.
func (n *Node) relayService() (*relayService, error) {
	if n.ctx.Err() != nil {
		return nil, Errorf(ErrClosed, "the node is closed")
	}
	if n.relays.service == nil {
		return nil, Errorf(ErrState, "relay.service.enabled is off")
	}
	return n.relays.service, nil
}

// RelayAllow adds peers (by id), IP addresses or subnets to those that may reserve a place; with the first one, others may no more.
func (n *Node) RelayAllow(subjects []string) error {
	return n.changeRelayRules(subjects, func(rules *relayRules, r relayRule) { rules.allow = withRule(rules.allow, r) })
}

// RelayDeny adds peers, IP addresses or subnets to those that may neither reserve a place nor connect through this relay. Peers among them that
// hold a place are disconnected, which ends it.
func (n *Node) RelayDeny(subjects []string) error {
	return n.changeRelayRules(subjects, func(rules *relayRules, r relayRule) { rules.deny = withRule(rules.deny, r) })
}

// RelayForget takes rules back, of both kinds. It fails with ErrNotFound, and changes nothing, if one of them is not there.
func (n *Node) RelayForget(subjects []string) error {
	s, err := n.relayService()
	if err != nil {
		return err
	}
	parsed, err := parseRelayRules(subjects)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range parsed {
		if !slices.Contains(s.rules.allow, r) && !slices.Contains(s.rules.deny, r) {
			return Errorf(ErrNotFound, "there is no rule for %s", r.text)
		}
	}
	gone := func(r relayRule) bool { return slices.Contains(parsed, r) }
	s.rules.allow = slices.DeleteFunc(slices.Clone(s.rules.allow), gone)
	s.rules.deny = slices.DeleteFunc(slices.Clone(s.rules.deny), gone)
	return nil
}

func withRule(rules []relayRule, r relayRule) []relayRule {
	if slices.Contains(rules, r) {
		return rules
	}
	return append(slices.Clone(rules), r)
}

func parseRelayRules(subjects []string) ([]relayRule, error) {
	var parsed []relayRule
	for _, text := range subjects {
		if strings.TrimSpace(text) == "" {
			continue
		}
		r, err := parseRelayRule(text)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, r)
	}
	if len(parsed) == 0 {
		return nil, Errorf(ErrInvalid, "no peer, address or subnet is given")
	}
	return parsed, nil
}

func (n *Node) changeRelayRules(subjects []string, change func(*relayRules, relayRule)) error {
	s, err := n.relayService()
	if err != nil {
		return err
	}
	parsed, err := parseRelayRules(subjects)
	if err != nil {
		return err
	}
	s.mu.Lock()
	for _, r := range parsed {
		change(&s.rules, r)
	}
	rules := s.rules
	var places []peer.ID
	for id := range s.places {
		places = append(places, id)
	}
	s.mu.Unlock()
	for _, id := range places {
		if n.deniedPlace(&rules, id) {
			n.host.Network().ClosePeer(id)
		}
	}
	return nil
}

func (n *Node) deniedPlace(rules *relayRules, id peer.ID) bool {
	if anyMatches(rules.deny, id, netip.Addr{}) {
		return true
	}
	return slices.ContainsFunc(n.host.Network().ConnsToPeer(id), func(c network.Conn) bool {
		address, _ := addressIP(c.RemoteMultiaddr())
		return anyMatches(rules.deny, id, address)
	})
}
