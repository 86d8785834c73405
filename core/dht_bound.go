package core

import (
	"context"
	"errors"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	"github.com/libp2p/go-libp2p-kad-dht/records"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-base32"
)

// boundedStore counts the bytes of records and providers, which anybody may send, and takes no more than max. It takes what the program itself
// puts, sets and provides, however full it is: nobody else can deny it that. Safe for concurrent use.
type boundedStore struct {
	ds.Batching
	max     int64
	self    string // how the keys of what this node provides end
	bytes   atomic.Int64
	refused atomic.Int64
	locks   [64]sync.Mutex // by key; while one is written its size holds
}

// entryBytes are what an entry takes beside its key and value, about: without them tiny ones would be many.
const entryBytes = 100

var (
	errStoreFull = errors.New("dht.max_bytes are stored already")
	lockSeed     = maphash.MakeSeed()
)

// ownWrite marks the context of a write that is the program's.
type ownWrite struct{}

// isBounded tells records and providers from what the node notes for itself.
func isBounded(key ds.Key) bool {
	part, rest, _ := strings.Cut(strings.TrimPrefix(key.String(), "/"), "/")
	return part != "own" && !strings.HasPrefix(rest, "provide/keys/") && !strings.HasPrefix(rest, "provide/state/")
}

// provides tells whether the entry is this node among those who provide a key; upstream writes it without the context of the program's call.
func (s *boundedStore) provides(key ds.Key) bool {
	return strings.Contains(key.String(), records.ProvidersKeyPrefix) && strings.HasSuffix(key.String(), s.self)
}

func entrySize(key ds.Key, value int) int64 { return int64(len(key.String()) + value + entryBytes) }

func newBoundedStore(all ds.Batching, max int64, self peer.ID) *boundedStore {
	return &boundedStore{Batching: all, max: max, self: "/" + base32.RawStdEncoding.EncodeToString([]byte(self))}
}

// count finds out what a store that was just opened has.
func (s *boundedStore) count() error {
	results, err := s.Query(context.Background(), query.Query{KeysOnly: true, ReturnsSizes: true}) // ends by itself
	if err != nil {
		return err
	}
	defer results.Close()
	for r := range results.Next() {
		if r.Error != nil {
			return r.Error
		}
		if key := ds.RawKey(r.Key); isBounded(key) {
			s.bytes.Add(entrySize(key, r.Size))
		}
	}
	return nil
}

// Put fails with errStoreFull if there is no room.
func (s *boundedStore) Put(ctx context.Context, key ds.Key, value []byte) error {
	if !isBounded(key) {
		return s.Batching.Put(ctx, key, value)
	}
	b, err := s.batch(ctx)
	if err != nil {
		return err
	}
	b.changes[key] = storeChange{value: value}
	refused, err := b.commit(ctx)
	if err == nil && refused > 0 {
		err = errStoreFull
	}
	return err
}

// Delete makes room.
func (s *boundedStore) Delete(ctx context.Context, key ds.Key) error {
	if !isBounded(key) {
		return s.Batching.Delete(ctx, key)
	}
	b, err := s.batch(ctx)
	if err != nil {
		return err
	}
	b.changes[key] = storeChange{delete: true}
	_, err = b.commit(ctx)
	return err
}

// Batch makes a batch that leaves out what finds no room: one who provides too much shall not take the others of the batch with him.
func (s *boundedStore) Batch(ctx context.Context) (ds.Batch, error) { return s.batch(ctx) }

func (s *boundedStore) batch(ctx context.Context) (*boundedBatch, error) {
	b, err := s.Batching.Batch(ctx)
	if err != nil {
		return nil, err
	}
	return &boundedBatch{b, s, map[ds.Key]storeChange{}}, nil
}

// boundedBatch is a batch of a boundedStore. For one goroutine, as any batch.
type boundedBatch struct {
	ds.Batch
	store   *boundedStore
	changes map[ds.Key]storeChange // of what is counted; they join the others when all is committed
}

type storeChange struct {
	value  []byte
	delete bool
}

func (b *boundedBatch) Put(ctx context.Context, key ds.Key, value []byte) error {
	if !isBounded(key) {
		return b.Batch.Put(ctx, key, value)
	}
	b.changes[key] = storeChange{value: value}
	return nil
}

func (b *boundedBatch) Delete(ctx context.Context, key ds.Key) error {
	if !isBounded(key) {
		return b.Batch.Delete(ctx, key)
	}
	b.changes[key] = storeChange{delete: true}
	return nil
}

func (b *boundedBatch) Commit(ctx context.Context) error {
	_, err := b.commit(ctx)
	return err
}

// commit returns how many changes found no room.
func (b *boundedBatch) commit(ctx context.Context) (refused int, err error) {
	defer b.lock()()
	grown := int64(0)
	defer func() {
		if err != nil {
			b.store.bytes.Add(-grown)
		}
	}()
	for key, change := range b.changes {
		more := int64(0)
		switch size, err := b.store.GetSize(ctx, key); {
		case err == nil:
			more = -entrySize(key, size)
		case !errors.Is(err, ds.ErrNotFound):
			return refused, err
		}
		if !change.delete {
			more += entrySize(key, len(change.value))
		}
		if b.store.bytes.Add(more) > b.store.max && more > 0 && ctx.Value(ownWrite{}) == nil && !b.store.provides(key) {
			b.store.bytes.Add(-more)
			b.store.refused.Add(1)
			refused++
			continue
		}
		grown += more
		if change.delete {
			err = b.Batch.Delete(ctx, key)
		} else {
			err = b.Batch.Put(ctx, key, change.value)
		}
		if err != nil {
			return refused, err
		}
	}
	return refused, b.Batch.Commit(ctx)
}

// lock keeps others from the keys of the batch, and returns what lets them go on.
func (b *boundedBatch) lock() (unlock func()) {
	locks := &b.store.locks
	var needed [len(b.store.locks)]bool
	for key := range b.changes {
		needed[maphash.String(lockSeed, key.String())%uint64(len(locks))] = true
	}
	for i, is := range needed { // always in this order
		if is {
			locks[i].Lock()
		}
	}
	return func() {
		for i, is := range needed {
			if is {
				locks[i].Unlock()
			}
		}
	}
}
