package core

import (
	"iter"
	"unsafe"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/proto"
)

// packetMax is how many bytes of small messages to a peer are joined into one packet.
const packetMax = 64 << 10

// packets is how upstream's batch goes out: it learns in the pubsub loop to which peers each message goes, and joins the messages to a peer
// into few packets. Upstream does not tell the id of what it was given to publish, but it keeps the data where it is: its address is the name.
// Until done is closed only the pubsub loop uses it.
type packets struct {
	p      *publisher
	peers  map[*byte]int // to how many each message went
	queue  []packet
	direct bool          // a router without batches sends each by itself
	done   chan struct{} // closed when all are with the peers' queues
}

type packet struct {
	to  peer.ID
	rpc *pubsub.RPC
}

func newPackets(p *publisher) *packets {
	return &packets{p: p, peers: map[*byte]int{}, done: make(chan struct{})}
}

func (k *packets) expect(data []byte) { k.peers[unsafe.SliceData(data)] = 0 }

func (k *packets) has(data []byte) bool {
	_, ok := k.peers[unsafe.SliceData(data)]
	return ok
}

// count returns to how many peers a message went, after done.
func (k *packets) count(data []byte) int { return k.peers[unsafe.SliceData(data)] }

// lost is told of each message that does not fit into the queue of a peer.
func (k *packets) lost(data []byte) {
	if n, ok := k.peers[unsafe.SliceData(data)]; ok && !k.direct {
		k.peers[unsafe.SliceData(data)] = max(n-1, 0)
	}
}

// sent is told of each packet that found room in the queue of a peer.
func (k *packets) sent(rpc *pubsub.RPC) {
	for _, m := range rpc.Publish {
		if n, ok := k.peers[unsafe.SliceData(m.Data)]; ok {
			k.peers[unsafe.SliceData(m.Data)] = n + 1
		}
	}
}

// AddRPC implements pubsub.RPCScheduler.
func (k *packets) AddRPC(to peer.ID, _ string, rpc *pubsub.RPC) {
	for _, m := range rpc.Publish {
		k.peers[unsafe.SliceData(m.Data)]++
	}
	k.queue = append(k.queue, packet{to, rpc})
}

// All implements pubsub.RPCScheduler.
func (k *packets) All() iter.Seq2[peer.ID, *pubsub.RPC] {
	return func(yield func(peer.ID, *pubsub.RPC) bool) {
		defer close(k.done)
		defer recovered("publish packets")
		k.p.tracer.batch = k
		defer func() { k.p.tracer.batch = nil }()
		open := map[peer.ID]*pubsub.RPC{}
		sizes := map[peer.ID]int{}
		var order []peer.ID
		out := func(to peer.ID, rpc *pubsub.RPC) bool {
			if !k.p.out.room(to) {
				k.p.tracer.DropRPC(rpc, to)
				return true
			}
			return yield(to, rpc)
		}
		for _, next := range k.queue {
			size := proto.Size(&next.rpc.RPC)
			if rpc := open[next.to]; rpc != nil {
				if sizes[next.to]+size <= packetMax {
					rpc.Publish = append(rpc.Publish, next.rpc.Publish...)
					sizes[next.to] += size
					continue
				}
				if !out(next.to, rpc) {
					return
				}
			} else {
				order = append(order, next.to)
			}
			// Upstream may share one RPC between peers, so the one that grows is our own.
			rpc := &pubsub.RPC{}
			rpc.Publish = append(rpc.Publish, next.rpc.Publish...)
			open[next.to], sizes[next.to] = rpc, size
		}
		for _, to := range order {
			if !out(to, open[to]) {
				return
			}
		}
	}
}
