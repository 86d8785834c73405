package core

import (
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
)

// maxMDNSPeers bounds the peers remembered as reported; beyond it all are forgotten and reported again.
const maxMDNSPeers = 4096

// mdnsPeers hears of peers on the local network. Upstream calls it for every answer, on goroutines of its own, with the same peers again
// and again; an event is made of what is new.
type mdnsPeers struct {
	node *Node
	mu   sync.Mutex
	seen map[peer.ID][]string // guarded by mu
}

// startMDNS announces the addresses that the node has by now, and reports the peers that it meets.
func (n *Node) startMDNS() error {
	if !n.cfg.MDNS.Enabled {
		return nil
	}
	service := mdns.NewMdnsService(n.host, n.cfg.MDNS.Service, &mdnsPeers{node: n, seen: map[peer.ID][]string{}})
	var err error
	func() {
		defer Recovered("mdns", &err)
		err = service.Start()
	}()
	if err != nil {
		service.Close()
		return Errorf(ErrSystem, "mdns: %w", err)
	}
	return n.onClose(nil, func() { service.Close() })
}

// HandlePeerFound is called by upstream.
func (m *mdnsPeers) HandlePeerFound(info peer.AddrInfo) {
	defer recovered("mdns")
	n := m.node
	if info.ID == n.ID() || n.ctx.Err() != nil {
		return
	}
	addresses := texts(info.Addrs)
	slices.Sort(addresses)
	m.mu.Lock()
	known := slices.Equal(m.seen[info.ID], addresses)
	if !known {
		if len(m.seen) >= maxMDNSPeers {
			clear(m.seen)
		}
		m.seen[info.ID] = addresses
	}
	m.mu.Unlock()
	n.host.Peerstore().AddAddrs(info.ID, info.Addrs, peerstore.TempAddrTTL)
	if !known {
		n.emit(Event{Type: PeerFound, Peer: info.ID, Source: "mdns", Addresses: addresses})
	}
	if n.cfg.MDNS.Connect && !n.isConnected(info.ID) {
		n.spawn("mdns connect", func() {
			if err := n.connect(n.ctx, info.ID, info.Addrs); err != nil {
				logger.Debug("mdns connect", "peer", info.ID, "err", err)
			}
		})
	}
}
