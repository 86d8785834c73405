package core

import (
	coreconnmgr "github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// The hooks that go-libp2p calls while it dials and accepts. A panic in one would end the process; a bug then refuses. QUIC calls those of
// accepting in its accept loop, so the only ones that wait for a verdict are InterceptPeerDial, on the goroutine of whoever dials, and
// InterceptUpgraded, which has a goroutine for each connection.

var _ coreconnmgr.ConnectionGater = (*gate)(nil)

func (g *gate) refuseDial(rule *gateRule) bool {
	g.dialsRefused.Add(1)
	if rule != nil {
		rule.refused.Add(1)
	}
	return false
}

func (g *gate) refuseConnection(rule *gateRule) bool {
	g.connectionsRefused.Add(1)
	if rule != nil {
		rule.refused.Add(1)
	}
	return false
}

// InterceptPeerDial is called before a peer's addresses are looked at.
func (g *gate) InterceptPeerDial(id peer.ID) (allow bool) {
	defer recovered("gating")
	if rule := g.ofPeer(id); rule != nil {
		return rule.allow || g.refuseDial(rule)
	}
	open, keeper, _, allowedNets := g.state()
	switch {
	case keeper != nil:
		return g.decidedByAddresses(id) || g.askDial(keeper, id) || g.refuseDial(nil)
	case open, allowedNets: // then the addresses decide
		return true
	}
	return g.refuseDial(nil)
}

// decidedByAddresses tells whether there is a rule for each known address of a peer.
func (g *gate) decidedByAddresses(id peer.ID) bool {
	known := g.node.host.Peerstore().Addrs(id)
	for _, addr := range known {
		if g.ofAddress(addr) == nil {
			return false
		}
	}
	return len(known) > 0
}

// InterceptAddrDial is called for each address, after names are resolved. A keeper was asked about the peer as a whole.
func (g *gate) InterceptAddrDial(id peer.ID, addr ma.Multiaddr) (allow bool) {
	defer recovered("gating")
	if rule := g.rule(id, addr); rule != nil {
		return rule.allow || g.refuseDial(rule)
	}
	open, keeper, _, _ := g.state()
	return open || keeper != nil || g.refuseDial(nil)
}

// InterceptAccept is called before the handshake, when only the address is known: a rule for the peer may overrule one for that.
func (g *gate) InterceptAccept(addrs network.ConnMultiaddrs) (allow bool) {
	defer recovered("gating")
	open, keeper, allowedPeers, _ := g.state()
	if allowedPeers || !isDirect(addrs.RemoteMultiaddr()) {
		return true
	}
	if rule := g.ofAddress(addrs.RemoteMultiaddr()); rule != nil {
		return rule.allow || g.refuseConnection(rule)
	}
	return open || keeper != nil || g.refuseConnection(nil)
}

// InterceptSecured is called when the peer is known.
func (g *gate) InterceptSecured(dir network.Direction, id peer.ID, addrs network.ConnMultiaddrs) (allow bool) {
	defer recovered("gating")
	return g.letThrough(dir, id, addrs.RemoteMultiaddr())
}

func (g *gate) letThrough(dir network.Direction, id peer.ID, addr ma.Multiaddr) bool {
	if rule := g.rule(id, addr); rule != nil {
		return rule.allow || g.refuseConnection(rule)
	}
	open, keeper, _, _ := g.state()
	// What we dialled was judged before.
	return dir == network.DirOutbound || open || keeper != nil || g.refuseConnection(nil)
}

// InterceptUpgraded is called when the connection is ready, before anybody sees it.
func (g *gate) InterceptUpgraded(c network.Conn) (allow bool, _ control.DisconnectReason) {
	defer recovered("gating")
	id, addr, dir := c.RemotePeer(), c.RemoteMultiaddr(), c.Stat().Direction
	if !g.letThrough(dir, id, addr) { // the rules may have changed since
		return false, 0
	}
	_, keeper, _, _ := g.state()
	if keeper == nil || dir == network.DirOutbound || g.rule(id, addr) != nil {
		return true, 0
	}
	r := GateRequest{Peer: id, Address: connAddress(c), Stage: GateConnection, Inbound: true, Relayed: isRelayed(c)}
	return keeper.ask(r) == "" || g.refuseConnection(nil), 0
}

// watch closes a connection whose rule came while it was being opened, between its last hook and the moment when it is among the others.
func (g *gate) watch() {
	g.node.host.Network().Notify(&network.NotifyBundle{ConnectedF: func(_ network.Network, c network.Conn) {
		if g.refuses(c) != nil {
			g.node.spawn("close a refused connection", func() { c.CloseWithError(network.ConnGated) })
		}
	}})
}
