package core

import (
	"context"
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	ma "github.com/multiformats/go-multiaddr"
)

// EventType names an Event.
type EventType int

const (
	// PeerConnected is the first connection to a peer: Peer, Address, Inbound, Relayed, Limited.
	PeerConnected EventType = iota + 1
	// PeerDisconnected is the end of the last connection to a peer: Peer.
	PeerDisconnected
	// PeerPath is a change of the best path between direct and relayed: Peer, Address, Inbound, Relayed, Limited.
	PeerPath
	// PeerFound is a peer met by discovery: Peer, Source ("mdns", "bootstrap"), Addresses.
	PeerFound
	// PeerUnreachable is a failed attempt at a kept or bootstrap peer: Peer, Source ("keep", "bootstrap"), Err, RetryMs.
	PeerUnreachable
	// AddressesChanged is a change of the node's own addresses: Addresses, all of them.
	AddressesChanged
	// ListenFailed is an address that was not bound: Address, Err.
	ListenFailed
	// DHTValidate asks for a verdict on a value for the DHT: Key, Data, Verdict.
	DHTValidate
	// DHTModeChanged tells that the node began or ceased to answer for the DHT: Source ("server", "client"), Addresses, the protocols answered.
	DHTModeChanged
	// PeerGraylisted is a peer whose score fell below pubsub.score.graylist_threshold: Peer, Score.
	PeerGraylisted
	// PeerPardoned is a peer whose score rose above it again, or was forgotten: Peer, Score.
	PeerPardoned
)

// Events of NATs and relays.
const (
	// ReachabilityChanged is news of whether others can dial the node: State ("public", "private", "unknown"), Source ("option", "autonat",
	// "autonat_v2", "none").
	ReachabilityChanged EventType = iota + 70
	// AddressReachabilityChanged is the same for one public address, by AutoNAT version 2: Address, State.
	AddressReachabilityChanged
	// NATTypeChanged is news of the NAT: Source ("udp", "tcp"), State ("endpoint_independent", "endpoint_dependent", "unknown").
	NATTypeChanged
	// HolePunched is the outcome of one attempt at a direct connection: Peer, State, HolePunch.
	HolePunched
	// ReservationChanged is news of a place with a relay: Peer, State ("made", "renewed", "lost", "failed"), Reservation.
	ReservationChanged
	// PortMapped is a port that the router forwards: Address, Source (the external address; "" if it does so no more).
	PortMapped
)

var eventTypeNames = map[EventType]string{
	PeerConnected: "PeerConnected", PeerDisconnected: "PeerDisconnected", PeerPath: "PeerPath", PeerFound: "PeerFound",
	PeerUnreachable: "PeerUnreachable", AddressesChanged: "AddressesChanged", ListenFailed: "ListenFailed",
	DHTValidate: "DHTValidate", DHTModeChanged: "DHTModeChanged", PeerGraylisted: "PeerGraylisted", PeerPardoned: "PeerPardoned",
	ReachabilityChanged: "ReachabilityChanged", AddressReachabilityChanged: "AddressReachabilityChanged", NATTypeChanged: "NATTypeChanged",
	HolePunched: "HolePunched", ReservationChanged: "ReservationChanged", PortMapped: "PortMapped",
}

func (t EventType) String() string {
	if name, ok := eventTypeNames[t]; ok {
		return name
	}
	return "EventType(?)"
}

// Event is what a node tells of itself and its peers. Which fields a type uses stands beside it.
type Event struct {
	Type                      EventType
	Peer                      peer.ID
	Address                   string
	Source                    string
	Addresses                 []string
	Inbound, Relayed, Limited bool
	Err                       error
	RetryMs                   int64 // until the next attempt
	Key                       string
	Data                      []byte
	Verdict                   *Verdict
	Score                     float64
	State                     string
	HolePunch                 *HolePunchAttempt
	Reservation               *ReservationEvent
}

func (n *Node) emit(e Event) { n.events.put(n.ctx, e, 0) } // never waits: drop-oldest

// watchAddresses reports the node's own addresses whenever they change.
func (n *Node) watchAddresses() error {
	// A subscription that is not drained blocks whoever emits, the host's Close among them: this one is drained until it is closed.
	sub, err := n.host.EventBus().Subscribe(new(event.EvtLocalAddressesUpdated), eventbus.BufSize(64), eventbus.Name("libp2pgo"))
	if err != nil {
		return Errorf(ErrInternal, "subscribe to address changes: %w", err)
	}
	context.AfterFunc(n.ctx, func() { sub.Close() })
	n.spawn("address events", func() {
		var last []string
		for {
			select {
			case _, ok := <-sub.Out():
				if !ok {
					return
				}
			case <-n.advertised.changed: // sooner than go-libp2p looks at it
				if n.ctx.Err() != nil {
					continue
				}
			}
			addresses := n.Addresses()
			slices.Sort(addresses)
			if !slices.Equal(addresses, last) {
				last = addresses
				n.emit(Event{Type: AddressesChanged, Addresses: addresses})
			}
		}
	})
	return nil
}

// peerTable follows every connection and turns them into events about peers. The swarm calls its notifiees while it opens and closes
// connections, so what they bring is only queued there, in order, and worked off by one goroutine.
type peerTable struct {
	node *Node

	mu    sync.Mutex
	queue []connChange // guarded by mu
	wake  chan struct{}

	peers map[peer.ID]*peerState // of the goroutine alone
}

type connChange struct {
	conn  network.Conn
	open  bool
	alone bool // when its opening was queued, there was no other to the peer
}

type peerState struct {
	conns   []network.Conn
	relayed bool
}

func newPeerTable(n *Node) *peerTable {
	t := &peerTable{node: n, wake: make(chan struct{}, 1), peers: map[peer.ID]*peerState{}}
	notify := &network.NotifyBundle{
		ConnectedF:    func(_ network.Network, c network.Conn) { t.push(connChange{conn: c, open: true}) },
		DisconnectedF: func(_ network.Network, c network.Conn) { t.push(connChange{conn: c}) },
	}
	n.host.Network().Notify(notify)
	n.spawn("peer events", func() {
		for {
			select {
			case <-t.wake:
				t.workOff()
			case <-n.ctx.Done():
				return
			}
		}
	})
	return t
}

func (t *peerTable) push(change connChange) {
	t.mu.Lock()
	if t.node.ctx.Err() == nil {
		if change.open { // under mu: connections are opened side by side, and one that looked before another must be queued before it
			conns := t.node.host.Network().ConnsToPeer(change.conn.RemotePeer())
			change.alone = len(conns) == 1 && conns[0] == change.conn
		}
		t.queue = append(t.queue, change)
	}
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *peerTable) workOff() {
	t.mu.Lock()
	queue := t.queue
	t.queue = nil
	t.mu.Unlock()
	for _, change := range queue {
		guarded("peer event", func() { t.apply(change) })
	}
}

func (t *peerTable) apply(change connChange) {
	id := change.conn.RemotePeer()
	state := t.peers[id]
	if change.open {
		if isRelayed(change.conn) && isInbound(change.conn) {
			t.node.nat.punches.relayedIn(id)
		}
		if state != nil && change.alone { // news of a close comes late, after that of the next connection
			t.gone(id)
			state = nil
		}
		if state == nil {
			state = &peerState{relayed: isRelayed(change.conn)}
			t.peers[id] = state
			state.conns = append(state.conns, change.conn)
			t.node.emit(connEvent(PeerConnected, change.conn))
			t.node.keeper.connected(id)
			t.node.relays.connected(id)
			return
		}
		state.conns = append(state.conns, change.conn)
	} else {
		if state == nil {
			return
		}
		state.conns = slices.DeleteFunc(state.conns, func(c network.Conn) bool { return c == change.conn })
		if len(state.conns) == 0 {
			t.gone(id)
			return
		}
		t.node.relays.suspect(id)
	}
	best := bestConn(state.conns)
	if relayed := isRelayed(best); relayed != state.relayed {
		state.relayed = relayed
		t.node.emit(connEvent(PeerPath, best))
	}
	if !isRelayed(best) && slices.ContainsFunc(state.conns, isRelayed) {
		t.node.retireRelayed(id)
	}
}

func (t *peerTable) gone(id peer.ID) {
	delete(t.peers, id)
	t.node.emit(Event{Type: PeerDisconnected, Peer: id})
	t.node.keeper.disconnected(id)
	t.node.meetings.disconnected(id)
	t.node.relays.disconnected(id)
}

// bestConn prefers a direct connection, then one without limits.
func bestConn(conns []network.Conn) network.Conn {
	best := conns[0]
	for _, c := range conns[1:] {
		switch {
		case isRelayed(best) && !isRelayed(c), isRelayed(c) == isRelayed(best) && best.Stat().Limited && !c.Stat().Limited:
			best = c
		}
	}
	return best
}

func connEvent(eventType EventType, c network.Conn) Event {
	return Event{
		Type: eventType, Peer: c.RemotePeer(), Address: connAddress(c), Inbound: c.Stat().Direction == network.DirInbound,
		Relayed: isRelayed(c), Limited: c.Stat().Limited,
	}
}

// connAddress is the peer's address with its id at the end, as Connect takes it.
func connAddress(c network.Conn) string {
	return c.RemoteMultiaddr().String() + "/p2p/" + c.RemotePeer().String()
}

func isRelayed(c network.Conn) bool {
	_, err := c.RemoteMultiaddr().ValueForProtocol(ma.P_CIRCUIT)
	return err == nil
}
