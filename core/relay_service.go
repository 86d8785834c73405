package core

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	pb "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/pb"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	ma "github.com/multiformats/go-multiaddr"
)

// relayService is the relay that this node is for others. Upstream runs it only while AutoNAT version 1 says public, and tells nothing of it
// but to process-wide metrics; here it runs as relay.service.when says, and counts.
type relayService struct {
	node *Node
	cfg  RelayServiceConfig

	mu      sync.Mutex
	running *relay.Relay           // guarded by mu; nil while it does not run
	rules   relayRules             // guarded by mu
	places  map[peer.ID]relayPlace // guarded by mu
	hops    map[peer.ID]struct{}   // guarded by mu; peers with relayed connections
	open    int                    // guarded by mu
	refused map[string]uint64      // guarded by mu; by reason
	counts  RelayCounts            // guarded by mu, but for Bytes
	bytes   atomic.Uint64
}

type relayPlace struct {
	since, expires time.Time
}

// RelayCounts count what the relay did since the node started.
type RelayCounts struct {
	Reservations uint64 `json:"reservations"`
	Renewals     uint64 `json:"renewals"`
	Circuits     uint64 `json:"circuits"`
	Bytes        uint64 `json:"bytes"`
}

// startRelayService runs the relay while relay.service.when holds.
func (n *Node) startRelayService() error {
	c := n.cfg.Relay.Service
	if !c.Enabled {
		return nil
	}
	s := &relayService{node: n, cfg: c, places: map[peer.ID]relayPlace{}, hops: map[peer.ID]struct{}{}, refused: map[string]uint64{}}
	for _, list := range []struct {
		texts []string
		into  *[]relayRule
	}{{c.Allow, &s.rules.allow}, {c.Deny, &s.rules.deny}} {
		for _, text := range list.texts {
			rule, err := parseRelayRule(text)
			if err != nil {
				return err
			}
			*list.into = append(*list.into, rule)
		}
	}
	n.relays.service = s
	if err := n.onClose(nil, s.stop); err != nil {
		return err
	}
	if c.When == "always" {
		return s.start()
	}
	n.spawn("relay service", func() {
		for {
			state, changed := n.nat.reach.state()
			if state == "public" {
				if err := s.start(); err != nil && n.ctx.Err() == nil {
					logger.Error("start the relay service", "err", err)
				}
			} else {
				s.stop()
			}
			select {
			case <-changed:
			case <-n.ctx.Done():
				return
			}
		}
	})
	return nil
}

func (s *relayService) start() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil || s.node.ctx.Err() != nil {
		return nil
	}
	defer Recovered("start the relay service", &err)
	c := &s.cfg
	resources := relay.Resources{
		ReservationTTL: time.Duration(c.ReservationMs) * time.Millisecond, MaxReservations: c.MaxReservations, MaxCircuits: c.MaxCircuits,
		BufferSize: c.BufferBytes, MaxReservationsPerPeer: 1, MaxReservationsPerIP: c.MaxPerIP, MaxReservationsPerASN: c.MaxPerASN,
	}
	if c.CircuitMs > 0 || c.CircuitBytes > 0 {
		resources.Limit = &relay.RelayLimit{Duration: time.Duration(c.CircuitMs) * time.Millisecond, Data: c.CircuitBytes}
		if c.CircuitMs == 0 {
			resources.Limit.Duration = (1 << 31) * time.Second
		}
		if c.CircuitBytes == 0 {
			resources.Limit.Data = 1<<63 - 1
		}
	}
	running, err := relay.New(relayHost{s.node.host, s}, relay.WithResources(resources), relay.WithACL(s), relay.WithMetricsTracer(s),
		relay.WithReservationAddressFilter(s.vouches))
	if err != nil {
		return Errorf(ErrInternal, "relay service: %w", err)
	}
	s.running = running
	return nil
}

func (s *relayService) stop() {
	s.mu.Lock()
	running := s.running
	s.running = nil
	s.mu.Unlock()
	if running != nil {
		running.Close()
		s.mu.Lock()
		clear(s.places)
		s.mu.Unlock()
	}
}

// vouches says which of the node's addresses a reservation names: public ones only, unless there are none.
func (s *relayService) vouches(a ma.Multiaddr) bool {
	return slices.ContainsFunc(widest(s.node.host.Addrs()), a.Equal)
}

// relayHost is the host as upstream's relay sees it: its handler is guarded, and the tags it puts on peers tell who has what.
type relayHost struct {
	host.Host
	service *relayService
}

func (h relayHost) SetStreamHandler(id protocol.ID, handler network.StreamHandler) {
	h.Host.SetStreamHandler(id, func(s network.Stream) {
		if !guarded("relay", func() { handler(s) }) {
			s.Reset()
		}
	})
}

func (h relayHost) ConnManager() connmgr.ConnManager {
	return relayTags{h.Host.ConnManager(), h.service}
}

type relayTags struct {
	connmgr.ConnManager
	service *relayService
}

// The tags of upstream's relay.
const (
	relayPlaceTag = "relay-reservation"
	relayHopTag   = "relay-v2-hop"
)

func (t relayTags) TagPeer(id peer.ID, tag string, value int) {
	t.ConnManager.TagPeer(id, tag, value)
	t.service.tagged(id, tag, true)
}

func (t relayTags) UntagPeer(id peer.ID, tag string) {
	t.ConnManager.UntagPeer(id, tag)
	t.service.tagged(id, tag, false)
}

func (s *relayService) tagged(id peer.ID, tag string, is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case tag == relayPlaceTag && is:
		now := time.Now()
		place := s.places[id]
		if place.since.IsZero() {
			place.since = now
			s.pruneLocked()
		}
		place.expires = now.Add(time.Duration(s.cfg.ReservationMs) * time.Millisecond)
		s.places[id] = place
	case tag == relayPlaceTag:
		delete(s.places, id)
	case tag == relayHopTag && is:
		s.hops[id] = struct{}{}
	case tag == relayHopTag:
		delete(s.hops, id)
	}
}

// pruneLocked forgets the places of peers that are gone, which upstream does without a word.
func (s *relayService) pruneLocked() {
	now := time.Now()
	for id, place := range s.places {
		if now.After(place.expires) || s.node.host.Network().Connectedness(id) != network.Connected {
			delete(s.places, id)
		}
	}
}

// The rest are what upstream's relay calls its metrics.

func (s *relayService) RelayStatus(bool) {}

func (s *relayService) ConnectionOpened() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open++
	s.counts.Circuits++
}

func (s *relayService) ConnectionClosed(time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
}

func (s *relayService) ConnectionRequestHandled(status pb.Status) { s.handled("circuit", status) }

func (s *relayService) ReservationAllowed(renewal bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if renewal {
		s.counts.Renewals++
	} else {
		s.counts.Reservations++
	}
}

func (s *relayService) ReservationClosed(int) {}

func (s *relayService) ReservationRequestHandled(status pb.Status) { s.handled("reservation", status) }

func (s *relayService) BytesTransferred(count int) { s.bytes.Add(uint64(count)) }

func (s *relayService) handled(what string, status pb.Status) {
	if status == pb.Status_OK {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused[what+"_"+strings.ToLower(status.String())]++
}

// relayRule names a peer, or addresses.
type relayRule struct {
	text   string
	peer   peer.ID
	subnet netip.Prefix
}

func parseRelayRule(text string) (relayRule, error) {
	if subnet, ok := parseSubnet(text); ok {
		name := subnet.String()
		if subnet.IsSingleIP() {
			name = subnet.Addr().String()
		}
		return relayRule{text: name, subnet: subnet}, nil
	}
	text = strings.TrimSpace(text)
	id, err := ParsePeer(text)
	if err != nil {
		return relayRule{}, Errorf(ErrParse, "%s is no peer id, IP address or subnet", quoteShort(text))
	}
	return relayRule{text: id.String(), peer: id}, nil
}

func (r relayRule) matches(id peer.ID, address netip.Addr) bool {
	if r.peer != "" {
		return r.peer == id
	}
	return address.IsValid() && r.subnet.Contains(address)
}

// relayRules say who may use the relay.
type relayRules struct {
	allow, deny []relayRule
}

func anyMatches(rules []relayRule, id peer.ID, address netip.Addr) bool {
	return slices.ContainsFunc(rules, func(r relayRule) bool { return r.matches(id, address) })
}

// AllowReserve is called by upstream's relay.
func (s *relayService) AllowReserve(id peer.ID, from ma.Multiaddr) bool {
	address, _ := addressIP(from)
	s.mu.Lock()
	defer s.mu.Unlock()
	return !anyMatches(s.rules.deny, id, address) && (len(s.rules.allow) == 0 || anyMatches(s.rules.allow, id, address))
}

// AllowConnect is called by upstream's relay.
func (s *relayService) AllowConnect(source peer.ID, from ma.Multiaddr, destination peer.ID) bool {
	address, _ := addressIP(from)
	s.mu.Lock()
	defer s.mu.Unlock()
	return !anyMatches(s.rules.deny, source, address) && !anyMatches(s.rules.deny, destination, netip.Addr{})
}
