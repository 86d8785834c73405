package main

// #include "bridge.h"
import "C"

import (
	"context"
	"time"

	"github.com/libp2pgo/libp2pgo/core"
)

//export go_request_send
func go_request_send(id C.p2p_handle, peerName, protocol *C.char, data *C.uint8_t, n C.size_t, options *C.char, out **C.uint8_t, lenOut *C.size_t,
	wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	h, node, p, code := findPeer(id, peerName)
	if code < 0 {
		return code
	}
	o, err := core.ParseRequestOptions([]byte(text(options)))
	if err != nil {
		return fail(err)
	}
	name, question := text(protocol), input(data, n, wait)
	return run(h, wait, func(ctx context.Context) (outcome, error) {
		answer, err := node.Request(ctx, p, name, question, o)
		return outcome{data: answer}, err
	}, func(o *outcome) C.int { return putBytes(out, lenOut, o.data) })
}

// input is the caller's memory for a blocking call, a copy in queue mode.
func input(data *C.uint8_t, n C.size_t, wait *C.struct_front_wait) []byte {
	if wait.queue != 0 {
		return copied(data, n)
	}
	return borrowed(data, n)
}

//export go_request_open
func go_request_open(id C.p2p_handle, peerName, protocol *C.char, data *C.uint8_t, n C.size_t, options *C.char, out *C.p2p_handle,
	wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	h, node, p, code := findPeer(id, peerName)
	if code < 0 {
		return code
	}
	o, err := core.ParseRequestOptions([]byte(text(options)))
	if err != nil {
		return fail(err)
	}
	name, question := text(protocol), input(data, n, wait)
	limit := time.Duration(wait.timeout_ms) * time.Millisecond
	return run(h, wait, func(ctx context.Context) (outcome, error) {
		// The exchange outlives the call that opens it, and ends at the same time, with its handle, or when the opening is cancelled.
		x := newHandle(kindExchange, h)
		whole, cancel := context.WithCancelCause(x.ctx)
		if limit >= 0 {
			var stop context.CancelFunc
			whole, stop = context.WithTimeoutCause(whole, limit, timeUp(limit))
			context.AfterFunc(whole, stop) // not before it has ended: its cause is that of what ended it
		}
		unhook := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
		exchange, err := node.OpenRequest(whole, p, name, question, o)
		if !unhook() && err == nil && context.Cause(ctx) != nil {
			exchange.Close()
			err = context.Cause(ctx)
		}
		if err == nil {
			if err = x.open(exchange, func() { exchange.Close() }); err != nil {
				exchange.Close()
			}
		}
		if err != nil {
			x.cancel(err)
			return outcome{}, err
		}
		return outcome{object: x}, nil
	}, func(o *outcome) C.int {
		*out = o.object.id
		return 0
	})
}

//export go_request_next
func go_request_next(id C.p2p_handle, out **C.uint8_t, lenOut *C.size_t, wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	h, x, code := find[*core.Exchange](id, kindExchange)
	if code < 0 {
		return code
	}
	return run(h, wait, func(ctx context.Context) (outcome, error) {
		return part(x.Next(ctx))
	}, func(o *outcome) C.int { return putPart(o, out, lenOut) })
}

//export go_request_serve
func go_request_serve(id C.p2p_handle, protocol, options *C.char, queue C.p2p_handle, tag C.uint64_t, out *C.p2p_handle) (rc C.int) {
	defer trap(&rc)
	node, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	o, err := core.ParseRequestServeOptions([]byte(text(options)))
	if err != nil {
		return fail(err)
	}
	name := text(protocol)
	return serve(node, queue, tag, out, func(_ *handle, src *source) (*core.Service, error) {
		return n.ServeRequests(name, o, func(r *core.Request) { deliverRequest(node, src, r) })
	})
}

func deliverRequest(node *handle, src *source, r *core.Request) {
	h := newHandle(kindRequest, node)
	told := false
	begun := make(chan struct{}) // closed when the request is on the queue, and may be followed by its cancellation, or will not come there
	defer close(begun)
	unhook := context.AfterFunc(r.Context(), func() {
		if <-begun; told {
			src.send(C.p2p_event{_type: C.P2P_EVENT_REQUEST_CANCELLED, subject: h.id}, "", nil)
		}
	})
	end := func() {
		unhook()
		r.Close()
	}
	done := src.keep() // the asker may give up after the service was closed
	if err := h.open(r, func() {
		end()
		done()
	}); err != nil {
		end()
		done()
		return
	}
	left := C.int64_t(-1)
	if deadline, ok := r.Deadline(); ok {
		left = C.int64_t(max(time.Until(deadline).Milliseconds(), 0))
	}
	e := C.p2p_event{_type: C.P2P_EVENT_REQUEST, object: C.uint64_t(h.id), value: left}
	if told, _ = src.send(e, peerText(r.Peer)+"\n"+r.Protocol, r.Data); !told { // the queue or the service was closed meanwhile
		h.close()
	}
}

//export go_request_respond
func go_request_respond(id C.p2p_handle, data *C.uint8_t, n C.size_t, more C.int, wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	h, r, code := find[*core.Request](id, kindRequest)
	if code < 0 {
		return code
	}
	if wait.queue != 0 {
		var completed func()
		if more == 0 {
			completed = func() { core.Go("close a request", h.close) }
		}
		rc = enqueue(h, wait, func(drained func(error)) (bool, error) {
			return r.Enqueue(borrowed(data, n), more != 0, drained)
		}, completed)
	} else {
		rc = run(h, wait, func(ctx context.Context) (outcome, error) {
			return outcome{}, r.Respond(ctx, borrowed(data, n), more != 0)
		}, func(*outcome) C.int { return 0 })
	}
	if rc == 0 && more == 0 {
		h.close()
	}
	return rc
}

//export go_request_fail
func go_request_fail(id C.p2p_handle, code C.int32_t, words *C.char) (rc C.int) {
	defer trap(&rc)
	h, r, rc := find[*core.Request](id, kindRequest)
	if rc < 0 {
		return rc
	}
	if err := r.Fail(int32(code), text(words)); err != nil {
		return fail(err)
	}
	h.close()
	return 0
}
