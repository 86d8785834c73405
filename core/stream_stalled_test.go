package core_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/libp2pgo/libp2pgo/core"
)

// stallable connects two nodes over TCP through a wire that carries nothing from the first to the second while stalled is locked.
func stallable(t *testing.T, from, to *core.Node) (stalled *sync.Mutex) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	port, err := to.Host().Addrs()[0].ValueForProtocol(ma.P_TCP)
	if err != nil {
		t.Fatal(err)
	}
	stalled = new(sync.Mutex)
	go func() {
		near, err := l.Accept()
		if err != nil {
			return
		}
		defer near.Close()
		far, err := net.Dial("tcp4", "127.0.0.1:"+port)
		if err != nil {
			return
		}
		defer far.Close()
		go func() {
			io.Copy(near, far)
			near.Close()
		}()
		for b := make([]byte, 64<<10); ; {
			n, err := near.Read(b)
			if err != nil {
				return
			}
			stalled.Lock()
			_, err = far.Write(b[:n])
			stalled.Unlock()
			if err != nil {
				return
			}
		}
	}()
	if _, err := from.Connect(timeout(t), []string{address(l.Addr().(*net.TCPAddr).Port, to.ID())}); err != nil {
		t.Fatal(err)
	}
	return stalled
}

// Where a connection carries nothing any more, ending streams does not wait for it. They end all the same when it goes on.
func TestStream_EndsOnAStalledConnection(t *testing.T) {
	from, to := start(t), start(t)
	stalled := stallable(t, from, to)
	came := make(chan *core.Stream, 1)
	serve(t, to, "/test/stalled", core.ServeOptions{}, func(s *core.Stream) { came <- s })
	begin := func() (near, far *core.Stream) {
		near = open(t, from, to, "/test/stalled")
		mustWrite(t, near, "!")
		far = <-came
		mustRead(t, far, 1)
		mustWrite(t, far, "!") // the protocol is agreed on
		mustRead(t, near, 1)
		return near, far
	}
	const ends = 10
	var closed, reset, others [ends][2]*core.Stream
	for i := range ends {
		closed[i][0], closed[i][1] = begin()
		reset[i][0], reset[i][1] = begin()
		others[i][0], others[i][1] = begin()
	}
	ctx, cancel := context.WithCancel(context.Background())
	bulk := make([]*core.Stream, 64) // of which each fills its window, which together is more than the system holds
	for i := range bulk {
		bulk[i], _ = begin()
	}
	probe, _ := begin()
	stalled.Lock()
	var writers sync.WaitGroup
	defer writers.Wait()
	defer cancel()
	for _, s := range bulk {
		writers.Go(func() { s.WriteContext(ctx, make([]byte, 1<<20)) })
	}
	for full := false; !full; {
		short, stop := context.WithTimeout(ctx, 100*time.Millisecond)
		_, err := probe.WriteContext(short, []byte("?"))
		stop()
		full = errors.Is(err, core.ErrTimeout)
	}
	begun := time.Now()
	for i := range ends {
		closed[i][0].Close()
		reset[i][0].Reset(9)
	}
	took := time.Since(begun)
	stalled.Unlock()
	if took > time.Second {
		t.Fatalf("ending %d streams took %s", 2*ends, took)
	}
	for i := range ends {
		mustEnd(t, closed[i][1])
		var how *core.ResetError
		if _, err := reset[i][1].ReadContext(timeout(t), make([]byte, 1)); !errors.As(err, &how) || how.Code != 9 || !how.Remote {
			t.Fatalf("the peer sees %v", err)
		}
		mustWrite(t, others[i][0], "on")
		if got := mustRead(t, others[i][1], 2); got != "on" {
			t.Fatalf("read %q", got)
		}
	}
}
