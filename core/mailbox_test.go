package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// record collects what an inbox is told, as words; "-3" is a gap of three, "end" the end.
type record struct {
	mu    sync.Mutex
	words []string
	gate  chan struct{} // each delivery takes one; nil: none needed
	begun chan struct{} // each delivery that begins sends one; nil: nobody looks
}

func (r *record) add(word string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.words = append(r.words, word)
}

func (r *record) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.words, " ")
}

func (r *record) inbox() Inbox[int] {
	return Inbox[int]{
		Deliver: func(n int) {
			if r.begun != nil {
				r.begun <- struct{}{}
			}
			if r.gate != nil {
				<-r.gate
			}
			r.add(fmt.Sprint(n))
		},
		Dropped: func(n uint64) { r.add(fmt.Sprint("-", n)) },
		Closed:  func(err error) { r.add("end") },
	}
}

// await waits for what must come.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// What is lost, by policy, and that it is announced where the gap is.
func TestMailbox_GapsStandWhereTheyAre(t *testing.T) {
	for _, c := range []struct {
		overflow Overflow
		want     string
	}{{DropOldest, "0 -3 4 5 end"}, {DropNewest, "0 1 2 -3 end"}} {
		r := &record{gate: make(chan struct{}), begun: make(chan struct{}, 8)}
		var lost []int
		m := newMailbox("test", r.inbox(), c.overflow, 2, 0, func(n int) { lost = append(lost, n) })
		m.put(context.Background(), 0, 0)
		<-r.begun // it is on its way, and no longer waits
		for i := 1; i <= 5; i++ {
			if err := m.put(context.Background(), i, 0); err != nil {
				t.Fatal(err)
			}
		}
		close(r.gate)
		await(t, "all are told", func() bool { return len(strings.Fields(r.all())) == len(strings.Fields(c.want))-1 })
		if s := m.stats(); s.Dropped != 3 || s.Delivered != 3 || s.Waiting != 0 {
			t.Errorf("%+v", s)
		}
		m.close(nil)
		if got := r.all(); got != c.want {
			t.Errorf("policy %d: told %q, not %q", c.overflow, got, c.want)
		}
		if len(lost) != 3 {
			t.Errorf("policy %d: discarded %v", c.overflow, lost)
		}
	}
}

// Bytes count too, but what is too large alone still passes when nothing else waits.
func TestMailbox_Bytes(t *testing.T) {
	r := &record{gate: make(chan struct{}), begun: make(chan struct{}, 8)}
	m := newMailbox("test", r.inbox(), DropNewest, 100, 10, nil)
	m.put(context.Background(), 0, 1000)
	<-r.begun
	m.put(context.Background(), 1, 1000) // alone
	m.put(context.Background(), 2, 1)    // no room beside it
	close(r.gate)
	await(t, "the gap is told", func() bool { return r.all() == "0 1 -1" })
	m.close(nil)
}

// Block makes the source wait, until there is room, its context ends, or the mailbox closes.
func TestMailbox_Block(t *testing.T) {
	r := &record{gate: make(chan struct{}), begun: make(chan struct{}, 8)}
	m := newMailbox("test", r.inbox(), Block, 1, 0, nil)
	m.put(context.Background(), 0, 0)
	<-r.begun
	m.put(context.Background(), 1, 0)
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("why")
	cancel(why)
	if err := m.put(ctx, 2, 0); err != why {
		t.Fatal(err)
	}
	waits := make(chan error, 1)
	go func() { waits <- m.put(context.Background(), 3, 0) }()
	r.gate <- struct{}{} // 0 is delivered, 1 on its way: room
	if err := <-waits; err != nil {
		t.Fatal(err)
	}
	go func() { waits <- m.put(context.Background(), 4, 0) }()
	go m.close(nil)
	if err := <-waits; err != ErrClosed {
		t.Fatal(err)
	}
	close(r.gate)
	m.close(nil)
	if got := r.all(); got != "0 1 end" {
		t.Fatalf("told %q", got)
	}
}

// Several sources lose nothing and keep their own order under Block.
func TestMailbox_ManySources(t *testing.T) {
	const sources, each = 8, 1000
	var got []int
	done := make(chan struct{})
	m := newMailbox("test", Inbox[int]{Deliver: func(n int) {
		if got = append(got, n); len(got) == sources*each {
			close(done)
		}
	}}, Block, 3, 0, nil)
	for s := range sources {
		go func() {
			for i := range each {
				m.put(context.Background(), s*each+i, 1)
			}
		}()
	}
	<-done
	m.close(nil)
	last := slices.Repeat([]int{-1}, sources)
	for _, n := range got {
		if n%each != last[n/each]+1 {
			t.Fatalf("%d after %d", n, last[n/each])
		}
		last[n/each] = n % each
	}
}

// What the source lost before is announced in its place, also when nothing follows.
func TestMailbox_LostBefore(t *testing.T) {
	r := &record{}
	m := newMailbox("test", r.inbox(), Block, 10, 0, nil)
	m.lost(2)
	await(t, "the gap is told", func() bool { return r.all() == "-2" })
	m.put(context.Background(), 1, 0)
	m.lost(1)
	await(t, "all is told", func() bool { return r.all() == "-2 1 -1" })
	m.close(nil)
}

// The inbox may close its own mailbox, and may panic.
func TestMailbox_InboxMisbehaves(t *testing.T) {
	var m *mailbox[int]
	ready, end := make(chan struct{}), make(chan error, 1)
	var got []int
	m = newMailbox("test", Inbox[int]{
		Deliver: func(n int) {
			<-ready
			switch got = append(got, n); n {
			case 1:
				panic("on purpose")
			case 2:
				m.close(ErrState)
			}
		},
		Closed: func(err error) { end <- err },
	}, Block, 10, 0, nil)
	before := Panics()
	close(ready)
	for i := range 4 {
		m.put(context.Background(), i, 0)
	}
	if err := <-end; err != ErrState {
		t.Fatal(err)
	}
	m.close(nil)
	if !slices.Equal(got, []int{0, 1, 2}) || Panics() != before+1 {
		t.Fatalf("delivered %v, %d panics", got, Panics()-before)
	}
}
