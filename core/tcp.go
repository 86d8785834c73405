package core

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/flynn/noise"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/libp2p/go-libp2p/p2p/transport/tcpreuse"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multistream"
)

// tcpDialer is upstream's TCP that also connects two peers that dial each other in the same moment. Upstream dials from the port it listens on, so that
// others see an address that can be dialled. Two such dials that cross are one connection (RFC 9293, 3.5, simultaneous open) of which both ends take themselves
// for its client, and both fail (https://github.com/libp2p/go-libp2p/issues/2925). mDNS brings that about, and so do nodes that start together.
type tcpDialer struct {
	*tcp.TcpTransport
	elsewhere *tcp.TcpTransport // dials from any free port: nothing can cross it
}

var _ transport.DialUpdater = (*tcpDialer)(nil)

// newTCP returns the constructor that libp2p.Transport takes, with our options in it: host.go says why.
func newTCP(dialTimeout time.Duration) any {
	return func(u transport.Upgrader, resources network.ResourceManager, shared *tcpreuse.ConnMgr) (*tcpDialer, error) {
		timeout := tcp.WithConnectionTimeout(dialTimeout)
		first, err := tcp.NewTCPTransport(u, resources, shared, timeout)
		if err != nil {
			return nil, err
		}
		elsewhere, err := tcp.NewTCPTransport(u, resources, nil, timeout, tcp.DisableReuseport())
		if err != nil {
			return nil, err
		}
		return &tcpDialer{TcpTransport: first, elsewhere: elsewhere}, nil
	}
}

// Dial is for who wants no updates: Explain.
func (d *tcpDialer) Dial(ctx context.Context, addr ma.Multiaddr, id peer.ID) (transport.CapableConn, error) {
	return d.DialWithUpdates(ctx, addr, id, nil)
}

// DialWithUpdates is called by the swarm.
func (d *tcpDialer) DialWithUpdates(ctx context.Context, addr ma.Multiaddr, id peer.ID, updates chan<- transport.DialUpdate) (transport.CapableConn, error) {
	if _, reason := network.GetForceDirectDial(ctx); reason == beforePunch {
		return d.elsewhere.DialWithUpdates(ctx, addr, id, updates)
	}
	c, err := d.TcpTransport.DialWithUpdates(ctx, addr, id, updates)
	if planned, _, _ := network.GetSimultaneousConnect(ctx); planned || !isCrossed(err) { // who punches a hole means to cross, and has a role in it
		return c, err
	}
	logger.Debug("the peer dials in the same moment", "peer", id, "address", addr)
	return d.elsewhere.DialWithUpdates(ctx, addr, id, updates)
}

// isCrossed is whether the other end opened the security handshake as a client does too, or named a protocol for it without having been asked.
func isCrossed(err error) bool {
	var named multistream.ErrUnrecognizedResponse[protocol.ID]
	return err != nil && (errors.As(err, &named) || errors.Is(err, noise.ErrShortMessage) ||
		strings.Contains(err.Error(), "handshake message of type *tls.clientHelloMsg")) // crypto/tls has no value for it
}
