package main

// #include "bridge.h"
import "C"

import (
	"context"
	"math"
	"strings"

	"github.com/libp2pgo/libp2pgo/core"
)

// processHandle owns the calls that have no other owner: starting a node.
var processHandle = newHandle(kindNode, nil)

//export go_node_new
func go_node_new(configID, queue C.p2p_handle, tag C.uint64_t, out *C.p2p_handle, wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	cfg := core.DefaultConfig()
	if configID != 0 {
		code := withConfig(configID, func(c *core.Config) error {
			cfg = c.Clone()
			return nil
		})
		if code < 0 {
			return code
		}
	}
	h := newHandle(kindNode, nil)
	// The window in the queue is a part of the capacity, so that no more than capacity events wait in all.
	window := max(cfg.Events.Capacity/4, 1)
	cfg.Events.Capacity = max(cfg.Events.Capacity-window, 1)
	src, code := newSource(h, queue, tag, window, 0)
	if code < 0 {
		return code
	}
	completes := wait.queue != 0
	owner := configID
	if owner == 0 {
		owner = wait.queue
	}
	code = runFor(processHandle, owner, wait, func(ctx context.Context) (outcome, error) {
		n, err := core.New(ctx, cfg, nodeInbox(h, src))
		if err == nil {
			measureHandles(h, n)
			err = h.open(n, func() {
				src.stop()
				n.Close()
				src.free()
			})
		}
		if err != nil {
			src.free()
			return outcome{}, err
		}
		if completes {
			return outcome{object: h, then: src.begin}, nil
		}
		return outcome{object: h}, nil
	}, func(o *outcome) C.int {
		*out = h.id
		src.begin()
		return 0
	})
	if code < 0 && completes {
		src.free()
	}
	return code
}

func nodeInbox(node *handle, src *source) core.Inbox[core.Event] {
	return inboxOf(src, func(e core.Event) { deliverNodeEvent(node, src, e) })
}

var nodeEventTypes = map[core.EventType]C.int32_t{
	core.PeerConnected:    C.P2P_EVENT_PEER_CONNECTED,
	core.PeerDisconnected: C.P2P_EVENT_PEER_DISCONNECTED,
	core.PeerPath:         C.P2P_EVENT_PEER_PATH,
	core.PeerFound:        C.P2P_EVENT_PEER_FOUND,
	core.PeerUnreachable:  C.P2P_EVENT_PEER_UNREACHABLE,
	core.AddressesChanged: C.P2P_EVENT_ADDRESSES,
	core.ListenFailed:     C.P2P_EVENT_LISTEN_FAILED,
	core.PeerGraylisted:   C.P2P_EVENT_PEER_GRAYLISTED,
	core.PeerPardoned:     C.P2P_EVENT_PEER_PARDONED,
	core.DHTValidate:      C.P2P_EVENT_DHT_VALIDATE,
	core.DHTModeChanged:   C.P2P_EVENT_DHT_MODE,
}

func deliverNodeEvent(node *handle, src *source, e core.Event) {
	r := C.p2p_event{_type: nodeEventTypes[e.Type], flags: flags(e.Inbound, e.Relayed, e.Limited)}
	var text string
	var data []byte
	switch e.Type {
	case core.PeerConnected, core.PeerPath:
		text = peerText(e.Peer) + "\n" + e.Address
	case core.PeerDisconnected:
		text = peerText(e.Peer)
	case core.PeerGraylisted, core.PeerPardoned:
		text, r.value = peerText(e.Peer), C.int64_t(min(max(math.Round(e.Score), -1<<53), 1<<53))
	case core.PeerFound:
		text = strings.Join(append([]string{peerText(e.Peer), e.Source}, e.Addresses...), "\n")
	case core.AddressesChanged:
		text = strings.Join(e.Addresses, "\n")
	case core.ListenFailed:
		text = e.Address + "\n" + e.Err.Error()
	case core.PeerUnreachable:
		f := failureOf(nil, e.Err)
		r.status, r.value, r.object = C.int32_t(f.code), C.int64_t(f.detail), C.uint64_t(e.RetryMs)
		text = f.words
	default:
		text = natEvent(&r, &e)
	case core.DHTValidate:
		token := openToken(node, e.Verdict)
		if token == nil {
			return
		}
		r.object = C.uint64_t(token.id)
		text, data = e.Key, e.Data
	case core.DHTModeChanged:
		text = strings.Join(append([]string{e.Source}, e.Addresses...), "\n")
	}
	src.deliver(r, text, data)
}

func flags(inbound, relayed, limited bool) (f C.uint32_t) {
	if inbound {
		f |= C.P2P_FLAG_INBOUND
	}
	if relayed {
		f |= C.P2P_FLAG_RELAYED
	}
	if limited {
		f |= C.P2P_FLAG_LIMITED
	}
	return f
}

//export go_node_close
func go_node_close(id C.p2p_handle, wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	if kind(id&15) != kindNode {
		return C.front_kind(id, C.int(kindNode))
	}
	if wait.queue == 0 {
		return go_close(id)
	}
	h, _, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	out, code := acquire(wait.queue)
	if code < 0 {
		return code
	}
	tag := wait.tag
	core.Go("node close", func() {
		defer out.release()
		h.close()
		complete(out, h.id, tag, nil, &outcome{}, nil)
	})
	return C.P2P_PENDING
}

//export go_node_id
func go_node_id(id C.p2p_handle, out **C.char) (rc C.int) {
	defer trap(&rc)
	_, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	return putText(out, n.ID().String())
}

//export go_node_addresses
func go_node_addresses(id C.p2p_handle, out **C.char) (rc C.int) {
	defer trap(&rc)
	_, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	return putText(out, strings.Join(n.Addresses(), "\n"))
}
