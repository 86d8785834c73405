package main

// #include "bridge.h"
import "C"

import (
	"strings"

	"github.com/libp2pgo/libp2pgo/core"
)

//export go_node_listen
func go_node_listen(id C.p2p_handle, addresses *C.char, out **C.char) (rc C.int) {
	defer trap(&rc)
	_, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	bound, err := n.ListenMore(lines(addresses))
	if err != nil {
		return fail(err)
	}
	return putText(out, strings.Join(bound, "\n"))
}

//export go_node_unlisten
func go_node_unlisten(id C.p2p_handle, addresses *C.char) (rc C.int) {
	defer trap(&rc)
	_, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	if err := n.Unlisten(lines(addresses)); err != nil {
		return fail(err)
	}
	return 0
}

//export go_node_announce
func go_node_announce(id C.p2p_handle, options *C.char) (rc C.int) {
	defer trap(&rc)
	_, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	if err := n.Announce([]byte(text(options))); err != nil {
		return fail(err)
	}
	return 0
}
