package core

import (
	"context"
	"sync"
)

// Inbox receives what a source brings: events, messages, topic changes. Its functions are called from one goroutine,
// never two at a time, in the order of the source; nil ones are skipped. Deliver may block: then the items wait in a
// bounded mailbox and its overflow policy decides. Any of them may close the source it belongs to, or what that is part
// of, and does not wait if somebody else is at it.
type Inbox[T any] struct {
	Deliver func(T)
	// Dropped announces, at the place of the gap, that n items were lost there.
	Dropped func(n uint64)
	// Closed is the last call: nil when the owner closed the source, else why it ended.
	Closed func(err error)
}

// Overflow says what happens to an item that finds its mailbox full.
type Overflow int

const (
	// Block makes the source wait.
	Block Overflow = iota
	// DropOldest makes room by losing what waited longest.
	DropOldest
	// DropNewest loses the item that found no room.
	DropNewest
)

// mailbox is the bounded queue between a source and its Inbox. Any number of goroutines may put; one delivers.
type mailbox[T any] struct {
	inbox    Inbox[T]
	overflow Overflow
	maxItems int
	maxBytes int64   // 0: no bound
	discard  func(T) // called for every item that is not delivered; may be nil; must not block

	mu        sync.Mutex
	ring      []letter[T]   // guarded by mu; the waiting letters are ring[head], ring[head+1], ... modulo its length
	head      int           // guarded by mu
	count     int           // guarded by mu
	bytes     int64         // guarded by mu
	gap       uint64        // guarded by mu; items lost after the last waiting letter and not announced yet
	delivered uint64        // guarded by mu
	dropped   uint64        // guarded by mu
	closed    bool          // guarded by mu
	err       error         // guarded by mu; for Inbox.Closed
	space     chan struct{} // guarded by mu; non-nil while a putter waits for room, closed when there is some

	wake   chan struct{} // capacity 1: there is work for the delivering goroutine
	stop   chan struct{} // closed by close
	done   chan struct{} // closed when Inbox.Closed has returned
	worker uint64        // id of the delivering goroutine; set before ready is closed
	ready  chan struct{}
}

// letter is a waiting item; gap counts what was lost directly before it.
type letter[T any] struct {
	item T
	size int64
	gap  uint64
}

// mailboxStats is what mailbox.stats tells.
type mailboxStats struct {
	Delivered, Dropped uint64
	Waiting            int
	WaitingBytes       int64
}

// newMailbox starts a mailbox for at most maxItems items and maxBytes bytes (0: no bound in bytes). One item larger than
// maxBytes is taken when nothing else waits, for else it could never pass.
func newMailbox[T any](name string, inbox Inbox[T], overflow Overflow, maxItems int, maxBytes int64, discard func(T)) *mailbox[T] {
	m := &mailbox[T]{
		inbox:    inbox,
		overflow: overflow,
		maxItems: max(maxItems, 1),
		maxBytes: maxBytes,
		discard:  discard,
		wake:     make(chan struct{}, 1),
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
		ready:    make(chan struct{}),
	}
	safeGo(name, m.run)
	return m
}

// put hands an item over. It waits only under Block, until there is room, ctx ends (its cause is returned) or the mailbox
// closes (ErrClosed). An item that is not taken goes to discard. A loss by policy is no error.
func (m *mailbox[T]) put(ctx context.Context, item T, size int) error {
	for {
		m.mu.Lock()
		if m.closed {
			m.mu.Unlock()
			m.lose(item)
			return ErrClosed
		}
		if m.roomLocked(int64(size)) {
			m.pushLocked(item, int64(size))
			m.mu.Unlock()
			m.signal()
			return nil
		}
		switch m.overflow {
		case DropNewest:
			m.gap++
			m.dropped++
			m.mu.Unlock()
			m.lose(item)
			return nil
		case DropOldest:
			var lost []T
			for m.count > 0 && !m.roomLocked(int64(size)) {
				lost = append(lost, m.popOldestLocked())
			}
			m.pushLocked(item, int64(size))
			m.mu.Unlock()
			m.signal()
			for _, l := range lost {
				m.lose(l)
			}
			return nil
		}
		if m.space == nil {
			m.space = make(chan struct{})
		}
		space := m.space
		m.mu.Unlock()
		select {
		case <-space:
		case <-m.stop:
		case <-ctx.Done():
			m.lose(item)
			return context.Cause(ctx)
		}
	}
}

// lost counts and announces n items that the source lost before they got here.
func (m *mailbox[T]) lost(n uint64) {
	m.mu.Lock()
	m.gap += n
	m.dropped += n
	m.mu.Unlock()
	m.signal()
}

// full reports whether an item of size bytes would have to wait or drop, and, if so, a channel that is closed when room
// appears or the mailbox closes.
func (m *mailbox[T]) full(size int) (bool, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.roomLocked(int64(size)) {
		return false, nil
	}
	if m.space == nil {
		m.space = make(chan struct{})
	}
	return true, m.space
}

func (m *mailbox[T]) stats() mailboxStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	return mailboxStats{m.delivered, m.dropped, m.count, m.bytes}
}

// close ends the mailbox: waiting items are discarded, waiting putters get ErrClosed, the Inbox gets Closed(err) as its
// last call. It returns when that is done, or at once when called from the Inbox itself. The first call's err counts.
func (m *mailbox[T]) close(err error) {
	m.mu.Lock()
	if !m.closed {
		m.closed = true
		m.err = err
		close(m.stop)
		if m.space != nil {
			close(m.space)
			m.space = nil
		}
	}
	m.mu.Unlock()
	<-m.ready
	if goroutineID() == m.worker {
		return
	}
	<-m.done
}

// inboxes holds the ids of the goroutines that deliver.
var inboxes sync.Map

// awaitClose waits for a close that another goroutine began, but not in an Inbox: that close may be waiting for the Inbox.
func awaitClose(done <-chan struct{}) {
	if _, ok := inboxes.Load(goroutineID()); !ok {
		<-done
	}
}

func (m *mailbox[T]) run() {
	m.worker = goroutineID()
	inboxes.Store(m.worker, nil)
	defer inboxes.Delete(m.worker)
	close(m.ready)
	defer close(m.done)
	// A panic in the host's function loses that call, not the mailbox.
	for !guarded("inbox", m.deliverAll) {
	}
	for _, item := range m.drain() {
		m.lose(item)
	}
	guarded("inbox", func() {
		if m.inbox.Closed != nil {
			m.inbox.Closed(m.err)
		}
	})
}

// deliverAll delivers until the mailbox is closed.
func (m *mailbox[T]) deliverAll() {
	for {
		m.mu.Lock()
		if m.closed {
			m.mu.Unlock()
			return
		}
		if m.count == 0 {
			gap := m.gap
			m.gap = 0
			m.mu.Unlock()
			if gap > 0 {
				m.announce(gap)
				continue
			}
			select {
			case <-m.wake:
			case <-m.stop:
			}
			continue
		}
		l := m.takeLocked()
		m.delivered++
		if m.space != nil {
			close(m.space)
			m.space = nil
		}
		m.mu.Unlock()
		if l.gap > 0 {
			m.announce(l.gap)
		}
		if m.inbox.Deliver != nil {
			m.inbox.Deliver(l.item)
		}
	}
}

func (m *mailbox[T]) announce(n uint64) {
	if m.inbox.Dropped != nil {
		guarded("inbox", func() { m.inbox.Dropped(n) }) // a panic must not take the item after the gap with it
	}
}

func (m *mailbox[T]) drain() []T {
	m.mu.Lock()
	defer m.mu.Unlock()
	items := make([]T, 0, m.count)
	for m.count > 0 {
		items = append(items, m.takeLocked().item)
	}
	m.ring = nil
	return items
}

func (m *mailbox[T]) lose(item T) {
	if m.discard != nil {
		m.discard(item)
	}
}

func (m *mailbox[T]) signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *mailbox[T]) roomLocked(size int64) bool {
	if m.count == 0 {
		return true
	}
	return m.count < m.maxItems && (m.maxBytes == 0 || m.bytes+size <= m.maxBytes)
}

func (m *mailbox[T]) pushLocked(item T, size int64) {
	if m.count == len(m.ring) {
		grown := make([]letter[T], max(2*len(m.ring), 8))
		for i := range m.count {
			grown[i] = m.ring[(m.head+i)%len(m.ring)]
		}
		m.ring, m.head = grown, 0
	}
	m.ring[(m.head+m.count)%len(m.ring)] = letter[T]{item, size, m.gap}
	m.gap = 0
	m.count++
	m.bytes += size
}

// popOldestLocked drops the oldest letter; the gap moves to the one after it.
func (m *mailbox[T]) popOldestLocked() T {
	l := m.takeLocked()
	m.dropped++
	if m.count > 0 {
		m.ring[m.head].gap += l.gap + 1
	} else {
		m.gap += l.gap + 1
	}
	return l.item
}

func (m *mailbox[T]) takeLocked() letter[T] {
	l := m.ring[m.head]
	m.ring[m.head] = letter[T]{}
	m.head = (m.head + 1) % len(m.ring)
	m.count--
	m.bytes -= l.size
	if m.count == 0 && len(m.ring) > 1024 {
		m.ring, m.head = nil, 0 // a burst's memory goes back
	}
	return l
}
