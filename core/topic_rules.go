package core

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"
)

// rules are what a topic's messages must pass.
type rules struct {
	t        *Topic
	maxSize  int
	signers  map[peer.ID]struct{} // nil: all
	rate     rate.Limit
	burst    int
	validate bool
	timeout  time.Duration
	verdict  Decision // when time is up
	capacity int64

	pending atomic.Int64
	late    atomic.Int64

	mu       sync.Mutex
	limiters map[peer.ID]*rate.Limiter // guarded by mu
}

// limitersMax bounds the authors whose rate is remembered.
const limitersMax = 4096

func newRules(t *Topic, o TopicOptions) (*rules, error) {
	r := &rules{t: t, maxSize: o.MaxSize, rate: rate.Limit(o.Rate), burst: o.Burst, validate: o.Validate, capacity: int64(o.ValidateCapacity),
		timeout: time.Duration(o.ValidateTimeoutMs) * time.Millisecond, limiters: map[peer.ID]*rate.Limiter{}}
	r.verdict = map[string]Decision{"accept": Accept, "reject": Reject, "ignore": Ignore}[o.ValidateDefault]
	if r.burst == 0 {
		r.burst = max(int(o.Rate), 1)
	}
	for _, text := range o.Signers {
		id, err := ParsePeer(text)
		if err != nil {
			return nil, &OptionError{Path: "signers", Problem: err.Error()}
		}
		if r.signers == nil {
			r.signers = map[peer.ID]struct{}{}
		}
		r.signers[id] = struct{}{}
	}
	if (r.signers != nil || r.rate > 0) && !t.p.verified {
		path := "signers"
		if r.signers == nil {
			path = "rate"
		}
		return nil, &OptionError{Path: path, Problem: "messages have no author while the node's pubsub.signing is none"}
	}
	return r, nil
}

func (r *rules) none() bool {
	return r.maxSize == 0 && r.signers == nil && r.rate == 0 && !r.validate
}

func (r *rules) unregister() {
	if !r.none() {
		r.t.p.ps.UnregisterTopicValidator(r.t.name)
	}
}

// fieldsMax is above what a message has beside its data and topic, with the largest of keys; who sends more means to get around max_size.
const fieldsMax = 8192

// check is upstream's validator. It is called for own messages too, in the goroutine that publishes.
func (r *rules) check(ctx context.Context, from peer.ID, m *pubsub.Message) (result pubsub.ValidationResult) {
	result = pubsub.ValidationIgnore
	defer recovered("topic rules")
	if r.maxSize > 0 && (len(m.Data) > r.maxSize || proto.Size(m.Message)-len(m.Data)-len(m.GetTopic()) > fieldsMax) {
		return pubsub.ValidationReject
	}
	author := peer.ID("")
	if m.Signature != nil { // else anybody could name anybody
		author = authorOf(m)
	}
	if _, ok := r.signers[author]; r.signers != nil && !ok {
		return pubsub.ValidationReject
	}
	if r.rate > 0 && !r.allow(author) {
		return pubsub.ValidationIgnore
	}
	if !r.validate || from == r.t.p.node.ID() {
		return pubsub.ValidationAccept
	}
	return decisions[r.ask(ctx, m)]
}

func (r *rules) allow(author peer.ID) bool {
	r.mu.Lock()
	l := r.limiters[author]
	if l == nil {
		if len(r.limiters) >= limitersMax {
			clear(r.limiters)
		}
		l = rate.NewLimiter(r.rate, r.burst)
		r.limiters[author] = l
	}
	r.mu.Unlock()
	return l.Allow()
}

// Decision is a verdict on a message.
type Decision int

const (
	// Accept delivers the message and passes it on.
	Accept Decision = iota
	// Reject refuses it and holds it against the sender.
	Reject
	// Ignore refuses it without blame.
	Ignore
)

var decisions = map[Decision]pubsub.ValidationResult{Accept: pubsub.ValidationAccept, Reject: pubsub.ValidationReject, Ignore: pubsub.ValidationIgnore}

// Verdict waits for the program's decision on one message.
type Verdict struct {
	// Expired is closed when the verdict has been given, or is no longer wanted.
	Expired <-chan struct{}
	expired chan struct{}
	decided chan Decision
	settled atomic.Bool // by an answer, or by time
}

// Answer gives the verdict. It fails with ErrNotFound when it comes too late or a second time.
func (v *Verdict) Answer(d Decision) error {
	if _, ok := decisions[d]; !ok {
		return Errorf(ErrInvalid, "verdict %d: there is no such verdict", d)
	}
	if !v.settled.CompareAndSwap(false, true) {
		return Errorf(ErrNotFound, "the verdict was given already, or comes too late")
	}
	v.decided <- d
	return nil
}

// ask waits for the program's verdict, or the time when the default takes its place.
func (r *rules) ask(ctx context.Context, m *pubsub.Message) Decision {
	defer r.pending.Add(-1)
	if r.pending.Add(1) > r.capacity {
		r.late.Add(1)
		return r.verdict
	}
	v := &Verdict{decided: make(chan Decision, 1), expired: make(chan struct{})}
	v.Expired = v.expired
	defer close(v.expired)
	r.t.events.put(ctx, TopicEvent{Type: TopicValidate, Message: r.t.p.message(m), Verdict: v}, messageSize(m))
	timer := time.NewTimer(r.timeout)
	defer timer.Stop()
	otherwise := Ignore
	select {
	case d := <-v.decided:
		return d
	case <-timer.C:
		otherwise = r.verdict
	case <-r.t.ctx.Done():
	case <-ctx.Done():
	}
	if !v.settled.CompareAndSwap(false, true) {
		return <-v.decided // it was just given
	}
	r.late.Add(1)
	return otherwise
}
