package core

import (
	"context"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	ma "github.com/multiformats/go-multiaddr"
)

// Upstream's AutoRelay is not used: it advertises relays with public addresses only, tells nobody what happens, asks a relay that was
// restarted again after half a minute at best and an hour at worst, and panics without a source of relays.

// relayCandidate is a relay that may be asked for a place.
type relayCandidate struct {
	info  peer.AddrInfo
	named bool // in relay.client.relays
}

// startRelayClient looks for relays, if there is anywhere to look.
func (n *Node) startRelayClient() {
	c := &n.cfg.Relay.Client
	if !c.Enabled || len(c.Relays) == 0 && !c.FromPeers && !c.FromDHT {
		return
	}
	var named []peer.AddrInfo
	for _, text := range c.Relays {
		id, addr, err := parsePeerAddress(text)
		if err != nil || id == n.ID() {
			continue // checked before; a list for all nodes of a network may name this one too
		}
		if i := slices.IndexFunc(named, func(other peer.AddrInfo) bool { return other.ID == id }); i >= 0 {
			named[i].Addrs = append(named[i].Addrs, addr)
		} else {
			named = append(named, peer.AddrInfo{ID: id, Addrs: []ma.Multiaddr{addr}})
		}
	}
	if c.FromPeers || c.FromDHT {
		n.watchRelays()
	}
	n.spawn("find relays", func() { n.findRelays(named) })
}

// watchRelays wakes the search when a connected peer turns out to be a relay.
func (n *Node) watchRelays() {
	kinds := []any{new(event.EvtPeerIdentificationCompleted), new(event.EvtPeerProtocolsUpdated)}
	sub, err := n.host.EventBus().Subscribe(kinds, eventbus.BufSize(64), eventbus.Name("libp2pgo relays"))
	if err != nil {
		logger.Error("subscribe to identified peers", "err", err)
		return
	}
	context.AfterFunc(n.ctx, func() { sub.Close() })
	n.spawn("watch for relays", func() {
		for range sub.Out() {
			wake(n.relays.changed)
		}
	})
}

// findRelays holds as many places with relays as wanted, while they are wanted.
func (n *Node) findRelays(named []peer.AddrInfo) {
	c := &n.cfg.Relay.Client
	boot := n.since.Add(time.Duration(c.BootDelayMs) * time.Millisecond)
	for n.ctx.Err() == nil {
		state, changed := n.nat.reach.state()
		pause := time.Duration(c.IntervalMs) * time.Millisecond
		if wanted := c.When == "always" || state == "private" || c.When == "not_public" && state == "unknown"; wanted {
			early := state == "unknown" && time.Now().Before(boot)
			if early {
				pause = min(pause, time.Until(boot))
			}
			if n.foundRelays() < c.Number {
				for _, candidate := range n.relayCandidates(named, !early) {
					if n.foundRelays() >= c.Number || n.ctx.Err() != nil {
						break
					}
					n.tryRelay(candidate)
				}
				pause = min(pause, n.relays.untilRested(named))
			}
		} else {
			n.releaseRelays()
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-changed:
		case <-n.relays.changed:
		case <-n.ctx.Done():
		}
		timer.Stop()
	}
}

// foundRelays counts the places that are held and were reserved here.
func (n *Node) foundRelays() (count int) {
	n.relays.mu.Lock()
	defer n.relays.mu.Unlock()
	for r := range n.relays.held {
		if r.found && len(r.relayed()) > 0 {
			count++
		}
	}
	return count
}

func (n *Node) releaseRelays() {
	n.relays.mu.Lock()
	var list []*Reservation
	for r := range n.relays.held {
		if r.found {
			list = append(list, r)
		}
	}
	n.relays.mu.Unlock()
	for _, r := range list {
		r.Close()
	}
}

// relayCandidates lists the relays that are known and not in use, those of the options first.
func (n *Node) relayCandidates(named []peer.AddrInfo, others bool) []relayCandidate {
	var list []relayCandidate
	add := func(info peer.AddrInfo, isNamed bool) {
		known := slices.ContainsFunc(list, func(c relayCandidate) bool { return c.info.ID == info.ID })
		if !known && info.ID != n.ID() && len(n.relays.with(info.ID)) == 0 && !n.relays.resting(info.ID) {
			list = append(list, relayCandidate{info, isNamed})
		}
	}
	for _, info := range named {
		add(info, true)
	}
	if others && n.cfg.Relay.Client.FromPeers {
		for _, id := range n.host.Network().Peers() {
			if is, _ := n.isRelay(id); is && n.hasDirect(id) {
				add(peer.AddrInfo{ID: id}, false)
			}
		}
	}
	if others && n.cfg.Relay.Client.FromDHT {
		var unknown []peer.AddrInfo
		for _, info := range n.dhtPeers(0) {
			if is, known := n.isRelay(info.ID); is {
				add(info, false)
			} else if !known && !n.relays.resting(info.ID) {
				unknown = append(unknown, info)
			}
		}
		for _, info := range unknown[:min(len(unknown), maxProbes)] {
			add(info, false)
		}
	}
	return list
}

// maxProbes bounds the peers of the DHT that one search connects to in the hope that they are relays.
const maxProbes = 4

// isRelay tells whether a peer said that it is a relay, and whether it is known what it says.
func (n *Node) isRelay(id peer.ID) (is, known bool) {
	protocols, err := n.host.Peerstore().GetProtocols(id)
	if err != nil || len(protocols) == 0 {
		return false, false
	}
	return slices.Contains(protocols, protocol.ID(proto.ProtoIDv2Hop)), true
}

// tryRelay asks one relay for a place. One of the options is asked for a lost place again and again, another gives way to the next one.
func (n *Node) tryRelay(candidate relayCandidate) {
	ctx, done := context.WithTimeout(n.ctx, reserveLimit)
	defer done()
	tries := 3
	if candidate.named {
		tries = 0
	}
	id := candidate.info.ID
	_, err := n.reserve(ctx, id, candidate.info.Addrs, true, tries, Inbox[ReservationEvent]{})
	if n.ctx.Err() != nil {
		return
	}
	pause := n.relays.rest(candidate, err == nil)
	if err != nil {
		e := ReservationEvent{Relay: id, State: "failed", Err: err, RetryMs: pause.Milliseconds()}
		n.emit(Event{Type: ReservationChanged, Peer: id, State: e.State, Reservation: &e})
	}
}

// relayRest is how long a relay that failed is left alone.
type relayRest struct {
	until time.Time
	pause time.Duration
}

// maxRests bounds the relays that are remembered as failed; beyond it all are forgotten.
const maxRests = 4096

// rest notes how asking a relay went, and returns how long it is left alone.
func (r *relays) rest(candidate relayCandidate, good bool) time.Duration {
	c := &r.node.cfg.Relay.Client
	r.mu.Lock()
	defer r.mu.Unlock()
	id := candidate.info.ID
	if good {
		delete(r.rests, id)
		return 0
	}
	pause := time.Duration(c.BackoffMs) * time.Millisecond
	if candidate.named {
		first, longest := time.Duration(c.RetryMinMs)*time.Millisecond, time.Duration(c.RetryMaxMs)*time.Millisecond
		pause = min(max(2*r.rests[id].pause, first), longest)
	}
	if len(r.rests) >= maxRests {
		clear(r.rests)
	}
	r.rests[id] = relayRest{time.Now().Add(pause), pause}
	return pause
}

func (r *relays) resting(id peer.ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Before(r.rests[id].until)
}

// untilRested is how long it takes until one of the named relays may be asked again. One that the program has a place with meanwhile is not asked.
func (r *relays) untilRested(named []peer.AddrInfo) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	soonest := time.Duration(1<<63 - 1)
	for _, info := range named {
		if rest, ok := r.rests[info.ID]; ok && len(r.withLocked(info.ID)) == 0 {
			soonest = min(soonest, max(time.Until(rest.until), 10*time.Millisecond))
		}
	}
	return soonest
}
