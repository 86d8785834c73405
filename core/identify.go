package core

import (
	"context"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
)

// identified closes when the peer of a connection has said what it is and where it listens, or has failed to.
func (n *Node) identified(c network.Conn) <-chan struct{} {
	h, ok := n.host.(interface{ IDService() identify.IDService })
	if !ok {
		none := make(chan struct{})
		close(none)
		return none
	}
	return h.IDService().IdentifyWait(c)
}

// awaitIdentified waits until a peer has said where it listens, on each connection that there is.
func (n *Node) awaitIdentified(ctx context.Context, id peer.ID) {
	for _, c := range n.host.Network().ConnsToPeer(id) {
		select {
		case <-n.identified(c):
		case <-ctx.Done():
			return
		}
	}
}
