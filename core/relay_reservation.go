package core

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
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
func (r *Reservation) Close() { r.end(nil) }

func (r *Reservation) end(err error) {
	r.once.Do(func() {
		r.remove()
		r.cancel(Errorf(ErrClosed, "the reservation is closed"))
		r.node.relays.drop(r)
	})
	r.events.close(err) // waits: outside of once, where its Inbox may be
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
	n.relays.protect(r)
	if !same {
		n.relays.update()
	}
	return nil
}
