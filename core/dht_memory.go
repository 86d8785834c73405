package core

import (
	"context"
	"path"
	"slices"
	"sort"
	"strings"
	"sync"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

// memoryStore is a datastore in memory that has its keys in order: a query reads only what its prefix names. The DHT makes one for each key that
// peers ask it for, and go-datastore's MapDatastore copies all that there is each time. Safe for concurrent use.
type memoryStore struct {
	mu     sync.RWMutex
	blocks [][]memoryEntry // guarded by mu; none is empty; in order, and each in itself
}

type memoryEntry struct {
	key   string
	value []byte
}

// memoryBlock is how many entries a block has before it becomes two.
const memoryBlock = 256

// atLocked returns where the key is, or is to be.
func (s *memoryStore) atLocked(key string) (block, i int, found bool) {
	if len(s.blocks) == 0 {
		return 0, 0, false
	}
	block = max(sort.Search(len(s.blocks), func(b int) bool { return s.blocks[b][0].key > key })-1, 0)
	i, found = slices.BinarySearchFunc(s.blocks[block], key, func(e memoryEntry, key string) int { return strings.Compare(e.key, key) })
	return block, i, found
}

func (s *memoryStore) Put(_ context.Context, key ds.Key, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, i, found := s.atLocked(key.String())
	if found {
		s.blocks[b][i].value = value
		return nil
	}
	if len(s.blocks) == 0 {
		s.blocks = [][]memoryEntry{nil}
	}
	s.blocks[b] = slices.Insert(s.blocks[b], i, memoryEntry{key.String(), value})
	if full := s.blocks[b]; len(full) > memoryBlock {
		s.blocks[b] = slices.Clone(full[:memoryBlock/2])
		s.blocks = slices.Insert(s.blocks, b+1, slices.Clone(full[memoryBlock/2:]))
	}
	return nil
}

func (s *memoryStore) Delete(_ context.Context, key ds.Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, i, found := s.atLocked(key.String())
	if !found {
		return nil
	}
	s.blocks[b] = slices.Delete(s.blocks[b], i, i+1)
	left := len(s.blocks[b])
	switch {
	case left == 0:
		s.blocks = slices.Delete(s.blocks, b, b+1)
	case left < memoryBlock/4 && b+1 < len(s.blocks) && left+len(s.blocks[b+1]) <= memoryBlock/2: // what is mostly room is given back
		s.blocks[b] = slices.Concat(s.blocks[b], s.blocks[b+1])
		s.blocks = slices.Delete(s.blocks, b+1, b+2)
	}
	return nil
}

func (s *memoryStore) Get(_ context.Context, key ds.Key) ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	b, i, found := s.atLocked(key.String())
	if !found {
		return nil, ds.ErrNotFound
	}
	return s.blocks[b][i].value, nil
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
	b, i, _ := s.atLocked(prefix)
	for ; b < len(s.blocks); b, i = b+1, 0 {
		for _, e := range s.blocks[b][i:] {
			if !strings.HasPrefix(e.key, prefix) {
				return query.NaiveQueryApply(q, query.ResultsWithEntries(q, entries)), nil
			}
			entry := query.Entry{Key: e.key, Size: len(e.value)}
			if !q.KeysOnly {
				entry.Value = e.value
			}
			entries = append(entries, entry)
		}
	}
	return query.NaiveQueryApply(q, query.ResultsWithEntries(q, entries)), nil
}

func (s *memoryStore) Batch(context.Context) (ds.Batch, error) { return ds.NewBasicBatch(s), nil }

func (*memoryStore) Sync(context.Context, ds.Key) error { return nil }

func (*memoryStore) Close() error { return nil }
