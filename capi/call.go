package main

// #include "bridge.h"
import "C"

import (
	"context"
	"time"

	"github.com/libp2pgo/libp2pgo/core"
)

// outcome is what a waiting call brings: fields of its completion, or of its out-parameters.
type outcome struct {
	value  int64
	object *handle
	text   string
	data   []byte
	then   func() // called when the completion is on its queue; may be nil
}

// run carries out a waiting call on h. Blocking, do runs on the caller's thread and deliver writes the out-parameters and makes the return
// value. In queue mode do runs on a goroutine and its outcome becomes the completion; then it must not touch the caller's memory.
func run(h *handle, wait *C.struct_front_wait, do func(context.Context) (outcome, error), deliver func(*outcome) C.int) C.int {
	owner := h.id
	if h == processHandle {
		owner = wait.queue
	}
	return runFor(h, owner, wait, do, deliver)
}

// runFor is run for a call that has another owner than h: p2p_cancel finds it there, and its completion names it.
func runFor(h *handle, owner C.p2p_handle, wait *C.struct_front_wait, do func(context.Context) (outcome, error), deliver func(*outcome) C.int) C.int {
	if wait.queue == 0 {
		ctx, done := h.contextFor(owner, wait)
		o, err := do(ctx)
		done()
		if err != nil {
			return failureOf(ctx, err).set()
		}
		return deliver(&o)
	}
	out, code := acquire(wait.queue)
	if code < 0 {
		return code
	}
	if !h.addPending() {
		out.release()
		return C.front_kind(h.id, C.int(h.kind))
	}
	ctx, done := h.contextFor(owner, wait)
	tag := wait.tag
	core.Go("call", func() {
		defer h.donePending()
		defer out.release()
		o, err := guarded(ctx, do)
		done()
		complete(out, owner, tag, ctx, &o, err)
	})
	return C.P2P_PENDING
}

func guarded(ctx context.Context, do func(context.Context) (outcome, error)) (o outcome, err error) {
	defer core.Recovered("a call", &err)
	return do(ctx)
}

// complete pushes a call's completion. A handle whose completion nobody can fetch any more is closed.
func complete(out *outlet, subject C.p2p_handle, tag C.uint64_t, ctx context.Context, o *outcome, err error) {
	e := C.p2p_event{_type: C.P2P_EVENT_DONE, tag: tag, subject: subject, value: C.int64_t(o.value)}
	if err != nil {
		f := failureOf(ctx, err)
		e.status, e.value = C.int32_t(f.code), C.int64_t(f.detail)
		out.emit(&e, f.words, nil)
		return
	}
	if o.object != nil {
		e.object = C.uint64_t(o.object.id)
	}
	if !out.emit(&e, o.text, o.data) && o.object != nil {
		o.object.close()
	}
	if o.then != nil {
		o.then()
	}
}

// context makes the context of one call: it ends with the handle, the call's time or, if the call has a name, p2p_cancel. done must be
// called.
func (h *handle) context(wait *C.struct_front_wait) (ctx context.Context, done func()) {
	return h.contextFor(h.id, wait)
}

func (h *handle) contextFor(owner C.p2p_handle, wait *C.struct_front_wait) (ctx context.Context, done func()) {
	ctx, done = h.ctx, func() {}
	if wait.named != 0 {
		var cancel context.CancelCauseFunc
		ctx, cancel = context.WithCancelCause(ctx)
		remove := h.name(callName{owner, wait.tag}, &cancel)
		done = func() {
			remove()
			cancel(nil)
		}
	}
	if wait.timeout_ms >= 0 {
		outer, limit := done, time.Duration(wait.timeout_ms)*time.Millisecond
		timed, cancel := context.WithTimeoutCause(ctx, limit, timeUp(limit))
		ctx = timed
		done = func() {
			cancel()
			outer()
		}
	}
	return ctx, done
}

// timeUp is the cause when a call's time has passed. It makes its words only when somebody asks.
type timeUp time.Duration

func (t timeUp) Error() string { return "no result within " + time.Duration(t).String() }
func (t timeUp) Unwrap() error { return core.ErrTimeout }

// callName is what p2p_cancel calls a call. Calls that belong to the process are told apart by the queue they complete on: two parts of a host may
// use the same tag.
type callName struct {
	owner C.p2p_handle
	tag   C.uint64_t
}

// name makes a call known to p2p_cancel until remove.
func (h *handle) name(name callName, cancel *context.CancelCauseFunc) (remove func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.calls == nil {
		h.calls = map[callName][]*context.CancelCauseFunc{}
	}
	h.calls[name] = append(h.calls[name], cancel)
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		named := h.calls[name]
		for i, c := range named {
			if c == cancel {
				named = append(named[:i], named[i+1:]...)
				break
			}
		}
		if len(named) == 0 {
			delete(h.calls, name)
		} else {
			h.calls[name] = named
		}
	}
}
