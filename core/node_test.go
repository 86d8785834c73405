package core_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/libp2pgo/libp2pgo/core"
)

// The defaults contact nobody.
func TestDefaultsContactNobody(t *testing.T) {
	c := core.DefaultConfig()
	if c.MDNS.Enabled || len(c.Bootstrap.Peers) > 0 {
		t.Fatalf("%v", c)
	}
	told := newEvents()
	n := startWith(t, c, told.inbox())
	told.wait(t, core.AddressesChanged, nil)
	if len(n.Addresses()) < 2 {
		t.Fatalf("addresses %q", n.Addresses())
	}
	for _, a := range n.Addresses() {
		if !strings.HasSuffix(a, "/p2p/"+n.ID().String()) {
			t.Errorf("%s does not end in the peer id", a)
		}
	}
	if known := n.Info().(core.NodeInfo).KnownPeers; known != 0 {
		t.Fatalf("%d peers known", known)
	}
}

func TestPortInUse(t *testing.T) {
	for network, listen := range map[string]string{"tcp": "/ip4/127.0.0.1/tcp/%d", "ws": "/ip4/127.0.0.1/tcp/%d/ws", "quic": "/ip4/127.0.0.1/udp/%d/quic-v1"} {
		t.Run("by another node, "+network, func(t *testing.T) {
			first := start(t, "listen", fmt.Sprintf(listen, 0))
			taken, _, _ := strings.Cut(first.Addresses()[0], "/p2p/")
			_, err := core.New(timeout(t), config(t, "listen", "/ip4/127.0.0.1/tcp/0\n"+taken), core.Inbox[core.Event]{})
			mustMatch(t, err, core.ErrListen, taken, "address already in use")
			first.Close()
			start(t, "listen", taken) // given back
		})
	}
	t.Run("by another program", func(t *testing.T) {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		taken := fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", l.Addr().(*net.TCPAddr).Port)
		_, err = core.New(timeout(t), config(t, "listen", taken), core.Inbox[core.Event]{})
		mustMatch(t, err, core.ErrListen, taken)

		told := newEvents()
		n := startWith(t, config(t, "listen", taken+"\n/ip4/127.0.0.1/tcp/0", "listen_require", "any"), told.inbox())
		e := told.wait(t, core.ListenFailed, nil)
		if e.Address != taken || len(n.Addresses()) != 1 {
			t.Fatalf("%+v, %q", e, n.Addresses())
		}
		mustMatch(t, e.Err, core.ErrListen, taken, "in use")

		_, err = core.New(timeout(t), config(t, "listen", taken, "listen_require", "any"), core.Inbox[core.Event]{})
		mustMatch(t, err, core.ErrListen, taken)
	})
	t.Run("not of this machine", func(t *testing.T) {
		_, err := core.New(timeout(t), config(t, "listen", "/ip4/192.0.2.1/tcp/0"), core.Inbox[core.Event]{})
		mustMatch(t, err, core.ErrListen, "/ip4/192.0.2.1/tcp/0", "cannot assign requested address")
	})
	t.Run("QUIC and WebTransport share one", func(t *testing.T) {
		first := start(t, "listen", "/ip4/127.0.0.1/udp/0/quic-v1")
		base, _, _ := strings.Cut(first.Addresses()[0], "/p2p/")
		first.Close()
		if n := start(t, "listen", base+"\n"+base+"/webtransport"); len(n.Addresses()) != 2 {
			t.Fatalf("%q", n.Addresses())
		}
	})
}

// waitForGoroutines fails unless the number of goroutines comes back.
func waitForGoroutines(t *testing.T, baseline int) {
	t.Helper()
	for deadline := time.Now().Add(limit); runtime.NumGoroutine() > baseline; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), baseline, goroutines())
		}
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc/self/fd to count in")
	}
	return len(entries)
}

// Nodes give everything back: goroutines, descriptors, ports.
func TestCloseGivesEverythingBack(t *testing.T) {
	cycle := func(transport int) {
		// Nodes are closed here, not by the test's cleanup, which would hold them.
		open := func() *core.Node {
			n, err := core.New(timeout(t), config(t, "listen", "/ip4/127.0.0.1/tcp/0\n/ip4/127.0.0.1/udp/0/quic-v1"), core.Inbox[core.Event]{})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		a, b := open(), open()
		defer a.Close()
		defer b.Close()
		// One address: where two answer, the dialler hangs up on the slower one, and b may just have opened its stream there.
		if _, err := a.Connect(context.Background(), b.Addresses()[transport:][:1]); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Ping(context.Background(), a.ID()); err != nil {
			t.Fatal(err)
		}
		if err := a.Keep([]string{address(1, randomPeer(t))}); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Host().NewStream(context.Background(), b.ID(), "/ipfs/ping/1.0.0"); err != nil { // left open
			t.Fatal(err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-a.Done():
		default:
			t.Fatal("Done is open after Close")
		}
	}
	cycle(0) // what is started once per process
	cycle(1)
	goroutines, files := runtime.NumGoroutine(), descriptors(t)
	for i := range 50 {
		cycle(i % 2)
	}
	waitForGoroutines(t, goroutines)
	until(t, "the descriptors are back", func() bool { return descriptors(t) <= files })
}

// A start that fails leaves nothing behind, wherever it fails.
func TestFailedStartLeavesNothing(t *testing.T) {
	start(t).Close()
	goroutines, files := runtime.NumGoroutine(), descriptors(t)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	bad := filepath.Join(t.TempDir(), "bad")
	write(t, bad, []byte("x"), 0o600)
	for range 10 {
		for _, c := range []*core.Config{
			config(t, "listen", "/ip4/127.0.0.1/tcp/0\n/ip4/192.0.2.1/tcp/0"), // after the host is there
			config(t, "identity.file", bad),
			config(t, "websocket.cert_file", bad, "websocket.key_file", bad),
		} {
			if n, err := core.New(timeout(t), c, core.Inbox[core.Event]{}); err == nil {
				n.Close()
				t.Fatalf("started with %v", c)
			}
		}
		_, err := core.New(ended, config(t), core.Inbox[core.Event]{})
		mustMatch(t, err, core.ErrCancelled)
	}
	waitForGoroutines(t, goroutines)
	until(t, "the descriptors are back", func() bool { return descriptors(t) <= files })
}

// The ctx of New bounds the start only.
func TestNodeOutlivesItsStart(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	n, err := core.New(ctx, config(t), core.Inbox[core.Event]{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	cancel()
	connect(t, start(t), n)
}

// Any call may meet Close.
func TestCloseDuringCalls(t *testing.T) {
	other := start(t)
	for range 10 {
		told := newEvents()
		n, err := core.New(timeout(t), config(t, "keep.retry_min_ms", "10"), told.inbox())
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for n.Keep(other.Addresses()) == nil {
					n.Connect(context.Background(), other.Addresses())
					n.Ping(context.Background(), other.ID())
					n.Info()
					n.PeersInfo()
					n.Disconnect(other.ID())
					n.Release(other.ID())
				}
			})
		}
		told.wait(t, core.PeerConnected, nil)
		for range 2 {
			wg.Go(func() { n.Close() })
		}
		wg.Wait()
		mustMatch(t, n.Keep(other.Addresses()), core.ErrClosed)
		_, err = n.Connect(context.Background(), other.Addresses())
		mustMatch(t, err, core.ErrClosed)
		mustMatch(t, n.Disconnect(other.ID()), core.ErrClosed)
	}
}

// A reader of events that is stuck holds up nothing; what it missed is counted and announced.
func TestSlowEventReader(t *testing.T) {
	stuck, entered := make(chan struct{}), make(chan struct{}, 1)
	var dropped uint64
	var closed []error
	inbox := core.Inbox[core.Event]{
		Deliver: func(core.Event) {
			select {
			case entered <- struct{}{}:
			default:
			}
			<-stuck
		},
		Dropped: func(n uint64) { dropped += n },
		Closed:  func(err error) { closed = append(closed, err) },
	}
	n, err := core.New(timeout(t), config(t, "events.capacity", "2"), inbox)
	if err != nil {
		t.Fatal(err)
	}
	other := start(t)
	for range 20 {
		connect(t, n, other)
		n.Disconnect(other.ID())
	}
	<-entered
	until(t, "events were dropped", func() bool { return n.Info().(core.NodeInfo).Events.Dropped >= 10 })
	close(stuck)
	until(t, "the rest is delivered", func() bool { return n.Info().(core.NodeInfo).Events.Waiting == 0 })
	n.Close()
	if dropped < 10 || len(closed) != 1 || closed[0] != nil {
		t.Fatalf("dropped %d, closed %v", dropped, closed)
	}
}

// Nodes leave the process's metrics alone.
func TestMetricsOfTheProcessStayEmpty(t *testing.T) {
	a, b := start(t), start(t)
	connect(t, a, b)
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "libp2p_") {
			t.Errorf("%s is registered", f.GetName())
		}
	}
}
