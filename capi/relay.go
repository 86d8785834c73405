package main

// #include "bridge.h"
import "C"

import (
	"context"
	"strings"

	"github.com/libp2pgo/libp2pgo/core"
)

// reservationEvent fills in an event of a reservation and returns its text.
func reservationEvent(r *C.p2p_event, e *core.ReservationEvent) string {
	r._type = C.P2P_EVENT_RESERVATION
	text := peerText(e.Relay) + "\n" + e.State
	if e.Err != nil {
		f := failureOf(nil, e.Err)
		r.status, r.object = C.int32_t(f.code), C.uint64_t(e.RetryMs)
		return text + "\n" + f.words
	}
	r.value = C.int64_t(e.Expires.UnixMilli())
	for _, a := range e.Addresses {
		text += "\n" + a
	}
	return text
}

func reservationInbox(src *source) core.Inbox[core.ReservationEvent] {
	return inboxOf(src, func(e core.ReservationEvent) {
		var r C.p2p_event
		text := reservationEvent(&r, &e)
		src.deliver(r, text, nil)
	})
}

//export go_relay_reserve
func go_relay_reserve(id C.p2p_handle, addresses *C.char, queue C.p2p_handle, tag C.uint64_t, out *C.p2p_handle, relayedOut **C.char, wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	node, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	list := lines(addresses)
	h, src, code := newHandleSource(kindReservation, node, queue, tag, 64, 0)
	if code < 0 {
		return code
	}
	completes := wait.queue != 0
	code = run(node, wait, func(ctx context.Context) (outcome, error) {
		r, err := n.Reserve(ctx, list, reservationInbox(src))
		if err == nil {
			err = src.open(h, r)
		}
		if err != nil {
			h.cancel(err)
			src.free()
			return outcome{}, err
		}
		o := outcome{object: h, text: strings.Join(r.Addresses(), "\n")}
		if completes {
			o.then = src.begin
		}
		return o, nil
	}, func(o *outcome) C.int {
		if code := putText(relayedOut, o.text); code < 0 {
			h.close()
			return code
		}
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

//export go_relay_info
func go_relay_info(id C.p2p_handle, out **C.char) (rc C.int) {
	defer trap(&rc)
	_, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	return putJSON(out, n.RelayInfo())
}

// relayRule changes what the relay service permits.
func relayRule(id C.p2p_handle, subjects *C.char, change func(*core.Node, []string) error) C.int {
	_, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	if err := change(n, lines(subjects)); err != nil {
		return fail(err)
	}
	return 0
}

//export go_relay_allow
func go_relay_allow(id C.p2p_handle, subjects *C.char) (rc C.int) {
	defer trap(&rc)
	return relayRule(id, subjects, (*core.Node).RelayAllow)
}

//export go_relay_deny
func go_relay_deny(id C.p2p_handle, subjects *C.char) (rc C.int) {
	defer trap(&rc)
	return relayRule(id, subjects, (*core.Node).RelayDeny)
}

//export go_relay_forget
func go_relay_forget(id C.p2p_handle, subjects *C.char) (rc C.int) {
	defer trap(&rc)
	return relayRule(id, subjects, (*core.Node).RelayForget)
}
