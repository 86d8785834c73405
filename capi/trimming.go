package main

// #include "bridge.h"
import "C"

import (
	"context"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/libp2pgo/libp2pgo/core"
)

// onPeer looks up a node and a peer for a call that has no result.
func onPeer(id C.p2p_handle, peerName *C.char, do func(*core.Node, peer.ID) error) C.int {
	_, n, p, code := findPeer(id, peerName)
	if code < 0 {
		return code
	}
	if err := do(n, p); err != nil {
		return fail(err)
	}
	return 0
}

//export go_peer_tag
func go_peer_tag(id C.p2p_handle, peerName, name *C.char, value C.int32_t) (rc C.int) {
	defer trap(&rc)
	return onPeer(id, peerName, func(n *core.Node, p peer.ID) error { return n.Tag(p, text(name), int(value)) })
}

//export go_peer_untag
func go_peer_untag(id C.p2p_handle, peerName, name *C.char) (rc C.int) {
	defer trap(&rc)
	return onPeer(id, peerName, func(n *core.Node, p peer.ID) error { return n.Untag(p, text(name)) })
}

//export go_peer_protect
func go_peer_protect(id C.p2p_handle, peerName, name *C.char) (rc C.int) {
	defer trap(&rc)
	return onPeer(id, peerName, func(n *core.Node, p peer.ID) error { return n.Protect(p, text(name)) })
}

//export go_peer_unprotect
func go_peer_unprotect(id C.p2p_handle, peerName, name *C.char) (rc C.int) {
	defer trap(&rc)
	_, n, p, code := findPeer(id, peerName)
	if code < 0 {
		return code
	}
	still, err := n.Unprotect(p, text(name))
	if err != nil {
		return fail(err)
	}
	if still {
		return 1
	}
	return 0
}

//export go_peer_trim
func go_peer_trim(id C.p2p_handle, left C.int32_t, wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	h, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	return run(h, wait, func(ctx context.Context) (outcome, error) {
		closed, err := n.Trim(ctx, int(left))
		return outcome{value: int64(closed)}, err
	}, func(o *outcome) C.int { return C.int(o.value) })
}

//export go_node_watermarks
func go_node_watermarks(id C.p2p_handle, low, high, graceMs C.int32_t) (rc C.int) {
	defer trap(&rc)
	return onNode(id, func(n *core.Node) error { return n.SetWatermarks(int(low), int(high), int(graceMs)) })
}
