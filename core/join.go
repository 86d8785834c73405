package core

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// Meeting keeps a node together with the others of a topic: it advertises, finds and connects, again and again, until Close.
type Meeting struct {
	n       *Node
	topic   string
	secret  [32]byte // of the greeting
	o       MeetOptions
	sources []*sourceState
	events  *mailbox[DiscoveryEvent]
	ctx     context.Context
	cancel  context.CancelFunc
	unhook  func()
	working sync.WaitGroup
	once    sync.Once
	over    chan struct{} // closed when all that Close does is done
	poke    chan struct{} // capacity 1: there may be somebody to dial

	mu      sync.Mutex
	peers   map[peer.ID]*meetingPeer // guarded by mu
	members int                      // guarded by mu; peers that are connected
	dialing int                      // guarded by mu
	closed  bool                     // guarded by mu
}

// meetingPeer is somebody of the topic, as far as is known.
type meetingPeer struct {
	id        peer.ID
	source    string // that told of it first; "peers": it greeted, or answered a greeting
	addresses []ma.Multiaddr
	attested  bool // a source tells that it is of the topic
	greets    bool // it speaks our greeting, so that its own word counts
	member    bool // it is told of as connected
	dialing   bool
	failures  int
	next      time.Time // of the next attempt
	heard     int       // greetings that came from it
	number    uint64    // of the last of them, since it is connected
	greeting  bool      // one to it is under way
}

// The bounds of a meeting.
const (
	meetingPeersMax = 4096 // peers known
	meetingDials    = 8    // attempts at a time
)

// Meet joins a topic: peers that join the same topic, anywhere, are found, connected and kept connected, until Close. It needs no source to be on:
// then it meets those of its connected peers who are of the topic.
func (n *Node) Meet(topic string, o MeetOptions, inbox Inbox[DiscoveryEvent]) (*Meeting, error) {
	if err := checkTopic(topic); err != nil {
		return nil, err
	}
	kinds := o.Sources
	if kinds != nil {
		kinds = slices.DeleteFunc(slices.Clone(kinds), func(kind string) bool { return kind == "peers" })
	}
	sources, err := n.sourcesOf(kinds, o.Points)
	if err != nil {
		return nil, err
	}
	m := &Meeting{n: n, topic: topic, secret: meetingSecret(topic), o: o, over: make(chan struct{}), poke: make(chan struct{}, 1), peers: map[peer.ID]*meetingPeer{}}
	for _, s := range sources {
		m.sources = append(m.sources, &sourceState{source: s})
	}
	m.ctx, m.cancel = context.WithCancel(n.ctx)
	m.events = newDiscoveryMailbox("meeting events", inbox, DropOldest)
	if err = n.onClose(&m.unhook, m.closeAndWait); err == nil {
		err = n.meetings.add(m)
	}
	if err != nil {
		m.unhook()
		m.cancel()
		m.events.close(err)
		return nil, err
	}
	m.work("meeting", m.dial)
	looks := pauses{millis(o.RetryMinMs), millis(max(o.IntervalMs, o.RetryMinMs))}
	failures := pauses{millis(o.RetryMinMs), millis(o.RetryMaxMs)}
	for _, s := range m.sources {
		if o.Advertise {
			m.work("advertise", func() {
				n.keepAdvertising(m.ctx, s, topic, millis(o.TTLMs), failures, 0, m.tell)
			})
		}
		if o.Find {
			m.work("find", func() {
				n.keepFinding(m.ctx, s, topic, looks, failures, true, nil,
					func(info peer.AddrInfo) bool { return m.found(s.source.name(), info) }, m.tell)
			})
		}
	}
	n.meetings.greetAll(m)
	return m, nil
}

// work runs fn on a goroutine that the end waits for; not at all once Close has begun.
func (m *Meeting) work(name string, fn func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	m.working.Add(1)
	safeGo(name, func() {
		defer m.working.Done()
		fn()
	})
}

func (m *Meeting) tell(e DiscoveryEvent) { m.events.put(m.ctx, e, 0) } // never waits: drop-oldest

// asksPeers tells whether peers that no source names are asked too.
func (m *Meeting) asksPeers() bool {
	return m.o.Sources == nil || slices.Contains(m.o.Sources, "peers")
}

// found is told of a peer by a source, and reports whether it is news.
func (m *Meeting) found(source string, info peer.AddrInfo) bool {
	if info.ID == m.n.ID() || m.ctx.Err() != nil {
		return false
	}
	m.mu.Lock()
	p := m.peers[info.ID]
	news := p == nil
	if news {
		if p = m.addLocked(info.ID, source); p == nil {
			m.mu.Unlock()
			return false
		}
	}
	p.attested = true
	if len(info.Addrs) > 0 {
		p.addresses = info.Addrs
	}
	member := p.member
	if news {
		m.tell(DiscoveryEvent{Type: DiscoveryFound, Peer: info.ID, Source: source, Addresses: texts(info.Addrs)})
	}
	m.mu.Unlock()
	if !member && m.n.isConnected(info.ID) {
		m.n.meetings.connected(info.ID)
	}
	wake(m.poke)
	return news
}

// addLocked makes room for a peer by forgetting one that is not connected; nil if all are.
func (m *Meeting) addLocked(id peer.ID, source string) *meetingPeer {
	if len(m.peers) >= meetingPeersMax {
		for other, p := range m.peers {
			if !p.member && !p.dialing {
				delete(m.peers, other)
				break
			}
		}
		if len(m.peers) >= meetingPeersMax {
			return nil
		}
	}
	p := &meetingPeer{id: id, source: source}
	m.peers[id] = p
	return p
}

// dial connects to those who were found and are not connected.
func (m *Meeting) dial() {
	for m.ctx.Err() == nil {
		wait := time.Hour
		for {
			p, pause := m.nextToDial()
			if p == nil {
				wait = pause
				break
			}
			m.work("meeting dial", func() { m.dialOne(p) })
		}
		sleep(m.ctx, wait, m.poke)
	}
}

// nextToDial takes a peer whose turn it is, or returns how long there is none.
func (m *Meeting) nextToDial() (next *meetingPeer, pause time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	pause = time.Hour
	if !m.o.Connect || m.ctx.Err() != nil || m.dialing >= meetingDials || m.members+m.dialing >= m.o.MaxPeers {
		return nil, pause // a poke comes when one of these changes
	}
	now := time.Now()
	for _, p := range m.peers {
		if p.member || p.dialing || !p.attested {
			continue
		}
		if left := p.next.Sub(now); left > 0 {
			pause = min(pause, left)
			continue
		}
		if next == nil || p.next.Before(next.next) {
			next = p
		}
	}
	if next != nil {
		next.dialing = true
		m.dialing++
	}
	return next, pause
}

func (m *Meeting) dialOne(p *meetingPeer) {
	m.mu.Lock()
	addresses := p.addresses
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(m.ctx, millis(m.o.ConnectTimeoutMs))
	err := m.n.connect(ctx, p.id, addresses)
	cancel()
	if m.ctx.Err() != nil {
		return
	}
	if err != nil && m.n.isConnected(p.id) { // it has dialled meanwhile
		err = nil
	}
	m.mu.Lock()
	p.dialing = false
	m.dialing--
	switch {
	case p.member: // by whichever dial
	case err != nil:
		p.failures++
		pause := m.pauseLocked(p)
		nextMs := pause.Milliseconds()
		if m.o.RetryLimit > 0 && p.failures >= m.o.RetryLimit {
			delete(m.peers, p.id)
			nextMs = -1
		}
		m.tell(DiscoveryEvent{Type: DiscoveryUnreachable, Peer: p.id, Source: p.source, Err: err, NextMs: nextMs})
	default: // should it turn out not to be of the topic
		p.failures++
		m.pauseLocked(p)
	}
	m.mu.Unlock()
	if err == nil {
		m.n.meetings.connected(p.id) // it may have been connected all the time
	}
	wake(m.poke)
}

// pauseLocked sets when a peer is tried again: later each time, and not at the same time from both sides.
func (m *Meeting) pauseLocked(p *meetingPeer) time.Duration {
	least, most := millis(m.o.RetryMinMs), millis(m.o.RetryMaxMs)
	pause := min(least<<min(max(p.failures-1, 0), 20), most)
	if pause <= 0 {
		pause = most
	}
	pause += rand.N(pause/4 + 1)
	p.next = time.Now().Add(pause)
	return pause
}

// joined is told that a connected peer is of the topic: by its own word, or by a source about one that does not speak our greeting.
func (m *Meeting) joined(id peer.ID, ownWord bool) {
	conns := m.n.openConnections(id)
	if len(conns) == 0 {
		return
	}
	best := bestConn(conns)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	p := m.peers[id]
	if p == nil {
		if !ownWord {
			return
		}
		if p = m.addLocked(id, "peers"); p == nil {
			return
		}
	}
	p.greets = p.greets || ownWord
	if ownWord {
		p.attested = true // so that it is dialled again when it is lost
	}
	if p.member || !p.attested || p.greets && !ownWord {
		return
	}
	p.member, p.failures, p.next = true, 0, time.Time{}
	m.members++
	m.n.host.ConnManager().Protect(id, m.protection())
	e := connEvent(PeerConnected, best)
	m.tell(DiscoveryEvent{Type: DiscoveryConnected, Peer: id, Source: p.source, Address: e.Address, Inbound: e.Inbound, Relayed: e.Relayed, Limited: e.Limited})
}

// left is told that a peer is not, or no longer, of the topic (gone false), or no longer connected.
func (m *Meeting) left(id peer.ID, gone bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.peers[id]
	if p == nil || m.closed {
		return
	}
	if gone {
		p.number = 0
	} else {
		p.attested, p.greets = false, true // until a source, or the peer, says otherwise
	}
	if !p.member {
		return
	}
	p.member = false
	m.members--
	m.pauseLocked(p)
	m.n.host.ConnManager().Unprotect(id, m.protection())
	m.tell(DiscoveryEvent{Type: DiscoveryLeft, Peer: id})
	wake(m.poke)
}

func (m *Meeting) protection() string { return "meeting " + m.topic }

// knows tells whether a source named the peer.
func (m *Meeting) knows(id peer.ID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.peers[id]
	return p != nil && p.attested
}

// Peers returns the peers of the meeting that are connected.
func (m *Meeting) Peers() []peer.ID {
	m.mu.Lock()
	defer m.mu.Unlock()
	ids := []peer.ID{}
	for id, p := range m.peers {
		if p.member {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b peer.ID) int { return strings.Compare(string(a), string(b)) })
	return ids
}

// Close leaves the topic: it can be joined again at once. In the background advertisements are taken back where that is possible, and the others are
// told, which takes a moment, or up to 20 s where a rendezvous point is silent; the node's Close waits for about a second. Connections stay.
func (m *Meeting) Close() {
	m.once.Do(func() {
		m.mu.Lock()
		m.closed = true
		var told []peer.ID
		for id, p := range m.peers {
			if p.member {
				m.n.host.ConnManager().Unprotect(id, m.protection())
			}
			if p.greeting || p.heard > 0 || p.member && p.greets { // whoever may take this node for one of the topic
				told = append(told, id)
			}
		}
		m.mu.Unlock()
		m.cancel()
		m.n.meetings.remove(m)
		number := m.n.meetings.tick() // now: a greeting of one that joins again is newer
		safeGo("leave a meeting", func() {
			defer close(m.over)
			m.n.meetings.farewell(m, told, number)
			m.working.Wait()
			m.unhook()
		})
	})
	m.events.close(nil)
}

func (m *Meeting) closeAndWait() {
	m.Close()
	<-m.over
}

// MeetingInfo is what Info returns; docs/info.md explains the keys.
type MeetingInfo struct {
	Kind    string       `json:"kind"`
	Topic   string       `json:"topic"`
	Peers   []string     `json:"peers"`
	Known   int          `json:"known"`
	Dialing int          `json:"dialing"`
	Sources []SourceInfo `json:"sources"`
	Events  MailboxInfo  `json:"events"`
}

// Info returns a MeetingInfo.
func (m *Meeting) Info() any {
	info := MeetingInfo{Kind: "meeting", Topic: m.topic, Peers: []string{}, Sources: sourceInfos(m.sources), Events: mailboxInfo(m.events)}
	for _, id := range m.Peers() {
		info.Peers = append(info.Peers, id.String())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	info.Known, info.Dialing = len(m.peers), m.dialing
	return info
}
