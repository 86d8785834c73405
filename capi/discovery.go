package main

// #include "bridge.h"
import "C"

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/libp2pgo/libp2pgo/core"
)

// Of the events of discovery at most this many lie in their queue; the rest waits on the Go side.
const windowDiscovery = 256

// discover opens the handle of something that runs until it is closed and tells of it in core's terms.
func discover[T closer](id C.p2p_handle, k kind, queue C.p2p_handle, tag C.uint64_t, out *C.p2p_handle,
	start func(*core.Node, core.Inbox[core.DiscoveryEvent]) (T, error)) C.int {
	node, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	h, src, code := newHandleSource(k, node, queue, tag, windowDiscovery, 0)
	if code < 0 {
		return code
	}
	object, err := start(n, discoveryInbox(src))
	return openSource(h, src, out, object, err)
}

func discoveryInbox(src *source) core.Inbox[core.DiscoveryEvent] {
	return inboxOf(src, func(e core.DiscoveryEvent) { deliverDiscoveryEvent(src, e) })
}

var discoveryEventTypes = map[core.DiscoveryEventType]C.int32_t{
	core.DiscoveryFound:       C.P2P_EVENT_DISCOVERY_FOUND,
	core.DiscoveryAdvertised:  C.P2P_EVENT_DISCOVERY_ADVERTISED,
	core.DiscoveryFailed:      C.P2P_EVENT_DISCOVERY_FAILED,
	core.DiscoveryConnected:   C.P2P_EVENT_DISCOVERY_CONNECTED,
	core.DiscoveryLeft:        C.P2P_EVENT_DISCOVERY_LEFT,
	core.DiscoveryUnreachable: C.P2P_EVENT_DISCOVERY_UNREACHABLE,
}

func deliverDiscoveryEvent(src *source, e core.DiscoveryEvent) {
	r := C.p2p_event{_type: discoveryEventTypes[e.Type], flags: flags(e.Inbound, e.Relayed, e.Limited)}
	var words string
	switch e.Type {
	case core.DiscoveryFound:
		words = strings.Join(append([]string{peerText(e.Peer), e.Source}, e.Addresses...), "\n")
	case core.DiscoveryAdvertised:
		words, r.value = e.Source, C.int64_t(e.NextMs)
	case core.DiscoveryConnected:
		words = peerText(e.Peer) + "\n" + e.Source + "\n" + e.Address
	case core.DiscoveryLeft:
		words = peerText(e.Peer)
	case core.DiscoveryFailed, core.DiscoveryUnreachable:
		f := failureOf(nil, e.Err)
		r.status, r.value, r.object = C.int32_t(f.code), C.int64_t(f.detail), C.uint64_t(max(e.NextMs, 0))
		words = f.words
	}
	src.deliver(r, words, nil)
}

//export go_discovery_join
func go_discovery_join(id C.p2p_handle, name, options *C.char, queue C.p2p_handle, tag C.uint64_t, out *C.p2p_handle) (rc C.int) {
	defer trap(&rc)
	return discover(id, kindDiscovery, queue, tag, out, func(n *core.Node, inbox core.Inbox[core.DiscoveryEvent]) (*core.Meeting, error) {
		o, err := core.ParseMeetOptions([]byte(text(options)))
		if err != nil {
			return nil, err
		}
		return n.Meet(text(name), o, inbox)
	})
}

//export go_discovery_peers
func go_discovery_peers(id C.p2p_handle, out **C.char) (rc C.int) {
	defer trap(&rc)
	_, m, code := find[*core.Meeting](id, kindDiscovery)
	if code < 0 {
		return code
	}
	return putText(out, peerLines(m.Peers()))
}

//export go_discovery_advertise
func go_discovery_advertise(id C.p2p_handle, name, options *C.char, queue C.p2p_handle, tag C.uint64_t, out *C.p2p_handle) (rc C.int) {
	defer trap(&rc)
	return discover(id, kindDiscovery, queue, tag, out, func(n *core.Node, inbox core.Inbox[core.DiscoveryEvent]) (*core.Advertisement, error) {
		o, err := core.ParseAdvertiseOptions([]byte(text(options)))
		if err != nil {
			return nil, err
		}
		return n.Advertise(text(name), o, inbox)
	})
}

//export go_discovery_find
func go_discovery_find(id C.p2p_handle, name, options *C.char, queue C.p2p_handle, tag C.uint64_t, out *C.p2p_handle) (rc C.int) {
	defer trap(&rc)
	if queue == 0 {
		return failed(core.ErrInvalid, "queue: 0, but a search needs one")
	}
	return discover(id, kindSearch, queue, tag, out, func(n *core.Node, inbox core.Inbox[core.DiscoveryEvent]) (*core.PeerSearch, error) {
		o, err := core.ParseFindOptions([]byte(text(options)))
		if err != nil {
			return nil, err
		}
		return n.Find(text(name), o, inbox)
	})
}

//export go_rendezvous_register
func go_rendezvous_register(id C.p2p_handle, point, name, options *C.char, queue C.p2p_handle, tag C.uint64_t, out *C.p2p_handle, wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	node, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	o, err := core.ParseRegisterOptions([]byte(text(options)))
	if err != nil {
		return fail(err)
	}
	h, src, code := newHandleSource(kindDiscovery, node, queue, tag, windowDiscovery, 0)
	if code < 0 {
		return code
	}
	addresses, of, completes := lines(point), text(name), wait.queue != 0
	code = run(node, wait, func(ctx context.Context) (outcome, error) {
		a, err := n.Register(ctx, addresses, of, o, discoveryInbox(src))
		if err == nil {
			err = src.open(h, a)
		}
		if err != nil {
			h.cancel(err)
			src.free()
			return outcome{}, err
		}
		result := outcome{object: h, value: a.GrantedMs()}
		if completes {
			result.then = src.begin
		}
		return result, nil
	}, func(o *outcome) C.int {
		*out = h.id
		src.begin()
		return 0
	})
	if code < 0 && completes {
		h.cancel(nil)
		src.free()
	}
	return code
}

//export go_rendezvous_unregister
func go_rendezvous_unregister(id C.p2p_handle, point, name *C.char, wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	node, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	addresses, of := lines(point), text(name)
	return run(node, wait, func(ctx context.Context) (outcome, error) {
		return outcome{}, n.Unregister(ctx, addresses, of)
	}, func(*outcome) C.int { return 0 })
}

//export go_rendezvous_discover
func go_rendezvous_discover(id C.p2p_handle, point, name, options *C.char, out **C.char, wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	node, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	o, err := core.ParseDiscoverOptions([]byte(text(options)))
	if err != nil {
		return fail(err)
	}
	addresses, of := lines(point), text(name)
	return run(node, wait, func(ctx context.Context) (outcome, error) {
		answer, err := n.Discover(ctx, addresses, of, o)
		if err != nil {
			return outcome{}, err
		}
		doc, err := json.Marshal(answer)
		return outcome{text: string(doc)}, err
	}, func(o *outcome) C.int { return putText(out, o.text) })
}
