package core

import (
	"context"
	"path"
	"strings"
	"sync"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	"github.com/tidwall/btree"
)

// memoryStore is a datastore in memory that has its keys in order: a query reads only what its prefix names. The DHT makes one for each key that
// peers ask it for, and go-datastore's MapDatastore copies all that there is each time. Safe for concurrent use.
type memoryStore struct {
	mu     sync.RWMutex
	values btree.Map[string, []byte] // guarded by mu
}

func (s *memoryStore) Put(_ context.Context, key ds.Key, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values.Set(key.String(), value)
	return nil
}

func (s *memoryStore) Delete(_ context.Context, key ds.Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values.Delete(key.String())
	return nil
}

func (s *memoryStore) Get(_ context.Context, key ds.Key) ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	value, found := s.values.Get(key.String())
	if !found {
		return nil, ds.ErrNotFound
	}
	return value, nil
}

func (s *memoryStore) Has(ctx context.Context, key ds.Key) (bool, error) {
	_, err := s.Get(ctx, key)
	return err == nil, nil
}

func (s *memoryStore) GetSize(ctx context.Context, key ds.Key) (int, error) {
	value, err := s.Get(ctx, key)
	if err != nil {
		return -1, err
	}
	return len(value), nil
}

// Query returns what is there now.
func (s *memoryStore) Query(_ context.Context, q query.Query) (query.Results, error) {
	prefix := path.Clean("/" + q.Prefix)
	if prefix != "/" {
		prefix += "/" // /bar is for /bar/baz, not for /barbaz
	}
	var entries []query.Entry
	s.mu.RLock()
	defer s.mu.RUnlock()
	s.values.Ascend(prefix, func(key string, value []byte) bool {
		if !strings.HasPrefix(key, prefix) {
			return false
		}
		entry := query.Entry{Key: key, Size: len(value)}
		if !q.KeysOnly {
			entry.Value = value
		}
		entries = append(entries, entry)
		return true
	})
	return query.NaiveQueryApply(q, query.ResultsWithEntries(q, entries)), nil
}

func (s *memoryStore) Batch(context.Context) (ds.Batch, error) { return ds.NewBasicBatch(s), nil }

func (*memoryStore) Sync(context.Context, ds.Key) error { return nil }

func (*memoryStore) Close() error { return nil }
