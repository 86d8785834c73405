package core

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
)

// Ping measures the round-trip time to a peer, dialling first if needed (libp2p/specs, ping).
func (n *Node) Ping(ctx context.Context, id peer.ID) (time.Duration, error) {
	if !n.isConnected(id) {
		if err := n.connect(ctx, id, nil); err != nil {
			return 0, err
		}
	}
	ctx, cancel := n.join(ctx)
	defer cancel() // ends upstream's endless pinging
	select {
	case result, ok := <-ping.Ping(ctx, n.host, id):
		if !ok || result.Error != nil {
			return 0, translate(ctx, result.Error, ErrReset, "ping %s", id)
		}
		return result.RTT, nil
	case <-ctx.Done():
		return 0, ctxError(ctx, "ping %s", id)
	}
}
