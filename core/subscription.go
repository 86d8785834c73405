package core

import (
	"context"
	"sync"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
)

// SubscribeOptions are the options of Subscribe.
type SubscribeOptions struct {
	Capacity      int    `json:"capacity" min:"1" max:"10000000" doc:"messages that may wait"`
	CapacityBytes int64  `json:"capacity_bytes" min:"1" max:"1099511627776" doc:"bytes of messages that may wait"`
	Overflow      string `json:"overflow" enum:"block,drop_oldest,drop_newest" doc:"when that much waits: hold the peers back and then lose where the network does, or lose the oldest or the newest"`
}

// ParseSubscribeOptions reads SubscribeOptions from strict JSON; empty is the defaults.
func ParseSubscribeOptions(doc []byte) (SubscribeOptions, error) {
	o := SubscribeOptions{Capacity: 16384, CapacityBytes: 64 << 20, Overflow: "block"}
	err := parseOptions(doc, &o, "")
	return o, err
}

// blockMargin is how many messages more, and blockMarginBytes how much more, a subscription that holds its peers back still takes: what was in
// the node already.
const (
	blockMargin      = 8192
	blockMarginBytes = 64 << 20
)

// messageOverhead is about what a waiting message costs beside its data.
const messageOverhead = 256

func messageSize(m *pubsub.Message) int { return len(m.Data) + len(m.ID) + messageOverhead }

// Subscription delivers a topic's messages. Its methods may be called from any goroutine.
type Subscription struct {
	t     *Topic
	sub   *pubsub.Subscription
	box   *mailbox[*Message]
	block bool
	o     SubscribeOptions

	mu     sync.Mutex
	gated  bool // guarded by mu; the peers are held back for this subscription
	closed bool // guarded by mu
	done   chan struct{}
}

// Subscribe delivers the topic's messages to inbox, from now until Close. Several subscriptions of a topic each get every message.
func (t *Topic) Subscribe(o SubscribeOptions, inbox Inbox[*Message]) (*Subscription, error) {
	s := &Subscription{t: t, o: o, block: o.Overflow == "block", done: make(chan struct{})}
	policy, capacity, bytes := DropNewest, o.Capacity, o.CapacityBytes
	if o.Overflow == "drop_oldest" {
		policy = DropOldest
	}
	if s.block {
		capacity, bytes = capacity+blockMargin, bytes+blockMarginBytes
	}
	deliver := inbox.Deliver
	inbox.Deliver = func(m *Message) {
		defer s.regulate() // after a panic, too
		if deliver != nil {
			deliver(m)
		}
	}
	t.subscribing.Lock()
	defer t.subscribing.Unlock()
	s.box = newMailbox("subscription", inbox, policy, capacity, bytes, nil)
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		s.box.close(nil)
		return nil, Errorf(ErrClosed, "topic %s was left", quoteShort(t.name))
	}
	t.subs[s] = struct{}{}
	t.mu.Unlock()
	// The filter runs in the pubsub loop, for each message, before upstream's own channel, which would lose what does not fit without saying
	// where. It takes the message itself and leaves nothing for the channel.
	var err error
	s.sub, err = t.t.Subscribe(pubsub.WithBufferSize(1), pubsub.WithMessageFilter(func(m *pubsub.Message) bool {
		defer recovered("subscription")
		s.box.put(context.Background(), t.p.message(m), messageSize(m)) // neither policy waits
		s.regulate()
		return false
	}))
	if err != nil {
		s.Close()
		return nil, t.joinError(err)
	}
	return s, nil
}

// regulate holds the peers back while as much waits as may, and lets them go on at half of it.
func (s *Subscription) regulate() {
	if !s.block {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.box.stats() // under mu: who acts last has seen the last
	full := stats.Waiting >= s.o.Capacity || stats.WaitingBytes >= s.o.CapacityBytes
	low := stats.Waiting <= s.o.Capacity/2 && stats.WaitingBytes <= s.o.CapacityBytes/2
	switch {
	case full && !s.gated && !s.closed:
		s.gated = true
		s.t.p.gate.close()
	case s.gated && low:
		s.openLocked()
	}
}

func (s *Subscription) openLocked() {
	s.gated = false
	s.t.p.gate.open()
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		awaitClose(s.done)
		return
	}
	s.closed = true
	if s.gated {
		s.openLocked()
	}
	s.mu.Unlock()
	if s.sub != nil {
		s.sub.Cancel()
	}
	s.box.close(nil)
	b := s.box.stats()
	s.t.mu.Lock()
	delete(s.t.subs, s)
	s.t.ended.Delivered += b.Delivered
	s.t.ended.Dropped += b.Dropped
	s.t.mu.Unlock()
	close(s.done)
}

// SubscriptionInfo is what Info returns; docs/info.md explains the keys.
type SubscriptionInfo struct {
	Kind         string `json:"kind"`
	Topic        string `json:"topic"`
	Delivered    uint64 `json:"delivered"`
	Dropped      uint64 `json:"dropped"`
	Waiting      int    `json:"waiting"`
	WaitingBytes int64  `json:"waiting_bytes"`
	Holding      bool   `json:"holding"`
}

// Info returns a SubscriptionInfo.
func (s *Subscription) Info() any {
	b := s.box.stats()
	s.mu.Lock()
	defer s.mu.Unlock()
	return SubscriptionInfo{"subscription", s.t.name, b.Delivered, b.Dropped, b.Waiting, b.WaitingBytes, s.gated}
}
