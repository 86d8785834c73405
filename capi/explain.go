package main

// #include "bridge.h"
import "C"

import (
	"context"

	"github.com/libp2pgo/libp2pgo/core"
)

//export go_peer_explain
func go_peer_explain(id C.p2p_handle, addresses, options *C.char, out **C.char, wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	h, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	o, err := core.ParseExplainOptions([]byte(text(options)))
	if err != nil {
		return fail(err)
	}
	list := lines(addresses)
	return run(h, wait, func(ctx context.Context) (outcome, error) {
		e, err := n.Explain(ctx, list, o)
		if err != nil {
			return outcome{}, err
		}
		if o.Format == "text" {
			return outcome{text: e.Text}, nil
		}
		return jsonOutcome(e)
	}, func(o *outcome) C.int { return putText(out, o.text) })
}
