package core

import (
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// retireRelayed closes the relayed connections to a peer that there is a direct one to, once they have been idle for relay.client.linger_ms:
// upstream opens new streams on the direct one, but leaves the other to the relay's limits.
func (n *Node) retireRelayed(id peer.ID) {
	linger := time.Duration(n.cfg.Relay.Client.LingerMs) * time.Millisecond
	if linger < 0 {
		return
	}
	if _, already := n.relays.retiring.LoadOrStore(id, true); already {
		return
	}
	n.spawn("retire a relayed connection", func() {
		timer := time.NewTimer(linger)
		defer timer.Stop()
		for n.hasBoth(id) {
			select {
			case <-timer.C:
			case <-n.ctx.Done():
				return
			}
			for _, c := range n.host.Network().ConnsToPeer(id) {
				if isRelayed(c) && len(c.GetStreams()) == 0 && n.hasDirect(id) {
					c.Close()
				}
			}
			timer.Reset(max(linger, 100*time.Millisecond))
		}
		n.relays.retiring.Delete(id)
		if n.hasBoth(id) { // another came meanwhile
			n.retireRelayed(id)
		}
	})
}

// hasBoth tells whether there are relayed and direct connections to a peer.
func (n *Node) hasBoth(id peer.ID) bool {
	return n.hasDirect(id) && slices.ContainsFunc(n.host.Network().ConnsToPeer(id), isRelayed)
}
