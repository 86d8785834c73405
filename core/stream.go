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
	ended    func() // told once when the stream is closed or reset; for services that count

	reading chan struct{} // a token: who holds it reads
	in      frameReader   // guarded by reading; what a framed read has begun
	out     writeBuffer

	mu            sync.Mutex
	readDeadline  time.Time // guarded by mu; the user's
	writeDeadline time.Time // guarded by mu; the user's
	readClosed    bool      // guarded by mu
	writeClosed   bool      // guarded by mu
	closed        bool      // guarded by mu
	resetErr      error     // guarded by mu; set by our own Reset
}

var _ io.ReadWriteCloser = (*Stream)(nil)

func newStream(n *Node, s network.Stream, ended func()) *Stream {
	st := &Stream{node: n, s: s, peer: s.Conn().RemotePeer(), protocol: string(s.Protocol()), ended: ended, reading: make(chan struct{}, 1)}
	st.out.init(st, n.cfg.Stream.WriteBuffer)
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
// ErrNoAddress, ErrProtocol, ErrLimit or ErrLimited.
func (n *Node) OpenStream(ctx context.Context, id peer.ID, protocols []string, o OpenOptions) (*Stream, error) {
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
		n, err = s.in.read(s.s, p)
		return err
	})
	return n, err
}

// asReader runs read, which reads from s.s, in turn with other readers, and ends it with ctx.
func (s *Stream) asReader(ctx context.Context, read func() error) error {
	select {
	case s.reading <- struct{}{}:
	case <-ctx.Done():
		return ctxError(ctx, "read from %s", s.peer)
	}
	defer func() { <-s.reading }()
	if ctx.Done() == nil {
		return s.readError(ctx, read())
	}
	if ctx.Err() != nil {
		return ctxError(ctx, "read from %s", s.peer)
	}
	// A read of the stack below knows deadlines only, so the end of ctx becomes one, which is taken back afterwards.
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(fired)
		s.s.SetReadDeadline(time.Unix(1, 0))
	})
	err := read()
	if !stop() {
		<-fired
		s.mu.Lock()
		s.s.SetReadDeadline(s.readDeadline)
		s.mu.Unlock()
	}
	return s.readError(ctx, err)
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
	case ctx.Err() != nil && (errors.Is(err, os.ErrDeadlineExceeded) || os.IsTimeout(err)):
		return ctxError(ctx, "%s %s", doing, s.peer)
	}
	return translate(nil, err, ErrReset, "%s %s", doing, s.peer)
}

// WriteContext writes all of p, after what was enqueued before, or returns how much was sent and why no more. It does not keep p.
func (s *Stream) WriteContext(ctx context.Context, p []byte) (n int, err error) {
	err = s.asWriter(ctx, func() error {
		n, err = s.s.Write(p)
		return err
	})
	return n, err
}

// asWriter is asReader for the other direction.
func (s *Stream) asWriter(ctx context.Context, write func() error) error {
	if err := s.out.begin(ctx); err != nil {
		return err
	}
	defer s.out.finish()
	return s.write(ctx, write)
}

// write runs write with the right to write held.
func (s *Stream) write(ctx context.Context, write func() error) error {
	s.mu.Lock()
	closed, writeClosed, reset := s.closed, s.writeClosed, s.resetErr
	s.mu.Unlock()
	switch {
	case reset != nil:
		return reset
	case closed:
		return Errorf(ErrClosed, "the stream to %s is closed", s.peer)
	case writeClosed:
		return Errorf(ErrState, "the stream to %s is closed for writing", s.peer)
	}
	if ctx.Done() == nil {
		if err := write(); err != nil {
			return s.writeError(ctx, err)
		}
		return nil
	}
	if ctx.Err() != nil {
		return ctxError(ctx, "write to %s", s.peer)
	}
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(fired)
		s.s.SetWriteDeadline(time.Unix(1, 0))
	})
	err := write()
	if !stop() {
		<-fired
		s.mu.Lock()
		s.s.SetWriteDeadline(s.writeDeadline)
		s.mu.Unlock()
	}
	if err != nil {
		return s.writeError(ctx, err)
	}
	return nil
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
	s.mu.Lock()
	already := s.writeClosed || s.closed
	s.writeClosed = true
	reset := s.resetErr
	s.mu.Unlock()
	if reset != nil {
		return reset
	}
	if already {
		return nil
	}
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
	s.mu.Unlock()
	s.s.ResetWithError(network.StreamErrorCode(code))
	s.out.fail()
	s.end()
	return nil
}

// SetDeadlines bounds present and later reads and writes, from now; 0 removes a bound, less than 0 leaves it as it is.
func (s *Stream) SetDeadlines(read, write time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if read >= 0 {
		s.readDeadline = deadlineIn(read)
		s.s.SetReadDeadline(s.readDeadline)
	}
	if write >= 0 {
		s.writeDeadline = deadlineIn(write)
		s.s.SetWriteDeadline(s.writeDeadline)
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
func (s *Stream) Close() error {
	s.mu.Lock()
	if s.closed || s.resetErr != nil {
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()
	if s.out.idle() {
		s.finishClose(true)
		return nil
	}
	s.s.CloseRead()
	if !s.node.spawn("stream close", func() {
		ctx, cancel := context.WithTimeout(s.node.ctx, closeFlush)
		defer cancel()
		s.finishClose(s.CloseWrite(ctx) == nil)
	}) {
		s.finishClose(false)
	}
	return nil
}

func (s *Stream) finishClose(sent bool) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	if sent {
		s.s.Close()
	} else {
		s.s.Reset()
	}
	s.out.fail()
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
