package main

// #include "bridge.h"
import "C"

import "github.com/libp2pgo/libp2pgo/core"

//export go_cid_make
func go_cid_make(data *C.uint8_t, n C.size_t, options *C.char, out **C.char) (rc C.int) {
	defer trap(&rc)
	o, err := core.ParseCIDOptions([]byte(text(options)))
	if err != nil {
		return fail(err)
	}
	made, err := core.MakeCID(borrowed(data, n), o)
	return giveText(out, made, err)
}

//export go_cid_info
func go_cid_info(cid *C.char, out **C.char) (rc C.int) {
	defer trap(&rc)
	info, err := core.InfoOfCID(text(cid))
	return giveJSON(out, info, err)
}

//export go_cid_text
func go_cid_text(cid, options *C.char, out **C.char) (rc C.int) {
	defer trap(&rc)
	c, err := core.ParseCID(text(cid))
	if err != nil {
		return fail(err)
	}
	o, err := core.ParseCIDTextOptions([]byte(text(options)))
	if err != nil {
		return fail(err)
	}
	written, err := core.CIDText(c, o)
	return giveText(out, written, err)
}

//export go_cid_bytes
func go_cid_bytes(cid *C.char, out **C.uint8_t, lenOut *C.size_t) (rc C.int) {
	defer trap(&rc)
	c, err := core.ParseCID(text(cid))
	return giveBytes(out, lenOut, c.Bytes(), err)
}

//export go_cid_parse
func go_cid_parse(data *C.uint8_t, n C.size_t, out **C.char) (rc C.int) {
	defer trap(&rc)
	c, err := core.CIDFromBytes(borrowed(data, n))
	if err != nil {
		return fail(err)
	}
	written, err := core.CIDText(c, core.CIDTextOptions{Version: -1})
	return giveText(out, written, err)
}

//export go_cid_verify
func go_cid_verify(cid *C.char, data *C.uint8_t, n C.size_t) (rc C.int) {
	defer trap(&rc)
	return give(core.VerifyCID(text(cid), borrowed(data, n)))
}
