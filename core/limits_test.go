package core_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/libp2pgo/libp2pgo/core"
)

// openStreams opens n streams of one protocol, and returns the first error.
func openStreams(t *testing.T, from, to *core.Node, n int) (err error) {
	t.Helper()
	to.Host().SetStreamHandler("/test", func(s network.Stream) { s.Write([]byte{1}) })
	connect(t, from, to)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range n / 8 {
				s, failed := from.Host().NewStream(context.Background(), to.ID(), "/test")
				if failed == nil {
					_, failed = s.Read(make([]byte, 1))
				}
				if failed != nil {
					mu.Lock()
					err = failed
					mu.Unlock()
					return
				}
			}
		})
	}
	wg.Wait()
	return err
}

// Upstream resets the 76th stream of one protocol with one peer.
func TestPresetsLiftTheLimitOfStreamsPerPeer(t *testing.T) {
	for preset, streams := range map[string]int{"default": 1000, "server": 1000, "embedded": 120, "unlimited": 1000} {
		t.Run(preset, func(t *testing.T) {
			if err := openStreams(t, start(t, "limits.preset", preset), start(t, "limits.preset", preset), streams); err != nil {
				t.Fatal(err)
			}
		})
	}
	t.Run("limits.streams_per_peer", func(t *testing.T) {
		for _, preset := range []string{"default", "unlimited"} {
			if err := openStreams(t, start(t), start(t, "limits.preset", preset, "limits.streams_per_peer", "16"), 64); err == nil {
				t.Fatalf("%s: more streams than the limit", preset)
			}
		}
	})
}

// Upstream refuses the ninth connection from one IP address, and more than one in five seconds after a few.
func TestPresetsLiftTheLimitOfConnectionsPerAddress(t *testing.T) {
	accepted := func(t *testing.T, pairs ...string) int {
		t.Helper()
		n := start(t, pairs...)
		resources := n.Host().Network().ResourceManager()
		remote := ma.StringCast("/ip4/203.0.113.7/tcp/4001") // loopback is exempt upstream
		for i := range 400 {
			scope, err := resources.OpenConnection(network.DirInbound, false, remote)
			if err != nil {
				if !strings.Contains(err.Error(), "limit") {
					t.Fatalf("refused without naming a limit: %v", err)
				}
				return i
			}
			t.Cleanup(scope.Done)
		}
		return 400
	}
	for preset, want := range map[string]int{"default": 256, "server": 400, "embedded": 64, "unlimited": 400} {
		if got := accepted(t, "limits.preset", preset); got < want {
			t.Errorf("%s: %d connections from one address, not %d", preset, got, want)
		}
	}
	for _, preset := range []string{"default", "unlimited"} {
		if got := accepted(t, "limits.preset", preset, "limits.connections_per_ip", "5"); got != 5 {
			t.Errorf("%s with connections_per_ip 5: %d", preset, got)
		}
		if got := accepted(t, "limits.preset", preset, "limits.connections", "20"); got > 20 {
			t.Errorf("%s with connections 20: %d", preset, got)
		}
	}
}

// What is refused by address is counted, and a bound on connections is none on how fast they come.
func TestLimitsPerAddressAreCounted(t *testing.T) {
	n := start(t, "limits.preset", "unlimited", "limits.connections_per_ip", "5")
	resources := n.Host().Network().ResourceManager()
	remote := ma.StringCast("/ip4/203.0.113.7/tcp/4001")
	for range 100 {
		scope, err := resources.OpenConnection(network.DirInbound, false, remote)
		if err != nil {
			t.Fatal(err)
		}
		scope.Done()
	}
	for i := range 8 {
		scope, err := resources.OpenConnection(network.DirInbound, false, remote)
		if (err == nil) != (i < 5) {
			t.Fatalf("connection %d: %v", i, err)
		}
		if err == nil {
			defer scope.Done()
		}
	}
	got, err := n.Limits()
	if err != nil {
		t.Fatal(err)
	}
	if info := got.(core.LimitsInfo); info.Refused["ip"] != 3 || info.Refused["connection"] != 0 || info.PerIP != (core.PerIPInfo{Connections: 5}) {
		t.Fatalf("%v %+v", info.Refused, info.PerIP)
	}
	if refused := number(t, n, "libp2pgo_resource_refused_total", "scope", "ip"); refused != 3 {
		t.Fatalf("%v refused", refused)
	}
}

func TestMemoryLimitOfAnUnlimitedNode(t *testing.T) {
	n := start(t, "limits.preset", "unlimited", "limits.memory_bytes", "1000000", "limits.file_descriptors", "10")
	err := n.Host().Network().ResourceManager().ViewSystem(func(s network.ResourceScope) error {
		return s.ReserveMemory(1_000_001, network.ReservationPriorityAlways)
	})
	if err == nil {
		t.Fatal("more memory than the limit")
	}
}

// Two nodes meet by mDNS, on a service name of their own.
func TestMDNS(t *testing.T) {
	if !multicast() {
		t.Skip("no interface with multicast")
	}
	service := "_t" + strings.ToLower(randomPeer(t).String()[44:]) + "._udp"
	toldA, toldB := newEvents(), newEvents()
	listen := "/ip4/0.0.0.0/tcp/0"
	a := startWith(t, config(t, "mdns.enabled", "true", "mdns.service", service, "listen", listen), toldA.inbox())
	b := startWith(t, config(t, "mdns.enabled", "true", "mdns.service", service, "listen", listen, "mdns.connect", "true"), toldB.inbox())
	if e := toldB.wait(t, core.PeerFound, of(a.ID())); e.Source != "mdns" || len(e.Addresses) == 0 {
		t.Fatalf("%+v", e)
	}
	toldB.wait(t, core.PeerConnected, of(a.ID()))
	b.Close()
	a.Close()
}

func multicast() bool {
	interfaces, _ := net.Interfaces()
	for _, i := range interfaces {
		if i.Flags&net.FlagUp != 0 && i.Flags&net.FlagMulticast != 0 && i.Flags&net.FlagLoopback == 0 {
			return true
		}
	}
	return false
}
