package core_test

import (
	"bytes"
	"context"
	"io"
	"testing"
	"time"

	"github.com/libp2pgo/libp2pgo/core"
)

// mustComeWhole fails unless a stream comes that carries want and ends with an end of file, not with a reset.
func mustComeWhole(t *testing.T, came <-chan *core.Stream, want []byte) {
	t.Helper()
	var s *core.Stream
	select {
	case s = <-came:
	case <-time.After(limit):
		t.Fatal("no stream came")
	}
	s.SetDeadlines(limit, -1)
	got, err := io.ReadAll(struct{ io.Reader }{s})
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("got %d of %d bytes, %v", len(got), len(want), err)
	}
	s.Close()
}

// A stream that is closed at the moment when the last that was enqueued has been sent is not reset.
func TestClose_AfterTheLastWasSent(t *testing.T) {
	from, to := pair(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	came := make(chan *core.Stream, 1)
	serve(t, to, "/test/ends", core.ServeOptions{}, func(s *core.Stream) { came <- s })
	for range 3000 {
		s, err := from.OpenStream(ctx, to.ID(), []string{"/test/ends"}, core.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Enqueue([]byte("all"), false, nil); err != nil {
			t.Fatal(err)
		}
		for s.Info().(core.StreamInfo).WriteWaiting > 0 {
		}
		s.Close()
		mustComeWhole(t, came, []byte("all"))
	}
}

// A stream that is closed after a write is not reset, also where that write began when the stream was about to send its name alone.
func TestClose_AfterAWriteThatMetTheGreeting(t *testing.T) {
	from, to := pair(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	came := make(chan *core.Stream, 1)
	serve(t, to, "/test/ends", core.ServeOptions{}, func(s *core.Stream) { came <- s })
	want := pattern(64 << 10)
	for i := range 3000 {
		s, err := from.OpenStream(ctx, to.ID(), []string{"/test/ends"}, core.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for begun, pause := time.Now(), 150*time.Microsecond+time.Duration(i%100)*time.Microsecond; time.Since(begun) < pause; {
		}
		if _, err := s.Write(want); err != nil {
			t.Fatal(err)
		}
		s.Close()
		mustComeWhole(t, came, want)
	}
}
