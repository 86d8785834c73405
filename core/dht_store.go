package core

import (
	"context"
	"errors"
	"os"
	"syscall"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/namespace"
	"github.com/ipfs/go-datastore/query"
	leveldb "github.com/ipfs/go-ds-leveldb"
	"github.com/libp2p/go-libp2p/core/peer"
)

// dhtStore keeps what the DHT stores: on disk, or in memory.
type dhtStore struct {
	path string
	all  *boundedStore
}

// openDHTStore opens the store at path, or makes one in memory. What is written is the system's at once, and the disk's when the system gets to it.
func openDHTStore(path string, maxBytes int64, self peer.ID) (s *dhtStore, err error) {
	if path == "" {
		return &dhtStore{all: newBoundedStore(&memoryStore{}, maxBytes, self)}, nil
	}
	defer Recovered("open dht.store", &err)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, storeError("dht.store", path, err)
	}
	level, err := leveldb.NewDatastore(path, &leveldb.Options{NoSync: true})
	if err != nil {
		return nil, storeError("dht.store", path, err)
	}
	all := newBoundedStore(level, maxBytes, self)
	if err := all.count(); err != nil {
		level.Close()
		return nil, storeError("dht.store", path, err)
	}
	return &dhtStore{path, all}, nil
}

// storeError tells why the directory that an option names cannot be used.
func storeError(option, path string, err error) error {
	switch {
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EACCES) && isLocked(path):
		return Errorf(ErrBusy, "%s %q: another node uses it", option, path)
	case errors.Is(err, os.ErrPermission):
		return Errorf(ErrPermission, "%s %q: %w", option, path, err)
	}
	return Errorf(ErrSystem, "%s %q: %w", option, path, err)
}

// isLocked tells a lock that is held from a file that must not be opened: both can be EACCES.
func isLocked(path string) bool {
	f, err := os.OpenFile(path+"/LOCK", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// part returns the part of the store with a name.
func (s *dhtStore) part(name string) ds.Batching { return namespace.Wrap(s.all, ds.NewKey(name)) }

func (s *dhtStore) close() {
	within(closeLimit, "close dht.store", func() {
		if err := s.all.Close(); err != nil {
			logger.Error("close dht.store", "path", s.path, "err", err)
		}
	})
}

// countKeys counts the entries whose keys begin with prefix.
func countKeys(ctx context.Context, part ds.Datastore, prefix string) int {
	results, err := part.Query(ctx, query.Query{Prefix: prefix, KeysOnly: true})
	if err != nil {
		return 0
	}
	defer results.Close()
	n := 0
	for r := range results.Next() {
		if r.Error != nil {
			break
		}
		n++
	}
	return n
}
