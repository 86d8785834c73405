package core

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multihash"
)

// dhtSource finds by provider records: a topic's name stands for the content of that name, as in go-libp2p.
type dhtSource struct{ d *DHT }

// dhtRound bounds one look for a topic, or one advertising, which end by themselves when the peers nearest to it were asked.
const dhtRound = time.Minute

// dhtRenew is how long a record is left alone at most: peers move away from its place.
const dhtRenew = 3 * time.Hour

// dhtFindLimit is how many providers one round brings at most.
const dhtFindLimit = 1000

func (*dhtSource) kind() string { return "dht" }
func (*dhtSource) name() string { return "dht" }

func (s *dhtSource) advertise(ctx context.Context, topic string, ttl time.Duration) (granted time.Duration, err error) {
	defer Recovered("dht advertise", &err)
	hash, err := multihash.Sum([]byte(topic), multihash.SHA2_256, -1)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, dhtRound)
	defer cancel()
	if _, err = s.d.provide(ctx, hash); err != nil {
		return 0, err
	}
	return min(ttl, dhtRenew), nil
}

// withdraw does nothing: provider records end with their time.
func (*dhtSource) withdraw(string) {}

func (*dhtSource) stale() <-chan struct{} { return nil }

// find fails when nobody could be asked, unless there are records here of others.
func (s *dhtSource) find(ctx context.Context, topic string, _ []byte, found func(peer.AddrInfo)) (_ []byte, err error) {
	defer Recovered("dht find", &err)
	hash, err := multihash.Sum([]byte(topic), multihash.SHA2_256, -1)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dhtRound)
	defer cancel()
	others := false
	err = s.d.findProviders(ctx, hash, dhtFindLimit, func(info peer.AddrInfo) bool {
		found(info)
		others = others || info.ID != s.d.node.ID()
		return true
	})
	switch {
	case others:
		return nil, nil
	case err != nil:
		return nil, err
	}
	return nil, s.d.lonely("find")
}
