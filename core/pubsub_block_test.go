package core

import (
	"context"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/prometheus/client_golang/prometheus"
)

// Nothing is kept of a peer that was asked to introduce itself anew, and went away instead.
func TestPubsub_APeerThatIsGoneIsNotAwaited(t *testing.T) {
	n := startPlain(t, "gossipsub")
	h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.PrometheusRegisterer(prometheus.NewRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.Connect(t.Context(), peer.AddrInfo{ID: n.ID(), Addrs: n.host.Addrs()}); err != nil {
		t.Fatal(err)
	}
	s, err := h.NewStream(t.Context(), n.ID(), pubsub.GossipSubID_v11)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte{0}); err != nil { // an empty packet
		t.Fatal(err)
	}
	b := &n.pubsub.block
	state := func() (streams, awaited int) {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.streams), len(b.awaited)
	}
	await(t, "the stream came", func() bool { streams, _ := state(); return streams == 1 })
	o := &n.pubsub.out
	o.mu.Lock()
	o.lost[h.ID()] = time.Now() // as after a stream of ours that ended
	o.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	(&gatedHost{n.host, &n.pubsub.gate, o, b}).askAgain(ctx, h.ID())
	await(t, "the stream ended", func() bool { streams, _ := state(); return streams == 0 })
	if _, awaited := state(); awaited > 0 {
		t.Fatalf("%d awaited", awaited)
	}
}

// Messages that the peer gater throws away are counted. It throws dice, so upstream's part is played here.
func TestPubsub_GatedMessagesAreCounted(t *testing.T) {
	n := startPlain(t, "gossipsub", "pubsub.gater.enabled", "true")
	topic, err := n.Join("news", TopicOptions{}, Inbox[TopicEvent]{})
	if err != nil {
		t.Fatal(err)
	}
	rpc := &pubsub.RPC{RPC: pb.RPC{Publish: []*pb.Message{{Topic: &topic.name}, {Topic: &topic.name}}}}
	tracer := newPubsubTracer(n.pubsub) // the node's own is its loop's
	tracer.topics.Store(topic.name, topic.counters)
	tracer.RecvRPC(rpc)
	tracer.ThrottlePeer("peer")
	if info := topic.Info().(TopicInfo); info.Rejected["peer gater"] != 2 {
		t.Fatalf("%+v", info)
	}
}
