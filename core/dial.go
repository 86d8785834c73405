package core

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
)

// dialPeer connects to id at the addresses that are known, or finds it connected. Its errors are a *DialError, ErrNoAddress, ErrInvalid for
// the node itself, or those of ctx, which is the call's.
func (n *Node) dialPeer(ctx context.Context, id peer.ID) error {
	if id == n.ID() {
		return Errorf(ErrInvalid, "%s is this node itself", id)
	}
	ctx, cancel := n.join(ctx)
	defer cancel()
	watch := n.dials.watch()
	defer n.dials.unwatch(watch)
	err := guardedConnect(ctx, n, id)
	if err == nil && ctx.Err() == nil && n.hungUp(ctx, id) {
		return Errorf(ErrRefused, "%s answered and closed the connection at once", id)
	}
	if err == nil {
		return nil
	}
	return n.dialError(ctx, id, err, watch)
}

func guardedConnect(ctx context.Context, n *Node, id peer.ID) (err error) {
	defer Recovered("dial", &err)
	return n.host.Connect(ctx, peer.AddrInfo{ID: id})
}

// dialError turns the error of a dial into ours. Upstream says nothing of single addresses when the call's time is up first; watch has
// seen those that failed until then.
func (n *Node) dialError(ctx context.Context, id peer.ID, err error, watch *dialWatch) error {
	if sentinelOf(err) != nil {
		return err
	}
	var upstream *swarm.DialError
	if ctx.Err() == nil && errors.As(err, &upstream) {
		switch {
		case errors.Is(upstream.Cause, swarm.ErrNoAddresses):
			return Errorf(ErrNoAddress, "%s: no address is known", id)
		case errors.Is(upstream.Cause, swarm.ErrGaterDisallowedConnection):
			return Errorf(ErrRefused, "%s is not dialled: %s", id, n.gate.why(id, nil))
		}
		if err := n.gatedDial(id, upstream); err != nil {
			return err
		}
		e := &DialError{Peer: id, kind: ErrDial}
		for _, attempt := range upstream.DialErrors {
			if isSecurityFailure(attempt.Cause, n.isPrivate()) {
				e.kind = ErrSecurity
			}
			reason := dialReason(attempt.Cause)
			if errors.Is(attempt.Cause, swarm.ErrGaterDisallowedConnection) {
				reason = errors.New("is not dialled: " + n.gate.why(id, attempt.Address))
			}
			e.Attempts = append(e.Attempts, DialAttempt{attempt.Address.String(), reason})
		}
		if len(e.Attempts) == 0 {
			e.cause = "none of its addresses can be dialled"
			for _, a := range n.host.Peerstore().Addrs(id) {
				e.Attempts = append(e.Attempts, DialAttempt{a.String(), errors.New("not dialled: no use for it here")})
			}
		}
		return e
	}
	if ctx.Err() == nil && !isTimeout(err) {
		if errors.Is(err, swarm.ErrSwarmClosed) {
			return Errorf(ErrClosed, "%s: the node is closed", id)
		}
		return translate(ctx, err, ErrDial, "%s", id)
	}
	kind, cause, open := ErrTimeout, "time is up", "no answer, or an unfinished handshake, until then"
	if ctx.Err() != nil {
		kind = Kind(ctxError(ctx, ""))
	}
	switch kind {
	case ErrCancelled:
		cause = "cancelled"
	case ErrClosed:
		cause = "the node is closed"
	}
	e := &DialError{Peer: id, kind: kind, cause: cause}
	failed := n.dials.failures(watch)
	for _, a := range n.host.Peerstore().Addrs(id) {
		reason := failed[a.String()]
		if reason == nil || errors.Is(reason, context.Canceled) || isTimeout(reason) {
			reason = errors.New(open)
		} else {
			reason = dialReason(reason)
		}
		e.Attempts = append(e.Attempts, DialAttempt{a.String(), reason})
	}
	return e
}

// gatedDial is the error of a dial all of whose addresses the rules of this node refuse; nil for any other.
func (n *Node) gatedDial(id peer.ID, upstream *swarm.DialError) error {
	var reasons []string
	for _, attempt := range upstream.DialErrors {
		if !errors.Is(attempt.Cause, swarm.ErrGaterDisallowedConnection) {
			return nil
		}
		reasons = append(reasons, attempt.Address.String()+" "+n.gate.why(id, attempt.Address))
	}
	if len(reasons) == 0 {
		return nil
	}
	return Errorf(ErrRefused, "%s is not dialled: %s", id, strings.Join(reasons, "; "))
}

// hangUpGrace is how long a connection on which the peer did not even say who it is may take to close.
const hangUpGrace = 300 * time.Millisecond

// hungUp tells whether a peer that answered closed the connection at once, as those do whose rules refuse us. Identification has ended, but it
// fails as soon as the peer announces the end.
func (n *Node) hungUp(ctx context.Context, id peer.ID) bool {
	for end := time.Now().Add(hangUpGrace); ; time.Sleep(2 * time.Millisecond) {
		if len(n.openConnections(id)) == 0 {
			return true
		}
		protocols, err := n.host.Peerstore().GetProtocols(id)
		if err == nil && len(protocols) > 0 || ctx.Err() != nil || time.Now().After(end) {
			return false
		}
	}
}

func (n *Node) isPrivate() bool {
	return n.cfg.PrivateNetwork.File != "" || n.cfg.given["private_network.key"]
}

// dialReason is why one address failed, in few words.
func dialReason(err error) error {
	var mismatch sec.ErrPeerIDMismatch
	if errors.As(err, &mismatch) {
		return Errorf(ErrSecurity, "somebody else answered: expected %s, got %s", mismatch.Expected, mismatch.Actual)
	}
	if isHandshake(err) {
		return Errorf(ErrSecurity, "answered, but %w", err)
	}
	if isTimeout(err) {
		return errors.New("no answer in time")
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		return call.Err
	}
	return err
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || os.IsTimeout(err) || errors.As(err, &timeout) && timeout.Timeout()
}

// isHandshake tells whether something answered and the secure channel then failed. Upstream has no error for that, only words.
func isHandshake(err error) bool {
	return strings.Contains(err.Error(), "failed to negotiate security protocol")
}

func isSecurityFailure(err error, private bool) bool {
	var mismatch sec.ErrPeerIDMismatch
	if errors.As(err, &mismatch) || strings.Contains(err.Error(), "peer id mismatch") {
		return true
	}
	// With another network's key the handshake is noise to both sides, and often just stalls.
	return isHandshake(err) && (private || !isTimeout(err))
}

// dialTracer hears of every address that failed, while a dial is under way. It is the swarm's metrics tracer, the only place that tells.
type dialTracer struct {
	*dialNumbers
	mu      sync.Mutex
	watches map[*dialWatch]struct{} // guarded by mu
}

// dialWatch collects failures by address; of other peers' dials too, as the swarm does not say whose they are.
type dialWatch struct {
	failed map[string]error // guarded by dialTracer.mu
}

// maxWatched bounds what one watch collects.
const maxWatched = 1024

func newDialTracer(numbers *dialNumbers) *dialTracer {
	return &dialTracer{dialNumbers: numbers, watches: map[*dialWatch]struct{}{}}
}

func (t *dialTracer) watch() *dialWatch {
	w := &dialWatch{failed: map[string]error{}}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watches[w] = struct{}{}
	return w
}

func (t *dialTracer) unwatch(w *dialWatch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.watches, w)
}

func (t *dialTracer) failures(w *dialWatch) map[string]error {
	t.mu.Lock()
	defer t.mu.Unlock()
	failed := make(map[string]error, len(w.failed))
	for address, err := range w.failed {
		failed[address] = err
	}
	return failed
}

func (t *dialTracer) FailedDialing(addr ma.Multiaddr, err, _ error) {
	t.dialNumbers.failed.add(transportName(addr), dialFailure(err))
	t.mu.Lock()
	defer t.mu.Unlock()
	for w := range t.watches {
		if len(w.failed) < maxWatched {
			w.failed[addr.String()] = err
		}
	}
}
