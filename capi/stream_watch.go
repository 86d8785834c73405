package main

// #include "bridge.h"
import "C"

import (
	"context"
	"errors"
	"io"
	"sync"
	"unsafe"

	"github.com/libp2pgo/libp2pgo/core"
)

const (
	defaultCredit = 256 << 10
	// A watched stream reads into blocks of readMin bytes, so that an idle one costs little, and into larger ones while they come back full.
	// readMax stays below the 128 KiB from which malloc maps a block of its own, whose pages fault in anew each time.
	readMin = 2 << 10
	readMax = 64 << 10
)

// taken tells who reads a stream, when it is not p2p_stream_read: a watch or a descriptor, which excludes the other and direct calls.
type taken struct {
	mu    sync.Mutex
	by    string // guarded by mu; "" while nobody does
	stop  func() // guarded by mu; ends a watch
	watch *watch // guarded by mu; nil unless by a watch
}

func (t *taken) take(by string, w *watch, stop func()) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by != "" {
		return core.Errorf(core.ErrState, "the stream is %s", t.by)
	}
	t.by, t.watch, t.stop = by, w, stop
	return nil
}

// check fails when reading is not for direct calls.
func (t *taken) check() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by != "" {
		return core.Errorf(core.ErrState, "the stream is %s", t.by)
	}
	return nil
}

// checkWrite fails when writing is not for direct calls: of a detached stream the descriptor is the only way in.
func (t *taken) checkWrite() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by != "" && t.watch == nil {
		return core.Errorf(core.ErrState, "the stream is %s", t.by)
	}
	return nil
}

// end ends a watch. detached: a descriptor has the stream, which lives on.
func (t *taken) end() (detached bool) {
	t.mu.Lock()
	stop := t.stop
	t.stop = nil
	detached = t.by != "" && t.watch == nil
	t.mu.Unlock()
	if stop != nil {
		stop()
	}
	return detached
}

// watch moves what arrives on a stream into a queue, as far as its credit goes.
type watch struct {
	src *source
	max int // > 0: framed messages of at most so many bytes

	mu     sync.Mutex
	credit int64         // guarded by mu; bytes that may still be put under way
	more   chan struct{} // capacity 1: credit became positive, or the watch is to end
	ended  bool          // guarded by mu
}

//export go_stream_watch
func go_stream_watch(id, queue C.p2p_handle, tag C.uint64_t, credit, maxMessage C.size_t) (rc C.int) {
	defer trap(&rc)
	h, s, code := find[*stream](id, kindStream)
	if code < 0 {
		return code
	}
	src, code := newSource(h, queue, tag, 0, 0)
	if code < 0 {
		return code
	}
	if src == nil {
		return failed(core.ErrInvalid, "queue: 0, but watching needs one")
	}
	if credit == 0 {
		credit = defaultCredit
	}
	w := &watch{src: src, max: int(maxMessage), credit: int64(credit), more: make(chan struct{}, 1)}
	if err := s.taken.take("being watched", w, w.end); err != nil {
		src.free()
		return fail(err)
	}
	src.begin()
	core.Go("stream watch", func() {
		defer src.free()
		w.run(s.Stream)
	})
	return 0
}

//export go_stream_credit
func go_stream_credit(id C.p2p_handle, n C.size_t) (rc C.int) {
	defer trap(&rc)
	_, s, code := find[*stream](id, kindStream)
	if code < 0 {
		return code
	}
	s.taken.mu.Lock()
	w := s.taken.watch
	s.taken.mu.Unlock()
	if w == nil {
		return failed(core.ErrState, "the stream is not watched")
	}
	w.add(int64(n))
	return 0
}

func (w *watch) add(n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.credit += n
	if w.credit > 0 {
		w.signal()
	}
}

func (w *watch) signal() {
	select {
	case w.more <- struct{}{}:
	default:
	}
}

// end is called when the stream's handle closes.
func (w *watch) end() {
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	w.signal()
	w.src.stop()
}

// await returns the credit when there is some, 0 when the watch is to end.
func (w *watch) await() int64 {
	for {
		w.mu.Lock()
		credit, ended := w.credit, w.ended
		w.mu.Unlock()
		if ended {
			return 0
		}
		if credit > 0 {
			return credit
		}
		<-w.more
	}
}

func (w *watch) run(s *core.Stream) {
	read := w.readBlock(s)
	if w.max > 0 {
		read = w.readMessage(s)
	}
	for {
		credit := w.await()
		if credit == 0 {
			return
		}
		n, err := read(credit)
		if err != nil {
			w.last(err)
			return
		}
		w.add(-int64(n))
	}
}

// readBlock returns a function that reads once, into memory that becomes the event: no copy on our side.
func (w *watch) readBlock(s *core.Stream) func(credit int64) (int, error) {
	size := readMin
	fields := C.p2p_event{_type: C.P2P_EVENT_STREAM_DATA, subject: w.src.subject, tag: w.src.tag}
	return func(credit int64) (int, error) {
		room := min(size, int(credit))
		e := C.event_new(&fields, nil, 0, C.size_t(room))
		if e == nil {
			return 0, core.Errorf(core.ErrLimit, "out of memory")
		}
		// The stream's close ends this read, so it needs no context of its own.
		n, err := s.Read(unsafe.Slice((*byte)(C.event_data(e)), room))
		if n == 0 {
			C.event_free(e)
			return 0, err
		}
		if n == room {
			size = min(size*4, readMax)
		} else if n < size/4 {
			size = max(size/2, readMin)
		}
		if n < room {
			e = C.event_shrink(e, C.size_t(n))
		}
		if _, full := w.src.push(e); full {
			w.src.waitRoom()
		}
		return n, err
	}
}

func (w *watch) readMessage(s *core.Stream) func(credit int64) (int, error) {
	return func(int64) (int, error) {
		m, err := s.ReadMessage(context.Background(), w.max)
		if err != nil {
			return 0, err
		}
		w.src.deliver(C.p2p_event{_type: C.P2P_EVENT_STREAM_DATA}, "", m)
		return max(len(m), 1), nil // an empty message is under way too
	}
}

// last pushes how the flow ended. After the handle's own close there is nobody to tell.
func (w *watch) last(err error) {
	w.mu.Lock()
	ended := w.ended
	w.mu.Unlock()
	if ended {
		return
	}
	if errors.Is(err, io.EOF) {
		w.src.send(C.p2p_event{_type: C.P2P_EVENT_STREAM_END}, "", nil)
		return
	}
	f := failureOf(nil, err)
	w.src.send(C.p2p_event{_type: C.P2P_EVENT_STREAM_RESET, status: C.int32_t(f.code), value: C.int64_t(f.detail)}, f.words, nil)
}
