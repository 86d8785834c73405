package core

import (
	"context"
	"sync"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Node is a libp2p node. Its methods may be called from any goroutine at any time, also while Close runs; calls that wait then end with
// ErrClosed.
type Node struct {
	cfg    *Config
	host   host.Host
	ctx    context.Context // ends with cause ErrClosed when Close begins
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup // goroutines of the node; see spawn
	done   chan struct{}  // closed when Close has ended everything
	events *mailbox[Event]

	mu      sync.Mutex
	closing bool      // guarded by mu
	closers []*closer // guarded by mu
}

// closer is a function that Close has to call.
type closer struct{ fn func() }

// Event is what a node tells about itself and its peers.
type Event struct {
	Type EventType
	Peer peer.ID
}

// EventType names an Event.
type EventType int

// New starts a node. cfg is not kept. ctx bounds the start only.
func New(ctx context.Context, cfg *Config, inbox Inbox[Event]) (*Node, error) {
	n := &Node{cfg: cfg.Clone(), done: make(chan struct{})}
	n.ctx, n.cancel = context.WithCancelCause(context.Background()) // ended by Close
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableMetrics())
	if err != nil {
		return nil, Errorf(ErrInternal, "%w", err)
	}
	n.host = h
	n.events = newMailbox("events", inbox, DropOldest, cfg.Events.Capacity, 0, nil)
	return n, nil
}

// Close ends the node: everything that runs on it is closed first, then its connections and ports. When it returns, all of it has been
// given back. Every call returns when the first one has finished.
func (n *Node) Close() error {
	n.mu.Lock()
	if n.closing {
		n.mu.Unlock()
		<-n.done
		return nil
	}
	n.closing = true
	closers := n.closers
	n.closers = nil
	n.mu.Unlock()
	n.cancel(Errorf(ErrClosed, "the node is closed"))
	for i := len(closers) - 1; i >= 0; i-- {
		guarded("close", closers[i].fn)
	}
	n.host.Close()
	n.wg.Wait()
	n.events.close(nil)
	close(n.done)
	return nil
}

// onClose has fn called when the node closes, before its host does, the last one registered first. remove takes it back. It fails with
// ErrClosed, and fn is not called, if the node is closing already.
func (n *Node) onClose(fn func()) (remove func(), err error) {
	c := &closer{fn}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closing {
		return func() {}, Errorf(ErrClosed, "the node is closed")
	}
	n.closers = append(n.closers, c)
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		for i, other := range n.closers {
			if other == c {
				n.closers = append(n.closers[:i], n.closers[i+1:]...)
				return
			}
		}
	}, nil
}

// spawn runs fn on a guarded goroutine that Close waits for. fn has to end when n.ctx does. It reports false, and does nothing, if the
// node is closing.
func (n *Node) spawn(name string, fn func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closing {
		return false
	}
	n.wg.Add(1)
	safeGo(name, func() {
		defer n.wg.Done()
		fn()
	})
	return true
}

// join returns a context that ends with ctx, or, with cause ErrClosed, with the node.
func (n *Node) join(ctx context.Context) (context.Context, context.CancelFunc) {
	joined, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(n.ctx, func() { cancel(context.Cause(n.ctx)) })
	return joined, func() {
		stop()
		cancel(context.Canceled)
	}
}

// ID returns the node's peer id.
func (n *Node) ID() peer.ID { return n.host.ID() }

// Host returns the go-libp2p host, for what this package does not offer. The node closes it.
func (n *Node) Host() host.Host { return n.host }

// Done is closed when Close has ended everything.
func (n *Node) Done() <-chan struct{} { return n.done }
