package main

// #include "bridge.h"
import "C"

import "github.com/libp2pgo/libp2pgo/core"

//export go_limits_info
func go_limits_info(id C.p2p_handle, out **C.char) (rc C.int) {
	defer trap(&rc)
	_, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	info, err := n.Limits()
	if err != nil {
		return fail(err)
	}
	return putJSON(out, info)
}
