package core

import (
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// PubsubAddDirect passes every message of a topic to a peer outside the mesh, whatever its score, and stays connected to it. The peer has to do the
// same with this node. addresses are as for Connect. It fails with ErrState if the router is not gossipsub.
func (n *Node) PubsubAddDirect(addresses []string) error {
	p, err := n.pubsubOn()
	if err != nil {
		return err
	}
	id, parsed, err := parsePeerAddresses(addresses)
	if err != nil {
		return err
	}
	return p.addDirect(id, parsed)
}

func (p *publisher) addDirect(id peer.ID, addresses []ma.Multiaddr) error {
	n := p.node
	if n.cfg.Pubsub.Router != "gossipsub" {
		return Errorf(ErrState, "direct peer %s: there are none with pubsub.router %s", id, n.cfg.Pubsub.Router)
	}
	// Upstream looks after the connection every five minutes; the keeper does at once.
	if err := n.keep(id, addresses, "direct", n.cfg.Keep.RetryMinMs, n.cfg.Keep.RetryMaxMs); err != nil {
		return err
	}
	if err := p.ps.AddDirectPeer(peer.AddrInfo{ID: id, Addrs: addresses}); err != nil {
		return ctxError(n.ctx, "direct peer %s", id)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.direct[id] = struct{}{}
	return nil
}

// startDirect adds the direct peers of the options.
func (p *publisher) startDirect() error {
	addresses := map[peer.ID][]ma.Multiaddr{}
	for _, text := range p.node.cfg.Pubsub.DirectPeers {
		id, addr, err := parsePeerAddress(text) // checked before
		if err != nil {
			return err
		}
		addresses[id] = append(addresses[id], addr)
	}
	for id, list := range addresses {
		if err := p.addDirect(id, slices.DeleteFunc(list, func(a ma.Multiaddr) bool { return a == nil })); err != nil {
			return err
		}
	}
	return nil
}

// PubsubRemoveDirect ends PubsubAddDirect; the connection stays until it is lost. It fails with ErrNotFound if the peer is not direct.
func (n *Node) PubsubRemoveDirect(id peer.ID) error {
	p, err := n.pubsubOn()
	if err != nil {
		return err
	}
	p.mu.Lock()
	_, ok := p.direct[id]
	delete(p.direct, id)
	p.mu.Unlock()
	if !ok {
		return Errorf(ErrNotFound, "%s is not a direct peer", id)
	}
	if err := p.ps.RemoveDirectPeer(id); err != nil {
		return ctxError(n.ctx, "direct peer %s", id)
	}
	n.keeper.release(id, "direct")
	return nil
}
