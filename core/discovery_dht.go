package core

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/discovery"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/routing"
	drouting "github.com/libp2p/go-libp2p/p2p/discovery/routing"
)

// dhtSource finds by provider records: a topic's name stands for the content of that name, as in go-libp2p.
type dhtSource struct{ router routing.ContentRouting }

// dhtRound bounds one look for a topic, which ends by itself when the peers nearest to it were asked.
const dhtRound = time.Minute

// dhtFindLimit is how many providers one round brings at most.
const dhtFindLimit = 1000

func (*dhtSource) kind() string { return "dht" }
func (*dhtSource) name() string { return "dht" }

func (s *dhtSource) advertise(ctx context.Context, topic string, ttl time.Duration) (granted time.Duration, err error) {
	defer Recovered("dht advertise", &err)
	granted, err = drouting.NewRoutingDiscovery(s.router).Advertise(ctx, topic, discovery.TTL(ttl))
	return granted, translate(ctx, err, ErrPeers, "no peer took the record")
}

// withdraw does nothing: provider records end with their time.
func (*dhtSource) withdraw(string) {}

func (s *dhtSource) find(ctx context.Context, topic string, _ []byte, found func(peer.AddrInfo)) (_ []byte, err error) {
	defer Recovered("dht find", &err)
	round, cancel := context.WithTimeout(ctx, dhtRound)
	defer cancel()
	peers, err := drouting.NewRoutingDiscovery(s.router).FindPeers(round, topic, discovery.Limit(dhtFindLimit))
	if err != nil {
		return nil, translate(ctx, err, ErrPeers, "find")
	}
	for info := range peers { // drained, or the query would stall
		found(info)
	}
	return nil, nil
}
