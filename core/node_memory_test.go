package core_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/libp2pgo/libp2pgo/core"
)

// Nodes that have come and gone leave no memory behind. Upstream keeps types that it made for a node's transport options for ever, 11 KiB for
// each node, if it is given such options.
func TestNode_ComesAndGoesWithoutGrowth(t *testing.T) {
	cycle := func(n int) {
		for range n {
			c, err := core.ParseConfig([]byte(`{"listen":["/ip4/127.0.0.1/tcp/0"]}`))
			if err != nil {
				t.Fatal(err)
			}
			node, err := core.New(context.Background(), c, core.Inbox[core.Event]{})
			if err != nil {
				t.Fatal(err)
			}
			node.Close()
		}
	}
	heap := func() int64 {
		for range 3 { // what finalizers and pools hold goes with the second and third
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	cycle(30)
	before := heap()
	const nodes = 100
	cycle(nodes)
	if grown := (heap() - before) / nodes; grown > 4<<10 {
		t.Fatalf("each node leaves %d bytes behind", grown)
	}
}
