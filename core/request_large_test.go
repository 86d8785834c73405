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
