package core

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/metrics"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

const (
	// maxFlows bounds the peers whose bytes are remembered; beyond it, those that were silent longest are forgotten.
	maxFlows = 4096
	// maxProtocolFlows bounds the protocols that are told apart: a service for a prefix lets its peers choose names.
	maxProtocolFlows = 1024
	// negotiation stands for the bytes with which both sides agree on a protocol, otherProtocols for those beyond maxProtocolFlows.
	negotiation, otherProtocols protocol.ID = "(negotiation)", "(other)"
)

// bandwidth counts the bytes of a node's streams, as the programs at both ends see them: what encryption and multiplexing add is not in it. The swarm
// reports to it from every read and write, so these cost a lookup and no allocation. Upstream's counter tells totals that are up to a second old.
type bandwidth struct {
	total     flow
	mu        sync.RWMutex
	peers     map[peer.ID]*flow     // guarded by mu
	protocols map[protocol.ID]*flow // guarded by mu
}

// flow is what went in and out somewhere.
type flow struct {
	in, out         atomic.Int64
	rateIn, rateOut atomic.Uint64 // bits of a float64: bytes per second
	lastIn, lastOut int64         // of tick alone
	silent          int           // of tick alone; ticks without a byte
}

var _ metrics.Reporter = (*bandwidth)(nil)

func (b *bandwidth) LogSentMessage(n int64) { b.total.out.Add(n) }
func (b *bandwidth) LogRecvMessage(n int64) { b.total.in.Add(n) }

func (b *bandwidth) LogSentMessageStream(n int64, p protocol.ID, id peer.ID) {
	ofPeer, ofProtocol := b.of(p, id)
	ofPeer.out.Add(n)
	ofProtocol.out.Add(n)
}

func (b *bandwidth) LogRecvMessageStream(n int64, p protocol.ID, id peer.ID) {
	if n == 0 { // a stream that waits for bytes reads none
		return
	}
	ofPeer, ofProtocol := b.of(p, id)
	ofPeer.in.Add(n)
	ofProtocol.in.Add(n)
}

func (b *bandwidth) of(p protocol.ID, id peer.ID) (ofPeer, ofProtocol *flow) {
	if p == "" {
		p = negotiation
	}
	b.mu.RLock()
	ofPeer, ofProtocol = b.peers[id], b.protocols[p]
	b.mu.RUnlock()
	if ofPeer != nil && ofProtocol != nil {
		return ofPeer, ofProtocol
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.peers == nil {
		b.peers, b.protocols = map[peer.ID]*flow{}, map[protocol.ID]*flow{}
	}
	if b.protocols[p] == nil && len(b.protocols) >= maxProtocolFlows {
		p = otherProtocols
	}
	if b.peers[id] == nil {
		b.peers[id] = &flow{}
	}
	if b.protocols[p] == nil {
		b.protocols[p] = &flow{}
	}
	return b.peers[id], b.protocols[p]
}

// tickTime is how often rates are worked out, and smoothing how much of the newest goes into them.
const (
	tickTime  = time.Second
	smoothing = 0.25
)

// startBandwidth works out the rates until the node closes.
func (n *Node) startBandwidth() {
	if !n.cfg.Metrics.Bandwidth {
		return
	}
	n.spawn("bandwidth", func() {
		ticker := time.NewTicker(tickTime)
		defer ticker.Stop()
		last := time.Now()
		for {
			select {
			case now := <-ticker.C:
				n.numbers.bandwidth.tick(now.Sub(last))
				last = now
			case <-n.ctx.Done():
				return
			}
		}
	})
}

func (b *bandwidth) tick(since time.Duration) {
	if since <= 0 {
		return
	}
	if !b.total.tick(since) { // nothing anywhere
		return
	}
	b.mu.RLock()
	for _, f := range b.peers {
		f.tick(since)
	}
	for _, f := range b.protocols {
		f.tick(since)
	}
	full := len(b.peers) > maxFlows
	b.mu.RUnlock()
	if full {
		b.forget()
	}
}

// tick reports whether there was anything to work out.
func (f *flow) tick(since time.Duration) bool {
	in, out := f.in.Load(), f.out.Load()
	f.silent++
	if in != f.lastIn || out != f.lastOut {
		f.silent = 0
	}
	moving := false
	for _, side := range []struct {
		bytes int64
		rate  *atomic.Uint64
	}{{in - f.lastIn, &f.rateIn}, {out - f.lastOut, &f.rateOut}} {
		was := math.Float64frombits(side.rate.Load())
		is := was + smoothing*(float64(side.bytes)/since.Seconds()-was)
		if is < 1 && side.bytes == 0 {
			is = 0
		}
		moving = moving || was != is || is != 0
		side.rate.Store(math.Float64bits(is))
	}
	f.lastIn, f.lastOut = in, out
	return moving
}

// forget makes room for a quarter of maxFlows.
func (b *bandwidth) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	ids := make([]peer.ID, 0, len(b.peers))
	for id := range b.peers {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(x, y peer.ID) int { return cmp.Compare(b.peers[y].silent, b.peers[x].silent) })
	for _, id := range ids[:max(len(ids)-maxFlows*3/4, 0)] {
		delete(b.peers, id)
	}
}

func (f *flow) stats() metrics.Stats {
	return metrics.Stats{TotalIn: f.in.Load(), TotalOut: f.out.Load(), RateIn: math.Float64frombits(f.rateIn.Load()), RateOut: math.Float64frombits(f.rateOut.Load())}
}

func (b *bandwidth) GetBandwidthTotals() metrics.Stats { return b.total.stats() }

func (b *bandwidth) GetBandwidthForPeer(id peer.ID) metrics.Stats {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if f := b.peers[id]; f != nil {
		return f.stats()
	}
	return metrics.Stats{}
}

func (b *bandwidth) GetBandwidthForProtocol(p protocol.ID) metrics.Stats {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if f := b.protocols[p]; f != nil {
		return f.stats()
	}
	return metrics.Stats{}
}

func (b *bandwidth) GetBandwidthByPeer() map[peer.ID]metrics.Stats {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return allStats(b.peers)
}

func (b *bandwidth) GetBandwidthByProtocol() map[protocol.ID]metrics.Stats {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return allStats(b.protocols)
}

func allStats[K comparable](flows map[K]*flow) map[K]metrics.Stats {
	all := make(map[K]metrics.Stats, len(flows))
	for key, f := range flows {
		all[key] = f.stats()
	}
	return all
}

// Reset and TrimIdle are upstream's; nobody calls them here.

func (b *bandwidth) Reset()             {}
func (b *bandwidth) TrimIdle(time.Time) {}

// Bandwidth is how many bytes went in and out, and per second at present, smoothed over some seconds.
type Bandwidth struct {
	In      int64   `json:"in"`
	Out     int64   `json:"out"`
	RateIn  float64 `json:"rate_in"`
	RateOut float64 `json:"rate_out"`
}

// PeerBandwidth is the Bandwidth with one peer.
type PeerBandwidth struct {
	Peer string `json:"peer"`
	Bandwidth
}

// ProtocolBandwidth is the Bandwidth under one protocol name.
type ProtocolBandwidth struct {
	Protocol string `json:"protocol"`
	Bandwidth
}

// BandwidthInfo is what Node.Bandwidth returns; those with the most bytes come first. docs/numbers.md explains the keys.
type BandwidthInfo struct {
	Total     Bandwidth           `json:"total"`
	Peers     []PeerBandwidth     `json:"peers"`
	Protocols []ProtocolBandwidth `json:"protocols"`
}

// Bandwidth returns the bytes of the node's streams. It fails with ErrState if metrics.bandwidth is off.
func (n *Node) Bandwidth() (BandwidthInfo, error) {
	if !n.cfg.Metrics.Bandwidth {
		return BandwidthInfo{}, Errorf(ErrState, "the node has metrics.bandwidth off")
	}
	b := &n.numbers.bandwidth
	info := BandwidthInfo{Total: bandwidthOf(b.GetBandwidthTotals()), Peers: []PeerBandwidth{}, Protocols: []ProtocolBandwidth{}}
	for id, s := range b.GetBandwidthByPeer() {
		info.Peers = append(info.Peers, PeerBandwidth{id.String(), bandwidthOf(s)})
	}
	for p, s := range b.GetBandwidthByProtocol() {
		info.Protocols = append(info.Protocols, ProtocolBandwidth{string(p), bandwidthOf(s)})
	}
	slices.SortFunc(info.Peers, func(x, y PeerBandwidth) int {
		return cmp.Or(cmp.Compare(y.In+y.Out, x.In+x.Out), cmp.Compare(x.Peer, y.Peer))
	})
	slices.SortFunc(info.Protocols, func(x, y ProtocolBandwidth) int {
		return cmp.Or(cmp.Compare(y.In+y.Out, x.In+x.Out), cmp.Compare(x.Protocol, y.Protocol))
	})
	return info, nil
}

func bandwidthOf(s metrics.Stats) Bandwidth {
	return Bandwidth{s.TotalIn, s.TotalOut, s.RateIn, s.RateOut}
}

// measureBandwidth adds the node's traffic, and by name that with the peers and protocols that have most of it.
func (n *Node) measureBandwidth(m *Measurements) {
	info, err := n.Bandwidth()
	if err != nil {
		return
	}
	f := m.Counter("libp2pgo_bandwidth_bytes_total", "Bytes of streams, without what encryption and multiplexing add.")
	f.Count(info.Total.In, "direction", "in")
	f.Count(info.Total.Out, "direction", "out")
	f = m.Counter("libp2pgo_protocol_bytes_total", "Bytes of streams by protocol; those with the most, as many as metrics.protocols says.")
	for _, p := range info.Protocols[:min(len(info.Protocols), n.cfg.Metrics.Protocols)] {
		f.Count(p.In, "protocol", p.Protocol, "direction", "in")
		f.Count(p.Out, "protocol", p.Protocol, "direction", "out")
	}
	f = m.Counter("libp2pgo_peer_bytes_total", "Bytes of streams by peer; those with the most, as many as metrics.peers says.")
	for _, p := range info.Peers[:min(len(info.Peers), n.cfg.Metrics.Peers)] {
		f.Count(p.In, "peer", p.Peer, "direction", "in")
		f.Count(p.Out, "peer", p.Peer, "direction", "out")
	}
}
