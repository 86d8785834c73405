package core

import (
	"encoding/json"

	"github.com/libp2p/go-libp2p/core/network"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
)

// nodeLimits are the limits of a node, and what they refused.
type nodeLimits struct {
	manager  network.ResourceManager
	state    network.ResourceManager // the one that manager wraps
	concrete rcmgr.ConcreteLimitConfig
	preset   string
	perIP    PerIPInfo
}

// LimitsInfo is what Limits returns; docs/info.md explains the keys.
type LimitsInfo struct {
	Preset     string            `json:"preset"`
	Usage      LimitsUsage       `json:"usage"`
	Limits     json.RawMessage   `json:"limits"`
	PerIP      PerIPInfo         `json:"per_ip"`
	Refused    map[string]int64  `json:"refused"`
	Watermarks ConnectionsConfig `json:"watermarks"`
}

// LimitsUsage is what is in use, by scope.
type LimitsUsage struct {
	System    ScopeUsage            `json:"system"`
	Transient ScopeUsage            `json:"transient"`
	Services  map[string]ScopeUsage `json:"services"`
	Protocols map[string]ScopeUsage `json:"protocols"`
	Peers     map[string]ScopeUsage `json:"peers"`
}

// ScopeUsage is what is in use in one scope.
type ScopeUsage struct {
	StreamsInbound      int   `json:"streams_inbound"`
	StreamsOutbound     int   `json:"streams_outbound"`
	ConnectionsInbound  int   `json:"connections_inbound"`
	ConnectionsOutbound int   `json:"connections_outbound"`
	FileDescriptors     int   `json:"file_descriptors"`
	Memory              int64 `json:"memory"`
}

// PerIPInfo bounds the connections from one IP address; 0: there is no bound.
type PerIPInfo struct {
	Connections    int     `json:"connections"`
	ConnectionRate float64 `json:"connection_rate"`
}

// Limits returns the limits of resources, what is in use, and what was refused. It costs no network.
func (n *Node) Limits() (any, error) {
	if n.ctx.Err() != nil {
		return nil, Errorf(ErrClosed, "the node is closed")
	}
	l := n.limits
	partial := l.concrete.ToPartialLimitConfig()
	doc, err := json.Marshal(&partial)
	if err != nil {
		return nil, Errorf(ErrInternal, "limits: %s", err)
	}
	info := LimitsInfo{Preset: l.preset, Limits: doc, PerIP: l.perIP, Watermarks: n.connections.watermarks(), Refused: map[string]int64{},
		Usage: LimitsUsage{Services: map[string]ScopeUsage{}, Protocols: map[string]ScopeUsage{}, Peers: map[string]ScopeUsage{}}}
	n.numbers.refusals.each(func(scope string, count int64) { info.Refused[scope] = count })
	state, ok := l.state.(rcmgr.ResourceManagerState)
	if !ok {
		return info, nil
	}
	stat := state.Stat()
	info.Usage.System, info.Usage.Transient = scopeUsage(stat.System), scopeUsage(stat.Transient)
	for name, s := range stat.Services {
		info.Usage.Services[name] = scopeUsage(s)
	}
	for name, s := range stat.Protocols {
		info.Usage.Protocols[string(name)] = scopeUsage(s)
	}
	for id, s := range stat.Peers {
		info.Usage.Peers[id.String()] = scopeUsage(s)
	}
	return info, nil
}

func scopeUsage(s network.ScopeStat) ScopeUsage {
	return ScopeUsage{s.NumStreamsInbound, s.NumStreamsOutbound, s.NumConnsInbound, s.NumConnsOutbound, s.NumFD, s.Memory}
}
