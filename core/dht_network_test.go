package core_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/libp2pgo/libp2pgo/core"
)

// networkSize is the number of nodes in one process: few, unless DHT_NODES has another, as in the suite dht.
func networkSize(t *testing.T) int {
	if text := os.Getenv("DHT_NODES"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return 12
}

// each runs do for 0 to count-1, some at a time, and fails with the first error.
func each(t *testing.T, what string, count int, do func(int) error) {
	t.Helper()
	since := time.Now()
	errs := make(chan error, count)
	var wait sync.WaitGroup
	slots := make(chan struct{}, 2*runtime.NumCPU())
	for i := range count {
		wait.Add(1)
		slots <- struct{}{}
		go func() {
			defer wait.Done()
			defer func() { <-slots }()
			if err := do(i); err != nil {
				errs <- fmt.Errorf("%s %d: %w", what, i, err)
			}
		}()
	}
	wait.Wait()
	close(errs)
	failed := len(errs)
	for err := range errs {
		t.Fatalf("%d of %d failed: %v", failed, count, err)
	}
	t.Logf("%s: %d in %v", what, count, time.Since(since).Round(time.Millisecond))
}

// one is done when a search has brought the first provider that is wanted.
func findsProvider(ctx context.Context, n *core.Node, key string, want *core.Node) error {
	d, err := n.DHT()
	if err != nil {
		return err
	}
	found := make(chan struct{}, 1)
	done := make(chan error, 1)
	s, err := d.FindProviders(key, core.DHTProvidersOptions{TimeoutMs: int(limit.Milliseconds())}, core.Inbox[core.SearchResult]{
		Deliver: func(r core.SearchResult) {
			if r.Provider == want.ID() {
				select {
				case found <- struct{}{}:
				default:
				}
			}
		},
		Closed: func(err error) { done <- err },
	})
	if err != nil {
		return err
	}
	defer s.Close()
	select {
	case <-found:
		return nil
	case err := <-done:
		select {
		case <-found:
			return nil
		default:
			return fmt.Errorf("provider of %s not found: %w", key, errors.Join(err, core.ErrNotFound))
		}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A hash table of many nodes in one process: what each puts, sets and provides every other finds, also when a third of the nodes is gone.
func TestDHTOfManyNodes(t *testing.T) {
	count := networkSize(t)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	random := rand.New(rand.NewPCG(1, 2))
	nodes := make([]*core.Node, count)
	tables := make([]*core.DHT, count)
	for i := range nodes {
		nodes[i] = start(t, "dht.mode", "server", "dht.validators", "app=accept", "pubsub.enabled", "false",
			"dht.refresh_ms", "0", "dht.bucket_size", "12", "dht.concurrency", "3")
		tables[i] = table(t, nodes[i])
	}
	each(t, "join", count, func(i int) error {
		// Each knows one of those before it, as in life.
		if i == 0 {
			return nil
		}
		_, err := nodes[i].Connect(ctx, nodes[(i-1)/3].Addresses())
		return err
	})
	each(t, "bootstrap", count, func(i int) error { _, err := tables[i].Bootstrap(ctx, 3); return err })

	each(t, "put", count, func(i int) error {
		_, err := tables[i].Put(ctx, fmt.Sprintf("/app/%d", i), fmt.Appendf(nil, "value %d", i), core.DHTPutOptions{MinPeers: min(count-1, 10)})
		return err
	})
	each(t, "set", count, func(i int) error {
		_, err := tables[i].Set(ctx, "name", fmt.Appendf(nil, "of %d", i), core.DHTSetOptions{ExpiryMs: 3_600_000, Republish: true, MinPeers: min(count-1, 10)})
		return err
	})
	each(t, "provide", count, func(i int) error {
		heard, err := tables[i].Provide(ctx, fmt.Sprintf("/data/%d", i))
		if err == nil && heard < min(count-1, 10) {
			err = fmt.Errorf("only %d heard it", heard)
		}
		return err
	})

	everybodyFinds := func(alive []int) {
		t.Helper()
		pairs := len(alive) * count
		at := func(i int) (from, key int) { return alive[i/count], i % count }
		expect := func(from int, key, want string) error {
			got, err := tables[from].Get(ctx, key, core.DHTGetOptions{Quorum: 1})
			if err == nil && string(got) != want {
				err = fmt.Errorf("%s is %q", key, got)
			}
			return err
		}
		each(t, "get", pairs, func(i int) error {
			from, key := at(i)
			return expect(from, fmt.Sprintf("/app/%d", key), fmt.Sprintf("value %d", key))
		})
		each(t, "get a name", pairs, func(i int) error {
			from, key := at(i)
			return expect(from, nodes[key].ID().String()+"/name", fmt.Sprintf("of %d", key))
		})
		each(t, "find a provider", pairs, func(i int) error {
			from, key := at(i)
			return findsProvider(ctx, nodes[from], fmt.Sprintf("/data/%d", key), nodes[key])
		})
		each(t, "find a peer", len(alive)*len(alive), func(i int) error {
			from, to := alive[i/len(alive)], alive[i%len(alive)]
			_, err := tables[from].FindPeer(ctx, nodes[to].ID())
			return err
		})
	}
	all := make([]int, count)
	for i := range all {
		all[i] = i
	}
	everybodyFinds(all)
	random.Shuffle(count, func(i, j int) { all[i], all[j] = all[j], all[i] })
	killed := all[:count/3]
	each(t, "kill", len(killed), func(i int) error { return nodes[killed[i]].Close() })
	everybodyFinds(all[count/3:])
}

// Records, providers, keys that are kept provided and own names are there again after a restart.
func TestDHTStoreSurvivesRestart(t *testing.T) {
	folder := t.TempDir()
	pairs := []string{"identity.file", filepath.Join(folder, "key"), "dht.mode", "server", "dht.store", filepath.Join(folder, "dht"), "dht.validators", "app=accept"}
	first := start(t, pairs...)
	other := start(t, "dht.mode", "server", "dht.validators", "app=accept")
	connect(t, other, first)
	for _, n := range []*core.Node{first, other} {
		if _, err := table(t, n).Bootstrap(timeout(t), 1); err != nil {
			t.Fatal(err)
		}
	}
	put(t, other, "/app/x", "for another")
	set(t, first, "name", "own")
	if _, err := table(t, other).Provide(timeout(t), "/data"); err != nil {
		t.Fatal(err)
	}
	if err := table(t, first).StartProviding(timeout(t), []string{"/kept", "/dropped"}); err != nil {
		t.Fatal(err)
	}
	if err := table(t, first).StopProviding(timeout(t), []string{"/dropped"}); err != nil {
		t.Fatal(err)
	}
	until(t, "the provider is heard", func() bool { return len(providers(t, first, "/data")) == 1 })
	second := start(t, "dht.mode", "server", "dht.store", filepath.Join(folder, "dht2"))
	if _, err := core.New(timeout(t), config(t, "dht.mode", "server", "dht.store", filepath.Join(folder, "dht2")), core.Inbox[core.Event]{}); err == nil {
		t.Fatal("two nodes share a store")
	} else {
		mustMatch(t, err, core.ErrBusy, "dht.store", "dht2")
	}
	second.Close()
	first.Close()
	other.Close()

	again := start(t, pairs...)
	if again.ID() != first.ID() {
		t.Fatal("another identity")
	}
	if got := get(t, again, "/app/x"); got != "for another" {
		t.Fatalf("got %q", got)
	}
	if got := get(t, again, "name"); got != "own" {
		t.Fatalf("got %q", got)
	}
	if found := providers(t, again, "/data"); len(found) != 1 {
		t.Fatalf("providers are %v", found)
	}
	info := table(t, again).Info().(core.DHTInfo)
	if info.Providing != 1 || info.OwnRecords != 1 || info.RoutingTables[0].Records != 2 {
		t.Fatalf("info is %+v", info)
	}
	newcomer := start(t, "dht.mode", "server")
	connect(t, newcomer, again)
	until(t, "the own record and the kept key reach a newcomer", func() bool {
		info := table(t, newcomer).Info().(core.DHTInfo)
		return info.RoutingTables[0].Records == 1 && len(providers(t, newcomer, "/kept")) == 1
	})
	if got := get(t, newcomer, again.ID().String()+"/name"); got != "own" {
		t.Fatalf("got %q", got)
	}
}

// A node that waits for more peers than there are finds those that its peers get to know later.
func TestDHTBootstrapLooksAgain(t *testing.T) {
	first, waiting := start(t, "dht.mode", "server"), start(t, "dht.mode", "server", "listen", "") // nobody can come to it
	connect(t, waiting, first)
	if _, err := table(t, waiting).Bootstrap(timeout(t), 1); err != nil {
		t.Fatal(err)
	}
	found := make(chan error, 1)
	go func() {
		_, err := table(t, waiting).Bootstrap(timeout(t), 2)
		found <- err
	}()
	connect(t, start(t, "dht.mode", "server"), first)
	if err := <-found; err != nil {
		t.Fatal(err)
	}
}

// A provider that was told of is on disk at once: a copy of the directory, as a killed process leaves it, has it.
func TestDHTStoresProvidersAtOnce(t *testing.T) {
	folder := t.TempDir()
	server := start(t, "dht.mode", "server", "dht.store", filepath.Join(folder, "dht"))
	other := start(t, "dht.mode", "server")
	connect(t, other, server)
	if _, err := table(t, other).Bootstrap(timeout(t), 1); err != nil {
		t.Fatal(err)
	}
	if _, err := table(t, other).Provide(timeout(t), "/data"); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(folder, "copy"), os.DirFS(filepath.Join(folder, "dht"))); err != nil {
		t.Fatal(err)
	}
	again := start(t, "dht.mode", "server", "dht.store", filepath.Join(folder, "copy"))
	if n := table(t, again).Info().(core.DHTInfo).RoutingTables[0].Providers; n != 1 {
		t.Fatalf("%d providers", n)
	}
}

// Nodes with a hash table that come and go leave no goroutine behind, whatever is under way.
func TestDHTLeavesNothingBehind(t *testing.T) {
	cycle := func() {
		a, b := start(t, "dht.mode", "server"), start(t, "dht.mode", "server", "dht.network", "dual", "dht.store", filepath.Join(t.TempDir(), "dht"))
		connect(t, a, b)
		table(t, a).Bootstrap(timeout(t), 1)
		set(t, a, "x", "y")
		table(t, a).StartProviding(timeout(t), []string{"/x"})
		ended := make(chan struct{})
		s, err := table(t, b).FindProviders("/x", core.DHTProvidersOptions{TimeoutMs: 60_000}, core.Inbox[core.SearchResult]{Closed: func(error) { close(ended) }})
		if err != nil {
			t.Fatal(err)
		}
		go table(t, a).Get(context.Background(), "none", core.DHTGetOptions{})
		a.Close()
		b.Close()
		<-ended
		s.Close()
	}
	cycle()
	time.Sleep(50 * time.Millisecond) // what the process keeps has started
	before := runtime.NumGoroutine()
	for range 5 {
		cycle()
	}
	until(t, "the goroutines are back\n"+goroutines(), func() bool { return runtime.NumGoroutine() <= before })
}
