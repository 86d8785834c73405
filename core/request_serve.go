package core

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Request is one question that a service has to answer with Respond, Enqueue or Fail, and to Close. Its methods may be called from any
// goroutine.
type Request struct {
	Peer     peer.ID
	Protocol string
	Data     []byte

	s        *Stream
	ctx      requestContext
	cancel   context.CancelCauseFunc
	unhook   func() bool // ctx no longer ends with the node
	deadline *time.Timer // may be nil

	mu       sync.Mutex
	answered bool // guarded by mu; the last part is on its way
}

// requestContext is a context that needs nobody to end it: a handler may forget its request after the answer.
type requestContext struct {
	context.Context
	deadline time.Time // zero: none
}

// Deadline implements context.Context.
func (c requestContext) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

// ServeRequests has handler called, on a goroutine of its own, with each request for protocol. It may answer after it has returned. It fails
// with ErrExists if the name is served already.
func (n *Node) ServeRequests(name string, o RequestServeOptions, handler func(*Request)) (*Service, error) {
	s := &Service{node: n, protocols: []string{name}}
	err := s.start(func(raw network.Stream, open int64, ended func()) {
		st := newStream(n, raw, ended)
		if open > int64(o.MaxConcurrent) {
			s.refused.Add(1)
			refuse(st, &answer{last: true, failure: failBusy, words: "the service has as many requests as it takes at a time"})
			return
		}
		s.accepted.Add(1)
		serveRequest(st, o, handler)
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// refuse answers without a handler.
func refuse(s *Stream, a *answer) {
	s.enqueue(nil, frameHead(encodeAnswerHead(a), 0))
	s.Close()
}

// requestPause bounds how long a peer that sends a request may stop, and requestPace how much it has to send meanwhile.
const (
	requestPause = 60 * time.Second
	requestPace  = 64 << 10
)

// readRequest reads the request's frame.
func readRequest(s *Stream, limit int) (m []byte, err error) {
	for before := 0; ; before = len(s.frames.message) {
		ctx, stop := context.WithTimeout(s.node.ctx, requestPause)
		m, err = s.readFrame(ctx, limit)
		stop()
		if Kind(err) != ErrTimeout || len(s.frames.message) < before+requestPace {
			return m, err
		}
	}
}

func serveRequest(s *Stream, o RequestServeOptions, handler func(*Request)) {
	tooBig := &answer{last: true, failure: failTooBig, code: int32(o.MaxRequest), words: "the request is too big"}
	m, err := readRequest(s, o.MaxRequest+frameOverhead)
	var size *SizeError
	if errors.As(err, &size) {
		refuse(s, tooBig)
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
		refuse(s, tooBig)
		return
	}
	if limit := time.Duration(o.TimeoutMs) * time.Millisecond; limit > 0 && (timeout == 0 || limit < timeout) {
		timeout = limit
	}
	r := newRequest(s, payload, timeout)
	// Nothing more comes from the asker but its giving up. The end of the stream ends this.
	s.node.spawn("request watch", func() {
		var one [1]byte
		_, err := s.Read(one[:])
		if err == io.EOF || r.isAnswered() {
			return // an asker of another make closes its side first
		}
		r.cancel(Errorf(ErrCancelled, "%s gave the request up", s.peer))
	})
	if !guarded("request handler", func() { handler(r) }) {
		r.fail(&answer{last: true, failure: failGone, code: NoAnswer, words: "the handler failed"})
	}
}

func newRequest(s *Stream, payload []byte, timeout time.Duration) *Request {
	r := &Request{Peer: s.peer, Protocol: s.protocol, Data: payload, s: s}
	r.ctx.Context, r.cancel = context.WithCancelCause(context.Background()) // ended by what follows, by Close, or by nobody
	r.unhook = context.AfterFunc(s.node.ctx, func() { r.cancel(context.Cause(s.node.ctx)) })
	if timeout > 0 {
		r.ctx.deadline = time.Now().Add(timeout)
		r.deadline = time.AfterFunc(timeout, func() { guarded("request deadline", r.expire) })
	}
	return r
}

// expire ends a request whose time is up.
func (r *Request) expire() {
	if r.begin(true) != nil {
		return
	}
	r.cancel(Errorf(ErrTimeout, "time is up"))
	r.s.enqueue(nil, frameHead(encodeAnswerHead(&answer{last: true, failure: failTimeout, words: "the service ran out of time"}), 0))
	r.finish()
}

func (r *Request) isAnswered() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.answered
}

// Deadline tells when the asker stops waiting.
func (r *Request) Deadline() (time.Time, bool) { return r.ctx.Deadline() }

// Context ends when the asker gives up, its time is up, or the node closes, and with Close.
func (r *Request) Context() context.Context { return r.ctx }

// begin checks that an answer is still wanted and notes its end.
func (r *Request) begin(last bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		return ctxError(r.ctx, "request of %s", r.Peer)
	}
	if r.answered {
		return Errorf(ErrState, "the request of %s is answered already", r.Peer)
	}
	r.answered = last
	return nil
}

// Respond sends an answer, or with more a part of one. It does not keep data. If ctx ends before anything of it was sent, it may be tried again
// until the deadline.
func (r *Request) Respond(ctx context.Context, data []byte, more bool) error {
	if err := r.begin(!more); err != nil {
		return err
	}
	if !more && !r.ctx.deadline.IsZero() {
		var stop context.CancelFunc
		ctx, stop = context.WithDeadline(ctx, r.ctx.deadline) // expire leaves the last part alone
		defer stop()
	}
	head := encodeAnswerHead(&answer{payload: data, last: !more})
	err := r.s.writeFrame(ctx, head, data)
	switch {
	case more:
	case err != nil && r.s.writable() == nil:
		r.mu.Lock()
		r.answered = false
		r.mu.Unlock()
		if end := r.ctx.deadline; !end.IsZero() && !time.Now().Before(end) { // its timer may have found the request answered
			r.expire()
		}
	default:
		r.finish()
	}
	return r.explain(err)
}

// explain prefers the reason why the asker is gone over how that shows on the stream.
func (r *Request) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case r.ctx.Err() != nil:
		return ctxError(r.ctx, "request of %s", r.Peer)
	}
	var reset *ResetError
	if errors.As(err, &reset) && reset.Remote { // the watch has not got to it yet
		return Errorf(ErrCancelled, "%s gave the request up", r.Peer)
	}
	return err
}

// Enqueue is Respond in the manner of Stream.Enqueue: data belongs to the request from now on.
func (r *Request) Enqueue(data []byte, more bool, drained func(error)) (now bool, err error) {
	if err := r.begin(!more); err != nil {
		return false, err
	}
	head := encodeAnswerHead(&answer{payload: data, last: !more})
	explained := func(err error) {
		if drained != nil {
			drained(r.explain(err))
		}
	}
	now, err = r.s.enqueue(explained, frameHead(head, len(data)), data)
	if !more {
		r.finish()
	}
	return now, r.explain(err)
}

// Fail answers with an error. code is not negative; words are cut at 4 KiB.
func (r *Request) Fail(code int32, words string) error {
	if code < 0 {
		return Errorf(ErrInvalid, "code %d: a handler's own codes are not negative", code)
	}
	return r.fail(&answer{last: true, failure: failHandler, code: code, words: shorten(words)})
}

func (r *Request) fail(a *answer) error {
	if err := r.begin(true); err != nil {
		return err
	}
	_, err := r.s.enqueue(nil, frameHead(encodeAnswerHead(a), 0))
	r.finish()
	return r.explain(err)
}

// finish closes the stream after what was enqueued, and lets go of what would end ctx. The asker may take its time with that as with an answer
// that is not enqueued: until the deadline, which may be past already for the words that tell so.
func (r *Request) finish() {
	r.unhook()
	if r.deadline != nil {
		r.deadline.Stop()
	}
	end := r.ctx.deadline
	if least := time.Now().Add(closeFlush); !end.IsZero() && end.Before(least) {
		end = least
	}
	r.s.closeBy(end)
}

// Close ends the request; without an answer the asker is told so.
func (r *Request) Close() {
	err := r.fail(&answer{last: true, failure: failGone, code: NoAnswer, words: "the handler gave no answer"})
	if err != nil && !r.isAnswered() {
		r.s.Reset(0) // the asker is gone
	}
	r.unhook()
	if r.deadline != nil {
		r.deadline.Stop()
	}
	r.cancel(Errorf(ErrClosed, "the request is closed"))
}

// RequestInfo is what Info returns; docs/info.md explains the keys.
type RequestInfo struct {
	Kind       string `json:"kind"`
	Peer       string `json:"peer"`
	Protocol   string `json:"protocol"`
	Connection string `json:"connection"`
	Bytes      int    `json:"bytes"`
	Answered   bool   `json:"answered"`
}

// Info returns a RequestInfo.
func (r *Request) Info() any {
	return RequestInfo{"request", r.Peer.String(), r.Protocol, r.s.s.Conn().ID(), len(r.Data), r.isAnswered()}
}
