package core

import (
	"context"
	"slices"
	_ "unsafe" // for go:linkname

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// dhtSender is upstream's sender of requests, without the peers in answers whose ids are none. Upstream takes any bytes for an id, of megabytes too,
// and writes all ids in base 58, which then takes hours that nothing can end.
type dhtSender struct{ pb.MessageSenderWithDisconnect }

func newDHTSender(h host.Host, protocols []protocol.ID) pb.MessageSenderWithDisconnect {
	return dhtSender{upstreamSender(h, protocols)}
}

// upstreamSender makes the sender that a DHT has if it is given none; upstream has no name for it that others may use.
//
//go:linkname upstreamSender github.com/libp2p/go-libp2p-kad-dht/internal/net.NewMessageSenderImpl
func upstreamSender(host.Host, []protocol.ID) pb.MessageSenderWithDisconnect

// SendRequest is called by the DHT, and for each question of ours.
func (s dhtSender) SendRequest(ctx context.Context, id peer.ID, request *pb.Message) (*pb.Message, error) {
	answer, err := s.MessageSenderWithDisconnect.SendRequest(ctx, id, request)
	if answer != nil {
		answer.CloserPeers = slices.DeleteFunc(answer.CloserPeers, isNobody)
		answer.ProviderPeers = slices.DeleteFunc(answer.ProviderPeers, isNobody)
	}
	return answer, err
}

func isNobody(p *pb.Message_Peer) bool {
	_, err := PeerIDFromBytes(p.GetId())
	return err != nil
}
