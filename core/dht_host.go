package core

import (
	"sync"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// dhtHost is the host that a table of the DHT sees. Upstream has no way to become a server or a client later; here it is always a server, and
// the host gives it the streams of others, or not. Peers hear of it, as the protocol comes and goes among those that identify names.
type dhtHost struct {
	host.Host
	node *Node

	mu       sync.Mutex
	handlers map[protocol.ID]network.StreamHandler // guarded by mu
	streams  map[network.Stream]struct{}           // guarded by mu; inbound, being answered
	on       bool                                  // guarded by mu
	closed   bool                                  // guarded by mu
	answers  sync.WaitGroup                        // of streams; added to under mu while not closed
}

func newDHTHost(n *Node) *dhtHost {
	return &dhtHost{Host: n.host, node: n, handlers: map[protocol.ID]network.StreamHandler{}, streams: map[network.Stream]struct{}{}}
}

// SetStreamHandler is called by the DHT.
func (h *dhtHost) SetStreamHandler(id protocol.ID, handler network.StreamHandler) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.handlers[id] = func(s network.Stream) { h.answer(s, handler) }
	if h.on {
		h.Host.SetStreamHandler(id, h.handlers[id])
	}
}

// RemoveStreamHandler is called by the DHT.
func (h *dhtHost) RemoveStreamHandler(id protocol.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.handlers[id]; ok {
		delete(h.handlers, id)
		h.Host.RemoveStreamHandler(id)
	}
}

func (h *dhtHost) answer(s network.Stream, handler network.StreamHandler) {
	h.mu.Lock()
	if h.closed || !h.on {
		h.mu.Unlock()
		s.Reset()
		return
	}
	h.answers.Add(1)
	h.streams[s] = struct{}{}
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		delete(h.streams, s)
		h.mu.Unlock()
		h.answers.Done()
	}()
	if !guarded("DHT request", func() { handler(s) }) {
		s.Reset()
	}
}

// serve makes the table a server, or a client.
func (h *dhtHost) serve(on bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.on == on {
		return
	}
	h.on = on
	for id, handler := range h.handlers {
		if on {
			h.Host.SetStreamHandler(id, handler)
		} else {
			h.Host.RemoveStreamHandler(id)
		}
	}
	if !on {
		h.resetLocked()
	}
}

func (h *dhtHost) resetLocked() {
	for s := range h.streams {
		s.Reset()
	}
}

func (h *dhtHost) isServing() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.on && !h.closed
}

// close ends serving for good, and waits for what is being answered.
func (h *dhtHost) close() {
	h.serve(false)
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	within(closeLimit, "wait for the DHT's answers", h.answers.Wait)
}
