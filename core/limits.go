package core

import (
	"math"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/x/rate"
	"github.com/pbnjay/memory"
)

// limits are the numbers behind a preset. go-libp2p's own suit a public DHT server: a 76th stream of one protocol with one peer is reset,
// and so is the ninth connection, or one every five seconds, from behind one NAT.
type limits struct {
	streamsPerPeer   int // in each direction
	streams          int
	connections      int
	connectionsPerIP int
	connectionRate   float64 // new ones per second and IP address
	memory           int64
	fileDescriptors  int
}

// presetLimits returns a preset's numbers. Memory is what upstream charges: every open stream counts with its first window, 256 KiB, which it
// hardly ever takes, so that a quarter of the machine is no more than a bound on the worst case.
func presetLimits(preset string) limits {
	l := limits{
		streamsPerPeer: 4096, streams: 65536, connections: 1024, connectionsPerIP: 256, connectionRate: 64,
		memory: min(max(availableMemory()/4, 128<<20), 4<<30), fileDescriptors: max(openFileLimit()/2, 64),
	}
	switch preset {
	case "server":
		l.streamsPerPeer *= 8
		l.streams *= 8
		l.connections *= 8
		l.connectionsPerIP *= 8
		l.connectionRate *= 8
		l.memory = min(max(availableMemory()/2, 128<<20), 32<<30)
	case "embedded":
		l.streamsPerPeer /= 4
		l.streams /= 4
		l.connections /= 4
		l.connectionsPerIP /= 4
		l.connectionRate /= 4
		l.memory = min(max(availableMemory()/16, 32<<20), 256<<20)
		l.fileDescriptors = min(l.fileDescriptors, 256)
	}
	return l
}

// newLimits builds the resource manager that c asks for.
func newLimits(c *LimitsConfig, refused *refusals) (*nodeLimits, error) {
	unlimited := c.Preset == "unlimited"
	l := presetLimits(c.Preset)
	base := rcmgr.InfiniteLimits
	partial := rcmgr.PartialLimitConfig{}
	if !unlimited {
		scaling := rcmgr.DefaultLimits
		libp2p.SetDefaultServiceLimits(&scaling)
		base = scaling.Scale(l.memory, l.fileDescriptors)
	}
	override(&l.streamsPerPeer, c.StreamsPerPeer)
	override(&l.connections, c.Connections)
	override(&l.connectionsPerIP, c.ConnectionsIP)
	override(&l.fileDescriptors, c.FileDescriptors)
	if c.ConnectionRate > 0 {
		l.connectionRate = c.ConnectionRate
	}
	if c.MemoryBytes > 0 {
		l.memory = c.MemoryBytes
	}
	l.streams = max(l.streams, l.streamsPerPeer)

	memory := rcmgr.LimitVal64(l.memory)
	if !unlimited || c.StreamsPerPeer > 0 {
		perPeer := rcmgr.ResourceLimits{
			StreamsInbound: rcmgr.LimitVal(l.streamsPerPeer), StreamsOutbound: rcmgr.LimitVal(l.streamsPerPeer),
			Streams: rcmgr.LimitVal(2 * l.streamsPerPeer),
		}
		partial.PeerDefault, partial.ProtocolPeerDefault = perPeer, perPeer
		partial.PeerDefault.Conns = rcmgr.LimitVal(max(16, l.connections/16))
		partial.PeerDefault.ConnsInbound, partial.PeerDefault.ConnsOutbound = partial.PeerDefault.Conns, partial.PeerDefault.Conns
		if unlimited {
			partial.PeerDefault.Conns, partial.PeerDefault.ConnsInbound, partial.PeerDefault.ConnsOutbound = rcmgr.Unlimited, rcmgr.Unlimited, rcmgr.Unlimited
		}
	}
	if !unlimited {
		all := rcmgr.ResourceLimits{StreamsInbound: rcmgr.LimitVal(l.streams), StreamsOutbound: rcmgr.LimitVal(l.streams), Streams: rcmgr.LimitVal(2 * l.streams)}
		partial.System, partial.ProtocolDefault, partial.ServiceDefault = all, all, all
		// A stream is transient until its protocol is agreed; a burst of opens is no attack.
		partial.Transient.StreamsInbound = rcmgr.LimitVal(l.streams / 4)
		partial.Transient.StreamsOutbound, partial.Transient.Streams = partial.Transient.StreamsInbound, 2*partial.Transient.StreamsInbound
		// Ours pings in parallel; upstream resets the third.
		partial.ServicePeer = map[string]rcmgr.ResourceLimits{"libp2p.ping": {StreamsInbound: 64, StreamsOutbound: 64, Streams: 128}}
		partial.ProtocolPeer = map[protocol.ID]rcmgr.ResourceLimits{"/ipfs/ping/1.0.0": {StreamsInbound: 64, StreamsOutbound: 64, Streams: 128}}
		// Memory is bounded as a whole. Bounds per peer and protocol would only shrink the window of the one busy stream.
		for _, scope := range []*rcmgr.ResourceLimits{&partial.System, &partial.PeerDefault, &partial.ProtocolDefault, &partial.ProtocolPeerDefault, &partial.ServiceDefault, &partial.Conn, &partial.Stream} {
			scope.Memory = memory
		}
	}
	if !unlimited || c.Connections > 0 {
		partial.System.Conns = rcmgr.LimitVal(l.connections)
		partial.System.ConnsInbound, partial.System.ConnsOutbound = partial.System.Conns, partial.System.Conns
		partial.Transient.Conns = rcmgr.LimitVal(max(l.connections/4, 16))
		partial.Transient.ConnsInbound, partial.Transient.ConnsOutbound = partial.Transient.Conns, partial.Transient.Conns
	}
	if !unlimited || c.FileDescriptors > 0 {
		partial.System.FD = rcmgr.LimitVal(l.fileDescriptors)
		partial.Transient.FD = rcmgr.LimitVal(max(l.fileDescriptors/4, 16))
	}
	if unlimited && c.MemoryBytes > 0 {
		partial.System.Memory = memory
	}

	concrete, err := c.applyExact(partial.Build(base))
	if err != nil {
		return nil, err
	}
	n := &nodeLimits{concrete: concrete, preset: c.Preset}
	options := []rcmgr.Option{rcmgr.WithMetricsDisabled(), rcmgr.WithMetrics(refused)}
	if unlimited && c.ConnectionsIP == 0 {
		options = append(options, rcmgr.WithLimitPerSubnet([]rcmgr.ConnLimitPerSubnet{}, []rcmgr.ConnLimitPerSubnet{}))
	} else {
		n.perIP.Connections = l.connectionsPerIP
		options = append(options, rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: l.connectionsPerIP}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: l.connectionsPerIP}, {PrefixLength: 48, ConnCount: cappedProduct(8, l.connectionsPerIP)}},
		))
	}
	if unlimited && c.ConnectionRate == 0 {
		options = append(options, rcmgr.WithConnRateLimiters(&rate.Limiter{}))
	} else {
		n.perIP.ConnectionRate = l.connectionRate
		options = append(options, rcmgr.WithConnRateLimiters(connectionRate(l)))
	}
	if n.state, err = rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(concrete), options...); err != nil {
		return nil, Errorf(ErrInternal, "resource manager: %w", err)
	}
	n.manager = &countedManager{n.state, refused}
	return n, nil
}

// connectionRate bounds new connections per second, with a burst that lets a whole host of peers come back at once.
func connectionRate(l limits) *rate.Limiter {
	limit := rate.Limit{RPS: l.connectionRate, Burst: cappedProduct(2, l.connectionsPerIP)}
	return &rate.Limiter{
		NetworkPrefixLimits: []rate.PrefixLimit{{Prefix: netip.MustParsePrefix("127.0.0.0/8")}, {Prefix: netip.MustParsePrefix("::1/128")}},
		SubnetRateLimiter: rate.SubnetLimiter{
			IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: limit}},
			IPv6SubnetLimits: []rate.SubnetLimit{{PrefixLength: 56, Limit: limit}},
			GracePeriod:      time.Minute,
		},
	}
}

func override(value *int, with int) {
	if with > 0 {
		*value = with
	}
}

func cappedProduct(a, b int) int {
	if b > math.MaxInt32/a {
		return math.MaxInt32
	}
	return a * b
}

// availableMemory is the machine's memory, or what a container is granted of it.
func availableMemory() int64 {
	total := int64(min(memory.TotalMemory(), math.MaxInt64))
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && limit > 0 {
			total = min(total, limit)
		}
	}
	return total
}

func openFileLimit() int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 1024
	}
	return int(min(l.Cur, 1<<20))
}
