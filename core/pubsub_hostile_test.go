package core_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	"github.com/libp2pgo/libp2pgo/core"
)

// hostile is a peer that says to a node's pubsub whatever a test has it say.
type hostile struct {
	host.Host
	s network.Stream
}

func newHostile(t testing.TB, to *core.Node) *hostile {
	t.Helper()
	h := foreignHost(t, libp2p.NoListenAddrs)
	if err := h.Connect(timeout(t), peer.AddrInfo{ID: to.ID(), Addrs: to.Host().Addrs()}); err != nil {
		t.Fatal(err)
	}
	p := &hostile{Host: h}
	p.open(t, to)
	return p
}

func (p *hostile) open(t testing.TB, to *core.Node) {
	t.Helper()
	var err error
	if p.s, err = p.NewStream(timeout(t), to.ID(), pubsub.GossipSubID_v11); err != nil {
		t.Fatal(err)
	}
	p.say(t, &pb.RPC{}) // the protocol is agreed on with the first bytes, for which the node waits ten seconds; a test may take longer to prepare its own
}

func (p *hostile) say(t testing.TB, rpc *pb.RPC) {
	t.Helper()
	if _, err := protodelim.MarshalTo(p.s, rpc); err != nil {
		t.Fatal(err)
	}
}

// subscribe subscribes to topics, or ends that.
func (p *hostile) subscribe(t testing.TB, on bool, topics ...string) {
	t.Helper()
	rpc := &pb.RPC{}
	for _, name := range topics {
		rpc.Subscriptions = append(rpc.Subscriptions, &pb.RPC_SubOpts{Topicid: proto.String(name), Subscribe: proto.Bool(on)})
	}
	p.say(t, rpc)
}

func numbered(format string, from, to int) (names []string) {
	for i := from; i < to; i++ {
		names = append(names, fmt.Sprintf(format, i))
	}
	return names
}

// sign makes a message of its own, with a number as long as the test likes.
func (p *hostile) sign(t testing.TB, topic string, data, seqno []byte) *pb.Message {
	t.Helper()
	m := &pb.Message{From: []byte(p.ID()), Data: data, Seqno: seqno, Topic: &topic}
	text, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if m.Signature, err = p.Peerstore().PrivKey(p.ID()).Sign(append([]byte(pubsub.SignPrefix), text...)); err != nil {
		t.Fatal(err)
	}
	return m
}

func (p *hostile) publish(t testing.TB, topic string, data, seqno []byte) {
	t.Helper()
	p.say(t, &pb.RPC{Publish: []*pb.Message{p.sign(t, topic, data, seqno)}})
}

const refusedSubscriptions = "libp2pgo_pubsub_subscriptions_refused_total"

// What a node remembers of a peer's subscriptions is bounded, however they come, but never those to its own topics.
func TestPubsub_SubscriptionsOfAPeerAreBounded(t *testing.T) {
	n := start(t, "pubsub.max_subscriptions", "100")
	own := join(t, n, "own")
	peers := func(topic *core.Topic) int { return topicInfo(topic).Peers }
	until := func(what string, is func() bool) { t.Helper(); until(t, what, is) }
	p := newHostile(t, n)
	for i := range 3 { // each time more than may be, some of them again
		p.subscribe(t, true, numbered("t%d", 0, 150+i)...)
	}
	p.subscribe(t, true, "own")
	until("the own topic passes", func() bool { return peers(own) == 1 })
	if refused := number(t, n, refusedSubscriptions); refused != 50+51+52 {
		t.Fatalf("%v refused", refused)
	}
	last, first := join(t, n, "t149"), join(t, n, "t0")
	if until("the first is known", func() bool { return peers(first) == 1 }); peers(last) != 0 {
		t.Fatalf("%d peers of the last", peers(last))
	}
	// What it leaves is free again: own passes in any case, so that ten of the twenty find a place.
	p.subscribe(t, false, numbered("t%d", 0, 10)...)
	p.subscribe(t, false, "own")
	until("it left", func() bool { return peers(own) == 0 })
	p.subscribe(t, true, numbered("u%d", 0, 20)...)
	p.subscribe(t, true, "own")
	until("it is back", func() bool { return peers(own) == 1 })
	if refused := number(t, n, refusedSubscriptions); refused != 153+10 {
		t.Fatalf("%v refused", refused)
	}
	// A stream takes along what was said on it.
	p.s.Reset()
	until("its stream ended", func() bool { return peers(own) == 0 })
	p.open(t, n)
	p.subscribe(t, true, append(numbered("v%d", 0, 100), "own")...)
	until("it is back", func() bool { return peers(own) == 1 })
	if refused := number(t, n, refusedSubscriptions); refused != 163 {
		t.Fatalf("%v refused", refused)
	}
}

// The names of topics count, too.
func TestPubsub_NamesOfSubscriptionsAreBounded(t *testing.T) {
	n := start(t, "pubsub.max_control_size", "65536")
	own := join(t, n, "own")
	p := newHostile(t, n)
	p.subscribe(t, true, strings.Repeat("x", 2000)) // nobody here could join it
	for i := range 4 {
		p.subscribe(t, true, numbered(strings.Repeat("y", 1000-2)+"%02d", 20*i, 20*i+20)...)
	}
	p.subscribe(t, true, "own")
	until(t, "the own topic passes", func() bool { return topicInfo(own).Peers == 1 })
	if refused := number(t, n, refusedSubscriptions); refused != 1+80-65 {
		t.Fatalf("%v refused", refused)
	}
}

// A message is no larger than it says, whatever its other fields hold.
func TestPubsub_FieldsOfAMessageAreBounded(t *testing.T) {
	n := start(t)
	plain, ruled := join(t, n, "plain"), joinWith(t, n, "ruled", `{"max_size": 100}`, core.Inbox[core.TopicEvent]{})
	listen(t, ruled)
	heard, release := make(chan *core.Message, 2), make(chan struct{})
	s := subscribeWith(t, plain, "", core.Inbox[*core.Message]{Deliver: func(m *core.Message) { heard <- m; <-release }})
	t.Cleanup(func() { close(release) })
	p := newHostile(t, n)
	long := make([]byte, 300<<10)
	p.publish(t, "plain", []byte("a"), long)
	first := <-heard
	if len(first.ID) > 128 {
		t.Fatalf("an id of %d bytes", len(first.ID))
	}
	p.publish(t, "plain", []byte("b"), append(long, 1)) // another number, another message
	until(t, "the second waits", func() bool { return s.Info().(core.SubscriptionInfo).Waiting == 1 })
	if info := s.Info().(core.SubscriptionInfo); info.WaitingBytes < int64(1+256+len(first.ID)) {
		t.Fatalf("%+v", info)
	}
	p.publish(t, "ruled", []byte("c"), make([]byte, 8))
	p.publish(t, "ruled", []byte("d"), append(long, 2))
	until(t, "both came", func() bool {
		info := topicInfo(ruled)
		return info.Delivered == 1 && info.Rejected["validation failed"] == 1
	})
}

// A burst of 10,000 signed messages that comes faster than their signatures are checked is lossless with default queues.
func TestPubsub_BurstFasterThanItsCheck(t *testing.T) {
	const count = 10_000
	n := start(t, "pubsub.validate_workers", "1")
	topic := join(t, n, "burst")
	listen(t, topic)
	p := newHostile(t, n)
	packets := make([]*pb.RPC, count/100)
	for i := range packets {
		packets[i] = &pb.RPC{}
		for j := range 100 {
			packets[i].Publish = append(packets[i].Publish, p.sign(t, "burst", []byte("x"), binary.BigEndian.AppendUint64(nil, uint64(i*100+j))))
		}
	}
	for _, packet := range packets {
		p.say(t, packet)
	}
	until(t, "all messages are checked", func() bool {
		info := topicInfo(topic)
		if len(info.Rejected) > 0 {
			t.Fatalf("%v", info.Rejected)
		}
		return info.Delivered == count
	})
}
