package core

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// discoverySource is a place where peers of a topic find each other.
type discoverySource interface {
	// kind is "dht", "rendezvous" or "mdns"; name tells sources of one kind apart.
	kind() string
	name() string
	// advertise says once that this node is of topic, and returns for how long that holds.
	advertise(ctx context.Context, topic string, ttl time.Duration) (time.Duration, error)
	// withdraw takes that back, as far as it is done without waiting, and unless another advertisement of this node says the same.
	withdraw(topic string)
	// stale is poked when advertise is to come again before its time; nil: never.
	stale() <-chan struct{}
	// find calls found with each peer of topic and returns when there are no more for now. state is what the last round returned.
	find(ctx context.Context, topic string, state []byte, found func(peer.AddrInfo)) (next []byte, err error)
}

// sourcesOf returns the sources that are asked for by kind, or all that are on, with points in place of the configured ones if there are any.
// Being asked for, mdns works also on a node that has it off.
func (n *Node) sourcesOf(kinds, points []string) ([]discoverySource, error) {
	wanted := func(kind string) bool { return kinds == nil || slices.Contains(kinds, kind) }
	var sources []discoverySource
	if n.dht != nil && wanted("dht") {
		sources = append(sources, &dhtSource{n.dht})
	} else if n.dht == nil && slices.Contains(kinds, "dht") {
		return nil, Errorf(ErrState, "dht: the node has it off")
	}
	if wanted("rendezvous") {
		if points == nil {
			points = n.cfg.Rendezvous.Points
		}
		if len(points) == 0 && kinds != nil {
			return nil, Errorf(ErrState, "rendezvous: no point is given, and rendezvous.points is empty")
		}
		found, err := n.points(points)
		if err != nil {
			return nil, err
		}
		sources = append(sources, found...)
	}
	if slices.Contains(kinds, "mdns") || kinds == nil && n.cfg.MDNS.Enabled {
		sources = append(sources, &mdnsSource{node: n})
	}
	return sources, nil
}

// points makes a source of each rendezvous point in a list of addresses, of which several may be of one. The node itself is none.
func (n *Node) points(list []string) ([]discoverySource, error) {
	byID := map[peer.ID]*rendezvousPoint{}
	var sources []discoverySource
	for _, text := range list {
		id, addr, err := parsePeerAddress(text)
		if err != nil {
			return nil, err
		}
		p := byID[id]
		if p == nil && id != n.ID() { // one list serves all nodes of a network
			p = n.newPoint(id, nil)
			byID[id] = p
			sources = append(sources, p)
		}
		if p != nil && addr != nil {
			p.addresses = append(p.addresses, addr)
		}
	}
	return sources, nil
}

func errNoSource() error {
	return Errorf(ErrState, "no source of discovery is on: dht.mode, rendezvous.points and mdns.enabled switch them")
}

// pauses grow from one failure to the next.
type pauses struct{ min, max time.Duration }

func (p pauses) after(last time.Duration) time.Duration {
	if last == 0 {
		return p.min
	}
	return min(2*last, p.max)
}

func retryConflict(least, most int) error {
	return &OptionError{"retry_min_ms", fmt.Sprintf("%d is more than retry_max_ms, %d", least, most)}
}

// sleep waits, less if ctx ends or wake comes. It reports whether ctx is still on.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
