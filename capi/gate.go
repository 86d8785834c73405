package main

// #include "bridge.h"
import "C"

import (
	"github.com/libp2pgo/libp2pgo/core"
)

// onNode looks up a node for a call that has no result.
func onNode(id C.p2p_handle, do func(*core.Node) error) C.int {
	_, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	if err := do(n); err != nil {
		return fail(err)
	}
	return 0
}

//export go_gate_block
func go_gate_block(id C.p2p_handle, rules *C.char) (rc C.int) {
	defer trap(&rc)
	return onNode(id, func(n *core.Node) error { return n.Block(lines(rules)) })
}

//export go_gate_allow
func go_gate_allow(id C.p2p_handle, rules *C.char) (rc C.int) {
	defer trap(&rc)
	return onNode(id, func(n *core.Node) error { return n.Allow(lines(rules)) })
}

//export go_gate_remove
func go_gate_remove(id C.p2p_handle, rules *C.char) (rc C.int) {
	defer trap(&rc)
	return onNode(id, func(n *core.Node) error { return n.RemoveRules(lines(rules)) })
}

//export go_gate_default
func go_gate_default(id C.p2p_handle, verdict *C.char) (rc C.int) {
	defer trap(&rc)
	return onNode(id, func(n *core.Node) error { return n.SetGateDefault(text(verdict)) })
}

//export go_gate_list
func go_gate_list(id C.p2p_handle, out **C.char) (rc C.int) {
	defer trap(&rc)
	_, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	return putJSON(out, n.Gate())
}

//export go_gate_ask
func go_gate_ask(id C.p2p_handle, options *C.char, queue C.p2p_handle, tag C.uint64_t, out *C.p2p_handle) (rc C.int) {
	defer trap(&rc)
	node, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	o, err := core.ParseGateOptions([]byte(text(options)))
	if err != nil {
		return fail(err)
	}
	if queue == 0 {
		return failed(core.ErrInvalid, "queue: 0, but asking needs one")
	}
	h, src, code := newHandleSource(kindService, node, queue, tag, 0, 0) // what is pending is bounded by the capacity
	if code < 0 {
		return code
	}
	k, err := n.AskGate(o, inboxOf(src, func(r core.GateRequest) { deliverGateRequest(h, src, r) }))
	return openSource(h, src, out, k, err)
}

func deliverGateRequest(service *handle, src *source, r core.GateRequest) {
	token := newHandle(kindToken, service)
	if err := token.open(r.Verdict, nil); err != nil {
		return
	}
	core.Go("verdict", func() { // the token ends with its answer, its time or the asking
		select {
		case <-r.Verdict.Expired:
		case <-token.ctx.Done():
		}
		token.close()
	})
	e := C.p2p_event{_type: C.P2P_EVENT_GATE, object: C.uint64_t(token.id), flags: flags(r.Inbound, r.Relayed, false)}
	src.deliver(e, peerText(r.Peer)+"\n"+r.Address+"\n"+r.Stage, nil)
}
