package core

import (
	"slices"
	"strings"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	basichost "github.com/libp2p/go-libp2p/p2p/host/basic"
	ma "github.com/multiformats/go-multiaddr"
)

// newNATManager looks for a router and asks it for ports; tests have their own.
var newNATManager = basichost.NewNATManager

// portMappings hears of the ports that the router forwards. Upstream tells nobody, but the host asks for the mapping of each address every
// few seconds, and here is where it asks.
type portMappings struct {
	mu      sync.Mutex
	node    *Node                // guarded by mu; nil before the node runs
	network network.Network      // guarded by mu
	manager basichost.NATManager // guarded by mu
	found   map[string]string    // guarded by mu; external by own address
}

// PortMapInfo tells of the ports that the router forwards.
type PortMapInfo struct {
	Enabled  bool          `json:"enabled"`
	Router   bool          `json:"router"`
	Mappings []PortMapping `json:"mappings"`
}

// PortMapping is one port that the router forwards.
type PortMapping struct {
	Address  string `json:"address"`
	External string `json:"external"`
}

func (m *portMappings) start(net network.Network) basichost.NATManager {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.network, m.manager = net, newNATManager(net)
	return m
}

func (m *portMappings) attach(n *Node) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.node = n
}

func (m *portMappings) upstream() basichost.NATManager {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.manager
}

// GetMapping is called by the host.
func (m *portMappings) GetMapping(listen ma.Multiaddr) (external ma.Multiaddr) {
	defer recovered("port mapping")
	external = m.upstream().GetMapping(listen)
	m.mu.Lock()
	defer m.mu.Unlock()
	text := ""
	if external != nil && slices.ContainsFunc(m.network.ListenAddresses(), listen.Equal) { // the host may ask for what was just released
		text = external.String()
	}
	m.set(listen.String(), text)
	return external
}

// forget is told which addresses the node has released.
func (m *portMappings) forget(addresses []ma.Multiaddr) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, own := range addresses {
		m.set(own.String(), "")
	}
}

func (m *portMappings) set(own, external string) {
	if m.found[own] == external {
		return
	}
	if external == "" {
		delete(m.found, own)
	} else {
		m.found[own] = external
	}
	if m.node != nil {
		m.node.emit(Event{Type: PortMapped, Address: own, Source: external})
	}
}

// HasDiscoveredNAT is called by the host.
func (m *portMappings) HasDiscoveredNAT() bool { return m.upstream().HasDiscoveredNAT() }

// Close is called by the host.
func (m *portMappings) Close() error { return m.upstream().Close() }

func (m *portMappings) info(enabled bool) PortMapInfo {
	info := PortMapInfo{Enabled: enabled, Mappings: []PortMapping{}}
	if manager := m.upstream(); manager != nil {
		info.Router = manager.HasDiscoveredNAT()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for own, external := range m.found {
		info.Mappings = append(info.Mappings, PortMapping{own, external})
	}
	slices.SortFunc(info.Mappings, func(a, b PortMapping) int { return strings.Compare(a.Address, b.Address) })
	return info
}
