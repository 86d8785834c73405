package core

import (
	"errors"
	"math"
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	ma "github.com/multiformats/go-multiaddr"
)

// refusals counts what the node's resource limits turned away.
type refusals struct {
	connections, ips, streams, peers, protocols, protocolPeers, services, servicePeers, memory atomic.Int64
}

var _ rcmgr.MetricsReporter = (*refusals)(nil)

func (r *refusals) BlockConn(network.Direction, bool)      { r.connections.Add(1) }
func (r *refusals) BlockStream(peer.ID, network.Direction) { r.streams.Add(1) }
func (r *refusals) BlockPeer(peer.ID)                      { r.peers.Add(1) }
func (r *refusals) BlockProtocol(protocol.ID)              { r.protocols.Add(1) }
func (r *refusals) BlockProtocolPeer(protocol.ID, peer.ID) { r.protocolPeers.Add(1) }
func (r *refusals) BlockService(string)                    { r.services.Add(1) }
func (r *refusals) BlockServicePeer(string, peer.ID)       { r.servicePeers.Add(1) }
func (r *refusals) BlockMemory(int)                        { r.memory.Add(1) }
func (r *refusals) AllowConn(network.Direction, bool)      {}
func (r *refusals) AllowStream(peer.ID, network.Direction) {}
func (r *refusals) AllowPeer(peer.ID)                      {}
func (r *refusals) AllowProtocol(protocol.ID)              {}
func (r *refusals) AllowService(string)                    {}
func (r *refusals) AllowMemory(int)                        {}

// each calls fn with every count.
func (r *refusals) each(fn func(scope string, n int64)) {
	fn("connection", r.connections.Load())
	fn("ip", r.ips.Load())
	fn("stream", r.streams.Load())
	fn("peer", r.peers.Load())
	fn("protocol", r.protocols.Load())
	fn("protocol_peer", r.protocolPeers.Load())
	fn("service", r.services.Load())
	fn("service_peer", r.servicePeers.Load())
	fn("memory", r.memory.Load())
}

// countedManager counts what upstream refuses by IP address, of which it tells its reporter nothing.
type countedManager struct {
	network.ResourceManager
	refused *refusals
}

// OpenConnection implements network.ResourceManager.
func (m *countedManager) OpenConnection(dir network.Direction, usefd bool, endpoint ma.Multiaddr) (network.ConnManagementScope, error) {
	scope, err := m.ResourceManager.OpenConnection(dir, usefd, endpoint)
	if err != nil && !errors.Is(err, network.ErrResourceLimitExceeded) {
		m.refused.ips.Add(1)
	}
	return scope, err
}

// GetConnLimit implements connmgr.GetConnLimiter: go-libp2p warns of watermarks above it.
func (m *countedManager) GetConnLimit() int {
	if l, ok := m.ResourceManager.(connmgr.GetConnLimiter); ok {
		return l.GetConnLimit()
	}
	return math.MaxInt
}

// measureLimits adds how much of the resource limits is used, and what they refused.
func (n *Node) measureLimits(m *Measurements) {
	memory := m.Gauge("libp2pgo_resource_memory_bytes", "Memory charged for connections and streams; system: all of it, transient: of those that are being set up.")
	files := m.Gauge("libp2pgo_resource_file_descriptors", "File descriptors of connections.")
	conns := m.Gauge("libp2pgo_resource_connections", "Connections as the resource limits count them.")
	streams := m.Gauge("libp2pgo_resource_streams", "Streams as the resource limits count them.")
	limits := m.Gauge("libp2pgo_resource_limit", "The limits on these; absent where there is none.")
	look := func(name string) func(network.ResourceScope) error {
		return func(scope network.ResourceScope) error {
			s := scope.Stat()
			memory.Count(s.Memory, "scope", name)
			files.Count(int64(s.NumFD), "scope", name)
			conns.Count(int64(s.NumConnsInbound), "scope", name, "direction", "inbound")
			conns.Count(int64(s.NumConnsOutbound), "scope", name, "direction", "outbound")
			streams.Count(int64(s.NumStreamsInbound), "scope", name, "direction", "inbound")
			streams.Count(int64(s.NumStreamsOutbound), "scope", name, "direction", "outbound")
			limited, ok := scope.(rcmgr.ResourceScopeLimiter)
			if !ok {
				return nil
			}
			l := limited.Limit()
			for _, bound := range []struct {
				resource string
				value    int64
			}{
				{"memory_bytes", l.GetMemoryLimit()}, {"file_descriptors", int64(l.GetFDLimit())},
				{"connections", int64(l.GetConnTotalLimit())}, {"streams", int64(l.GetStreamTotalLimit())},
			} {
				if bound.value < 1<<31-1 || bound.resource == "memory_bytes" && bound.value < 1<<62 {
					limits.Count(bound.value, "scope", name, "resource", bound.resource)
				}
			}
			return nil
		}
	}
	resources := n.host.Network().ResourceManager()
	resources.ViewSystem(look("system"))
	resources.ViewTransient(look("transient"))
	refused := m.Counter("libp2pgo_resource_refused_total", "What the resource limits turned away, by what it was, or by the limit that it would have exceeded.")
	n.numbers.refusals.each(func(scope string, count int64) { refused.Count(count, "scope", scope) })
}
