//go:build !race

package core

import (
	"context"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/marcopolo/simnet"
)

// An answer that was enqueued waits for an asker that takes its time, until the deadline of the request.
func TestSimulatedAnswerWaitsForItsAsker(t *testing.T) {
	const size = 24 << 20 // more than any window
	for _, c := range []struct {
		name            string
		deadline, pause time.Duration
		whole           bool
	}{
		{"no deadline", 0, 5 * time.Minute, true},
		{"before the deadline", 2 * time.Minute, time.Minute, true},
		{"after the service's deadline", 0, 2 * time.Minute, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			time.Sleep(10 * idleTime) // goroutines of earlier tests
			synctest.Test(t, func(t *testing.T) {
				defer time.Sleep(time.Second) // when the nodes are closed, all goroutines end
				simulate(t, func(*simnet.Packet) time.Duration { return 5 * time.Millisecond })
				var nodes [2]*Node
				for i := range nodes {
					config := DefaultConfig()
					config.Listen = []string{fmt.Sprintf("/ip4/%s/udp/0/quic-v1", simnet.IntToPublicIPv4(i))}
					n, err := New(t.Context(), config, Inbox[Event]{})
					if err != nil {
						t.Fatal(err)
					}
					defer n.Close()
					nodes[i] = n
				}
				asker, server := nodes[0], nodes[1]
				serving := RequestServeOptions{MaxRequest: 1 << 10, MaxConcurrent: 1}
				if !c.whole {
					serving.TimeoutMs = 60_000
				}
				service, err := server.ServeRequests("/test/slow/1", serving, func(r *Request) {
					if _, err := r.Enqueue(make([]byte, size), false, nil); err != nil {
						t.Error(err)
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := asker.Connect(t.Context(), server.Addresses()); err != nil {
					t.Fatal(err)
				}
				ctx := context.Background()
				if c.deadline > 0 {
					limited, cancel := context.WithTimeout(ctx, c.deadline)
					defer cancel()
					ctx = limited
				}
				x, err := asker.OpenRequest(ctx, server.ID(), "/test/slow/1", nil, RequestOptions{MaxResponse: size})
				if err != nil {
					t.Fatal(err)
				}
				defer x.Close()
				time.Sleep(c.pause)
				part, err := x.Next(ctx)
				if !c.whole {
					if Kind(err) != ErrReset {
						t.Fatalf("%d bytes, %v", len(part), err)
					}
				} else if err != nil || len(part) != size {
					t.Fatalf("%d bytes, %v", len(part), err)
				} else if _, err := x.Next(ctx); err != io.EOF {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				if open := service.Info().(ServiceInfo).Open; open != 0 {
					t.Errorf("%d requests are still open", open)
				}
			})
		})
	}
}
