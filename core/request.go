package core

import (
	"context"
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

// Request asks a service of a peer and returns its answer; one that comes in parts is joined. ctx's deadline travels along, and its end reaches
// the handler. It fails as OpenStream does, and with a *RemoteError (the handler's error), ErrBusy, or a *SizeError. data is not kept.
func (n *Node) Request(ctx context.Context, id peer.ID, protocol string, data []byte, o RequestOptions) ([]byte, error) {
	x, err := n.OpenRequest(ctx, id, protocol, data, o)
	if err != nil {
		return nil, err
	}
	defer x.Close()
	var whole []byte
	for parts := 0; ; parts++ {
		a, err := x.part(ctx)
		if err != nil {
			return nil, err
		}
		if parts == 0 {
			whole = a.payload
		} else if len(whole)+len(a.payload) > x.max {
			return nil, &SizeError{What: "answer", Size: int64(len(whole) + len(a.payload)), Max: int64(x.max)}
		} else {
			whole = append(whole, a.payload...)
		}
		if a.last {
			return whole, nil
		}
	}
}

// Exchange is a request whose answer comes in parts. Its methods may be called from any goroutine.
type Exchange struct {
	s     *Stream
	size  int // of the request
	max   int
	ctx   context.Context // bounds the whole exchange
	stop  func() bool
	early chan early    // what came while the request was being sent; nil if nobody looked
	turn  chan struct{} // a token: who holds it reads

	mu     sync.Mutex
	end    error // guarded by mu; why nothing more comes: io.EOF after the last part
	closed bool  // guarded by mu
}

// early is the first part of an answer, or why there is none.
type early struct {
	m   []byte
	err error
}

// OpenRequest asks for a streamed answer. ctx bounds the whole exchange.
func (n *Node) OpenRequest(ctx context.Context, id peer.ID, protocol string, data []byte, o RequestOptions) (*Exchange, error) {
	s, err := n.openStream(ctx, id, []string{protocol}, OpenOptions{AllowLimited: o.AllowLimited})
	if err != nil {
		return nil, err
	}
	var left time.Duration
	if deadline, ok := ctx.Deadline(); ok {
		left = max(time.Until(deadline), 1)
	}
	x := &Exchange{s: s, size: len(data), max: o.MaxResponse, ctx: ctx, turn: make(chan struct{}, 1)}
	if err := x.send(encodeRequestHead(left, len(data)), data); err != nil {
		s.Reset(cancelCode)
		return nil, err
	}
	x.stop = context.AfterFunc(ctx, func() { s.Reset(cancelCode) })
	return x, nil
}

// send sends the request. A service may refuse a large one before it has read it, and then reads no further: so while that is being sent,
// somebody has to listen.
func (x *Exchange) send(head, data []byte) error {
	ctx := x.ctx
	if len(data) > coalesceMax {
		var refused context.CancelFunc
		ctx, refused = context.WithCancel(ctx)
		defer refused()
		x.early = make(chan early, 1)
		listen := func() {
			m, err := x.receive(x.ctx)
			x.early <- early{m, err}
			refused()
		}
		if !x.s.node.spawn("request answer", listen) {
			return ctxError(x.s.node.ctx, "request to %s", x.s.peer)
		}
	}
	err := x.s.writeFrame(ctx, head, data)
	if err == nil {
		return nil
	}
	if x.ctx.Err() != nil {
		return ctxError(x.ctx, "request to %s", x.s.peer)
	}
	if x.early != nil || Kind(err) == ErrReset {
		// What the service said tells more than that it hung up.
		if _, answer := x.part(x.ctx); answer != nil && Kind(answer) != ErrReset {
			return answer
		}
	}
	return err
}

func (x *Exchange) receive(ctx context.Context) ([]byte, error) {
	return x.s.ReadMessage(ctx, x.max+frameOverhead+wordsMax)
}

// next returns the next part as it came.
func (x *Exchange) next(ctx context.Context) ([]byte, error) {
	if x.early == nil {
		return x.receive(ctx)
	}
	select {
	case first := <-x.early:
		x.early = nil
		return first.m, first.err
	case <-ctx.Done():
		return nil, ctxError(ctx, "answer from %s", x.s.peer)
	}
}

// part returns the next part and turns an error answer into an error. What ends the exchange is told by every later call too.
func (x *Exchange) part(ctx context.Context) (*answer, error) {
	select {
	case x.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctxError(ctx, "answer from %s", x.s.peer)
	}
	defer func() { <-x.turn }()
	x.mu.Lock()
	end, closed := x.end, x.closed
	x.mu.Unlock()
	if end != nil {
		return nil, end
	}
	if closed {
		return nil, Errorf(ErrClosed, "the exchange with %s is closed", x.s.peer)
	}
	m, err := x.next(ctx)
	a, end := x.interpret(m, err)
	if err != nil && ctx != x.ctx && ctx.Err() != nil && x.ctx.Err() == nil && (Kind(err) == ErrTimeout || Kind(err) == ErrCancelled) {
		return nil, err // this call has ended, not the exchange
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case end != nil && x.closed:
		end = Errorf(ErrClosed, "the exchange with %s is closed", x.s.peer)
		x.end = end
	case end != nil:
		x.end = end
	case a.last:
		x.end = io.EOF
	}
	return a, end
}

func (x *Exchange) interpret(m []byte, err error) (*answer, error) {
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
		return nil, Errorf(ErrReset, "answer from %s: %w", x.s.peer, err)
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
		return nil, &SizeError{What: "request", Size: int64(x.size), Max: int64(a.code)}
	case failTimeout:
		return nil, Errorf(ErrTimeout, "%s: %s", x.s.peer, a.words)
	}
	return nil, &RemoteError{Code: a.code, Words: a.words}
}

// Next returns the next part of the answer; io.EOF after the last one. Parts that nobody fetches hold the handler back. When ctx ends, nothing
// is lost: the next call goes on.
func (x *Exchange) Next(ctx context.Context) ([]byte, error) {
	a, err := x.part(ctx)
	if err != nil {
		return nil, err
	}
	if a.last && len(a.payload) == 0 {
		return nil, io.EOF
	}
	return a.payload, nil
}

// Close ends the exchange; before the last part it cancels the handler.
func (x *Exchange) Close() {
	x.mu.Lock()
	x.closed = true
	_, failed := x.end.(*RemoteError)
	answered := x.end == io.EOF || failed
	x.mu.Unlock()
	x.stop()
	if answered {
		x.s.Close()
	} else {
		x.s.Reset(cancelCode)
	}
}

// ExchangeInfo is what Info returns; docs/info.md explains the keys.
type ExchangeInfo struct {
	Kind       string `json:"kind"`
	Peer       string `json:"peer"`
	Protocol   string `json:"protocol"`
	Connection string `json:"connection"`
	Complete   bool   `json:"complete"`
}

// Info returns an ExchangeInfo.
func (x *Exchange) Info() any {
	x.mu.Lock()
	defer x.mu.Unlock()
	return ExchangeInfo{"exchange", x.s.peer.String(), x.s.protocol, x.s.s.Conn().ID(), x.end != nil}
}
