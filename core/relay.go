package core

import (
	"context"
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// relays are the reservations of a node.
type relays struct {
	node    *Node
	service *relayService // nil: off
	changed chan struct{} // capacity 1: for the search

	mu    sync.Mutex
	held  map[*Reservation]struct{} // guarded by mu; also those that were lost for now
	rests map[peer.ID]relayRest     // guarded by mu; relays that failed when the node asked by itself

	retiring sync.Map // peers whose relayed connections are about to be closed
}

func newRelays(n *Node) *relays {
	r := &relays{node: n, changed: make(chan struct{}, 1), held: map[*Reservation]struct{}{}, rests: map[peer.ID]relayRest{}}
	n.advertised.addSource(r.addresses)
	return r
}

// addresses returns the relayed addresses of the node, without its id.
func (r *relays) addresses() []ma.Multiaddr {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []ma.Multiaddr
	for reservation := range r.held {
		list = append(list, reservation.relayed()...)
	}
	return ma.Unique(list)
}

// update tells everybody that the relayed addresses may have changed.
func (r *relays) update() {
	var found []ma.Multiaddr
	r.mu.Lock()
	for reservation := range r.held {
		if reservation.found {
			found = append(found, reservation.relayed()...)
		}
	}
	r.mu.Unlock()
	r.node.refreshAddresses(ma.Unique(found))
	r.node.nat.reach.wake()
	wake(r.changed)
}

// connected and disconnected wake the reservations with a relay, and the search for others.
func (r *relays) connected(id peer.ID) {
	for _, reservation := range r.with(id) {
		wake(reservation.poke)
	}
}

func (r *relays) disconnected(id peer.ID) {
	for _, reservation := range r.with(id) {
		reservation.mu.Lock()
		reservation.dropped = true
		reservation.mu.Unlock()
		wake(reservation.poke)
	}
}

// suspect is told of a connection that ended beside another one. The relay may have seen the end of the one before the beginning of the other,
// and have given the place away.
func (r *relays) suspect(id peer.ID) {
	for _, reservation := range r.with(id) {
		reservation.mu.Lock()
		reservation.doubtful = true
		reservation.mu.Unlock()
		wake(reservation.poke)
	}
}

func (r *relays) with(id peer.ID) []*Reservation {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.withLocked(id)
}

func (r *relays) withLocked(id peer.ID) (list []*Reservation) {
	for reservation := range r.held {
		if reservation.relay == id {
			list = append(list, reservation)
		}
	}
	return list
}

// Reserve reserves a place with a relay, connecting to it first if needed, and keeps it until the Reservation is closed. addresses are as for
// Connect. inbox gets what happens to it; the node's events tell the same. It fails as Connect does, or with ErrProtocol if the peer is no
// relay, ErrRefused if its rules or ErrLimit if its limits forbid it, ErrExists if there is one already, ErrState if relays are off here.
func (n *Node) Reserve(ctx context.Context, addresses []string, inbox Inbox[ReservationEvent]) (*Reservation, error) {
	id, parsed, err := parsePeerAddresses(addresses)
	if err != nil {
		return nil, err
	}
	if !n.cfg.Relay.Client.Enabled {
		return nil, Errorf(ErrState, "relay.client.enabled is off")
	}
	if i := slices.IndexFunc(parsed, func(a ma.Multiaddr) bool { return !isDirect(a) }); i >= 0 {
		return nil, Errorf(ErrInvalid, "%s: a relay cannot be reached through another relay", parsed[i])
	}
	return n.reserve(ctx, id, parsed, false, 0, inbox)
}

// reserve makes a reservation and starts its upkeep.
func (n *Node) reserve(ctx context.Context, id peer.ID, given []ma.Multiaddr, found bool, tries int, inbox Inbox[ReservationEvent]) (*Reservation, error) {
	r := &Reservation{node: n, relay: id, given: given, found: found, tries: tries, poke: make(chan struct{}, 1)}
	if err := n.relays.add(ctx, r, false); err != nil {
		return nil, err
	}
	fail := func(err error) (*Reservation, error) {
		n.relays.drop(r)
		return nil, err
	}
	ctx, done := n.join(ctx)
	defer done()
	if err := r.ask(ctx); err != nil {
		return fail(err)
	}
	if err := n.relays.add(ctx, r, true); err != nil {
		return fail(err)
	}
	r.ctx, r.cancel = context.WithCancelCause(n.ctx)
	r.events = newMailbox("reservation events", inbox, DropOldest, 256, 0, nil)
	err := n.onClose(&r.remove, r.Close)
	if err == nil && !n.spawn("reservation", r.keep) {
		r.remove()
		err = Errorf(ErrClosed, "the node is closed")
	}
	if err != nil {
		r.cancel(ErrClosed)
		r.events.close(err)
		return fail(err)
	}
	return r, nil
}

// add takes a reservation in, before it is made and again when it is. Of several calls for the same relay the first to be done wins, so that one
// that was cancelled is in nobody's way, also if its place came a moment after.
func (r *relays) add(ctx context.Context, reservation *Reservation, made bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ctx.Err() != nil {
		return ctxError(ctx, "reserve a place with %s", reservation.relay)
	}
	for other := range r.held {
		if other.counts && other.relay == reservation.relay && other.found == reservation.found {
			return Errorf(ErrExists, "there is a reservation with %s already", reservation.relay)
		}
	}
	r.held[reservation] = struct{}{}
	reservation.counts = made
	return nil
}

// protect keeps the relay of a reservation connected, unless that was dropped meanwhile: nothing would end it then.
func (r *relays) protect(reservation *Reservation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.held[reservation]; ok {
		r.node.host.ConnManager().Protect(reservation.relay, "reservation")
	}
}

func (r *relays) drop(reservation *Reservation) {
	reservation.mu.Lock()
	held := reservation.held
	reservation.held, reservation.addresses = false, nil
	reservation.mu.Unlock()
	r.mu.Lock()
	delete(r.held, reservation)
	others := false
	for other := range r.held {
		others = others || other.relay == reservation.relay
	}
	if !others {
		r.node.host.ConnManager().Unprotect(reservation.relay, "reservation")
	}
	r.mu.Unlock()
	if held {
		r.update()
	} else {
		wake(r.changed)
	}
}
