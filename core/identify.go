package core

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	"github.com/multiformats/go-multistream"
)

// identifyService returns upstream's service, which host.Host does not give out.
func (n *Node) identifyService() (identify.IDService, bool) {
	h, ok := n.host.(interface{ IDService() identify.IDService })
	if !ok {
		return nil, false
	}
	return h.IDService(), true
}

// identified closes when the peer of a connection has said what it is and where it listens, or has failed to.
func (n *Node) identified(c network.Conn) <-chan struct{} {
	service, ok := n.identifyService()
	if !ok {
		none := make(chan struct{})
		close(none)
		return none
	}
	return service.IdentifyWait(c)
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

// identifier asks peers again that have not said what they are. Upstream asks once for each connection, for five seconds. On a slow network, or
// a busy machine, that may be too short; the connection stays then, but pubsub, the DHT, meetings and the search for relays, who all wait to
// hear what a peer speaks, would never hear of it.
type identifier struct {
	node *Node

	mu     sync.Mutex
	asking map[peer.ID]struct{} // guarded by mu
}

const (
	identifyLimit    = 30 * time.Second // of one attempt
	identifyPause    = time.Second      // after the first attempt, twice as long after each that follows
	identifyPauseMax = time.Minute
)

// watchIdentify starts an identifier.
func (n *Node) watchIdentify() error {
	// As all subscriptions, it is drained until it is closed, or it would block whoever emits.
	sub, err := n.host.EventBus().Subscribe(new(event.EvtPeerIdentificationFailed), eventbus.BufSize(64), eventbus.Name("libp2pgo identify"))
	if err != nil {
		return Errorf(ErrInternal, "subscribe to failed identifications: %w", err)
	}
	context.AfterFunc(n.ctx, func() { sub.Close() })
	i := &identifier{node: n, asking: map[peer.ID]struct{}{}}
	n.spawn("failed identifications", func() {
		for e := range sub.Out() {
			if failed, ok := e.(event.EvtPeerIdentificationFailed); ok && !unspoken(failed.Reason) && i.begin(failed.Peer) {
				n.spawn("identify a peer", func() { i.ask(failed.Peer) })
			}
		}
	})
	return nil
}

// begin reports false if the peer is being asked already.
func (i *identifier) begin(id peer.ID) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	_, asking := i.asking[id]
	i.asking[id] = struct{}{}
	return !asking
}

// end reports false, and ends nothing, as long as the peer has not answered and is connected: of a connection that comes after this its own
// failure will tell.
func (i *identifier) end(id peer.ID, answered bool) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !answered && i.node.ctx.Err() == nil && i.node.isConnected(id) {
		return false
	}
	delete(i.asking, id)
	return true
}

// ask asks a peer until it has answered or is gone.
func (i *identifier) ask(id peer.ID) {
	for pause := identifyPause; ; pause = min(2*pause, identifyPauseMax) {
		err := i.node.identify(id)
		if i.end(id, err == nil || unspoken(err)) {
			return
		}
		logger.Debug("identify", "peer", id, "err", err, "again in", pause)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-i.node.ctx.Done():
		}
		timer.Stop()
	}
}

// identify asks a connected peer what it is. Upstream has no call for that, but it reads what a peer pushes by itself, which is the same message.
func (n *Node) identify(id peer.ID) (err error) {
	defer Recovered("identify", &err)
	ctx, cancel := context.WithTimeout(network.WithAllowLimitedConn(n.ctx, "identify"), identifyLimit)
	defer cancel()
	s, err := n.host.NewStream(network.WithNoDial(ctx, "identify"), id, identify.ID)
	if err != nil {
		return err
	}
	s.SetDeadline(time.Now().Add(identifyLimit))
	stop := context.AfterFunc(ctx, func() { s.Reset() })
	defer stop()
	_, handle, err := n.host.Mux().Negotiate(requestFor(identify.IDPush))
	if err != nil {
		s.Reset()
		return err
	}
	answer := &identifyAnswer{Stream: s}
	if err := handle(identify.IDPush, answer); err != nil {
		s.Reset()
		return err
	}
	if answer.failed {
		return errors.New("no answer, or none that can be read")
	}
	return nil
}

// requestFor is what a peer would send to speak a protocol with this node, for the host to find who serves that.
func requestFor(name protocol.ID) io.ReadWriteCloser {
	var text strings.Builder
	for _, token := range []protocol.ID{multistream.ProtocolID, name} {
		text.WriteByte(byte(len(token) + 1)) // both are short
		text.WriteString(string(token) + "\n")
	}
	return struct {
		io.Reader
		io.Writer
		io.Closer
	}{strings.NewReader(text.String()), io.Discard, io.NopCloser(nil)}
}

// identifyAnswer is the stream that a peer's answer is read from. Upstream resets it when that fails.
type identifyAnswer struct {
	network.Stream
	failed bool
}

// SetDeadline leaves the time that identify allows: upstream's is the one that was too short.
func (a *identifyAnswer) SetDeadline(time.Time) error { return nil }

func (a *identifyAnswer) Reset() error {
	a.failed = true
	return a.Stream.Reset()
}

func (a *identifyAnswer) ResetWithError(code network.StreamErrorCode) error {
	a.failed = true
	return a.Stream.ResetWithError(code)
}
