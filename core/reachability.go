package core

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	ma "github.com/multiformats/go-multiaddr"
)

// reachability is whether others can dial the node: as a whole, by AutoNAT version 1 or by option, and by address, by version 2. What
// version 2 found goes before what version 1 guesses.
type reachability struct {
	forced bool
	v2     bool

	mu        sync.Mutex
	v1        network.Reachability // guarded by mu
	addresses map[string]string    // guarded by mu; "public", "private" or "unknown" by address
	nat       NATTypes             // guarded by mu
	overall   string               // guarded by mu
	changed   chan struct{}        // guarded by mu; closed at the next change of anything that waits may look at
}

func newReachability(c *NATConfig) *reachability {
	return &reachability{
		forced: c.Reachability != "auto", v2: c.AutoNATV2, addresses: map[string]string{}, overall: "unknown",
		nat: NATTypes{"unknown", "unknown"}, changed: make(chan struct{}),
	}
}

// AddressReachability is what is known of one public address of the node.
type AddressReachability struct {
	Address      string `json:"address"`
	Reachability string `json:"reachability"`
}

// update takes what the host found out and returns what is news to others.
func (r *reachability) update(e any) (told []Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e := e.(type) {
	case event.EvtLocalReachabilityChanged:
		r.v1 = e.Reachability
	case event.EvtHostReachableAddrsChanged:
		told = r.updateAddressesLocked(e)
	case event.EvtNATDeviceTypeChanged:
		name := "unknown"
		switch e.NatDeviceType {
		case network.NATDeviceTypeEndpointIndependent:
			name = "endpoint_independent"
		case network.NATDeviceTypeEndpointDependent:
			name = "endpoint_dependent"
		}
		protocol, known := "udp", &r.nat.UDP
		if e.TransportProtocol == network.NATTransportTCP {
			protocol, known = "tcp", &r.nat.TCP
		}
		if *known != name {
			*known = name
			told = append(told, Event{Type: NATTypeChanged, Source: protocol, State: name})
		}
	}
	if overall, source := r.overallLocked(); overall != r.overall {
		r.overall = overall
		told = append(told, Event{Type: ReachabilityChanged, State: overall, Source: source})
	}
	r.wakeLocked()
	return told
}

func (r *reachability) updateAddressesLocked(e event.EvtHostReachableAddrsChanged) (told []Event) {
	now := map[string]string{}
	for state, list := range map[string][]ma.Multiaddr{"public": e.Reachable, "private": e.Unreachable, "unknown": e.Unknown} {
		for _, a := range list {
			now[a.String()] = state
		}
	}
	for address, state := range now {
		if before, known := r.addresses[address]; before != state && (known || state != "unknown") {
			told = append(told, Event{Type: AddressReachabilityChanged, Address: address, State: state})
		}
	}
	slices.SortFunc(told, func(a, b Event) int { return strings.Compare(a.Address, b.Address) })
	r.addresses = now
	return told
}

// overallLocked makes one word of all that is known, and says where it is from.
func (r *reachability) overallLocked() (state, source string) {
	if r.forced {
		return reachabilityName(r.v1), "option"
	}
	private, unknown := false, false
	for _, state := range r.addresses {
		switch state {
		case "public":
			return "public", "autonat_v2"
		case "private":
			private = true
		default:
			unknown = true
		}
	}
	switch {
	case private && !unknown:
		return "private", "autonat_v2"
	case r.v1 != network.ReachabilityUnknown:
		return reachabilityName(r.v1), "autonat"
	}
	return "unknown", "none"
}

func (r *reachability) wakeLocked() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// wake has the waiting look again.
func (r *reachability) wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wakeLocked()
}

// state returns the overall reachability and a channel that is closed when it may have changed.
func (r *reachability) state() (string, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.overall, r.changed
}

func (r *reachability) info() (overall, source string, addresses []AddressReachability, nat NATTypes) {
	r.mu.Lock()
	defer r.mu.Unlock()
	overall, source = r.overallLocked()
	addresses = []AddressReachability{}
	for a, state := range r.addresses {
		addresses = append(addresses, AddressReachability{a, state})
	}
	slices.SortFunc(addresses, func(a, b AddressReachability) int { return strings.Compare(a.Address, b.Address) })
	return overall, source, addresses, r.nat
}

// Reachability returns whether others can dial the node: "public", "private" or "unknown".
func (n *Node) Reachability() string {
	state, _ := n.nat.reach.state()
	return state
}

// natWaits are what WaitReachable can wait for.
var natWaits = map[string]func(state string, relayed bool) bool{
	"":          func(state string, relayed bool) bool { return state == "public" || relayed },
	"reachable": func(state string, relayed bool) bool { return state == "public" || relayed },
	"public":    func(state string, _ bool) bool { return state == "public" },
	"relayed":   func(_ string, relayed bool) bool { return relayed },
	"known":     func(state string, _ bool) bool { return state != "unknown" },
}

// CheckReachableWait fails with ErrInvalid if what is none of the things that WaitReachable can wait for.
func CheckReachableWait(what string) error {
	if natWaits[what] == nil {
		return Errorf(ErrInvalid, "what: %s is none of reachable, public, relayed, known", quoteShort(what))
	}
	return nil
}

// WaitReachable waits until others can reach the node, and returns its reachability. what is "reachable", also "": directly or through a relay
// that it holds a place with; "public": directly; "relayed": through a relay; "known": until it is known to be public or private.
func (n *Node) WaitReachable(ctx context.Context, what string) (string, error) {
	if err := CheckReachableWait(what); err != nil {
		return "", err
	}
	is := natWaits[what]
	ctx, cancel := n.join(ctx)
	defer cancel()
	for {
		state, changed := n.nat.reach.state()
		if is(state, len(n.relays.addresses()) > 0) {
			return state, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", ctxError(ctx, "the node is not reachable yet (reachability %s)", state)
		}
	}
}
