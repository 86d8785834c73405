package main

// #include "bridge.h"
import "C"

import (
	"encoding/json"
	"strings"
	"unsafe"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/libp2pgo/libp2pgo/core"
)

// text copies a C string; NULL is "".
func text(s *C.char) string {
	if s == nil {
		return ""
	}
	return C.GoString(s)
}

// lines splits a list of one item per line; empty lines are no items.
func lines(s *C.char) []string {
	var items []string
	for _, line := range strings.Split(text(s), "\n") {
		if line = strings.TrimSpace(line); line != "" {
			items = append(items, line)
		}
	}
	return items
}

// borrowed is the caller's memory, for as long as the call lasts.
func borrowed(data *C.uint8_t, n C.size_t) []byte {
	return unsafe.Slice((*byte)(data), int(n))
}

// copied is for what outlives the call.
func copied(data *C.uint8_t, n C.size_t) []byte {
	return append(make([]byte, 0, int(n)), borrowed(data, n)...)
}

// putText hands a text out as a block for p2p_free.
func putText(out **C.char, s string) C.int {
	if out == nil {
		return 0
	}
	block := C.malloc(C.size_t(len(s) + 1))
	if block == nil {
		return outOfMemory()
	}
	b := unsafe.Slice((*byte)(block), len(s)+1)
	copy(b, s)
	b[len(s)] = 0
	*out = (*C.char)(block)
	return 0
}

// putBytes hands bytes out as a block for p2p_free, which is never NULL and ends in a NUL that the length does not count.
func putBytes(out **C.uint8_t, lenOut *C.size_t, data []byte) C.int {
	block := C.malloc(C.size_t(len(data) + 1))
	if block == nil {
		return outOfMemory()
	}
	b := unsafe.Slice((*byte)(block), len(data)+1)
	copy(b, data)
	b[len(data)] = 0
	*out, *lenOut = (*C.uint8_t)(block), C.size_t(len(data))
	return 0
}

func putJSON(out **C.char, value any) C.int {
	doc, err := json.Marshal(value)
	if err != nil {
		return failed(core.ErrInternal, "%v", err)
	}
	return putText(out, string(doc))
}

func outOfMemory() C.int {
	f := failure{code: C.P2P_E_NOMEM, words: "out of memory"}
	return f.set()
}

func peerLines(ids []peer.ID) string {
	var b strings.Builder
	for i, id := range ids {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(peerText(id))
	}
	return b.String()
}
