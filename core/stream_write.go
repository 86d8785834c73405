package core

import (
	"context"
	"encoding/binary"
	"sync"

	pool "github.com/libp2p/go-buffer-pool"
)

// coalesceMax is up to how many bytes small enqueued writes are sent as one.
const coalesceMax = 64 << 10

// writeBuffer holds what was enqueued on a stream and gives writers their turns. A goroutine sends while there is something to send; it
// holds the turn meanwhile, so that direct writes come after what was enqueued before them.
type writeBuffer struct {
	stream *Stream
	high   int
	turn   chan struct{} // a token: who holds it writes

	mu      sync.Mutex
	chunks  [][]byte      // guarded by mu; from the pool, filled one after the other
	bytes   int           // guarded by mu; of chunks and of what is being sent
	drained []func(error) // guarded by mu; to be told when bytes is not above half of high
	sending chan struct{} // guarded by mu; non-nil while the goroutine that sends runs, closed when it ends
	shut    bool          // guarded by mu; nothing is accepted any more, what was accepted is still sent
	failed  error         // guarded by mu; nothing can be sent any more
}

func (b *writeBuffer) init(s *Stream, high int) {
	b.stream, b.high, b.turn = s, max(high, 1), make(chan struct{}, 1)
}

// begin waits for the turn to write, after all that was enqueued before, until ctx ends or gone is closed.
func (b *writeBuffer) begin(ctx context.Context, gone <-chan struct{}) error {
	for {
		select {
		case b.turn <- struct{}{}:
		case <-ctx.Done():
			return ctxError(ctx, "write to %s", b.stream.peer)
		case <-gone:
			return b.stream.writable()
		}
		b.mu.Lock()
		sending, err := b.sending, b.failed
		b.mu.Unlock()
		if err != nil {
			b.finish()
			return err
		}
		if sending == nil {
			return nil
		}
		// The goroutine that sends has not got its turn yet: let it go first.
		b.finish()
		select {
		case <-sending:
		case <-ctx.Done():
			return ctxError(ctx, "write to %s", b.stream.peer)
		case <-gone:
			return b.stream.writable()
		}
	}
}

func (b *writeBuffer) finish() { <-b.turn }

// stop ends accepting. turn: nobody writes, and the caller has the turn now. sending: something that was accepted is still to be sent.
func (b *writeBuffer) stop() (turn, sending bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shut = true
	if b.sending != nil {
		return false, true
	}
	select {
	case b.turn <- struct{}{}:
		return true, false
	default:
		return false, false
	}
}

func (b *writeBuffer) waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes
}

// Enqueue accepts a copy of p for sending in the background, framed as WriteMessage does if framed. now tells that the stream is below its
// high-water mark (the option stream.write_buffer); else drained is called once, when no more than half of that waits, or when sending failed. A
// failure of what was accepted is the error of all later calls.
func (s *Stream) Enqueue(p []byte, framed bool, drained func(error)) (now bool, err error) {
	if framed {
		return s.enqueue(drained, binary.AppendUvarint(nil, uint64(len(p))), p)
	}
	return s.enqueue(drained, p)
}

func (s *Stream) enqueue(drained func(error), parts ...[]byte) (now bool, err error) {
	if err := s.writable(); err != nil {
		return false, err
	}
	return s.out.add(drained, parts)
}

func (b *writeBuffer) add(drained func(error), parts [][]byte) (now bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.failed != nil:
		return false, b.failed
	case b.shut:
		return false, &streamClosed{b.stream.peer}
	}
	if b.sending == nil {
		b.sending = make(chan struct{})
		if !b.stream.node.spawn("stream write", b.send) { // it waits for mu
			b.sending = nil
			return false, Errorf(ErrClosed, "the node is closed")
		}
	}
	left := 0
	for _, p := range parts {
		left += len(p)
	}
	for _, p := range parts {
		b.putLocked(p, left)
		left -= len(p)
	}
	now = b.bytes <= b.high
	if !now && drained != nil {
		b.drained = append(b.drained, drained)
	}
	return now, nil
}

// putLocked copies p behind what waits, into the last chunk if it has room: small writes become one, and a writer that keeps ahead of the
// network goes round the same few buffers instead of giving the garbage collector one for each write.
// left is how much there is of its write, with p: what is small goes out whole, for a frame's head in a packet of its own costs as much as the frame.
func (b *writeBuffer) putLocked(p []byte, left int) {
	b.bytes += len(p)
	size := len(p)
	if left <= coalesceMax {
		size = left
	}
	if n := len(b.chunks); n > 0 {
		last := b.chunks[n-1]
		if cap(last)-len(last) >= len(p) {
			b.chunks[n-1] = append(last, p...)
			return
		}
		size = max(size, min(2*cap(last), coalesceMax))
	}
	b.chunks = append(b.chunks, append(pool.Get(size)[:0], p...))
}

// send writes until nothing is left.
func (b *writeBuffer) send() {
	select {
	case b.turn <- struct{}{}:
	case <-b.stream.node.ctx.Done():
		b.fail(Errorf(ErrClosed, "the node is closed"))
		b.next(false)
		return
	}
	for {
		p, more := b.next(true)
		if !more {
			return
		}
		var err error
		if len(p) > 0 {
			// Only the stream's own end stops this write: the deadline of the user, a reset, the close of the node's host.
			_, err = b.stream.send(context.Background(), p)
		}
		b.sent(len(p), err)
		pool.Put(p)
		if err != nil {
			// What was accepted cannot be sent as it was accepted, so nothing after it may be.
			b.stream.abandon(err, err)
		}
	}
}

// next takes the next chunk; without more the goroutine ends. turn: it holds the turn and gives it back with its end, lest who sees that it has
// ended takes the turn for that of a write.
func (b *writeBuffer) next(turn bool) (p []byte, more bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.chunks) == 0 {
		close(b.sending)
		b.sending, b.chunks = nil, nil
		if turn {
			b.finish()
		}
		return nil, false
	}
	p = b.chunks[0]
	b.chunks[0] = nil
	b.chunks = b.chunks[1:]
	return p, true
}

// sent settles n bytes.
func (b *writeBuffer) sent(n int, err error) {
	b.mu.Lock()
	b.bytes -= n
	var drained []func(error)
	if err == nil && b.bytes <= b.high/2 {
		drained, b.drained = b.drained, nil
	}
	b.mu.Unlock()
	tell(drained, nil)
}

// fail ends all waiting and throws away what was accepted: the stream has ended with err.
func (b *writeBuffer) fail(err error) {
	b.mu.Lock()
	if b.failed == nil {
		b.failed = err
	}
	for _, c := range b.chunks {
		b.bytes -= len(c)
		pool.Put(c)
	}
	b.chunks = nil
	drained, failed := b.drained, b.failed
	b.drained = nil
	b.mu.Unlock()
	tell(drained, failed)
}

func tell(drained []func(error), err error) {
	for _, fn := range drained {
		guarded("stream drained", func() { fn(err) })
	}
}
