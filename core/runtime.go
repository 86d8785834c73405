package core

import (
	"runtime/debug"
	"sync/atomic"
)

var panicCount atomic.Int64

// Panics returns how many panics were recovered in this process: in goroutines of this package, and in functions of ours that go-libp2p calls.
func Panics() int64 { return panicCount.Load() }

// recovered is to be deferred. It turns a panic into a log record with the stack and a count, because one that is not recovered ends the
// host program. name tells where it was.
func recovered(name string) {
	if p := recover(); p != nil {
		panicCount.Add(1)
		logger.Error("panic recovered", "in", name, "panic", p, "stack", string(debug.Stack()))
	}
}

// recoveredInto is recovered for functions that return an error: *err becomes ErrInternal.
func recoveredInto(name string, err *error) {
	if p := recover(); p != nil {
		panicCount.Add(1)
		logger.Error("panic recovered", "in", name, "panic", p, "stack", string(debug.Stack()))
		*err = Errorf(ErrInternal, "%s: panic: %v", name, p)
	}
}

// guarded runs fn and reports whether it returned; a panic in it is recovered.
func guarded(name string, fn func()) (returned bool) {
	defer recovered(name)
	fn()
	return true
}

// safeGo runs fn on a goroutine of its own, guarded.
func safeGo(name string, fn func()) {
	go func() {
		defer recovered(name)
		fn()
	}()
}
