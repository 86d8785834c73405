package core

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// GateOptions are the options of AskGate.
type GateOptions struct {
	TimeoutMs int    `json:"timeout_ms" min:"1" max:"10000" doc:"time for a verdict"`
	Default   string `json:"default" enum:"block,allow" doc:"the verdict when time is up, or capacity is reached"`
	Capacity  int    `json:"capacity" min:"1" max:"100000" doc:"verdicts that may be pending"`
}

// ParseGateOptions reads GateOptions from strict JSON; empty is the defaults.
func ParseGateOptions(doc []byte) (GateOptions, error) {
	o := GateOptions{TimeoutMs: 1000, Default: "block", Capacity: 256}
	err := parseOptions(doc, &o, "")
	return o, err
}

func init() {
	registerOptions("gate_ask", "options of p2p_gate_ask", func() any {
		o, _ := ParseGateOptions(nil)
		return &o
	})
}

const (
	// GateDial is the stage before a peer is dialled; Address is "".
	GateDial = "dial"
	// GateConnection is the stage of an inbound connection whose peer has proved who it is.
	GateConnection = "connection"
)

// GateRequest asks for a verdict on a dial or a connection that no rule names. Accept lets it through, Reject and Ignore refuse it.
type GateRequest struct {
	Peer    peer.ID
	Address string // with /p2p/<peer id> at its end
	Stage   string
	Inbound bool
	Relayed bool
	Verdict *Verdict
}

// Gatekeeper asks the program about every dial and every inbound connection that no rule names, until Close.
type Gatekeeper struct {
	node     *Node
	options  GateOptions
	requests *mailbox[GateRequest]
	ctx      context.Context // ends with Close
	cancel   context.CancelCauseFunc
	unhook   func()
	closing  sync.Once

	pending, asked, refused, late atomic.Int64
}

// AskGate asks inbox from now on. It fails with ErrExists if somebody is asked already.
func (n *Node) AskGate(o GateOptions, inbox Inbox[GateRequest]) (*Gatekeeper, error) {
	k := &Gatekeeper{node: n, options: o}
	n.gate.mu.Lock()
	defer n.gate.mu.Unlock()
	if n.gate.keeper != nil {
		return nil, Errorf(ErrExists, "somebody is asked about connections already")
	}
	if err := n.onClose(&k.unhook, func() { k.Close() }); err != nil {
		return nil, err
	}
	k.ctx, k.cancel = context.WithCancelCause(n.ctx)
	k.requests = newMailbox("gating", inbox, DropOldest, o.Capacity, 0, nil)
	n.gate.keeper = k
	return k, nil
}

// Close ends the asking: what no rule names is then up to the default again. Verdicts that are pending are given by the default of the options.
func (k *Gatekeeper) Close() {
	k.closing.Do(func() {
		k.node.gate.mu.Lock()
		k.node.gate.keeper = nil
		k.node.gate.mu.Unlock()
		k.unhook()
		k.cancel(Errorf(ErrClosed, "nobody is asked any more"))
	})
	k.requests.close(nil)
}

// ask waits for the program's verdict, or the time when the default takes its place. It returns why not, "" if it may be.
func (k *Gatekeeper) ask(r GateRequest) (refused string) {
	defer k.pending.Add(-1)
	late := func(why string) string {
		k.late.Add(1)
		if k.options.Default == "allow" {
			return ""
		}
		k.refused.Add(1)
		return why
	}
	if k.pending.Add(1) > int64(k.options.Capacity) {
		return late("refused: too many verdicts are pending")
	}
	k.asked.Add(1)
	v := &Verdict{decided: make(chan Decision, 1), expired: make(chan struct{})}
	v.Expired = v.expired
	defer close(v.expired)
	r.Verdict = v
	k.requests.put(k.ctx, r, 0)
	limit := time.Duration(k.options.TimeoutMs) * time.Millisecond
	timer := time.NewTimer(limit)
	defer timer.Stop()
	why := "refused: nobody is asked any more"
	decision, decided := Ignore, false
	select {
	case decision = <-v.decided:
		decided = true
	case <-timer.C:
		why = fmt.Sprintf("refused: no verdict within %v", limit)
	case <-k.ctx.Done():
	}
	if !decided && !v.settled.CompareAndSwap(false, true) {
		decision, decided = <-v.decided, true // it was just given
	}
	switch {
	case !decided:
		return late(why)
	case decision == Accept:
		return ""
	}
	k.refused.Add(1)
	return "refused by the program's verdict"
}

// gateQuestion is a question that several dials of one peer wait for.
type gateQuestion struct {
	done    chan struct{}
	refused string // set before done is closed
}

// maxReasons bounds the peers whose last refusal is remembered.
const maxReasons = 1024

// askDial asks about a peer that is about to be dialled, once for all who dial it now.
func (g *gate) askDial(k *Gatekeeper, id peer.ID) (allow bool) {
	g.mu.Lock()
	q, joined := g.asked[id]
	if !joined {
		q = &gateQuestion{done: make(chan struct{}), refused: "refused: the question failed"}
		g.asked[id] = q
	}
	g.mu.Unlock()
	if joined {
		<-q.done // within the time for a verdict
		return q.refused == ""
	}
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.asked, id)
		delete(g.reasons, id)
		if q.refused != "" {
			if len(g.reasons) >= maxReasons {
				clear(g.reasons)
			}
			g.reasons[id] = q.refused
		}
		close(q.done)
	}()
	q.refused = k.ask(GateRequest{Peer: id, Stage: GateDial})
	return q.refused == ""
}

// GatekeeperInfo is what Info returns; docs/info.md explains the keys.
type GatekeeperInfo struct {
	Kind    string `json:"kind"`
	Asked   int64  `json:"asked"`
	Refused int64  `json:"refused"`
	Late    int64  `json:"late"`
	Pending int64  `json:"pending"`
}

// Info returns a GatekeeperInfo.
func (k *Gatekeeper) Info() any {
	return GatekeeperInfo{"service", k.asked.Load(), k.refused.Load(), k.late.Load(), k.pending.Load()}
}
