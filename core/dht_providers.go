package core

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/namespace"
	"github.com/libp2p/go-libp2p-kad-dht/provider"
	"github.com/libp2p/go-libp2p-kad-dht/provider/keystore"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multihash"
)

// ProviderKey returns the hash under which providers of a key are found. key is a CID, a multihash in base58, 64 hex digits of a SHA2-256, or any
// name that begins with "/": then it is the SHA2-256 of the name.
func ProviderKey(key string) (multihash.Multihash, error) {
	if strings.HasPrefix(key, "/") {
		if err := checkKey(key); err != nil {
			return nil, err
		}
		return multihash.Sum([]byte(key), multihash.SHA2_256, -1)
	}
	hash, err := parseHash(key)
	if err != nil {
		return nil, Errorf(ErrParse, "%v; a name begins with /", err)
	}
	return hash, nil
}

// Provide tells the peers closest to key, once, that this node provides it, and returns how many took note. They forget it after
// dht.provider_age_ms; StartProviding tells again. It fails with ErrParse, or ErrPeers if nobody heard it.
func (d *DHT) Provide(ctx context.Context, key string) (int, error) {
	hash, err := ProviderKey(key)
	if err != nil {
		return 0, err
	}
	return d.provide(ctx, hash)
}

func (d *DHT) provide(ctx context.Context, hash multihash.Multihash) (int, error) {
	ctx, cancel := d.node.join(ctx)
	defer cancel()
	self := peer.AddrInfo{ID: d.node.ID()}
	for _, t := range d.tables {
		if err := t.dht.ProviderStore().AddProvider(ctx, hash, self); err != nil {
			return 0, dhtError(ctx, err, "provide %s", hash.B58String())
		}
	}
	heard, last := 0, error(nil)
	for _, t := range d.active() {
		peers, err := t.closest(ctx, string(hash))
		if err != nil {
			last = err
			continue
		}
		n, err := atAll(ctx, peers, func(ctx context.Context, id peer.ID) error {
			return t.tellProvider(ctx, id, hash, peer.AddrInfo{ID: self.ID, Addrs: t.dht.FilteredAddrs()})
		})
		heard += n
		if err != nil {
			last = err
		}
	}
	switch {
	case heard > 0:
		return heard, nil
	case ctx.Err() != nil:
		return 0, ctxError(ctx, "provide %s", hash.B58String())
	case last != nil:
		return 0, Errorf(ErrPeers, "provide %s: nobody heard it: %v", hash.B58String(), last)
	}
	return 0, Errorf(ErrPeers, "provide %s: there is nobody to tell", hash.B58String())
}

// manyProviders is how many of a key a peer may list without this node among them: it does not list all that it has.
const manyProviders = 50

// tellProvider tells a peer who provides a key, and asks it whether it took note: the message itself has no answer, and is lost without a word when the
// peer turns it away or its stream just ended.
func (t *dhtTable) tellProvider(ctx context.Context, id peer.ID, hash multihash.Multihash, self peer.AddrInfo) error {
	for attempt := 0; ; attempt++ {
		if err := t.messages.PutProviderAddrs(ctx, id, hash, self); err != nil {
			return err
		}
		providers, _, err := t.messages.GetProviders(ctx, id, hash)
		if err != nil {
			return err
		}
		if len(providers) >= manyProviders || slices.ContainsFunc(providers, func(p *peer.AddrInfo) bool { return p.ID == self.ID }) {
			return nil
		}
		if attempt > 0 {
			return Errorf(ErrRefused, "%s did not take note", id)
		}
	}
}

// sweeps keep telling of many keys: region by region of the key space, so that the cost is that of the peers there, not of the keys.
type sweeps struct {
	mu      sync.Mutex
	tables  []*sweep // guarded by mu; one for each table, once there are keys
	started bool     // guarded by mu
	closed  bool     // guarded by mu
}

type sweep struct {
	provider *provider.SweepingProvider
	keys     keystore.Keystore
}

// resumeProviding goes on with the keys of the last run.
func (d *DHT) resumeProviding() error {
	for _, t := range d.tables {
		if countKeys(d.node.ctx, sweepKeys(t), "") > 0 {
			_, err := d.startSweeps()
			return err
		}
	}
	return nil
}

func sweepKeys(t *dhtTable) ds.Batching { return namespace.Wrap(t.data, ds.NewKey("provide/keys")) }

// startSweeps returns the sweeps, which it makes the first time.
func (d *DHT) startSweeps() (made []*sweep, err error) {
	s := &d.sweeps
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || d.node.ctx.Err() != nil {
		return nil, Errorf(ErrClosed, "the node is closed")
	}
	if s.started {
		return s.tables, nil
	}
	defer Recovered("keep providing", &err)
	for _, t := range d.tables {
		next, err := d.newSweep(t)
		if err != nil {
			for _, before := range made {
				before.close()
			}
			return nil, Errorf(ErrInternal, "keep providing: %w", err)
		}
		made = append(made, next)
	}
	s.tables, s.started = made, true
	return made, nil
}

func (d *DHT) newSweep(t *dhtTable) (*sweep, error) {
	keys, err := keystore.NewKeystore(sweepKeys(t))
	if err != nil {
		return nil, err
	}
	interval := milliseconds(d.cfg.ReprovideMs)
	p, err := provider.New(
		provider.WithHost(t.host), provider.WithRouter(t.dht), provider.WithMessageSender(t.dht.MessageSender()),
		provider.WithSelfAddrs(t.dht.FilteredAddrs), provider.WithReplicationFactor(d.cfg.BucketSize),
		provider.WithKeystore(keys), provider.WithDatastore(namespace.Wrap(t.data, ds.NewKey("provide/state"))),
		provider.WithReprovideInterval(interval), provider.WithMaxReprovideDelay(min(time.Hour, interval)),
		provider.WithAddLocalRecord(func(ctx context.Context, hash multihash.Multihash) (err error) {
			defer Recovered("keep providing", &err)
			return t.dht.Provide(ctx, cid.NewCidV1(cid.Raw, hash), false)
		}),
	)
	if err != nil {
		keys.Close()
		return nil, err
	}
	return &sweep{p, keys}, nil
}

func (s *sweep) close() {
	within(closeLimit, "close the provider", func() {
		if err := s.provider.Close(); err != nil {
			logger.Warn("close the provider", "err", err)
		}
		if err := s.keys.Close(); err != nil {
			logger.Warn("close the provider's keys", "err", err)
		}
	})
}

func (s *sweeps) close() {
	s.mu.Lock()
	tables := s.tables
	s.tables, s.closed = nil, true
	s.mu.Unlock()
	for _, t := range tables {
		t.close()
	}
}

// StartProviding keeps telling that this node provides keys, from now until StopProviding, also after a restart if dht.store is given. It returns
// when they are noted; the network hears of them soon after.
func (d *DHT) StartProviding(ctx context.Context, keys []string) error {
	return d.eachSweep(ctx, keys, func(s *sweep, hashes []multihash.Multihash) error {
		return s.provider.StartProviding(false, hashes...)
	})
}

// StopProviding ends StartProviding for keys. Peers forget them after dht.provider_age_ms. A key that is not provided is no error.
func (d *DHT) StopProviding(ctx context.Context, keys []string) error {
	return d.eachSweep(ctx, keys, func(s *sweep, hashes []multihash.Multihash) error {
		return s.provider.StopProviding(hashes...)
	})
}

func (d *DHT) eachSweep(ctx context.Context, keys []string, do func(*sweep, []multihash.Multihash) error) error {
	hashes := make([]multihash.Multihash, 0, len(keys))
	for _, key := range keys {
		hash, err := ProviderKey(key)
		if err != nil {
			return err
		}
		hashes = append(hashes, hash)
	}
	if len(hashes) == 0 {
		return Errorf(ErrInvalid, "keys: none is given")
	}
	tables, err := d.startSweeps()
	if err != nil {
		return err
	}
	for _, s := range tables {
		if err := do(s, hashes); err != nil {
			if d.node.ctx.Err() != nil {
				return ctxError(d.node.ctx, "keep providing")
			}
			return dhtError(ctx, err, "keep providing")
		}
	}
	return nil
}

// providing tells how many keys are kept provided, and how many of them wait to be told of.
func (d *DHT) providing() (keys, waiting int) {
	d.sweeps.mu.Lock()
	tables := d.sweeps.tables
	d.sweeps.mu.Unlock()
	ctx, cancel := context.WithTimeout(d.node.ctx, time.Second)
	defer cancel()
	for _, s := range tables {
		stats, err := s.provider.Stats(ctx)
		if err != nil {
			continue
		}
		keys = max(keys, int(stats.Schedule.Keys))
		waiting = max(waiting, int(stats.Queues.PendingKeyProvides))
	}
	return keys, waiting
}
