package main

// #include "bridge.h"
import "C"

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libp2pgo/libp2pgo/core"
)

// splice is a stream detached into a socket pair, of which the host has the other end. It lives until both flows have ended, or the host has closed
// its end, or the node closes; the stream's handle only tells of it.
type splice struct {
	stream *core.Stream
	conn   *net.UnixConn
	node   *handle
	unhook func() bool  // from the node's end
	flows  atomic.Int32 // that have not ended
	work   atomic.Int32 // goroutines that have not ended
	once   sync.Once
}

// spliceFlush is how long a peer may take nothing of what its host wrote before it closed its end.
const spliceFlush = 10 * time.Second

//export go_stream_fd
func go_stream_fd(id C.p2p_handle, out *C.int) (rc C.int) {
	defer trap(&rc)
	h, s, code := find[*stream](id, kindStream)
	if code < 0 {
		return code
	}
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return failed(core.ErrSystem, "socketpair: %v", err)
	}
	ours := os.NewFile(uintptr(fds[0]), "stream")
	conn, err := net.FileConn(ours)
	ours.Close() // FileConn has a duplicate
	if err != nil {
		syscall.Close(fds[1])
		return failed(core.ErrSystem, "socketpair: %v", err)
	}
	p := &splice{stream: s.Stream, conn: conn.(*net.UnixConn), node: h.parent}
	if err = s.taken.take("detached to a descriptor", nil, nil); err == nil && !p.node.addPending() {
		err = core.Errorf(core.ErrClosed, "the node was closed")
	}
	if err != nil {
		conn.Close()
		syscall.Close(fds[1])
		return fail(err)
	}
	p.unhook = context.AfterFunc(p.node.ctx, p.end)
	p.flows.Store(2)
	p.work.Store(2)
	p.run("stream to fd", p.inward)
	p.run("fd to stream", p.outward)
	*out = C.int(fds[1])
	return 0
}

// run runs one of the two flows. The node's close waits for it.
func (p *splice) run(name string, flow func()) {
	core.Go(name, func() {
		defer func() {
			if p.work.Add(-1) == 0 {
				p.unhook()
				p.node.donePending()
			}
		}()
		flow()
	})
}

// end gives both ends back.
func (p *splice) end() {
	p.once.Do(func() {
		p.conn.Close()
		p.stream.Close()
	})
}

// flowEnded is told once by each flow; nothing is left to do after the second.
func (p *splice) flowEnded() {
	if p.flows.Add(-1) == 0 {
		p.end()
	}
}

// inward copies what the peer sends. Its end of file is passed on; after a reset the host finds the end of both directions.
func (p *splice) inward() {
	defer p.flowEnded()
	_, err := io.CopyBuffer(struct{ io.Writer }{p.conn}, struct{ io.Reader }{p.stream}, make([]byte, 64<<10))
	switch {
	case err == nil:
		p.conn.CloseWrite()
	case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		p.stream.CloseRead() // the host closed its end
	default:
		p.conn.Close()
	}
}

// outward copies what the host writes, and its end of file, and then waits until the host closes its end: it may do so while the peer is silent.
func (p *splice) outward() {
	_, err := io.CopyBuffer(flusher{p}, struct{ io.Reader }{p.conn}, make([]byte, 64<<10))
	if err == nil {
		p.stream.CloseWrite(context.Background()) // ended by the stream's close
	} else {
		p.conn.CloseRead()
	}
	p.flowEnded()
	if raw, err := p.conn.SyscallConn(); err == nil {
		raw.Read(hungUp) // or until end closes the connection
	}
	p.end()
}

// flusher writes to the stream, and gives up if the host has closed its end and the peer takes nothing.
type flusher struct{ *splice }

func (p flusher) Write(b []byte) (int, error) {
	done := make(chan struct{})
	defer close(done)
	stuck := time.AfterFunc(spliceFlush, func() { core.Go("stream fd flush", func() { p.watch(done) }) })
	defer stuck.Stop()
	return p.stream.Write(b)
}

func (p *splice) watch(done chan struct{}) {
	tick := time.NewTicker(spliceFlush)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		default:
		}
		gone := false
		raw, err := p.conn.SyscallConn()
		if err == nil {
			err = raw.Control(func(fd uintptr) { gone = hungUp(fd) })
		}
		if err != nil || gone {
			p.end()
			return
		}
		select {
		case <-done:
		case <-tick.C:
		}
	}
}

// hungUp tells whether the socket pair will carry nothing more in either direction: its other end is closed, or both are shut down.
func hungUp(fd uintptr) bool {
	state := []unix.PollFd{{Fd: int32(fd)}}
	_, err := unix.Poll(state, 0)
	return err == nil && state[0].Revents&unix.POLLHUP != 0
}
