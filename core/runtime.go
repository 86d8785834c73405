package core

import (
	"runtime/debug"
	"sync/atomic"
	"time"
)

var panicCount atomic.Int64

// Panics returns how many panics were recovered in this process: in goroutines of this package, and in functions of ours that go-libp2p calls.
func Panics() int64 { return panicCount.Load() }

// Go runs fn on a goroutine of its own; a panic in it is logged and counted. It is for the layers on top of this package, for whom the
// rule holds too that a panic must not end the host program.
func Go(name string, fn func()) { safeGo(name, fn) }

// Recovered is to be deferred by the layers on top: a panic is logged, counted and becomes ErrInternal in *err.
func Recovered(name string, err *error) {
	if p := recover(); p != nil {
		panicCount.Add(1)
		logger.Error("panic recovered", "in", name, "panic", p, "stack", string(debug.Stack()))
		*err = Errorf(ErrInternal, "%s: panic: %v", name, p)
	}
}

// recovered is to be deferred. It turns a panic into a log record with the stack and a count, because one that is not recovered ends the
// host program. name tells where it was.
func recovered(name string) {
	if p := recover(); p != nil {
		panicCount.Add(1)
		logger.Error("panic recovered", "in", name, "panic", p, "stack", string(debug.Stack()))
	}
}

// guarded runs fn and reports whether it returned; a panic in it is recovered.
func guarded(name string, fn func()) (returned bool) {
	defer recovered(name)
	fn()
	return true
}

// idle hands work to goroutines that have worked before.
var idle = make(chan func())

// idleTime is how long a goroutine waits for more work: long enough under load, and not noticed by who counts goroutines after a close.
const idleTime = 10 * time.Millisecond

// safeGo runs fn on another goroutine, guarded. Opening and closing streams goes deep into the stack below, and to grow a fresh goroutine's stack
// for each was a tenth of the cost of a request, so goroutines are used again.
func safeGo(name string, fn func()) {
	work := func() { guarded(name, fn) }
	select {
	case idle <- work:
	default:
		go worker(work)
	}
}

func worker(work func()) {
	timer := time.NewTimer(idleTime)
	defer timer.Stop()
	for {
		work()
		timer.Reset(idleTime)
		select {
		case work = <-idle:
		case <-timer.C:
			return
		}
	}
}
