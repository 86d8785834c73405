package core

import (
	"slices"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// blockList is upstream's blacklist, from which a peer can be taken again. It follows the streams that peers send on, because a peer that
// comes back has to introduce itself anew.
type blockList struct {
	mu      sync.RWMutex
	blocked map[peer.ID]struct{}                    // guarded by mu
	streams map[peer.ID]map[network.Stream]struct{} // guarded by mu
	awaited map[peer.ID]*awaited                    // guarded by mu; the next ones, while somebody waits for them
	topics  map[peer.ID]*peerTopics                 // guarded by mu; of peers with a stream
}

// awaited is a stream that a peer is to open.
type awaited struct {
	opened  chan struct{} // closed when it has
	waiting int           // guarded by the block list's mu; a peer that is gone for good will not open it
}

var _ pubsub.Blacklist = (*blockList)(nil)

func (b *blockList) init() {
	b.blocked, b.streams = map[peer.ID]struct{}{}, map[peer.ID]map[network.Stream]struct{}{}
	b.awaited, b.topics = map[peer.ID]*awaited{}, map[peer.ID]*peerTopics{}
}

// Add implements pubsub.Blacklist.
func (b *blockList) Add(id peer.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.blocked[id] = struct{}{}
	return true
}

// Contains implements pubsub.Blacklist.
func (b *blockList) Contains(id peer.ID) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	_, ok := b.blocked[id]
	return ok
}

func (b *blockList) remove(id peer.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.blocked[id]
	delete(b.blocked, id)
	return ok
}

func (b *blockList) list() []string {
	b.mu.RLock()
	defer b.mu.RUnlock()
	ids := make([]string, 0, len(b.blocked))
	for id := range b.blocked {
		ids = append(ids, id.String())
	}
	slices.Sort(ids)
	return ids
}

// follow remembers a stream that a peer sends on, until the function it returns is called.
func (b *blockList) follow(s network.Stream) (end func()) {
	id := s.Conn().RemotePeer()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.streams[id] == nil {
		b.streams[id] = map[network.Stream]struct{}{}
	}
	b.streams[id][s] = struct{}{}
	if b.topics[id] == nil {
		b.topics[id] = newPeerTopics()
	}
	if next := b.awaited[id]; next != nil {
		close(next.opened)
		delete(b.awaited, id)
	}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.topics[id] = newPeerTopics() // upstream forgets them with the stream
		if delete(b.streams[id], s); len(b.streams[id]) == 0 {
			delete(b.streams, id)
			delete(b.topics, id)
		}
	}
}

// reset ends the streams on which a peer sends since before a time. It returns a channel that is closed when the peer has opened another, nil
// if it had none; end has to be called when that is waited for no more.
func (b *blockList) reset(id peer.ID, before time.Time) (introduced <-chan struct{}, end func()) {
	b.mu.Lock()
	streams := make([]network.Stream, 0, 1)
	for s := range b.streams[id] {
		if s.Stat().Opened.Before(before) {
			streams = append(streams, s)
		}
	}
	next := b.awaited[id]
	if next == nil && len(streams) > 0 {
		next = &awaited{opened: make(chan struct{})}
		b.awaited[id] = next
	}
	if next != nil {
		next.waiting++
	}
	b.mu.Unlock()
	for _, s := range streams {
		s.Reset()
	}
	if next == nil {
		return nil, func() {}
	}
	return next.opened, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if next.waiting--; next.waiting == 0 && b.awaited[id] == next {
			delete(b.awaited, id)
		}
	}
}

// greetLimit is how long a peer that was taken back may need to introduce itself, before it is greeted all the same.
const greetLimit = 5 * time.Second

// PubsubBlock has pubsub hear nothing of a peer, nor of what it authored, and send it nothing, until PubsubUnblock. Its connection stays.
func (n *Node) PubsubBlock(id peer.ID) error {
	p, err := n.pubsubOn()
	if err != nil {
		return err
	}
	if id == n.ID() {
		return Errorf(ErrInvalid, "%s is this node itself", id)
	}
	p.block.Add(id) // at once; the loop only cuts the stream
	s := p.out.streamTo(id)
	p.ps.BlacklistPeer(id)
	if s != nil {
		n.ending(s, func() { s.Reset() }) // else its end might be taken for that of the next one
	}
	return nil
}

// PubsubUnblock ends PubsubBlock. It fails with ErrNotFound if the peer is not blocked.
func (n *Node) PubsubUnblock(id peer.ID) error {
	p, err := n.pubsubOn()
	if err != nil {
		return err
	}
	if !p.block.remove(id) {
		return Errorf(ErrNotFound, "%s is not blocked", id)
	}
	// The peer has to introduce itself first: upstream there forgets who we are when it finds that its own stream has ended.
	introduced, end := p.block.reset(id, time.Now())
	if introduced == nil {
		return p.greet(id)
	}
	n.spawn("greet a peer", func() {
		defer end()
		timer := time.NewTimer(greetLimit)
		defer timer.Stop()
		select {
		case <-introduced:
		case <-timer.C:
		case <-n.ctx.Done():
			return
		}
		if err := p.greet(id); err != nil {
			logger.Warn("pubsub", "error", err)
		}
	})
	return nil
}

// greet has upstream open a stream to a connected peer. It does so when it hears that the peer speaks the protocol.
func (p *publisher) greet(id peer.ID) error {
	ours, err := p.node.host.Peerstore().SupportsProtocols(id, p.protocols()...)
	if err != nil || len(ours) == 0 {
		return nil // not known, or not connected: it will introduce itself
	}
	emitter, err := p.node.host.EventBus().Emitter(new(event.EvtPeerProtocolsUpdated))
	if err != nil {
		return Errorf(ErrInternal, "greet %s: %v", id, err)
	}
	defer emitter.Close()
	if err := emitter.Emit(event.EvtPeerProtocolsUpdated{Peer: id, Added: ours}); err != nil {
		return Errorf(ErrInternal, "greet %s: %v", id, err)
	}
	return nil
}
