package main

// #include "bridge.h"
import "C"

import (
	"context"
	"encoding/hex"

	"github.com/libp2pgo/libp2pgo/core"
)

// A subscription keeps at most this many messages and bytes in its queue; the rest of its capacity waits on the Go side, where its overflow
// policy works.
const (
	windowMessages = 256
	windowBytes    = 1 << 20
)

//export go_topic_join
func go_topic_join(id C.p2p_handle, name, options *C.char, queue C.p2p_handle, tag C.uint64_t, out *C.p2p_handle) (rc C.int) {
	defer trap(&rc)
	node, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	o, err := core.ParseTopicOptions([]byte(text(options)))
	if err != nil {
		return fail(err)
	}
	if o.Validate && queue == 0 {
		return failed(core.ErrInvalid, "queue: 0, but validate needs one")
	}
	h, src, code := newHandleSource(kindTopic, node, queue, tag, windowMessages, windowBytes)
	if code < 0 {
		return code
	}
	t, err := n.Join(text(name), o, inboxOf(src, func(e core.TopicEvent) { deliverTopicEvent(h, src, e) }))
	return openSource(h, src, out, t, err)
}

func deliverTopicEvent(topic *handle, src *source, e core.TopicEvent) {
	switch e.Type {
	case core.TopicJoined:
		src.deliver(C.p2p_event{_type: C.P2P_EVENT_TOPIC_JOINED}, peerText(e.Peer), nil)
	case core.TopicLeft:
		src.deliver(C.p2p_event{_type: C.P2P_EVENT_TOPIC_LEFT}, peerText(e.Peer), nil)
	case core.TopicValidate:
		token := openToken(topic, e.Verdict)
		if token == nil {
			return
		}
		r := messageEvent(C.P2P_EVENT_VALIDATE, e.Message)
		r.object = C.uint64_t(token.id)
		src.deliver(r, messageText(e.Message), e.Message.Data)
	}
}

// openToken makes the handle under which the program answers; nil if the one whom it concerns is closing.
func openToken(parent *handle, v *core.Verdict) *handle {
	token := newHandle(kindToken, parent)
	if err := token.open(v, nil); err != nil {
		return nil
	}
	core.Go("verdict", func() { // the token ends with its answer, its time or its parent
		select {
		case <-v.Expired:
		case <-token.ctx.Done():
		}
		token.close()
	})
	return token
}

func messageEvent(eventType C.int32_t, m *core.Message) C.p2p_event {
	e := C.p2p_event{_type: eventType, value: C.int64_t(m.Seq)}
	if m.Signed {
		e.flags |= C.P2P_FLAG_SIGNED
	}
	if m.Local {
		e.flags |= C.P2P_FLAG_LOCAL
	}
	return e
}

// messageText is the text of a message's event.
func messageText(m *core.Message) string {
	author, from := peerText(m.Author), peerText(m.From)
	b := make([]byte, 0, len(author)+len(from)+2*len(m.ID)+len(m.Topic)+3)
	b = append(append(b, author...), '\n')
	b = append(append(b, from...), '\n')
	b = append(hex.AppendEncode(b, m.ID), '\n')
	return string(append(b, m.Topic...))
}

//export go_topic_publish
func go_topic_publish(id C.p2p_handle, data *C.uint8_t, n C.size_t, minPeers C.int32_t, wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	h, t, code := find[*core.Topic](id, kindTopic)
	if code < 0 {
		return code
	}
	message := copied(data, n) // pubsub keeps it
	if wait.queue == 0 {
		return run(h, wait, func(ctx context.Context) (outcome, error) {
			peers, err := t.Publish(ctx, message, int(minPeers))
			return outcome{value: int64(peers)}, err
		}, func(o *outcome) C.int { return C.int(o.value) })
	}
	out, code := acquire(wait.queue)
	if code < 0 {
		return code
	}
	if !h.addPending() {
		out.release()
		return C.front_kind(id, C.int(kindTopic))
	}
	ctx, done := h.context(wait)
	tag := wait.tag
	ended := func() {
		done()
		out.release()
		h.donePending()
	}
	err := t.Enqueue(ctx, message, int(minPeers), func(peers int, err error) {
		done() // first: what has completed cannot be cancelled
		complete(out, h.id, tag, ctx, &outcome{value: int64(peers)}, err)
		ended()
	})
	if err != nil {
		ended()
		return fail(err)
	}
	return C.P2P_PENDING
}

//export go_topic_subscribe
func go_topic_subscribe(id C.p2p_handle, options *C.char, queue C.p2p_handle, tag C.uint64_t, out *C.p2p_handle) (rc C.int) {
	defer trap(&rc)
	topic, t, code := find[*core.Topic](id, kindTopic)
	if code < 0 {
		return code
	}
	o, err := core.ParseSubscribeOptions([]byte(text(options)))
	if err != nil {
		return fail(err)
	}
	if queue == 0 {
		return failed(core.ErrInvalid, "queue: 0, but a subscription needs one")
	}
	// The window in the queue is a part of the capacity, so that no more than capacity messages wait in all.
	window := max(min(windowMessages, o.Capacity/2), 1)
	o.Capacity = max(o.Capacity-window, 1)
	h, src, code := newHandleSource(kindSubscription, topic, queue, tag, window, windowBytes)
	if code < 0 {
		return code
	}
	s, err := t.Subscribe(o, inboxOf(src, func(m *core.Message) {
		src.deliver(messageEvent(C.P2P_EVENT_MESSAGE, m), messageText(m), m.Data)
	}))
	return openSource(h, src, out, s, err)
}

//export go_topic_peers
func go_topic_peers(id C.p2p_handle, out **C.char) (rc C.int) {
	defer trap(&rc)
	_, t, code := find[*core.Topic](id, kindTopic)
	if code < 0 {
		return code
	}
	return putText(out, peerLines(t.Peers()))
}

//export go_answer
func go_answer(id C.p2p_handle, verdict C.int) (rc C.int) {
	defer trap(&rc)
	h, v, code := find[*core.Verdict](id, kindToken)
	if code < 0 {
		return code
	}
	if err := v.Answer(map[C.int]core.Decision{
		C.P2P_VERDICT_ACCEPT: core.Accept, C.P2P_VERDICT_REJECT: core.Reject, C.P2P_VERDICT_IGNORE: core.Ignore}[verdict]); err != nil {
		return C.front_kind(h.id, C.int(kindToken))
	}
	h.close()
	return 0
}
