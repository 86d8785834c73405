package core

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// outboundStall is how long a peer's queue may stand still before publishers no longer wait for it.
const outboundStall = 5 * time.Second

const (
	// outboundBytes is how much may wait for a peer before publishers wait for it. Upstream bounds its queues in packets only.
	outboundBytes = 32 << 20
	// outboundMax is how much may wait for a peer in all. What is published beyond that is lost for it, and counted.
	outboundMax = 2 * outboundBytes
)

// outbound follows how full upstream's queue to each peer is. Upstream loses what finds a queue full; whoever publishes waits before that.
// The tracer tells what goes into a queue, and the stream below, where upstream makes one write of each packet, what leaves it.
type outbound struct {
	high, low int

	mu     sync.Mutex                  // may be held when a topic's is taken, never the other way round
	last   map[peer.ID]*outboundStream // guarded by mu; the last one to each peer
	lost   map[peer.ID]time.Time       // guarded by mu; when the last one ended, for lostMemory
	queues map[peer.ID]*outboundQueue  // guarded by mu
	relief chan struct{}               // guarded by mu; closed when a crowded queue has room again
	ready  map[peer.ID]protocol.ID     // guarded by mu; peers that there is a stream to
	opened chan struct{}               // guarded by mu; closed when ready grows
}

type outboundQueue struct {
	waiting int
	bytes   int
	crowded bool      // high was reached, and low not since
	moved   time.Time // when a crowded one was last seen to move
}

func (o *outbound) init(capacity int) {
	o.high, o.low = max(capacity*3/4, 1), capacity/2
	o.queues = map[peer.ID]*outboundQueue{}
	o.relief, o.opened = make(chan struct{}), make(chan struct{})
	o.ready, o.last, o.lost = map[peer.ID]protocol.ID{}, map[peer.ID]*outboundStream{}, map[peer.ID]time.Time{}
}

func (o *outbound) opening(id peer.ID, s *outboundStream) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last[id] = s
}

func (o *outbound) ended(s *outboundStream) {
	id := s.Conn().RemotePeer()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.last[id] != s {
		return
	}
	delete(o.last, id)
	now := time.Now()
	maps.DeleteFunc(o.lost, func(_ peer.ID, at time.Time) bool { return now.Sub(at) > lostMemory })
	o.lost[id] = now
}

// lostMemory is longer than upstream waits before it opens a stream again that ended while the peer stayed connected.
const lostMemory = time.Minute

// takeLost returns when the last stream to id ended, once.
func (o *outbound) takeLost(id peer.ID) (at time.Time, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	at, ok = o.lost[id]
	delete(o.lost, id)
	return at, ok
}

// streamTo returns the stream to id, nil if there is none.
func (o *outbound) streamTo(id peer.ID) *outboundStream {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last[id]
}

// open is called when there is a stream to id. A peer may tell what it subscribes to before that, but nothing reaches it yet.
func (o *outbound) open(id peer.ID, name protocol.ID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ready[id] = name
	close(o.opened)
	o.opened = make(chan struct{})
}

// greet is called, after open, when the first packet to id will be a greeting.
func (o *outbound) greet(id peer.ID) {
	if s := o.streamTo(id); s != nil {
		s.greets = true
	}
}

// reachable returns how many of peers there is a stream to, and a channel that is closed when that may be more.
func (o *outbound) reachable(peers []peer.ID) (n int, more <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range peers {
		if _, ok := o.ready[id]; ok {
			n++
		}
	}
	return n, o.opened
}

// pushed is called for every packet that upstream puts into the queue of id.
func (o *outbound) pushed(id peer.ID, size int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	q := o.queues[id]
	if q == nil {
		q = &outboundQueue{}
		o.queues[id] = q
	}
	q.waiting++
	q.bytes += size
	if (q.waiting >= o.high || q.bytes >= outboundBytes) && !q.crowded {
		q.crowded, q.moved = true, time.Now()
	}
}

// written is called for every packet that has left a queue for s. One that ends late, after its queue has gone, is of no queue any more.
func (o *outbound) written(s *outboundStream, size int) {
	id := s.Conn().RemotePeer()
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.ready[id]; !ok || o.last[id] != s {
		return
	}
	q := o.queues[id]
	if q == nil {
		q = &outboundQueue{} // a packet is traced only after it was pushed, when it may have left already
		o.queues[id] = q
	}
	q.waiting--
	q.bytes -= size
	if !q.crowded {
		return
	}
	q.moved = time.Now()
	if q.waiting <= o.low && q.bytes <= outboundBytes/2 {
		q.crowded = false
		o.relieveLocked()
	}
}

// room tells whether the queue of id may take more bytes.
func (o *outbound) room(id peer.ID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	q := o.queues[id]
	return q == nil || q.bytes < outboundMax
}

// gone is called when a peer's queue is no more.
func (o *outbound) gone(id peer.ID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.ready, id)
	if q := o.queues[id]; q != nil {
		delete(o.queues, id)
		if q.crowded {
			o.relieveLocked()
		}
	}
}

func (o *outbound) relieveLocked() {
	close(o.relief)
	o.relief = make(chan struct{})
}

// await waits until none of the peers' queues is crowded, but not for one that stands still, nor longer than ctx lasts.
func (o *outbound) await(ctx context.Context, peers func() []peer.ID) {
	for {
		relief, patience := o.crowd(peers)
		if relief == nil {
			return
		}
		timer := time.NewTimer(patience)
		select {
		case <-relief:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// crowd returns nil when nobody has to be waited for, else what ends the wait, at the latest after patience.
func (o *outbound) crowd(peers func() []peer.ID) (relief <-chan struct{}, patience time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var concerned []peer.ID
	for id, q := range o.queues {
		if !q.crowded {
			continue
		}
		if concerned == nil {
			concerned = peers()
		}
		if left := outboundStall - time.Since(q.moved); left > patience && slices.Contains(concerned, id) {
			relief, patience = o.relief, left
		}
	}
	return relief, patience
}

// outboundStream is the stream to a peer, where what leaves the queue is seen.
type outboundStream struct {
	network.Stream
	outbound *outbound
	greets   bool // the next write is a greeting; of the pubsub loop until the first write, then of the one goroutine that writes
}

// Reset is the last that upstream calls.
func (s *outboundStream) Reset() error {
	s.outbound.ended(s)
	return s.Stream.Reset()
}

// Write is given one packet, behind its length. The greeting never was in the queue.
func (s *outboundStream) Write(p []byte) (int, error) {
	n, err := s.Stream.Write(p)
	if s.greets {
		s.greets = false
		return n, err
	}
	_, prefix := binary.Uvarint(p)
	s.outbound.written(s, len(p)-prefix)
	return n, err
}
