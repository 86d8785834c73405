package core

import (
	"context"
	"encoding/hex"
	"errors"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
)

// rendezvousPoint is a peer that serves the rendezvous protocol.
type rendezvousPoint struct {
	node      *Node
	id        peer.ID
	addresses []ma.Multiaddr // none: known by other means
	form      atomic.Int32   // recordForm that the point reads
	changed   chan struct{}  // capacity 1: another advertisement has replaced what the point noted, and is gone
}

func (n *Node) newPoint(id peer.ID, addresses []ma.Multiaddr) *rendezvousPoint {
	return &rendezvousPoint{node: n, id: id, addresses: addresses, changed: make(chan struct{}, 1)}
}

// RegisterOptions are the options of Register.
type RegisterOptions struct {
	TTLMs      int64 `json:"ttl_ms" min:"1000" max:"259200000" doc:"life of the registration, in whole seconds; it is renewed before it ends"`
	RetryMinMs int   `json:"retry_min_ms" min:"10" max:"86400000" doc:"first pause after a failed renewal; it doubles"`
	RetryMaxMs int   `json:"retry_max_ms" min:"10" max:"86400000" doc:"longest pause"`
}

// ParseRegisterOptions reads RegisterOptions from strict JSON; empty is the defaults.
func ParseRegisterOptions(doc []byte) (RegisterOptions, error) {
	o := RegisterOptions{TTLMs: rendezvousTTL.Milliseconds(), RetryMinMs: 1000, RetryMaxMs: 60_000}
	err := parseOptions(doc, &o, "")
	if err == nil && o.RetryMinMs > o.RetryMaxMs {
		err = retryConflict(o.RetryMinMs, o.RetryMaxMs)
	}
	return o, err
}

// DiscoverOptions are the options of Discover.
type DiscoverOptions struct {
	Limit  int    `json:"limit" min:"0" max:"1000" doc:"registrations wanted; 0: as many as the point gives at once"`
	Cookie string `json:"cookie" doc:"the cookie of an earlier answer: only what came since"`
}

// ParseDiscoverOptions reads DiscoverOptions from strict JSON; empty is the defaults.
func ParseDiscoverOptions(doc []byte) (o DiscoverOptions, err error) {
	if err = parseOptions(doc, &o, ""); err == nil {
		if _, bad := hex.DecodeString(o.Cookie); bad != nil || len(o.Cookie) > 2*rendezvousMaxRequest {
			err = &OptionError{"cookie", "is not one of a rendezvous answer"}
		}
	}
	return o, err
}

// RendezvousAnswer is what Discover returns.
type RendezvousAnswer struct {
	Registrations []RendezvousPeer `json:"registrations"`
	Cookie        string           `json:"cookie"`
	Refused       int              `json:"refused"` // registrations whose signature or record was bad
}

// RendezvousPeer is a peer that has registered.
type RendezvousPeer struct {
	Peer      peer.ID  `json:"-"`
	ID        string   `json:"peer"`
	Namespace string   `json:"namespace"`
	Addresses []string `json:"addresses"`
	TTLMs     int64    `json:"ttl_ms"`

	parsed []ma.Multiaddr
}

// point reads the addresses of a rendezvous point.
func (n *Node) point(addresses []string) (*rendezvousPoint, error) {
	id, parsed, err := parsePeerAddresses(addresses)
	if err != nil {
		return nil, err
	}
	if id == n.ID() {
		return nil, Errorf(ErrInvalid, "%s is this node itself", id)
	}
	return n.newPoint(id, parsed), nil
}

// Register tells a rendezvous point that this node is of namespace, waits for its consent, and renews that until Close of what it returns, which
// takes it back. addresses of the point are as for Connect. It fails with a *RendezvousError in the point's words, or as OpenStream.
func (n *Node) Register(ctx context.Context, addresses []string, namespace string, o RegisterOptions, inbox Inbox[DiscoveryEvent]) (*Advertisement, error) {
	p, err := n.point(addresses)
	if err == nil {
		err = checkTopic(namespace)
	}
	if err != nil {
		return nil, err
	}
	ttl := time.Duration(o.TTLMs) * time.Millisecond
	granted, err := p.advertiseOrWithdraw(ctx, namespace, ttl)
	if err != nil {
		return nil, err
	}
	pauses := pauses{time.Duration(o.RetryMinMs) * time.Millisecond, time.Duration(o.RetryMaxMs) * time.Millisecond}
	a, err := n.advertiseAt([]discoverySource{p}, namespace, ttl, pauses, granted, inbox)
	if err != nil {
		p.withdraw(namespace)
	}
	return a, err
}

// Unregister takes back what Register, or an earlier life of this node, told a rendezvous point. There is no answer to it: when this returns it is sent, and
// mostly read.
func (n *Node) Unregister(ctx context.Context, addresses []string, namespace string) error {
	p, err := n.point(addresses)
	if err == nil {
		err = checkTopic(namespace)
	}
	if err != nil {
		return err
	}
	return p.unregister(ctx, namespace)
}

// Discover asks a rendezvous point who is of namespace; "" for all. Registrations whose record is not signed by their peer are left out and counted.
func (n *Node) Discover(ctx context.Context, addresses []string, namespace string, o DiscoverOptions) (*RendezvousAnswer, error) {
	p, err := n.point(addresses)
	if err == nil && namespace != "" {
		err = checkTopic(namespace)
	}
	if err != nil {
		return nil, err
	}
	cookie, _ := hex.DecodeString(o.Cookie)
	return p.discover(ctx, namespace, o.Limit, cookie)
}

func checkTopic(topic string) error {
	if topic == "" || len(topic) > maxNamespace || !utf8.ValidString(topic) {
		return Errorf(ErrInvalid, "topic %s: a name is 1 to %d bytes of UTF-8", quoteShort(topic), maxNamespace)
	}
	return nil
}

func (p *rendezvousPoint) name() string { return "rendezvous " + p.id.String() }

func (p *rendezvousPoint) kind() string { return "rendezvous" }

func (p *rendezvousPoint) stale() <-chan struct{} { return p.changed }

// advertise registers, once, and counts as a user of the registration from then on until withdraw.
func (p *rendezvousPoint) advertise(ctx context.Context, topic string, ttl time.Duration) (time.Duration, error) {
	if err := p.node.registered.join(ctx, p, topic); err != nil {
		return 0, err
	}
	answer, err := p.register(ctx, topic, ttl, recordForm(p.form.Load()))
	if p.cannotRead(err) {
		form := recordForm(p.form.Load()).other()
		second, failed := p.register(ctx, topic, ttl, form)
		if failed == nil || !p.cannotRead(failed) { // then it was the form
			answer, err = second, failed
			p.form.Store(int32(form))
		}
	}
	if err != nil {
		if ctx.Err() != nil { // the point may have noted what was cut
			p.node.registered.noted(p, topic)
		}
		return 0, err
	}
	granted := time.Duration(min(answer.ttl, uint64(rendezvousMaxTTL/time.Second))) * time.Second
	if granted <= 0 {
		granted = ttl
	}
	p.node.registered.noted(p, topic)
	return granted, nil
}

// advertiseOrWithdraw is advertise for a caller who is not to wait once ctx has ended. What the point has noted then is taken back.
func (p *rendezvousPoint) advertiseOrWithdraw(ctx context.Context, topic string, ttl time.Duration) (time.Duration, error) {
	ctx, cancel := p.node.join(ctx)
	defer cancel()
	type grant struct {
		ttl time.Duration
		err error
	}
	granted, over := make(chan grant), make(chan struct{})
	var unhook func()
	if err := p.node.onClose(&unhook, func() { <-over }); err != nil { // what is taken back needs the connections
		return 0, err
	}
	safeGo("register", func() {
		defer unhook()
		defer close(over)
		var g grant
		g.ttl, g.err = p.advertise(ctx, topic, ttl)
		if g.err != nil {
			p.node.registered.leave(p, topic)
		}
		select {
		case granted <- g:
		case <-ctx.Done():
			if g.err == nil {
				p.withdraw(topic)
			}
		}
	})
	select {
	case g := <-granted:
		return g.ttl, g.err
	case <-ctx.Done():
		return 0, ctxError(ctx, "register with %s", p.id)
	}
}

func (p *rendezvousPoint) register(ctx context.Context, topic string, ttl time.Duration, form recordForm) (*rendezvousMessage, error) {
	request := &rendezvousMessage{kind: rendezvousRegister, namespace: topic, ttl: seconds(ttl.Milliseconds())}
	var err error
	if request.record, err = p.node.ownPeerRecord(form); err != nil {
		return nil, err
	}
	if form == recordStandard {
		if request.second, err = p.node.ownPeerRecord(form.other()); err != nil {
			return nil, err
		}
	}
	return p.ask(ctx, request, rendezvousRegisterResponse)
}

// cannotRead tells whether the point may have stumbled over the form of the record: rust-libp2p then hangs up.
func (p *rendezvousPoint) cannotRead(err error) bool {
	var refusal *RendezvousError
	return errors.As(err, &refusal) && refusal.Status == rendezvousInvalidRecord || errors.Is(err, ErrReset)
}

// withdrawPatience is how long the end of a registration may take, in the background, and withdrawLimit how long when somebody waits for it: the
// node's end, or who unregisters.
const (
	withdrawPatience = 10 * time.Second
	withdrawLimit    = 500 * time.Millisecond
)

// withdrawing returns a context for the end of a registration.
func (n *Node) withdrawing() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), withdrawPatience)
	stop := context.AfterFunc(n.ctx, func() { time.AfterFunc(withdrawLimit, cancel) })
	return ctx, func() {
		stop()
		cancel()
	}
}

// withdraw ends the use of the registration; the last user unregisters. An answer that got lost leaves a registration too, so it is taken for noted.
func (p *rendezvousPoint) withdraw(topic string) {
	p.node.registered.noted(p, topic)
	p.node.registered.leave(p, topic)
}

// sayUnregister unregisters if the point is connected. Else the registration ends with its time.
func (p *rendezvousPoint) sayUnregister(topic string) {
	ctx, cancel := p.node.withdrawing()
	defer cancel()
	m := (&rendezvousMessage{kind: rendezvousUnregister, namespace: topic}).encode()
	if err := p.node.lastWords(ctx, p.id, rendezvousProtocol, append(frameHead(nil, len(m)), m...)); err != nil {
		logger.Debug("unregister", "point", p.id, "err", err)
	}
}

// lastWords tells a connected peer something that it ends the stream for, also while the node closes, when no Stream can be opened any more. A
// node that is gone before its words are read takes them back, so it waits for that end, until ctx ends.
func (n *Node) lastWords(ctx context.Context, id peer.ID, name protocol.ID, words []byte) (err error) {
	defer Recovered("last words", &err)
	ctx = network.WithAllowLimitedConn(network.WithNoDial(ctx, "last words"), "last words")
	s, err := n.host.NewStream(ctx, id, name)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { s.SetDeadline(time.Now()) })()
	if _, err := s.Write(words); err != nil {
		s.Reset()
		return err
	}
	s.CloseWrite()
	s.Read(make([]byte, 1))
	return s.Close()
}

func (p *rendezvousPoint) find(ctx context.Context, topic string, cookie []byte, found func(peer.AddrInfo)) (next []byte, err error) {
	for {
		answer, err := p.discover(ctx, topic, 0, cookie)
		var refusal *RendezvousError
		if errors.As(err, &refusal) && refusal.Status == rendezvousInvalidCookie && len(cookie) > 0 {
			cookie = nil // the point has restarted
			continue
		}
		if err != nil {
			return cookie, err
		}
		for _, r := range answer.Registrations {
			found(peer.AddrInfo{ID: r.Peer, Addrs: r.parsed})
		}
		last := string(cookie)
		cookie, _ = hex.DecodeString(answer.Cookie)
		if len(answer.Registrations)+answer.Refused == 0 || len(cookie) == 0 || string(cookie) == last {
			return cookie, nil
		}
	}
}

func (p *rendezvousPoint) discover(ctx context.Context, namespace string, limit int, cookie []byte) (*RendezvousAnswer, error) {
	if limit == 0 {
		limit = rendezvousMaxResults
	}
	request := &rendezvousMessage{kind: rendezvousDiscover, namespace: namespace, limit: uint64(limit), cookie: cookie, either: true}
	m, err := p.ask(ctx, request, rendezvousDiscoverResponse)
	if err != nil {
		return nil, err
	}
	answer := &RendezvousAnswer{Registrations: []RendezvousPeer{}, Cookie: hex.EncodeToString(m.cookie)}
	for _, e := range m.registrations {
		info, _, err := verifyPeerRecord(e.record)
		if err != nil || namespace != "" && e.namespace != namespace || !utf8.ValidString(e.namespace) {
			answer.Refused++
			logger.Debug("rendezvous record", "point", p.id, "err", err)
			continue
		}
		ttl := min(e.ttl, uint64(rendezvousMaxTTL/time.Second))
		answer.Registrations = append(answer.Registrations, RendezvousPeer{info.ID, info.ID.String(), e.namespace, texts(info.Addrs), int64(ttl) * 1000, info.Addrs})
	}
	return answer, nil
}

func (p *rendezvousPoint) unregister(ctx context.Context, namespace string) error {
	s, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.WriteMessage(ctx, (&rendezvousMessage{kind: rendezvousUnregister, namespace: namespace}).encode()); err != nil {
		return err
	}
	// There is no answer. The point ends the stream when it has read: a node that closes now would otherwise take its words back.
	ctx, cancel := context.WithTimeout(ctx, withdrawLimit)
	defer cancel()
	if err := s.CloseWrite(ctx); err == nil {
		s.ReadMessage(ctx, 0)
	}
	return nil
}

// ask sends a request and reads its answer, which is of kind want.
func (p *rendezvousPoint) ask(ctx context.Context, request *rendezvousMessage, want rendezvousType) (*rendezvousMessage, error) {
	s, err := p.open(ctx)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if err := s.WriteMessage(ctx, request.encode()); err != nil {
		return nil, err
	}
	b, err := s.ReadMessage(ctx, rendezvousMaxResponse)
	if err != nil && ctx.Err() != nil && request.kind == rendezvousRegister {
		// The point may be noting it in this moment. What takes it back must not come before that.
		late, cancel := p.node.withdrawing()
		defer cancel()
		b, err = s.ReadMessage(late, rendezvousMaxResponse)
	}
	if err != nil {
		return nil, translate(ctx, err, ErrReset, "%s gave no answer", p.id) // io.EOF among others
	}
	m, err := decodeRendezvous(b)
	switch {
	case err != nil:
		return nil, err
	case m.kind != want:
		return nil, Errorf(ErrProtocol, "%s answered something else", p.id)
	case m.status != rendezvousOK:
		return nil, &RendezvousError{m.status, m.words}
	}
	return m, nil
}

func (p *rendezvousPoint) open(ctx context.Context) (*Stream, error) {
	if len(p.addresses) > 0 && !p.node.isConnected(p.id) {
		if err := p.node.connect(ctx, p.id, p.addresses); err != nil {
			return nil, err
		}
	}
	return p.node.openStream(ctx, p.id, []string{rendezvousProtocol}, OpenOptions{})
}
