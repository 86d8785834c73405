package core

import (
	"bytes"
	"context"
	"errors"
	"testing"

	ds "github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p-kad-dht/records"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-base32"
)

// What is stored is counted through every way of writing, and after a restart; what finds no room is not stored.
func TestDHTStoreIsBounded(t *testing.T) {
	ctx, folder := context.Background(), t.TempDir()
	record := func(name string) ds.Key { return ds.NewKey("/any/app/" + name) }
	a, b := record("a"), record("b")
	value := bytes.Repeat([]byte("x"), 1000)
	open := func() *dhtStore {
		s, err := openDHTStore(folder, 2*entrySize(a, len(value)), "me")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	holds := func(want int64) {
		t.Helper()
		if got := s.all.bytes.Load(); got != want {
			t.Fatalf("%d bytes, want %d", got, want)
		}
	}
	put := func(key ds.Key, value []byte) error { return s.all.Put(ctx, key, value) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	one := entrySize(a, len(value))
	must(put(a, value))
	must(put(a, value)) // again: the same bytes
	holds(one)
	must(put(b, value))
	if err := put(record("c"), value); !errors.Is(err, errStoreFull) || s.all.refused.Load() != 1 {
		t.Fatalf("%v, %d refused", err, s.all.refused.Load())
	}
	if has, _ := s.all.Has(ctx, record("c")); has {
		t.Fatal("what was refused is stored")
	}
	must(put(a, value)) // what is there may come again when all is full
	for _, own := range []string{"/own/x", "/any/provide/keys/x", "/any/provide/state/x"} {
		must(put(ds.NewKey(own), value))
	}
	holds(2 * one)
	s.close()
	s = open()
	holds(2 * one)

	must(put(a, nil))
	small := entrySize(a, 0)
	holds(one + small)
	must(s.all.Delete(ctx, a))
	must(s.all.Delete(ctx, a)) // gives nothing back
	holds(one)

	// A batch takes what there is room for.
	batch, err := s.part("any").Batch(ctx)
	must(err)
	for _, name := range []string{"c", "d"} {
		must(batch.Put(ctx, ds.NewKey("/app/"+name), value))
	}
	must(batch.Delete(ctx, ds.NewKey("/app/none")))
	must(batch.Put(ctx, ds.NewKey("/provide/keys/y"), value))
	must(batch.Commit(ctx))
	holds(2 * one)
	if s.all.refused.Load() != 1 {
		t.Fatalf("%d refused", s.all.refused.Load())
	}
	if has, _ := s.all.Has(ctx, ds.NewKey("/any/provide/keys/y")); !has {
		t.Fatal("the rest of the batch is lost")
	}
	must(s.all.Put(context.WithValue(ctx, ownWrite{}, true), record("own"), value))
	holds(2*one + entrySize(record("own"), len(value)))
	for who, want := range map[peer.ID]bool{"me": true, "other": false} {
		key := ds.NewKey("/any" + records.ProvidersKeyPrefix + "KEY/" + base32.RawStdEncoding.EncodeToString([]byte(who)))
		batch, err := s.part("").Batch(ctx)
		must(err)
		must(batch.Put(ctx, key, nil))
		must(batch.Commit(ctx))
		if has, _ := s.all.Has(ctx, key); has != want {
			t.Fatalf("in a full store %s is among those who provide a key: %v", who, has)
		}
	}
	s.close()
}
