package core

import (
	"context"
	"encoding/binary"
	"sync"
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
	chunks  [][]byte      // guarded by mu
	bytes   int           // guarded by mu; of chunks and of what is being sent
	drained []func(error) // guarded by mu; to be told when bytes is below high
	sending chan struct{} // guarded by mu; non-nil while the goroutine that sends runs, closed when it ends
	err     error         // guarded by mu; of the last send, told once by the next call
	failed  error         // guarded by mu; nothing can be sent any more
}

func (b *writeBuffer) init(s *Stream, high int) {
	b.stream, b.high, b.turn = s, max(high, 1), make(chan struct{}, 1)
}

// begin waits for the turn to write, after all that was enqueued before.
func (b *writeBuffer) begin(ctx context.Context) error {
	for {
		select {
		case b.turn <- struct{}{}:
		case <-ctx.Done():
			return ctxError(ctx, "write to %s", b.stream.peer)
		}
		b.mu.Lock()
		sent, err := b.sending, b.err
		if sent == nil {
			b.err = nil
		}
		b.mu.Unlock()
		if sent == nil {
			if err != nil {
				b.finish()
			}
			return err
		}
		// The goroutine that sends has not got its turn yet: let it go first.
		b.finish()
		select {
		case <-sent:
		case <-ctx.Done():
			return ctxError(ctx, "write to %s", b.stream.peer)
		}
	}
}

func (b *writeBuffer) finish() { <-b.turn }

func (b *writeBuffer) idle() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sending == nil
}

func (b *writeBuffer) waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes
}

// Enqueue accepts p, which belongs to the stream from now on, for sending in the background, framed as WriteMessage does if framed. now tells
// that the stream is below its high-water mark (the option stream.write_buffer); else drained is called once, when it is again, or when
// sending failed. A failure of what was accepted is the error of the next call.
func (s *Stream) Enqueue(p []byte, framed bool, drained func(error)) (now bool, err error) {
	s.mu.Lock()
	closed, writeClosed, reset := s.closed, s.writeClosed, s.resetErr
	s.mu.Unlock()
	switch {
	case reset != nil:
		return false, reset
	case closed:
		return false, Errorf(ErrClosed, "the stream to %s is closed", s.peer)
	case writeClosed:
		return false, Errorf(ErrState, "the stream to %s is closed for writing", s.peer)
	}
	return s.out.add(p, framed, drained)
}

func (b *writeBuffer) add(p []byte, framed bool, drained func(error)) (now bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed != nil {
		return false, b.failed
	}
	if err := b.err; err != nil {
		b.err = nil
		return false, err
	}
	if framed {
		b.chunks = append(b.chunks, binary.AppendUvarint(nil, uint64(len(p))))
	}
	b.chunks = append(b.chunks, p)
	b.bytes += len(p)
	now = b.bytes <= b.high
	if !now {
		b.drained = append(b.drained, drained)
	}
	if b.sending == nil {
		b.sending = make(chan struct{})
		if !b.stream.node.spawn("stream write", b.send) {
			b.sending, b.chunks, b.bytes, b.drained = nil, nil, 0, nil
			return false, Errorf(ErrClosed, "the node is closed")
		}
	}
	return now, nil
}

// send writes until nothing is left.
func (b *writeBuffer) send() {
	ctx := b.stream.node.ctx
	select {
	case b.turn <- struct{}{}:
	case <-ctx.Done():
		b.fail()
		b.next()
		return
	}
	defer b.finish()
	for {
		p, taken := b.next()
		if taken == 0 {
			return
		}
		var err error
		if len(p) > 0 {
			// Only the stream's own end stops this write: the deadline of the user, a reset, the close of the node's host.
			err = b.stream.write(context.Background(), func() error {
				_, err := b.stream.s.Write(p)
				return err
			})
		}
		b.sent(len(p), err)
	}
}

// next takes the next chunk, or several small ones as one; taken is their number, 0 when there is none and the goroutine ends.
func (b *writeBuffer) next() (p []byte, taken int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.chunks) == 0 {
		close(b.sending)
		b.sending, b.chunks = nil, nil
		return nil, 0
	}
	size := 0
	for taken < len(b.chunks) && (taken == 0 || size+len(b.chunks[taken]) <= coalesceMax) {
		size += len(b.chunks[taken])
		taken++
	}
	p = b.chunks[0]
	if taken > 1 {
		p = make([]byte, 0, size)
		for _, c := range b.chunks[:taken] {
			p = append(p, c...)
		}
	}
	clear(b.chunks[:taken])
	b.chunks = b.chunks[taken:]
	return p, taken
}

// sent settles what was sent, or throws away the rest after an error.
func (b *writeBuffer) sent(n int, err error) {
	b.mu.Lock()
	b.bytes -= n
	if err != nil {
		b.chunks, b.bytes = nil, 0
		if len(b.drained) == 0 {
			b.err = err
		}
	}
	var drained []func(error)
	if b.bytes <= b.high {
		drained, b.drained = b.drained, nil
	}
	b.mu.Unlock()
	for _, fn := range drained {
		fn(err)
	}
}

// fail ends all waiting: the stream is closed or reset.
func (b *writeBuffer) fail() {
	b.mu.Lock()
	if b.failed == nil {
		b.failed = Errorf(ErrClosed, "the stream to %s is closed", b.stream.peer)
	}
	b.chunks = nil
	drained, failed := b.drained, b.failed
	b.drained = nil
	b.mu.Unlock()
	for _, fn := range drained {
		fn(failed)
	}
}
