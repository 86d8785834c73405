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
	"syscall"
	"time"

	"github.com/libp2pgo/libp2pgo/core"
)

// splice is a stream detached into a socket pair, of which the host has the other end.
type splice struct {
	stream *core.Stream
	conn   *net.UnixConn
	out    chan struct{} // closed when all that the host wrote is with the stream
	node   context.Context
}

// spliceFlush bounds how long a closed stream goes on taking what its host has written into the socket pair.
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
	p := &splice{s.Stream, conn.(*net.UnixConn), make(chan struct{}), h.parent.ctx}
	if err := s.taken.take("detached to a descriptor", nil, p.end); err != nil {
		conn.Close()
		syscall.Close(fds[1])
		return fail(err)
	}
	var both sync.WaitGroup
	both.Add(2)
	core.Go("stream to fd", func() { defer both.Done(); p.inward() })
	core.Go("fd to stream", func() { defer both.Done(); defer close(p.out); p.outward() })
	core.Go("stream fd", func() { both.Wait(); conn.Close() })
	*out = C.int(fds[1])
	return 0
}

// end closes the stream when the host's last bytes have left the socket pair: the handle is often closed right after the descriptor.
func (p *splice) end() {
	core.Go("stream fd close", func() {
		timer := time.NewTimer(spliceFlush)
		defer timer.Stop()
		select {
		case <-p.out:
		case <-timer.C:
		case <-p.node.Done():
		}
		p.conn.Close()
		p.stream.Close()
	})
}

// inward copies what the peer sends. Its end of file is passed on; after a reset the host finds the end of both directions.
func (p *splice) inward() {
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

// outward copies what the host writes, and its end of file.
func (p *splice) outward() {
	_, err := io.CopyBuffer(struct{ io.Writer }{p.stream}, struct{ io.Reader }{p.conn}, make([]byte, 64<<10))
	if err == nil {
		p.stream.CloseWrite(context.Background()) // ended by the stream's close
		return
	}
	p.conn.CloseRead()
}
