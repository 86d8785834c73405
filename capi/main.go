// Package main is the C ABI of libp2pgo: include/libp2p.h over package core.
//
// The functions of the header are in the .c files, one per section. They check what can be checked without Go (is this process a fork, are
// the pointers there, how shall it wait) and call the exports in the .go file of the same name. An export looks up the handle, converts,
// calls core and translates the error; it holds no libp2p logic.
package main

// #cgo CFLAGS: -std=gnu11 -Wall -Wextra -Werror=implicit-function-declaration -I${SRCDIR}/../include
// #cgo LDFLAGS: -lpthread -ldl
// #include "bridge.h"
import "C"

import "github.com/libp2pgo/libp2pgo/core"

func main() {}

func init() { core.CaptureStandardLog() }

// trap is deferred by every export: a panic becomes P2P_E_INTERNAL instead of the end of the host program.
func trap[T C.int | C.int64_t](rc *T) {
	if p := recover(); p != nil {
		*rc = T(fail(panicked("a call", p)))
	}
}
