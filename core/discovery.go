package core

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// DiscoveryEventType says what a DiscoveryEvent is.
type DiscoveryEventType int

const (
	// DiscoveryFound is a peer of the topic: Peer, Source, Addresses.
	DiscoveryFound DiscoveryEventType = iota + 1
	// DiscoveryAdvertised tells that a source knows of this node: Source, NextMs until it is told again.
	DiscoveryAdvertised
	// DiscoveryFailed is a source that failed: Source, Err, NextMs until the next try.
	DiscoveryFailed
	// DiscoveryConnected is a peer of a meeting that is connected: Peer, Source, Address, Inbound, Relayed, Limited.
	DiscoveryConnected
	// DiscoveryLeft is a peer of a meeting that has left it, or is no longer connected: Peer.
	DiscoveryLeft
	// DiscoveryUnreachable is a peer of a meeting that did not answer: Peer, Err, NextMs until the next try, -1 for none.
	DiscoveryUnreachable
)

// DiscoveryEvent is what discovery tells. Which fields a type uses stands beside it.
type DiscoveryEvent struct {
	Type                      DiscoveryEventType
	Peer                      peer.ID
	Source                    string // "dht", "mdns", "rendezvous <peer id>", "peers"
	Addresses                 []string
	Address                   string
	Inbound, Relayed, Limited bool
	Err                       error
	NextMs                    int64
}

// discoveryEventsMax is how many events may wait; then the oldest are dropped.
const discoveryEventsMax = 1024

// discoveryEnd is the last event of a search: what came before it is delivered, and then Closed is called.
const discoveryEnd DiscoveryEventType = -1

func newDiscoveryMailbox(name string, inbox Inbox[DiscoveryEvent], overflow Overflow) (box *mailbox[DiscoveryEvent]) {
	deliver := inbox.Deliver
	made := make(chan struct{})
	inbox.Deliver = func(e DiscoveryEvent) {
		<-made
		if e.Type == discoveryEnd {
			box.close(e.Err)
		} else if deliver != nil {
			deliver(e)
		}
	}
	box = newMailbox(name, inbox, overflow, discoveryEventsMax, 0, nil)
	close(made)
	return box
}

// AdvertiseOptions are the options of Advertise.
type AdvertiseOptions struct {
	Sources    []string `json:"sources" enum:"dht,rendezvous,mdns" doc:"where; null: every source that is on"`
	Points     []string `json:"points" doc:"rendezvous points in place of the configured ones"`
	TTLMs      int64    `json:"ttl_ms" min:"1000" max:"259200000" doc:"life of an advertisement where it is not renewed"`
	RetryMinMs int      `json:"retry_min_ms" min:"10" max:"86400000" doc:"first pause after a failure; it doubles"`
	RetryMaxMs int      `json:"retry_max_ms" min:"10" max:"86400000" doc:"longest pause"`
}

// ParseAdvertiseOptions reads AdvertiseOptions from strict JSON; empty is the defaults.
func ParseAdvertiseOptions(doc []byte) (AdvertiseOptions, error) {
	o := AdvertiseOptions{TTLMs: rendezvousTTL.Milliseconds(), RetryMinMs: 1000, RetryMaxMs: 60_000}
	err := parseOptions(doc, &o, "")
	if err == nil {
		err = checkSources(o.Sources, o.Points, o.RetryMinMs, o.RetryMaxMs)
	}
	return o, err
}

// checkSources checks what the options of several calls have in common.
func checkSources(sources, points []string, retryMin, retryMax int) error {
	if sources != nil && len(sources) == 0 || hasTwice(sources) {
		return &OptionError{"sources", "name at least one, each once"}
	}
	for i, text := range points {
		if err := checkPoint(text, "points["+strconv.Itoa(i)+"]"); err != nil {
			return err
		}
	}
	if points != nil && sources != nil && !slices.Contains(sources, "rendezvous") {
		return &OptionError{"points", "conflicts with sources, which does not name rendezvous"}
	}
	if retryMin > retryMax {
		return retryConflict(retryMin, retryMax)
	}
	return nil
}

// Advertisement tells sources that this node is of a topic, again and again, until Close.
type Advertisement struct {
	n       *Node
	topic   string
	granted time.Duration // by Register
	sources []*sourceState
	events  *mailbox[DiscoveryEvent]
	ctx     context.Context
	cancel  context.CancelFunc
	unhook  func()
	working sync.WaitGroup
	once    sync.Once
	over    chan struct{} // closed when all that Close does is done
}

// GrantedMs returns for how long a rendezvous point has granted what Register asked, in milliseconds.
func (a *Advertisement) GrantedMs() int64 { return a.granted.Milliseconds() }

// Advertise tells every source that is on, or that is asked for, that this node is of topic, and again before that ends or when the node's
// addresses change, until Close. It fails with ErrState if no source is on.
func (n *Node) Advertise(topic string, o AdvertiseOptions, inbox Inbox[DiscoveryEvent]) (*Advertisement, error) {
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
	return n.advertiseAt(sources, topic, millis(o.TTLMs), pauses{millis(o.RetryMinMs), millis(o.RetryMaxMs)}, 0, inbox)
}

// advertiseAt starts an Advertisement. granted > 0: it was said already, and holds so long.
func (n *Node) advertiseAt(sources []discoverySource, topic string, ttl time.Duration, p pauses, granted time.Duration, inbox Inbox[DiscoveryEvent]) (*Advertisement, error) {
	a := &Advertisement{n: n, topic: topic, granted: granted, over: make(chan struct{})}
	a.ctx, a.cancel = context.WithCancel(n.ctx)
	a.events = newDiscoveryMailbox("discovery events", inbox, DropOldest)
	for _, s := range sources {
		a.sources = append(a.sources, &sourceState{source: s})
	}
	a.working.Add(len(sources)) // before Close can wait for them
	if err := n.onClose(&a.unhook, a.closeAndWait); err != nil {
		a.cancel()
		a.events.close(err)
		return nil, err
	}
	for _, s := range a.sources {
		safeGo("advertise", func() {
			defer a.working.Done()
			n.keepAdvertising(a.ctx, s, topic, ttl, p, granted, func(e DiscoveryEvent) { a.events.put(a.ctx, e, 0) })
		})
	}
	return a, nil
}

// Close ends the advertisement. It is taken back, where that is possible, in the background, which the node's Close waits for.
func (a *Advertisement) Close() {
	a.once.Do(func() {
		a.cancel()
		safeGo("end an advertisement", func() {
			defer close(a.over)
			a.working.Wait()
			a.unhook()
		})
	})
	a.events.close(nil)
}

func (a *Advertisement) closeAndWait() {
	a.Close()
	<-a.over
}

// addressPoll is how often the node's addresses are compared with those that were advertised.
const addressPoll = 5 * time.Second

// keepAdvertising tells one source until ctx ends, and then takes it back.
func (n *Node) keepAdvertising(ctx context.Context, s *sourceState, topic string, ttl time.Duration, p pauses, granted time.Duration, tell func(DiscoveryEvent)) {
	defer func() { guarded("withdraw", func() { s.source.withdraw(topic) }) }()
	pause := time.Duration(0)
	said := texts(n.host.Addrs())
	for ctx.Err() == nil {
		var err error
		if granted == 0 {
			said = texts(n.host.Addrs())
			attempt, cancel := context.WithTimeout(ctx, discoveryAttempt)
			granted, err = s.source.advertise(attempt, topic, ttl)
			cancel()
		}
		if ctx.Err() != nil {
			return
		}
		next := granted * 3 / 4
		if err != nil {
			pause = p.after(pause)
			next = pause
			s.failed(err)
			tell(DiscoveryEvent{Type: DiscoveryFailed, Source: s.source.name(), Err: sourceError(s.source, err), NextMs: next.Milliseconds()})
		} else {
			pause = 0
			if s.advertised() || s.source.kind() != "mdns" { // mdns only looks after its addresses each time
				tell(DiscoveryEvent{Type: DiscoveryAdvertised, Source: s.source.name(), NextMs: next.Milliseconds()})
			}
		}
		granted = 0
	wait:
		for until := time.Now().Add(next); time.Now().Before(until); {
			select {
			case <-ctx.Done():
				return
			case <-s.source.stale():
				break wait
			case <-time.After(min(time.Until(until), addressPoll)):
				if err == nil && !slices.Equal(texts(n.host.Addrs()), said) {
					break wait
				}
			}
		}
	}
}

// discoveryAttempt bounds one call of a source.
const discoveryAttempt = 90 * time.Second

// sourceState is a source in use, with what became of it.
type sourceState struct {
	source discoverySource

	mu       sync.Mutex
	said     bool   // guarded by mu; the last advertising succeeded
	failure  string // guarded by mu; words of the last failure, "" after a success
	failures int    // guarded by mu
	found    int    // guarded by mu
}

// SourceInfo tells of a source; docs/info.md explains the keys.
type SourceInfo struct {
	Source     string `json:"source"`
	Advertised bool   `json:"advertised"`
	Found      int    `json:"found"`
	Failures   int    `json:"failures"`
	LastError  string `json:"last_error"`
}

func (s *sourceState) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure, s.said = err.Error(), false
	s.failures++
}

// advertised reports whether that is news.
func (s *sourceState) advertised() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	news := !s.said
	s.said, s.failure = true, ""
	return news
}

func (s *sourceState) looked() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = ""
}

func (s *sourceState) met() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.found++
}

func (s *sourceState) info() SourceInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	return SourceInfo{s.source.name(), s.said, s.found, s.failures, s.failure}
}

func sourceInfos(states []*sourceState) []SourceInfo {
	infos := []SourceInfo{}
	for _, s := range states {
		infos = append(infos, s.info())
	}
	return infos
}

// sourceError names the source at the start of the words.
func sourceError(s discoverySource, err error) error {
	kind := Kind(err)
	return Errorf(kind, "%s: %w", s.name(), err)
}

// AdvertisementInfo is what Info returns; docs/info.md explains the keys.
type AdvertisementInfo struct {
	Kind    string       `json:"kind"`
	Topic   string       `json:"topic"`
	Sources []SourceInfo `json:"sources"`
	Events  MailboxInfo  `json:"events"`
}

// Info returns an AdvertisementInfo.
func (a *Advertisement) Info() any {
	return AdvertisementInfo{"advertisement", a.topic, sourceInfos(a.sources), mailboxInfo(a.events)}
}

func mailboxInfo[T any](m *mailbox[T]) MailboxInfo {
	stats := m.stats()
	return MailboxInfo{stats.Delivered, stats.Dropped, stats.Waiting}
}

func millis[T int | int64](ms T) time.Duration { return time.Duration(ms) * time.Millisecond }
