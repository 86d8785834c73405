package main

// #include "bridge.h"
import "C"

import (
	"math"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/libp2pgo/libp2pgo/core"
)

// ttl reads a time for which addresses are kept: 0 for the default, -1 for ever.
func ttl(ms C.int64_t) (time.Duration, error) {
	if ms < -1 {
		return 0, core.Errorf(core.ErrInvalid, "ttl_ms: %d is neither a time nor -1", int64(ms))
	}
	return time.Duration(min(int64(ms), math.MaxInt64/int64(time.Millisecond)/2)) * time.Millisecond, nil
}

//export go_peer_add
func go_peer_add(id C.p2p_handle, addresses *C.char, ttlMs C.int64_t, out **C.char) (rc C.int) {
	defer trap(&rc)
	_, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	keep, err := ttl(ttlMs)
	if err != nil {
		return fail(err)
	}
	p, err := n.AddAddresses(lines(addresses), keep)
	if err != nil {
		return fail(err)
	}
	return putText(out, peerText(p))
}

//export go_peer_forget
func go_peer_forget(id C.p2p_handle, peerName *C.char) (rc C.int) {
	defer trap(&rc)
	return onPeer(id, peerName, func(n *core.Node, p peer.ID) error { return n.Forget(p) })
}

//export go_peer_known
func go_peer_known(id C.p2p_handle, out **C.char) (rc C.int) {
	defer trap(&rc)
	_, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	return putText(out, peerLines(n.KnownPeers()))
}

//export go_peer_put
func go_peer_put(id C.p2p_handle, peerName, name *C.char, data *C.uint8_t, size C.size_t) (rc C.int) {
	defer trap(&rc)
	return onPeer(id, peerName, func(n *core.Node, p peer.ID) error { return n.PutMetadata(p, text(name), borrowed(data, size)) })
}

//export go_peer_get
func go_peer_get(id C.p2p_handle, peerName, name *C.char, out **C.uint8_t, lenOut *C.size_t) (rc C.int) {
	defer trap(&rc)
	_, n, p, code := findPeer(id, peerName)
	if code < 0 {
		return code
	}
	data, err := n.Metadata(p, text(name))
	if err != nil {
		return fail(err)
	}
	return putBytes(out, lenOut, data)
}

//export go_peer_record
func go_peer_record(id C.p2p_handle, peerName *C.char, out **C.uint8_t, lenOut *C.size_t) (rc C.int) {
	defer trap(&rc)
	_, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	p := n.ID()
	if peerName != nil {
		var err error
		if p, err = parsePeer(text(peerName)); err != nil {
			return fail(err)
		}
	}
	record, err := n.PeerRecord(p)
	if err != nil {
		return fail(err)
	}
	return putBytes(out, lenOut, record)
}

//export go_peer_add_record
func go_peer_add_record(id C.p2p_handle, record *C.uint8_t, size C.size_t, ttlMs C.int64_t, out **C.char) (rc C.int) {
	defer trap(&rc)
	_, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	keep, err := ttl(ttlMs)
	if err != nil {
		return fail(err)
	}
	p, taken, err := n.AddPeerRecord(copied(record, size), keep)
	if err != nil {
		return fail(err)
	}
	if code := putText(out, peerText(p)); code < 0 {
		return code
	}
	if taken {
		return 1
	}
	return 0
}
