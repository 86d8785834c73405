package core

import (
	"context"
	"sync/atomic"
)

// Published is what became of one message of several.
type Published struct {
	Peers int
	Err   error
}

// letterBatch collects what becomes of messages that were handed over together.
type letterBatch struct {
	results []Published
	left    atomic.Int64
	done    func([]Published)
}

func (b *letterBatch) tell(i, peers int, err error) {
	b.results[i] = Published{peers, err}
	if b.left.Add(-1) == 0 {
		guarded("published", func() { b.done(b.results) })
	}
}

// PublishBatch publishes messages in their order and returns what became of each, once all are out. It fails as a whole with ErrClosed, or ErrLimit
// when more than 64 MiB would wait. messages are kept.
func (t *Topic) PublishBatch(ctx context.Context, messages [][]byte, minPeers int) ([]Published, error) {
	c := make(chan []Published, 1)
	if err := t.EnqueueBatch(ctx, messages, minPeers, func(results []Published) { c <- results }); err != nil {
		return nil, err
	}
	return <-c, nil
}

// EnqueueBatch is PublishBatch in the background; done is called once.
func (t *Topic) EnqueueBatch(ctx context.Context, messages [][]byte, minPeers int, done func([]Published)) error {
	b := &letterBatch{results: make([]Published, len(messages)), done: done}
	b.left.Store(int64(len(messages)) + 1) // one for this function, so that done comes after all are added
	letters := make([]letterOut, len(messages))
	size := 0
	for i, data := range messages {
		letters[i] = letterOut{ctx: ctx, data: data, minPeers: minPeers, batch: b, index: i}
		if b.results[i].Err = t.checkSize(data); b.results[i].Err == nil {
			size += len(data)
		}
	}
	o := &t.outbox
	o.mu.Lock()
	if err := o.roomLocked(size); err != nil {
		o.mu.Unlock()
		return err
	}
	refused := int64(0)
	for i := range letters {
		if b.results[i].Err != nil {
			refused++
			continue
		}
		o.addLocked(&letters[i])
	}
	o.mu.Unlock()
	if b.left.Add(-refused-1) == 0 {
		guarded("published", func() { b.done(b.results) })
	}
	return nil
}
