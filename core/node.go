package core

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	ma "github.com/multiformats/go-multiaddr"
)

// closeLimit is how long Close waits for go-libp2p, which takes milliseconds unless it is stuck.
const closeLimit = 20 * time.Second

// Node is a libp2p node. Its methods may be called from any goroutine at any time, also while Close runs; calls that wait then end with
// ErrClosed.
type Node struct {
	cfg    *Config // not changed after New
	host   host.Host
	ctx    context.Context // ends with cause ErrClosed when Close begins
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup // goroutines of the node; see spawn
	done   chan struct{}  // closed when Close has ended everything
	events *mailbox[Event]
	served servedNames
	pubsub *publisher // nil: off
	dht    *DHT       // nil: off
	peers  *peerTable
	keeper *keeper
	given  givenAddresses
	relays *relays
	since  time.Time

	rendezvous *rendezvousServer // nil: the node is no rendezvous point
	meetings   meetings
	borrowed   borrowed
	registered registrations

	hostParts
	listening sync.Mutex // held while addresses are bound or released

	mu      sync.Mutex
	closing bool      // guarded by mu
	closers []*closer // guarded by mu
}

// closer is a function that Close has to call.
type closer struct{ fn func() }

// New starts a node. cfg is not kept. ctx bounds the start only. It fails with ErrConfig (options in conflict, with the path), ErrListen
// (which address), ErrPermission or ErrParse (which file); then nothing is left behind.
func New(ctx context.Context, cfg *Config, inbox Inbox[Event]) (*Node, error) {
	if cfg == nil {
		cfg = DefaultConfig()
	}
	cfg = cfg.Clone()
	if err := cfg.checkConflicts(); err != nil {
		return nil, err
	}
	key, err := identity(cfg)
	if err != nil {
		return nil, err
	}
	networkKey, err := privateNetwork(cfg)
	if err != nil {
		return nil, err
	}
	addresses, err := listenAddresses(cfg, networkKey != nil)
	if err != nil {
		return nil, err
	}
	taken := checkFree(addresses)
	if err := cfg.checkListen(addresses, taken); err != nil {
		return nil, err // before anything is started
	}
	if ctx.Err() != nil {
		return nil, ctxError(ctx, "start the node")
	}

	n := &Node{cfg: cfg, done: make(chan struct{}), since: time.Now()}
	n.dials = newDialTracer(&n.numbers.dials)
	if n.advertised, err = newAdvertised(cfg.Addresses); err != nil {
		return nil, err
	}
	if n.gate, err = newGate(cfg.Gating); err != nil {
		return nil, err
	}
	n.gate.node = n
	n.nat = newNATState(&cfg.NAT)
	n.host, err = newHost(cfg, key, networkKey, &n.hostParts)
	if err != nil {
		return nil, err
	}
	cfg.identityKey, cfg.networkKey = nil, nil                      // the host has them
	n.ctx, n.cancel = context.WithCancelCause(context.Background()) // ended by Close
	n.events = newMailbox("events", inbox, DropOldest, cfg.Events.Capacity, 0, nil)
	n.keeper = &keeper{node: n, kept: map[peer.ID]*keptPeer{}}
	n.meetings.node = n
	n.relays = newRelays(n)
	n.peers = newPeerTable(n)
	n.gate.watch()
	n.startTrimming()
	if err := n.start(ctx, addresses, taken); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// start does what may fail after the host is there.
func (n *Node) start(ctx context.Context, addresses []listenAddress, taken map[string]error) error {
	n.startNumbers()
	if err := n.watchAddresses(); err != nil {
		return err
	}
	if err := n.watchRecords(); err != nil {
		return err
	}
	if err := n.watchIdentify(); err != nil {
		return err
	}
	if n.cfg.Pubsub.Enabled { // before anybody can connect, so that the first identify names its protocols
		p, err := startPubsub(n)
		if err != nil {
			return err
		}
		n.pubsub = p
	}
	if err := n.startRendezvous(); err != nil {
		return err
	}
	if n.cfg.DHT.Mode != "off" {
		d, err := startDHT(n)
		if err != nil {
			return err
		}
		n.dht = d
	}
	if err := n.watchNAT(); err != nil {
		return err
	}
	if err := n.startHolePunching(); err != nil {
		return err
	}
	if err := n.startRelayService(); err != nil {
		return err
	}
	if err := n.listen(addresses, taken); err != nil {
		return err
	}
	n.startRelayClient()
	if ctx.Err() != nil {
		return ctxError(ctx, "start the node")
	}
	if err := n.startMDNS(); err != nil {
		return err
	}
	if n.pubsub != nil {
		if err := n.pubsub.startDirect(); err != nil {
			return err
		}
	}
	n.startBootstrap()
	return nil
}

// checkListen decides whether the node may start although binding some of addresses failed.
func (c *Config) checkListen(addresses []listenAddress, failed map[string]error) error {
	var reasons []DialAttempt
	for _, l := range addresses {
		if err := failed[l.text]; err != nil {
			reasons = append(reasons, DialAttempt{l.text, err})
		}
	}
	all := c.Listen != nil && c.ListenRequire == "all"
	if len(reasons) == 0 || !all && len(reasons) < len(addresses) {
		return nil
	}
	text := ""
	for i, r := range reasons {
		if i > 0 {
			text += "; "
		}
		text += r.Address + ": " + bindReason(r.Err)
	}
	return Errorf(ErrListen, "%s", text)
}

// listen binds addresses one by one. Those in taken are known to fail.
func (n *Node) listen(addresses []listenAddress, taken map[string]error) error {
	failed := map[string]error{}
	// WebRTC shares the port of a QUIC listener, which has to be there first.
	ordered := slices.Clone(addresses)
	slices.SortStableFunc(ordered, func(a, b listenAddress) int { return listenOrder(a) - listenOrder(b) })
	for _, l := range ordered {
		err := taken[l.text]
		if err == nil {
			func() {
				defer Recovered("listen at "+l.text, &err)
				err = n.host.Network().Listen(l.addr)
			}()
		}
		if err != nil {
			failed[l.text] = err
		}
	}
	if err := n.cfg.checkListen(addresses, failed); err != nil {
		return err
	}
	for _, l := range addresses {
		if err := failed[l.text]; err != nil {
			n.emit(Event{Type: ListenFailed, Address: l.text, Err: Errorf(ErrListen, "%s: %s", l.text, bindReason(err))})
		}
	}
	return nil
}

func listenOrder(l listenAddress) int {
	if l.transport == "webrtc_direct" {
		return 1
	}
	return 0
}

// Close ends the node: everything that runs on it is closed first, then its connections and ports. When it returns, all of it has been
// given back. Every call returns when the first one has finished; one from an Inbox, which the first may wait for, returns at once. An
// Inbox.Deliver that is stuck holds it up.
func (n *Node) Close() error {
	n.mu.Lock()
	if n.closing {
		n.mu.Unlock()
		awaitClose(n.done)
		return nil
	}
	n.closing = true
	closers := n.closers
	n.closers = nil
	n.mu.Unlock()
	n.cancel(Errorf(ErrClosed, "the node is closed"))
	defer close(n.done)
	for i := len(closers) - 1; i >= 0; i-- {
		guarded("close", closers[i].fn)
	}
	within(closeLimit, "close the host", func() { n.host.Close() })
	within(closeLimit, "wait for the node's goroutines", n.wg.Wait)
	n.events.close(nil)
	return nil
}

// within runs fn, and gives up waiting for it after limit: a close that is stuck somewhere below must not take the caller with it.
func within(limit time.Duration, name string, fn func()) {
	done := make(chan struct{})
	safeGo(name, func() {
		defer close(done)
		fn()
	})
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		logger.Error("given up", "what", name, "after", limit)
	}
}

// onClose has fn called when the node closes, before its host does, the last one registered first. *remove, if it is wanted, takes it back; it is set
// before fn can be called, for fn may call it while onClose has not yet returned, and does nothing after a failure. It fails with
// ErrClosed, and fn is not called, if the node is closing already.
func (n *Node) onClose(remove *func(), fn func()) error {
	c := &closer{fn}
	n.mu.Lock()
	defer n.mu.Unlock()
	take := func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if i := slices.Index(n.closers, c); i >= 0 {
			n.closers = slices.Delete(n.closers, i, i+1)
		}
	}
	if remove != nil {
		*remove = take
	}
	if n.closing {
		return Errorf(ErrClosed, "the node is closed")
	}
	n.closers = append(n.closers, c)
	return nil
}

// spawn runs fn on a guarded goroutine that Close waits for. fn has to end when n.ctx does. It reports false, and does nothing, if the
// node is closing.
func (n *Node) spawn(name string, fn func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closing {
		return false
	}
	n.wg.Add(1)
	safeGo(name, func() {
		defer n.wg.Done()
		fn()
	})
	return true
}

// join returns a context that ends with ctx, or, with cause ErrClosed, with the node.
func (n *Node) join(ctx context.Context) (context.Context, context.CancelFunc) {
	joined, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(n.ctx, func() { cancel(context.Cause(n.ctx)) })
	return joined, func() {
		stop()
		cancel(context.Canceled)
	}
}

// orEnded returns the node's context if that has ended, else ctx: what join has made of it hears of the node's end a moment later.
func (n *Node) orEnded(ctx context.Context) context.Context {
	if n.ctx.Err() != nil {
		return n.ctx
	}
	return ctx
}

// ID returns the node's peer id.
func (n *Node) ID() peer.ID { return n.host.ID() }

// Host returns the go-libp2p host, for what this package does not offer. The node closes it.
func (n *Node) Host() host.Host { return n.host }

// Done is closed when Close has ended everything.
func (n *Node) Done() <-chan struct{} { return n.done }

// Addresses returns the addresses at which the node can be dialled, each with /p2p/<peer id> at its end.
func (n *Node) Addresses() []string { return n.withID(n.host.Addrs()) }

func (n *Node) withID(addresses []ma.Multiaddr) []string {
	texts := make([]string, 0, len(addresses))
	for _, a := range addresses {
		texts = append(texts, a.String()+"/p2p/"+n.ID().String())
	}
	return texts
}

// NodeInfo is what Info returns; docs/info.md explains the keys.
type NodeInfo struct {
	ID             string          `json:"id"`
	Addresses      []string        `json:"addresses"`
	Listening      []string        `json:"listening"`
	AddressRules   AddressesConfig `json:"address_rules"`
	Agent          string          `json:"agent"`
	Transports     []string        `json:"transports"`
	Security       []string        `json:"security"`
	PrivateNetwork bool            `json:"private_network"`
	Limits         string          `json:"limits"`
	UptimeMs       int64           `json:"uptime_ms"`
	Peers          int             `json:"peers"`
	KnownPeers     int             `json:"known_peers"`
	KeptPeers      int             `json:"kept_peers"`
	Connections    int             `json:"connections"`
	Streams        int             `json:"streams"`
	Protocols      []string        `json:"protocols"`
	Rendezvous     *RendezvousInfo `json:"rendezvous,omitempty"`
	Events         MailboxInfo     `json:"events"`
}

// MailboxInfo counts what went through a mailbox.
type MailboxInfo struct {
	Delivered uint64 `json:"delivered"`
	Dropped   uint64 `json:"dropped"`
	Waiting   int    `json:"waiting"`
}

// Info returns what is known of the node. It costs no network.
func (n *Node) Info() any {
	net := n.host.Network()
	private := n.cfg.PrivateNetwork.File != "" || n.cfg.given["private_network.key"]
	info := NodeInfo{
		ID: n.ID().String(), Addresses: n.Addresses(), Listening: []string{}, Agent: n.cfg.Identify.Agent, Transports: []string{},
		Security: n.cfg.Security, PrivateNetwork: private, Limits: n.cfg.Limits.Preset, UptimeMs: time.Since(n.since).Milliseconds(),
		Peers: len(net.Peers()), KnownPeers: knownPeers(n.host.Peerstore(), n.ID()), KeptPeers: n.keeper.count(), Protocols: []string{},
		Rendezvous: n.RendezvousInfo(),
	}
	info.AddressRules = n.advertised.rules()
	for _, a := range net.ListenAddresses() {
		info.Listening = append(info.Listening, a.String())
	}
	on := n.cfg.transportsOn(private)
	for _, name := range []string{"tcp", "quic", "websocket", "webtransport", "webrtc_direct"} {
		if on[name] {
			info.Transports = append(info.Transports, name)
		}
	}
	for _, c := range net.Conns() {
		info.Connections++
		info.Streams += len(c.GetStreams())
	}
	for _, p := range n.host.Mux().Protocols() {
		info.Protocols = append(info.Protocols, string(p))
	}
	slices.Sort(info.Protocols)
	stats := n.events.stats()
	info.Events = MailboxInfo{stats.Delivered, stats.Dropped, stats.Waiting}
	return info
}

func knownPeers(store peerstore.Peerstore, self peer.ID) int {
	return len(slices.DeleteFunc(store.PeersWithAddrs(), func(id peer.ID) bool { return id == self }))
}
