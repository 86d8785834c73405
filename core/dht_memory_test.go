package core

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	"github.com/libp2p/go-libp2p-kad-dht/records"
)

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
	if got := count(1); got != 1 { // and not those of 10 and 1000
		t.Fatalf("%d entries of 1", got)
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
