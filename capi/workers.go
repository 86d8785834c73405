package main

import (
	"time"

	"github.com/libp2pgo/libp2pgo/core"
)

// workers run the calls that complete on queues. Opening a stream goes deep, and a goroutine whose stack has grown once is worth keeping for
// the next call: growing it anew cost a tenth of a request.
var workers = make(chan func())

// workerIdle is how long a worker waits for its next call.
const workerIdle = time.Second

// work runs fn on a goroutine, one that has worked before if one is idle.
func work(fn func()) {
	select {
	case workers <- fn:
	default:
		core.Go("call", func() { worker(fn) })
	}
}

func worker(fn func()) {
	timer := time.NewTimer(workerIdle)
	defer timer.Stop()
	for {
		fn()
		timer.Reset(workerIdle)
		select {
		case fn = <-workers:
		case <-timer.C:
			return
		}
	}
}
