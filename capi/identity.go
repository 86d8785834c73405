package main

// #include "bridge.h"
import "C"

import "github.com/libp2pgo/libp2pgo/core"

//export go_key_new
func go_key_new(kind *C.char, out **C.uint8_t, lenOut *C.size_t) (rc C.int) {
	defer trap(&rc)
	key, err := core.GenerateKey(text(kind))
	if err != nil {
		return fail(err)
	}
	return putBytes(out, lenOut, key)
}

//export go_key_peer_id
func go_key_peer_id(key *C.uint8_t, n C.size_t, out **C.char) (rc C.int) {
	defer trap(&rc)
	id, err := core.PeerIDOfKey(borrowed(key, n))
	if err != nil {
		return fail(err)
	}
	return putText(out, id.String())
}
