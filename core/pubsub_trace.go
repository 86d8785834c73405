package core

import (
	"sync"
	"sync/atomic"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/proto"
)

// pubsubTracer counts, per topic, what becomes of messages. Upstream calls it from its own goroutines, so it must be quick.
type pubsubTracer struct {
	p      *publisher
	topics sync.Map // name -> *topicCounters
	batch  *packets // of the pubsub loop: what it is sending now
}

func newPubsubTracer(p *publisher) *pubsubTracer { return &pubsubTracer{p: p} }

// topicCounters are the numbers of one topic.
type topicCounters struct {
	published, delivered, duplicates, undeliverable, droppedRPC atomic.Int64

	mu       sync.Mutex
	rejected map[string]int64 // guarded by mu; by reason
}

func (t *pubsubTracer) of(topic string) *topicCounters {
	if c, ok := t.topics.Load(topic); ok {
		return c.(*topicCounters)
	}
	c, _ := t.topics.LoadOrStore(topic, &topicCounters{rejected: map[string]int64{}})
	return c.(*topicCounters)
}

// fresh starts the counters of a topic that is joined.
func (t *pubsubTracer) fresh(topic string) *topicCounters {
	c := &topicCounters{rejected: map[string]int64{}}
	t.topics.Store(topic, c)
	return c
}

func (c *topicCounters) reject(reason string) {
	c.mu.Lock()
	c.rejected[reason]++
	c.mu.Unlock()
}

func (c *topicCounters) rejections() map[string]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := make(map[string]int64, len(c.rejected))
	for reason, n := range c.rejected {
		m[reason] = n
	}
	return m
}

var _ pubsub.RawTracer = (*pubsubTracer)(nil)

func (t *pubsubTracer) DeliverMessage(m *pubsub.Message) { t.of(m.GetTopic()).delivered.Add(1) }

// DuplicateMessage is what a mesh is made of: every message comes by several ways.
func (t *pubsubTracer) DuplicateMessage(m *pubsub.Message) { t.of(m.GetTopic()).duplicates.Add(1) }

func (t *pubsubTracer) RejectMessage(m *pubsub.Message, reason string) {
	t.of(m.GetTopic()).reject(reason)
}

// DropRPC tells that a peer's queue was full, or that it is gone: what was in the packet is lost for it, unless another peer has it.
func (t *pubsubTracer) DropRPC(rpc *pubsub.RPC, p peer.ID) {
	for _, m := range rpc.GetPublish() {
		t.of(m.GetTopic()).droppedRPC.Add(1)
		if t.batch != nil {
			t.batch.lost(m.Data)
		}
	}
}

func (t *pubsubTracer) UndeliverableMessage(m *pubsub.Message) {
	t.of(m.GetTopic()).undeliverable.Add(1)
}

// SendRPC is told of every packet that has found room in a peer's queue.
func (t *pubsubTracer) SendRPC(rpc *pubsub.RPC, id peer.ID) { t.p.out.pushed(id, proto.Size(&rpc.RPC)) }

// OnNewOutboundStream tells that a peer can be sent to.
func (t *pubsubTracer) OnNewOutboundStream(id peer.ID, _ protocol.ID) { t.p.out.open(id) }

// OnClosedOutboundStream tells that a peer, or its stream, is gone.
func (t *pubsubTracer) OnClosedOutboundStream(id peer.ID) { t.p.out.gone(id) }

func (t *pubsubTracer) Join(string)                     {}
func (t *pubsubTracer) Leave(string)                    {}
func (t *pubsubTracer) Graft(peer.ID, string)           {}
func (t *pubsubTracer) Prune(peer.ID, string)           {}
func (t *pubsubTracer) ValidateMessage(*pubsub.Message) {}
func (t *pubsubTracer) ThrottlePeer(peer.ID)            {}
func (t *pubsubTracer) RecvRPC(*pubsub.RPC)             {}
