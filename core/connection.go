package core

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
)

// parsePeerAddress reads an address that ends in /p2p/<peer id>, or a peer id alone: then addr is nil.
func parsePeerAddress(text string) (id peer.ID, addr ma.Multiaddr, err error) {
	text = strings.TrimSpace(text)
	if !strings.HasPrefix(text, "/") {
		id, err = ParsePeer(text)
		return id, nil, err
	}
	whole, err := ma.NewMultiaddr(text)
	if err != nil {
		return "", nil, Errorf(ErrParse, "malformed address %s: %s", quoteShort(text), err)
	}
	addr, id = peer.SplitAddr(whole)
	if id == "" {
		return "", nil, Errorf(ErrParse, "address %s does not end in /p2p/<peer id>", quoteShort(text))
	}
	return id, addr, nil
}

// parsePeerAddresses reads addresses of one peer.
func parsePeerAddresses(texts []string) (peer.ID, []ma.Multiaddr, error) {
	var id peer.ID
	var addresses []ma.Multiaddr
	for _, text := range texts {
		if strings.TrimSpace(text) == "" {
			continue
		}
		next, addr, err := parsePeerAddress(text)
		if err != nil {
			return "", nil, err
		}
		if id != "" && next != id {
			return "", nil, Errorf(ErrInvalid, "addresses of two peers: %s and %s", id, next)
		}
		id = next
		if addr != nil {
			addresses = append(addresses, addr)
		}
	}
	if id == "" {
		return "", nil, Errorf(ErrInvalid, "no address is given")
	}
	return id, addresses, nil
}

// Connect connects to a peer, or finds it connected, and returns its id. addresses are all of that one peer and end in /p2p/<peer id>; the
// peer id alone will do when its addresses are known. ctx bounds all of it. An earlier failure does not hold this attempt back.
// It fails with a *DialError that lists every address and its reason, ErrNoAddress, ErrParse, or ErrInvalid for addresses of two peers.
func (n *Node) Connect(ctx context.Context, addresses []string) (peer.ID, error) {
	id, parsed, err := parsePeerAddresses(addresses)
	if err != nil {
		return "", err
	}
	if err := n.connect(ctx, id, parsed); err != nil {
		return "", err
	}
	return id, nil
}

func (n *Node) connect(ctx context.Context, id peer.ID, addresses []ma.Multiaddr) error {
	if n.ctx.Err() != nil {
		return Errorf(ErrClosed, "the node is closed")
	}
	known := addresses
	if len(known) == 0 {
		known = n.given.of(id)
	}
	if len(known) > 0 {
		n.host.Peerstore().AddAddrs(id, known, peerstore.TempAddrTTL)
	}
	n.dialAtOnce(id)
	// A relayed connection is enough for upstream. Direct addresses are given to get a direct one.
	relayed := n.isConnected(id) && !n.hasDirect(id)
	upgrade := relayed && slices.ContainsFunc(addresses, isDirect)
	if upgrade {
		ctx = network.WithForceDirectDial(ctx, "connect")
	} else {
		ctx = network.WithAllowLimitedConn(ctx, "connect")
	}
	err := n.dialPeer(ctx, id)
	if len(addresses) == 0 && err != nil {
		err = n.dialResolved(ctx, id, err)
	}
	if err != nil && upgrade && Kind(err) == ErrDial && n.isConnected(id) {
		logger.Debug("still relayed", "peer", id, "err", err)
		err = nil // it is found connected, as before
	}
	if err == nil && len(addresses) > 0 {
		n.given.remember(id, addresses)
	}
	return err
}

// dialAtOnce makes the next dial of a peer not wait for an earlier failure's sake.
func (n *Node) dialAtOnce(id peer.ID) {
	if s, ok := n.host.Network().(*swarm.Swarm); ok {
		s.Backoff().Clear(id)
	}
}

// dialResolved dials once more if the DHT knows other addresses than those that failed.
func (n *Node) dialResolved(ctx context.Context, id peer.ID, failed error) error {
	if kind := Kind(failed); kind != ErrNoAddress && kind != ErrDial {
		return failed
	}
	ctx, cancel := n.join(ctx)
	defer cancel()
	tried := map[string]bool{}
	var dial *DialError
	if errors.As(failed, &dial) {
		for _, attempt := range dial.Attempts {
			tried[attempt.Address] = true
		}
	}
	found := n.resolve(ctx, id)
	ctx = n.orEnded(ctx)
	switch {
	case n.isConnected(id), slices.ContainsFunc(found, func(a ma.Multiaddr) bool { return !tried[a.String()] }):
		n.host.Peerstore().AddAddrs(id, found, peerstore.TempAddrTTL)
		n.dialAtOnce(id) // the look may have tried it
		return n.dialPeer(ctx, id)
	case n.dht != nil && ctx.Err() != nil:
		return ctxError(ctx, "%v; looking for others in the DHT", failed)
	case n.dht != nil && Kind(failed) == ErrNoAddress:
		return Errorf(ErrNoAddress, "%s: no address is known, and the DHT does not know one", id)
	}
	return failed
}

func isDirect(a ma.Multiaddr) bool {
	_, err := a.ValueForProtocol(ma.P_CIRCUIT)
	return err != nil
}

// maxGiven bounds the peers whose given addresses are remembered.
const maxGiven = 4096

// givenAddresses remembers the addresses that led to a peer. The peerstore does not: identify replaces them with those that the peer lists
// as its own, and a peer that lists none yet, or others, could not be dialled again.
type givenAddresses struct {
	mu    sync.Mutex
	peers map[peer.ID][]ma.Multiaddr // guarded by mu
}

func (g *givenAddresses) remember(id peer.ID, addresses []ma.Multiaddr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.peers == nil {
		g.peers = map[peer.ID][]ma.Multiaddr{}
	}
	for other := range g.peers { // any one makes room
		if len(g.peers) < maxGiven {
			break
		}
		delete(g.peers, other)
	}
	g.peers[id] = addresses
}

func (g *givenAddresses) forget(id peer.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.peers, id)
}

func (g *givenAddresses) of(id peer.ID) []ma.Multiaddr {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.peers[id]
}

// Disconnect closes all connections to a peer and their streams. A kept peer is connected again after a while.
func (n *Node) Disconnect(id peer.ID) error {
	if n.ctx.Err() != nil {
		return Errorf(ErrClosed, "the node is closed")
	}
	if err := n.host.Network().ClosePeer(id); err != nil {
		logger.Debug("disconnect", "peer", id, "err", err) // the connections are gone all the same
	}
	return nil
}

// Peers returns the connected peers.
func (n *Node) Peers() []peer.ID { return n.host.Network().Peers() }

// PeerInfo is what is known of a peer; docs/info.md explains the keys.
type PeerInfo struct {
	ID          string           `json:"id"`
	Connected   bool             `json:"connected"`
	Addresses   []string         `json:"addresses"`
	Protocols   []string         `json:"protocols"`
	Agent       string           `json:"agent"`
	RTTMs       float64          `json:"rtt_ms"`
	Kept        bool             `json:"kept"`
	Tags        map[string]int   `json:"tags"`
	TagValue    int              `json:"tag_value"`
	Protected   []string         `json:"protected"`
	Connections []ConnectionInfo `json:"connections"`
}

// ConnectionInfo is one connection to a peer.
type ConnectionInfo struct {
	ID        string `json:"id"`
	Address   string `json:"address"`
	Direction string `json:"direction"`
	Transport string `json:"transport"`
	Security  string `json:"security"`
	Muxer     string `json:"muxer"`
	Relayed   bool   `json:"relayed"`
	Limited   bool   `json:"limited"`
	OpenedMs  int64  `json:"opened_ms"`
	Streams   int    `json:"streams"`
}

// PeerInfo returns what is known of a peer, which need not be connected. It costs no network.
func (n *Node) PeerInfo(id peer.ID) any { return n.peerInfo(id) }

// PeersInfo returns PeerInfo of all connected peers.
func (n *Node) PeersInfo() []any {
	infos := []any{}
	for _, id := range n.Peers() {
		infos = append(infos, n.peerInfo(id))
	}
	return infos
}

func (n *Node) peerInfo(id peer.ID) PeerInfo {
	store := n.host.Peerstore()
	info := PeerInfo{
		ID: id.String(), Addresses: texts(store.Addrs(id)), Protocols: []string{}, Connections: []ConnectionInfo{}, Kept: n.keeper.keeps(id),
		RTTMs: float64(store.LatencyEWMA(id)) / float64(time.Millisecond),
	}
	if protocols, err := store.GetProtocols(id); err == nil {
		for _, p := range protocols {
			info.Protocols = append(info.Protocols, string(p))
		}
		slices.Sort(info.Protocols)
	}
	if agent, err := store.Get(id, "AgentVersion"); err == nil {
		info.Agent, _ = agent.(string)
	}
	info.Tags, info.TagValue, info.Protected = n.connections.of(id)
	for _, c := range n.openConnections(id) {
		info.Connections = append(info.Connections, connectionInfo(c))
	}
	info.Connected = len(info.Connections) > 0
	return info
}

// openConnections returns the connections to a peer that do not end yet. Upstream lists the others for a moment longer, and opens nothing on them.
func (n *Node) openConnections(id peer.ID) []network.Conn {
	return slices.DeleteFunc(n.host.Network().ConnsToPeer(id), network.Conn.IsClosed)
}

func connectionInfo(c network.Conn) ConnectionInfo {
	stat, state := c.Stat(), c.ConnState()
	info := ConnectionInfo{
		ID: c.ID(), Address: c.RemoteMultiaddr().String(), Direction: strings.ToLower(stat.Direction.String()),
		Transport: transportName(c.RemoteMultiaddr()), Security: string(state.Security), Muxer: string(state.StreamMultiplexer),
		Relayed: isRelayed(c), Limited: stat.Limited, OpenedMs: stat.Opened.UnixMilli(), Streams: len(c.GetStreams()),
	}
	// Transports with a secure channel and streams of their own leave these empty.
	switch info.Transport {
	case "quic", "webtransport":
		if info.Security == "" {
			info.Security = "/tls/1.0.0"
		}
		if info.Muxer == "" {
			info.Muxer = "quic"
		}
	case "webrtc_direct":
		if info.Security == "" {
			info.Security = "/noise"
		}
		if info.Muxer == "" {
			info.Muxer = "webrtc"
		}
	}
	return info
}

// transportName names the transport of an address as the option in transports does, or "relay".
func transportName(a ma.Multiaddr) string {
	name := ""
	ma.ForEach(a, func(c ma.Component) bool {
		switch c.Protocol().Code {
		case ma.P_CIRCUIT:
			name = "relay"
		case ma.P_WEBTRANSPORT:
			name = "webtransport"
		case ma.P_WEBRTC_DIRECT:
			name = "webrtc_direct"
		case ma.P_QUIC_V1:
			name = "quic"
		case ma.P_WS, ma.P_WSS:
			name = "websocket"
		case ma.P_TCP:
			name = "tcp"
		}
		return name != "relay"
	})
	return name
}
