package core_test

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	identifypb "github.com/libp2p/go-libp2p/p2p/protocol/identify/pb"
	"github.com/libp2p/go-msgio/pbio"

	"github.com/libp2pgo/libp2pgo/core"
)

// A peer whose first answers to "who are you" are lost is asked again: else it would stay connected and hear of no topic, and be in no DHT's table and no meeting.
func TestAPeerThatDidNotSayWhatItIsIsAskedAgain(t *testing.T) {
	a, b := start(t, "dht.mode", "client"), start(t, "dht.mode", "server")
	var asked atomic.Int32
	b.Host().SetStreamHandler(identify.ID, func(s network.Stream) {
		if asked.Add(1) <= 2 {
			s.Reset()
			return
		}
		agent := "late"
		pbio.NewDelimitedWriter(s).WriteMsg(&identifypb.Identify{
			AgentVersion: &agent, ListenAddrs: [][]byte{b.Host().Addrs()[0].Bytes()}, Protocols: protocol.ConvertToStrings(b.Host().Mux().Protocols()),
		})
		s.Close()
	})
	topic := join(t, b, "t")
	subscribeWith(t, join(t, a, "t"), "", core.Inbox[*core.Message]{})
	connect(t, a, b)
	until(t, "what the node subscribes to at the peer", func() bool { return slices.Contains(topic.Peers(), a.ID()) })
	until(t, "the peer in the DHT's table", func() bool { return table(t, a).Info().(core.DHTInfo).Peers == 1 })
	if info := a.PeerInfo(b.ID()).(core.PeerInfo); info.Agent != "late" {
		t.Fatalf("%+v", info)
	}
	if n := asked.Load(); n != 3 {
		t.Fatalf("asked %d times", n)
	}
}

// A node that closes while it asks stops asking, though there is no answer.
func TestCloseWhileAPeerIsAskedAgain(t *testing.T) {
	a, b := start(t), start(t)
	var asked atomic.Int32
	silent := make(chan struct{})
	b.Host().SetStreamHandler(identify.ID, func(s network.Stream) {
		defer s.Reset()
		if asked.Add(1) > 1 {
			<-silent
		}
	})
	defer close(silent)
	connect(t, a, b)
	until(t, "asked again", func() bool { return asked.Load() == 2 })
	a.Close()
	if all := goroutines(); strings.Contains(all, "(*identifier).ask") {
		t.Fatal(all)
	}
}
