package core

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/holepunch"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// holePunchTries is how often upstream tries to make a hole before it gives up.
const holePunchTries = 3

// HolePunchAttempt is one step on the way from a relayed connection to a direct one.
type HolePunchAttempt struct {
	Peer       string   `json:"peer"`
	Side       string   `json:"side"`    // "initiator": the one that was dialled through the relay; "receiver"
	Outcome    string   `json:"outcome"` // "direct": a plain dial did it; "punched"; "failed": it goes on; "gave_up"
	Attempt    int      `json:"attempt"` // 0: the plain dial, or no attempt was possible
	Reason     string   `json:"reason"`
	Addresses  []string `json:"addresses"` // of the peer, that were dialled
	DurationMs float64  `json:"duration_ms"`
	RTTMs      float64  `json:"rtt_ms"`
	AtMs       int64    `json:"at_ms"` // Unix
}

// holePunches hears of each attempt, and remembers the last ones. It is the tracer and the address filter of upstream's service, which calls
// it from its own goroutines.
type holePunches struct {
	max      int
	enabled  bool
	patience time.Duration // with a peer of which nothing more is heard

	mu        sync.Mutex
	node      *Node                    // guarded by mu; nil before the node runs
	active    map[peer.ID]*activePunch // guarded by mu
	history   []HolePunchAttempt       // guarded by mu; the oldest first
	succeeded uint64                   // guarded by mu; peers to which it led
	failed    uint64                   // guarded by mu
}

// activePunch is a peer that is being worked at.
type activePunch struct {
	initiator bool
	attempt   int // those that ended: on the receiver's side one may begin before the last one ends
	addresses []string
	rtt       time.Duration
	at        time.Time
}

func newHolePunches(c *HolePunchConfig) *holePunches {
	patience := time.Duration(c.DialTimeoutMs)*time.Millisecond + time.Minute // an attempt, and what upstream gives to its preparation
	return &holePunches{max: c.History, enabled: c.Enabled, patience: patience, active: map[peer.ID]*activePunch{}}
}

func (h *holePunches) attach(n *Node) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.node = n
}

// Trace is called by upstream.
func (h *holePunches) Trace(e *holepunch.Event) {
	defer recovered("hole punch")
	h.mu.Lock()
	defer h.mu.Unlock()
	id := e.Remote
	h.forgetLocked()
	active := h.active[id]
	if _, end := e.Evt.(*holepunch.EndHolePunchEvt); end && active == nil {
		return // another attempt, which it overlapped, was the last
	}
	if active == nil {
		active = &activePunch{initiator: h.initiatesLocked(id)}
		h.active[id] = active
	}
	active.at = time.Now()
	switch event := e.Evt.(type) {
	case *holepunch.DirectDialEvt:
		active.initiator = true // the other side waits
		outcome := "failed"
		if event.Success {
			outcome = "direct"
		}
		h.tellLocked(id, active, outcome, event.Error, event.EllapsedTime)
	case *holepunch.StartHolePunchEvt:
		active.addresses, active.rtt = event.RemoteAddrs, event.RTT
	case *holepunch.EndHolePunchEvt:
		active.attempt++
		outcome := "punched"
		if !event.Success {
			if outcome = "failed"; active.attempt >= holePunchTries {
				outcome = "gave_up"
			}
		}
		h.tellLocked(id, active, outcome, event.Error, event.EllapsedTime)
	case *holepunch.ProtocolErrorEvt:
		h.tellLocked(id, active, "gave_up", event.Error, 0)
	}
}

// relayedIn is told of a connection that a peer opened through a relay. Upstream does nothing about it, without a word, while this node knows of no
// public address of its own.
func (h *holePunches) relayedIn(id peer.ID) {
	h.mu.Lock()
	n := h.node
	h.mu.Unlock()
	if !h.enabled || n == nil || n.hasDirect(id) || n.hasPublicAddress() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tellLocked(id, &activePunch{initiator: true}, "gave_up", "this node knows of no public address of its own: it has none, and no peer has seen it at one yet", 0)
}

// initiatesLocked tells who coordinates the punch: the one that the other connected to through the relay.
func (h *holePunches) initiatesLocked(id peer.ID) bool {
	if h.node == nil {
		return false
	}
	for _, c := range h.node.host.Network().ConnsToPeer(id) {
		if isRelayed(c) {
			return isInbound(c)
		}
	}
	return false
}

// tellLocked remembers and tells the outcome of one attempt.
func (h *holePunches) tellLocked(id peer.ID, active *activePunch, outcome, reason string, took time.Duration) {
	side := "receiver"
	if active.initiator {
		side = "initiator"
	}
	attempt := HolePunchAttempt{
		Peer: id.String(), Side: side, Outcome: outcome, Attempt: active.attempt, Reason: h.reasonLocked(reason, active.addresses), Addresses: active.addresses,
		DurationMs: float64(took.Microseconds()) / 1000, RTTMs: float64(active.rtt.Microseconds()) / 1000, AtMs: time.Now().UnixMilli(),
	}
	if attempt.Addresses == nil {
		attempt.Addresses = []string{}
	}
	switch outcome {
	case "direct", "punched":
		h.succeeded++
		delete(h.active, id)
	case "gave_up":
		h.failed++
		delete(h.active, id)
	}
	if len(h.history) >= h.max {
		h.history = slices.Delete(h.history, 0, len(h.history)-h.max+1)
	}
	h.history = append(h.history, attempt)
	if h.node != nil {
		h.node.emit(Event{Type: HolePunched, Peer: id, State: outcome, HolePunch: &attempt})
	}
}

// reasonLocked puts upstream's reason on one line, names the addresses that did not answer, and adds what is known of the NAT.
func (h *holePunches) reasonLocked(reason string, addresses []string) string {
	if reason == "" {
		return ""
	}
	if reason = oneLine(reason); strings.HasSuffix(reason, context.DeadlineExceeded.Error()) && len(addresses) > 0 {
		reason = "no answer in time from " + strings.Join(addresses, ", ")
	}
	if h.node == nil {
		return reason
	}
	_, _, _, nat := h.node.nat.reach.info()
	ports := h.node.observedPorts()
	var symmetric []string
	if nat.UDP == "endpoint_dependent" || nat.UDP == "unknown" && ports["udp"] > 1 {
		symmetric = append(symmetric, "UDP")
	}
	if nat.TCP == "endpoint_dependent" || nat.TCP == "unknown" && ports["tcp"] > 1 {
		symmetric = append(symmetric, "TCP")
	}
	if len(symmetric) > 0 {
		reason += " (this node's NAT gives " + strings.Join(symmetric, " and ") + " another port for each peer, which cannot be punched)"
	}
	return reason
}

// observedPorts counts the ports that peers see this node at, by protocol.
func (n *Node) observedPorts() map[string]int {
	n.nat.mu.Lock()
	observed := n.nat.observed
	n.nat.mu.Unlock()
	ports := map[string]int{}
	if observed == nil {
		return ports
	}
	seen := map[string]bool{}
	for _, a := range observed.Addrs(1) {
		for name, code := range map[string]int{"udp": ma.P_UDP, "tcp": ma.P_TCP} {
			port, err := a.ValueForProtocol(code)
			if err == nil && manet.IsPublicAddr(a) && !seen[name+port] {
				seen[name+port] = true
				ports[name]++
			}
		}
	}
	return ports
}

// forgetLocked drops what upstream never ended.
func (h *holePunches) forgetLocked() {
	for id, active := range h.active {
		if time.Since(active.at) > h.patience {
			delete(h.active, id)
		}
	}
}

// FilterLocal and FilterRemote are called by upstream: a relayed address is no place for a hole, but it may look public.
func (h *holePunches) FilterLocal(_ peer.ID, addresses []ma.Multiaddr) []ma.Multiaddr {
	return slices.DeleteFunc(slices.Clone(addresses), func(a ma.Multiaddr) bool { return !isDirect(a) })
}

func (h *holePunches) FilterRemote(id peer.ID, addresses []ma.Multiaddr) []ma.Multiaddr {
	return h.FilterLocal(id, addresses)
}

func (h *holePunches) info() HolePunchInfo {
	h.mu.Lock()
	defer h.mu.Unlock()
	history := slices.Clone(h.history)
	if history == nil {
		history = []HolePunchAttempt{}
	}
	return HolePunchInfo{h.enabled, h.succeeded, h.failed, history}
}

// HolePunches returns the attempts at a direct connection with a peer that are remembered, the oldest first.
func (n *Node) HolePunches(id peer.ID) []HolePunchAttempt {
	all := n.nat.punches.info().History
	return slices.DeleteFunc(all, func(a HolePunchAttempt) bool { return a.Peer != id.String() })
}
