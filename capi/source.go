package main

// #include "bridge.h"
import "C"

import (
	"os"
	"sync"
	"time"
	"unsafe"

	"github.com/libp2pgo/libp2pgo/core"
)

// outlet pushes events into a queue that can always take them: completions, and what is bounded elsewhere.
type outlet struct{ queue *C.struct_queue }

// acquire returns the outlet of a queue's handle, or a negative code with the thread's error set. release gives it back.
func acquire(queue C.p2p_handle) (*outlet, C.int) {
	var code C.int
	q := C.queue_acquire(queue, &code)
	if q == nil {
		return nil, code
	}
	return &outlet{q}, 0
}

func (o *outlet) release() { C.queue_release(o.queue) }

// emit reports whether the queue is still open.
func (o *outlet) emit(e *C.p2p_event, text string, data []byte) bool {
	return C.queue_emit(o.queue, e, cText(text), C.size_t(len(text)), cBytes(data), C.size_t(len(data))) >= 0
}

func cText(s string) *C.char     { return (*C.char)(unsafe.Pointer(unsafe.StringData(s))) }
func cBytes(b []byte) *C.uint8_t { return (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(b))) }

// source is a producer of events that its queue can hold back: of a node, a service, a topic, a subscription, a watched stream. A nil
// source, of queue 0, swallows everything. Its methods may be called at any time, also after free.
type source struct {
	subject C.p2p_handle
	tag     C.uint64_t

	stopOnce sync.Once
	stopped  chan struct{} // closed by stop: nobody waits for room any more

	mu    sync.RWMutex
	c     *C.struct_source // guarded by mu; nil after free
	begun bool             // guarded by mu
	kept  int              // guarded by mu; who still has something to tell
	over  bool             // guarded by mu; free was called
	said  bool             // guarded by mu; its last event is on its way
	held  []heldEvent      // guarded by mu; what came before begin
}

// heldEvent waits for the caller to know the handle that it concerns.
type heldEvent struct {
	event C.p2p_event
	text  string
	data  []byte
}

// closer is an object that tells of itself until it is closed.
type closer interface{ Close() }

// inboxOf returns the inbox whose contents deliver pushes to src.
func inboxOf[T any](src *source, deliver func(T)) core.Inbox[T] {
	if src == nil {
		return core.Inbox[T]{}
	}
	return core.Inbox[T]{Deliver: deliver, Dropped: src.dropped, Closed: src.closed}
}

// open opens h for object, whose events this source pushes. Closing it ends all waiting for room first, and the object before the source.
func (s *source) open(h *handle, object closer) error {
	end := func() {
		s.stop()
		object.Close()
	}
	err := h.open(object, func() {
		end()
		s.free()
	})
	if err != nil {
		end()
	}
	return err
}

// openSource ends a call that opens a handle of object, whose events src pushes: it writes the handle to out and lets the events go. err: why
// there is no object.
func openSource(h *handle, src *source, out *C.p2p_handle, object closer, err error) C.int {
	if err == nil {
		err = src.open(h, object)
	}
	if err != nil {
		h.cancel(err)
		src.free()
		return fail(err)
	}
	*out = h.id
	src.begin()
	return 0
}

// newHandleSource makes a handle and the source of its events.
func newHandleSource(k kind, parent *handle, queue C.p2p_handle, tag C.uint64_t, events, bytes int) (*handle, *source, C.int) {
	h := newHandle(k, parent)
	src, code := newSource(h, queue, tag, events, bytes)
	if code < 0 {
		h.cancel(nil)
	}
	return h, src, code
}

// newSource makes the source of a handle's events in queue, of which at most events and bytes (0: no own bound) lie there. Deliveries wait
// until begin.
func newSource(h *handle, queue C.p2p_handle, tag C.uint64_t, events, bytes int) (*source, C.int) {
	if queue == 0 {
		return nil, 0
	}
	out, code := acquire(queue)
	if code < 0 {
		return nil, code
	}
	defer out.release()
	c := C.source_new(out.queue, C.int64_t(events), C.int64_t(bytes))
	if c == nil {
		return nil, outOfMemory()
	}
	return &source{subject: h.id, tag: tag, c: c, stopped: make(chan struct{})}, 0
}

// begin lets the events go. It is called when the caller can know the handle: before that none may come.
func (s *source) begin() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.held {
		s.emitLocked(&h.event, h.text, h.data)
	}
	s.begun, s.held = true, nil
}

// stop ends all waiting for room; what is pushed afterwards goes in at once.
func (s *source) stop() {
	if s != nil {
		s.stopOnce.Do(func() { close(s.stopped) })
	}
}

// free gives the source back, when all who keep it are done.
func (s *source) free() {
	if s == nil {
		return
	}
	s.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.freeLocked()
}

// keep puts off free until done is called.
func (s *source) keep() (done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.kept--
		s.freeLocked()
	}
}

func (s *source) freeLocked() {
	if s.over && s.kept == 0 && s.c != nil {
		C.source_free(s.c)
		s.c = nil
	}
}

// emitLocked pushes; mu is held, for reading at least.
func (s *source) emitLocked(e *C.p2p_event, text string, data []byte) (ok, full bool) {
	if s.c == nil {
		return false, false
	}
	rc := C.source_emit(s.c, e, cText(text), C.size_t(len(text)), cBytes(data), C.size_t(len(data)))
	return rc >= 0, rc == 1
}

// send pushes an event of this source, by default with its handle as subject, and does not wait. It returns whether the queue took it, and
// whether it is full now.
func (s *source) send(e C.p2p_event, text string, data []byte) (ok, full bool) {
	if s == nil {
		return false, false
	}
	if e.subject == 0 {
		e.subject = s.subject
	}
	e.tag = s.tag
	s.mu.RLock()
	if s.begun {
		defer s.mu.RUnlock()
		return s.sendLocked(&e, text, data)
	}
	s.mu.RUnlock()

	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sendLocked(&e, text, data)
}

// sendLocked pushes, holds back what comes before begin, and refuses what comes after the last event; mu is held, until begin for writing.
func (s *source) sendLocked(e *C.p2p_event, text string, data []byte) (ok, full bool) {
	if s.said && e.subject == s.subject {
		return false, false
	}
	if s.begun {
		return s.emitLocked(e, text, data)
	}
	s.held = append(s.held, heldEvent{*e, text, data})
	return true, false
}

// deliver pushes an event and waits until there is room for the next one.
func (s *source) deliver(e C.p2p_event, text string, data []byte) {
	if _, full := s.send(e, text, data); full {
		s.waitRoom()
	}
}

// push is send for an event whose data was read in place.
func (s *source) push(e *C.struct_event) (ok, full bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.c == nil {
		C.event_free(e)
		return false, false
	}
	rc := C.source_push(s.c, e)
	return rc >= 0, rc == 1
}

// dropped announces a gap.
func (s *source) dropped(n uint64) {
	s.send(C.p2p_event{_type: C.P2P_EVENT_DROPPED, value: C.int64_t(n)}, "", nil)
}

// closed pushes the last event of the source's handle. What others keep the source for may still be told.
func (s *source) closed(err error) {
	if s == nil {
		return
	}
	e := C.p2p_event{_type: C.P2P_EVENT_CLOSED, subject: s.subject, tag: s.tag}
	var words string
	if err != nil {
		f := failureOf(nil, err)
		e.status, e.value, words = C.int32_t(f.code), C.int64_t(f.detail), f.words
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sendLocked(&e, words, nil)
	s.said = true
}

func (s *source) ready() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.c == nil || C.source_ready(s.c) != 0
}

func (s *source) waitRoom() {
	for {
		rung := room.next()
		if s.ready() {
			return
		}
		select {
		case <-rung:
		case <-s.stopped:
			return
		}
	}
}

// room spreads the ring of the C side's room bell to all goroutines that wait for room in a queue. Its own goroutine sleeps in Go's poller,
// so that no number of slow queues costs a thread.
var room roomBell

type roomBell struct {
	once sync.Once
	mu   sync.Mutex
	rung chan struct{} // guarded by mu; closed at the next ring
}

func (r *roomBell) next() <-chan struct{} {
	r.once.Do(func() {
		r.rung = make(chan struct{})
		go r.listen(os.NewFile(uintptr(C.queue_room_fd()), "room")) // lives as long as the process; cannot panic
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rung
}

func (r *roomBell) listen(pipe *os.File) {
	var sink [64]byte
	for {
		if _, err := pipe.Read(sink[:]); err != nil {
			time.Sleep(10 * time.Millisecond) // no descriptor left for the pipe: ask now and then
		}
		r.mu.Lock()
		close(r.rung)
		r.rung = make(chan struct{})
		r.mu.Unlock()
	}
}
