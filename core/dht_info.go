package core

import (
	"context"
	"slices"
	"time"

	kb "github.com/libp2p/go-libp2p-kbucket"
	"github.com/libp2p/go-libp2p/core/peer"
)

// DHTInfo is what DHT.Info returns; docs/info.md explains the keys.
type DHTInfo struct {
	Mode          string         `json:"mode"`
	Serving       bool           `json:"serving"`
	Prefix        string         `json:"prefix"`
	Network       string         `json:"network"`
	Namespaces    []string       `json:"namespaces"`
	Peers         int            `json:"peers"`
	Store         string         `json:"store"`
	OwnRecords    int            `json:"own_records"`
	Providing     int            `json:"providing"`
	ProvidesDue   int            `json:"provides_due"`
	VerdictsLate  int64          `json:"verdicts_late"`
	StoredBytes   int64          `json:"stored_bytes"`
	RefusedFull   int64          `json:"refused_full"`
	RoutingTables []DHTTableInfo `json:"routing_tables"`
}

// DHTTableInfo is a routing table in DHTInfo.
type DHTTableInfo struct {
	Network     string        `json:"network"`
	Protocol    string        `json:"protocol"`
	Serving     bool          `json:"serving"`
	NetworkSize int           `json:"network_size"`
	Records     int           `json:"records"`
	Providers   int           `json:"providers"`
	Peers       []DHTPeerInfo `json:"peers"`
}

// DHTPeerInfo is a peer in a routing table.
type DHTPeerInfo struct {
	ID        string `json:"id"`
	Bucket    int    `json:"bucket"`
	Connected bool   `json:"connected"`
	AddedMs   int64  `json:"added_ms"`
	HeardMs   int64  `json:"heard_ms"`
}

// Info returns a DHTInfo. It costs no network; counting what is stored costs time where much is.
func (d *DHT) Info() any {
	info := DHTInfo{Mode: d.Mode(), Serving: d.modeWord() == "server", Prefix: d.cfg.Prefix, Network: d.cfg.Network, Peers: d.tableSize(),
		Store: d.cfg.Store, OwnRecords: d.own.count(), VerdictsLate: d.asked.late.Load(),
		StoredBytes: d.store.all.bytes.Load(), RefusedFull: d.store.all.refused.Load(), RoutingTables: []DHTTableInfo{}}
	if d.cfg.public() {
		info.Prefix = publicPrefix
	}
	for namespace := range d.validator {
		info.Namespaces = append(info.Namespaces, namespace)
	}
	slices.Sort(info.Namespaces)
	info.Providing, info.ProvidesDue = d.providing()
	for _, t := range d.tables {
		info.RoutingTables = append(info.RoutingTables, d.tableInfo(t))
	}
	return info
}

func (d *DHT) tableInfo(t *dhtTable) DHTTableInfo {
	info := DHTTableInfo{Network: t.network, Protocol: string(t.protocol), Serving: t.host.isServing(), Peers: []DHTPeerInfo{}}
	if size, err := t.dht.NetworkSize(); err == nil {
		info.NetworkSize = int(size)
	}
	ctx, cancel := context.WithTimeout(d.node.ctx, time.Second)
	defer cancel()
	for namespace := range d.validator {
		info.Records += countKeys(ctx, t.data, "/"+namespace)
	}
	info.Providers = countKeys(ctx, t.data, "/providers")
	self := kb.ConvertPeerID(d.node.ID())
	for _, p := range t.dht.RoutingTable().GetPeerInfos() {
		info.Peers = append(info.Peers, DHTPeerInfo{ID: p.Id.String(), Bucket: kb.CommonPrefixLen(self, kb.ConvertPeerID(p.Id)),
			Connected: d.node.isConnected(p.Id), AddedMs: p.AddedAt.UnixMilli(), HeardMs: unixMilli(p.LastSuccessfulOutboundQueryAt)})
	}
	slices.SortFunc(info.Peers, func(a, b DHTPeerInfo) int {
		if a.Bucket != b.Bucket {
			return b.Bucket - a.Bucket
		}
		return int(a.AddedMs - b.AddedMs)
	})
	return info
}

func unixMilli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// byDistance returns the peers of the table, those closest to this node first.
func (t *dhtTable) byDistance() []peer.ID {
	table := t.dht.RoutingTable()
	return table.NearestPeers(kb.ConvertPeerID(t.dht.PeerID()), table.Size())
}
