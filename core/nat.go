package core

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	basichost "github.com/libp2p/go-libp2p/p2p/host/basic"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
	"go.uber.org/fx"
)

// natState is what a node knows of its place behind NATs, and the hooks into go-libp2p that tell it. It is there before the host is.
type natState struct {
	cfg      *NATConfig
	reach    *reachability
	punches  *holePunches
	mappings *portMappings
	poke     event.Emitter // of EvtAutoRelayAddrsUpdated, which makes the host look at its addresses again

	mu       sync.Mutex
	observed basichost.ObservedAddrsManager // guarded by mu
}

func newNATState(c *NATConfig) *natState {
	return &natState{
		cfg: c, reach: newReachability(c), punches: newHolePunches(&c.HolePunch), mappings: &portMappings{found: map[string]string{}},
	}
}

// options are those of the host.
func (s *natState) options(relay *RelayConfig) []libp2p.Option {
	c := s.cfg
	options := []libp2p.Option{
		libp2p.WithFxOption(fx.Invoke(func(o basichost.ObservedAddrsManager) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.observed = o
		})),
	}
	if relay.Client.Enabled {
		options = append(options, libp2p.EnableRelay()) // NoListenAddrs would turn it off
	} else {
		options = append(options, libp2p.DisableRelay())
	}
	if c.PortMap {
		options = append(options, libp2p.NATManager(s.mappings.start))
	}
	switch c.Reachability {
	case "public":
		options = append(options, libp2p.ForceReachabilityPublic(), libp2p.UDPBlackHoleSuccessCounter(provenUDP()))
	case "private":
		options = append(options, libp2p.ForceReachabilityPrivate())
	}
	if c.AutoNATService {
		options = append(options, libp2p.EnableNATService(), libp2p.AutoNATServiceRateLimit(c.AutoNATRate, c.AutoNATPeerRate, time.Minute))
	}
	if c.AutoNATV2 {
		options = append(options, libp2p.EnableAutoNATv2())
	}
	return options
}

// provenUDP has UDP work until a hundred dials said otherwise. Upstream begins in doubt, in which its AutoNAT version 2 refuses to look at UDP
// addresses; a server that is seldom the one that dials never gets out of it.
func provenUDP() *swarm.BlackHoleSuccessCounter {
	counter := &swarm.BlackHoleSuccessCounter{N: 100, MinSuccesses: 5, Name: "UDP"} // upstream's numbers
	for range counter.N {
		counter.RecordResult(true)
	}
	return counter
}

// watchNAT follows what the host finds out.
func (n *Node) watchNAT() error {
	bus := n.host.EventBus()
	poke, err := bus.Emitter(new(event.EvtAutoRelayAddrsUpdated), eventbus.Stateful)
	if err != nil {
		return Errorf(ErrInternal, "announce relayed addresses: %w", err)
	}
	n.nat.poke = poke
	context.AfterFunc(n.ctx, func() { poke.Close() })
	n.nat.punches.attach(n)
	n.nat.mappings.attach(n)
	kinds := []any{new(event.EvtLocalReachabilityChanged), new(event.EvtHostReachableAddrsChanged), new(event.EvtNATDeviceTypeChanged)}
	sub, err := bus.Subscribe(kinds, eventbus.BufSize(64), eventbus.Name("libp2pgo nat"))
	if err != nil {
		return Errorf(ErrInternal, "subscribe to reachability: %w", err)
	}
	context.AfterFunc(n.ctx, func() { sub.Close() })
	n.spawn("reachability", func() {
		for e := range sub.Out() { // drained until it is closed, for whoever emits waits for that
			guarded("reachability", func() {
				for _, told := range n.nat.reach.update(e) {
					n.emit(told)
				}
			})
		}
	})
	return nil
}

// refreshAddresses has the host look at its addresses now; it would within five seconds anyway. found are the relayed addresses that the node
// got by itself, in whose place the host hides public ones that are known not to be reachable.
func (n *Node) refreshAddresses(found []ma.Multiaddr) {
	n.advertised.touch()
	if err := n.nat.poke.Emit(event.EvtAutoRelayAddrsUpdated{RelayAddrs: found}); err != nil && n.ctx.Err() == nil {
		logger.Warn("announce relayed addresses", "err", err)
	}
}

// NATInfo is what NATInfo returns; docs/nat.md explains the keys.
type NATInfo struct {
	Reachability string                `json:"reachability"`
	Source       string                `json:"source"`
	Addresses    []AddressReachability `json:"addresses"`
	NATType      NATTypes              `json:"nat_type"`
	Observed     []string              `json:"observed"`
	Relayed      []string              `json:"relayed"`
	PortMap      PortMapInfo           `json:"port_map"`
	HolePunch    HolePunchInfo         `json:"hole_punch"`
}

// NATTypes says for each protocol how the NAT maps addresses: "endpoint_independent" (cone), "endpoint_dependent" (symmetric) or "unknown".
type NATTypes struct {
	UDP string `json:"udp"`
	TCP string `json:"tcp"`
}

// HolePunchInfo is the history of hole punching.
type HolePunchInfo struct {
	Enabled   bool               `json:"enabled"`
	Succeeded uint64             `json:"succeeded"`
	Failed    uint64             `json:"failed"`
	History   []HolePunchAttempt `json:"history"`
}

// NATInfo returns what the node knows of its own reachability. It costs no network.
func (n *Node) NATInfo() NATInfo {
	s := n.nat
	info := NATInfo{Observed: []string{}, Relayed: texts(n.relays.addresses()), PortMap: s.mappings.info(s.cfg.PortMap)}
	info.Reachability, info.Source, info.Addresses, info.NATType = s.reach.info()
	s.mu.Lock()
	observed := s.observed
	s.mu.Unlock()
	if observed != nil {
		for _, a := range observed.Addrs(1) {
			info.Observed = append(info.Observed, a.String())
		}
		slices.Sort(info.Observed)
		info.Observed = slices.Compact(info.Observed)
	}
	info.HolePunch = s.punches.info()
	return info
}

func reachabilityName(r network.Reachability) string {
	switch r {
	case network.ReachabilityPublic:
		return "public"
	case network.ReachabilityPrivate:
		return "private"
	}
	return "unknown"
}
