package core

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
)

// ExplainOptions are the options of Explain.
type ExplainOptions struct {
	Format    string `json:"format" enum:"json,text" doc:"json: for programs; text: for people"`
	AttemptMs int    `json:"attempt_ms" min:"100" max:"60000" doc:"longest time for one address"`
	Protocol  string `json:"protocol" doc:"a protocol that the peer should speak; empty: none"`
}

// ParseExplainOptions reads ExplainOptions from strict JSON; empty is the defaults.
func ParseExplainOptions(doc []byte) (ExplainOptions, error) {
	o := ExplainOptions{Format: "json", AttemptMs: 5000}
	if err := parseOptions(doc, &o, ""); err != nil {
		return o, err
	}
	if o.Protocol != "" && !validProtocol(o.Protocol) {
		return o, &OptionError{"protocol", "a name is 1 to 512 bytes on one line"}
	}
	return o, nil
}

func init() {
	registerOptions("explain", "options of explaining a peer", func() any { o, _ := ParseExplainOptions(nil); return &o })
}

// Explanation is what Explain found out; docs/explain.md explains the keys and lists the verdicts.
type Explanation struct {
	Peer        string             `json:"peer"`
	Verdict     string             `json:"verdict"`
	Summary     string             `json:"summary"`
	Advice      []string           `json:"advice"`
	Attempts    []ExplainedAttempt `json:"attempts"`
	Known       PeerInfo           `json:"known"`
	Self        ExplainedSelf      `json:"self"`
	HolePunches []HolePunchAttempt `json:"hole_punches"`
	Protocol    string             `json:"protocol"` // that was asked for
	Text        string             `json:"text"`     // all of it for people
}

// ExplainedAttempt is one address that was tried.
type ExplainedAttempt struct {
	Address   string  `json:"address"`
	Source    string  `json:"source"`    // "given", "known" or "dht"
	Transport string  `json:"transport"` // as in PeerInfo
	Scope     string  `json:"scope"`     // "loopback", "private", "public", "relay" or "name"
	Outcome   string  `json:"outcome"`   // "ok", or one of the verdicts
	Words     string  `json:"words"`
	Ms        float64 `json:"ms"`

	addr ma.Multiaddr
}

// ExplainedSelf is what this node has to do with it.
type ExplainedSelf struct {
	ID             string           `json:"id"`
	Addresses      []string         `json:"addresses"`
	Transports     []string         `json:"transports"`
	Security       []string         `json:"security"`
	PrivateNetwork bool             `json:"private_network"`
	Connections    int              `json:"connections"`
	Refused        map[string]int64 `json:"refused"`     // by this node's resource limits, by what
	BlackHoles     []string         `json:"black_holes"` // sorts of dials that are left out for a while
	Reachability   string           `json:"reachability"`
	NATType        NATTypes         `json:"nat_type"`
	Relays         []string         `json:"relays"` // that the node holds a place with
	DHTPeers       int              `json:"dht_peers"`
}

// explainParallel is how many addresses are tried at a time.
const explainParallel = 16

// maxExplained bounds the addresses that are tried.
const maxExplained = 64

// Explain finds out why a peer can, or cannot, be reached: it tries each of its addresses by itself, as Connect would, tells what became of it, and
// what can be done about it. addresses are of one peer, as for Connect; those that are known of it are tried too, and the DHT is asked if there are none.
// Connections that it makes are closed again. It fails with ErrParse or ErrInvalid for the addresses, and when ctx ends.
func (n *Node) Explain(ctx context.Context, addresses []string, o ExplainOptions) (*Explanation, error) {
	id, given, err := parsePeerAddresses(addresses)
	if err != nil {
		return nil, err
	}
	if n.ctx.Err() != nil {
		return nil, Errorf(ErrClosed, "the node is closed")
	}
	ctx, cancel := n.join(ctx)
	defer cancel()
	e := &Explanation{Peer: id.String(), Advice: []string{}, Attempts: []ExplainedAttempt{}, Known: n.peerInfo(id), Self: n.explainSelf(), Protocol: o.Protocol,
		HolePunches: n.explainHolePunches(id)}
	limit := time.Duration(o.AttemptMs) * time.Millisecond
	if id != n.ID() {
		e.Attempts = n.explainAddresses(ctx, id, given, limit)
		defer n.borrowRelays(e.Attempts)()
		n.tryAddresses(ctx, id, e.Attempts, limit)
	}
	e.Verdict = n.verdict(ctx, id, e, limit)
	if ctx.Err() != nil {
		return nil, ctxError(ctx, "explain %s", id)
	}
	e.explain()
	e.Text = e.text()
	return e, nil
}

// explainAddresses lists what is to be tried, names replaced by what they stand for.
func (n *Node) explainAddresses(ctx context.Context, id peer.ID, given []ma.Multiaddr, limit time.Duration) []ExplainedAttempt {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	attempts := []ExplainedAttempt{}
	var unknown []ma.Multiaddr // names that could not be resolved
	try := func(source string, a ma.Multiaddr) {
		known := slices.ContainsFunc(attempts, func(x ExplainedAttempt) bool { return x.addr.Equal(a) })
		if !known && len(attempts) < maxExplained {
			attempts = append(attempts, ExplainedAttempt{Address: a.String(), Source: source, Transport: transportName(a), Scope: addressScope(a), addr: a})
		}
	}
	add := func(source string, addresses []ma.Multiaddr) {
		for _, a := range addresses {
			if len(attempts) >= maxExplained || slices.ContainsFunc(unknown, a.Equal) {
				continue
			}
			resolved, failure := n.explainName(ctx, a)
			if failure != nil {
				unknown = append(unknown, a)
				attempts = append(attempts, ExplainedAttempt{Address: a.String(), Source: source, Transport: transportName(a), Scope: "name",
					Outcome: "name_unknown", Words: failure.Error(), addr: a})
			}
			for _, r := range resolved {
				try(source, r)
			}
		}
	}
	add("given", given)
	add("known", n.given.of(id))
	add("known", n.host.Peerstore().Addrs(id))
	if len(attempts) == 0 {
		add("dht", n.resolve(ctx, id))
	}
	return attempts
}

// explainName replaces a DNS name; secure WebSocket needs it as it is.
func (n *Node) explainName(ctx context.Context, a ma.Multiaddr) ([]ma.Multiaddr, error) {
	if !hasDNS(a) || !isDirect(a) || transportName(a) == "websocket" {
		return []ma.Multiaddr{a}, nil
	}
	o, _ := ParseResolveOptions(nil)
	found, err := Resolve(ctx, a, o)
	if isTimeout(err) {
		return nil, Errorf(ErrTimeout, "%s: DNS gave no answer in time", quoteShort(a.String()))
	} else if err != nil {
		return nil, err
	}
	for i, f := range found {
		found[i], _ = peer.SplitAddr(f)
	}
	return found, nil
}

// tryAddresses fills in the outcomes. Relayed addresses come one by one: upstream dials a peer through a relay once at a time.
func (n *Node) tryAddresses(ctx context.Context, id peer.ID, attempts []ExplainedAttempt, limit time.Duration) {
	s, ok := n.host.Network().(*swarm.Swarm)
	if !ok {
		return
	}
	var relayed []*ExplainedAttempt
	var wait sync.WaitGroup
	turns := make(chan struct{}, explainParallel)
	try := func(a *ExplainedAttempt) {
		begun := time.Now()
		a.Outcome, a.Words = "other", "the attempt ended in a panic; see the log"
		guarded("explain", func() { a.Outcome, a.Words = n.tryAddress(ctx, s, id, a.addr, limit) })
		a.Ms = float64(time.Since(begun).Microseconds()) / 1000
	}
	for i := range attempts {
		a := &attempts[i]
		switch {
		case a.Outcome != "":
		case a.Transport == "relay":
			relayed = append(relayed, a)
		default:
			wait.Add(1)
			turns <- struct{}{}
			safeGo("explain", func() {
				defer func() { <-turns; wait.Done() }()
				try(a)
			})
		}
	}
	wait.Wait()
	for _, a := range relayed {
		try(a)
	}
}

// explainSelf is this node's own part.
func (n *Node) explainSelf() ExplainedSelf {
	private := n.isPrivate()
	self := ExplainedSelf{ID: n.ID().String(), Addresses: n.Addresses(), Transports: []string{}, Security: n.cfg.Security, PrivateNetwork: private,
		Connections: len(n.host.Network().Conns()), Refused: map[string]int64{}, BlackHoles: []string{}, Relays: []string{}}
	on := n.cfg.transportsOn(private)
	for _, name := range []string{"tcp", "quic", "websocket", "webtransport", "webrtc_direct"} {
		if on[name] {
			self.Transports = append(self.Transports, name)
		}
	}
	n.numbers.refusals.each(func(what string, count int64) {
		if count > 0 {
			self.Refused[what] = count
		}
	})
	n.numbers.dials.holes.Range(func(name, blocked any) bool {
		if blocked.(bool) {
			self.BlackHoles = append(self.BlackHoles, name.(string))
		}
		return true
	})
	if n.dht != nil {
		self.DHTPeers = n.dht.tableSize()
	}
	n.explainNAT(&self)
	return self
}

// verdict sums the attempts up.
func (n *Node) verdict(ctx context.Context, id peer.ID, e *Explanation, limit time.Duration) string {
	if id == n.ID() {
		return "self"
	}
	direct, relayed := false, false
	for _, c := range e.Known.Connections {
		direct, relayed = direct || !c.Relayed, relayed || c.Relayed
	}
	works := func(want bool) bool {
		return slices.ContainsFunc(e.Attempts, func(a ExplainedAttempt) bool { return a.Outcome == "ok" && (a.Transport == "relay") == want })
	}
	verdict := ""
	switch {
	case direct:
		verdict = "connected"
	case works(false):
		verdict = "reachable"
	case relayed, works(true):
		verdict = "relay_only"
	case len(e.Attempts) == 0:
		return "no_address"
	default:
		for _, outcome := range outcomeOrder {
			if slices.ContainsFunc(e.Attempts, func(a ExplainedAttempt) bool { return a.Outcome == outcome }) {
				return outcome
			}
		}
		return "other"
	}
	if e.Protocol != "" && !n.speaks(ctx, id, e, limit) {
		return "protocol_missing"
	}
	return verdict
}

// speaks asks whether the peer speaks the protocol: on the connection that there is, else on one past the swarm, which nobody else can have taken to
// when it is closed.
func (n *Node) speaks(ctx context.Context, id peer.ID, e *Explanation, limit time.Duration) bool {
	if !n.isConnected(id) {
		for _, a := range e.Attempts {
			if a.Outcome != "ok" {
				continue
			}
			speaks, answered := false, false
			guarded("explain", func() { speaks, answered = n.askProtocol(ctx, id, a.addr, e.Protocol, limit) })
			if answered {
				return speaks
			}
		}
		return false
	}
	s, err := n.openStream(ctx, id, []string{e.Protocol}, OpenOptions{AllowLimited: true, NoDial: true})
	if err != nil {
		return false
	}
	defer s.Reset(0)
	// What the peer said last is believed until something is sent: ask it again.
	known, err := n.host.Peerstore().SupportsProtocols(id, s.s.Protocol())
	return err == nil && (len(known) > 0 || s.isAgreed())
}

// addressScope tells from where an address can be reached at all.
func addressScope(a ma.Multiaddr) string {
	if !isDirect(a) {
		return "relay"
	}
	if hasDNS(a) {
		return "name"
	}
	ip, ok := addressIP(a)
	switch {
	case !ok:
		return "public"
	case ip.IsLoopback():
		return "loopback"
	case ip.IsPrivate(), ip.IsLinkLocalUnicast():
		return "private"
	}
	return "public"
}

func relayOf(a ma.Multiaddr) string {
	before, _, _ := strings.Cut(a.String(), "/p2p-circuit")
	if i := strings.LastIndex(before, "/p2p/"); i >= 0 {
		return before[i+len("/p2p/"):]
	}
	return before
}
