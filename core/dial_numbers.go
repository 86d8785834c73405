package core

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
)

// dialNumbers counts connections and dials. The swarm tells it, as its metrics tracer, from its own goroutines.
type dialNumbers struct {
	opened, closed tally // by transport and direction
	failed         tally // single addresses, by transport and reason
	good, bad      atomic.Int64
	dial, shake    histogram
	holes          sync.Map // name of an upstream counter -> whether it keeps from dialling
}

func (d *dialNumbers) OpenedConnection(dir network.Direction, _ crypto.PubKey, _ network.ConnectionState, addr ma.Multiaddr) {
	d.opened.add(transportName(addr), directionName(dir))
}

func (d *dialNumbers) ClosedConnection(dir network.Direction, _ time.Duration, _ network.ConnectionState, addr ma.Multiaddr) {
	d.closed.add(transportName(addr), directionName(dir))
}

func (d *dialNumbers) CompletedHandshake(took time.Duration, _ network.ConnectionState, _ ma.Multiaddr) {
	d.shake.observe(took)
}

func (d *dialNumbers) DialCompleted(success bool, _ int, took time.Duration) {
	d.dial.observe(took)
	if success {
		d.good.Add(1)
	} else {
		d.bad.Add(1)
	}
}

func (*dialNumbers) DialRankingDelay(time.Duration) {}

func (d *dialNumbers) UpdatedBlackHoleSuccessCounter(name string, state swarm.BlackHoleState, _ int, _ float64) {
	d.holes.Store(name, state.String() == "Blocked")
}

func directionName(d network.Direction) string {
	switch d {
	case network.DirInbound:
		return "inbound"
	case network.DirOutbound:
		return "outbound"
	}
	return "unknown"
}

// dialFailure names the reason why an address failed, as one of a few words.
func dialFailure(err error) string {
	var mismatch sec.ErrPeerIDMismatch
	switch {
	case err == nil:
		return "none"
	case errors.Is(err, context.Canceled): // another address was faster
		return "cancelled"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.As(err, &mismatch), strings.Contains(err.Error(), "peer id mismatch"):
		return "wrong_peer"
	case errors.Is(err, network.ErrResourceLimitExceeded):
		return "limit"
	case isHandshake(err):
		return "handshake"
	case isTimeout(err):
		return "timeout"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "unreachable"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "files"
	}
	return "other"
}

func (d *dialNumbers) measure(m *Measurements) {
	d.opened.into(m.Counter("libp2pgo_connections_opened_total", "Connections that were opened."), "transport", "direction")
	d.closed.into(m.Counter("libp2pgo_connections_closed_total", "Connections that have ended."), "transport", "direction")
	f := m.Counter("libp2pgo_dials_total", "Peers that were dialled, at all of their addresses; present connections are not counted.")
	f.Count(d.good.Load(), "result", "ok")
	f.Count(d.bad.Load(), "result", "failed")
	d.failed.into(m.Counter("libp2pgo_dial_failures_total", "Single addresses that failed; cancelled: another one was faster."), "transport", "reason")
	m.histogram("libp2pgo_dial_seconds", "Time until a peer was connected, or all of its addresses had failed.", &d.dial)
	m.histogram("libp2pgo_handshake_seconds", "Time for agreeing on security and multiplexing, where the transport does not bring its own.", &d.shake)
	f = m.Gauge("libp2pgo_dial_black_hole", "1: dials of this sort failed so often that they are left out for a while.")
	d.holes.Range(func(name, blocked any) bool {
		value := int64(0)
		if blocked.(bool) {
			value = 1
		}
		f.Count(value, "sort", name.(string))
		return true
	})
}
