package main

// #include "bridge.h"
import "C"

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/libp2pgo/libp2pgo/core"
)

// refusedCode is what an inbound stream is reset with when its service's queue is gone.
const refusedCode = 0x1008 // libp2p: gated

// stream is a core.Stream with what the ABI adds to it.
type stream struct {
	*core.Stream
	taken taken
}

// openStream puts a stream into the table, as a child of its node. On an error the stream has been reset.
func openStream(node *handle, s *core.Stream) (*handle, error) {
	h := newHandle(kindStream, node)
	st := &stream{Stream: s}
	if err := h.open(st, func() {
		if !st.taken.end() {
			s.Close()
		}
	}); err != nil {
		s.Reset(0)
		return nil, err
	}
	return h, nil
}

//export go_stream_serve
func go_stream_serve(id C.p2p_handle, protocols, options *C.char, queue C.p2p_handle, tag C.uint64_t, out *C.p2p_handle) (rc C.int) {
	defer trap(&rc)
	node, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	o, err := core.ParseServeOptions([]byte(text(options)))
	if err != nil {
		return fail(err)
	}
	return serve(node, queue, tag, out, func(_ *handle, src *source) (*core.Service, error) {
		return n.Serve(lines(protocols), o, func(s *core.Stream) {
			h, err := openStream(node, s)
			if err != nil {
				return
			}
			e := C.p2p_event{_type: C.P2P_EVENT_STREAM, object: C.uint64_t(h.id), flags: flags(s.Flags())}
			if ok, _ := src.send(e, peerText(s.Peer())+"\n"+s.Protocol(), nil); !ok {
				s.Reset(refusedCode)
				h.close()
			}
		})
	})
}

//export go_stream_open
func go_stream_open(id C.p2p_handle, peerName, protocols, options *C.char, out *C.p2p_handle, wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	node, n, p, code := findPeer(id, peerName)
	if code < 0 {
		return code
	}
	o, err := core.ParseOpenOptions([]byte(text(options)))
	if err != nil {
		return fail(err)
	}
	names := lines(protocols)
	return run(node, wait, func(ctx context.Context) (outcome, error) {
		s, err := n.OpenStream(ctx, p, names, o)
		if err != nil {
			return outcome{}, err
		}
		h, err := openStream(node, s)
		return outcome{object: h, text: s.Protocol()}, err
	}, func(o *outcome) C.int {
		*out = o.object.id
		return 0
	})
}

//export go_stream_read
func go_stream_read(id C.p2p_handle, data *C.uint8_t, capacity C.size_t, wait *C.struct_front_wait) (rc C.int64_t) {
	defer trap(&rc)
	h, s, code := find[*stream](id, kindStream)
	if code < 0 {
		return C.int64_t(code)
	}
	if err := s.taken.check(); err != nil {
		return C.int64_t(fail(err))
	}
	queued := wait.queue != 0
	return C.int64_t(run(h, wait, func(ctx context.Context) (outcome, error) {
		var buf []byte
		if queued { // the caller's pointer may be NULL
			buf = make([]byte, min(int(capacity), readMax))
		} else {
			buf = borrowed(data, capacity)
		}
		n, err := s.ReadContext(ctx, buf)
		if err != nil && !errors.Is(err, io.EOF) {
			return outcome{}, err
		}
		o := outcome{value: int64(n)}
		if queued {
			o.data = buf[:n]
		}
		return o, nil
	}, func(o *outcome) C.int { return C.int(o.value) }))
}

// partialWrite is the error of a write of which a part was sent.
type partialWrite struct {
	error
	sent int
}

func (e *partialWrite) Unwrap() error { return e.error }

//export go_stream_write
func go_stream_write(id C.p2p_handle, data *C.uint8_t, n C.size_t, framed C.int, wait *C.struct_front_wait) (rc C.int64_t) {
	defer trap(&rc)
	h, s, code := find[*stream](id, kindStream)
	if code < 0 {
		return C.int64_t(code)
	}
	if err := s.taken.checkWrite(); err != nil {
		return C.int64_t(fail(err))
	}
	if wait.queue != 0 {
		return C.int64_t(enqueue(h, wait, func(drained func(error)) (bool, error) {
			return s.Enqueue(borrowed(data, n), framed != 0, drained)
		}, nil))
	}
	return C.int64_t(run(h, wait, func(ctx context.Context) (outcome, error) {
		if framed != 0 {
			return outcome{value: int64(n)}, s.WriteMessage(ctx, borrowed(data, n))
		}
		sent, err := s.WriteContext(ctx, borrowed(data, n))
		if err != nil && sent > 0 {
			err = &partialWrite{err, sent}
		}
		return outcome{value: int64(sent)}, err
	}, func(o *outcome) C.int { return C.int(o.value) }))
}

// enqueue is a write in queue mode: accepted at once, or accepted and completed when what waits to be sent is below the high-water mark. The
// call's time and its cancellation end that wait; what was accepted is sent all the same. completed, if not nil, is called after a completion.
func enqueue(h *handle, wait *C.struct_front_wait, write func(drained func(error)) (now bool, err error), completed func()) C.int {
	out, code := acquire(wait.queue)
	if code < 0 {
		return code
	}
	if !h.addPending() {
		out.release()
		return C.front_kind(h.id, C.int(h.kind))
	}
	tag := wait.tag
	ctx, done := h.context(wait)
	var once sync.Once
	end := func(err error, told bool) {
		once.Do(func() {
			done() // first: what has completed cannot be cancelled
			if told {
				complete(out, h.id, tag, ctx, &outcome{}, err)
			}
			out.release()
			h.donePending()
			if told && completed != nil {
				completed()
			}
		})
	}
	now, err := write(func(err error) { end(err, true) })
	if err != nil || now {
		end(nil, false)
	}
	if err != nil {
		return fail(err)
	}
	if now {
		return 0
	}
	context.AfterFunc(ctx, func() { end(ctx.Err(), true) }) // after its own end by done that does nothing
	return C.P2P_PENDING
}

//export go_stream_read_message
func go_stream_read_message(id C.p2p_handle, limit C.size_t, out **C.uint8_t, lenOut *C.size_t, wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	h, s, code := find[*stream](id, kindStream)
	if code < 0 {
		return code
	}
	if err := s.taken.check(); err != nil {
		return fail(err)
	}
	return run(h, wait, func(ctx context.Context) (outcome, error) {
		return part(s.ReadMessage(ctx, int(limit)))
	}, func(o *outcome) C.int { return putPart(o, out, lenOut) })
}

// part is the outcome of a read that brings one item, with value 1, or finds the end, with value 0.
func part(data []byte, err error) (outcome, error) {
	if errors.Is(err, io.EOF) {
		return outcome{}, nil
	}
	return outcome{value: 1, data: data}, err
}

func putPart(o *outcome, out **C.uint8_t, lenOut *C.size_t) C.int {
	if o.value == 0 {
		return 0
	}
	if code := putBytes(out, lenOut, o.data); code < 0 {
		return code
	}
	return 1
}

//export go_stream_close_write
func go_stream_close_write(id C.p2p_handle, wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	h, s, code := find[*stream](id, kindStream)
	if code < 0 {
		return code
	}
	if err := s.taken.checkWrite(); err != nil {
		return fail(err)
	}
	return run(h, wait, func(ctx context.Context) (outcome, error) {
		return outcome{}, s.CloseWrite(ctx)
	}, func(*outcome) C.int { return 0 })
}

//export go_stream_close_read
func go_stream_close_read(id C.p2p_handle) (rc C.int) {
	defer trap(&rc)
	return withStream(id, (*core.Stream).CloseRead)
}

//export go_stream_reset
func go_stream_reset(id C.p2p_handle, code C.uint32_t) (rc C.int) {
	defer trap(&rc)
	return withStream(id, func(s *core.Stream) error { return s.Reset(uint32(code)) })
}

//export go_stream_deadline
func go_stream_deadline(id C.p2p_handle, readMs, writeMs C.int32_t) (rc C.int) {
	defer trap(&rc)
	return withStream(id, func(s *core.Stream) error {
		s.SetDeadlines(time.Duration(readMs)*time.Millisecond, time.Duration(writeMs)*time.Millisecond)
		return nil
	})
}

func withStream(id C.p2p_handle, fn func(*core.Stream) error) C.int {
	_, s, code := find[*stream](id, kindStream)
	if code < 0 {
		return code
	}
	if err := fn(s.Stream); err != nil {
		return fail(err)
	}
	return 0
}
