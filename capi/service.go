package main

// #include "bridge.h"
import "C"

import "github.com/libp2pgo/libp2pgo/core"

// serve makes the handle of a service whose inbound streams or requests go to queue. start begins serving, with the source that its
// handler pushes to.
func serve(node *handle, queue C.p2p_handle, tag C.uint64_t, out *C.p2p_handle, start func(h *handle, src *source) (*core.Service, error)) C.int {
	if queue == 0 {
		return failed(core.ErrInvalid, "queue: 0, but a service needs one")
	}
	h, src, code := newHandleSource(kindService, node, queue, tag, 0, 0)
	if code < 0 {
		return code
	}
	s, err := start(h, src)
	if err == nil {
		if err = h.open(s, func() {
			s.Close()
			src.closed(nil)
			src.free()
		}); err != nil {
			s.Close()
		}
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
