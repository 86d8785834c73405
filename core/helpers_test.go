package core_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/libp2pgo/libp2pgo/core"
)

// limit is how long a test waits for what should happen at once; generous, for slow machines.
const limit = 30 * time.Second

func timeout(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

// config returns the defaults with one TCP address on loopback, changed by pairs of path and value.
func config(t testing.TB, pairs ...string) *core.Config {
	t.Helper()
	c := core.DefaultConfig()
	for i, pairs := 0, append([]string{"listen", "/ip4/127.0.0.1/tcp/0"}, pairs...); i < len(pairs); i += 2 {
		if err := c.Set(pairs[i], pairs[i+1]); err != nil {
			t.Fatalf("set %s to %q: %v", pairs[i], pairs[i+1], err)
		}
	}
	return c
}

// events collects what a node tells.
type events struct {
	ch chan core.Event
}

func newEvents() *events { return &events{make(chan core.Event, 4096)} }

func (e *events) inbox() core.Inbox[core.Event] {
	return core.Inbox[core.Event]{Deliver: func(event core.Event) { e.ch <- event }}
}

// wait returns the next event that matches, and drops those before it.
func (e *events) wait(t testing.TB, eventType core.EventType, match func(core.Event) bool) core.Event {
	t.Helper()
	var seen []string
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case event := <-e.ch:
			if event.Type == eventType && (match == nil || match(event)) {
				return event
			}
			seen = append(seen, fmt.Sprintf("%v %s", event.Type, event.Peer))
		case <-timer.C:
			t.Fatalf("no %v within %v; there were %s", eventType, limit, strings.Join(seen, ", "))
		}
	}
}

// next returns the next event.
func (e *events) next(t testing.TB) core.Event {
	t.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case event := <-e.ch:
		return event
	case <-timer.C:
		t.Fatalf("no event within %v", limit)
	}
	return core.Event{}
}

func of(id peer.ID) func(core.Event) bool {
	return func(e core.Event) bool { return e.Peer == id }
}

func startWith(t testing.TB, c *core.Config, inbox core.Inbox[core.Event]) *core.Node {
	t.Helper()
	n, err := core.New(timeout(t), c, inbox)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func start(t testing.TB, pairs ...string) *core.Node {
	t.Helper()
	return startWith(t, config(t, pairs...), core.Inbox[core.Event]{})
}

func connect(t testing.TB, from, to *core.Node) {
	t.Helper()
	id, err := from.Connect(timeout(t), to.Addresses())
	if err != nil {
		t.Fatalf("Connect: %v", err)
	}
	if id != to.ID() {
		t.Fatalf("Connect returned %s, not %s", id, to.ID())
	}
}

// mustMatch fails unless err is of kind and of no other, and says all of words on one line.
func mustMatch(t testing.TB, err, kind error, words ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("error %v is not %q but %q", err, kind, core.Kind(err))
	}
	if core.Kind(err) != kind {
		t.Fatalf("error %v matches %q too", err, core.Kind(err))
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Fatalf("error %q does not name %q", err, w)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Fatalf("error %q has several lines", err)
	}
}

// until waits for a state.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// goroutines returns the stacks of all goroutines, for messages.
func goroutines() string {
	buffer := make([]byte, 1<<20)
	return string(buffer[:runtime.Stack(buffer, true)])
}

// latePort returns a TCP port that leads to n, where each piece of n's answers comes so much late.
func latePort(t testing.TB, n *core.Node) (port int, late *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	late = new(atomic.Int64)
	_, target, err := manet.DialArgs(n.Host().Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp4", target)
			if err != nil {
				in.Close()
				continue
			}
			t.Cleanup(func() { in.Close(); out.Close() })
			go io.Copy(out, in)
			go func() {
				piece := make([]byte, 64<<10)
				for {
					size, err := out.Read(piece)
					if err != nil {
						return
					}
					time.Sleep(time.Duration(late.Load())) // a network
					in.Write(piece[:size])
				}
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port, late
}
