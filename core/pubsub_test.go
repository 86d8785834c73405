package core_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/libp2pgo/libp2pgo/core"
)

func topicOptions(t testing.TB, doc string) core.TopicOptions {
	t.Helper()
	o, err := core.ParseTopicOptions([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func joinWith(t testing.TB, n *core.Node, name, options string, inbox core.Inbox[core.TopicEvent]) *core.Topic {
	t.Helper()
	topic, err := n.Join(name, topicOptions(t, options), inbox)
	if err != nil {
		t.Fatalf("Join: %v", err)
	}
	return topic
}

func join(t testing.TB, n *core.Node, name string) *core.Topic {
	t.Helper()
	return joinWith(t, n, name, "", core.Inbox[core.TopicEvent]{})
}

func subscribeWith(t testing.TB, topic *core.Topic, options string, inbox core.Inbox[*core.Message]) *core.Subscription {
	t.Helper()
	o, err := core.ParseSubscribeOptions([]byte(options))
	if err != nil {
		t.Fatal(err)
	}
	s, err := topic.Subscribe(o, inbox)
	if err != nil {
		t.Fatalf("Subscribe: %v", err)
	}
	return s
}

// heard collects messages, and gaps as nil.
type heard struct{ ch chan *core.Message }

func listen(t testing.TB, topic *core.Topic) *heard {
	t.Helper()
	h := &heard{make(chan *core.Message, 1<<16)}
	subscribeWith(t, topic, "", core.Inbox[*core.Message]{
		Deliver: func(m *core.Message) { h.ch <- m },
		Dropped: func(uint64) { h.ch <- nil },
	})
	return h
}

func (h *heard) next(t testing.TB) *core.Message {
	t.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case m := <-h.ch:
		return m
	case <-timer.C:
		t.Fatalf("no message within %v", limit)
		return nil
	}
}

func (h *heard) want(t testing.TB, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if m := h.next(t); m == nil || string(m.Data) != text {
			t.Fatalf("heard %v, not %q", m, text)
		}
	}
}

func publish(t testing.TB, topic *core.Topic, text string, minPeers int) int {
	t.Helper()
	n, err := topic.Publish(timeout(t), []byte(text), minPeers)
	if err != nil {
		t.Fatalf("Publish: %v", err)
	}
	return n
}

// topics returns the two ends of a topic that know each other.
func topics(t testing.TB, name, nearOptions, farOptions string, options ...string) (near, far *core.Topic) {
	t.Helper()
	from, to := pair(t, options...)
	near, far = joinWith(t, from, name, nearOptions, core.Inbox[core.TopicEvent]{}), joinWith(t, to, name, farOptions, core.Inbox[core.TopicEvent]{})
	return near, far
}

func topicInfo(topic *core.Topic) core.TopicInfo { return topic.Info().(core.TopicInfo) }

// What a message says of itself, at its author's and at a peer's.
func TestPubsub_Message(t *testing.T) {
	for _, signing := range []string{"sign", "none"} {
		t.Run(signing, func(t *testing.T) {
			from, to := pair(t, "pubsub.signing", signing)
			near, far := join(t, from, "says"), join(t, to, "says")
			own, there := listen(t, near), listen(t, far)
			if n := publish(t, near, "hello", 1); n != 1 {
				t.Fatalf("went to %d peers", n)
			}
			author := from.ID()
			if signing == "none" {
				author = ""
			}
			a, b := own.next(t), there.next(t)
			for _, m := range []*core.Message{a, b} {
				if string(m.Data) != "hello" || m.Topic != "says" || m.From != from.ID() || m.Author != author || m.Signed != (signing == "sign") ||
					(m.Seq == 0) != (signing == "none") || len(m.ID) == 0 || string(m.ID) != string(a.ID) {
					t.Errorf("message is %+v", m)
				}
			}
			if !a.Local || b.Local {
				t.Errorf("local: %v at the author, %v at the peer", a.Local, b.Local)
			}
		})
	}
}

// A pubsub stream that ends while the peer stays connected, as when the second of two connections closes, leaves both knowing what the other
// subscribes to.
func TestPubsub_OutlivesItsStreams(t *testing.T) {
	from, to := pair(t)
	events := make(chan core.TopicEvent, 64)
	near := joinWith(t, from, "lasting", "", core.Inbox[core.TopicEvent]{Deliver: func(e core.TopicEvent) { events <- e }})
	far := join(t, to, "lasting")
	listen(t, near)
	there := listen(t, far)
	want := func(event core.TopicEventType) {
		t.Helper()
		select {
		case e := <-events:
			if e.Type != event {
				t.Fatalf("event %v, not %v", e.Type, event)
			}
		case <-time.After(limit):
			t.Fatalf("no event %v within %v", event, limit)
		}
	}
	want(core.TopicJoined)
	publish(t, near, "before", 1)
	there.want(t, "before")
	for _, s := range from.Host().Network().ConnsToPeer(to.ID())[0].GetStreams() {
		if strings.HasPrefix(string(s.Protocol()), "/meshsub/") && s.Stat().Direction == network.DirOutbound {
			s.Reset()
		}
	}
	want(core.TopicLeft)
	want(core.TopicJoined)
	until(t, "the peer knows of the subscription again", func() bool { return len(far.Peers()) == 1 })
	publish(t, near, "after", 1)
	there.want(t, "after")
}

// A burst of 10,000 small messages between two nodes is lossless with default queues, however it is published, and in order without signatures.
func TestPubsub_BurstIsLossless(t *testing.T) {
	const count = 10_000
	for _, signing := range []string{"sign", "none"} {
		for _, way := range []string{"publish", "enqueue"} {
			t.Run(signing+"/"+way, func(t *testing.T) {
				near, far := topics(t, "burst", "", "", "pubsub.signing", signing)
				there := listen(t, far)
				publish(t, near, "first", 1)
				there.want(t, "first")
				ctx, cancel := context.WithTimeout(t.Context(), 10*limit) // the last waits for all before it
				defer cancel()
				var failed atomic.Int64
				var all sync.WaitGroup
				for i := range count {
					data := binary.BigEndian.AppendUint32(make([]byte, 0, 256), uint32(i))[:256]
					if way == "publish" {
						if n, err := near.Publish(ctx, data, 0); err != nil || n != 1 {
							t.Fatalf("message %d went to %d peers, %v", i, n, err)
						}
						continue
					}
					all.Add(1)
					if err := near.Enqueue(ctx, data, 0, func(n int, err error) {
						if err != nil || n != 1 {
							failed.Add(1)
						}
						all.Done()
					}); err != nil {
						t.Fatal(err)
					}
				}
				all.Wait()
				if failed.Load() > 0 {
					t.Fatalf("%d were not sent", failed.Load())
				}
				came := make([]bool, count)
				for i := range count {
					m := there.next(t)
					if m == nil {
						t.Fatalf("a gap after %d messages; sender %+v, receiver %+v", i, topicInfo(near), topicInfo(far))
					}
					n := binary.BigEndian.Uint32(m.Data)
					// Signatures are checked on several processors, so that neighbours may change places.
					if came[n] || signing == "none" && n != uint32(i) {
						t.Fatalf("message %d is %d; sender %+v, receiver %+v", i, n, topicInfo(near), topicInfo(far))
					}
					came[n] = true
				}
			})
		}
	}
}

// A publisher that is faster than a peer takes is held back, before upstream's queue to the peer loses anything.
func TestPubsub_PublisherWaitsForRoomInItsQueues(t *testing.T) {
	near, far := topics(t, "wait", "", "", "pubsub.outbound_queue", "2", "pubsub.signing", "none")
	there := listen(t, far)
	publish(t, near, "first", 1)
	there.want(t, "first")
	const count = 2000
	for i := range count {
		if n, err := near.Publish(timeout(t), fmt.Appendf(nil, "%d %s", i, strings.Repeat("x", 4096)), 0); err != nil || n != 1 {
			t.Fatalf("message %d went to %d peers, %v; %+v", i, n, err, topicInfo(near))
		}
	}
	for i := range count {
		if m := there.next(t); m == nil || !strings.HasPrefix(string(m.Data), fmt.Sprintf("%d ", i)) {
			t.Fatalf("message %d is not the next; sender %+v", i, topicInfo(near))
		}
	}
	if info := topicInfo(near); info.DroppedRPC != 0 || info.Published != count+1 {
		t.Fatalf("sender %+v", info)
	}
}

// A subscription that blocks holds its peers back while nobody takes its messages, and loses none of them.
func TestSubscription_BlockHoldsThePublisherBack(t *testing.T) {
	const count, capacity = 12_000, 16
	near, far := topics(t, "hold", "", "", "pubsub.signing", "none", "yamux.window_bytes", "262144", "pubsub.outbound_queue", "16")
	goOn := make(chan struct{})
	got := make(chan *core.Message, count)
	s := subscribeWith(t, far, fmt.Sprintf(`{"capacity": %d, "overflow": "block"}`, capacity), core.Inbox[*core.Message]{
		Deliver: func(m *core.Message) { <-goOn; got <- m },
		Dropped: func(n uint64) { t.Errorf("%d were dropped", n) },
	})
	publish(t, near, "first", 1)
	ended := make(chan error, 1)
	var sent atomic.Int64
	go func() {
		for i := range count {
			data := binary.BigEndian.AppendUint32(make([]byte, 0, 1024), uint32(i))[:1024]
			if n, err := near.Publish(context.Background(), data, 0); err != nil || n != 1 {
				ended <- fmt.Errorf("message %d went to %d peers: %w", i, n, errors.Join(err))
				return
			}
			sent.Add(1)
		}
		ended <- nil
	}()
	until(t, "the subscription holds its peers back", func() bool { return s.Info().(core.SubscriptionInfo).Holding })
	until(t, "the publisher waits", func() bool {
		before := sent.Load()
		time.Sleep(100 * time.Millisecond)
		return sent.Load() == before
	})
	if sent.Load() == count {
		t.Fatal("the publisher was not held back")
	}
	close(goOn)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	<-got // "first"
	for i := range count {
		select {
		case m := <-got:
			if binary.BigEndian.Uint32(m.Data) != uint32(i) {
				t.Fatalf("message %d is %d", i, binary.BigEndian.Uint32(m.Data))
			}
		case <-timeout(t).Done():
			t.Fatalf("message %d never came; sender %+v, receiver %+v", i, topicInfo(near), topicInfo(far))
		}
	}
}

// A subscription that blocks lets its peers go on when what it had is delivered, however the messages and their delivery meet.
func TestSubscription_DoesNotHoldWithNothingWaiting(t *testing.T) {
	topic := join(t, start(t, "pubsub.signing", "none"), "free")
	got := make(chan struct{}, 1)
	s := subscribeWith(t, topic, `{"capacity": 1, "overflow": "block"}`, core.Inbox[*core.Message]{Deliver: func(*core.Message) { got <- struct{}{} }})
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for range 4 { // the more ask, the longer what regulates may have to wait
		all.Go(func() {
			for ctx.Err() == nil {
				s.Info()
			}
		})
	}
	for i := range 500 {
		publish(t, topic, fmt.Sprint(i), 0)
		<-got
		until(t, "the peers are let go on", func() bool { return !s.Info().(core.SubscriptionInfo).Holding })
	}
}

// A function that panics over every message does not leave the peers held back.
func TestSubscription_PanicsDoNotHoldThePeersBack(t *testing.T) {
	topic := join(t, start(t), "panics")
	goOn := make(chan struct{})
	s := subscribeWith(t, topic, `{"capacity": 4, "overflow": "block"}`, core.Inbox[*core.Message]{Deliver: func(*core.Message) {
		<-goOn
		panic("on purpose")
	}})
	info := func() core.SubscriptionInfo { return s.Info().(core.SubscriptionInfo) }
	for i := range 6 {
		publish(t, topic, fmt.Sprint(i), 0)
	}
	until(t, "the peers are held back", func() bool { return info().Holding })
	close(goOn)
	until(t, "all are delivered and the peers go on", func() bool { return info().Delivered == 6 && !info().Holding })
}

// What a full subscription loses, by its policy, and where it says so.
func TestSubscription_Overflow(t *testing.T) {
	for _, c := range []struct {
		overflow string
		want     []string // after "0", which is being delivered while the others come
	}{
		{"drop_oldest", []string{"-6", "7", "8", "9"}},
		{"drop_newest", []string{"1", "2", "3", "-6"}},
		{"block", []string{"1", "2", "3", "4", "5", "6", "7", "8", "9"}},
	} {
		t.Run(c.overflow, func(t *testing.T) {
			topic := join(t, start(t), "full")
			goOn, begun := make(chan struct{}), make(chan struct{}, 16)
			heard := make(chan string, 16)
			s := subscribeWith(t, topic, fmt.Sprintf(`{"capacity": 3, "overflow": %q}`, c.overflow), core.Inbox[*core.Message]{
				Deliver: func(m *core.Message) { begun <- struct{}{}; <-goOn; heard <- string(m.Data) },
				Dropped: func(n uint64) { heard <- fmt.Sprint("-", n) },
			})
			publish(t, topic, "0", 0)
			<-begun
			for i := 1; i < 10; i++ {
				publish(t, topic, fmt.Sprint(i), 0)
			}
			close(goOn)
			for i, want := range append([]string{"0"}, c.want...) {
				select {
				case got := <-heard:
					if got != want {
						t.Fatalf("%d: heard %q, not %q", i, got, want)
					}
				case <-timeout(t).Done():
					t.Fatalf("%d: heard nothing, not %q", i, want)
				}
			}
			info := s.Info().(core.SubscriptionInfo)
			if lost := c.overflow != "block"; (info.Dropped == 6) != lost || info.Waiting != 0 {
				t.Fatalf("info is %+v", info)
			}
		})
	}
}

// The largest message that can be published arrives; one byte more is an error, not a silence.
func TestPubsub_LargestMessage(t *testing.T) {
	for _, c := range [][]string{{"pubsub.signing", "sign"}, {"pubsub.signing", "sign", "identity.type", "ecdsa"}, {"pubsub.signing", "sign", "identity.type", "rsa"}, {"pubsub.signing", "none"}} {
		t.Run(strings.Join(c, " "), func(t *testing.T) {
			near, far := topics(t, "large", "", "", append(c, "pubsub.max_message_size", "4096")...)
			there := listen(t, far)
			_, err := near.Publish(timeout(t), make([]byte, 1<<20), 1)
			mustMatch(t, err, core.ErrTooBig)
			var size *core.SizeError
			if !errors.As(err, &size) || size.Max < 3000 || size.Max > 4096 {
				t.Fatalf("error %#v", err)
			}
			for range 10 { // signatures vary in length
				if n, err := near.Publish(timeout(t), pattern(int(size.Max)), 1); err != nil || n != 1 {
					t.Fatalf("%d bytes went to %d peers, %v; %+v", size.Max, n, err, topicInfo(near))
				}
				if m := there.next(t); m == nil || len(m.Data) != int(size.Max) {
					t.Fatalf("heard %v", m)
				}
				if c[1] == "none" {
					break // equal ones are one
				}
			}
			_, err = near.Publish(timeout(t), make([]byte, size.Max+1), 0)
			mustMatch(t, err, core.ErrTooBig)
		})
	}
}

// Rules without the program's help, at the receiver and at the publisher itself.
func TestTopic_Rules(t *testing.T) {
	from, to := pair(t)
	stranger := start(t).ID()
	for _, c := range []struct {
		name, options string
		refused       string // what breaks the rule, after "ok"
		want          error
	}{
		{"size", `{"max_size": 8}`, "much too long", core.ErrRejected},
		{"signers", fmt.Sprintf(`{"signers": [%q]}`, stranger), "", nil},
		{"rate", `{"rate": 0.001, "burst": 1}`, "a second one", core.ErrRejected},
	} {
		t.Run(c.name, func(t *testing.T) {
			near, far := join(t, from, c.name), joinWith(t, to, c.name, c.options, core.Inbox[core.TopicEvent]{})
			there := listen(t, far)
			if c.refused == "" { // every message of this author
				publish(t, near, "refused", 1)
			} else {
				publish(t, near, "ok", 1)
				there.want(t, "ok")
				publish(t, near, c.refused, 1)
			}
			until(t, "the receiver refused one", func() bool {
				n := int64(0)
				for _, of := range topicInfo(far).Rejected {
					n += of
				}
				return n == 1
			})
			if len(there.ch) > 0 {
				t.Fatalf("heard %q", (<-there.ch).Data)
			}
			near.Close()
			own := joinWith(t, from, c.name, c.options, core.Inbox[core.TopicEvent]{})
			if c.want == core.ErrRejected {
				publish(t, own, "ok", 0)
			}
			_, err := own.Publish(timeout(t), []byte("much too long"), 0)
			if c.want == nil {
				c.want = core.ErrRejected
			}
			mustMatch(t, err, c.want)
		})
	}
}

func TestTopic_BadOptions(t *testing.T) {
	n, unsigned := start(t), start(t, "pubsub.signing", "none")
	_, err := n.Join("x", core.TopicOptions{Signers: []string{"nobody"}, ValidateDefault: "ignore"}, core.Inbox[core.TopicEvent]{})
	mustMatch(t, err, core.ErrConfig, "signers", "nobody")
	_, err = unsigned.Join("x", topicOptions(t, fmt.Sprintf(`{"signers": [%q]}`, n.ID())), core.Inbox[core.TopicEvent]{})
	mustMatch(t, err, core.ErrConfig, "signers", "signing")
	_, err = n.Join("", topicOptions(t, ""), core.Inbox[core.TopicEvent]{})
	mustMatch(t, err, core.ErrInvalid)
	_, err = start(t, "pubsub.enabled", "false").Join("x", topicOptions(t, ""), core.Inbox[core.TopicEvent]{})
	mustMatch(t, err, core.ErrState, "pubsub")
	for _, doc := range []string{`{"rate": -1}`, `{"validate_default": "maybe"}`, `{"nonsense": 1}`, `{"validate": 1}`} {
		if _, err := core.ParseTopicOptions([]byte(doc)); !errors.Is(err, core.ErrConfig) {
			t.Errorf("%s: %v", doc, err)
		}
	}
}

// Every verdict, and the default where none is given in time.
func TestTopic_Validate(t *testing.T) {
	from, to := pair(t)
	for _, c := range []struct {
		name      string
		answer    core.Decision
		silent    bool
		byDefault string
		delivered bool
	}{
		{"accept", core.Accept, false, "reject", true},
		{"reject", core.Reject, false, "accept", false},
		{"ignore", core.Ignore, false, "accept", false},
		{"silent-accept", 0, true, "accept", true},
		{"silent-reject", 0, true, "reject", false},
		{"silent-ignore", 0, true, "ignore", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			near := join(t, from, c.name)
			asked := make(chan *core.Verdict, 1)
			timeoutMs := 600_000
			if c.silent {
				timeoutMs = 50
			}
			far := joinWith(t, to, c.name, fmt.Sprintf(`{"validate": true, "validate_timeout_ms": %d, "validate_default": %q}`, timeoutMs, c.byDefault),
				core.Inbox[core.TopicEvent]{Deliver: func(e core.TopicEvent) {
					if e.Type != core.TopicValidate {
						return
					}
					if string(e.Message.Data) != "judge me" || e.Message.Author != from.ID() {
						t.Errorf("asked about %+v", e.Message)
					}
					if !c.silent {
						if err := e.Verdict.Answer(c.answer); err != nil {
							t.Error(err)
						}
					}
					asked <- e.Verdict
				}})
			there := listen(t, far)
			publish(t, near, "judge me", 1)
			v := <-asked
			select {
			case <-v.Expired:
			case <-timeout(t).Done():
				t.Fatal("the verdict never expires")
			}
			mustMatch(t, v.Answer(core.Accept), core.ErrNotFound)
			if c.delivered {
				there.want(t, "judge me")
			} else {
				until(t, "it is counted", func() bool { return len(topicInfo(far).Rejected) == 1 })
				if len(there.ch) > 0 {
					t.Fatal("it was delivered")
				}
			}
			if late := topicInfo(far).VerdictsLate; (late == 1) != c.silent {
				t.Fatalf("%d late verdicts", late)
			}
		})
	}
}

// Beyond the verdicts that may be pending, the default holds at once.
func TestTopic_ValidateCapacity(t *testing.T) {
	from, to := pair(t)
	near := join(t, from, "many")
	far := joinWith(t, to, "many", `{"validate": true, "validate_timeout_ms": 600000, "validate_default": "accept", "validate_capacity": 1}`, core.Inbox[core.TopicEvent]{})
	there := listen(t, far)
	publish(t, near, "waits", 1)
	for i := range 100 {
		publish(t, near, fmt.Sprint(i), 0)
	}
	seen := map[string]bool{}
	for range 100 {
		seen[string(there.next(t).Data)] = true
	}
	if info := topicInfo(far); info.VerdictsLate != 100 || len(info.Rejected) != 0 || len(seen) != 100 {
		t.Fatalf("%d heard, %+v", len(seen), info)
	}
}

// A program that does not take the questions for verdicts is not asked what nobody wants to know any more, and they take no more than so much memory.
func TestTopic_ValidateWithoutHurry(t *testing.T) {
	const count = 80
	from, to := pair(t, "pubsub.signing", "none")
	near := join(t, from, "slow")
	subscribeWith(t, near, "", core.Inbox[*core.Message]{})
	begun, goOn, left := make(chan struct{}, count), make(chan struct{}), make(chan struct{})
	var dropped atomic.Uint64
	far := joinWith(t, to, "slow", `{"validate": true, "validate_timeout_ms": 1, "validate_default": "accept"}`, core.Inbox[core.TopicEvent]{
		Deliver: func(e core.TopicEvent) {
			switch e.Type {
			case core.TopicValidate:
				begun <- struct{}{}
				<-goOn
			case core.TopicLeft:
				close(left)
			}
		},
		Dropped: func(n uint64) { dropped.Add(n) },
	})
	subscribeWith(t, far, "", core.Inbox[*core.Message]{})
	until(t, "the author is seen to subscribe", func() bool { return len(far.Peers()) == 1 })
	data := strings.Repeat("x", 1_000_000)
	publish(t, near, fmt.Sprint(0, data), 1)
	<-begun
	for i := 1; i < count; i++ {
		publish(t, near, fmt.Sprint(i, data), 0)
	}
	until(t, "all verdicts are late", func() bool { return topicInfo(far).Delivered == count })
	near.Close()
	until(t, "the author is seen to leave", func() bool { return len(far.Peers()) == 0 })
	close(goOn)
	select {
	case <-left:
	case <-timeout(t).Done():
		t.Fatal("not told of the leaving")
	}
	if len(begun) > 0 || dropped.Load() == 0 {
		t.Fatalf("asked %d times too late; %d were dropped", len(begun), dropped.Load())
	}
}

// Publish waits for subscribers by event, not by polling, and says when they do not come.
func TestPublish_MinPeers(t *testing.T) {
	from, to := pair(t)
	joined := make(chan peer.ID, 8)
	left := make(chan peer.ID, 8)
	near := joinWith(t, from, "late", "", core.Inbox[core.TopicEvent]{Deliver: func(e core.TopicEvent) {
		switch e.Type {
		case core.TopicJoined:
			joined <- e.Peer
		case core.TopicLeft:
			left <- e.Peer
		}
	}})
	short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err := near.Publish(short, []byte("x"), 1)
	mustMatch(t, err, core.ErrPeers, "0 of 1")

	stopped, stop := context.WithCancel(context.Background())
	results := make(chan error, 2)
	if err := near.Enqueue(stopped, []byte("never"), 1, func(_ int, err error) { results <- err }); err != nil {
		t.Fatal(err)
	}
	short, cancel = context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := near.Enqueue(short, []byte("behind it"), 0, func(_ int, err error) { results <- err }); err != nil {
		t.Fatal(err)
	}
	mustMatch(t, <-results, core.ErrTimeout) // although the one before it still waits
	stop()
	mustMatch(t, <-results, core.ErrCancelled)

	done := make(chan error, 1)
	go func() {
		_, err := near.Publish(timeout(t), []byte("at last"), 1)
		done <- err
	}()
	far := join(t, to, "late")
	there := listen(t, far)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	there.want(t, "at last")
	if id := <-joined; id != to.ID() || !slices.Equal(near.Peers(), []peer.ID{id}) {
		t.Fatalf("%s joined, peers %v", id, near.Peers())
	}
	far.Close()
	if id := <-left; id != to.ID() || len(near.Peers()) != 0 {
		t.Fatalf("%s left, peers %v", id, near.Peers())
	}
}

// One topic by a name at a time; left and joined again it works as before.
func TestTopic_JoinedOnce(t *testing.T) {
	from, to := pair(t)
	near := join(t, from, "once")
	for range 3 {
		far := join(t, to, "once")
		_, err := to.Join("once", topicOptions(t, ""), core.Inbox[core.TopicEvent]{})
		mustMatch(t, err, core.ErrExists, "once")
		there := listen(t, far)
		publish(t, near, "here", 1)
		there.want(t, "here")
		far.Close()
		far.Close()
		_, err = far.Publish(timeout(t), nil, 0)
		mustMatch(t, err, core.ErrClosed)
		o, _ := core.ParseSubscribeOptions(nil)
		_, err = far.Subscribe(o, core.Inbox[*core.Message]{})
		mustMatch(t, err, core.ErrClosed)
		until(t, "the publisher knows", func() bool { return len(near.Peers()) == 0 })
	}
}

// Without authors, equal messages are one while the first is remembered.
func TestPubsub_EqualMessagesWithoutAuthorAreOne(t *testing.T) {
	near, far := topics(t, "equal", "", "", "pubsub.signing", "none")
	there := listen(t, far)
	if n := publish(t, near, "same", 1); n != 1 {
		t.Fatalf("went to %d", n)
	}
	if n := publish(t, near, "same", 1); n != 0 {
		t.Fatalf("the second went to %d", n)
	}
	publish(t, near, "other", 1)
	there.want(t, "same", "other")
}

// A subscription, its topic and the like can be closed from within what they deliver.
func TestSubscription_ClosedByItsOwnInbox(t *testing.T) {
	topic := join(t, start(t), "own")
	var s *core.Subscription
	made, closed := make(chan struct{}), make(chan error, 1)
	s = subscribeWith(t, topic, "", core.Inbox[*core.Message]{
		Deliver: func(*core.Message) { <-made; s.Close() },
		Closed:  func(err error) { closed <- err },
	})
	close(made)
	publish(t, topic, "x", 0)
	select {
	case err := <-closed:
		if err != nil {
			t.Fatal(err)
		}
	case <-timeout(t).Done():
		t.Fatal("not closed")
	}
}

// Somebody else may be closing it at that moment, and wait for the inbox.
func TestSubscription_ClosedByItsOwnInboxAndSomebodyElse(t *testing.T) {
	for _, what := range []string{"subscription", "topic", "trace", "node"} {
		t.Run(what, func(t *testing.T) {
			n := start(t)
			var end func()
			begun, goOn, inside := make(chan struct{}), make(chan struct{}), make(chan struct{})
			var once sync.Once
			deliver := func() {
				once.Do(func() {
					close(begun)
					<-goOn
					end()
					close(inside)
				})
			}
			topic := join(t, n, "two")
			switch what {
			case "trace":
				o, _ := core.ParseTraceOptions(nil)
				trace, err := n.PubsubTrace(o, core.Inbox[*core.TraceEvent]{Deliver: func(*core.TraceEvent) { deliver() }})
				if err != nil {
					t.Fatal(err)
				}
				end = trace.Close
			default:
				s := subscribeWith(t, topic, "", core.Inbox[*core.Message]{Deliver: func(*core.Message) { deliver() }})
				end = map[string]func(){"subscription": s.Close, "topic": topic.Close, "node": func() { n.Close() }}[what]
			}
			publish(t, topic, "x", 0)
			<-begun
			outside := make(chan struct{})
			go func() { end(); close(outside) }()
			until(t, "the other waits for the inbox", func() bool { return strings.Contains(goroutines(), "core.(*mailbox[...]).close(") })
			close(goOn)
			for _, done := range []chan struct{}{inside, outside} {
				select {
				case <-done:
				case <-timeout(t).Done():
					t.Fatalf("a close hangs\n%s", goroutines())
				}
			}
		})
	}
}

// A panic in the program's function loses that message and nothing else.
func TestSubscription_InboxThatPanics(t *testing.T) {
	topic := join(t, start(t), "panic")
	got := make(chan string, 4)
	before := core.Panics()
	subscribeWith(t, topic, "", core.Inbox[*core.Message]{Deliver: func(m *core.Message) {
		if string(m.Data) == "bad" {
			panic("on purpose")
		}
		got <- string(m.Data)
	}})
	for _, text := range []string{"one", "bad", "two"} {
		publish(t, topic, text, 0)
	}
	if a, b := <-got, <-got; a != "one" || b != "two" || core.Panics() != before+1 {
		t.Fatalf("heard %q, %q; %d panics", a, b, core.Panics()-before)
	}
}

// A node can be closed in the middle of everything; who waits is told, and nothing stays.
func TestPubsub_NodeClosedMidway(t *testing.T) {
	baseline := runtime.NumGoroutine()
	for range 5 {
		from, to := pair(t, "pubsub.signing", "none")
		near, far := join(t, from, "end"), join(t, to, "end")
		there := listen(t, far)
		publish(t, near, "first", 1)
		there.want(t, "first")
		var all sync.WaitGroup
		for i := range 4 {
			all.Add(1)
			go func() {
				defer all.Done()
				for k := 0; ; k++ {
					if _, err := near.Publish(context.Background(), fmt.Append(nil, i, k), 0); err != nil {
						if core.Kind(err) != core.ErrClosed {
							t.Errorf("publish: %v", err)
						}
						return
					}
				}
			}()
		}
		all.Add(1)
		go func() {
			defer all.Done()
			lonely, err := from.Join("lonely", core.TopicOptions{ValidateDefault: "ignore"}, core.Inbox[core.TopicEvent]{})
			if err == nil {
				_, err = lonely.Publish(context.Background(), nil, 5)
			}
			if core.Kind(err) != core.ErrClosed {
				t.Errorf("waiting for peers: %v", err)
			}
		}()
		for range 100 {
			there.next(t)
		}
		from.Close()
		all.Wait()
		to.Close()
	}
	until(t, "all goroutines are gone", func() bool { return runtime.NumGoroutine() <= baseline })
}

// A peer that takes nothing more is waited for once, for some seconds; then publishing goes on without it.
func TestPubsub_StuckPeerDoesNotHoldUpForEver(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	from, to := pair(t, "pubsub.signing", "none", "yamux.window_bytes", "262144", "pubsub.outbound_queue", "4")
	near, far := join(t, from, "stuck"), join(t, to, "stuck")
	goOn := make(chan struct{})
	defer close(goOn)
	subscribeWith(t, far, `{"capacity": 1, "overflow": "block"}`, core.Inbox[*core.Message]{Deliver: func(*core.Message) { <-goOn }})
	missed := false
	for i := 0; !missed; i++ {
		n, err := near.Publish(timeout(t), append(fmt.Append(nil, i, " "), make([]byte, 16<<10)...), min(i, 1)^1)
		if err != nil || i > 10_000 {
			t.Fatalf("message %d: %v", i, err)
		}
		missed = n == 0
	}
	begun := time.Now()
	for i := range 100 {
		if _, err := near.Publish(timeout(t), fmt.Append(nil, "after ", i), 0); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(begun); took > 4*time.Second {
		t.Fatalf("100 messages took %v", took)
	}
	if topicInfo(near).DroppedRPC == 0 {
		t.Fatal("what the peer missed is not counted")
	}
}

// A topic that is joined, or subscribed to, while its node closes: the error says that the node is closed, whoever below heard of it first.
func TestPubsub_JoinWhileTheNodeCloses(t *testing.T) {
	for range 300 {
		n, err := core.New(timeout(t), config(t, "listen", ""), core.Inbox[core.Event]{})
		if err != nil {
			t.Fatal(err)
		}
		begun, ended := make(chan struct{}), make(chan error)
		go func() {
			for i := 0; ; i++ {
				if i == 3 {
					close(begun)
				}
				topic, err := n.Join("race", core.TopicOptions{ValidateDefault: "ignore"}, core.Inbox[core.TopicEvent]{})
				if err == nil {
					_, err = topic.Subscribe(core.SubscribeOptions{}, core.Inbox[*core.Message]{})
					topic.Close()
				}
				if err != nil {
					ended <- err
					return
				}
			}
		}()
		<-begun
		n.Close()
		if err := <-ended; !errors.Is(err, core.ErrClosed) {
			t.Fatal(err)
		}
	}
}
