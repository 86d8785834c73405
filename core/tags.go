package core

import (
	"context"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	coreconnmgr "github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
)

// trimPause is how often the number of connections is looked at.
const trimPause = 10 * time.Second

// connectionManager keeps go-libp2p's tags, and trims by them itself: upstream's watermarks are fixed, and it forgets a peer's tags when
// the peer is gone, and the names of protections altogether.
type connectionManager struct {
	*connmgr.BasicConnMgr

	mu        sync.Mutex
	marks     ConnectionsConfig               // guarded by mu
	tags      map[peer.ID]map[string]int      // guarded by mu; those of the program
	protected map[peer.ID]map[string]struct{} // guarded by mu
	changed   chan struct{}                   // capacity 1: the marks are others than before
}

var (
	_ coreconnmgr.ConnManager = (*connectionManager)(nil)
	_ coreconnmgr.Decayer     = (*connectionManager)(nil)
)

func newConnectionManager(c ConnectionsConfig) (*connectionManager, error) {
	never := math.MaxInt32
	basic, err := connmgr.NewConnManager(never-1, never)
	if err != nil {
		return nil, Errorf(ErrInternal, "connection manager: %w", err)
	}
	return &connectionManager{BasicConnMgr: basic, marks: c, tags: map[peer.ID]map[string]int{}, protected: map[peer.ID]map[string]struct{}{},
		changed: make(chan struct{}, 1)}, nil
}

// Protect keeps a peer from being trimmed, under a name.
func (m *connectionManager) Protect(id peer.ID, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.protected[id] == nil {
		m.protected[id] = map[string]struct{}{}
	}
	m.protected[id][name] = struct{}{}
	m.BasicConnMgr.Protect(id, name)
}

// Unprotect takes one protection back, and tells whether there are others.
func (m *connectionManager) Unprotect(id peer.ID, name string) (protected bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if delete(m.protected[id], name); len(m.protected[id]) == 0 {
		delete(m.protected, id)
	}
	return m.BasicConnMgr.Unprotect(id, name)
}

// CheckLimit has nothing to check: when the limit on connections is reached, trimming is what makes room.
func (m *connectionManager) CheckLimit(coreconnmgr.GetConnLimiter) error { return nil }

// TrimOpenConns is for go-libp2p, which does not call it.
func (m *connectionManager) TrimOpenConns(context.Context) {}

func (m *connectionManager) watermarks() ConnectionsConfig {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.marks
}

// of returns a peer's tags, their sum, and the names of its protections.
func (m *connectionManager) of(id peer.ID) (tags map[string]int, value int, protected []string) {
	tags = map[string]int{}
	if info := m.GetTagInfo(id); info != nil {
		tags, value = info.Tags, info.Value
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, v := range m.tags[id] { // of a peer that is not connected, or was a moment ago
		if _, ok := tags[name]; !ok {
			tags[name] = v
			value += v
		}
	}
	protected = slices.Sorted(maps.Keys(m.protected[id]))
	if protected == nil {
		protected = []string{}
	}
	return tags, value, protected
}

// forget drops the program's tags of a peer.
func (m *connectionManager) forget(id peer.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.tags[id] {
		m.UntagPeer(id, name)
	}
	delete(m.tags, id)
}

// retag gives a peer its tags again when it is back.
func (m *connectionManager) retag(id peer.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, value := range m.tags[id] {
		m.TagPeer(id, name, value)
	}
}

func checkTag(name string) error {
	if name == "" || len(name) > 128 || strings.ContainsAny(name, "\n\r") {
		return Errorf(ErrInvalid, "tag %s: a name is 1 to 128 bytes on one line", quoteShort(name))
	}
	return nil
}

// Tag gives a peer a value under a name; peers whose values sum up to less are trimmed first. It outlasts connections.
func (n *Node) Tag(id peer.ID, name string, value int) error {
	if err := n.checkTagged(name); err != nil {
		return err
	}
	m := n.connections
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tags[id] == nil {
		m.tags[id] = map[string]int{}
	}
	m.tags[id][name] = value
	if n.isConnected(id) {
		m.TagPeer(id, name, value)
	}
	return nil
}

// Untag takes a tag back. It fails with ErrNotFound if the peer has none of that name.
func (n *Node) Untag(id peer.ID, name string) error {
	if err := n.checkTagged(name); err != nil {
		return err
	}
	m := n.connections
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.tags[id][name]; !ok {
		return Errorf(ErrNotFound, "%s has no tag %s", id, quoteShort(name))
	}
	if delete(m.tags[id], name); len(m.tags[id]) == 0 {
		delete(m.tags, id)
	}
	m.UntagPeer(id, name)
	return nil
}

// Protect keeps a peer from being trimmed until Unprotect with the same name.
func (n *Node) Protect(id peer.ID, name string) error {
	if err := n.checkTagged(name); err != nil {
		return err
	}
	n.connections.Protect(id, name)
	return nil
}

// Unprotect ends Protect. It tells whether the peer is still protected under another name.
func (n *Node) Unprotect(id peer.ID, name string) (still bool, err error) {
	if err := n.checkTagged(name); err != nil {
		return false, err
	}
	if !n.connections.IsProtected(id, name) {
		return false, Errorf(ErrNotFound, "%s is not protected under %s", id, quoteShort(name))
	}
	return n.connections.Unprotect(id, name), nil
}

func (n *Node) checkTagged(name string) error {
	if n.ctx.Err() != nil {
		return Errorf(ErrClosed, "the node is closed")
	}
	return checkTag(name)
}

// SetWatermarks changes when and how far connections are trimmed, as the config's section connections does; -1 leaves a value as it is.
func (n *Node) SetWatermarks(low, high, graceMs int) error {
	if n.ctx.Err() != nil {
		return Errorf(ErrClosed, "the node is closed")
	}
	m := n.connections
	m.mu.Lock()
	defer m.mu.Unlock()
	marks := m.marks
	for _, v := range []struct {
		name  string
		given int
		max   int
		value *int
	}{{"low", low, 1_000_000, &marks.Low}, {"high", high, 1_000_000, &marks.High}, {"grace_ms", graceMs, 86_400_000, &marks.GraceMs}} {
		if v.given < -1 || v.given > v.max {
			return Errorf(ErrInvalid, "%s: %d is out of range -1 to %d", v.name, v.given, v.max)
		}
		if v.given >= 0 {
			*v.value = v.given
		}
	}
	if marks.High > 0 && marks.Low > marks.High {
		return Errorf(ErrInvalid, "low: %d is more than high, %d", marks.Low, marks.High)
	}
	m.marks = marks
	wake(m.changed)
	return nil
}

// Trim closes the least useful connections until only left of them are there, or, with -1, as many as the low watermark says, and returns
// how many it closed. Protected peers and those within their time of grace are spared. ctx bounds the wait for the closing.
func (n *Node) Trim(ctx context.Context, left int) (int, error) {
	if n.ctx.Err() != nil {
		return 0, Errorf(ErrClosed, "the node is closed")
	}
	ctx, cancel := n.join(ctx)
	defer cancel()
	if ctx.Err() != nil {
		return 0, ctxError(ctx, "trim")
	}
	marks := n.connections.watermarks()
	if left < -1 {
		return 0, Errorf(ErrInvalid, "left: %d is neither a number of connections nor -1", left)
	}
	if left == -1 {
		left = marks.Low
	}
	going := n.connections.leastUseful(n.host.Network(), left, time.Duration(marks.GraceMs)*time.Millisecond)
	var wg sync.WaitGroup
	for _, c := range going {
		wg.Add(1)
		if !n.spawn("trim", func() { defer wg.Done(); c.CloseWithError(network.ConnGarbageCollected) }) {
			wg.Done()
		}
	}
	done := make(chan struct{})
	safeGo("trim", func() { wg.Wait(); close(done) })
	select {
	case <-done:
		return len(going), nil
	case <-ctx.Done():
		return 0, ctxError(ctx, "trim")
	}
}

// trimmable is a peer that may be trimmed.
type trimmable struct {
	conns   []network.Conn
	value   int
	streams int
	inbound bool
}

// leastUseful chooses the connections that have to go so that left stay: of the lowest value first, then of those with no streams, then
// inbound ones, then of those with fewer streams.
func (m *connectionManager) leastUseful(net network.Network, left int, grace time.Duration) []network.Conn {
	all := net.Conns()
	excess := len(all) - left
	if excess <= 0 {
		return nil
	}
	byPeer := map[peer.ID]*trimmable{}
	for _, c := range all {
		id := c.RemotePeer()
		if m.IsProtected(id, "") {
			continue
		}
		p := byPeer[id]
		if p == nil {
			p = &trimmable{}
			byPeer[id] = p
			if info := m.GetTagInfo(id); info != nil {
				p.value = info.Value
			}
		}
		stat := c.Stat()
		p.conns = append(p.conns, c)
		p.streams += len(c.GetStreams())
		p.inbound = p.inbound || stat.Direction == network.DirInbound
	}
	var candidates []*trimmable
	for _, p := range byPeer {
		young := func(c network.Conn) bool { return time.Since(c.Stat().Opened) < grace }
		if !slices.ContainsFunc(p.conns, func(c network.Conn) bool { return !young(c) }) {
			continue // whoever has an old connection is no newcomer
		}
		candidates = append(candidates, p)
	}
	slices.SortFunc(candidates, func(a, b *trimmable) int {
		switch {
		case a.value != b.value:
			return a.value - b.value
		case (a.streams == 0) != (b.streams == 0):
			return a.streams - b.streams
		case a.inbound != b.inbound && a.inbound:
			return -1
		case a.inbound != b.inbound:
			return 1
		}
		return a.streams - b.streams
	})
	var going []network.Conn
	for _, p := range candidates {
		if len(going) >= excess {
			break
		}
		going = append(going, p.conns...)
	}
	return going
}

// startTrimming trims whenever there are more connections than the high watermark, and gives peers their tags again when they come back.
func (n *Node) startTrimming() {
	n.host.Network().Notify(&network.NotifyBundle{ConnectedF: func(_ network.Network, c network.Conn) {
		n.connections.retag(c.RemotePeer())
		n.book.welcome(c.RemotePeer())
	}})
	n.spawn("trimming", func() {
		ticker := time.NewTicker(trimPause)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
			case <-n.connections.changed:
			case <-n.ctx.Done():
				return
			}
			if marks := n.connections.watermarks(); marks.High > 0 && len(n.host.Network().Conns()) > marks.High {
				guarded("trimming", func() { n.Trim(n.ctx, -1) })
			}
		}
	})
}
