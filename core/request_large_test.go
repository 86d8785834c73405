package core_test

import (
	"testing"

	"github.com/libp2pgo/libp2pgo/core"
)

// An answer that is still being sent when its handler lets go of the request arrives whole.
func TestLargeAnswerOutlivesItsRequest(t *testing.T) {
	asker, server := start(t), start(t)
	connect(t, asker, server)
	const size = 3 << 20
	service, err := server.ServeRequests("/test/large/1", core.RequestServeOptions{MaxRequest: 1 << 20, MaxConcurrent: 10}, func(r *core.Request) {
		if _, err := r.Enqueue(make([]byte, size), false, func(error) { r.Close() }); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	for range 5 {
		answer, err := asker.Request(timeout(t), server.ID(), "/test/large/1", nil, core.RequestOptions{MaxResponse: 4 << 20})
		if err != nil || len(answer) != size {
			t.Fatalf("%d bytes, %v", len(answer), err)
		}
	}
}

// A large request whose answer comes in the moment when its last bytes have gone out is answered like any other.
func TestRequest_LargeIsAnsweredAtOnce(t *testing.T) {
	from, to := pair(t, "listen", "/ip4/127.0.0.1/udp/0/quic-v1")
	serveRequests(t, to, core.RequestServeOptions{MaxConcurrent: 100, MaxRequest: 1 << 20}, func(r *core.Request) {
		r.Respond(timeout(t), []byte("ok"), false)
	})
	errs := make(chan error)
	for range 8 {
		go func() {
			for range 100 {
				if _, err := ask(timeout(t), from, to, make([]byte, 66_000)); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
