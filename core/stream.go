package core

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-yamux/v5"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multistream"
)

// Stream is an ordered, reliable pair of byte flows with one peer under one protocol. One reader and one writer work at a time, others wait
// for their turn; both directions are independent. It is an io.ReadWriteCloser whose Read and Write wait without limit.
type Stream struct {
	node     *Node
	s        network.Stream
	peer     peer.ID
	protocol string

	reading chan struct{} // a token: who holds it reads
	in      frameReader   // guarded by reading; what a framed read has begun
	out     writeBuffer
	wrote   bool // guarded by the turn to write; something was sent

	// The other side's word on the protocol is read before anything else. It must not be cut by a deadline, which upstream would take for
	// the end of the stream, so it is read on a goroutine of its own. agreed is nil when nothing is left to agree on.
	agree  sync.Once
	agreed chan struct{}
	left   chan struct{} // with agreed: closed when nobody waits for it any more

	mu          sync.Mutex
	read, write flowLimit // guarded by mu
	readClosed  bool      // guarded by mu
	writeClosed bool      // guarded by mu
	closed      bool      // guarded by mu; Close was called
	resetErr    error     // guarded by mu; why this side gave the stream up
	ended       func()    // guarded by mu; told once when the stream is closed or reset; for services that count
}

var _ io.ReadWriteCloser = (*Stream)(nil)

func newStream(n *Node, s network.Stream, ended func()) *Stream {
	st := &Stream{node: n, s: s, peer: s.Conn().RemotePeer(), protocol: string(s.Protocol()), ended: ended, reading: make(chan struct{}, 1)}
	st.read.set, st.write.set = s.SetReadDeadline, s.SetWriteDeadline
	st.out.init(st, n.cfg.Stream.WriteBuffer)
	// An outbound stream whose protocol upstream assumes, because the peer said once that it serves it, is one that upstream has wrapped.
	if _, plain := s.(*swarm.Stream); !plain && s.Stat().Direction == network.DirOutbound {
		st.agreed, st.left = make(chan struct{}), make(chan struct{})
		st.read.held = true
	}
	return st
}

// flowLimit is the deadline of one direction. The stack below knows deadlines only, so the end of a context becomes one, which is taken back
// when the call has ended.
type flowLimit struct {
	set   func(time.Time) error
	user  time.Time     // what SetDeadlines asked for
	cut   bool          // a context has ended, and its call has not yet
	held  bool          // no deadline may be set yet
	moved chan struct{} // with held: closed when user changes
}

func (l *flowLimit) apply() {
	switch {
	case l.held:
	case l.cut:
		l.set(time.Unix(1, 0))
	default:
		l.set(l.user)
	}
}

// bounded runs call, which waits in the stack below for at most l, and ends it with ctx.
func (s *Stream) bounded(ctx context.Context, l *flowLimit, call func() error) error {
	if ctx.Done() == nil {
		return call()
	}
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(fired)
		s.limit(l, func() { l.cut = true })
	})
	err := call()
	if !stop() {
		<-fired
		s.limit(l, func() { l.cut = false })
	}
	return err
}

func (s *Stream) limit(l *flowLimit, change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	l.apply()
}

// OpenOptions are the options of OpenStream.
type OpenOptions struct {
	NoDial       bool `json:"no_dial" doc:"use a present connection only"`
	AllowLimited bool `json:"allow_limited" doc:"also use a relayed connection whose relay limits time and bytes"`
}

// ParseOpenOptions reads OpenOptions from strict JSON; empty is the defaults.
func ParseOpenOptions(doc []byte) (o OpenOptions, err error) {
	err = parseOptions(doc, &o, "")
	return o, err
}

// OpenStream opens a stream to id under the first of protocols the peer speaks, dialling first if needed. ctx bounds dial and negotiation
// together. End the stream with Close, or with Reset to tell the peer why. It fails with ErrDial (a *DialError lists every address),
// ErrNoAddress, ErrProtocol, ErrLimit or ErrLimited. What the peer said it serves is believed, which saves a round trip: if it has changed its
// mind since, the first read fails with ErrProtocol.
func (n *Node) OpenStream(ctx context.Context, id peer.ID, protocols []string, o OpenOptions) (*Stream, error) {
	s, err := n.openStream(ctx, id, protocols, o)
	if err != nil {
		return nil, err
	}
	// Where the peer is known to speak the protocol, its name travels with the first bytes written, and until then the peer sees no stream. Who
	// opens one to be spoken to would wait for ever, so the name goes now.
	if _, err := s.WriteContext(ctx, nil); err != nil {
		s.Reset(0)
		return nil, err
	}
	return s, nil
}

// openStream is OpenStream for a stream that is written to at once: the peer may hear of it only then.
func (n *Node) openStream(ctx context.Context, id peer.ID, protocols []string, o OpenOptions) (*Stream, error) {
	if len(protocols) == 0 {
		return nil, Errorf(ErrInvalid, "no protocol to open a stream for")
	}
	ids := make([]protocol.ID, len(protocols))
	for i, p := range protocols {
		if !validProtocol(p) {
			return nil, Errorf(ErrInvalid, "protocol %s: a name is 1 to 512 bytes on one line", quoteShort(p))
		}
		ids[i] = protocol.ID(p)
	}
	ctx, cancel := n.join(ctx)
	defer cancel()
	if n.host.Network().Connectedness(id) == network.NotConnected {
		if o.NoDial {
			return nil, Errorf(ErrState, "%s: not connected", id)
		}
		if _, err := n.Connect(ctx, []string{id.String()}); err != nil {
			return nil, err
		}
	}
	if o.AllowLimited {
		ctx = network.WithAllowLimitedConn(ctx, "allow_limited")
	} else if n.host.Network().Connectedness(id) == network.Limited {
		return nil, Errorf(ErrLimited, "%s: the only connection is relayed and limited; allow_limited would use it", id)
	}
	s, err := n.host.NewStream(network.WithNoDial(ctx, "dialled above"), id, ids...)
	if err != nil {
		var none multistream.ErrNotSupported[protocol.ID]
		if errors.As(err, &none) && ctx.Err() == nil {
			return nil, Errorf(ErrProtocol, "%s speaks none of %v", id, protocols)
		}
		return nil, translate(ctx, err, ErrRefused, "%s", id)
	}
	return newStream(n, s, nil), nil
}

// Peer returns the peer at the other end.
func (s *Stream) Peer() peer.ID { return s.peer }

// Protocol returns the name both sides agreed on.
func (s *Stream) Protocol() string { return s.protocol }

// Flags tells of the stream's connection: whether the peer opened it, and whether it goes through a relay, with limits.
func (s *Stream) Flags() (inbound, relayed, limited bool) {
	c := s.s.Conn()
	_, err := c.RemoteMultiaddr().ValueForProtocol(ma.P_CIRCUIT)
	return c.Stat().Direction == network.DirInbound, err == nil, c.Stat().Limited
}

// Read reads without limit of time; io.EOF when the peer has closed its side.
func (s *Stream) Read(p []byte) (int, error) { return s.ReadContext(context.Background(), p) }

// Write writes all of p without limit of time.
func (s *Stream) Write(p []byte) (int, error) { return s.WriteContext(context.Background(), p) }

// ReadContext reads at least one byte into p. io.EOF: the peer has closed its side. A read that ends with ErrTimeout or ErrCancelled has
// lost nothing. A *ResetError ends the stream.
func (s *Stream) ReadContext(ctx context.Context, p []byte) (n int, err error) {
	err = s.asReader(ctx, func() error {
		n, err = s.in.read(inflow{s.s}, p)
		return err
	})
	return n, err
}

// inflow reads from the stack below. An error that comes with bytes is told by the next read: the end and a reset come again, and a deadline
// that passed meanwhile is no loss.
type inflow struct{ s network.Stream }

func (r inflow) Read(p []byte) (int, error) {
	n, err := r.s.Read(p)
	if n > 0 {
		return n, nil
	}
	return 0, err
}

// asReader runs read in turn with other readers, and ends it with ctx.
func (s *Stream) asReader(ctx context.Context, read func() error) error {
	select {
	case s.reading <- struct{}{}:
	case <-ctx.Done():
		return ctxError(ctx, "read from %s", s.peer)
	}
	defer func() { <-s.reading }()
	if ctx.Err() != nil {
		return ctxError(ctx, "read from %s", s.peer)
	}
	if err := s.agreeFirst(ctx); err != nil {
		return err
	}
	return s.readError(ctx, s.bounded(ctx, &s.read, read))
}

// agreeFirst waits for the peer's word on the protocol. What it was, the first read tells.
func (s *Stream) agreeFirst(ctx context.Context) error {
	if s.agreed == nil {
		return nil
	}
	s.agree.Do(func() {
		settle := func() {
			s.s.Read(nil)
			s.limit(&s.read, func() { s.read.held = false })
			close(s.agreed)
		}
		if !s.node.spawn("stream protocol", settle) {
			close(s.agreed) // the reads that follow find the node closed
		}
	})
	for {
		s.mu.Lock()
		deadline := s.read.user
		if s.read.moved == nil {
			s.read.moved = make(chan struct{})
		}
		moved := s.read.moved
		s.mu.Unlock()
		select {
		case <-s.agreed:
			return nil
		default:
		}
		var late <-chan time.Time
		if !deadline.IsZero() {
			timer := time.NewTimer(time.Until(deadline))
			defer timer.Stop()
			late = timer.C
		}
		select {
		case <-s.agreed:
			return nil
		case <-s.left:
			return Errorf(ErrClosed, "the stream to %s is closed", s.peer)
		case <-ctx.Done():
			return ctxError(ctx, "read from %s", s.peer)
		case <-late:
			return Errorf(ErrTimeout, "read from %s: time is up", s.peer)
		case <-moved:
		}
	}
}

// settled tells whether the peer's word on the protocol is there.
func (s *Stream) settled() bool {
	if s.agreed == nil {
		return true
	}
	select {
	case <-s.agreed:
		return true
	default:
		return false
	}
}

func (s *Stream) readError(ctx context.Context, err error) error {
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
		return Errorf(ErrClosed, "the stream to %s is closed", s.peer)
	case readClosed:
		return Errorf(ErrState, "the stream to %s is closed for reading", s.peer)
	}
	return s.streamError(ctx, err, "read from")
}

// streamError puts an error of a read or write into our terms.
func (s *Stream) streamError(ctx context.Context, err error, doing string) error {
	if s.node.ctx.Err() != nil {
		return Errorf(ErrClosed, "%s %s: the node is closed", doing, s.peer)
	}
	var none multistream.ErrNotSupported[protocol.ID]
	switch {
	case errors.As(err, &none): // the peer dropped the protocol since we heard of it
		return Errorf(ErrProtocol, "%s does not speak %s", s.peer, s.protocol)
	case timedOut(err) && ctx.Err() != nil:
		return ctxError(ctx, "%s %s", doing, s.peer)
	case timedOut(err):
		return Errorf(ErrTimeout, "%s %s: time is up", doing, s.peer)
	}
	var reset *network.StreamError
	var lost *network.ConnError
	switch {
	case errors.As(err, &reset):
		return &ResetError{Code: uint32(reset.ErrorCode), Remote: reset.Remote}
	case errors.As(err, &lost):
		return Errorf(ErrReset, "%s %s: the connection ended: %w", doing, s.peer, err)
	}
	return translate(nil, err, ErrReset, "%s %s", doing, s.peer)
}

// timedOut tells whether err is that of a passed deadline, as opposed to a connection that was given up because it did not answer in time.
func timedOut(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, yamux.ErrTimeout)
}

// WriteContext writes all of p, after what was enqueued before, or returns how much was sent and why no more. It does not keep p.
func (s *Stream) WriteContext(ctx context.Context, p []byte) (n int, err error) {
	if err := s.out.begin(ctx); err != nil {
		return 0, err
	}
	defer s.out.finish()
	if err := s.writable(); err != nil {
		return 0, err
	}
	return s.send(ctx, p)
}

// writable tells why nothing can be written, if so.
func (s *Stream) writable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.resetErr != nil:
		return s.resetErr
	case s.closed:
		return Errorf(ErrClosed, "the stream to %s is closed", s.peer)
	case s.writeClosed:
		return Errorf(ErrState, "the stream to %s is closed for writing", s.peer)
	}
	return nil
}

// send writes p with the turn to write held.
func (s *Stream) send(ctx context.Context, p []byte) (n int, err error) {
	if ctx.Err() != nil {
		return 0, ctxError(ctx, "write to %s", s.peer)
	}
	err = s.bounded(ctx, &s.write, func() error {
		n, err = s.s.Write(p)
		return err
	})
	if err == nil {
		s.wrote = true
		return n, nil
	}
	err = s.writeError(ctx, err)
	if !s.wrote && n == 0 {
		// The stream's own first bytes were with it, and upstream cannot send them again.
		s.abandon(err, nil)
	}
	s.wrote = true
	return n, err
}

// sendWhole is send for what makes sense only as a whole: if a part of it was sent, the stream is given up.
func (s *Stream) sendWhole(ctx context.Context, parts ...[]byte) (sent int, err error) {
	for i, p := range parts {
		if len(p) == 0 {
			continue
		}
		n, err := s.send(ctx, p)
		sent += n
		if err != nil {
			if i > 0 || n > 0 {
				s.abandon(err, nil)
			}
			return sent, err
		}
	}
	return sent, nil
}

// abandon gives the stream up after a write that cause has cut. later is what it tells from now on; nil: that it was given up.
func (s *Stream) abandon(cause, later error) {
	if later == nil {
		later = Errorf(ErrReset, "the stream to %s was given up in the middle of a write: %s", s.peer, cause)
	}
	if kind := Kind(cause); kind == ErrReset || kind == ErrProtocol { // it has ended already, and what the peer has sent may still be read
		s.out.fail(cause)
		return
	}
	s.mu.Lock()
	if s.resetErr == nil && !s.closed {
		s.resetErr = later
	}
	s.mu.Unlock()
	s.s.ResetWithError(0)
	s.out.fail(cause)
	s.end()
}

func (s *Stream) writeError(ctx context.Context, err error) error {
	s.mu.Lock()
	closed, reset := s.closed, s.resetErr
	s.mu.Unlock()
	switch {
	case reset != nil:
		return reset
	case closed:
		return Errorf(ErrClosed, "the stream to %s is closed", s.peer)
	}
	return s.streamError(ctx, err, "write to")
}

// CloseWrite tells the peer that nothing more follows, after what was enqueued has been sent. Reading goes on.
func (s *Stream) CloseWrite(ctx context.Context) error {
	if err := s.out.begin(ctx); err != nil {
		return err
	}
	defer s.out.finish()
	if err := s.writable(); err != nil {
		if Kind(err) == ErrState {
			return nil // closed for writing already
		}
		return err
	}
	return s.endWrite(ctx)
}

// endWrite sends the end of the flow with the turn to write held.
func (s *Stream) endWrite(ctx context.Context) error {
	s.mu.Lock()
	s.writeClosed = true
	s.mu.Unlock()
	if err := s.s.CloseWrite(); err != nil {
		return s.writeError(ctx, err)
	}
	return nil
}

// CloseRead gives up reading; what the peer still sends is thrown away.
func (s *Stream) CloseRead() error {
	s.mu.Lock()
	s.readClosed = true
	s.mu.Unlock()
	if err := s.s.CloseRead(); err != nil {
		return s.readError(context.Background(), err)
	}
	return nil
}

// Reset gives the stream up in both directions at once and tells the peer code. What was enqueued is not sent.
func (s *Stream) Reset(code uint32) error {
	s.mu.Lock()
	if s.resetErr == nil && !s.closed {
		s.resetErr = &ResetError{Code: code}
	}
	err := s.resetErr
	s.mu.Unlock()
	s.s.ResetWithError(network.StreamErrorCode(code))
	if err == nil { // closed, and at most still sending what was enqueued
		err = Errorf(ErrClosed, "the stream to %s is closed", s.peer)
	}
	s.out.fail(err)
	s.end()
	return nil
}

// SetDeadlines bounds present and later reads and writes, from now; 0 removes a bound, less than 0 leaves it as it is. A message that is cut by
// a write deadline ends the stream, and so does what was enqueued.
func (s *Stream) SetDeadlines(read, write time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if read >= 0 {
		s.read.user = deadlineIn(read)
		s.read.apply()
		if s.read.moved != nil {
			close(s.read.moved)
			s.read.moved = nil
		}
	}
	if write >= 0 {
		s.write.user = deadlineIn(write)
		s.write.apply()
	}
}

func deadlineIn(d time.Duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}

// closeFlush bounds how long Close goes on sending what was enqueued.
const closeFlush = 10 * time.Second

// Close ends the stream in both directions. What was enqueued is still sent, in the background, for at most 10 s or as long as the node lives.
// A Write that is under way is cut, which the peer sees as a reset: an end of file would call what it got the whole.
func (s *Stream) Close() error {
	s.mu.Lock()
	if s.closed || s.resetErr != nil {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	if s.left != nil {
		close(s.left)
	}
	s.mu.Unlock()
	free, sending := s.out.stop()
	switch {
	case !free && !sending:
		s.s.Reset()
		s.ends()
	case free && s.settled():
		s.s.Close()
		s.ends()
		s.out.finish()
	default:
		if s.settled() {
			s.s.CloseRead()
		}
		if !s.node.spawn("stream close", func() { s.flush(free) }) {
			s.s.Reset()
			s.ends()
			if free {
				s.out.finish()
			}
		}
	}
	return nil
}

// flush ends the stream after what was enqueued has been sent. turn: the turn to write is held already.
func (s *Stream) flush(turn bool) {
	ctx, cancel := context.WithTimeout(s.node.ctx, closeFlush)
	defer cancel()
	// Nothing below ends with a context, so its end resets the stream.
	stop := context.AfterFunc(ctx, func() { s.s.Reset() })
	defer stop()
	if !turn && s.out.begin(ctx) != nil {
		s.s.Reset()
		s.ends()
		return
	}
	s.s.CloseWrite()
	s.out.finish()
	s.s.Close()
	s.ends()
}

// ends tells everybody who waits on a stream that has ended with Close.
func (s *Stream) ends() {
	s.out.fail(Errorf(ErrClosed, "the stream to %s is closed", s.peer))
	s.end()
}

func (s *Stream) end() {
	s.mu.Lock()
	ended := s.ended
	s.ended = nil
	s.mu.Unlock()
	if ended != nil {
		ended()
	}
}

// StreamInfo is what Info returns; docs/info.md explains the keys.
type StreamInfo struct {
	Kind         string `json:"kind"`
	Peer         string `json:"peer"`
	Protocol     string `json:"protocol"`
	Connection   string `json:"connection"`
	Direction    string `json:"direction"`
	State        string `json:"state"`
	WriteWaiting int    `json:"write_waiting"`
}

// Info returns a StreamInfo.
func (s *Stream) Info() any {
	s.mu.Lock()
	state := "open"
	switch {
	case s.resetErr != nil:
		state = "reset"
	case s.closed:
		state = "closed"
	case s.readClosed && s.writeClosed:
		state = "closed"
	case s.writeClosed:
		state = "write_closed"
	case s.readClosed:
		state = "read_closed"
	}
	s.mu.Unlock()
	return StreamInfo{"stream", s.peer.String(), s.protocol, s.s.Conn().ID(), s.s.Stat().Direction.String(), state, s.out.waiting()}
}
