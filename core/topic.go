package core

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"sync"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
)

// TopicOptions are the options of Join: rules that every message must pass before it is delivered or passed on.
type TopicOptions struct {
	MaxSize           int      `json:"max_size" min:"0" max:"1073741824" doc:"bytes of the largest message, without its signature and other fields; 0: pubsub.max_message_size, which is with them"`
	Signers           []string `json:"signers" doc:"peer ids that may author messages; empty: all"`
	Rate              float64  `json:"rate" min:"0" max:"1000000" doc:"messages per second and author; 0: no limit"`
	Burst             int      `json:"burst" min:"0" max:"1000000" doc:"messages an author may send at once under rate; 0: one second's worth"`
	Validate          bool     `json:"validate" doc:"ask the program for a verdict on every message of others"`
	ValidateTimeoutMs int      `json:"validate_timeout_ms" min:"1" max:"600000" doc:"time for a verdict"`
	ValidateDefault   string   `json:"validate_default" enum:"reject,ignore,accept" doc:"the verdict when time is up"`
	ValidateCapacity  int      `json:"validate_capacity" min:"1" max:"1000000" doc:"verdicts that may be pending; beyond it the default holds at once"`

	Relay      bool              `json:"relay" doc:"pass messages on without a subscription, too"`
	FanoutOnly bool              `json:"fanout_only" doc:"publish only: the node never becomes a member, and a subscription gets the node's own messages alone"`
	MessageID  string            `json:"message_id" enum:"node,author,content,topic_content" doc:"what makes two messages the same, as pubsub.message_id; node: what that says"`
	Score      TopicScoreOptions `json:"score" doc:"what counts for and against a peer in this topic; needs pubsub.score.enabled"`

	scored bool // score was given
}

// ParseTopicOptions reads TopicOptions from strict JSON; empty is the defaults.
func ParseTopicOptions(doc []byte) (TopicOptions, error) {
	o := TopicOptions{Signers: []string{}, ValidateTimeoutMs: 1000, ValidateDefault: "ignore", ValidateCapacity: 1024, MessageID: "node", Score: defaultTopicScore()}
	given, err := parseOptionsNoting(doc, &o, "")
	o.scored = slices.ContainsFunc(given, func(path string) bool { return strings.HasPrefix(path, "score.") })
	return o, err
}

// TopicEventType says what a TopicEvent is.
type TopicEventType int

const (
	// TopicJoined tells that Peer subscribed.
	TopicJoined TopicEventType = iota
	// TopicLeft tells that Peer no longer subscribes.
	TopicLeft
	// TopicValidate asks for Verdict.Answer on Message.
	TopicValidate
)

// TopicEvent is what a topic tells besides messages.
type TopicEvent struct {
	Type    TopicEventType
	Peer    peer.ID
	Message *Message
	Verdict *Verdict
}

// topicEventsMax is how many events of a topic may wait, besides verdicts; then the oldest are dropped.
const topicEventsMax = 1024

// topicEventsBytes is how much the messages that wait for a verdict, and for the program to take that question, may hold.
const topicEventsBytes = 64 << 20

// topicNameMax is how many bytes the name of a topic may have.
const topicNameMax = 1024

// Topic is a joined topic. Its methods may be called from any goroutine.
type Topic struct {
	p        *publisher
	name     string
	t        *pubsub.Topic
	events   *mailbox[TopicEvent]
	rules    *rules
	counters *topicCounters
	unrelay  func()          // nil: does not relay
	maxData  int             // bytes of the largest message, without its signature and other fields
	ctx      context.Context // ends with Close
	cancel   context.CancelCauseFunc
	unhook   func()
	outbox   outbox

	subscribing sync.Mutex // held while a subscription is made

	mu      sync.Mutex
	closed  bool                       // guarded by mu
	done    chan struct{}              // closed when Close is through
	subs    map[*Subscription]struct{} // guarded by mu
	ended   mailboxStats               // guarded by mu; what went through the subscriptions that are closed
	present map[peer.ID]struct{}       // guarded by mu; peers that subscribe
	changed chan struct{}              // guarded by mu; closed when present grows
	watch   sync.WaitGroup
}

// Join joins a topic, once per node and name. It fails with ErrExists if it is joined already.
func (n *Node) Join(name string, o TopicOptions, inbox Inbox[TopicEvent]) (*Topic, error) {
	p := n.pubsub
	if p == nil {
		return nil, Errorf(ErrState, "topic %s: the node has pubsub off", quoteShort(name))
	}
	if name == "" || len(name) > topicNameMax {
		return nil, Errorf(ErrInvalid, "topic %s: a name is 1 to %d bytes", quoteShort(name), topicNameMax)
	}
	t := &Topic{p: p, name: name, maxData: p.maxData(name), done: make(chan struct{}), subs: map[*Subscription]struct{}{},
		present: map[peer.ID]struct{}{}, changed: make(chan struct{})}
	t.ctx, t.cancel = context.WithCancelCause(n.ctx)
	if err := t.join(o, inbox); err != nil {
		t.cancel(err)
		return nil, err
	}
	return t, nil
}

func (t *Topic) join(o TopicOptions, inbox Inbox[TopicEvent]) (err error) {
	p, n, name := t.p, t.p.node, t.name
	if t.rules, err = newRules(t, o); err != nil {
		return err
	}
	scored, err := t.checkOptions(o)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.topics[name]; ok {
		return Errorf(ErrExists, "topic %s is joined already", quoteShort(name))
	}
	if n.ctx.Err() != nil {
		return ctxError(n.ctx, "topic %s", quoteShort(name))
	}
	if !t.rules.none() {
		options := []pubsub.ValidatorOpt{pubsub.WithValidatorInline(!o.Validate), pubsub.WithValidatorConcurrency(verdictsMax)}
		if err := p.ps.RegisterTopicValidator(name, t.rules.check, options...); err != nil {
			return t.joinError(err)
		}
	}
	t.counters = p.tracer.fresh(name)
	defer func() {
		if err != nil {
			t.forget()
		}
	}()
	if t.t, err = p.ps.Join(name, t.upstreamOptions(o)...); err != nil {
		t.rules.unregister()
		return t.joinError(err)
	}
	t.events = newMailbox("topic events", unexpired(inbox), DropOldest, topicEventsMax+o.ValidateCapacity, topicEventsBytes, nil)
	handler, err := t.t.EventHandler()
	if err == nil && scored != nil {
		err = t.t.SetScoreParams(scored)
	}
	if err == nil && o.Relay {
		t.unrelay, err = t.t.Relay()
	}
	t.outbox.init(t)
	t.watch.Add(1)
	if err == nil {
		err = n.onClose(&t.unhook, t.Close) // from here on the node may close it, which waits for p.mu only late
	}
	if err != nil {
		err = t.joinError(err)
		t.events.close(err)
		if handler != nil {
			handler.Cancel()
		}
		if t.unrelay != nil {
			t.unrelay()
		}
		t.t.Close()
		t.rules.unregister()
		return err
	}
	p.topics[name] = t
	safeGo("topic peers", func() {
		defer t.watch.Done()
		defer handler.Cancel()
		t.watchPeers(handler)
	})
	return nil
}

// unexpired spares inbox the questions that need no answer any more.
func unexpired(inbox Inbox[TopicEvent]) Inbox[TopicEvent] {
	deliver := inbox.Deliver
	inbox.Deliver = func(e TopicEvent) {
		if e.Verdict != nil && e.Verdict.settled.Load() || deliver == nil {
			return
		}
		deliver(e)
	}
	return inbox
}

// checkOptions finds options that do not go together, or not with the node's. It returns what peers are scored by, nil if they are not.
func (t *Topic) checkOptions(o TopicOptions) (*pubsub.TopicScoreParams, error) {
	p, c := t.p, &t.p.node.cfg.Pubsub
	switch {
	case !(&topicFilter{p}).CanSubscribe(t.name):
		return nil, Errorf(ErrRejected, "topic %s: none of pubsub.topics", quoteShort(t.name))
	case o.Relay && o.FanoutOnly:
		return nil, &OptionError{Path: "relay", Problem: "conflicts with fanout_only"}
	case o.MessageID == "author" && p.author == "":
		return nil, &OptionError{Path: "message_id", Problem: "author: messages carry no author with the node's pubsub.signing and pubsub.author"}
	case o.scored && !c.Score.Enabled:
		return nil, &OptionError{Path: "score", Problem: "the node has pubsub.score.enabled off"}
	case !c.Score.Enabled:
		return nil, nil
	case o.Score == TopicScoreOptions{}: // nothing was said
		o.Score = defaultTopicScore()
	}
	return o.Score.params(&c.Score, "score")
}

// upstreamOptions returns what upstream is told at joining.
func (t *Topic) upstreamOptions(o TopicOptions) (options []pubsub.TopicOpt) {
	p := t.p
	if o.FanoutOnly {
		options = append(options, pubsub.FanoutOnly())
	}
	if id, own := messageIDs[o.MessageID]; own {
		p.ids.Store(t.name, id)
	}
	return options
}

// forget frees what is kept by the topic's name. Info still has the counters. Called with p.mu held.
func (t *Topic) forget() {
	t.p.tracer.topics.Delete(t.name)
	t.p.ids.Delete(t.name)
}

// idMax is how long an id may be. Author and number take less than half of it, but a peer can send a number as long as a message, and ids are
// remembered for long.
const idMax = 128

// idOf returns the id of a message. Upstream could be told of a topic's own ids, too, but it would never forget them.
func (p *publisher) idOf(m *pb.Message) string {
	fn := p.id
	if own, ok := p.ids.Load(m.GetTopic()); ok {
		fn = own.(pubsub.MsgIdFunction)
	}
	id := fn(m)
	if len(id) > idMax {
		sum := sha256.Sum256([]byte(id))
		return string(sum[:])
	}
	return id
}

func (t *Topic) joinError(err error) error {
	return translate(t.ctx, err, ErrInternal, "topic %s", quoteShort(t.name))
}

func (t *Topic) watchPeers(handler *pubsub.TopicEventHandler) {
	for {
		e, err := handler.NextPeerEvent(t.ctx) // ended by Close, and by the node
		if err != nil {
			return
		}
		event := TopicEvent{Type: TopicJoined, Peer: e.Peer}
		t.mu.Lock()
		if e.Type == pubsub.PeerJoin {
			t.present[e.Peer] = struct{}{}
			close(t.changed)
			t.changed = make(chan struct{})
		} else {
			event.Type = TopicLeft
			delete(t.present, e.Peer)
		}
		t.mu.Unlock()
		t.events.put(t.ctx, event, 0)
	}
}

// awaitPeers waits until at least n peers subscribe.
func (t *Topic) awaitPeers(ctx context.Context, n int) error {
	for {
		t.mu.Lock()
		changed := t.changed
		t.mu.Unlock()
		have, opened := t.p.out.reachable(t.Peers())
		if have >= n {
			return nil
		}
		select {
		case <-changed:
		case <-opened:
		case <-t.ctx.Done():
			return ctxError(t.ctx, "topic %s", quoteShort(t.name))
		case <-ctx.Done():
			return t.waitError(ctx, have, n)
		}
	}
}

// waitError says why a wait for n peers has ended with ctx.
func (t *Topic) waitError(ctx context.Context, have, n int) error {
	err := ctxError(ctx, "topic %s", quoteShort(t.name))
	if errors.Is(err, ErrTimeout) && have < n {
		return Errorf(ErrPeers, "topic %s: %d of %d peers subscribe", quoteShort(t.name), have, n)
	}
	return err
}

// reachable returns how many peers subscribe that something can be sent to.
func (t *Topic) reachable() int {
	n, _ := t.p.out.reachable(t.Peers())
	return n
}

// Peers returns the peers that subscribe, as far as this node knows.
func (t *Topic) Peers() []peer.ID {
	t.mu.Lock()
	defer t.mu.Unlock()
	ids := make([]peer.ID, 0, len(t.present))
	for id := range t.present {
		ids = append(ids, id)
	}
	return ids
}

// Close leaves the topic: its subscriptions end, and what waited to be published fails with ErrClosed.
func (t *Topic) Close() {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		awaitClose(t.done)
		return
	}
	t.closed = true
	t.mu.Unlock()
	t.unhook()
	t.cancel(Errorf(ErrClosed, "topic %s was left", quoteShort(t.name)))
	t.subscribing.Lock() // one that is being made is seen below
	t.mu.Lock()
	subs := make([]*Subscription, 0, len(t.subs))
	for s := range t.subs {
		subs = append(subs, s)
	}
	t.mu.Unlock()
	t.subscribing.Unlock()
	for _, s := range subs {
		s.Close()
	}
	t.watch.Wait()
	t.outbox.wait()
	t.p.mu.Lock()
	t.rules.unregister()
	if t.unrelay != nil {
		t.unrelay()
	}
	t.t.Close()
	t.forget()
	delete(t.p.topics, t.name)
	t.p.mu.Unlock()
	t.events.close(nil)
	close(t.done)
}

// TopicInfo is what Info returns; docs/info.md explains the keys.
type TopicInfo struct {
	Kind           string           `json:"kind"`
	Topic          string           `json:"topic"`
	Peers          int              `json:"peers"`
	Mesh           []string         `json:"mesh"`
	Subscriptions  int              `json:"subscriptions"`
	Published      int64            `json:"published"`
	Delivered      int64            `json:"delivered"`
	Duplicates     int64            `json:"duplicates"`
	Rejected       map[string]int64 `json:"rejected"`
	Undeliverable  int64            `json:"undeliverable"`
	DroppedRPC     int64            `json:"dropped_rpc"`
	VerdictsLate   int64            `json:"verdicts_late"`
	PublishWaiting int              `json:"publish_waiting"`
}

// Info returns a TopicInfo.
func (t *Topic) Info() any {
	c := t.counters
	t.mu.Lock()
	peers, subs := len(t.present), len(t.subs)
	t.mu.Unlock()
	return TopicInfo{"topic", t.name, peers, t.p.tracer.meshOf(t.name), subs, c.published.Load(), c.delivered.Load(), c.duplicates.Load(), c.rejections(),
		c.undeliverable.Load(), c.droppedRPC.Load(), t.rules.late.Load(), t.outbox.waiting()}
}
