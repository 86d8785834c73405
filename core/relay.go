package core

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	pb "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/pb"
	ma "github.com/multiformats/go-multiaddr"
)

// reserveLimit bounds one attempt at a reservation that nobody waits for.
const reserveLimit = 30 * time.Second

// Reservation is a place with a relay, through which others can reach this node. It renews itself, and asks again when it was lost, until
// Close. Its addresses are among the node's while it is held. Its methods may be called from any goroutine.
type Reservation struct {
	node   *Node
	relay  peer.ID
	given  []ma.Multiaddr // addresses of the relay, may be nil
	found  bool           // by the node itself, while it is not reachable
	tries  int            // failures in a row before it is given up; 0: never
	events *mailbox[ReservationEvent]
	ctx    context.Context // ends with Close, or with the node
	cancel context.CancelCauseFunc
	poke   chan struct{} // capacity 1: the connection to the relay came, or went
	remove func()
	once   sync.Once
	counts bool // guarded by relays.mu: it was made, and stands in the way of another with the same relay

	mu        sync.Mutex
	held      bool                // guarded by mu
	current   *client.Reservation // guarded by mu; the last one, also after it was lost
	addresses []ma.Multiaddr      // guarded by mu; relayed ones of this node, while held
	made      time.Time           // guarded by mu
	renewed   int                 // guarded by mu
	lost      int                 // guarded by mu
	err       error               // guarded by mu; why it is not held
	dropped   bool                // guarded by mu; the connection to the relay ended, maybe to come back at once
	doubtful  bool                // guarded by mu; the relay may have given the place away
}

// ReservationEvent is news of a reservation. State is "made" or "renewed": Addresses, Expires and the relay's limits for each connection
// (0: none); or "lost" or "failed" (an attempt to get it back): Err, and RetryMs until the next attempt, 0 if there is none.
type ReservationEvent struct {
	Relay      peer.ID
	State      string
	Addresses  []string
	Expires    time.Time
	LimitTime  time.Duration
	LimitBytes int64
	Err        error
	RetryMs    int64
}

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

func (r *relays) with(id peer.ID) (list []*Reservation) {
	r.mu.Lock()
	defer r.mu.Unlock()
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
	remove, err := n.onClose(func() { r.Close() })
	if err == nil {
		r.remove = remove
		if !n.spawn("reservation", r.keep) {
			remove()
			err = Errorf(ErrClosed, "the node is closed")
		}
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
	r.mu.Unlock()
	if !others {
		r.node.host.ConnManager().Unprotect(reservation.relay, "reservation")
	}
	if held {
		r.update()
	} else {
		wake(r.changed)
	}
}

// Relay returns the relay's id.
func (r *Reservation) Relay() peer.ID { return r.relay }

// Addresses returns the relayed addresses of this node, each with /p2p/<peer id> at its end; none while the place is lost.
func (r *Reservation) Addresses() []string { return r.node.withID(r.relayed()) }

func (r *Reservation) relayed() []ma.Multiaddr {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.addresses
}

// Close gives the place up: it is not renewed, and its addresses are the node's no more. The relay, which cannot be told, holds it until it
// expires. Connections through it stay.
func (r *Reservation) Close() error { return r.end(nil) }

func (r *Reservation) end(err error) error {
	r.once.Do(func() {
		r.remove()
		r.cancel(Errorf(ErrClosed, "the reservation is closed"))
		r.node.relays.drop(r)
		r.events.close(err)
	})
	return nil
}

// keep is the life of a reservation: it is renewed after three quarters of its time, and asked for again after a loss.
func (r *Reservation) keep() {
	c := &r.node.cfg.Relay.Client
	first, longest := time.Duration(c.RetryMinMs)*time.Millisecond, time.Duration(c.RetryMaxMs)*time.Millisecond
	r.tell("made", nil, 0)
	pause, failures := first, 0
	next := r.renewal()
	for {
		timer := time.NewTimer(next)
		poked := false
		select {
		case <-timer.C:
		case <-r.poke:
			poked = true
		case <-r.ctx.Done():
		}
		timer.Stop()
		if r.ctx.Err() != nil {
			return
		}
		held, dropped, doubtful := r.state()
		connected := r.node.hasDirect(r.relay)
		switch {
		case held && (dropped || !connected): // the relay gives the place away as soon as the connection ends
			if next = 0; !connected {
				next = jitter(first)
			}
			r.lose(Errorf(ErrDial, "the connection to the relay %s ended", r.relay), next)
			continue
		case poked && held && !doubtful:
			next = r.renewal()
			continue
		case poked && !held && !connected:
			continue // the time for the next attempt starts again; it is short, or the relay is gone for long
		}
		ctx, done := context.WithTimeout(r.ctx, reserveLimit)
		err := r.ask(ctx)
		done()
		switch {
		case r.ctx.Err() != nil:
			return
		case err == nil && held:
			pause, failures = first, 0
			r.tell("renewed", nil, 0)
			next = r.renewal()
			continue
		case err == nil:
			pause, failures = first, 0
			r.tell("made", nil, 0)
			next = r.renewal()
			continue
		}
		failures++
		next = jitter(pause)
		if left := r.left(); held && left > next && Kind(err) != ErrRefused && Kind(err) != ErrLimit {
			pause = min(2*pause, longest)
			r.tell("failed", err, next)
			continue
		}
		if r.tries > 0 && failures >= r.tries {
			next = 0
		}
		if held {
			r.lose(err, next)
		} else {
			r.tell("failed", err, next)
		}
		if next == 0 {
			r.node.spawn("end a reservation", func() { r.end(err) })
			return
		}
		pause = min(2*pause, longest)
	}
}

// jitter spreads the attempts of many nodes whose relay came back.
func jitter(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2+1) }

func (r *Reservation) state() (held, dropped, doubtful bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	dropped, doubtful = r.dropped, r.doubtful
	r.dropped, r.doubtful = false, false
	return r.held, dropped, doubtful
}

func (r *Reservation) left() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Until(r.current.Expiration)
}

// renewal is how long to wait before the place is renewed.
func (r *Reservation) renewal() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	whole := r.current.Expiration.Sub(r.made)
	return max(time.Until(r.made.Add(whole*3/4)), 250*time.Millisecond)
}

// lose marks the place as lost and says so.
func (r *Reservation) lose(err error, retry time.Duration) {
	r.mu.Lock()
	r.held, r.addresses, r.err = false, nil, err
	r.lost++
	r.mu.Unlock()
	r.node.relays.update()
	r.tell("lost", err, retry)
}

// tell reports to whoever made the reservation, and to the node's events.
func (r *Reservation) tell(state string, err error, retry time.Duration) {
	e := ReservationEvent{Relay: r.relay, State: state, Err: err, RetryMs: retry.Milliseconds()}
	r.mu.Lock()
	if err == nil {
		e.Expires, e.LimitTime, e.LimitBytes = r.current.Expiration, r.current.LimitDuration, int64(min(r.current.LimitData, 1<<62))
	} else {
		r.err = err
	}
	r.mu.Unlock()
	if err == nil {
		e.Addresses = r.Addresses()
	}
	r.events.put(r.ctx, e, 0)
	r.node.emit(Event{Type: ReservationChanged, Peer: r.relay, State: state, Reservation: &e})
}

// ask connects to the relay and asks it for a place.
func (r *Reservation) ask(ctx context.Context) error {
	n := r.node
	var reservation *client.Reservation
	for attempt := 0; reservation == nil; attempt++ {
		if !n.hasDirect(r.relay) {
			if err := n.connect(network.WithForceDirectDial(ctx, "reservation"), r.relay, r.given); err != nil {
				return err
			}
		}
		var err error
		// A connection that was found may just be ending. Then it takes another one.
		if reservation, err = n.askRelay(ctx, r.relay); err != nil && (Kind(err) != ErrDial || attempt > 0) {
			return err
		}
	}
	addresses := n.relayedAddresses(r.relay, reservation.Addrs, r.given)
	r.mu.Lock()
	if r.held {
		r.renewed++
	}
	same := r.held && slices.EqualFunc(r.addresses, addresses, ma.Multiaddr.Equal)
	r.held, r.current, r.addresses, r.made, r.err = true, reservation, addresses, time.Now(), nil
	r.mu.Unlock()
	n.host.ConnManager().Protect(r.relay, "reservation")
	if !same {
		n.relays.update()
	}
	return nil
}

// hasDirect tells whether there is a connection to a peer that is not relayed.
func (n *Node) hasDirect(id peer.ID) bool {
	return slices.ContainsFunc(n.host.Network().ConnsToPeer(id), func(c network.Conn) bool { return !isRelayed(c) })
}

// boundHost ends the streams that it opens with ctx, which upstream's exchange with a relay does not look at.
type boundHost struct {
	host.Host
	ctx context.Context
}

func (h boundHost) NewStream(ctx context.Context, id peer.ID, protocols ...protocol.ID) (network.Stream, error) {
	s, err := h.Host.NewStream(ctx, id, protocols...)
	if err == nil {
		context.AfterFunc(h.ctx, func() { s.Reset() })
	}
	return s, err
}

func (n *Node) askRelay(ctx context.Context, id peer.ID) (reservation *client.Reservation, err error) {
	ctx, done := context.WithCancelCause(ctx)
	defer done(context.Canceled)
	func() {
		defer Recovered("reserve", &err)
		reservation, err = client.Reserve(network.WithNoDial(ctx, "reservation"), boundHost{n.host, ctx}, peer.AddrInfo{ID: id})
	}()
	if err == nil {
		return reservation, nil
	}
	if ctx.Err() != nil {
		return nil, ctxError(ctx, "reserve a place with the relay %s", id)
	}
	var refused client.ReservationError
	if errors.As(err, &refused) {
		switch refused.Status {
		case pb.Status_PERMISSION_DENIED:
			return nil, Errorf(ErrRefused, "the relay %s refused a reservation: its rules do not permit it", id)
		case pb.Status_RESERVATION_REFUSED:
			return nil, Errorf(ErrLimit, "the relay %s refused a reservation: it has no place left, in all, for this IP address or for this network", id)
		case pb.Status_RESOURCE_LIMIT_EXCEEDED:
			return nil, Errorf(ErrLimit, "the relay %s refused a reservation: its resources are used up", id)
		}
	}
	if strings.Contains(err.Error(), "protocols not supported") || strings.Contains(err.Error(), "protocol not supported") {
		return nil, Errorf(ErrProtocol, "%s is no relay, or has turned its relay service off", id)
	}
	if err = translate(ctx, err, ErrDial, "reserve a place with the relay %s", id); Kind(err) == ErrReset {
		err = Errorf(ErrDial, "reserve a place with the relay %s: %s", id, err)
	}
	return nil, err
}

// relayedAddresses are those under which this node can be reached through a relay: by the addresses that the relay vouches for, or else by
// those that it is known at here, which is how relays on a private network work. Of these the most widely usable kind is taken.
func (n *Node) relayedAddresses(id peer.ID, vouched, given []ma.Multiaddr) []ma.Multiaddr {
	known := slices.Clone(vouched)
	if len(known) == 0 {
		known = slices.Clone(given)
		for _, c := range n.host.Network().ConnsToPeer(id) {
			if !isRelayed(c) && !isInbound(c) {
				known = append(known, c.RemoteMultiaddr())
			}
		}
		known = append(known, n.host.Peerstore().Addrs(id)...)
	}
	tail, err := ma.NewMultiaddr("/p2p/" + id.String() + "/p2p-circuit")
	if err != nil {
		return nil
	}
	var list []ma.Multiaddr
	for _, a := range widest(known) {
		if transport, _ := peer.SplitAddr(a); transport != nil {
			a = transport
		}
		list = append(list, a.Encapsulate(tail))
	}
	list = ma.Unique(list)
	return list[:min(len(list), maxRelayed)]
}

// maxRelayed bounds the addresses of one reservation.
const maxRelayed = 8

func isInbound(c network.Conn) bool { return c.Stat().Direction == network.DirInbound }
