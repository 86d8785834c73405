package core

import (
	"context"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/holepunch"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// plainDialLimit bounds the dial that comes before the first attempt at a hole, for a peer that can be dialled after all. QUIC takes a round
// trip or two for it, TCP three. A peer behind a NAT, who most often knows its public address by then, does not answer it, and has to wait for its end.
const plainDialLimit = time.Second

// beforePunch marks that dial. It must not come from the port that the hole is made at: a NAT that follows TCP's sequence numbers, as Linux does, remembers it for
// two minutes, lets the peer's first packet in too early, and takes the answer for one that does not belong there.
const beforePunch = "before a hole is punched"

// startHolePunching starts upstream's service (DCUtR), with a host of ours. libp2p.EnableHolePunching would give it a host whose plain dial lasts as
// long as an attempt at a hole.
func (n *Node) startHolePunching() error {
	c := n.cfg.NAT.HolePunch
	if !c.Enabled || !n.cfg.Relay.Client.Enabled {
		return nil
	}
	identify, ok := n.identifyService()
	if !ok {
		return Errorf(ErrInternal, "hole punching: the host has no identify service")
	}
	punches := n.nat.punches
	service, err := holepunch.NewService(punchingHost{n.host}, identify, n.holePunchAddresses, holepunch.WithTracer(punches), holepunch.WithAddrFilter(punches),
		holepunch.DirectDialTimeout(time.Duration(c.DialTimeoutMs)*time.Millisecond))
	if err != nil {
		return Errorf(ErrInternal, "hole punching: %w", err)
	}
	// Beside the host's close, not before it: the service waits for its streams, of which a silent peer holds one for a minute while it is connected.
	if !n.spawn("hole punching", func() {
		<-n.ctx.Done()
		service.Close()
	}) {
		service.Close()
	}
	return nil
}

// punchingHost is the host of the hole punching service.
type punchingHost struct{ host.Host }

func (h punchingHost) Connect(ctx context.Context, to peer.AddrInfo) error {
	if punch, _, _ := network.GetSimultaneousConnect(ctx); !punch {
		bounded, cancel := context.WithTimeout(ctx, plainDialLimit)
		defer cancel()
		ctx = network.WithForceDirectDial(bounded, beforePunch)
	}
	return h.Host.Connect(ctx, to)
}

// holePunchAddresses are those at which a hole can be made: the public ones that the node tells, reachable or not, and all at which as much as one
// peer saw it. Upstream's host has the same list for its own service only.
func (n *Node) holePunchAddresses() []ma.Multiaddr {
	var addresses []ma.Multiaddr
	if h, ok := n.host.(interface{ AllAddrs() []ma.Multiaddr }); ok {
		addresses = n.advertised.factory(h.AllAddrs())
	}
	n.nat.mu.Lock()
	observed := n.nat.observed
	n.nat.mu.Unlock()
	if observed != nil {
		addresses = append(addresses, observed.Addrs(1)...)
	}
	return slices.DeleteFunc(ma.Unique(addresses), func(a ma.Multiaddr) bool { return !manet.IsPublicAddr(a) })
}

// hasPublicAddress tells whether the node, as far as it knows, is anywhere on the Internet, be it behind a NAT.
func (n *Node) hasPublicAddress() bool { return slices.ContainsFunc(n.holePunchAddresses(), isDirect) }
