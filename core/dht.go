package core

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	ds "github.com/ipfs/go-datastore"
	kad "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p-kad-dht/amino"
	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p-kad-dht/records"
	kadrecord "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// DHT is a node's part in the distributed hash table (libp2p/specs, kad-dht). Its methods may be called from any goroutine.
type DHT struct {
	node      *Node
	cfg       DHTConfig
	validator kadrecord.NamespacedValidator
	asked     *askedVerdicts
	store     *dhtStore
	tables    []*dhtTable // one, or two of a dual DHT, the public one first
	own       *ownRecords
	sweeps    sweeps

	switching sync.Mutex // held while the mode changes

	mu   sync.Mutex
	mode string // guarded by mu; client, server or auto
}

// dhtTable is one routing table with the protocol that fills it.
type dhtTable struct {
	network  string // any, lan or wan
	protocol protocol.ID
	host     *dhtHost
	dht      *kad.IpfsDHT
	data     ds.Batching         // this table's part of the store
	values   *records.ValueStore // the same records that dht keeps
	messages *pb.ProtocolMessenger
}

// DHT returns the node's DHT. It fails with ErrState if the node has it off.
func (n *Node) DHT() (*DHT, error) {
	if n.dht == nil {
		return nil, Errorf(ErrState, "the DHT is off; the option dht.mode turns it on")
	}
	return n.dht, nil
}

// startDHT is called before the node listens, so that the first identify names the DHT's protocol.
func startDHT(n *Node) (*DHT, error) {
	d := &DHT{node: n, cfg: n.cfg.DHT, mode: n.cfg.DHT.Mode}
	d.asked = newAskedVerdicts(d)
	d.validator = d.validators()
	store, err := openDHTStore(d.cfg.Store, d.cfg.MaxBytes, d.node.ID())
	if err != nil {
		return nil, err
	}
	d.store = store
	if err := n.onClose(nil, d.close); err != nil {
		store.close()
		return nil, err
	}
	networks := []string{d.cfg.Network}
	if d.cfg.Network == "dual" {
		networks = []string{"wan", "lan"}
	}
	for _, network := range networks {
		t, err := d.newTable(network)
		if err != nil {
			return nil, err
		}
		d.tables = append(d.tables, t)
	}
	d.applyMode(false)
	d.watchReachability()
	if d.own, err = loadOwnRecords(d); err != nil {
		return nil, err
	}
	return d, d.resumeProviding()
}

func (d *DHT) newTable(network string) (t *dhtTable, err error) {
	defer Recovered("start the DHT", &err)
	prefix := d.cfg.Prefix
	if prefix == "" {
		prefix = publicPrefix
	}
	if network == "lan" {
		prefix += "/lan"
	}
	t = &dhtTable{network: network, protocol: protocol.ID(prefix + "/kad/1.0.0"), data: d.store.part(network)}
	t.host = newDHTHost(d.node)
	c := &d.cfg
	options := []kad.Option{
		// The host decides whether the DHT is a server, for upstream cannot change its mind.
		kad.Mode(kad.ModeServer),
		// Named in full: with a prefix upstream insists on validators of its own types, which are not guarded.
		kad.ProtocolPrefix("/libp2pgo"), kad.V1ProtocolOverride(t.protocol),
		kad.Validator(d.validator), kad.Datastore(t.data), kad.WithCustomMessageSender(newDHTSender),
		kad.BucketSize(c.BucketSize), kad.Concurrency(c.Concurrency), kad.Resiliency(c.Resiliency),
		kad.MaxRecordAge(milliseconds(c.RecordAgeMs)),
		kad.ProviderManagerOpts(records.ProvideValidity(milliseconds(c.ProviderAgeMs))),
		kad.RoutingTableRefreshQueryTimeout(milliseconds(c.RefreshTimeoutMs)),
	}
	if c.RefreshMs > 0 {
		options = append(options, kad.RoutingTableRefreshPeriod(milliseconds(c.RefreshMs)))
	} else {
		options = append(options, kad.DisableAutoRefresh())
	}
	switch network {
	case "wan":
		options = append(options, kad.QueryFilter(guardedQueryFilter(kad.PublicQueryFilter)),
			kad.RoutingTableFilter(guardedTableFilter(kad.PublicRoutingTableFilter)),
			kad.RoutingTablePeerDiversityFilter(kad.NewRTPeerDiversityFilter(t.host, amino.DefaultMaxPeersPerIPGroupPerCpl, amino.DefaultMaxPeersPerIPGroup)),
			kad.AddressFilter(publicOnly))
	case "lan":
		options = append(options, kad.QueryFilter(guardedQueryFilter(kad.PrivateQueryFilter)),
			kad.RoutingTableFilter(guardedTableFilter(kad.PrivateRoutingTableFilter)))
	}
	t.values = records.NewValueStore(t.data, d.validator, milliseconds(c.RecordAgeMs))
	if t.dht, err = kad.New(t.host, options...); err != nil {
		t.host.close()
		return nil, Errorf(ErrInternal, "start the DHT: %w", err)
	}
	t.messages, err = pb.NewProtocolMessenger(t.dht.MessageSender())
	if err != nil {
		return nil, Errorf(ErrInternal, "start the DHT: %w", err)
	}
	return t, nil
}

func publicOnly(addresses []ma.Multiaddr) []ma.Multiaddr {
	return ma.FilterAddrs(addresses, manet.IsPublicAddr)
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// The filters are called on upstream's goroutines. Who cannot be judged stays out.

func guardedQueryFilter(filter kad.QueryFilterFunc) kad.QueryFilterFunc {
	return func(table any, info peer.AddrInfo) (ok bool) {
		defer recovered("DHT query filter")
		return filter(table, info)
	}
}

func guardedTableFilter(filter kad.RouteTableFilterFunc) kad.RouteTableFilterFunc {
	return func(table any, id peer.ID) (ok bool) {
		defer recovered("DHT table filter")
		return filter(table, id)
	}
}

// close is the node's closer: nothing of the DHT touches the store when it is closed.
func (d *DHT) close() {
	d.sweeps.close()
	for _, t := range d.tables {
		t.host.close()
		within(closeLimit, "close the DHT", func() {
			if err := t.dht.Close(); err != nil {
				logger.Warn("close the DHT", "table", t.network, "err", err)
			}
		})
	}
	d.store.close()
}

// Mode returns the mode that is set: client, server or auto.
func (d *DHT) Mode() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mode
}

// SetMode changes the mode to client, server or auto. What is stored and known stays. A server that becomes a client is dropped from the
// tables of its peers.
func (d *DHT) SetMode(mode string) error {
	if mode != "client" && mode != "server" && mode != "auto" {
		return Errorf(ErrInvalid, "DHT mode %s is none of client, server, auto", quoteShort(mode))
	}
	if d.node.ctx.Err() != nil {
		return ctxError(d.node.ctx, "DHT mode")
	}
	d.mu.Lock()
	d.mode = mode
	d.mu.Unlock()
	d.applyMode(true)
	return nil
}

// applyMode makes each table a server or a client, and tells of a change.
func (d *DHT) applyMode(tell bool) {
	d.switching.Lock()
	defer d.switching.Unlock()
	before := d.serving()
	mode, reachable := d.Mode(), d.node.Reachability() == "public"
	for _, t := range d.tables {
		// Peers of the local network reach the node whatever the world does.
		t.host.serve(mode == "server" || mode == "auto" && (reachable || t.network == "lan"))
	}
	if after := d.serving(); tell && !slices.Equal(before, after) {
		d.node.emit(Event{Type: DHTModeChanged, Source: d.modeWord(), Addresses: after})
	}
}

// serving returns the protocols that the node answers now.
func (d *DHT) serving() []string {
	var protocols []string
	for _, t := range d.tables {
		if t.host.isServing() {
			protocols = append(protocols, string(t.protocol))
		}
	}
	return protocols
}

// modeWord is server if any table is one.
func (d *DHT) modeWord() string {
	if len(d.serving()) > 0 {
		return "server"
	}
	return "client"
}

// watchReachability makes an automatic node a server while it is known to be reachable.
func (d *DHT) watchReachability() {
	d.node.spawn("DHT mode", func() {
		for d.node.ctx.Err() == nil {
			_, changed := d.node.nat.reach.state()
			d.applyMode(true)
			select {
			case <-changed:
			case <-d.node.ctx.Done():
				return
			}
		}
	})
}

// active returns the tables that know a peer; all if none does.
func (d *DHT) active() []*dhtTable {
	tables := slices.DeleteFunc(slices.Clone(d.tables), func(t *dhtTable) bool { return t.dht.RoutingTable().Size() == 0 })
	if len(tables) == 0 {
		return d.tables
	}
	return tables
}

func (d *DHT) tableSize() int {
	size := 0
	for _, t := range d.tables {
		size += t.dht.RoutingTable().Size()
	}
	return size
}

// lonely is the reason when nothing can be asked, nil if something can.
func (d *DHT) lonely(what string) error {
	if d.tableSize() > 0 {
		return nil
	}
	return Errorf(ErrPeers, "%s: no peer in the DHT's table; connect to one that is a server of %s", what, d.protocols())
}

func (d *DHT) protocols() string {
	var names []string
	for _, t := range d.tables {
		names = append(names, string(t.protocol))
	}
	return strings.Join(names, " or ")
}

// namespaces lists those that records may have.
func (d *DHT) namespaces() string {
	return strings.Join(slices.Sorted(maps.Keys(d.validator)), ", ")
}

// dhtError puts an error of the DHT into our terms.
func dhtError(ctx context.Context, err error, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	if ctx.Err() != nil {
		return ctxError(ctx, "%s", what)
	}
	if strings.Contains(err.Error(), "failed to find any peer in table") {
		return Errorf(ErrPeers, "%s: no peer in the DHT's table", what)
	}
	return translate(ctx, err, ErrRefused, "%s", what)
}
