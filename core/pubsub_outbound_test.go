package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

func startPlain(t *testing.T, router string, options ...string) *Node {
	t.Helper()
	c := DefaultConfig()
	for option := range slices.Chunk(append([]string{"listen", "/ip4/127.0.0.1/tcp/0", "pubsub.router", router}, options...), 2) {
		if err := c.Set(option[0], option[1]); err != nil {
			t.Fatal(err)
		}
	}
	n, err := New(t.Context(), c, Inbox[Event]{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func connectPlain(t *testing.T, from, to *Node) {
	t.Helper()
	if _, err := from.Connect(t.Context(), to.Addresses()); err != nil {
		t.Fatal(err)
	}
}

func joinPlain(t *testing.T, n *Node, name string) *Topic {
	t.Helper()
	o, err := ParseTopicOptions(nil)
	if err != nil {
		t.Fatal(err)
	}
	topic, err := n.Join(name, o, Inbox[TopicEvent]{})
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

func subscribePlain(t *testing.T, topic *Topic) {
	t.Helper()
	o, err := ParseSubscribeOptions(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := topic.Subscribe(o, Inbox[*Message]{}); err != nil {
		t.Fatal(err)
	}
}

// queueOf returns what waits for a peer.
func queueOf(n *Node, id peer.ID) outboundQueue {
	o := &n.pubsub.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if q := o.queues[id]; q != nil {
		return *q
	}
	return outboundQueue{}
}

// What was put into a peer's queue and has left it is nothing, to the byte, however much it was: else the bound on bytes wears away.
func TestPubsubOutbound_CountsWhatItCounted(t *testing.T) {
	for _, router := range []string{"gossipsub", "floodsub", "randomsub"} {
		for _, greets := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/greets=%v", router, greets), func(t *testing.T) {
				from, to := startPlain(t, router), startPlain(t, router)
				near, far := joinPlain(t, from, "count"), joinPlain(t, to, "count")
				if greets {
					subscribePlain(t, near)
				}
				subscribePlain(t, far)
				connectPlain(t, from, to)
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				for _, size := range []int{1, 100, 1000, 20_000, 100_000} { // with lengths of 1 to 3 bytes
					for range 10 {
						if n, err := near.Publish(ctx, make([]byte, size), 1); n != 1 || err != nil {
							t.Fatal(n, err)
						}
					}
				}
				for q := queueOf(from, to.ID()); q.waiting != 0 || q.bytes != 0; q = queueOf(from, to.ID()) {
					select {
					case <-time.After(time.Millisecond):
					case <-ctx.Done():
						t.Fatalf("%d packets with %d bytes are left over", q.waiting, q.bytes)
					}
				}
			})
		}
	}
}

// A write that ends when its peer has gone leaves nothing behind that the peer's next queue would begin with.
func TestPubsubOutbound_LateWrite(t *testing.T) {
	from, to := startPlain(t, "gossipsub"), startPlain(t, "gossipsub")
	near, far := joinPlain(t, from, "late"), joinPlain(t, to, "late")
	subscribePlain(t, far)
	connectPlain(t, from, to)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := near.Publish(ctx, []byte("hello"), 1); err != nil {
		t.Fatal(err)
	}
	o := &from.pubsub.out
	s := o.streamTo(to.ID())
	to.Close()
	for len(o.info()) > 0 {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			t.Fatal("the peer does not go")
		}
	}
	s.Write([]byte("\x04late"))
	if q := queueOf(from, to.ID()); q != (outboundQueue{}) {
		t.Fatalf("%+v for a peer that is gone", q)
	}
}

// A publisher that a peer without room holds back waits no longer than its call may last, also behind one that has no limit.
func TestPubsubOutbound_AWaitEndsWithTheCall(t *testing.T) {
	from := startPlain(t, "floodsub", "pubsub.outbound_queue", "16", "yamux.window_bytes", "262144")
	slow, quick := startPlain(t, "floodsub", "yamux.window_bytes", "262144"), startPlain(t, "floodsub")
	near := joinPlain(t, from, "wait")
	o, err := ParseSubscribeOptions([]byte(`{"overflow": "block", "capacity": 1}`))
	if err != nil {
		t.Fatal(err)
	}
	goOn, heard := make(chan struct{}), make(chan string, 1)
	resume := sync.OnceFunc(func() { close(goOn) })
	defer resume()
	for n, inbox := range map[*Node]Inbox[*Message]{
		slow:  {Deliver: func(*Message) { <-goOn }},
		quick: {Deliver: func(m *Message) { heard <- string(m.Data) }},
	} {
		if _, err := joinPlain(t, n, "wait").Subscribe(o, inbox); err != nil {
			t.Fatal(err)
		}
		connectPlain(t, from, n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := near.Publish(ctx, []byte("first"), 2); err != nil {
		t.Fatal(err)
	}
	<-heard
	for held := false; !held; {
		before := queueOf(from, slow.ID()).moved
		limited, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		_, err := near.Publish(limited, make([]byte, 16<<10), 0)
		cancel()
		if err == nil {
			<-heard
		} else if !errors.Is(err, ErrTimeout) {
			t.Fatal(err)
		}
		held = err != nil && before == queueOf(from, slow.ID()).moved // and not just late
	}

	asked := make(chan struct{}, 2)
	for _, ask := range []func(){func() { from.pubsub.out.crowd(near.Peers) }, func() { near.reachable() }} {
		go func() { // from two sides at a time, as the outbox and what ends letters do
			for range 200_000 {
				ask()
			}
			asked <- struct{}{}
		}()
	}
	for range cap(asked) {
		select {
		case <-asked:
		case <-ctx.Done():
			t.Fatal("the queues and the topic wait for each other")
		}
	}

	ended, endedBehind := make(chan error, 1), make(chan error, 1)
	unlimited, end := context.WithCancel(t.Context())
	defer end()
	if err := near.Enqueue(unlimited, []byte("unlimited"), 0, func(_ int, err error) { ended <- err }); err != nil {
		t.Fatal(err)
	}
	limited, cancelLimited := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancelLimited()
	if err := near.Enqueue(limited, []byte("limited"), 0, func(_ int, err error) { endedBehind <- err }); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		t.Fatalf("it was not held back: %v", err)
	case err := <-endedBehind:
		if !errors.Is(err, ErrTimeout) {
			t.Fatal(err)
		}
	}
	end()
	if err := <-ended; !errors.Is(err, ErrCancelled) {
		t.Fatal(err)
	}
	resume()
	if n, err := near.Publish(ctx, []byte("last"), 0); err != nil || n != 2 {
		t.Fatalf("%d peers, %v", n, err)
	}
	if data := <-heard; data != "last" {
		t.Fatalf("the other peer heard %q", data)
	}
}
