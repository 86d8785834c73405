package core

import (
	"context"
	"io"
	"reflect"
	"time"

	pool "github.com/libp2p/go-buffer-pool"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
)

// inflow is the reading half of a stream, for whoever holds the turn to read. A read runs where it is called, and the end of its context cuts it by
// a deadline of the stack below. That must not happen while the protocol is agreed on, where the stack takes the stream for broken; nor does a
// deadline that the user set mix with it. Then a read runs on a goroutine of its own, which goes on when the bound is reached; its bytes are
// for the next read. That takes twice as long.
type inflow struct {
	s      *Stream
	ctx    context.Context // of the present read
	under  chan struct{}   // non-nil: a read goes on in the background; closed when it has ended
	buffer []byte          // what it reads into
	got    []byte          // what has come and was not taken yet; part of buffer
	err    error           // what came instead
	turn   uint64          // guarded by s.mu; numbers the direct reads, so that a late cut does not hit the next one
}

// inflowMax is how much a bounded read takes at once.
const inflowMax = 64 << 10

// Read implements io.Reader. It returns bytes or an error.
func (r *inflow) Read(p []byte) (int, error) {
	s := r.s
	if r.under == nil && len(r.got) == 0 && r.err == nil {
		s.mu.Lock()
		direct := s.heard && s.readDeadline.IsZero() && (s.bare != nil || !s.forgetful)
		s.direct = direct
		r.turn++
		s.mu.Unlock()
		if direct {
			return r.readDirect(p)
		}
		if err := r.begin(len(p)); err != nil {
			return 0, err
		}
	}
	if r.under != nil {
		if err := r.await(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.got)
	r.got = r.got[n:]
	if len(r.got) == 0 && r.buffer != nil {
		pool.Put(r.buffer)
		r.buffer, r.got = nil, nil
	}
	if n > 0 {
		return n, nil
	}
	err := r.err
	r.err = nil
	return 0, err
}

// readDirect reads on the caller's goroutine.
func (r *inflow) readDirect(p []byte) (int, error) {
	s := r.s
	if !s.forgetful {
		return r.cuttable(s.s, p)
	}
	// Only the wait for bytes may be cut, which is what a read of nothing is. Taking them does not wait, unless nothing can be sent to the peer.
	if _, err := r.cuttable(s.bare, nil); err != nil {
		return 0, err
	}
	return r.take(p)
}

// take reads from below without a bound. An error with bytes comes again, or was none: yamux keeps a deadline that had passed when the end of the
// flow came, and tells it with what is read before that end.
func (r *inflow) take(p []byte) (int, error) {
	n, err := r.s.s.Read(p)
	if n > 0 {
		return n, nil
	}
	return n, err
}

// cuttable reads from below until the context ends. SetDeadlines meanwhile falls back on the stack's deadline too.
func (r *inflow) cuttable(below io.Reader, p []byte) (int, error) {
	s := r.s
	cut := false
	uncut := func() bool { return true }
	if r.ctx.Done() != nil {
		turn := r.turn
		uncut = context.AfterFunc(r.ctx, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.direct && r.turn == turn {
				cut = true
				s.s.SetReadDeadline(time.Unix(1, 0))
			}
		})
	}
	n, err := below.Read(p)
	uncut()
	s.mu.Lock()
	s.direct = false
	if cut || !s.readDeadline.IsZero() {
		s.s.SetReadDeadline(time.Time{})
	}
	s.mu.Unlock()
	switch {
	case n > 0: // an error comes again
		return n, nil
	case cut && err != nil && timedOut(err):
		return 0, ctxError(r.ctx, "read from %s", s.peer)
	}
	return 0, err
}

// bareStream returns what upstream wraps in a stream whose protocol it assumes, because the peer said once that it serves it. The wrapper has no
// name outside its package; its field has. nil: the wrapper has changed.
func bareStream(s network.Stream) *swarm.Stream {
	if plain, ok := s.(*swarm.Stream); ok {
		return plain
	}
	wrapper := reflect.Indirect(reflect.ValueOf(s))
	if wrapper.Kind() != reflect.Struct {
		return nil
	}
	field := wrapper.FieldByName("Stream")
	if !field.IsValid() || !field.CanInterface() {
		return nil
	}
	plain, _ := field.Interface().(*swarm.Stream)
	return plain
}

func (r *inflow) begin(size int) error {
	if size == 0 {
		return nil
	}
	ended := make(chan struct{})
	buffer := pool.Get(min(size, inflowMax))
	if !r.s.node.spawn("stream read", func() {
		defer close(ended)
		n, err := r.take(buffer)
		r.got, r.err = buffer[:n], err
		if err == nil || err == io.EOF {
			r.s.mu.Lock()
			r.s.heard = true
			r.s.mu.Unlock()
		}
	}) {
		pool.Put(buffer)
		return Errorf(ErrClosed, "the node is closed")
	}
	r.under, r.buffer = ended, buffer
	return nil
}

// await waits for the read in the background, for as long as the bounds allow.
func (r *inflow) await() error {
	s := r.s
	for {
		s.mu.Lock()
		if s.readClosed {
			s.mu.Unlock()
			return context.Canceled // readError says why
		}
		deadline := s.readDeadline
		if s.readMoved == nil {
			s.readMoved = make(chan struct{})
		}
		moved := s.readMoved
		s.mu.Unlock()
		var late <-chan time.Time
		if !deadline.IsZero() {
			left := time.Until(deadline)
			if left <= 0 {
				return Errorf(ErrTimeout, "read from %s: time is up", s.peer)
			}
			timer := time.NewTimer(left)
			defer timer.Stop()
			late = timer.C
		}
		select {
		case <-r.under:
			r.under = nil
			return nil
		case <-r.ctx.Done():
			return ctxError(r.ctx, "read from %s", s.peer)
		case <-late:
			return Errorf(ErrTimeout, "read from %s: time is up", s.peer)
		case <-moved:
		}
	}
}

// ReadContext reads at least one byte into p. io.EOF: the peer has closed its side. A read that ends with ErrTimeout or ErrCancelled has
// lost nothing. A *ResetError ends the stream.
func (s *Stream) ReadContext(ctx context.Context, p []byte) (n int, err error) {
	err = s.asReader(ctx, func() error {
		n, err = s.frames.read(&s.in, p)
		return err
	})
	return n, err
}

// readFrame is ReadMessage without its consequence for the stream.
func (s *Stream) readFrame(ctx context.Context, limit int) (m []byte, err error) {
	err = s.asReader(ctx, func() (err error) {
		m, err = s.frames.next(&s.in, limit)
		return err
	})
	return m, err
}

// asReader runs read in turn with other readers, bounded by ctx.
func (s *Stream) asReader(ctx context.Context, read func() error) error {
	select {
	case s.reading <- struct{}{}:
	case <-ctx.Done():
		return ctxError(ctx, "read from %s", s.peer)
	case <-s.gone:
		return s.readError(context.Canceled)
	}
	defer func() { <-s.reading }()
	if ctx.Err() != nil {
		return ctxError(ctx, "read from %s", s.peer)
	}
	s.in.ctx = ctx
	return s.readError(read())
}

func (s *Stream) readError(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	s.mu.Lock()
	readClosed, closed, reset := s.readClosed, s.closed, s.resetErr
	s.mu.Unlock()
	switch {
	case reset != nil:
		return reset
	case closed:
		return &streamClosed{s.peer}
	case readClosed:
		return Errorf(ErrState, "the stream to %s is closed for reading", s.peer)
	}
	return s.streamError(err, "read from")
}

// CloseRead gives up reading; what the peer still sends is thrown away.
func (s *Stream) CloseRead() error {
	s.mu.Lock()
	already := s.readClosed || s.closed || s.resetErr != nil
	s.readClosed = true
	if s.readMoved != nil { // who waits for the protocol to be agreed on is not woken by the stream
		close(s.readMoved)
		s.readMoved = nil
	}
	s.mu.Unlock()
	if already {
		return nil
	}
	if s.isAgreed() {
		return s.readError(s.s.CloseRead())
	}
	return nil
}
