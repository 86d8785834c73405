package core_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2pgo/libp2pgo/core"
)

const askName = "/test/ask/1"

var asking, answering = core.RequestOptions{MaxResponse: 4 << 20}, core.RequestServeOptions{MaxRequest: 4 << 20, MaxConcurrent: 64}

func serveRequests(t testing.TB, n *core.Node, o core.RequestServeOptions, handler func(*core.Request)) *core.Service {
	t.Helper()
	s, err := n.ServeRequests(askName, o, handler)
	if err != nil {
		t.Fatalf("ServeRequests: %v", err)
	}
	return s
}

func ask(ctx context.Context, from, to *core.Node, data []byte) ([]byte, error) {
	return from.Request(ctx, to.ID(), askName, data, asking)
}

func respond(t testing.TB, r *core.Request, text string, more bool) {
	if err := r.Respond(timeout(t), []byte(text), more); err != nil {
		t.Errorf("Respond: %v", err)
	}
}

func TestRequest_Unary(t *testing.T) {
	from, to := pair(t)
	serveRequests(t, to, answering, func(r *core.Request) {
		if r.Peer != from.ID() || r.Protocol != askName {
			t.Errorf("request of %s for %s", r.Peer, r.Protocol)
		}
		if len(r.Data)%2 == 0 {
			r.Respond(timeout(t), r.Data, false)
		} else {
			r.Enqueue(r.Data, false, nil)
		}
	})
	for _, size := range []int{0, 1, 2, 1000, coalesce - 1, coalesce, coalesce + 1, 4<<20 - 1, 4 << 20} {
		answer, err := ask(timeout(t), from, to, pattern(size))
		if err != nil || !bytes.Equal(answer, pattern(size)) {
			t.Fatalf("%d bytes: got %d, %v", size, len(answer), err)
		}
	}
}

func TestRequest_Streamed(t *testing.T) {
	from, to := pair(t)
	var handlers sync.WaitGroup
	defer handlers.Wait() // before the nodes close
	handlers.Add(3)
	serveRequests(t, to, answering, func(r *core.Request) {
		defer handlers.Done()
		respond(t, r, "one", true)
		if now, err := r.Enqueue([]byte("two"), true, nil); !now || err != nil {
			t.Errorf("%v %v", now, err)
		}
		respond(t, r, "", true)
		respond(t, r, string(r.Data), false)
		mustMatch(t, r.Respond(timeout(t), nil, false), core.ErrState)
		mustMatch(t, r.Fail(1, "late"), core.ErrState)
	})
	for last, want := range map[string][]string{"three": {"one", "two", "", "three"}, "": {"one", "two", ""}} {
		x, err := from.OpenRequest(timeout(t), to.ID(), askName, []byte(last), asking)
		if err != nil {
			t.Fatal(err)
		}
		for i, part := range want {
			if got, err := x.Next(timeout(t)); err != nil || string(got) != part {
				t.Fatalf("part %d: %q, %v", i, got, err)
			}
		}
		for range 2 {
			if got, err := x.Next(timeout(t)); err != io.EOF {
				t.Fatalf("after the end: %q, %v", got, err)
			}
		}
		x.Close()
		x.Close()
	}
	// A question for one answer gets the parts as one.
	answer, err := ask(timeout(t), from, to, []byte("three"))
	if err != nil || string(answer) != "onetwothree" {
		t.Fatalf("%q, %v", answer, err)
	}
}

func TestRequest_DeadlineReachesTheHandler(t *testing.T) {
	from, to := pair(t)
	type seen struct {
		left time.Duration
		has  bool
	}
	saw := make(chan seen, 1)
	serveRequests(t, to, answering, func(r *core.Request) {
		deadline, has := r.Deadline()
		saw <- seen{time.Until(deadline), has}
		r.Fail(0, "")
	})
	ask(context.Background(), from, to, nil)
	if s := <-saw; s.has {
		t.Fatalf("a deadline in %v that nobody gave", s.left)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	ask(ctx, from, to, nil)
	if s := <-saw; !s.has || s.left > time.Hour || s.left < 59*time.Minute {
		t.Fatalf("%+v", s)
	}
}

// Whatever ends the asking reaches the handler, and the asker is told what it was.
// The deadline holds also for the last part, when the asker does not read it.
func TestRequest_DeadlineOfALastPart(t *testing.T) {
	for _, c := range []struct {
		name  string
		first int // bytes of a part before it
		want  error
	}{{"that is under way", 0, core.ErrReset}, {"that has not begun", 4 << 20, core.ErrTimeout}} {
		t.Run(c.name, func(t *testing.T) {
			from, to := pair(t)
			o := answering
			o.TimeoutMs = 200
			ended := make(chan error, 2)
			serveRequests(t, to, o, func(r *core.Request) {
				if c.first > 0 {
					r.Enqueue(make([]byte, c.first), true, nil)
				}
				ended <- r.Respond(context.Background(), make([]byte, 4<<20), false)
				ended <- r.Respond(context.Background(), nil, false) // it may not be tried again
			})
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			x, err := from.OpenRequest(ctx, to.ID(), askName, nil, asking)
			if err != nil {
				t.Fatal(err)
			}
			defer x.Close()
			select {
			case err := <-ended:
				mustMatch(t, err, core.ErrTimeout)
			case <-time.After(limit):
				t.Fatal("the answer still waits")
			}
			if err := <-ended; err == nil {
				t.Fatal("answered after the deadline")
			}
			for err = nil; err == nil; {
				_, err = x.Next(timeout(t))
			}
			mustMatch(t, err, c.want)
		})
	}
}

func TestRequest_EndReachesTheHandler(t *testing.T) {
	for _, c := range []struct {
		name   string
		end    func(cancel context.CancelFunc, x *core.Exchange, from *core.Node)
		asker  error
		server error
	}{
		{"cancel", func(cancel context.CancelFunc, _ *core.Exchange, _ *core.Node) { cancel() }, core.ErrCancelled, core.ErrCancelled},
		{"close", func(_ context.CancelFunc, x *core.Exchange, _ *core.Node) { x.Close() }, core.ErrClosed, core.ErrCancelled},
		{"node", func(_ context.CancelFunc, _ *core.Exchange, from *core.Node) { from.Close() }, core.ErrClosed, core.ErrCancelled},
	} {
		t.Run(c.name, func(t *testing.T) {
			from, to := pair(t)
			ended := make(chan error, 1)
			serveRequests(t, to, answering, func(r *core.Request) {
				respond(t, r, "part", true)
				<-r.Context().Done()
				ended <- r.Respond(context.Background(), nil, false)
				r.Close()
			})
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			x, err := from.OpenRequest(ctx, to.ID(), askName, nil, asking)
			if err != nil {
				t.Fatal(err)
			}
			defer x.Close()
			if _, err := x.Next(timeout(t)); err != nil {
				t.Fatal(err)
			}
			next := make(chan error, 1)
			go func() { _, err := x.Next(context.Background()); next <- err }()
			c.end(cancel, x, from)
			mustMatch(t, <-next, c.asker)
			mustMatch(t, <-ended, c.server)
		})
	}
	t.Run("deadline", func(t *testing.T) {
		from, to := pair(t)
		ended := make(chan error, 1)
		serveRequests(t, to, answering, func(r *core.Request) {
			<-r.Context().Done()
			ended <- r.Respond(context.Background(), nil, false)
		})
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		_, err := ask(ctx, from, to, nil)
		mustMatch(t, err, core.ErrTimeout)
		if err := <-ended; !errors.Is(err, core.ErrTimeout) && !errors.Is(err, core.ErrCancelled) {
			t.Fatal(err)
		}
	})
	t.Run("the service's own limit", func(t *testing.T) {
		from, to := pair(t)
		o := answering
		o.TimeoutMs = 50
		serveRequests(t, to, o, func(r *core.Request) { <-r.Context().Done() })
		_, err := ask(context.Background(), from, to, nil)
		mustMatch(t, err, core.ErrTimeout, to.ID().String())
	})
}

// A Next that its caller ends has lost nothing, and the exchange goes on.
func TestExchange_NextEndedByItsCaller(t *testing.T) {
	from, to := pair(t)
	release := make(chan struct{})
	serveRequests(t, to, answering, func(r *core.Request) {
		<-release
		respond(t, r, "late", false)
	})
	for _, size := range []int{0, 1 << 20} { // the large one listens while it sends
		x, err := from.OpenRequest(timeout(t), to.ID(), askName, make([]byte, size), asking)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			_, err := x.Next(ctx)
			cancel()
			mustMatch(t, err, core.ErrTimeout)
		}
		release <- struct{}{}
		if got, err := x.Next(timeout(t)); err != nil || string(got) != "late" {
			t.Fatalf("%q, %v", got, err)
		}
		x.Close()
	}
}

func TestRequest_ErrorAnswers(t *testing.T) {
	from, to := pair(t)
	long := strings.Repeat("é", 4096)
	for _, c := range []struct {
		name    string
		handler func(*core.Request)
		code    int32
		words   string
	}{
		{"fail", func(r *core.Request) { r.Fail(42, "no such thing") }, 42, "no such thing"},
		{"without words", func(r *core.Request) { r.Fail(0, "") }, 0, ""},
		{"long words", func(r *core.Request) { r.Fail(7, long) }, 7, long[:4096]},
		{"bytes that are no text", func(r *core.Request) { r.Fail(7, "a\xffb") }, 7, "ab"},
		{"closed without an answer", func(r *core.Request) { r.Close(); r.Close() }, core.NoAnswer, "the handler gave no answer"},
		{"panic", func(r *core.Request) { panic("test") }, core.NoAnswer, "the handler failed"},
		{"after parts", func(r *core.Request) {
			r.Respond(context.Background(), []byte("x"), true)
			r.Fail(1, "changed my mind")
		}, 1, "changed my mind"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serveRequests(t, to, answering, c.handler)
			defer s.Close()
			_, err := ask(timeout(t), from, to, nil)
			var remote *core.RemoteError
			if !errors.As(err, &remote) || remote.Code != c.code || remote.Words != c.words {
				t.Fatalf("%+v", err)
			}
			mustMatch(t, err, core.ErrRemote)
			x, err := from.OpenRequest(timeout(t), to.ID(), askName, nil, asking)
			if err != nil {
				t.Fatal(err)
			}
			for err == nil {
				_, err = x.Next(timeout(t))
			}
			mustMatch(t, err, core.ErrRemote)
			_, again := x.Next(timeout(t))
			mustMatch(t, again, core.ErrRemote)
			x.Close()
			until(t, "the request is not counted any more", func() bool { return s.Info().(core.ServiceInfo).Open == 0 })
		})
	}
	s := serveRequests(t, to, answering, func(r *core.Request) {
		mustMatch(t, r.Fail(-1, ""), core.ErrInvalid)
		r.Fail(1, "")
	})
	ask(timeout(t), from, to, nil)
	s.Close()
	_, err := ask(timeout(t), from, to, nil)
	mustMatch(t, err, core.ErrProtocol, askName)
}

func TestRequest_Busy(t *testing.T) {
	from, to := pair(t)
	o := answering
	o.MaxConcurrent = 2
	release := make(chan struct{})
	service := serveRequests(t, to, o, func(r *core.Request) {
		<-release
		respond(t, r, "ok", false)
	})
	var waiting sync.WaitGroup
	for range 2 {
		waiting.Go(func() {
			if _, err := ask(timeout(t), from, to, nil); err != nil {
				t.Error(err)
			}
		})
	}
	until(t, "two requests are open", func() bool { return service.Info().(core.ServiceInfo).Accepted == 2 })
	for _, size := range []int{0, 3 << 20} {
		_, err := ask(timeout(t), from, to, make([]byte, size))
		mustMatch(t, err, core.ErrBusy, to.ID().String())
	}
	close(release)
	waiting.Wait()
	until(t, "no request is open", func() bool { return service.Info().(core.ServiceInfo).Open == 0 })
	if _, err := ask(timeout(t), from, to, nil); err != nil {
		t.Fatal(err)
	}
	if info := service.Info().(core.ServiceInfo); info.Accepted != 3 || info.Refused != 2 {
		t.Fatalf("%+v", info)
	}
}

func TestRequest_TooBig(t *testing.T) {
	from, to := pair(t)
	o := answering
	o.MaxRequest = 100_000
	serveRequests(t, to, o, func(r *core.Request) { r.Enqueue(make([]byte, 1001), false, nil) })
	for _, size := range []int{100_001, 100_100, 3 << 20, 32 << 20} {
		_, err := ask(timeout(t), from, to, make([]byte, size))
		var tooBig *core.SizeError
		if !errors.As(err, &tooBig) || tooBig.What != "request" || tooBig.Size != int64(size) || tooBig.Max != 100_000 {
			t.Fatalf("%d bytes: %+v", size, err)
		}
	}
	for _, limit := range []int{0, 1000} {
		_, err := from.Request(timeout(t), to.ID(), askName, make([]byte, 100_000), core.RequestOptions{MaxResponse: limit})
		mustMatch(t, err, core.ErrTooBig, "answer", fmt.Sprint(limit))
	}
	if _, err := from.Request(timeout(t), to.ID(), askName, nil, core.RequestOptions{MaxResponse: 1001}); err != nil {
		t.Fatal(err)
	}
}

// Parts that nobody fetches hold the handler back.
func TestRequest_Backpressure(t *testing.T) {
	from, to := pair(t)
	sent := make(chan int, 1000)
	serveRequests(t, to, answering, func(r *core.Request) {
		for i := range 200 {
			if err := r.Respond(timeout(t), make([]byte, 256<<10), i < 199); err != nil {
				t.Error(err)
			}
			sent <- i
		}
	})
	x, err := from.OpenRequest(timeout(t), to.ID(), askName, nil, asking)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	for stalled := false; !stalled; {
		select {
		case i := <-sent:
			if i > 100 {
				t.Fatalf("%d parts of 256 KiB were sent while nobody fetches", i)
			}
		case <-time.After(300 * time.Millisecond):
			stalled = true
		}
	}
	n := 0
	for {
		part, err := x.Next(timeout(t))
		if err == io.EOF {
			break
		}
		if err != nil || len(part) != 256<<10 {
			t.Fatal(len(part), err)
		}
		n++
	}
	if n != 200 {
		t.Fatalf("%d parts", n)
	}
}

func TestRequest_ServerClosedMidway(t *testing.T) {
	from, to := pair(t)
	handled, ended := make(chan struct{}), make(chan error, 1)
	serveRequests(t, to, answering, func(r *core.Request) {
		close(handled)
		<-r.Context().Done()
		ended <- context.Cause(r.Context())
		r.Close()
	})
	answer := make(chan error, 1)
	go func() { _, err := ask(timeout(t), from, to, nil); answer <- err }()
	<-handled
	to.Close()
	mustMatch(t, <-answer, core.ErrReset)
	if err := <-ended; !errors.Is(err, core.ErrClosed) && !errors.Is(err, core.ErrCancelled) {
		t.Fatal(err)
	}
}

func TestRequest_ManyAtOnce(t *testing.T) {
	from, to := pair(t)
	serveRequests(t, to, core.RequestServeOptions{MaxRequest: 1 << 10, MaxConcurrent: 1000}, func(r *core.Request) { r.Enqueue(r.Data, false, nil) })
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			for j := range 50 {
				want := fmt.Sprintf("%d/%d", i, j)
				if got, err := ask(timeout(t), from, to, []byte(want)); err != nil || string(got) != want {
					t.Errorf("%s: %q, %v", want, got, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// A peer that sends nonsense is cut off, and nothing stays behind.
func TestServeRequests_Nonsense(t *testing.T) {
	from, to := pair(t)
	service := serveRequests(t, to, answering, func(r *core.Request) { t.Error("the handler was called") })
	for _, frame := range []string{"\x03\xff\xff\xff", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x05\x12\x7fabc"} {
		s := open(t, from, to, askName)
		mustWrite(t, s, frame)
		s.CloseWrite(timeout(t))
		if _, err := io.Copy(io.Discard, struct{ io.Reader }{s}); err != nil && !errors.Is(err, core.ErrReset) {
			t.Fatal(err)
		}
	}
	until(t, "no request is open", func() bool { return service.Info().(core.ServiceInfo).Open == 0 })
}
