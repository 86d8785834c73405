package core

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
)

const (
	// outboxMax bounds what waits to be published on a topic, in bytes.
	outboxMax = 64 << 20
	// publishBatch is up to how many waiting messages go out together. It also bounds how many a peer gets in one packet, and so what a peer
	// that holds us back is still handed.
	publishBatch = 64
	// holdGrace is how much later than its time a message may end that waits behind another.
	holdGrace = 10 * time.Millisecond
)

// letterOut is one message on its way out.
type letterOut struct {
	ctx      context.Context
	data     []byte
	minPeers int
	done     func(peers int, err error)
	batch    *letterBatch // instead of done, for one of many
	index    int          // in the batch
	unhook   func() bool  // nil, or takes back that the end of ctx takes the letter out of the outbox
}

// outbox publishes a topic's messages in their order, on a goroutine that lives while there are any.
type outbox struct {
	t *Topic

	mu      sync.Mutex
	letters []*letterOut // guarded by mu
	bytes   int          // guarded by mu
	held    bool         // guarded by mu; what goes first waits, and so do all letters behind it
	running bool         // guarded by mu
	worker  uint64       // guarded by mu; the goroutine that publishes
	idle    *sync.Cond   // on mu: not running
}

func (o *outbox) init(t *Topic) {
	o.t = t
	o.idle = sync.NewCond(&o.mu)
}

func (o *outbox) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.letters)
}

// wait waits until nothing is published any more; not when it is the publishing goroutine that asks.
func (o *outbox) wait() {
	id := goroutineID()
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.running && o.worker != id {
		o.idle.Wait()
	}
}

// Publish sends data to the topic and returns to how many peers it went; with minPeers, first waits until so many subscribe, ErrPeers when time is
// up. data is kept. It fails with a *SizeError, ErrRejected when a rule of the topic refuses it, or ErrClosed.
func (t *Topic) Publish(ctx context.Context, data []byte, minPeers int) (peers int, err error) {
	type result struct {
		peers int
		err   error
	}
	c := make(chan result, 1)
	if err := t.Enqueue(ctx, data, minPeers, func(peers int, err error) { c <- result{peers, err} }); err != nil {
		return 0, err
	}
	r := <-c
	return r.peers, r.err
}

// Enqueue publishes in the background, in the order of the calls, and calls done once. It fails with ErrLimit when 64 MiB wait.
func (t *Topic) Enqueue(ctx context.Context, data []byte, minPeers int, done func(peers int, err error)) error {
	if err := t.checkSize(data); err != nil {
		return err
	}
	o := &t.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.roomLocked(len(data)); err != nil {
		return err
	}
	o.addLocked(&letterOut{ctx: ctx, data: data, minPeers: minPeers, done: done})
	return nil
}

// checkSize tells whether a message is larger than the network or the topic allows.
func (t *Topic) checkSize(data []byte) error {
	if len(data) > t.maxData {
		return &SizeError{What: "message", Size: int64(len(data)), Max: int64(t.maxData)}
	}
	if max := t.rules.maxSize; max > 0 && len(data) > max {
		return Errorf(ErrRejected, "topic %s: a message of %d bytes exceeds the topic's max_size of %d", quoteShort(t.name), len(data), max)
	}
	return nil
}

// roomLocked tells whether so many bytes may wait besides those that do.
func (o *outbox) roomLocked(size int) error {
	t := o.t
	if t.ctx.Err() != nil {
		return ctxError(t.ctx, "topic %s", quoteShort(t.name))
	}
	if o.bytes+size > outboxMax {
		return Errorf(ErrLimit, "topic %s: %d messages with %d bytes wait to be published, no more than %d may", quoteShort(t.name), len(o.letters), o.bytes, outboxMax)
	}
	return nil
}

func (o *outbox) addLocked(l *letterOut) {
	if len(l.data) == 0 {
		l.data = make([]byte, 0, 1) // an address of its own: see packets
	}
	o.letters = append(o.letters, l)
	o.bytes += len(l.data)
	if o.held {
		o.hook(l)
	}
	if !o.running {
		o.running = true
		safeGo("publish", o.run)
	}
}

// hold has each of the letters that wait, and that come, end with its context, until the returned function is called. Not at once: most of what
// holds them up ends quickly, and then it would cost more than the rest.
func (o *outbox) hold() (end func()) {
	over := false // guarded by o.mu
	timer := time.AfterFunc(holdGrace, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if over {
			return
		}
		o.held = true
		for _, l := range o.letters {
			o.hook(l)
		}
	})
	return func() {
		timer.Stop()
		o.mu.Lock()
		defer o.mu.Unlock()
		over, o.held = true, false
	}
}

// hook takes l out of the outbox when its context ends; for as long as the letters are held up. Called with mu held.
func (o *outbox) hook(l *letterOut) {
	if l.unhook == nil && l.ctx.Done() != nil {
		l.unhook = context.AfterFunc(l.ctx, func() {
			o.mu.Lock()
			i := slices.Index(o.letters, l)
			if i >= 0 {
				o.letters = slices.Delete(o.letters, i, i+1)
				o.bytes -= len(l.data)
			}
			o.mu.Unlock()
			if i >= 0 {
				o.tell(l, 0, o.t.waitError(l.ctx, o.t.reachable(), l.minPeers))
			}
		})
	}
}

func (o *outbox) tell(l *letterOut, peers int, err error) {
	if l.unhook != nil {
		l.unhook()
	}
	if l.batch != nil {
		l.batch.tell(l.index, peers, err)
		return
	}
	guarded("published", func() { l.done(peers, err) })
}

// run publishes until nothing waits.
func (o *outbox) run() {
	o.mu.Lock()
	o.worker = goroutineID()
	o.mu.Unlock()
	for {
		batch, held := o.next()
		switch {
		case batch == nil:
			return
		case held:
			o.release(batch[0])
		case !guarded("publish", func() { o.t.publish(batch) }):
			return // a bug: logged, and its callers are lost
		}
	}
}

// next takes the letters that can go out together. held: only one, and its peers have to come first, or to have room.
func (o *outbox) next() (batch []*letterOut, held bool) {
	have := o.t.reachable()
	crowd, _ := o.t.p.out.crowd(o.t.Peers)
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for crowd == nil && n < min(len(o.letters), publishBatch) && o.letters[n].minPeers <= have {
		n++
	}
	switch {
	case len(o.letters) == 0:
		o.running, o.letters, o.worker = false, nil, 0
		o.idle.Broadcast()
		return nil, false
	case n == 0:
		n, held = 1, true
	}
	batch = o.letters[:n:n]
	o.letters = o.letters[n:]
	for _, l := range batch {
		o.bytes -= len(l.data)
	}
	return batch, held
}

// release waits for the peers of l, and for their room, and publishes it.
func (o *outbox) release(l *letterOut) {
	end := o.hold()
	err := o.t.awaitPeers(l.ctx, l.minPeers)
	if err == nil && o.awaitRoom([]*letterOut{l}) {
		if err = o.t.closedError(); err == nil {
			err = ctxError(l.ctx, "topic %s, which slow peers hold back", quoteShort(o.t.name))
		}
	}
	end()
	if err != nil {
		o.tell(l, 0, err)
		return
	}
	guarded("publish", func() { o.t.publish([]*letterOut{l}) })
}

// awaitRoom waits until the topic's peers have room. late: the topic was left, or time is up for one of the letters.
func (o *outbox) awaitRoom(letters []*letterOut) (late bool) {
	ctx, cancel := context.WithCancel(o.t.ctx)
	defer cancel()
	for _, l := range letters {
		defer context.AfterFunc(l.ctx, cancel)()
	}
	o.t.p.out.await(ctx, o.t.Peers)
	return ctx.Err() != nil
}

// publish signs and checks each letter, sends those that pass in one step of the pubsub loop, and tells each how many peers it went to.
func (t *Topic) publish(letters []*letterOut) {
	batch, out := &pubsub.MessageBatch{}, newPackets(t.p)
	var ready []*letterOut
	flush := func() {
		if len(ready) == 0 {
			return
		}
		sent := t.p.send(t, ready, batch, out)
		for _, l := range ready {
			if !sent {
				t.p.tracer.traces.published(t.name, l.data, "", 0, ErrClosed)
				t.outbox.tell(l, 0, t.closedError())
				continue
			}
			t.counters.published.Add(1)
			peers := out.count(l.data)
			t.p.tracer.traces.published(t.name, l.data, t.p.author, peers, nil)
			t.outbox.tell(l, peers, nil)
		}
		batch, out, ready = &pubsub.MessageBatch{}, newPackets(t.p), nil
	}
	for _, l := range letters {
		if out.has(l.data) {
			flush()
		}
		err := t.closedError()
		if err == nil && l.ctx.Err() != nil {
			err = ctxError(l.ctx, "topic %s", quoteShort(t.name))
		}
		if err == nil {
			t.p.tracer.traces.expect(l.data)
			if err = t.t.AddToBatch(l.ctx, batch, l.data); err != nil {
				err = t.publishError(l.ctx, err)
			}
		}
		if err != nil {
			flush() // the results come in the order of the calls
			t.p.tracer.traces.published(t.name, l.data, "", 0, err)
			t.outbox.tell(l, 0, err)
			continue
		}
		out.expect(l.data)
		ready = append(ready, l)
	}
	flush()
}

// closedError tells that the topic was left, if so.
func (t *Topic) closedError() error {
	if t.ctx.Err() == nil {
		return nil
	}
	return ctxError(t.ctx, "topic %s", quoteShort(t.name))
}

func (t *Topic) publishError(ctx context.Context, err error) error {
	var refused pubsub.ValidationError
	switch {
	case errors.As(err, &refused):
		return Errorf(ErrRejected, "topic %s: %s", quoteShort(t.name), refused.Reason)
	case errors.Is(err, pubsub.ErrTopicClosed), t.ctx.Err() != nil:
		return Errorf(ErrClosed, "topic %s was left", quoteShort(t.name))
	}
	return translate(ctx, err, ErrInternal, "topic %s", quoteShort(t.name))
}

// send hands a batch to the pubsub loop and waits until it is out; false: the topic was left, or the node closed. One at a time: upstream's
// channel holds one batch, and after the end of the loop a second one would wait for ever.
func (p *publisher) send(t *Topic, letters []*letterOut, batch *pubsub.MessageBatch, out *packets) bool {
	for late := false; ; {
		select {
		case p.turn <- struct{}{}:
		case <-t.ctx.Done():
			return false
		}
		if relief, _ := p.out.crowd(t.Peers); relief == nil || late {
			break
		}
		<-p.turn
		end := t.outbox.hold() // another topic took the room. When time is up for a letter all go out: whoever has no room loses them, and that is counted
		late = t.outbox.awaitRoom(letters)
		end()
	}
	defer func() { <-p.turn }()
	if t.ctx.Err() != nil {
		return false
	}
	p.ps.PublishBatch(batch, func(o *pubsub.BatchPublishOptions) error {
		o.Strategy = out
		return nil
	})
	select {
	case <-out.done:
		return true
	case <-p.node.ctx.Done():
		return false
	}
}
