package core

import (
	"context"
	"errors"
	"io"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	muxer "github.com/libp2p/go-libp2p/p2p/muxer/yamux"
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
	bare     *swarm.Stream // what s wraps, or s itself; may be nil
	peer     peer.ID
	protocol string
	// forgetful is whether a deadline that passes while bytes are taken makes the stack forget to tell the peer that it may send more: yamux
	// does.
	forgetful bool

	reading  chan struct{} // a token: who holds it reads
	in       inflow        // guarded by reading
	frames   frameReader   // guarded by reading; what a framed read has begun
	out      writeBuffer
	wrote    bool          // guarded by the turn to write; something was sent
	greeting *time.Timer   // set once; sends what else would wait for the first bytes; may be nil
	gone     chan struct{} // closed by Close and Reset

	mu            sync.Mutex
	readDeadline  time.Time     // guarded by mu
	readMoved     chan struct{} // guarded by mu; non-nil while a read waits: closed when readDeadline changes
	direct        bool          // guarded by mu; a read waits in the stack below
	heard         bool          // guarded by mu; something came from the peer, so the protocol is agreed on
	writeDeadline time.Time     // guarded by mu
	writeCut      bool          // guarded by mu; the context of the present write has ended
	readClosed    bool          // guarded by mu
	writeClosed   bool          // guarded by mu
	writing       bool          // guarded by mu; the turn to write is held for data of the user
	closed        bool          // guarded by mu; Close was called
	resetErr      error         // guarded by mu; why this side gave the stream up
	peerReset     *ResetError   // guarded by mu; how the peer, or the end of the connection, ended it
	ended         func()        // guarded by mu; told once when the stream is closed or reset; for services that count
}

var _ io.ReadWriteCloser = (*Stream)(nil)

func newStream(n *Node, s network.Stream, ended func()) *Stream {
	st := &Stream{node: n, s: s, peer: s.Conn().RemotePeer(), protocol: string(s.Protocol()), ended: ended,
		reading: make(chan struct{}, 1), gone: make(chan struct{})}
	st.in.s = st
	st.out.init(st, n.cfg.Stream.WriteBuffer)
	st.bare = bareStream(s)
	st.forgetful = s.Conn().ConnState().StreamMultiplexer == muxer.ID
	st.heard = st.bare == s || s.Stat().Direction == network.DirInbound
	return st
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
	// opens one to be spoken to would wait for ever, so the name goes alone when no bytes follow at once. Together they cost half as much.
	if !s.isAgreed() {
		s.greeting = time.AfterFunc(time.Hour, s.greet)
		s.greeting.Reset(greetingPause) // now that greet can see it
	}
	return s, nil
}

// greetingPause is how long the name of a new stream's protocol waits for first bytes to travel with.
const greetingPause = 200 * time.Microsecond

// greet sends the name if nothing was written yet.
func (s *Stream) greet() {
	defer recovered("stream greeting")
	if !s.node.enter() {
		return
	}
	defer s.node.wg.Done()
	if s.beginWrite(s.node.ctx, false) != nil {
		return
	}
	defer s.endWrite()
	if !s.wrote {
		s.send(s.node.ctx, nil)
	}
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
		if unspoken(err) && ctx.Err() == nil {
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

// unspoken tells whether a peer has said that it does not speak a protocol.
func unspoken(err error) bool {
	var none multistream.ErrNotSupported[protocol.ID]
	return errors.As(err, &none)
}

// streamError puts an error of a read or write into our terms.
func (s *Stream) streamError(err error, doing string) error {
	if s.node.ctx.Err() != nil {
		return Errorf(ErrClosed, "%s %s: the node is closed", doing, s.peer)
	}
	switch {
	case unspoken(err): // the peer dropped the protocol since we heard of it
		return Errorf(ErrProtocol, "%s does not speak %s", s.peer, s.protocol)
	case timedOut(err):
		return Errorf(ErrTimeout, "%s %s: time is up", doing, s.peer)
	case sentinelOf(err) == nil && isTimeout(err): // not ours: the peer did not answer
		s.wasReset(&ResetError{Remote: true})
		return Errorf(ErrReset, "%s %s: the connection ended: %w", doing, s.peer, err)
	}
	var reset *network.StreamError
	var bare *yamux.StreamError // what closing the writing side of a stream that was reset ends with
	var lost *network.ConnError
	if errors.As(err, &bare) {
		reset = &network.StreamError{ErrorCode: network.StreamErrorCode(bare.ErrorCode), Remote: bare.Remote}
		err = reset
	}
	switch {
	case errors.As(err, &reset) && reset.Remote && reset.ErrorCode == network.StreamProtocolNegotiationFailed && !s.isAgreed():
		return Errorf(ErrProtocol, "%s does not speak %s", s.peer, s.protocol)
	case errors.As(err, &reset):
		e := &ResetError{Code: uint32(reset.ErrorCode), Remote: reset.Remote}
		s.wasReset(e)
		return e
	case errors.As(err, &lost):
		s.wasReset(&ResetError{Remote: true})
		return Errorf(ErrReset, "%s %s: the connection ended: %w", doing, s.peer, err)
	}
	return translate(nil, err, ErrReset, "%s %s", doing, s.peer)
}

// wasReset remembers how the stream ended, for Info.
func (s *Stream) wasReset(e *ResetError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peerReset = e
}

// timedOut tells whether err is that of a passed deadline, as opposed to a connection that was given up because it did not answer in time.
func timedOut(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, yamux.ErrTimeout)
}

// WriteContext writes all of p, after what was enqueued before, or returns how much was sent and why no more. It does not keep p.
func (s *Stream) WriteContext(ctx context.Context, p []byte) (n int, err error) {
	if err := s.beginWrite(ctx, true); err != nil {
		return 0, err
	}
	defer s.endWrite()
	if n, err = s.send(ctx, p); n < len(p) && Kind(err) == ErrClosed {
		s.abandon(err, nil) // while the turn is held: the close that follows would call what was sent the whole
	}
	return n, err
}

// writable tells why nothing can be written, if so.
func (s *Stream) writable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writableLocked()
}

func (s *Stream) writableLocked() error {
	switch {
	case s.resetErr != nil:
		return s.resetErr
	case s.closed:
		return &streamClosed{s.peer}
	case s.writeClosed:
		return Errorf(ErrState, "the stream to %s is closed for writing", s.peer)
	}
	return nil
}

// beginWrite waits for the turn to write; the caller gives it back with endWrite. data: it is for data of the user, which Close cuts.
func (s *Stream) beginWrite(ctx context.Context, data bool) error {
	if err := s.writable(); err != nil {
		return err
	}
	if err := s.out.begin(ctx, s.gone); err != nil {
		return err
	}
	s.mu.Lock()
	err := s.writableLocked()
	s.writing = data && err == nil
	s.mu.Unlock()
	if err != nil {
		s.out.finish()
	}
	return err
}

func (s *Stream) endWrite() {
	s.mu.Lock()
	s.writing = false
	s.mu.Unlock()
	s.out.finish()
}

// send writes p with the turn to write held.
func (s *Stream) send(ctx context.Context, p []byte) (n int, err error) {
	if ctx.Err() != nil {
		return 0, ctxError(ctx, "write to %s", s.peer)
	}
	if !s.wrote && s.greeting != nil {
		s.greeting.Stop()
	}
	s.mu.Lock()
	late := !s.writeDeadline.IsZero() && !time.Now().Before(s.writeDeadline)
	s.mu.Unlock()
	if late {
		return 0, Errorf(ErrTimeout, "write to %s: time is up", s.peer)
	}
	// The protocol's name travels with the first bytes. Once a write of both has failed, upstream writes no more, and does not tell how much was
	// sent. So it goes alone where the window could hold the bytes up.
	named := s.wrote || s.bare == s.s
	if !named && len(p) > nameRoom {
		_, err = s.sendBounded(ctx, nil)
		named = err == nil
		s.wrote = named
	}
	if err == nil {
		n, err = s.sendBounded(ctx, p)
	}
	if err == nil || named && n == len(p) && n > 0 && timedOut(err) { // QUIC looks at the time also when all is sent
		s.wrote = true
		return n, nil
	}
	if timedOut(err) && ctx.Err() != nil {
		err = ctxError(ctx, "write to %s", s.peer)
	}
	err = s.writeError(err)
	if !named {
		n = 0
		s.abandon(err, nil)
	}
	s.wrote = true
	return n, err
}

// nameRoom is how many first bytes travel with the name of the protocol.
const nameRoom = 4 << 10

// sendBounded turns the end of ctx into a deadline, which is all that the stack below knows, and takes that back.
func (s *Stream) sendBounded(ctx context.Context, p []byte) (n int, err error) {
	if ctx.Done() == nil {
		return s.s.Write(p)
	}
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(fired)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.writeCut = true
		s.s.SetWriteDeadline(time.Unix(1, 0))
	})
	n, err = s.s.Write(p)
	if !stop() {
		<-fired
		s.mu.Lock()
		defer s.mu.Unlock()
		s.writeCut = false
		s.s.SetWriteDeadline(s.writeDeadline)
	}
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

// abandon gives the stream up after a write that cause has cut. later is what it tells from now on; nil: that it was given up, or closed.
func (s *Stream) abandon(cause, later error) {
	kind := Kind(cause)
	switch {
	case later == nil && kind == ErrClosed:
		later = cause
	case later == nil:
		later = Errorf(ErrReset, "the stream to %s was given up in the middle of a write: %s", s.peer, cause)
	}
	if kind == ErrReset || kind == ErrProtocol { // it has ended already, and what the peer has sent may still be read
		s.out.fail(cause)
		return
	}
	s.mu.Lock()
	if s.resetErr == nil && !s.closed {
		s.resetErr = later
		close(s.gone)
	}
	s.mu.Unlock()
	s.node.ending(s.s, func() { s.s.ResetWithError(0) })
	s.out.fail(cause)
	s.end()
}

func (s *Stream) writeError(err error) error {
	s.mu.Lock()
	closed, reset := s.closed, s.resetErr
	s.mu.Unlock()
	switch {
	case reset != nil:
		return reset
	case sentinelOf(err) != nil:
		return err
	case closed:
		return &streamClosed{s.peer}
	}
	return s.streamError(err, "write to")
}

// CloseWrite tells the peer that nothing more follows, after what was enqueued has been sent. Reading goes on.
func (s *Stream) CloseWrite(ctx context.Context) error {
	if err := s.beginWrite(ctx, false); err != nil {
		if Kind(err) == ErrState {
			return nil // closed for writing already
		}
		return err
	}
	defer s.endWrite()
	s.mu.Lock()
	s.writeClosed = true
	s.mu.Unlock()
	if err := s.s.CloseWrite(); err != nil {
		return s.writeError(err)
	}
	return nil
}

// Reset gives the stream up in both directions at once and tells the peer code. What was enqueued is not sent.
func (s *Stream) Reset(code uint32) error {
	s.mu.Lock()
	if s.resetErr == nil && !s.closed {
		s.resetErr = &ResetError{Code: code}
		close(s.gone)
	}
	err := s.resetErr
	s.mu.Unlock()
	s.node.ending(s.s, func() { s.s.ResetWithError(network.StreamErrorCode(code)) })
	if err == nil { // closed, and at most still sending what was enqueued
		err = &streamClosed{s.peer}
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
		s.readDeadline = deadlineIn(read)
		if s.direct {
			s.s.SetReadDeadline(s.readDeadline)
		}
		if s.readMoved != nil {
			close(s.readMoved)
			s.readMoved = nil
		}
	}
	if write >= 0 {
		s.writeDeadline = deadlineIn(write)
		if !s.writeCut {
			s.s.SetWriteDeadline(s.writeDeadline)
		}
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
	s.closeBy(time.Now().Add(closeFlush))
	return nil
}

// closeBy is Close with another bound for what was enqueued; zero: as long as the connection lives.
func (s *Stream) closeBy(end time.Time) {
	s.mu.Lock()
	if s.closed || s.resetErr != nil {
		s.mu.Unlock()
		return
	}
	s.closed = true
	close(s.gone)
	s.mu.Unlock()
	free, sending := s.out.stop()
	s.mu.Lock()
	writing := s.writing // since before the close: nobody begins any more
	s.mu.Unlock()
	switch {
	case writing && !sending:
		s.node.ending(s.s, func() { s.s.Reset() })
		s.ends()
	case free && s.isAgreed():
		s.node.ending(s.s, func() { s.s.Close() })
		s.ends()
		s.out.finish()
	default:
		if s.isAgreed() {
			s.s.CloseRead()
		}
		if !s.node.spawn("stream close", func() { s.flush(free, end) }) {
			s.s.Reset()
			s.ends()
			if free {
				s.out.finish()
			}
		}
	}
}

// flush ends the stream after what was enqueued has been sent, or at end, if that is not zero. turn: the turn to write is held already.
func (s *Stream) flush(turn bool, end time.Time) {
	ctx := s.node.ctx
	if !end.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, end)
		defer cancel()
	}
	// Nothing below ends with a context, so its end resets the stream.
	stop := context.AfterFunc(ctx, func() { s.s.Reset() })
	defer stop()
	if !turn && s.out.begin(ctx, nil) != nil {
		s.s.Reset()
		s.ends()
		return
	}
	s.s.CloseWrite()
	s.out.finish()
	s.s.Close()
	s.ends()
}

// ending runs end, which ends s. Over yamux its word to the peer waits for a place in what the connection is to send, and so for seconds where
// the peer has stopped to take anything. Then it waits in the background: what closes a stream may be an event loop.
func (n *Node) ending(s network.Stream, end func()) {
	if !crowded(s.Conn()) || !n.spawn("stream end", end) {
		end()
	}
}

// crowded tells whether much waits to be sent on a connection. Only yamux's own field knows; without it nothing ends in the background.
func crowded(c network.Conn) bool {
	var session *yamux.Session
	if !c.As(&session) {
		return false
	}
	queue := reflect.ValueOf(session).Elem().FieldByName("sendCh")
	return queue.Kind() == reflect.Chan && queue.Len() > queue.Cap()/2
}

// streamClosed is ErrClosed for a stream. Every stream ends with one and hardly anybody reads it, so its words are made on request.
type streamClosed struct{ peer peer.ID }

func (e *streamClosed) Error() string { return "the stream to " + e.peer.String() + " is closed" }
func (e *streamClosed) Unwrap() error { return ErrClosed }

// ends tells everybody who waits on a stream that has ended with Close.
func (s *Stream) ends() {
	s.out.fail(&streamClosed{s.peer})
	s.end()
}

// isAgreed tells whether the peer has confirmed the protocol. Before that the stack below has to read, or would wait in its Close.
func (s *Stream) isAgreed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard
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
	ResetCode    uint32 `json:"reset_code"`
	WriteWaiting int    `json:"write_waiting"`
}

func resetCode(err error) uint32 {
	var reset *ResetError
	if errors.As(err, &reset) {
		return reset.Code
	}
	return 0
}

// Info returns a StreamInfo.
func (s *Stream) Info() any {
	s.mu.Lock()
	state, code := "open", uint32(0)
	switch {
	case s.resetErr != nil:
		state, code = "reset", resetCode(s.resetErr)
	case s.peerReset != nil:
		state, code = "reset", s.peerReset.Code
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
	return StreamInfo{"stream", s.peer.String(), s.protocol, s.s.Conn().ID(), strings.ToLower(s.s.Stat().Direction.String()), state, code, s.out.waiting()}
}
