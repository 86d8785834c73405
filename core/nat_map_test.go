package core

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	basichost "github.com/libp2p/go-libp2p/p2p/host/basic"
	ma "github.com/multiformats/go-multiaddr"
)

// fakeRouter forwards ports to whoever asks, until it is told to stop.
type fakeRouter struct {
	mu   sync.Mutex
	gone bool // guarded by mu
}

func (f *fakeRouter) GetMapping(own ma.Multiaddr) ma.Multiaddr {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := own.ValueForProtocol(ma.P_TCP); err != nil || f.gone {
		return nil
	}
	return ma.StringCast("/ip4/1.2.3.4/tcp/4001")
}

func (f *fakeRouter) HasDiscoveredNAT() bool { return true }
func (f *fakeRouter) Close() error           { return nil }

// A port that the router forwards is told, is among the node's addresses, and is told again when it goes or the node gives it up.
func TestPortMappingIsTold(t *testing.T) {
	router := &fakeRouter{}
	before := newNATManager
	newNATManager = func(network.Network) basichost.NATManager { return router }
	defer func() { newNATManager = before }()

	c := DefaultConfig()
	for path, value := range map[string]string{"listen": "/ip4/127.0.0.1/tcp/0", "nat.port_map": "true"} {
		if err := c.Set(path, value); err != nil {
			t.Fatal(err)
		}
	}
	told := make(chan Event, 64)
	n, err := New(context.Background(), c, Inbox[Event]{Deliver: func(e Event) { told <- e }})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	next := func() Event {
		t.Helper()
		for timer := time.After(30 * time.Second); ; {
			select {
			case e := <-told:
				if e.Type == PortMapped {
					return e
				}
			case <-timer:
				t.Fatal("nothing was told")
			}
		}
	}
	listening := slices.DeleteFunc(texts(n.host.Network().ListenAddresses()), func(a string) bool { return !strings.HasPrefix(a, "/ip4/127") })
	own := listening[0]
	if e := next(); e.Address != own || e.Source != "/ip4/1.2.3.4/tcp/4001" {
		t.Fatalf("%+v, listening at %s", e, own)
	}
	want := PortMapInfo{Enabled: true, Router: true, Mappings: []PortMapping{{own, "/ip4/1.2.3.4/tcp/4001"}}}
	if info := n.NATInfo().PortMap; !info.Enabled || !info.Router || !slices.Equal(info.Mappings, want.Mappings) {
		t.Fatalf("%+v", info)
	}
	if !slices.Contains(n.Addresses(), "/ip4/1.2.3.4/tcp/4001/p2p/"+n.ID().String()) {
		t.Fatalf("%q", n.Addresses())
	}
	for _, gone := range []bool{true, false} {
		router.mu.Lock()
		router.gone = gone
		router.mu.Unlock()
		if e := next(); e.Address != own || (e.Source == "") != gone {
			t.Fatalf("%+v", e)
		}
	}
	if err := n.Unlisten([]string{own}); err != nil {
		t.Fatal(err)
	}
	if e := next(); e.Address != own || e.Source != "" {
		t.Fatalf("%+v", e)
	}
	if info := n.NATInfo().PortMap; len(info.Mappings) != 0 {
		t.Fatalf("%+v", info)
	}
}
