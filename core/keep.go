package core

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// keepAttempt bounds one attempt at a kept peer beyond the time its addresses take.
const keepAttempt = 30 * time.Second

// keeper keeps peers connected.
type keeper struct {
	node *Node
	mu   sync.Mutex
	kept map[peer.ID]*keptPeer // guarded by mu
}

type keptPeer struct {
	id       peer.ID
	source   string              // "keep", "bootstrap" or "direct": what it was kept for first
	reasons  map[string]struct{} // guarded by the keeper's mu; of those, what it is kept for
	min, max time.Duration
	stop     context.CancelFunc
	poke     chan struct{} // capacity 1: the connection came or went
	changed  chan struct{} // capacity 1: there are new addresses

	mu        sync.Mutex
	addresses []ma.Multiaddr // guarded by mu
}

// Keep connects to a peer and connects again whenever it is lost, until Release; failures are PeerUnreachable events. addresses are as for
// Connect and replace those given before. The connection is protected from trimming.
func (n *Node) Keep(addresses []string) error {
	id, parsed, err := parsePeerAddresses(addresses)
	if err != nil {
		return err
	}
	return n.keep(id, parsed, "keep", n.cfg.Keep.RetryMinMs, n.cfg.Keep.RetryMaxMs)
}

// Release ends Keep; the connection stays. A bootstrap or direct peer is kept as such. It fails with ErrNotFound if Keep was not called for the peer.
func (n *Node) Release(id peer.ID) error {
	if !n.keeper.release(id, "keep") {
		return Errorf(ErrNotFound, "%s is not kept", id)
	}
	return nil
}

// release takes away one of the reasons to keep a peer, and ends it with the last. It reports false if the peer was not kept for that.
func (k *keeper) release(id peer.ID, reason string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	kept := k.kept[id]
	if kept == nil {
		return false
	}
	_, was := kept.reasons[reason]
	if delete(kept.reasons, reason); len(kept.reasons) == 0 {
		delete(k.kept, id)
		kept.stop()
		k.node.host.ConnManager().Unprotect(id, "keep")
	}
	return was
}

func (n *Node) keep(id peer.ID, addresses []ma.Multiaddr, source string, minMs, maxMs int) error {
	if id == n.ID() {
		return Errorf(ErrInvalid, "%s is this node itself", id)
	}
	n.keeper.mu.Lock()
	defer n.keeper.mu.Unlock()
	if k := n.keeper.kept[id]; k != nil {
		k.mu.Lock()
		k.addresses = addresses
		k.mu.Unlock()
		k.reasons[source] = struct{}{}
		wake(k.changed)
		return nil
	}
	ctx, stop := context.WithCancel(n.ctx)
	k := &keptPeer{
		id: id, source: source, reasons: map[string]struct{}{source: {}}, addresses: addresses, stop: stop,
		poke: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		min: time.Duration(minMs) * time.Millisecond, max: time.Duration(maxMs) * time.Millisecond,
	}
	if !n.spawn("keep a peer", func() { defer stop(); n.keepConnected(ctx, k) }) {
		stop()
		return Errorf(ErrClosed, "the node is closed")
	}
	n.keeper.kept[id] = k
	n.host.ConnManager().Protect(id, "keep")
	return nil
}

// keepConnected is the life of a kept peer.
func (n *Node) keepConnected(ctx context.Context, k *keptPeer) {
	pause, found := k.min, false
	for ctx.Err() == nil {
		k.mu.Lock()
		addresses := k.addresses
		k.mu.Unlock()
		attempt, cancel := context.WithTimeout(ctx, time.Duration(n.cfg.Dial.TimeoutMs)*time.Millisecond+keepAttempt)
		err := n.connect(attempt, k.id, addresses)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			if k.source == "bootstrap" && !found {
				found = true
				n.emit(Event{Type: PeerFound, Peer: k.id, Source: k.source, Addresses: texts(addresses)})
			}
			since := time.Now()
			for n.isConnected(k.id) {
				select {
				case <-k.poke:
				case <-ctx.Done():
					return
				}
			}
			if time.Since(since) > pause { // a peer that hangs up at once is not hammered
				pause = k.min
			}
		} else {
			n.emit(Event{Type: PeerUnreachable, Peer: k.id, Source: k.source, Err: err, RetryMs: pause.Milliseconds()})
		}
		if !n.pauseKeeping(ctx, k, pause) {
			return
		}
		pause = min(2*pause, k.max)
	}
}

// pauseKeeping waits for pause, less if the peer connects to us or has new addresses. It reports false when ctx ends.
func (n *Node) pauseKeeping(ctx context.Context, k *keptPeer, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for !n.isConnected(k.id) {
		select {
		case <-timer.C:
			return true
		case <-k.changed:
			return true
		case <-k.poke:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

func (n *Node) isConnected(id peer.ID) bool {
	c := n.host.Network().Connectedness(id)
	return c == network.Connected || c == network.Limited
}

func wake(signal chan struct{}) {
	select {
	case signal <- struct{}{}:
	default:
	}
}

// connected and disconnected wake the goroutine of a kept peer.
func (k *keeper) connected(id peer.ID)    { k.wake(id) }
func (k *keeper) disconnected(id peer.ID) { k.wake(id) }

func (k *keeper) wake(id peer.ID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if kept := k.kept[id]; kept != nil {
		wake(kept.poke)
	}
}

func (k *keeper) keeps(id peer.ID) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.kept[id] != nil
}

func (k *keeper) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.kept)
}
