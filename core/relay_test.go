package core_test

import (
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"

	"github.com/libp2pgo/libp2pgo/core"
)

// The best path to a peer goes from relayed to direct and back, and each change is told.
func TestPathChangesBetweenRelayedAndDirect(t *testing.T) {
	told := newEvents()
	a, b, r := startWith(t, config(t), told.inbox()), start(t), start(t)
	service, err := relay.New(r.Host())
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	if _, err := client.Reserve(timeout(t), b.Host(), peer.AddrInfo{ID: r.ID(), Addrs: r.Host().Addrs()}); err != nil {
		t.Fatal(err)
	}

	relayed := r.Addresses()[0] + "/p2p-circuit/p2p/" + b.ID().String()
	if _, err := a.Connect(timeout(t), []string{relayed}); err != nil {
		t.Fatal(err)
	}
	e := told.wait(t, core.PeerConnected, of(b.ID()))
	if !e.Relayed || !e.Limited || e.Inbound || !strings.HasSuffix(e.Address, "/p2p-circuit/p2p/"+b.ID().String()) {
		t.Fatalf("%+v", e)
	}
	c := a.PeerInfo(b.ID()).(core.PeerInfo).Connections[0]
	if c.Transport != "relay" || !c.Relayed || !c.Limited {
		t.Fatalf("%+v", c)
	}
	if _, err := a.Connect(timeout(t), []string{e.Address}); err != nil {
		t.Fatalf("the event's address does not connect: %v", err)
	}

	connect(t, a, b)
	if e := told.wait(t, core.PeerPath, of(b.ID())); e.Relayed || e.Limited || e.Address != b.Addresses()[0] {
		t.Fatalf("%+v", e)
	}
	for _, c := range a.Host().Network().ConnsToPeer(b.ID()) {
		if !c.Stat().Limited {
			c.CloseWithError(network.ConnErrorCode(0))
		}
	}
	if e := told.wait(t, core.PeerPath, of(b.ID())); !e.Relayed || !e.Limited {
		t.Fatalf("%+v", e)
	}
}
