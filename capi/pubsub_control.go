package main

// #include "bridge.h"
import "C"

import (
	"context"
	"encoding/binary"
	"strconv"
	"strings"
	"unsafe"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/libp2pgo/libp2pgo/core"
)

//export go_topic_publish_batch
func go_topic_publish_batch(id C.p2p_handle, data *C.uint8_t, n C.size_t, minPeers C.int32_t, results *C.int, wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	h, t, code := find[*core.Topic](id, kindTopic)
	if code < 0 {
		return code
	}
	messages, err := framed(copied(data, n)) // pubsub keeps them
	if err != nil {
		return fail(err)
	}
	if wait.queue == 0 {
		return run(h, wait, func(ctx context.Context) (outcome, error) {
			published, err := t.PublishBatch(ctx, messages, int(minPeers))
			o := publishedOutcome(published)
			if err == nil && results != nil && len(o.data) > 0 {
				copy(unsafe.Slice((*byte)(unsafe.Pointer(results)), len(o.data)), o.data)
			}
			return o, err
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
	err = t.EnqueueBatch(ctx, messages, int(minPeers), func(published []core.Published) {
		done() // first: what has completed cannot be cancelled
		o := publishedOutcome(published)
		complete(out, h.id, tag, ctx, &o, nil)
		ended()
	})
	if err != nil {
		ended()
		return fail(err)
	}
	return C.P2P_PENDING
}

// framed takes messages apart that each follow their length, an unsigned varint.
func framed(data []byte) ([][]byte, error) {
	var messages [][]byte
	for at := 0; at < len(data); {
		length, n := binary.Uvarint(data[at:])
		if n <= 0 || length > uint64(len(data)-at-n) {
			return nil, core.Errorf(core.ErrParse, "data: message %d, at byte %d, is not framed with its length", len(messages), at)
		}
		at += n
		end := at + int(length)
		messages = append(messages, data[at:end:end])
		at = end
	}
	return messages, nil
}

// publishedOutcome makes a completion of what became of each message.
func publishedOutcome(published []core.Published) (o outcome) {
	o.data = make([]byte, 0, 4*len(published))
	var words strings.Builder
	for i, p := range published {
		if p.Err == nil {
			o.value++
			o.data = binary.NativeEndian.AppendUint32(o.data, uint32(p.Peers))
			continue
		}
		f := failureOf(nil, p.Err)
		o.data = binary.NativeEndian.AppendUint32(o.data, uint32(f.code))
		if words.Len() > 0 {
			words.WriteByte('\n')
		}
		words.WriteString(strconv.Itoa(i) + ": " + f.words)
	}
	o.text = words.String()
	return o
}

//export go_topic_score_set
func go_topic_score_set(id C.p2p_handle, options *C.char) (rc C.int) {
	defer trap(&rc)
	_, t, code := find[*core.Topic](id, kindTopic)
	if code < 0 {
		return code
	}
	o, err := core.ParseTopicScoreOptions([]byte(text(options)))
	if err == nil {
		err = t.SetScore(o)
	}
	return result(err)
}

//export go_pubsub_info
func go_pubsub_info(id C.p2p_handle, out **C.char) (rc C.int) {
	defer trap(&rc)
	_, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	info, err := n.PubsubInfo()
	if err != nil {
		return fail(err)
	}
	return putJSON(out, info)
}

// result is what a call without an outcome returns.
func result(err error) C.int {
	if err != nil {
		return fail(err)
	}
	return 0
}

//export go_pubsub_score_set
func go_pubsub_score_set(id C.p2p_handle, peerName *C.char, score C.int64_t) (rc C.int) {
	defer trap(&rc)
	return onPeer(id, peerName, func(n *core.Node, p peer.ID) error { return n.PubsubScore(p, int64(score)) })
}

//export go_pubsub_block
func go_pubsub_block(id C.p2p_handle, peerName *C.char) (rc C.int) {
	defer trap(&rc)
	return onPeer(id, peerName, (*core.Node).PubsubBlock)
}

//export go_pubsub_unblock
func go_pubsub_unblock(id C.p2p_handle, peerName *C.char) (rc C.int) {
	defer trap(&rc)
	return onPeer(id, peerName, (*core.Node).PubsubUnblock)
}

//export go_pubsub_direct_add
func go_pubsub_direct_add(id C.p2p_handle, addresses *C.char) (rc C.int) {
	defer trap(&rc)
	_, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	return result(n.PubsubAddDirect(lines(addresses)))
}

//export go_pubsub_direct_remove
func go_pubsub_direct_remove(id C.p2p_handle, peerName *C.char) (rc C.int) {
	defer trap(&rc)
	return onPeer(id, peerName, (*core.Node).PubsubRemoveDirect)
}

//export go_pubsub_trace
func go_pubsub_trace(id C.p2p_handle, options *C.char, queue C.p2p_handle, tag C.uint64_t, out *C.p2p_handle) (rc C.int) {
	defer trap(&rc)
	node, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	o, err := core.ParseTraceOptions([]byte(text(options)))
	if err != nil {
		return fail(err)
	}
	if queue == 0 && o.File == "" {
		return failed(core.ErrInvalid, "queue: 0, and options name no file")
	}
	h, src, code := newHandleSource(kindService, node, queue, tag, windowMessages, windowBytes)
	if code < 0 {
		return code
	}
	t, err := n.PubsubTrace(o, inboxOf(src, func(e *core.TraceEvent) {
		src.deliver(C.p2p_event{_type: C.P2P_EVENT_PUBSUB_TRACE}, e.Type, e.JSON())
	}))
	return openSource(h, src, out, t, err)
}
