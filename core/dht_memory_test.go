package core

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	"github.com/libp2p/go-libp2p-kad-dht/records"
)

// The store holds what a map would, and no block is empty, too large or out of order, whatever comes and goes.
func TestMemoryStore(t *testing.T) {
	ctx := context.Background()
	s, want := &memoryStore{}, map[string]string{}
	check := func() {
		t.Helper()
		results, err := s.Query(ctx, query.Query{Prefix: "/a"})
		if err != nil {
			t.Fatal(err)
		}
		got, err := results.Rest()
		if err != nil || len(got) != len(want) {
			t.Fatalf("%d entries, %v, not %d", len(got), err, len(want))
		}
		for i, key := range slices.Sorted(maps.Keys(want)) {
			if got[i].Key != key || string(got[i].Value) != want[key] {
				t.Fatalf("%s has %s, not %s %s", got[i].Key, got[i].Value, key, want[key])
			}
		}
		for _, b := range s.blocks {
			if len(b) == 0 || len(b) > memoryBlock {
				t.Fatalf("a block of %d", len(b))
			}
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for _, grows := range []int{3, 1, 3, 0} { // of four changes so many add
		for i := range 20_000 {
			key := fmt.Sprint("/a/", random.IntN(10_000))
			if random.IntN(4) < grows {
				want[key] = fmt.Sprint(i)
				s.Put(ctx, ds.NewKey(key), []byte(want[key]))
			} else {
				delete(want, key)
				s.Delete(ctx, ds.NewKey(key))
			}
		}
		check()
		if fair := 1 + 8*len(want)/memoryBlock; len(s.blocks) > 2*fair {
			t.Fatalf("%d entries are in %d blocks", len(want), len(s.blocks))
		}
	}
	for key := range want {
		s.Delete(ctx, ds.NewKey(key))
	}
	if len(s.blocks) != 0 {
		t.Fatalf("%d blocks", len(s.blocks))
	}
}

// A key that nobody provides is looked for without reading those of all others, in memory as on disk.
func TestDHTStoreReadsWhatIsAskedFor(t *testing.T) {
	ctx := context.Background()
	s, err := openDHTStore("", 1<<30, "me")
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	part := s.part("any")
	key := func(i int) ds.Key { return ds.NewKey(fmt.Sprint(records.ProvidersKeyPrefix, i, "/peer")) }
	for i := range 10_000 {
		if err := part.Put(ctx, key(i), []byte("time")); err != nil {
			t.Fatal(err)
		}
	}
	count := func(i int) int {
		results, err := part.Query(ctx, query.Query{Prefix: strings.TrimSuffix(key(i).String(), "/peer")})
		if err != nil {
			t.Fatal(err)
		}
		found, _ := results.Rest()
		return len(found)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range 100 {
		if got := count(9_950 + i); (got == 1) != (i < 50) {
			t.Fatalf("%d entries of %d", got, 9_950+i)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / 100; each > 50_000 {
		t.Fatalf("a query takes %d bytes", each)
	}
}
