package core

import (
	"slices"
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
	topics sync.Map // name -> *topicCounters, of topics that are joined
	batch  *packets // of the pubsub loop: what it is sending now
	traces traces

	received *pubsub.RPC // of the pubsub loop: what a peer sent last, if there is a gater

	subscriptionsRefused atomic.Int64

	mu   sync.Mutex
	mesh map[string]map[peer.ID]struct{} // guarded by mu
}

func newPubsubTracer(p *publisher) *pubsubTracer {
	return &pubsubTracer{p: p, mesh: map[string]map[peer.ID]struct{}{}}
}

// meshes returns the peers of each topic's mesh.
func (t *pubsubTracer) meshes() map[string][]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make(map[string][]string, len(t.mesh))
	for topic, peers := range t.mesh {
		all[topic] = peerTexts(peers)
	}
	return all
}

// meshOf returns the peers of a topic's mesh.
func (t *pubsubTracer) meshOf(topic string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return peerTexts(t.mesh[topic])
}

func peerTexts(peers map[peer.ID]struct{}) []string {
	texts := make([]string, 0, len(peers))
	for id := range peers {
		texts = append(texts, id.String())
	}
	slices.Sort(texts)
	return texts
}

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
	return &topicCounters{rejected: map[string]int64{}} // the topic was left: nobody will ask
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

func (t *pubsubTracer) DeliverMessage(m *pubsub.Message) {
	t.of(m.GetTopic()).delivered.Add(1)
	t.traces.message("deliver", m, "")
}

// DuplicateMessage is what a mesh is made of: every message comes by several ways.
func (t *pubsubTracer) DuplicateMessage(m *pubsub.Message) {
	t.of(m.GetTopic()).duplicates.Add(1)
	t.traces.message("duplicate", m, "")
}

func (t *pubsubTracer) RejectMessage(m *pubsub.Message, reason string) {
	t.of(m.GetTopic()).reject(reason)
	t.traces.message("reject", m, reason)
}

// DropRPC tells that a peer's queue was full, or that it is gone: what was in the packet is lost for it, unless another peer has it.
func (t *pubsubTracer) DropRPC(rpc *pubsub.RPC, p peer.ID) {
	for _, m := range rpc.GetPublish() {
		t.of(m.GetTopic()).droppedRPC.Add(1)
		if t.batch != nil {
			t.batch.lost(m.Data)
		}
	}
	t.traces.packet("drop", rpc, p, t.p)
}

func (t *pubsubTracer) UndeliverableMessage(m *pubsub.Message) {
	t.of(m.GetTopic()).undeliverable.Add(1)
	t.traces.message("undeliverable", m, "")
}

// SendRPC is told of every packet that has found room in a peer's queue.
func (t *pubsubTracer) SendRPC(rpc *pubsub.RPC, id peer.ID) {
	t.p.out.pushed(id, proto.Size(&rpc.RPC))
	if t.batch != nil && t.batch.direct {
		t.batch.sent(rpc)
	}
	t.traces.packet("send", rpc, id, t.p)
}

func (t *pubsubTracer) RecvRPC(rpc *pubsub.RPC) {
	if t.p.node.cfg.Pubsub.Gater.Enabled {
		t.received = rpc
	}
	t.traces.packet("receive", rpc, rpc.From(), t.p)
}

// OnNewOutboundStream tells that a peer can be sent to.
func (t *pubsubTracer) OnNewOutboundStream(id peer.ID, name protocol.ID) {
	t.p.out.open(id, name)
	t.mu.Lock()
	subscribed := len(t.mesh) > 0
	t.mu.Unlock()
	if subscribed { // what gossipsub greets with; of other routers see plainRouter
		t.p.out.greet(id)
	}
	t.traces.put(&TraceEvent{Type: "open", Peer: id, Protocol: string(name)})
}

// OnClosedOutboundStream tells that a peer, or its stream, is gone.
func (t *pubsubTracer) OnClosedOutboundStream(id peer.ID) {
	t.p.out.gone(id)
	t.mu.Lock()
	for _, peers := range t.mesh {
		delete(peers, id)
	}
	t.mu.Unlock()
	t.traces.put(&TraceEvent{Type: "close", Peer: id})
}

// Join tells that the node became a member of a topic's mesh. Randomsub calls it when it leaves, too.
func (t *pubsubTracer) Join(topic string) {
	t.mu.Lock()
	if t.mesh[topic] == nil && t.p.node.cfg.Pubsub.Router == "gossipsub" {
		t.mesh[topic] = map[peer.ID]struct{}{}
	}
	t.mu.Unlock()
	t.traces.put(&TraceEvent{Type: "join", Topic: topic})
}

func (t *pubsubTracer) Leave(topic string) {
	t.mu.Lock()
	delete(t.mesh, topic)
	t.mu.Unlock()
	t.traces.put(&TraceEvent{Type: "leave", Topic: topic})
}

func (t *pubsubTracer) Graft(id peer.ID, topic string) {
	t.mu.Lock()
	if peers := t.mesh[topic]; peers != nil {
		peers[id] = struct{}{}
	}
	t.mu.Unlock()
	t.traces.put(&TraceEvent{Type: "graft", Topic: topic, Peer: id})
}

func (t *pubsubTracer) Prune(id peer.ID, topic string) {
	t.mu.Lock()
	delete(t.mesh[topic], id)
	t.mu.Unlock()
	t.traces.put(&TraceEvent{Type: "prune", Topic: topic, Peer: id})
}

func (t *pubsubTracer) ValidateMessage(m *pubsub.Message) { t.traces.message("validate", m, "") }

// ThrottlePeer tells that the peer gater threw away the messages of the packet that came last.
func (t *pubsubTracer) ThrottlePeer(id peer.ID) {
	if t.received != nil {
		for _, m := range t.received.GetPublish() {
			t.of(m.GetTopic()).reject("peer gater")
		}
	}
	t.traces.put(&TraceEvent{Type: "throttle", Peer: id})
}
