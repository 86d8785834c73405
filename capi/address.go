package main

// #include "bridge.h"
import "C"

import (
	"context"
	"strings"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/libp2pgo/libp2pgo/core"
)

//export go_address_info
func go_address_info(address *C.char, out **C.char) (rc C.int) {
	defer trap(&rc)
	a, err := core.ParseAddress(text(address))
	if err != nil {
		return fail(err)
	}
	return putJSON(out, core.InfoOfAddress(a))
}

//export go_address_bytes
func go_address_bytes(address *C.char, out **C.uint8_t, lenOut *C.size_t) (rc C.int) {
	defer trap(&rc)
	a, err := core.ParseAddress(text(address))
	return giveBytes(out, lenOut, a.Bytes(), err)
}

//export go_address_text
func go_address_text(data *C.uint8_t, n C.size_t, out **C.char) (rc C.int) {
	defer trap(&rc)
	a, err := core.AddressFromBytes(borrowed(data, n))
	return giveText(out, a.String(), err)
}

//export go_address_join
func go_address_join(addresses *C.char, out **C.char) (rc C.int) {
	defer trap(&rc)
	a, err := core.JoinAddresses(lines(addresses))
	return giveText(out, a.String(), err)
}

//export go_address_decapsulate
func go_address_decapsulate(address, inner *C.char, out **C.char) (rc C.int) {
	defer trap(&rc)
	a, err := core.ParseAddress(text(address))
	var b, left ma.Multiaddr
	if err == nil {
		b, err = core.ParseAddress(text(inner))
	}
	if err == nil {
		left, err = core.Decapsulate(a, b)
	}
	return giveText(out, left.String(), err)
}

//export go_address_split
func go_address_split(address *C.char, out **C.char) (rc C.int) {
	defer trap(&rc)
	a, err := core.ParseAddress(text(address))
	return giveText(out, strings.Join(core.SplitAddress(a), "\n"), err)
}

//export go_address_resolve
func go_address_resolve(address, options *C.char, out **C.char, wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	a, err := core.ParseAddress(text(address))
	if err != nil {
		return fail(err)
	}
	o, err := core.ParseResolveOptions([]byte(text(options)))
	if err != nil {
		return fail(err)
	}
	return run(processHandle, wait, func(ctx context.Context) (outcome, error) {
		found, err := core.Resolve(ctx, a, o)
		if err != nil {
			return outcome{}, err
		}
		texts := make([]string, len(found))
		for i, f := range found {
			texts[i] = f.String()
		}
		return outcome{text: strings.Join(texts, "\n")}, nil
	}, func(o *outcome) C.int { return putText(out, o.text) })
}
