package main

// #include "bridge.h"
import "C"

import (
	"context"
	"strings"

	"github.com/libp2pgo/libp2pgo/core"
)

func init() {
	nodeEventTypes[core.ReachabilityChanged] = C.P2P_EVENT_REACHABILITY
	nodeEventTypes[core.AddressReachabilityChanged] = C.P2P_EVENT_ADDRESS_REACHABILITY
	nodeEventTypes[core.NATTypeChanged] = C.P2P_EVENT_NAT_TYPE
	nodeEventTypes[core.HolePunched] = C.P2P_EVENT_HOLE_PUNCH
	nodeEventTypes[core.ReservationChanged] = C.P2P_EVENT_RESERVATION
	nodeEventTypes[core.PortMapped] = C.P2P_EVENT_PORT_MAPPING
}

// natEvent fills in an event of NATs and relays and returns its text.
func natEvent(r *C.p2p_event, e *core.Event) string {
	switch e.Type {
	case core.ReachabilityChanged:
		return e.State + "\n" + e.Source
	case core.AddressReachabilityChanged:
		return e.Address + "\n" + e.State
	case core.NATTypeChanged:
		return e.Source + "\n" + e.State
	case core.HolePunched:
		r.value, r.object = C.int64_t(e.HolePunch.Attempt), C.uint64_t(e.HolePunch.DurationMs)
		if e.State == "failed" || e.State == "gave_up" {
			r.status = C.P2P_E_DIAL
		}
		return strings.Join([]string{peerText(e.Peer), e.HolePunch.Side, e.State, e.HolePunch.Reason}, "\n")
	case core.ReservationChanged:
		return reservationEvent(r, e.Reservation)
	case core.PortMapped:
		return e.Address + "\n" + e.Source
	}
	return ""
}

//export go_nat_info
func go_nat_info(id C.p2p_handle, out **C.char) (rc C.int) {
	defer trap(&rc)
	_, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	return putJSON(out, n.NATInfo())
}

//export go_nat_wait
func go_nat_wait(id C.p2p_handle, what *C.char, out **C.char, wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	h, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	wanted := text(what)
	if err := core.CheckReachableWait(wanted); err != nil {
		return fail(err)
	}
	return run(h, wait, func(ctx context.Context) (outcome, error) {
		state, err := n.WaitReachable(ctx, wanted)
		return outcome{text: state}, err
	}, func(o *outcome) C.int { return putText(out, o.text) })
}
