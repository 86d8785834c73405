package core

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Request is one question that a service has to answer with Respond, Enqueue or Fail. Its methods may be called from any goroutine.
type Request struct {
	Peer     peer.ID
	Protocol string
	Data     []byte

	s      *Stream
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu       sync.Mutex
	answered bool // guarded by mu; the last part is on its way
}

// ServeRequests has handler called, on a goroutine of its own, with each request for protocol. It fails with ErrExists if the name is served
// already.
func (n *Node) ServeRequests(name string, o RequestServeOptions, handler func(*Request)) (*Service, error) {
	s := &Service{node: n, protocols: []string{name}}
	return s, s.start(func(raw network.Stream, ended func()) {
		st := newStream(n, raw, ended)
		if s.open.Load() > int64(o.MaxConcurrent) {
			s.refused.Add(1)
			refuse(st, &answer{last: true, failure: failBusy, words: "the service has as many requests as it takes at a time"})
			return
		}
		serveRequest(st, o, handler)
	})
}

// refuse answers without a handler.
func refuse(s *Stream, a *answer) {
	s.asWriter(s.node.ctx, func() error { return writeFrameOf(s.s, encodeAnswerHead(a), nil) })
	s.Close()
}

// requestReadTime bounds how long a peer may take to send its request.
const requestReadTime = 60 * time.Second

func serveRequest(s *Stream, o RequestServeOptions, handler func(*Request)) {
	ctx, stop := context.WithTimeout(s.node.ctx, requestReadTime)
	var m []byte
	err := s.asReader(ctx, func() (err error) {
		m, err = s.in.next(s.s, o.MaxRequest+frameOverhead)
		return err
	})
	stop()
	if _, tooBig := err.(*SizeError); tooBig {
		refuse(s, &answer{last: true, failure: failTooBig, code: int32(o.MaxRequest), words: "the request is too big"})
		return
	}
	if err != nil {
		s.Reset(0)
		return
	}
	timeout, payload, err := decodeRequest(m)
	if err != nil {
		s.Reset(0)
		return
	}
	if len(payload) > o.MaxRequest {
		refuse(s, &answer{last: true, failure: failTooBig, code: int32(o.MaxRequest), words: "the request is too big"})
		return
	}
	if limit := time.Duration(o.TimeoutMs) * time.Millisecond; limit > 0 && (timeout == 0 || limit < timeout) {
		timeout = limit
	}
	r := &Request{Peer: s.peer, Protocol: s.protocol, Data: payload, s: s}
	r.ctx, r.cancel = context.WithCancelCause(s.node.ctx)
	if timeout > 0 {
		var end context.CancelFunc
		r.ctx, end = context.WithTimeoutCause(r.ctx, timeout, Errorf(ErrTimeout, "the asker's time is up"))
		context.AfterFunc(r.ctx, end)
	}
	// Nothing more comes from the asker but its giving up.
	s.node.spawn("request watch", func() {
		var one [1]byte
		_, err := s.Read(one[:])
		r.mu.Lock()
		answered := r.answered
		r.mu.Unlock()
		if err == io.EOF || answered {
			return // an asker of another make closes its side first, and we close ours after the answer
		}
		r.cancel(Errorf(ErrCancelled, "%s gave the request up", s.peer))
	})
	returned := guarded("request handler", func() { handler(r) })
	if !returned {
		r.Fail(0, "the handler failed")
	}
}

// Deadline tells when the asker stops waiting.
func (r *Request) Deadline() (time.Time, bool) { return r.ctx.Deadline() }

// Context ends when the asker gives up, its time is up, or the node closes.
func (r *Request) Context() context.Context { return r.ctx }

// begin checks that an answer is still wanted and notes its end.
func (r *Request) begin(last bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answered {
		return Errorf(ErrState, "the request of %s is answered already", r.Peer)
	}
	if r.ctx.Err() != nil {
		return ctxError(r.ctx, "request of %s", r.Peer)
	}
	r.answered = last
	return nil
}

// Respond sends an answer, or with more a part of one. It does not keep data.
func (r *Request) Respond(ctx context.Context, data []byte, more bool) error {
	if err := r.begin(!more); err != nil {
		return err
	}
	a := &answer{payload: data, last: !more}
	err := r.s.asWriter(ctx, func() error { return writeFrameOf(r.s.s, encodeAnswerHead(a), data) })
	if !more {
		r.finish()
	}
	return r.explain(err)
}

// explain prefers the reason why the asker is gone over how that shows on the stream.
func (r *Request) explain(err error) error {
	if err != nil && r.ctx.Err() != nil {
		return ctxError(r.ctx, "request of %s", r.Peer)
	}
	return err
}

// Enqueue is Respond in the manner of Stream.Enqueue.
func (r *Request) Enqueue(data []byte, more bool, drained func(error)) (now bool, err error) {
	if err := r.begin(!more); err != nil {
		return false, err
	}
	a := &answer{payload: data, last: !more}
	now, err = r.s.Enqueue(append(encodeAnswerHead(a), data...), true, drained)
	if !more {
		r.finish()
	}
	return now, r.explain(err)
}

// Fail answers with an error.
func (r *Request) Fail(code int32, words string) error {
	return r.fail(&answer{last: true, failure: failHandler, code: code, words: words[:min(len(words), wordsMax)]})
}

func (r *Request) fail(a *answer) error {
	if err := r.begin(true); err != nil {
		return err
	}
	_, err := r.s.Enqueue(encodeAnswerHead(a), true, func(error) {})
	r.finish()
	return r.explain(err)
}

// finish closes the stream after what was enqueued.
func (r *Request) finish() { r.s.Close() }

// Close ends the request; without an answer the asker is told so.
func (r *Request) Close() {
	err := r.fail(&answer{last: true, failure: failGone, words: "the handler gave no answer"})
	if Kind(err) == ErrTimeout || Kind(err) == ErrCancelled {
		r.s.Reset(0)
	}
	r.cancel(Errorf(ErrClosed, "the request is closed"))
}

// Info returns what is known of the request; docs/info.md explains the keys.
func (r *Request) Info() any {
	return struct {
		Kind     string `json:"kind"`
		Peer     string `json:"peer"`
		Protocol string `json:"protocol"`
	}{"request", r.Peer.String(), r.Protocol}
}
