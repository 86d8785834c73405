package core

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/libp2p/go-libp2p/p2p/transport/tcpreuse"
	libp2pwebrtc "github.com/libp2p/go-libp2p/p2p/transport/webrtc"
	"github.com/libp2p/go-libp2p/p2p/transport/websocket"
	libp2pwebtransport "github.com/libp2p/go-libp2p/p2p/transport/webtransport"
	"github.com/libp2p/go-netroute"
	"github.com/quic-go/quic-go"
	"go.uber.org/fx"
)

// hostParts is what a node gives its host, and takes from it.
type hostParts struct {
	dials       *dialTracer
	advertised  *advertised
	gate        *gate
	numbers     numbers
	nat         *natState
	limits      *nodeLimits        // set by newHost
	connections *connectionManager // set by newHost
	book        *peerBook          // set by newHost
}

// newHost builds the go-libp2p host of a node, which does not listen yet. What it made is closed again if it fails.
func newHost(c *Config, key crypto.PrivKey, networkKey []byte, parts *hostParts) (h host.Host, err error) {
	defer Recovered("start the host", &err)
	tlsConfig, err := webSocketTLS(&c.WebSocket)
	if err != nil {
		return nil, err
	}
	var undo []func() error
	defer func() {
		if h == nil {
			for i := len(undo) - 1; i >= 0; i-- {
				undo[i]()
			}
		}
	}()
	if parts.limits, err = newLimits(&c.Limits, &parts.numbers.refusals); err != nil {
		return nil, err
	}
	resources := parts.limits.manager
	undo = append(undo, resources.Close)
	self, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return nil, Errorf(ErrInternal, "peer id: %w", err)
	}
	if parts.book, err = openPeerstore(&c.Peerstore, self); err != nil {
		return nil, err
	}
	undo = append(undo, parts.book.Close)

	dialTimeout := time.Duration(c.Dial.TimeoutMs) * time.Millisecond
	options := []libp2p.Option{
		libp2p.Identity(key),
		libp2p.NoListenAddrs, // the addresses come one by one in listen, so that each failure is seen
		libp2p.ResourceManager(resources),
		libp2p.Peerstore(parts.book),
		libp2p.AddrsFactory(parts.advertised.factory),
		libp2p.ConnectionGater(parts.gate),
		libp2p.UserAgent(c.Identify.Agent),
		libp2p.Muxer(yamux.ID, yamuxTransport(&c.Yamux)),
		// Upstream's metrics are collectors of the whole process, where nodes add up. Ours are per node.
		libp2p.DisableMetrics(),
		libp2p.WithFxOption(fx.Decorate(func() event.Bus { return eventbus.NewBus() })),
		libp2p.WithDialTimeout(dialTimeout),
		libp2p.SwarmOpts(swarm.WithDialTimeoutLocal(dialTimeout), swarm.WithMetricsTracer(parts.dials)),
	}
	options = append(options, parts.nat.options(&c.Relay)...)
	if c.Metrics.Bandwidth {
		options = append(options, libp2p.BandwidthReporter(&parts.numbers.bandwidth))
	}
	if parts.connections, err = newConnectionManager(c.Connections); err != nil {
		return nil, err
	}
	undo = append(undo, parts.connections.Close)
	options = append(options, libp2p.ConnectionManager(parts.connections))
	for _, name := range c.Security {
		if name == "tls" {
			options = append(options, libp2p.Security(libp2ptls.ID, libp2ptls.New))
		} else {
			options = append(options, libp2p.Security(noise.ID, noise.New))
		}
	}
	if c.Transports.ShareTCP {
		options = append(options, libp2p.ShareTCPListener())
	}
	if networkKey != nil {
		options = append(options, libp2p.PrivateNetwork(networkKey))
	}
	on := c.transportsOn(networkKey != nil)
	if on["tcp"] {
		options = append(options, libp2p.Transport(newTCP(dialTimeout)))
	}
	if on["websocket"] {
		options = append(options, libp2p.Transport(websocketTransport(tlsConfig)))
	}
	if on["quic"] {
		options = append(options, libp2p.Transport(libp2pquic.NewTransport))
	}
	if on["webtransport"] {
		options = append(options, libp2p.Transport(libp2pwebtransport.New))
	}
	if on["webrtc_direct"] {
		options = append(options, libp2p.Transport(libp2pwebrtc.New))
	}
	if !routesKnown() {
		logger.Warn("no routing table: QUIC dials leave the source address to the system")
		options = append(options, quicWithoutRoutes(resources))
	}
	if underlay != nil {
		options = append(options, underlay()...)
	}
	made, err := libp2p.New(options...)
	if err != nil {
		return nil, translate(nil, err, ErrInternal, "start the host")
	}
	return made, nil
}

// The options of transports are given in functions of ours: upstream ties those given to libp2p.Transport to their constructor by a random
// name, makes types of it by reflection, and those stay for the life of the process, 11 KiB for each node that ever was.

func websocketTransport(secure *tls.Config) any {
	return func(u transport.Upgrader, resources network.ResourceManager, shared *tcpreuse.ConnMgr) (*websocket.WebsocketTransport, error) {
		var options []websocket.Option
		if secure != nil {
			options = append(options, websocket.WithTLSConfig(secure))
		}
		return websocket.New(u, resources, shared, options...)
	}
}

func yamuxTransport(c *YamuxConfig) *yamux.Transport {
	config := *yamux.DefaultTransport.Config()
	config.MaxStreamWindowSize = uint32(c.WindowBytes)
	config.InitialStreamWindowSize = min(config.InitialStreamWindowSize, config.MaxStreamWindowSize)
	if config.EnableKeepAlive = c.KeepaliveMs > 0; config.EnableKeepAlive {
		config.KeepAliveInterval = time.Duration(c.KeepaliveMs) * time.Millisecond
	}
	return (*yamux.Transport)(&config)
}

// underlay is set by tests that put nodes on a network of their own; it returns the options of one host.
var underlay func() []libp2p.Option

// routesKnown probes what go-libp2p takes for granted: where there is no netlink (Android, gVisor, a strict seccomp profile) its QUIC dialler
// calls a nil router, and the panic ends the process (go-libp2p#3537).
var routesKnown = func() bool {
	router, err := netroute.New()
	return err == nil && router != nil
}

type systemRoutes struct{}

// PreferredSourceIPForDestination leaves the choice to the system.
func (systemRoutes) PreferredSourceIPForDestination(dst *net.UDPAddr) (net.IP, error) {
	if dst.IP.To4() != nil {
		return net.IPv4zero, nil
	}
	return net.IPv6zero, nil
}

// quicWithoutRoutes replaces the routing table in QUIC. Upstream drops its own hooks when any option is given, so they are here again.
func quicWithoutRoutes(resources network.ResourceManager) libp2p.Option {
	connManager := func(reset quic.StatelessResetKey, token quic.TokenGeneratorKey, lifecycle fx.Lifecycle) (*quicreuse.ConnManager, error) {
		manager, err := quicreuse.NewConnManager(reset, token,
			quicreuse.OverrideSourceIPSelector(func() (quicreuse.SourceIPSelector, error) { return systemRoutes{}, nil }),
			quicreuse.VerifySourceAddress(resources.VerifySourceAddress),
			quicreuse.ConnContext(func(ctx context.Context, client *quic.ClientInfo) (context.Context, error) {
				addr, err := quicreuse.ToQuicMultiaddr(client.RemoteAddr, quic.Version1)
				if err != nil {
					addr = nil
				}
				scope, err := resources.OpenConnection(network.DirInbound, false, addr)
				if err != nil {
					return ctx, err
				}
				ctx = network.WithConnManagementScope(ctx, scope)
				context.AfterFunc(ctx, scope.Done)
				return ctx, nil
			}),
		)
		if err == nil {
			lifecycle.Append(fx.StopHook(manager.Close))
		}
		return manager, err
	}
	return libp2p.QUICReuse(connManager)
}
