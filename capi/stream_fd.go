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

	"github.com/libp2pgo/libp2pgo/core"
)

// splice is a stream detached into a socket pair, of which the host has the other end.
type splice struct {
	stream *core.Stream
	conn   *net.UnixConn
}

//export go_stream_fd
func go_stream_fd(id C.p2p_handle, out *C.int) (rc C.int) {
	defer trap(&rc)
	_, s, code := find[*stream](id, kindStream)
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
	p := &splice{s.Stream, conn.(*net.UnixConn)}
	if err := s.taken.take("detached to a descriptor", nil, func() { conn.Close() }); err != nil {
		conn.Close()
		syscall.Close(fds[1])
		return fail(err)
	}
	var both sync.WaitGroup
	both.Add(2)
	core.Go("stream to fd", func() { defer both.Done(); p.inward() })
	core.Go("fd to stream", func() { defer both.Done(); p.outward() })
	core.Go("stream fd", func() { both.Wait(); conn.Close() })
	*out = C.int(fds[1])
	return 0
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
