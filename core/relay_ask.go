package core

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	pb "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/pb"
	ma "github.com/multiformats/go-multiaddr"
)

// hasDirect tells whether there is a connection to a peer that is not relayed.
func (n *Node) hasDirect(id peer.ID) bool {
	return slices.ContainsFunc(n.openConnections(id), func(c network.Conn) bool { return !isRelayed(c) })
}

// boundHost ends the streams that it opens with ctx, which upstream's exchange with a relay does not look at.
type boundHost struct {
	host.Host
	ctx context.Context
}

func (h boundHost) NewStream(ctx context.Context, id peer.ID, protocols ...protocol.ID) (network.Stream, error) {
	s, err := h.Host.NewStream(ctx, id, protocols...)
	if err == nil {
		context.AfterFunc(h.ctx, func() { s.Reset() })
	}
	return s, err
}

func (n *Node) askRelay(ctx context.Context, id peer.ID) (reservation *client.Reservation, err error) {
	ctx, done := context.WithCancelCause(ctx)
	defer done(context.Canceled)
	func() {
		defer Recovered("reserve", &err)
		reservation, err = client.Reserve(network.WithNoDial(ctx, "reservation"), boundHost{n.host, ctx}, peer.AddrInfo{ID: id})
	}()
	if err == nil {
		return reservation, nil
	}
	if ctx.Err() != nil {
		return nil, ctxError(ctx, "reserve a place with the relay %s", id)
	}
	var refused client.ReservationError
	if errors.As(err, &refused) {
		switch refused.Status {
		case pb.Status_PERMISSION_DENIED:
			return nil, Errorf(ErrRefused, "the relay %s refused a reservation: its rules do not permit it", id)
		case pb.Status_RESERVATION_REFUSED:
			return nil, Errorf(ErrLimit, "the relay %s refused a reservation: it has no place left, in all, for this IP address or for this network", id)
		case pb.Status_RESOURCE_LIMIT_EXCEEDED:
			return nil, Errorf(ErrLimit, "the relay %s refused a reservation: its resources are used up", id)
		}
	}
	if strings.Contains(err.Error(), "protocols not supported") || strings.Contains(err.Error(), "protocol not supported") {
		return nil, Errorf(ErrProtocol, "%s is no relay, or has turned its relay service off", id)
	}
	if err = translate(ctx, err, ErrDial, "reserve a place with the relay %s", id); Kind(err) == ErrReset {
		err = Errorf(ErrDial, "reserve a place with the relay %s: %s", id, err)
	}
	return nil, err
}

// relayedAddresses are those under which this node can be reached through a relay: by the addresses that the relay vouches for, or else by
// those that it is known at here, which is how relays on a private network work. Of these the most widely usable kind is taken.
func (n *Node) relayedAddresses(id peer.ID, vouched, given []ma.Multiaddr) []ma.Multiaddr {
	known := slices.Clone(vouched)
	if len(known) == 0 {
		known = slices.Clone(given)
		for _, c := range n.host.Network().ConnsToPeer(id) {
			if !isRelayed(c) && !isInbound(c) {
				known = append(known, c.RemoteMultiaddr())
			}
		}
		known = append(known, n.host.Peerstore().Addrs(id)...)
	}
	tail, err := ma.NewMultiaddr("/p2p/" + id.String() + "/p2p-circuit")
	if err != nil {
		return nil
	}
	var list []ma.Multiaddr
	for _, a := range widest(slices.DeleteFunc(known, func(a ma.Multiaddr) bool { return !isSound(a) })) {
		if transport, _ := peer.SplitAddr(a); transport != nil {
			a = transport
		}
		list = append(list, a.Encapsulate(tail))
	}
	list = ma.Unique(list)
	return list[:min(len(list), maxRelayed)]
}

// maxRelayed bounds the addresses of one reservation.
const maxRelayed = 8

func isInbound(c network.Conn) bool { return c.Stat().Direction == network.DirInbound }
