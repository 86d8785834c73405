package core

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// FindOptions are the options of Find.
type FindOptions struct {
	Sources    []string `json:"sources" enum:"dht,rendezvous,mdns" doc:"where; null: every source that is on"`
	Points     []string `json:"points" doc:"rendezvous points in place of the configured ones"`
	Limit      int      `json:"limit" min:"0" max:"1000000" doc:"peers after which the search ends; 0: no limit"`
	Follow     bool     `json:"follow" doc:"look again and again until closed, instead of ending when every source has answered"`
	IntervalMs int      `json:"interval_ms" min:"10" max:"86400000" doc:"longest pause between two looks under follow"`
	RetryMinMs int      `json:"retry_min_ms" min:"10" max:"86400000" doc:"first pause, between looks and after a failure; it doubles"`
}

// ParseFindOptions reads FindOptions from strict JSON; empty is the defaults.
func ParseFindOptions(doc []byte) (FindOptions, error) {
	o := FindOptions{IntervalMs: 60_000, RetryMinMs: 1000}
	err := parseOptions(doc, &o, "")
	if err == nil {
		err = checkSources(o.Sources, o.Points, 0, 0)
	}
	if err == nil && o.RetryMinMs > o.IntervalMs {
		err = &OptionError{"retry_min_ms", strconv.Itoa(o.RetryMinMs) + " is more than interval_ms, " + strconv.Itoa(o.IntervalMs)}
	}
	return o, err
}

// PeerSearch is a running look for peers of a topic.
type PeerSearch struct {
	n       *Node
	topic   string
	o       FindOptions
	sources []*sourceState
	events  *mailbox[DiscoveryEvent]
	ctx     context.Context
	cancel  context.CancelFunc
	unhook  func()
	working sync.WaitGroup
	running atomic.Int32
	once    sync.Once

	mu     sync.Mutex
	known  map[peer.ID]struct{} // guarded by mu
	failed int                  // guarded by mu; failures; without Follow each source has one at most
	err    error                // guarded by mu; of the last source that failed
}

// searchKnownMax bounds the peers that a search remembers as found; beyond it all are forgotten and found again.
const searchKnownMax = 100_000

// Find looks for peers of topic at every source that is on, or that is asked for. Each peer is told of once. The search ends, with Closed, when
// every source has answered or Limit is reached; with Follow only then or by Close. When no source could be asked, the error is that of the last.
func (n *Node) Find(topic string, o FindOptions, inbox Inbox[DiscoveryEvent]) (*PeerSearch, error) {
	if err := checkTopic(topic); err != nil {
		return nil, err
	}
	sources, err := n.sourcesOf(o.Sources, o.Points)
	if err != nil {
		return nil, err
	}
	if len(sources) == 0 {
		return nil, errNoSource()
	}
	s := &PeerSearch{n: n, topic: topic, o: o, known: map[peer.ID]struct{}{}}
	s.ctx, s.cancel = context.WithCancel(n.ctx)
	s.events = newDiscoveryMailbox("search", inbox, Block) // a peer is told of once: it must not be lost
	s.working.Add(len(sources))                            // before Close can wait for them
	if err = n.onClose(&s.unhook, s.Close); err != nil {
		s.cancel()
		s.events.close(err)
		return nil, err
	}
	for _, source := range sources {
		s.sources = append(s.sources, &sourceState{source: source})
	}
	s.running.Store(int32(len(s.sources)))
	p := pauses{millis(o.RetryMinMs), millis(o.IntervalMs)}
	for _, state := range s.sources {
		safeGo("find", func() {
			defer s.working.Done()
			defer s.ended()
			n.keepFinding(s.ctx, state, topic, p, p, o.Follow, nil,
				func(info peer.AddrInfo) bool { return s.found(state, info) }, s.tell)
		})
	}
	return s, nil
}

func (s *PeerSearch) tell(e DiscoveryEvent) {
	if e.Type == DiscoveryFailed {
		s.mu.Lock()
		s.failed++
		s.err = e.Err
		s.mu.Unlock()
	}
	s.events.put(context.Background(), e, 0) // waits for room, or for Close
}

// found reports whether the peer is news.
func (s *PeerSearch) found(state *sourceState, info peer.AddrInfo) bool {
	if info.ID == s.n.ID() {
		return false
	}
	s.mu.Lock()
	_, known := s.known[info.ID]
	full := s.o.Limit > 0 && len(s.known) >= s.o.Limit
	if !known && !full {
		if len(s.known) >= searchKnownMax {
			clear(s.known)
		}
		s.known[info.ID] = struct{}{}
	}
	last := s.o.Limit > 0 && len(s.known) >= s.o.Limit
	s.mu.Unlock()
	if !known && !full {
		s.events.put(context.Background(), DiscoveryEvent{Type: DiscoveryFound, Peer: info.ID, Source: state.source.name(), Addresses: texts(info.Addrs)}, 0)
	}
	if last {
		s.cancel()
	}
	return !known
}

// ended is called by each source's goroutine; the last one ends the search.
func (s *PeerSearch) ended() {
	if s.running.Add(-1) > 0 {
		return
	}
	s.mu.Lock()
	err, answered := s.err, s.failed < len(s.sources) || len(s.known) > 0
	s.mu.Unlock()
	if s.ctx.Err() != nil || answered {
		err = nil
	}
	s.cancel()
	s.events.put(context.Background(), DiscoveryEvent{Type: discoveryEnd, Err: err}, 0) // waits for room, or for Close
}

// Close ends the search.
func (s *PeerSearch) Close() {
	s.once.Do(func() {
		s.unhook()
		s.cancel()
	})
	s.events.close(nil) // first: a source may wait for room
	s.working.Wait()
}

// PeerSearchInfo is what Info returns; docs/info.md explains the keys.
type PeerSearchInfo struct {
	Kind    string       `json:"kind"`
	Topic   string       `json:"topic"`
	Found   int          `json:"found"`
	Running bool         `json:"running"`
	Sources []SourceInfo `json:"sources"`
	Events  MailboxInfo  `json:"events"`
}

// Info returns a PeerSearchInfo.
func (s *PeerSearch) Info() any {
	s.mu.Lock()
	found := len(s.known)
	s.mu.Unlock()
	return PeerSearchInfo{"peer_search", s.topic, found, s.ctx.Err() == nil, sourceInfos(s.sources), mailboxInfo(s.events)}
}

// keepFinding looks at one source, once or until ctx ends. found is called with each peer and reports whether it is news; news shorten the pauses
// between looks. Those after failures grow apart from them.
func (n *Node) keepFinding(ctx context.Context, s *sourceState, topic string, looks, failures pauses, follow bool, wake <-chan struct{}, found func(peer.AddrInfo) bool, tell func(DiscoveryEvent)) {
	var state []byte
	var looked, failed time.Duration // the last pause of each kind; 0: none yet
	for ctx.Err() == nil {
		news := false
		attempt, cancel := context.WithTimeout(ctx, discoveryAttempt)
		next, err := s.source.find(attempt, topic, state, func(info peer.AddrInfo) {
			s.met()
			news = found(info) || news
		})
		cancel()
		state = next
		if ctx.Err() != nil {
			return
		}
		var pause time.Duration
		if err != nil {
			s.failed(err)
			failed = failures.after(failed)
			pause = failed
			nextMs := pause.Milliseconds()
			if !follow {
				nextMs = -1
			}
			tell(DiscoveryEvent{Type: DiscoveryFailed, Source: s.source.name(), Err: sourceError(s.source, err), NextMs: nextMs})
		} else {
			s.looked()
			failed = 0
			looked = looks.after(looked)
			if news {
				looked = looks.min
			}
			pause = looked
		}
		if !follow || !sleep(ctx, pause, wake) {
			return
		}
	}
}
