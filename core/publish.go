package core

import (
	"context"
	"errors"
	"iter"
	"sync"
	"unsafe"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/proto"
)

const (
	// outboxMax bounds what waits to be published on a topic, in bytes.
	outboxMax = 64 << 20
	// publishBatch is up to how many waiting messages go out together, and packetMax how many bytes of them in one packet to a peer.
	publishBatch = 64
	packetMax    = 64 << 10
)

// letterOut is one message on its way out.
type letterOut struct {
	ctx      context.Context
	data     []byte
	minPeers int
	done     func(peers int, err error)
}

// outbox publishes a topic's messages in their order, on a goroutine that lives while there are any.
type outbox struct {
	t *Topic

	mu      sync.Mutex
	letters []letterOut // guarded by mu
	bytes   int         // guarded by mu
	running bool        // guarded by mu
	idle    *sync.Cond  // on mu: not running
}

func (o *outbox) init(t *Topic) {
	o.t = t
	o.idle = sync.NewCond(&o.mu)
}

func (o *outbox) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.letters)
}

func (o *outbox) wait() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.running {
		o.idle.Wait()
	}
}

// Publish sends data to the topic and returns to how many peers it went; with minPeers, first waits until so many subscribe, ErrPeers when time is
// up. data is kept. It fails with a *SizeError, ErrRejected when a rule of the topic refuses it, or ErrClosed.
func (t *Topic) Publish(ctx context.Context, data []byte, minPeers int) (peers int, err error) {
	type result struct {
		peers int
		err   error
	}
	c := make(chan result, 1)
	if err := t.Enqueue(ctx, data, minPeers, func(peers int, err error) { c <- result{peers, err} }); err != nil {
		return 0, err
	}
	r := <-c
	return r.peers, r.err
}

// Enqueue publishes in the background, in the order of the calls, and calls done once. It fails with ErrLimit when 64 MiB wait.
func (t *Topic) Enqueue(ctx context.Context, data []byte, minPeers int, done func(peers int, err error)) error {
	limit := t.p.node.cfg.Pubsub.MaxMessageSize
	if t.rules.maxSize > 0 {
		limit = min(limit, t.rules.maxSize)
	}
	if len(data) > limit {
		return &SizeError{What: "message", Size: int64(len(data)), Max: int64(limit)}
	}
	o := &t.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	if t.ctx.Err() != nil {
		return ctxError(t.ctx, "topic %s", quoteShort(t.name))
	}
	if o.bytes+len(data) > outboxMax {
		return Errorf(ErrLimit, "topic %s: %d messages with %d bytes wait to be published, no more than %d may", quoteShort(t.name), len(o.letters), o.bytes, outboxMax)
	}
	if len(data) == 0 {
		data = make([]byte, 0, 1) // an address of its own: see packets
	}
	o.letters = append(o.letters, letterOut{ctx, data, minPeers, done})
	o.bytes += len(data)
	if !o.running {
		o.running = true
		safeGo("publish", o.run)
	}
	return nil
}

func (o *outbox) run() {
	for {
		o.mu.Lock()
		n := min(len(o.letters), publishBatch)
		if n == 0 {
			o.running = false
			o.letters = nil
			o.idle.Broadcast()
			o.mu.Unlock()
			return
		}
		batch := o.letters[:n:n]
		o.letters = o.letters[n:]
		for _, l := range batch {
			o.bytes -= len(l.data)
		}
		o.mu.Unlock()
		o.t.publish(batch)
	}
}

// publish signs and checks each letter, sends those that pass in one step of the pubsub loop, and tells each how many peers it went to.
func (t *Topic) publish(letters []letterOut) {
	batch, out := &pubsub.MessageBatch{}, newPackets()
	var ready []letterOut
	flush := func() {
		if len(ready) == 0 {
			return
		}
		t.p.send(batch, out)
		for _, l := range ready {
			if !out.sent() {
				l.done(0, ctxError(t.p.node.ctx, "topic %s", quoteShort(t.name)))
				continue
			}
			t.counters.published.Add(1)
			l.done(out.peers[unsafe.SliceData(l.data)], nil)
		}
		batch, out, ready = &pubsub.MessageBatch{}, newPackets(), nil
	}
	for _, l := range letters {
		if l.minPeers > 0 {
			flush() // those before it must not wait for its peers
			if err := t.awaitPeers(l.ctx, l.minPeers); err != nil {
				l.done(0, err)
				continue
			}
		}
		if out.has(l.data) {
			flush()
		}
		if l.ctx.Err() != nil {
			l.done(0, ctxError(l.ctx, "topic %s", quoteShort(t.name)))
			continue
		}
		if err := t.t.AddToBatch(l.ctx, batch, l.data); err != nil {
			l.done(0, t.publishError(l.ctx, err))
			continue
		}
		out.expect(l.data)
		ready = append(ready, l)
	}
	flush()
}

func (t *Topic) publishError(ctx context.Context, err error) error {
	var refused pubsub.ValidationError
	switch {
	case errors.As(err, &refused):
		return Errorf(ErrRejected, "topic %s: %s", quoteShort(t.name), refused.Reason)
	case errors.Is(err, pubsub.ErrTopicClosed), t.ctx.Err() != nil:
		return Errorf(ErrClosed, "topic %s was left", quoteShort(t.name))
	}
	return translate(ctx, err, ErrInternal, "topic %s", quoteShort(t.name))
}

// send hands a batch to the pubsub loop and waits until it is out. One at a time: upstream's channel holds one batch, and after the end of
// the loop a second one would wait for ever.
func (p *publisher) send(batch *pubsub.MessageBatch, out *packets) {
	select {
	case p.turn <- struct{}{}:
	case <-p.node.ctx.Done():
		return
	}
	defer func() { <-p.turn }()
	if p.node.ctx.Err() != nil {
		return
	}
	p.ps.PublishBatch(batch, func(o *pubsub.BatchPublishOptions) error {
		o.Strategy = out
		return nil
	})
	select {
	case <-out.done:
	case <-p.node.ctx.Done():
	}
}

// packets is how upstream's batch goes out: it learns in the pubsub loop to which peers each message goes, and joins the messages to a peer
// into few packets. Upstream does not tell the id of what it was given to publish, but it keeps the data where it is: its address is the name.
type packets struct {
	peers map[*byte]int // by the address of the data
	queue []packet
	done  chan struct{} // closed when all are with the peers' queues
}

type packet struct {
	to  peer.ID
	rpc *pubsub.RPC
}

func newPackets() *packets { return &packets{peers: map[*byte]int{}, done: make(chan struct{})} }

func (k *packets) expect(data []byte) { k.peers[unsafe.SliceData(data)] = 0 }

func (k *packets) has(data []byte) bool {
	_, ok := k.peers[unsafe.SliceData(data)]
	return ok
}

// AddRPC implements pubsub.RPCScheduler.
func (k *packets) AddRPC(to peer.ID, _ string, rpc *pubsub.RPC) {
	for _, m := range rpc.Publish {
		k.peers[unsafe.SliceData(m.Data)]++
	}
	k.queue = append(k.queue, packet{to, rpc})
}

// All implements pubsub.RPCScheduler.
func (k *packets) All() iter.Seq2[peer.ID, *pubsub.RPC] {
	return func(yield func(peer.ID, *pubsub.RPC) bool) {
		defer close(k.done)
		open := map[peer.ID]*pubsub.RPC{}
		sizes := map[peer.ID]int{}
		var order []peer.ID
		for _, next := range k.queue {
			size := proto.Size(&next.rpc.RPC)
			if rpc := open[next.to]; rpc != nil {
				if sizes[next.to]+size <= packetMax {
					rpc.Publish = append(rpc.Publish, next.rpc.Publish...)
					sizes[next.to] += size
					continue
				}
				if !yield(next.to, rpc) {
					return
				}
			} else {
				order = append(order, next.to)
			}
			// Upstream may share one RPC between peers, so the one that grows is our own.
			rpc := &pubsub.RPC{}
			rpc.Publish = append(rpc.Publish, next.rpc.Publish...)
			open[next.to], sizes[next.to] = rpc, size
		}
		for _, to := range order {
			if !yield(to, open[to]) {
				return
			}
		}
	}
}

func (k *packets) sent() bool {
	select {
	case <-k.done:
		return true
	default:
		return false
	}
}
