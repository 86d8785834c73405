package core_test

import (
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
	h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableMetrics())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
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
