package core

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
)

// The greeting. A source tells of a peer to one side only, and some peers are connected by other means: the greeting lets both sides of a
// connection know at once that they are of one topic. It is one byte, greetHello or greetBye, eight bytes that grow from each to the next (the
// time in ns, big endian), for two may overtake each other, and 32 bytes that only who knows the topic's name can make or read, for this pair of peers in
// this direction:
//
//	HMAC-SHA256(key: SHA256("libp2pgo meet\0" + topic), data: those nine bytes + sender's peer id + "\0" + receiver's peer id)
//
// A hello is answered with a hello the other way round, or with a byte greetNo. A bye has no answer.
const meetProtocol = "/libp2pgo/meet/1.0.0"

const (
	greetNo    = 0
	greetHello = 1
	greetBye   = 2
)

const (
	greetingHead    = 1 + 8
	greetingSize    = greetingHead + sha256.Size
	greetingLimit   = 10 * time.Second // for one exchange
	farewellLimit   = 500 * time.Millisecond
	farewells       = 64   // at a time
	greetingStreams = 1024 // at a time
)

func meetingSecret(topic string) [32]byte { return sha256.Sum256([]byte("libp2pgo meet\x00" + topic)) }

// greet makes a greeting to a peer.
func (m *Meeting) greet(kind byte, to peer.ID) []byte {
	return m.greetAs(kind, m.n.meetings.tick(), to)
}

func (m *Meeting) greetAs(kind byte, number uint64, to peer.ID) []byte {
	return m.greeting(binary.BigEndian.AppendUint64([]byte{kind}, number), m.n.ID(), to)
}

func (m *Meeting) greeting(head []byte, from, to peer.ID) []byte {
	h := hmac.New(sha256.New, m.secret[:])
	h.Write(head)
	h.Write([]byte(from))
	h.Write([]byte{0})
	h.Write([]byte(to))
	return h.Sum(slices.Clone(head))
}

// isFor tells whether a greeting is of this topic, between these peers.
func (m *Meeting) isFor(greeting []byte, from, to peer.ID) bool {
	return subtle.ConstantTimeCompare(greeting, m.greeting(greeting[:greetingHead], from, to)) == 1
}

// meetings are the meetings of a node, and the greeting that they share. Once there was one the greeting is served to the end: a peer that has left
// a topic has to say so, or it would pass for one that does not greet.
type meetings struct {
	node    *Node
	streams places

	mu      sync.Mutex
	all     []*Meeting // guarded by mu
	started bool       // guarded by mu
	last    uint64     // guarded by mu; number of the last greeting
}

// tick returns a number that grows, also over a restart.
func (l *meetings) tick() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = max(l.last+1, uint64(time.Now().UnixNano()))
	return l.last
}

func (l *meetings) list() []*Meeting {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

func (l *meetings) add(m *Meeting) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.ContainsFunc(l.all, func(other *Meeting) bool { return other.topic == m.topic }) {
		return Errorf(ErrExists, "topic %s is joined already", quoteShort(m.topic))
	}
	if !l.started {
		if err := l.startLocked(); err != nil {
			return err
		}
	}
	l.all = append(l.all, m)
	return nil
}

func (l *meetings) remove(m *Meeting) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.all, m); i >= 0 {
		l.all = slices.Delete(l.all, i, i+1)
	}
}

func (l *meetings) startLocked() error {
	n := l.node
	// A subscription that is not drained blocks whoever emits: this one is drained until it is closed.
	sub, err := n.host.EventBus().Subscribe([]any{new(event.EvtPeerIdentificationCompleted), new(event.EvtPeerProtocolsUpdated)},
		eventbus.BufSize(256), eventbus.Name("libp2pgo meet"))
	if err != nil {
		return Errorf(ErrInternal, "subscribe to identified peers: %w", err)
	}
	l.streams.most = greetingStreams
	service := &Service{node: n, protocols: []string{meetProtocol}}
	if err := service.start(l.serve); err != nil {
		sub.Close()
		return err
	}
	context.AfterFunc(n.ctx, func() { sub.Close() })
	if !n.spawn("meeting peers", func() {
		for e := range sub.Out() {
			switch e := e.(type) {
			case event.EvtPeerIdentificationCompleted:
				l.connected(e.Peer)
			case event.EvtPeerProtocolsUpdated:
				if slices.Contains(e.Added, protocol.ID(meetProtocol)) {
					l.connected(e.Peer)
				}
			}
		}
	}) {
		service.Close()
		return Errorf(ErrClosed, "the node is closed")
	}
	l.started = true
	return nil
}

// connected looks after a connected peer: those of its meetings that a source named it for, or that ask all peers, greet it.
func (l *meetings) connected(id peer.ID) {
	for _, m := range l.list() {
		m.meet(id)
	}
}

// disconnected is called by the peer table, which may be late.
func (l *meetings) disconnected(id peer.ID) {
	for _, m := range l.list() {
		if m.left(id, true); l.node.isConnected(id) {
			m.meet(id)
		}
	}
}

// greetAll greets all who are connected.
func (l *meetings) greetAll(m *Meeting) {
	for _, id := range l.node.Peers() {
		m.meet(id)
	}
}

// meet finds out whether a connected peer is of the topic. A peer that does not speak the greeting is if a source says so; one whose protocols are not known
// yet comes again when they are.
func (m *Meeting) meet(id peer.ID) {
	known, err := m.n.host.Peerstore().GetProtocols(id)
	if err != nil || len(known) == 0 {
		return
	}
	if !slices.Contains(known, protocol.ID(meetProtocol)) {
		m.joined(id, false)
		return
	}
	heard, ok := m.beginGreeting(id)
	if !ok {
		return
	}
	m.work("greet", func() {
		ctx, cancel := context.WithTimeout(m.ctx, greetingLimit)
		defer cancel()
		yes, err := m.hello(ctx, id)
		still := m.endGreeting(id, heard, err)
		switch {
		case err != nil:
			logger.Debug("greet", "peer", id, "err", err)
		case !still: // it greeted meanwhile: what it says of itself is newer
		case yes:
			m.joined(id, true)
		default:
			m.left(id, false)
		}
	})
}

// beginGreeting reports whether id is to be greeted now, and how often it has greeted so far.
func (m *Meeting) beginGreeting(id peer.ID) (heard int, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.peers[id]
	if p == nil {
		if !m.asksPeers() {
			return 0, false
		}
		if p = m.addLocked(id, "peers"); p == nil {
			return 0, false
		}
	}
	if p.greeting || p.member && p.greets || !p.attested && !m.asksPeers() {
		return 0, false
	}
	p.greeting = true
	return p.heard, true
}

// endGreeting reports whether id has not greeted since.
func (m *Meeting) endGreeting(id peer.ID, heard int, err error) (still bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.peers[id]
	if p == nil {
		return false
	}
	p.greeting = false
	if err != nil {
		p.failures++
		m.pauseLocked(p)
	}
	return p.heard == heard
}

// hear notes a greeting that came from a peer. It reports false for one that another has overtaken, and when the topic was left.
func (m *Meeting) hear(id peer.ID, number uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.peers[id]
	if p == nil {
		p = m.addLocked(id, "peers")
	}
	if m.closed || p == nil || number <= p.number {
		return false
	}
	p.heard++
	p.number = number
	return true
}

func (m *Meeting) hello(ctx context.Context, id peer.ID) (yes bool, err error) {
	s, err := m.n.openStream(ctx, id, []string{meetProtocol}, OpenOptions{NoDial: true, AllowLimited: true})
	if err != nil {
		return false, err
	}
	defer s.Close()
	if _, err := s.WriteContext(ctx, m.greet(greetHello, id)); err != nil {
		return false, err
	}
	var answer [greetingSize]byte
	for have := 0; have < len(answer); {
		n, err := s.ReadContext(ctx, answer[have:])
		have += n
		if have > 0 && answer[0] == greetNo {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	return answer[0] == greetHello && m.isFor(answer[:], id, m.n.ID()), nil
}

// farewell tells peers that this node is no longer of the topic. Those that do not hear it in time do without: they see the connection end.
func (l *meetings) farewell(m *Meeting, peers []peer.ID, number uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), farewellLimit) // of all together, for the node waits for it; its own has ended
	defer cancel()
	var done sync.WaitGroup
	defer done.Wait()
	turns := make(chan struct{}, farewells)
	for _, id := range peers {
		select {
		case turns <- struct{}{}:
		case <-ctx.Done():
			return
		}
		done.Add(1)
		safeGo("farewell", func() {
			defer done.Done()
			defer func() { <-turns }()
			if err := l.node.lastWords(ctx, id, meetProtocol, m.greetAs(greetBye, number, id)); err != nil {
				logger.Debug("farewell", "peer", id, "err", err)
			}
		})
	}
}

// serve answers one greeting.
func (l *meetings) serve(s network.Stream, _ int64, ended func()) {
	defer ended()
	from, self := s.Conn().RemotePeer(), l.node.ID()
	if !l.streams.take(from) {
		s.ResetWithError(network.StreamResourceLimitExceeded)
		return
	}
	defer l.streams.leave(from)
	s.SetDeadline(time.Now().Add(greetingLimit))
	var b [greetingSize]byte
	if _, err := io.ReadFull(s, b[:]); err != nil {
		s.Reset()
		return
	}
	for _, m := range l.list() {
		if !m.isFor(b[:], from, self) {
			continue
		}
		if !m.hear(from, binary.BigEndian.Uint64(b[1:])) {
			break
		}
		switch b[0] {
		case greetHello:
			s.Write(m.greet(greetHello, from))
			s.Close()
			m.joined(from, true)
		case greetBye:
			s.Close()
			m.left(from, false)
		default:
			s.Reset()
		}
		return
	}
	s.Write([]byte{greetNo})
	s.Close()
}
