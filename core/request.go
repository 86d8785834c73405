package core

import (
	"context"
	"encoding/binary"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// cancelCode is what an asker resets its stream with when it gives up.
const cancelCode = 0x1

// RequestOptions are the options of Request and OpenRequest.
type RequestOptions struct {
	MaxResponse  int  `json:"max_response" doc:"bytes an answer, or each part of a streamed one, may have" min:"0" max:"1073741824"`
	AllowLimited bool `json:"allow_limited" doc:"also use a relayed connection whose relay limits time and bytes"`
}

// ParseRequestOptions reads RequestOptions from strict JSON; empty is the defaults.
func ParseRequestOptions(doc []byte) (RequestOptions, error) {
	o := RequestOptions{MaxResponse: 4 << 20}
	err := parseOptions(doc, &o, "")
	return o, err
}

// RequestServeOptions are the options of ServeRequests.
type RequestServeOptions struct {
	MaxRequest    int   `json:"max_request" doc:"bytes a request may have" min:"0" max:"1073741824"`
	MaxConcurrent int   `json:"max_concurrent" doc:"requests open at a time, beyond which askers are told that the service is busy" min:"1" max:"1000000"`
	TimeoutMs     int64 `json:"timeout_ms" doc:"longest time for an answer; 0: the asker's" min:"0" max:"86400000"`
}

// ParseRequestServeOptions reads RequestServeOptions from strict JSON; empty is the defaults.
func ParseRequestServeOptions(doc []byte) (RequestServeOptions, error) {
	o := RequestServeOptions{MaxRequest: 4 << 20, MaxConcurrent: 1024}
	err := parseOptions(doc, &o, "")
	return o, err
}

// Request asks a service of a peer and returns its answer. ctx's deadline travels along, and its end reaches the handler. It fails as
// OpenStream does, and with a *RemoteError (the handler's error), ErrBusy, or a *SizeError. data is not kept.
func (n *Node) Request(ctx context.Context, id peer.ID, protocol string, data []byte, o RequestOptions) ([]byte, error) {
	x, err := n.OpenRequest(ctx, id, protocol, data, o)
	if err != nil {
		return nil, err
	}
	defer x.Close()
	return x.only(ctx)
}

// only returns the answer of a request that expects a single part.
func (x *Exchange) only(ctx context.Context) ([]byte, error) {
	var whole []byte
	for {
		a, err := x.read(ctx)
		if err != nil {
			return nil, err
		}
		if whole == nil {
			whole = a.payload
		} else { // a streamed answer is joined
			if len(whole)+len(a.payload) > x.max {
				return nil, &SizeError{What: "answer", Size: int64(len(whole) + len(a.payload)), Max: int64(x.max)}
			}
			whole = append(whole, a.payload...)
		}
		if a.last {
			return whole, nil
		}
	}
}

// Exchange is a request whose answer comes in parts. Its methods may be called from any goroutine.
type Exchange struct {
	s    *Stream
	max  int
	ctx  context.Context // bounds the whole exchange
	stop func() bool

	mu   sync.Mutex
	last bool // guarded by mu; the last part has come
	done bool // guarded by mu
}

// OpenRequest asks for a streamed answer. ctx bounds the whole exchange.
func (n *Node) OpenRequest(ctx context.Context, id peer.ID, protocol string, data []byte, o RequestOptions) (*Exchange, error) {
	s, err := n.OpenStream(ctx, id, []string{protocol}, OpenOptions{AllowLimited: o.AllowLimited})
	if err != nil {
		return nil, err
	}
	var left time.Duration
	if deadline, ok := ctx.Deadline(); ok {
		left = time.Until(deadline)
	}
	x := &Exchange{s: s, max: o.MaxResponse, ctx: ctx}
	head := encodeRequestHead(left, len(data))
	if err := s.asWriter(ctx, func() error { return writeFrameOf(s.s, head, data) }); err != nil {
		// The service may have said why it hangs up.
		if a, e := x.read(ctx); e != nil && Kind(e) != ErrReset && a == nil {
			err = e
		}
		s.Reset(cancelCode)
		return nil, err
	}
	x.stop = context.AfterFunc(ctx, func() { s.Reset(cancelCode) })
	return x, nil
}

// writeFrameOf writes a frame of a head and the payload that ends it, without copying a large payload.
func writeFrameOf(w io.Writer, head, payload []byte) error {
	size := len(head) + len(payload)
	b := make([]byte, 0, binary.MaxVarintLen64+len(head)+min(len(payload), coalesceMax))
	b = append(binary.AppendUvarint(b, uint64(size)), head...)
	if len(payload) <= coalesceMax {
		_, err := w.Write(append(b, payload...))
		return err
	}
	if _, err := w.Write(b); err != nil {
		return err
	}
	_, err := w.Write(payload)
	return err
}

// read reads one part and turns an error answer into an error.
func (x *Exchange) read(ctx context.Context) (*answer, error) {
	m, err := x.s.ReadMessage(ctx, x.max+frameOverhead+wordsMax)
	if err != nil {
		if x.ctx.Err() != nil {
			return nil, ctxError(x.ctx, "request to %s", x.s.peer)
		}
		if err == io.EOF {
			return nil, Errorf(ErrReset, "%s ended the answer before its last part", x.s.peer)
		}
		if size, ok := err.(*SizeError); ok {
			return nil, &SizeError{What: "answer", Size: size.Size, Max: int64(x.max)}
		}
		return nil, err
	}
	a, err := decodeAnswer(m)
	if err != nil {
		return nil, Errorf(ErrReset, "%s: %w", x.s.peer, err)
	}
	if len(a.payload) > x.max {
		return nil, &SizeError{What: "answer", Size: int64(len(a.payload)), Max: int64(x.max)}
	}
	switch a.failure {
	case failNone:
		return &a, nil
	case failBusy:
		return nil, Errorf(ErrBusy, "%s: %s", x.s.peer, a.words)
	case failTooBig:
		return nil, &SizeError{What: "request", Size: int64(a.code), Max: int64(a.code)}
	case failTimeout:
		return nil, Errorf(ErrTimeout, "%s: %s", x.s.peer, a.words)
	}
	return nil, &RemoteError{Code: a.code, Words: a.words}
}

// Next returns the next part of the answer; io.EOF after the last one. Parts that nobody fetches hold the handler back.
func (x *Exchange) Next(ctx context.Context) ([]byte, error) {
	x.mu.Lock()
	last, done := x.last, x.done
	x.mu.Unlock()
	if last {
		return nil, io.EOF
	}
	if done {
		return nil, Errorf(ErrClosed, "the exchange with %s is closed", x.s.peer)
	}
	a, err := x.read(ctx)
	if err != nil {
		return nil, err
	}
	if a.last {
		x.mu.Lock()
		x.last = true
		x.mu.Unlock()
		if len(a.payload) == 0 {
			return nil, io.EOF
		}
	}
	return a.payload, nil
}

// Close ends the exchange; before the last part it cancels the handler.
func (x *Exchange) Close() {
	x.mu.Lock()
	x.done = true
	x.mu.Unlock()
	x.stop()
	// An answered stream has nothing more to say on either side, and an unanswered one is given up: both end here.
	x.s.Reset(cancelCode)
}

// Info returns what is known of the exchange; docs/info.md explains the keys.
func (x *Exchange) Info() any {
	return struct {
		Kind     string `json:"kind"`
		Peer     string `json:"peer"`
		Protocol string `json:"protocol"`
	}{"exchange", x.s.peer.String(), x.s.protocol}
}
