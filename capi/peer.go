package main

// #include "bridge.h"
import "C"

import (
	"context"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/libp2pgo/libp2pgo/core"
)

// findPeer returns the node of a handle and the peer of a text, or a negative code.
func findPeer(id C.p2p_handle, peerName *C.char) (*handle, *core.Node, peer.ID, C.int) {
	h, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return nil, nil, "", code
	}
	p, err := parsePeer(text(peerName))
	if err != nil {
		return nil, nil, "", fail(err)
	}
	return h, n, p, 0
}

//export go_peer_connect
func go_peer_connect(id C.p2p_handle, addresses *C.char, out **C.char, wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	h, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	list := lines(addresses)
	return run(h, wait, func(ctx context.Context) (outcome, error) {
		p, err := n.Connect(ctx, list)
		if err != nil {
			return outcome{}, err
		}
		return outcome{text: peerText(p)}, nil
	}, func(o *outcome) C.int { return putText(out, o.text) })
}

//export go_peer_disconnect
func go_peer_disconnect(id C.p2p_handle, peerName *C.char) (rc C.int) {
	defer trap(&rc)
	_, n, p, code := findPeer(id, peerName)
	if code < 0 {
		return code
	}
	if err := n.Disconnect(p); err != nil {
		return fail(err)
	}
	return 0
}

//export go_peer_list
func go_peer_list(id C.p2p_handle, out **C.char) (rc C.int) {
	defer trap(&rc)
	_, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	return putText(out, peerLines(n.Peers()))
}

//export go_peer_info
func go_peer_info(id C.p2p_handle, peerName *C.char, out **C.char) (rc C.int) {
	defer trap(&rc)
	if peerName == nil {
		_, n, code := find[*core.Node](id, kindNode)
		if code < 0 {
			return code
		}
		return putJSON(out, n.PeersInfo())
	}
	_, n, p, code := findPeer(id, peerName)
	if code < 0 {
		return code
	}
	return putJSON(out, n.PeerInfo(p))
}

//export go_peer_ping
func go_peer_ping(id C.p2p_handle, peerName *C.char, out *C.int64_t, wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	h, n, p, code := findPeer(id, peerName)
	if code < 0 {
		return code
	}
	return run(h, wait, func(ctx context.Context) (outcome, error) {
		rtt, err := n.Ping(ctx, p)
		return outcome{value: int64(rtt)}, err
	}, func(o *outcome) C.int {
		*out = C.int64_t(o.value)
		return 0
	})
}

//export go_peer_keep
func go_peer_keep(id C.p2p_handle, addresses *C.char) (rc C.int) {
	defer trap(&rc)
	_, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	if err := n.Keep(lines(addresses)); err != nil {
		return fail(err)
	}
	return 0
}

//export go_peer_release
func go_peer_release(id C.p2p_handle, peerName *C.char) (rc C.int) {
	defer trap(&rc)
	_, n, p, code := findPeer(id, peerName)
	if code < 0 {
		return code
	}
	if err := n.Release(p); err != nil {
		return fail(err)
	}
	return 0
}
