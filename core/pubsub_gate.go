package core

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// readGate holds back the peers of a node's pubsub while a subscription that must not lose is full.
type readGate struct {
	ctx       context.Context
	allowance int // bytes that a stream may bring after it was held back for gateLimit

	mu     sync.Mutex
	shut   int           // guarded by mu; how many want it shut
	opened chan struct{} // guarded by mu; closed when nobody does any more
}

// gateLimit bounds how long a stream is held back: a peer that cannot write for 30 s gives it up, with all that is under way.
const gateLimit = 20 * time.Second

func (g *readGate) init(ctx context.Context, window int) { g.ctx, g.allowance = ctx, window }

func (g *readGate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut++; g.shut == 1 {
		g.opened = make(chan struct{})
	}
}

func (g *readGate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut--; g.shut == 0 {
		close(g.opened)
	}
}

// pass waits while the gate is shut. It returns how much may be read without asking again: after gateLimit, enough for the peer to get on.
func (g *readGate) pass() (allowance int) {
	g.mu.Lock()
	shut, opened := g.shut, g.opened
	g.mu.Unlock()
	if shut == 0 {
		return 0
	}
	timer := time.NewTimer(gateLimit)
	defer timer.Stop()
	select {
	case <-opened:
	case <-timer.C:
		return g.allowance
	case <-g.ctx.Done():
	}
	return 0
}

// gatedHost is a host whose inbound pubsub streams are read through a gate, and whose outbound ones are counted.
type gatedHost struct {
	host.Host
	gate  *readGate
	out   *outbound
	block *blockList
}

func (h *gatedHost) wrap(handler network.StreamHandler) network.StreamHandler {
	return func(s network.Stream) {
		defer h.block.follow(s)()
		handler(&gatedStream{Stream: s, gate: h.gate})
	}
}

func (h *gatedHost) SetStreamHandler(id protocol.ID, handler network.StreamHandler) {
	h.Host.SetStreamHandler(id, h.wrap(handler))
}

func (h *gatedHost) SetStreamHandlerMatch(id protocol.ID, match func(protocol.ID) bool, handler network.StreamHandler) {
	h.Host.SetStreamHandlerMatch(id, match, h.wrap(handler))
}

// NewStream does not dial: upstream greets every new peer with a stream of its own, and one that was just disconnected would be back.
func (h *gatedHost) NewStream(ctx context.Context, id peer.ID, protocols ...protocol.ID) (network.Stream, error) {
	h.askAgain(ctx, id)
	s, err := h.Host.NewStream(network.WithNoDial(ctx, "pubsub"), id, protocols...)
	if err != nil {
		return nil, err
	}
	out := &outboundStream{Stream: s, outbound: h.out}
	h.out.opening(id, out)
	return out, nil
}

// askAgainLimit is how long a peer may need to introduce itself again, before it is greeted all the same.
const askAgainLimit = time.Second

// askAgain has a peer tell again what it subscribes to, if the stream to it ended, as when one of two connections closes: upstream forgets it
// then, while the peer, whose own stream goes on, sees no reason to repeat it.
func (h *gatedHost) askAgain(ctx context.Context, id peer.ID) {
	at, ok := h.out.takeLost(id)
	if !ok {
		return
	}
	introduced, end := h.block.reset(id, at)
	defer end()
	if introduced == nil {
		return // it has opened a new stream since, or will
	}
	timer := time.NewTimer(askAgainLimit)
	defer timer.Stop()
	select {
	case <-introduced:
	case <-timer.C:
	case <-ctx.Done():
	}
}

type gatedStream struct {
	network.Stream
	gate      *readGate
	allowance int // of the one goroutine that reads
}

func (s *gatedStream) Read(p []byte) (int, error) {
	if s.allowance <= 0 {
		s.allowance = s.gate.pass()
	}
	n, err := s.Stream.Read(p)
	s.allowance -= n
	return n, err
}
