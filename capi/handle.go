package main

// #include "bridge.h"
import "C"

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2pgo/libp2pgo/core"
)

type kind uint8

const (
	kindConfig       kind = C.P2P_KIND_CONFIG
	kindNode         kind = C.P2P_KIND_NODE
	kindService      kind = C.P2P_KIND_SERVICE
	kindStream       kind = C.P2P_KIND_STREAM
	kindExchange     kind = C.P2P_KIND_EXCHANGE
	kindRequest      kind = C.P2P_KIND_REQUEST
	kindTopic        kind = C.P2P_KIND_TOPIC
	kindSubscription kind = C.P2P_KIND_SUBSCRIPTION
	kindToken        kind = C.P2P_KIND_TOKEN
	kindSearch       kind = C.P2P_KIND_SEARCH
	kindDiscovery    kind = C.P2P_KIND_DISCOVERY
	kindReservation  kind = C.P2P_KIND_RESERVATION
	kinds                 = 16
)

// kindNames are the words of p2p_runtime_info.
var kindNames = [kinds]string{kindConfig: "config", kindNode: "node", kindService: "service", kindStream: "stream", kindExchange: "exchange",
	kindRequest: "request", kindTopic: "topic", kindSubscription: "subscription", kindToken: "token",
	kindSearch: "search", kindDiscovery: "discovery", kindReservation: "reservation"}

// closeLimit bounds how long a close waits for the completions of calls that it has just cancelled.
const closeLimit = 5 * time.Second

// handle is one entry of the table: a number that a host holds for an object of ours. It is made with newHandle, goes into the table with
// open, and leaves it with close.
type handle struct {
	id     C.p2p_handle
	kind   kind
	parent *handle
	object any
	end    func() // gives the object back; called once, after the children have ended

	ctx    context.Context // of everything that waits on the handle; ends with cause core.ErrClosed
	cancel context.CancelCauseFunc
	ended  chan struct{} // closed when close has done everything

	mu       sync.Mutex
	closing  bool                                    // guarded by mu
	children map[*handle]struct{}                    // guarded by mu
	calls    map[callName][]*context.CancelCauseFunc // guarded by mu
	pending  int                                     // guarded by mu; calls that will complete on a queue, and what else close waits for
	idle     chan struct{}                           // guarded by mu; non-nil while close waits for pending to be 0
}

// The table. Numbers are counted per kind, so that p2p_close can tell a closed handle from one that never was.
var (
	handles sync.Map // C.p2p_handle -> *handle
	issued  [kinds]atomic.Uint64
	live    [kinds]atomic.Int64
)

// newHandle makes a handle that is not in the table yet, so that its number can go into the events of what is about to start. The parent knows of
// it until cancel, which is for whoever gives up before open.
func newHandle(k kind, parent *handle) *handle {
	h := &handle{kind: k, parent: parent, ended: make(chan struct{})}
	h.id = C.p2p_handle((C.FIRST_ID+issued[k].Add(1)-1)<<4 | uint64(k))
	base := context.Background() // ended by close
	if parent != nil {
		base = parent.ctx
	}
	h.ctx, h.cancel = context.WithCancelCause(base)
	return h
}

// open puts the handle into the table. It fails when the parent is closing; then the caller ends the object.
func (h *handle) open(object any, end func()) error {
	h.object, h.end = object, end
	if p := h.parent; p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.closing {
			h.cancel(core.ErrClosed)
			return core.Errorf(core.ErrClosed, "the %s was closed", kindNames[p.kind])
		}
		if p.children == nil {
			p.children = map[*handle]struct{}{}
		}
		p.children[h] = struct{}{}
	}
	live[h.kind].Add(1)
	handles.Store(h.id, h)
	return nil
}

// close ends the handle, its children first. Each caller returns when the first one is done.
func (h *handle) close() {
	h.mu.Lock()
	if h.closing {
		h.mu.Unlock()
		<-h.ended
		return
	}
	h.closing = true
	children := make([]*handle, 0, len(h.children))
	for c := range h.children {
		children = append(children, c)
	}
	h.mu.Unlock()

	h.cancel(core.Errorf(core.ErrClosed, "the %s was closed", kindNames[h.kind]))
	for _, c := range children {
		c.close()
	}
	if h.end != nil {
		var err error
		func() {
			defer core.Recovered("close", &err)
			h.end()
		}()
	}
	h.awaitPending()
	handles.Delete(h.id)
	live[h.kind].Add(-1)
	if p := h.parent; p != nil {
		p.mu.Lock()
		delete(p.children, h)
		p.mu.Unlock()
	}
	close(h.ended)
}

// addPending counts a call that will complete on a queue, or other work that ends with the handle; false if the handle is closing.
func (h *handle) addPending() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing {
		return false
	}
	h.pending++
	return true
}

func (h *handle) donePending() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pending--
	if h.pending == 0 && h.idle != nil {
		close(h.idle)
	}
}

// awaitPending waits until the calls on the handle have completed, so that their events are on their queues when close returns, and until its
// other work has ended.
func (h *handle) awaitPending() {
	h.mu.Lock()
	if h.pending == 0 {
		h.mu.Unlock()
		return
	}
	idle := make(chan struct{})
	h.idle = idle
	h.mu.Unlock()
	timer := time.NewTimer(closeLimit)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
	}
}

// find returns an open handle of a kind and its object, or a negative code with the thread's error set.
func find[T any](id C.p2p_handle, k kind) (h *handle, object T, code C.int) {
	v, ok := handles.Load(id)
	if !ok {
		return nil, object, C.front_kind(id, C.int(k))
	}
	h = v.(*handle)
	if h.kind != k {
		return nil, object, C.front_kind(id, C.int(k))
	}
	object, ok = h.object.(T)
	if !ok {
		return nil, object, failed(core.ErrState, "%s %d is of the other sort", kindNames[k], uint64(id))
	}
	return h, object, 0
}

// wasIssued tells a closed handle from a number that never was one.
func wasIssued(id C.p2p_handle) bool {
	k, n := id&15, uint64(id>>4)
	return kindNames[k] != "" && n >= C.FIRST_ID && n < C.FIRST_ID+issued[k].Load()
}

//export go_close
func go_close(id C.p2p_handle) (rc C.int) {
	defer trap(&rc)
	v, ok := handles.Load(id)
	switch {
	case ok:
		v.(*handle).close()
	case !wasIssued(id):
		return C.front_kind(id, 0)
	}
	return 0
}

//export go_kind
func go_kind(id C.p2p_handle) (rc C.int) {
	defer trap(&rc)
	if _, ok := handles.Load(id); !ok {
		return C.front_kind(id, 0)
	}
	return C.int(id & 15)
}

//export go_parent
func go_parent(id C.p2p_handle, out *C.p2p_handle) (rc C.int) {
	defer trap(&rc)
	v, ok := handles.Load(id)
	if !ok {
		return C.front_kind(id, 0)
	}
	if p := v.(*handle).parent; p != nil {
		*out = p.id
	}
	return 0
}

//export go_info
func go_info(id C.p2p_handle, out **C.char) (rc C.int) {
	defer trap(&rc)
	v, ok := handles.Load(id)
	if !ok {
		return C.front_kind(id, 0)
	}
	if o, ok := v.(*handle).object.(interface{ Info() any }); ok {
		return putJSON(out, o.Info())
	}
	return putJSON(out, struct {
		Kind string `json:"kind"`
	}{kindNames[id&15]})
}

//export go_cancel
func go_cancel(id C.p2p_handle, tag C.uint64_t) (rc C.int) {
	defer trap(&rc)
	v, ok := handles.Load(id)
	if !ok {
		return C.front_kind(id, 0)
	}
	return v.(*handle).cancelCalls(id, tag) + processHandle.cancelCalls(id, tag)
}

// go_cancel_queue ends calls that no handle owns, of a queue that is there.
//
//export go_cancel_queue
func go_cancel_queue(queue C.p2p_handle, tag C.uint64_t) (rc C.int) {
	defer trap(&rc)
	return processHandle.cancelCalls(queue, tag)
}

func (h *handle) cancelCalls(owner C.p2p_handle, tag C.uint64_t) C.int {
	h.mu.Lock()
	calls := append([]*context.CancelCauseFunc(nil), h.calls[callName{owner, tag}]...)
	h.mu.Unlock()
	for _, cancel := range calls {
		(*cancel)(core.Errorf(core.ErrCancelled, "the call was cancelled"))
	}
	return C.int(len(calls))
}

//export go_live_handles
func go_live_handles(k C.int) C.int64_t {
	if k != 0 {
		return C.int64_t(live[k].Load())
	}
	var all int64
	for i := range live {
		all += live[i].Load()
	}
	return C.int64_t(all)
}
