package core

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// Service answers streams or requests under names of its own. Its methods may be called from any goroutine.
type Service struct {
	node      *Node
	protocols []string
	open      atomic.Int64
	accepted  atomic.Int64
	refused   atomic.Int64

	mu     sync.Mutex // held while it starts and while it closes
	closed bool       // guarded by mu
	remove func()     // guarded by mu
}

// ServeOptions are the options of Serve.
type ServeOptions struct {
	MaxStreams int `json:"max_streams" doc:"streams open at a time, beyond which the peer's is reset with code 0x1002; 0: no limit" min:"0" max:"1000000"`
}

// ParseServeOptions reads ServeOptions from strict JSON; empty is the defaults.
func ParseServeOptions(doc []byte) (ServeOptions, error) {
	o := ServeOptions{MaxStreams: 1024}
	err := parseOptions(doc, &o, "")
	return o, err
}

// Serve has handler called, on a goroutine of its own, with each stream that a peer opens under one of protocols; a name that ends in *
// stands for all names with that prefix that no other name fits better. The stream stays open after handler has returned; Close of the node
// waits for that. It fails with ErrExists if a name is served already.
func (n *Node) Serve(protocols []string, o ServeOptions, handler func(*Stream)) (*Service, error) {
	s := &Service{node: n, protocols: protocols}
	err := s.start(func(raw network.Stream, open int64, ended func()) {
		if o.MaxStreams > 0 && open > int64(o.MaxStreams) {
			ended()
			s.refused.Add(1)
			raw.ResetWithError(network.StreamResourceLimitExceeded)
			return
		}
		s.accepted.Add(1)
		st := newStream(n, raw, ended)
		if !guarded("stream handler", func() { handler(st) }) {
			st.Reset(0)
		}
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func validProtocol(name string) bool {
	return name != "" && len(name) <= 512 && !strings.ContainsAny(name, "\n\r")
}

// takesName reports whether a name that a peer chose is one under prefix. It becomes a line of an event's text.
func takesName(name, prefix string) bool {
	return strings.HasPrefix(name, prefix) && validProtocol(name) && utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl)
}

// start registers the names. accept runs on a goroutine of its own for each stream, which Close of the node waits for. open counts the streams
// of the service, that one included; accept has to see to it that ended is called once.
func (s *Service) start(accept func(raw network.Stream, open int64, ended func())) error {
	n := s.node
	if len(s.protocols) == 0 {
		return Errorf(ErrInvalid, "no protocol to serve")
	}
	for _, p := range s.protocols {
		if !validProtocol(p) || p == "*" {
			return Errorf(ErrInvalid, "protocol %s: a name is 1 to 512 bytes on one line, with more than a * in it", quoteShort(p))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := n.served.add(s.protocols); err != nil {
		return err
	}
	for _, name := range n.host.Mux().Protocols() { // the node's own, such as identify
		if slices.Contains(s.protocols, string(name)) {
			n.served.remove(s.protocols)
			return Errorf(ErrExists, "protocol %s is served by the node itself", name)
		}
	}
	if err := n.onClose(&s.remove, func() { s.Close() }); err != nil {
		n.served.remove(s.protocols)
		return err
	}
	handle := func(raw network.Stream) {
		if !n.enter() {
			raw.ResetWithError(network.StreamShutdown)
			return
		}
		defer n.wg.Done()
		defer recovered("stream handler")
		accept(raw, s.open.Add(1), func() { s.open.Add(-1) })
	}
	for _, p := range s.protocols {
		if prefix, ok := strings.CutSuffix(p, "*"); ok {
			n.host.SetStreamHandlerMatch(protocol.ID(p), func(id protocol.ID) bool {
				return takesName(string(id), prefix) && n.served.best(string(id), prefix)
			}, handle)
		} else {
			n.host.SetStreamHandler(protocol.ID(p), handle)
		}
	}
	return nil
}

// Close stops serving. Streams and requests that have come stay.
func (s *Service) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.remove()
	for _, p := range s.protocols {
		s.node.host.RemoveStreamHandler(protocol.ID(p))
	}
	s.node.served.remove(s.protocols)
	return nil
}

// places are what a service of the node itself has for streams at a time. A peer may take no more of them than it leaves free, so that none can take
// them all, and one that has none gets one while there are any.
type places struct {
	most int

	mu    sync.Mutex
	taken int             // guarded by mu
	by    map[peer.ID]int // guarded by mu
}

// take reports whether the peer gets a place, which leave gives back.
func (p *places) take(id peer.ID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.by[id] >= p.most-p.taken {
		return false
	}
	if p.by == nil {
		p.by = map[peer.ID]int{}
	}
	p.by[id]++
	p.taken++
	return true
}

func (p *places) leave(id peer.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if p.by[id]--; p.by[id] == 0 {
		delete(p.by, id)
	}
}

// enter counts the calling goroutine, which is not ours, among those that Close waits for, until it calls n.wg.Done. It reports false if the
// node is closing.
func (n *Node) enter() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closing {
		return false
	}
	n.wg.Add(1)
	return true
}

// ServiceInfo is what Info returns; docs/info.md explains the keys.
type ServiceInfo struct {
	Kind      string   `json:"kind"`
	Protocols []string `json:"protocols"`
	Open      int64    `json:"open"`
	Accepted  int64    `json:"accepted"`
	Refused   int64    `json:"refused"`
}

// Info returns a ServiceInfo.
func (s *Service) Info() any {
	return ServiceInfo{"service", s.protocols, s.open.Load(), s.accepted.Load(), s.refused.Load()}
}

// servedNames are the names a node serves.
type servedNames struct {
	mu    sync.Mutex
	names map[string]struct{} // guarded by mu
}

func (s *servedNames) add(names []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, name := range names {
		if _, ok := s.names[name]; ok {
			return Errorf(ErrExists, "protocol %s is served already", name)
		}
		for _, other := range names[:i] {
			if other == name {
				return Errorf(ErrInvalid, "protocol %s is named twice", name)
			}
		}
	}
	if s.names == nil {
		s.names = map[string]struct{}{}
	}
	for _, name := range names {
		s.names[name] = struct{}{}
	}
	return nil
}

// best tells whether no served name fits id better than a prefix does: upstream takes the one that was registered first.
func (s *servedNames) best(id, prefix string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, exact := s.names[id]; exact && !strings.HasSuffix(id, "*") {
		return false
	}
	for name := range s.names {
		if other, ok := strings.CutSuffix(name, "*"); ok && len(other) > len(prefix) && takesName(id, other) {
			return false
		}
	}
	return true
}

func (s *servedNames) remove(names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		delete(s.names, name)
	}
}
