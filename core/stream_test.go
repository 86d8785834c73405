package core_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/libp2pgo/libp2pgo/core"
)

const echoName = "/test/echo/1"

// pair starts two nodes, the first of which is connected to the second.
func pair(t testing.TB, options ...string) (from, to *core.Node) {
	t.Helper()
	from, to = start(t, options...), start(t, options...)
	connect(t, from, to)
	return from, to
}

func serve(t testing.TB, n *core.Node, name string, o core.ServeOptions, handler func(*core.Stream)) *core.Service {
	t.Helper()
	s, err := n.Serve([]string{name}, o, handler)
	if err != nil {
		t.Fatalf("Serve: %v", err)
	}
	return s
}

func open(t testing.TB, from, to *core.Node, names ...string) *core.Stream {
	t.Helper()
	s, err := from.OpenStream(timeout(t), to.ID(), names, core.OpenOptions{})
	if err != nil {
		t.Fatalf("OpenStream: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// streams returns both ends of a stream.
func streams(t testing.TB, options ...string) (near, far *core.Stream) {
	t.Helper()
	from, to := pair(t, options...)
	came := make(chan *core.Stream, 1)
	serve(t, to, "/test/ends", core.ServeOptions{}, func(s *core.Stream) { came <- s })
	near = open(t, from, to, "/test/ends")
	// The other end comes with the first byte.
	mustWrite(t, near, "!")
	far = <-came
	t.Cleanup(func() { far.Close() })
	if got := mustRead(t, far, 1); got != "!" {
		t.Fatalf("read %q", got)
	}
	return near, far
}

func echo(s *core.Stream) {
	defer s.Close()
	io.Copy(struct{ io.Writer }{s}, struct{ io.Reader }{s})
}

func mustWrite(t testing.TB, s *core.Stream, text string) {
	t.Helper()
	if n, err := s.WriteContext(timeout(t), []byte(text)); err != nil || n != len(text) {
		t.Fatalf("wrote %d of %d bytes: %v", n, len(text), err)
	}
}

func mustRead(t testing.TB, s *core.Stream, n int) string {
	t.Helper()
	b := make([]byte, n)
	for got := 0; got < n; {
		m, err := s.ReadContext(timeout(t), b[got:])
		if err != nil {
			t.Fatalf("read %d of %d bytes: %v", got, n, err)
		}
		got += m
	}
	return string(b)
}

func mustEnd(t testing.TB, s *core.Stream) {
	t.Helper()
	if n, err := s.ReadContext(timeout(t), make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("read %d bytes, %v; not the end", n, err)
	}
}

func pattern(n int) []byte {
	b := make([]byte, n)
	rand.New(rand.NewSource(int64(n))).Read(b)
	return b
}

func TestStream_EchoOverEveryTransport(t *testing.T) {
	for _, listen := range []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0/ws"} {
		t.Run(listen, func(t *testing.T) {
			from, to := pair(t, "listen", listen)
			serve(t, to, echoName, core.ServeOptions{}, echo)
			s := open(t, from, to, echoName)
			if s.Peer() != to.ID() || s.Protocol() != echoName {
				t.Fatalf("stream with %s under %s", s.Peer(), s.Protocol())
			}
			want := pattern(3 << 20)
			go func() {
				s.WriteContext(timeout(t), want)
				s.CloseWrite(timeout(t))
			}()
			got, err := io.ReadAll(struct{ io.Reader }{s})
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("got %d of %d bytes back: %v", len(got), len(want), err)
			}
		})
	}
}

func TestStream_EachSideClosesItsOwnFlow(t *testing.T) {
	for _, first := range []string{"near", "far"} {
		t.Run(first, func(t *testing.T) {
			a, b := streams(t)
			if first == "far" {
				a, b = b, a
			}
			mustWrite(t, a, "last words")
			if err := a.CloseWrite(timeout(t)); err != nil {
				t.Fatal(err)
			}
			if err := a.CloseWrite(timeout(t)); err != nil {
				t.Fatalf("a second CloseWrite: %v", err)
			}
			_, err := a.Write([]byte("x"))
			mustMatch(t, err, core.ErrState)
			_, err = a.Enqueue([]byte("x"), false, nil)
			mustMatch(t, err, core.ErrState)
			if got := mustRead(t, b, 10); got != "last words" {
				t.Fatalf("read %q", got)
			}
			mustEnd(t, b)
			mustEnd(t, b) // again and again
			mustWrite(t, b, "still here")
			if got := mustRead(t, a, 10); got != "still here" {
				t.Fatalf("read %q", got)
			}
			b.Close()
			mustEnd(t, a)
		})
	}
}

func TestStream_ResetIsNotTheEnd(t *testing.T) {
	for _, listen := range []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"} {
		t.Run(listen, func(t *testing.T) {
			near, far := streams(t, "listen", listen)
			waiting := make(chan error, 1)
			go func() {
				_, err := near.Read(make([]byte, 1))
				waiting <- err
			}()
			far.Reset(77)
			err := <-waiting
			var reset *core.ResetError
			if !errors.As(err, &reset) || reset.Code != 77 || !reset.Remote {
				t.Fatalf("read ended with %v", err)
			}
			mustMatch(t, err, core.ErrReset, "77")
			until(t, "writes fail", func() bool { _, err := near.Write([]byte("x")); return errors.Is(err, core.ErrReset) })
			_, err = far.Read(make([]byte, 1))
			if !errors.As(err, &reset) || reset.Code != 77 || reset.Remote {
				t.Fatalf("read of who reset ended with %v", err)
			}
		})
	}
}

func TestStream_LocalEndsWakeWhoWaits(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(*core.Stream)
		read error
	}{
		{"close", func(s *core.Stream) { s.Close() }, core.ErrClosed},
		{"reset", func(s *core.Stream) { s.Reset(5) }, core.ErrReset},
		{"close read", func(s *core.Stream) { s.CloseRead() }, core.ErrState},
	} {
		for _, side := range []string{"settled", "fresh"} {
			t.Run(c.name+"/"+side, func(t *testing.T) {
				var s *core.Stream
				if side == "settled" {
					s, _ = streams(t)
				} else {
					from, to := pair(t)
					serve(t, to, "/test/mute", core.ServeOptions{}, func(*core.Stream) {})
					s = open(t, from, to, "/test/mute")
				}
				ended := make(chan error, 2)
				for range 2 {
					go func() {
						_, err := s.ReadContext(timeout(t), make([]byte, 1))
						ended <- err
					}()
				}
				runtime.Gosched()
				c.end(s)
				for range 2 {
					mustMatch(t, <-ended, c.read)
				}
			})
		}
	}
}

// A read that ends early has lost nothing, however often it does.
func TestStream_ReadsCutByDeadlineLoseNothing(t *testing.T) {
	for transport, listen := range map[string]string{
		"tcp": "/ip4/127.0.0.1/tcp/0", "quic": "/ip4/127.0.0.1/udp/0/quic-v1", "websocket": "/ip4/127.0.0.1/tcp/0/ws",
		"webtransport": "/ip4/127.0.0.1/udp/0/quic-v1/webtransport", "webrtc": "/ip4/127.0.0.1/udp/0/webrtc-direct",
	} {
		t.Run(transport, func(t *testing.T) {
			near, far := streams(t, "listen", listen)
			t.Run("asker", func(t *testing.T) { readWithCuts(t, far, near) })
			t.Run("asked", func(t *testing.T) { readWithCuts(t, near, far) })
		})
	}
}

// readWithCuts reads what it has from write, with reads that are cut in every way at every moment.
func readWithCuts(t *testing.T, from, to *core.Stream) {
	want := pattern(2 << 20)
	go func() {
		for sent := 0; sent < len(want); sent += 16 << 10 { // in pieces, so that reads wait
			from.WriteContext(timeout(t), want[sent:sent+16<<10])
			runtime.Gosched()
		}
		from.CloseWrite(timeout(t))
	}()
	var got []byte
	b := make([]byte, 4096)
	cuts := 0
	for i := 0; ; i++ {
		ctx, cancel := context.WithCancelCause(context.Background())
		switch i % 4 {
		case 0:
			cancel(core.ErrCancelled)
		case 1:
			go cancel(core.ErrCancelled)
		case 2:
			to.SetDeadlines(time.Nanosecond, -1)
		case 3:
			timed, stop := context.WithTimeout(ctx, time.Duration(i%100)*time.Microsecond)
			ctx = timed
			defer stop()
		}
		n, err := to.ReadContext(ctx, b)
		cancel(nil)
		got = append(got, b[:n]...)
		if i%4 == 2 {
			to.SetDeadlines(0, -1)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			cuts++
			if n != 0 {
				t.Fatalf("%d bytes with %v", n, err)
			}
			if !errors.Is(err, core.ErrCancelled) && !errors.Is(err, core.ErrTimeout) {
				t.Fatal(err)
			}
			if len(got) == len(want) {
				mustEnd(t, to)
				break
			}
			got = append(got, mustRead(t, to, 1)...)
		}
	}
	if !bytes.Equal(got, want) || cuts == 0 {
		t.Fatalf("got %d bytes of %d with %d cuts, equal %v", len(got), len(want), cuts, bytes.Equal(got, want))
	}
}

// A wait that is cut while the end of the flow comes leaves what came before it readable: yamux keeps a deadline that has passed by then.
func TestStream_ReadsCutWhileTheEndComesLoseNothing(t *testing.T) {
	from, to := pair(t)
	const size = 200 << 10 // so much that yamux tells the peer that it may send more
	serve(t, to, "/flow", core.ServeOptions{}, func(s *core.Stream) {
		mustWrite(t, s, string(pattern(size)))
		s.CloseWrite(timeout(t))
	})
	for range 400 {
		s := open(t, from, to, "/flow")
		read := len(mustRead(t, s, 1))
		for range 300 {
			ctx, cancel := context.WithCancel(context.Background())
			go cancel()
			n, err := s.ReadContext(ctx, make([]byte, 1))
			if err != nil && !errors.Is(err, core.ErrCancelled) {
				t.Fatal(err)
			}
			read += n
		}
		b := make([]byte, size)
		for read < size {
			n, err := s.ReadContext(timeout(t), b)
			if err != nil {
				t.Fatalf("%d bytes after %d with %v", n, read, err)
			}
			read += n
		}
		mustEnd(t, s)
		s.Close()
	}
}

// The first read of a stream whose peer has not answered yet may be cut too.
func TestStream_FirstReadCutByDeadlineLosesNothing(t *testing.T) {
	from, to := pair(t)
	serve(t, to, echoName, core.ServeOptions{}, echo)
	for i := range 50 {
		s := open(t, from, to, echoName)
		if i%2 == 0 {
			s.SetDeadlines(time.Nanosecond, -1)
			_, err := s.Read(make([]byte, 1))
			mustMatch(t, err, core.ErrTimeout)
			s.SetDeadlines(0, -1)
		} else {
			ctx, cancel := context.WithTimeout(context.Background(), time.Microsecond)
			_, err := s.ReadContext(ctx, make([]byte, 1))
			cancel()
			mustMatch(t, err, core.ErrTimeout)
		}
		mustWrite(t, s, "hello")
		if got := mustRead(t, s, 5); got != "hello" {
			t.Fatalf("read %q", got)
		}
		s.Close()
	}
}

func TestStream_DeadlineWakesWhoWaits(t *testing.T) {
	near, _ := streams(t)
	ended := make(chan error, 1)
	go func() {
		_, err := near.Read(make([]byte, 1))
		ended <- err
	}()
	near.SetDeadlines(time.Millisecond, -1)
	mustMatch(t, <-ended, core.ErrTimeout)
	huge := make([]byte, 64<<20)
	near.SetDeadlines(0, 50*time.Millisecond)
	n, err := near.Write(huge)
	mustMatch(t, err, core.ErrTimeout)
	if n <= 0 || n >= len(huge) {
		t.Fatalf("%d of %d bytes sent", n, len(huge))
	}
}

func TestStream_MessageCutByDeadlineEndsTheStream(t *testing.T) {
	near, far := streams(t)
	huge := make([]byte, 64<<20)
	near.SetDeadlines(-1, 50*time.Millisecond)
	mustMatch(t, near.WriteMessage(context.Background(), huge), core.ErrTimeout)
	near.SetDeadlines(-1, 0)
	mustMatch(t, near.WriteMessage(timeout(t), []byte("x")), core.ErrReset)
	_, err := far.ReadMessage(timeout(t), 100<<20)
	mustMatch(t, err, core.ErrReset)
}

func TestStream_Messages(t *testing.T) {
	near, far := streams(t)
	sizes := []int{0, 1, 127, 128, 4096, coalesce, coalesce + 1, 3 << 20}
	go func() {
		for i, size := range sizes {
			if i%2 == 0 {
				near.WriteMessage(timeout(t), pattern(size))
			} else {
				near.Enqueue(pattern(size), true, nil)
			}
		}
		near.CloseWrite(timeout(t))
	}()
	for _, size := range sizes {
		m, err := far.ReadMessage(timeout(t), 3<<20)
		if err != nil || !bytes.Equal(m, pattern(size)) {
			t.Fatalf("message of %d bytes came with %d: %v", size, len(m), err)
		}
	}
	if _, err := far.ReadMessage(timeout(t), 1); err != io.EOF {
		t.Fatalf("after the last message: %v", err)
	}
}

const coalesce = 64 << 10

func TestStream_MessageCutByDeadlineIsNotLost(t *testing.T) {
	near, far := streams(t)
	want := pattern(100_000)
	frame := append([]byte{0xa0, 0x8d, 0x06}, want...)
	var got []byte
	for _, b := range [][]byte{frame[:1], frame[1:2], frame[2:3], frame[3:50_000], frame[50_000:]} {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		_, err := near.ReadMessage(ctx, 1<<20)
		cancel()
		mustMatch(t, err, core.ErrTimeout)
		mustWrite(t, far, string(b))
	}
	got, err := near.ReadMessage(timeout(t), 1<<20)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
}

func TestStream_MessageOverTheLimitSparesTheConnection(t *testing.T) {
	from, to := pair(t)
	failed := make(chan error, 1)
	serve(t, to, "/test/frames", core.ServeOptions{}, func(s *core.Stream) {
		_, err := s.ReadMessage(timeout(t), 1000)
		failed <- err
	})
	serve(t, to, echoName, core.ServeOptions{}, echo)
	s := open(t, from, to, "/test/frames")
	s.WriteMessage(timeout(t), make([]byte, 1001))
	err := <-failed
	var size *core.SizeError
	if !errors.As(err, &size) || size.Size != 1001 || size.Max != 1000 {
		t.Fatalf("got %v", err)
	}
	mustMatch(t, err, core.ErrTooBig)
	_, err = s.ReadContext(timeout(t), make([]byte, 1))
	mustMatch(t, err, core.ErrReset)
	other := open(t, from, to, echoName)
	mustWrite(t, other, "on")
	if got := mustRead(t, other, 2); got != "on" {
		t.Fatalf("read %q", got)
	}
}

func TestServe_MaxStreams(t *testing.T) {
	from, to := pair(t)
	came := make(chan *core.Stream, 8)
	service := serve(t, to, "/test/limited", core.ServeOptions{MaxStreams: 2}, func(s *core.Stream) { came <- s })
	try := func() (*core.Stream, error) {
		s, err := from.OpenStream(timeout(t), to.ID(), []string{"/test/limited"}, core.OpenOptions{})
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { s.Close() })
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		for err = core.ErrTimeout; errors.Is(err, core.ErrTimeout) && len(came) == 0; {
			_, err = s.ReadContext(ctx, make([]byte, 1))
			if ctx.Err() != nil {
				ctx, cancel = context.WithTimeout(context.Background(), 10*time.Millisecond)
				defer cancel()
			}
		}
		return s, err
	}
	var open []*core.Stream
	for range 2 {
		try()
		open = append(open, <-came)
	}
	_, err := try()
	var reset *core.ResetError
	if !errors.As(err, &reset) || reset.Code != 0x1002 || !reset.Remote {
		t.Fatalf("the third stream: %v", err)
	}
	open[0].Close()
	try()
	<-came
	info := service.Info().(core.ServiceInfo)
	if info.Open != 2 || info.Accepted != 3 || info.Refused != 1 {
		t.Fatalf("info %+v", info)
	}
}

func TestServe_Names(t *testing.T) {
	from, to := pair(t)
	prefix := serve(t, to, "/test/files/*", core.ServeOptions{}, func(s *core.Stream) { fmt.Fprintf(s, "prefix %s", s.Protocol()); s.Close() })
	serve(t, to, "/test/b", core.ServeOptions{}, func(s *core.Stream) { fmt.Fprint(s, "b"); s.Close() })
	read := func(names ...string) string {
		t.Helper()
		s := open(t, from, to, names...)
		s.CloseWrite(timeout(t))
		b, err := io.ReadAll(struct{ io.Reader }{s})
		if err != nil {
			t.Fatalf("%v: %v", names, err)
		}
		return string(b)
	}
	if got := read("/test/files/a/b"); got != "prefix /test/files/a/b" {
		t.Fatal(got)
	}
	if got := read("/test/a", "/test/b"); got != "b" {
		t.Fatal(got)
	}
	_, err := to.Serve([]string{"/test/c", "/test/b"}, core.ServeOptions{}, echo)
	mustMatch(t, err, core.ErrExists, "/test/b")
	serve(t, to, "/test/c", core.ServeOptions{}, echo) // was not kept by the failed call
	for _, names := range [][]string{nil, {""}, {"*"}, {"a\nb"}, {"/x", "/x"}} {
		if s, err := to.Serve(names, core.ServeOptions{}, echo); s != nil || !errors.Is(err, core.ErrInvalid) {
			t.Fatalf("%q: %v %v", names, s, err)
		}
	}
	_, err = from.OpenStream(timeout(t), to.ID(), []string{"/test/none", "/test/nothing"}, core.OpenOptions{})
	mustMatch(t, err, core.ErrProtocol, "/test/none", to.ID().String())

	prefix.Close()
	prefix.Close()
	_, err = from.OpenStream(timeout(t), to.ID(), []string{"/test/files/other"}, core.OpenOptions{})
	mustMatch(t, err, core.ErrProtocol)
	serve(t, to, "/test/files/*", core.ServeOptions{}, func(s *core.Stream) { fmt.Fprint(s, "again"); s.Close() })
	if got := read("/test/files/other"); got != "again" {
		t.Fatal(got)
	}
}

// The name that fits best is asked, in whatever order they came.
func TestServe_NamesWithinOthers(t *testing.T) {
	from, to := pair(t)
	say := func(name string) {
		serve(t, to, name, core.ServeOptions{}, func(s *core.Stream) { fmt.Fprint(s, name); s.Close() })
	}
	for _, name := range []string{"/test/*", "/test/files/admin", "/test/files/*", "/test/fil*"} {
		say(name)
	}
	for name, want := range map[string]string{
		"/test/x": "/test/*", "/test/file": "/test/fil*", "/test/files/x": "/test/files/*", "/test/files/admin": "/test/files/admin",
		"/test/files/administrator": "/test/files/*", "/test/files/*": "/test/files/*"} {
		got, err := io.ReadAll(struct{ io.Reader }{open(t, from, to, name)})
		if err != nil || string(got) != want {
			t.Fatalf("%s: %q %v", name, got, err)
		}
	}
}

// What the node itself answers cannot be taken over, and goes on.
func TestServe_NamesOfTheNode(t *testing.T) {
	from, to := pair(t)
	for _, name := range []string{"/ipfs/ping/1.0.0", "/ipfs/id/1.0.0", "/meshsub/1.1.0"} {
		_, err := to.Serve([]string{"/test/a", name}, core.ServeOptions{}, echo)
		mustMatch(t, err, core.ErrExists, name)
	}
	serve(t, to, "/test/a", core.ServeOptions{}, echo)
	if _, err := from.Ping(timeout(t), to.ID()); err != nil {
		t.Fatal(err)
	}
}

// A protocol that the peer has given up is an error at the latest when the stream is read.
func TestOpenStream_NameGivenUp(t *testing.T) {
	from, to := pair(t)
	service := serve(t, to, echoName, core.ServeOptions{}, echo)
	s := open(t, from, to, echoName)
	mustWrite(t, s, "x")
	mustRead(t, s, 1)
	service.Close()
	s, err := from.OpenStream(timeout(t), to.ID(), []string{echoName}, core.OpenOptions{})
	if err == nil {
		_, err = s.ReadContext(timeout(t), make([]byte, 1))
	}
	mustMatch(t, err, core.ErrProtocol, echoName)
}

func TestOpenStream_NotConnected(t *testing.T) {
	from, to := start(t), start(t)
	_, err := from.OpenStream(timeout(t), to.ID(), []string{echoName}, core.OpenOptions{NoDial: true})
	mustMatch(t, err, core.ErrState)
	_, err = from.OpenStream(timeout(t), to.ID(), []string{echoName}, core.OpenOptions{})
	mustMatch(t, err, core.ErrNoAddress)
	_, err = from.OpenStream(timeout(t), to.ID(), nil, core.OpenOptions{})
	mustMatch(t, err, core.ErrInvalid)
}

func TestServe_HandlerThatPanics(t *testing.T) {
	from, to := pair(t)
	before := core.Panics()
	service := serve(t, to, echoName, core.ServeOptions{}, func(*core.Stream) { panic("test") })
	s, err := from.OpenStream(timeout(t), to.ID(), []string{echoName}, core.OpenOptions{})
	if err == nil {
		_, err = s.ReadContext(timeout(t), make([]byte, 1))
	}
	mustMatch(t, err, core.ErrReset)
	until(t, "the stream is no longer counted", func() bool { return service.Info().(core.ServiceInfo).Open == 0 })
	if core.Panics() != before+1 {
		t.Fatal("the panic was not counted")
	}
}

func TestEnqueue_HighWaterAndOrder(t *testing.T) {
	near, far := streams(t, "stream.write_buffer", "100000")
	drained := make(chan error, 100)
	var want []byte
	add := func(size int) bool {
		t.Helper()
		p := pattern(size)
		want = append(want, p...)
		now, err := near.Enqueue(p, false, func(err error) { drained <- err })
		if err != nil {
			t.Fatal(err)
		}
		return now
	}
	if !add(10) {
		t.Fatal("10 bytes are above the high-water mark")
	}
	above := 0
	for range 40 { // 40 MiB: more than the window of the connection takes
		if !add(1 << 20) {
			above++
		}
	}
	if above != 40 {
		t.Fatalf("%d of 40 writes were above the high-water mark", above)
	}
	if len(drained) > 35 {
		t.Fatalf("%d writes drained while nobody reads", len(drained))
	}
	if waiting := near.Info().(core.StreamInfo).WriteWaiting; waiting < 1<<20 {
		t.Fatalf("%d bytes wait", waiting)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := near.WriteContext(timeout(t), []byte("direct"))
		if err == nil {
			err = near.CloseWrite(timeout(t))
		}
		ended <- err
	}()
	got, err := io.ReadAll(struct{ io.Reader }{far})
	if err != nil || !bytes.Equal(got, append(want, "direct"...)) {
		t.Fatalf("got %d of %d bytes, %v", len(got), len(want)+6, err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	for range 40 {
		if err := <-drained; err != nil {
			t.Fatal(err)
		}
	}
	until(t, "nothing waits", func() bool { return near.Info().(core.StreamInfo).WriteWaiting == 0 })
}

func TestEnqueue_SentBeforeTheEnd(t *testing.T) {
	for _, end := range []string{"Close", "CloseWrite"} {
		t.Run(end, func(t *testing.T) {
			near, far := streams(t)
			want := pattern(5 << 20)
			near.Enqueue(bytes.Clone(want), false, nil)
			near.Enqueue([]byte("end"), false, nil)
			if end == "Close" {
				near.Close()
				near.Close()
				_, err := near.Enqueue([]byte("late"), false, nil)
				mustMatch(t, err, core.ErrClosed)
				_, err = near.WriteContext(timeout(t), []byte("late"))
				mustMatch(t, err, core.ErrClosed)
			} else {
				go near.CloseWrite(timeout(t))
			}
			got, err := io.ReadAll(struct{ io.Reader }{far})
			if err != nil || !bytes.Equal(got, append(want, "end"...)) {
				t.Fatalf("got %d of %d bytes, %v", len(got), len(want)+3, err)
			}
		})
	}
}

func TestEnqueue_FailureIsTold(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(near, far *core.Stream)
		want error
	}{
		{"peer resets", func(_, far *core.Stream) { far.Reset(9) }, core.ErrReset},
		{"own reset", func(near, _ *core.Stream) { near.Reset(9) }, core.ErrReset},
		{"deadline", func(near, _ *core.Stream) { near.SetDeadlines(-1, time.Millisecond) }, core.ErrTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			near, far := streams(t)
			told := make(chan error, 10)
			for range 10 {
				if _, err := near.Enqueue(make([]byte, 4<<20), false, func(err error) { told <- err }); err != nil {
					t.Fatal(err)
				}
			}
			c.end(near, far)
			for range 10 {
				if err := <-told; err != nil { // the first may have got through
					mustMatch(t, err, c.want)
				}
			}
			_, err := near.Enqueue([]byte("x"), false, nil)
			mustMatch(t, err, c.want)
			mustMatch(t, near.CloseWrite(timeout(t)), c.want)
		})
	}
}

// A write that Close cuts must not look like the whole to the peer.
func TestClose_CutsAWriteWithAReset(t *testing.T) {
	near, far := streams(t)
	ended := make(chan error, 1)
	go func() {
		_, err := near.Write(make([]byte, 64<<20))
		ended <- err
	}()
	mustRead(t, far, 1<<20)
	near.Close()
	mustMatch(t, <-ended, core.ErrClosed)
	_, err := io.Copy(io.Discard, struct{ io.Reader }{far})
	mustMatch(t, err, core.ErrReset)
}

// Nor must one that is cut by the end of what it belongs to, just before the stream is closed.
func TestClose_AfterACloseCutAWrite(t *testing.T) {
	near, far := streams(t)
	ctx, closed := context.WithCancelCause(context.Background())
	ended := make(chan error, 1)
	go func() {
		_, err := near.WriteContext(ctx, make([]byte, 64<<20))
		ended <- err
	}()
	mustRead(t, far, 1<<20)
	closed(core.Errorf(core.ErrClosed, "the node was closed"))
	mustMatch(t, <-ended, core.ErrClosed)
	_, err := near.ReadContext(timeout(t), make([]byte, 1)) // as every other call on what is being closed
	mustMatch(t, err, core.ErrClosed)
	near.Close()
	_, err = io.Copy(io.Discard, struct{ io.Reader }{far})
	mustMatch(t, err, core.ErrReset)
}

// Closing the writing side of a stream that the peer has reset tells the peer's code, as reading and writing do.
func TestStream_CloseWriteTellsTheReset(t *testing.T) {
	near, far := streams(t)
	if err := far.Reset(77); err != nil {
		t.Fatal(err)
	}
	if _, err := near.ReadContext(timeout(t), make([]byte, 1)); err == nil { // the reset is here
		t.Fatal("read from a stream that was reset")
	}
	var reset *core.ResetError
	if err := near.CloseWrite(timeout(t)); !errors.As(err, &reset) || reset.Code != 77 || !reset.Remote {
		t.Fatalf("closed with %v", err)
	}
}

// A reader that stops holds the writer back: the memory between them is bounded.
func TestStream_SlowReaderHoldsTheWriterBack(t *testing.T) {
	near, far := streams(t)
	sent := make(chan int, 1)
	ctx, cancel := context.WithCancel(context.Background())
	progress := make(chan int, 1<<16)
	go func() {
		total := 0
		for {
			n, err := near.WriteContext(ctx, make([]byte, 64<<10))
			total += n
			if err != nil {
				sent <- total
				return
			}
			progress <- total
		}
	}()
	last := 0
	for stalled := false; !stalled; {
		select {
		case last = <-progress:
		case <-time.After(300 * time.Millisecond):
			stalled = true
		}
	}
	if last > 20<<20 {
		t.Fatalf("%d bytes were taken while nobody reads", last)
	}
	cancel()
	total := <-sent
	near.CloseWrite(timeout(t))
	got, err := io.Copy(io.Discard, struct{ io.Reader }{far})
	if err != nil || got != int64(total) {
		t.Fatalf("%d of %d bytes came: %v", got, total, err)
	}
}

func TestStream_NodeClosedMidway(t *testing.T) {
	for _, who := range []string{"own", "remote"} {
		t.Run(who, func(t *testing.T) {
			from, to := pair(t)
			came := make(chan *core.Stream, 1)
			serve(t, to, "/test/ends", core.ServeOptions{}, func(s *core.Stream) { came <- s })
			s := open(t, from, to, "/test/ends")
			mustWrite(t, s, "x")
			<-came
			ended := make(chan error, 3)
			go func() { _, err := s.Read(make([]byte, 1)); ended <- err }()
			go func() { _, err := s.Write(make([]byte, 64<<20)); ended <- err }()
			go func() { _, err := s.ReadContext(timeout(t), make([]byte, 1)); ended <- err }()
			want := core.ErrReset
			if who == "own" {
				from.Close()
				want = core.ErrClosed
			} else {
				to.Close()
			}
			for range 3 {
				mustMatch(t, <-ended, want)
			}
			if who == "own" {
				_, err := from.OpenStream(timeout(t), to.ID(), []string{echoName}, core.OpenOptions{})
				mustMatch(t, err, core.ErrClosed)
				_, err = from.Serve([]string{echoName}, core.ServeOptions{}, echo)
				mustMatch(t, err, core.ErrClosed)
			}
		})
	}
}

// Nothing is left of streams that have come and gone.
func TestStream_TenThousandCyclesLeaveNothing(t *testing.T) {
	cycles := 10_000
	if testing.Short() {
		cycles = 500
	}
	from, to := pair(t)
	ctx := timeout(t) // one for all: each lives until the test ends
	service := serve(t, to, echoName, core.ServeOptions{}, echo)
	cycle := func() {
		s, err := from.OpenStream(ctx, to.ID(), []string{echoName}, core.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		s.Enqueue([]byte("cycle"), false, nil)
		b := make([]byte, 5)
		if _, err := io.ReadFull(struct{ io.Reader }{s}, b); err != nil || string(b) != "cycle" {
			t.Fatalf("%q %v", b, err)
		}
		s.Close()
	}
	settled := func() int {
		var m runtime.MemStats
		until(t, "the service has no stream", func() bool { return service.Info().(core.ServiceInfo).Open == 0 })
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	for range 100 {
		cycle()
	}
	heap, before := settled(), runtime.NumGoroutine()
	for range cycles {
		cycle()
	}
	after := settled()
	until(t, "goroutines are back", func() bool { return runtime.NumGoroutine() <= before+3 })
	if after > heap+4<<20 {
		t.Fatalf("heap grew from %d to %d bytes", heap, after)
	}
}

func TestStream_Info(t *testing.T) {
	near, far := streams(t)
	for _, c := range []struct {
		s         *core.Stream
		direction string
	}{{near, "outbound"}, {far, "inbound"}} {
		if info := c.s.Info().(core.StreamInfo); info.Direction != c.direction || info.State != "open" || info.Protocol != "/test/ends" || info.Connection == "" {
			t.Fatalf("%+v", info)
		}
	}
	near.CloseWrite(timeout(t))
	near.CloseRead()
	far.Reset(1)
	for s, want := range map[*core.Stream]string{near: "closed", far: "reset"} {
		if got := s.Info().(core.StreamInfo).State; got != want {
			t.Fatalf("state %s, not %s", got, want)
		}
	}
}

// A first write that is cut, of more than the peer takes, leaves a stream that goes on where it stopped.
func TestStream_FirstWriteCutByItsContext(t *testing.T) {
	for _, listen := range []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"} {
		t.Run(listen, func(t *testing.T) {
			from, to := pair(t, "listen", listen)
			goOn, got := make(chan struct{}), make(chan []byte, 1)
			serve(t, to, "/slow", core.ServeOptions{}, func(s *core.Stream) {
				<-goOn
				all, _ := io.ReadAll(struct{ io.Reader }{s})
				got <- all
			})
			until(t, "the protocol is known", func() bool { return slices.Contains(known(from, to).Protocols, "/slow") })
			want := pattern(4 << 20)
			s := open(t, from, to, "/slow")
			ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
			defer cancel()
			n, err := s.WriteContext(ctx, want)
			mustMatch(t, err, core.ErrTimeout)
			if n == 0 || n == len(want) {
				t.Fatalf("%d bytes went out", n)
			}
			close(goOn)
			mustWrite(t, s, string(want[n:]))
			s.Close()
			if all := <-got; !bytes.Equal(all, want) {
				t.Fatalf("%d bytes of %d came", len(all), len(want))
			}
		})
	}
}
