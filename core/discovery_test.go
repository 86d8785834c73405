package core_test

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/libp2pgo/libp2pgo/core"
)

func onLines(addresses []string) string { return strings.Join(addresses, "\n") }

func findTopic(t testing.TB, n *core.Node, topic, options string, told *tidings) (*core.PeerSearch, error) {
	t.Helper()
	o, err := core.ParseFindOptions([]byte(options))
	if err != nil {
		t.Fatal(err)
	}
	s, err := n.Find(topic, o, told.inbox())
	if err == nil {
		t.Cleanup(s.Close)
	}
	return s, err
}

func advertiseTopic(t testing.TB, n *core.Node, topic, options string, told *tidings) *core.Advertisement {
	t.Helper()
	o, err := core.ParseAdvertiseOptions([]byte(options))
	if err != nil {
		t.Fatal(err)
	}
	a, err := n.Advertise(topic, o, told.inbox())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

func TestAdvertiseAndFindAtRendezvousPoints(t *testing.T) {
	one, two := meetingPoint(t), meetingPoint(t)
	both := onLines(append(one.Addresses(), two.Addresses()...))
	a, b := start(t, "rendezvous.points", both), start(t, "rendezvous.points", both)
	said, met := newTidings(), newTidings()
	advertisement := advertiseTopic(t, a, "t", "", said)
	first, second := said.wait(t, core.DiscoveryAdvertised, ""), said.wait(t, core.DiscoveryAdvertised, "")
	if first.Source == second.Source || first.NextMs < 3600_000 {
		t.Fatalf("%+v %+v", first, second)
	}
	if _, err := findTopic(t, b, "t", "", met); err != nil {
		t.Fatal(err)
	}
	if e := met.wait(t, core.DiscoveryFound, a.ID()); len(e.Addresses) == 0 || !strings.HasPrefix(e.Source, "rendezvous ") {
		t.Fatalf("%+v", e)
	}
	if err := <-met.closed; err != nil {
		t.Fatalf("the search ended with %v", err)
	}
	met.none(t, core.DiscoveryFound) // both points know it, and it is told of once
	advertisement.Close()
	until(t, "both registrations are taken back", func() bool {
		return one.RendezvousInfo().Registrations+two.RendezvousInfo().Registrations == 0
	})
}

func TestFindFollows(t *testing.T) {
	rendezvous := meetingPoint(t)
	a, b := start(t), start(t, "rendezvous.points", onLines(rendezvous.Addresses()))
	met := newTidings()
	s, err := findTopic(t, b, "t", `{"follow":true,"retry_min_ms":20,"interval_ms":100}`, met)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []*core.Node{a, start(t)} {
		if _, err := registerAt(t, n, rendezvous, "t", ""); err != nil {
			t.Fatal(err)
		}
		met.wait(t, core.DiscoveryFound, n.ID())
	}
	if i := s.Info().(core.PeerSearchInfo); i.Found != 2 || !i.Running || i.Sources[0].Found < 2 {
		t.Fatalf("%+v", i)
	}
	s.Close()
	s.Close()
	if err := <-met.closed; err != nil {
		t.Fatal(err)
	}
}

func TestFindEndsAtItsLimit(t *testing.T) {
	rendezvous := meetingPoint(t)
	for range 3 {
		if _, err := registerAt(t, start(t), rendezvous, "t", ""); err != nil {
			t.Fatal(err)
		}
	}
	met := newTidings()
	if _, err := findTopic(t, start(t), "t", `{"limit":2,"follow":true,"points":["`+strings.Join(rendezvous.Addresses(), `","`)+`"]}`, met); err != nil {
		t.Fatal(err)
	}
	if err := <-met.closed; err != nil {
		t.Fatal(err)
	}
	found := map[peer.ID]bool{}
	for range 2 {
		found[met.wait(t, core.DiscoveryFound, "").Peer] = true
	}
	met.none(t, core.DiscoveryFound)
	if len(found) != 2 {
		t.Fatalf("%v", found)
	}
}

func TestFindNamesTheSourceThatFails(t *testing.T) {
	plain := start(t)
	met := newTidings()
	if _, err := findTopic(t, start(t, "rendezvous.points", onLines(plain.Addresses())), "t", "", met); err != nil {
		t.Fatal(err)
	}
	if e := met.wait(t, core.DiscoveryFailed, ""); e.NextMs != -1 {
		t.Fatalf("%+v", e)
	}
	mustMatch(t, <-met.closed, core.ErrProtocol, "rendezvous "+plain.ID().String()+": ")

	_, err := findTopic(t, start(t), "t", "", newTidings())
	mustMatch(t, err, core.ErrState, "rendezvous.points")
	_, err = findTopic(t, start(t), "t", `{"sources":["dht"]}`, newTidings())
	mustMatch(t, err, core.ErrState, "dht")
	_, err = findTopic(t, start(t), "t", `{"sources":["rendezvous"]}`, newTidings())
	mustMatch(t, err, core.ErrState, "rendezvous.points")
	_, err = findTopic(t, start(t), "", "", newTidings())
	mustMatch(t, err, core.ErrInvalid, "topic")
	closed := start(t, "rendezvous.points", onLines(plain.Addresses()))
	closed.Close()
	_, err = findTopic(t, closed, "t", "", newTidings())
	mustMatch(t, err, core.ErrClosed)
}

// A source that fails is asked again within retry_max_ms, however long the pauses between looks at one that answers may be.
func TestMeetAsksAFailingSourceAgainInTime(t *testing.T) {
	plain := start(t) // no rendezvous point
	told := newTidings()
	meetAt(t, start(t, "rendezvous.points", onLines(plain.Addresses())), "t", `{"advertise":false,"retry_min_ms":10,"retry_max_ms":40,"interval_ms":86400000}`, told)
	for _, want := range []int64{10, 20, 40, 40, 40} {
		if e := told.wait(t, core.DiscoveryFailed, ""); e.NextMs != want {
			t.Fatalf("%+v, want the next in %d ms", e, want)
		}
	}
}

// A DHT without peers cannot be asked. The search fails for it alone, not when another source has answered.
func TestFindInALonelyDHT(t *testing.T) {
	for _, mode := range []string{"client", "server"} {
		n := start(t, "dht.mode", mode)
		met := newTidings()
		s, err := findTopic(t, n, "t", "", met)
		if err != nil {
			t.Fatal(err)
		}
		mustMatch(t, <-met.closed, core.ErrPeers, "dht: ", "no peer in the DHT's table")
		if e := met.wait(t, core.DiscoveryFailed, ""); e.Source != "dht" || e.NextMs != -1 {
			t.Fatalf("%+v", e)
		}
		if i := s.Info().(core.PeerSearchInfo).Sources[0]; i.Failures != 1 || i.LastError == "" {
			t.Fatalf("%+v", i)
		}
		both := newTidings()
		if _, err := findTopic(t, n, "t", `{"points":["`+strings.Join(meetingPoint(t).Addresses(), `","`)+`"]}`, both); err != nil {
			t.Fatal(err)
		}
		if err := <-both.closed; err != nil {
			t.Fatalf("the rendezvous point has answered, and the search ended with %v", err)
		}
		both.wait(t, core.DiscoveryFailed, "")
	}
}

func TestDiscoveryOptions(t *testing.T) {
	for _, row := range []struct{ doc, path string }{
		{`{"sources":[]}`, "sources"}, {`{"sources":["dht","dht"]}`, "sources"}, {`{"sources":["bt"]}`, "sources[0]"}, {`{"points":["x"]}`, "points[0]"},
		{`{"sources":["dht"],"points":["/ip4/1.2.3.4/tcp/1/p2p/` + randomPeer(t).String() + `"]}`, "points"}, {`{"nothing":1}`, "nothing"},
		{`{"retry_min_ms":5000000}`, "retry_min_ms"},
	} {
		_, advertising := core.ParseAdvertiseOptions([]byte(row.doc))
		_, finding := core.ParseFindOptions([]byte(row.doc))
		_, joining := core.ParseMeetOptions([]byte(row.doc))
		for _, err := range []error{advertising, finding, joining} {
			var bad *core.OptionError
			if !errors.As(err, &bad) || bad.Path != row.path {
				t.Errorf("%s: %v", row.doc, err)
			}
		}
	}
	if _, err := core.ParseConfig([]byte(`{"rendezvous":{"points":["nonsense"]}}`)); err == nil || !strings.HasPrefix(err.Error(), "rendezvous.points[0]: ") {
		t.Error(err)
	}
	_, err := core.New(timeout(t), config(t, "rendezvous.ttl_min_ms", "2000", "rendezvous.ttl_max_ms", "1000"), core.Inbox[core.Event]{})
	mustMatch(t, err, core.ErrConfig, "rendezvous.ttl_min_ms", "rendezvous.ttl_max_ms")
}

// A topic has a service of its own on the local network; looking does not announce.
func TestAdvertiseAndFindByMDNS(t *testing.T) {
	if !multicast() {
		t.Skip("no interface with multicast")
	}
	listen := []string{"listen", "/ip4/0.0.0.0/tcp/0"}
	topic := "t" + randomPeer(t).String()[44:]
	a, b := start(t, listen...), start(t, listen...)
	said, met := newTidings(), newTidings()
	advertiseTopic(t, a, topic, `{"sources":["mdns"]}`, said)
	said.wait(t, core.DiscoveryAdvertised, "")
	if _, err := findTopic(t, b, topic, `{"sources":["mdns"],"follow":true,"retry_min_ms":50}`, met); err != nil {
		t.Fatal(err)
	}
	if e := met.wait(t, core.DiscoveryFound, a.ID()); e.Source != "mdns" || len(e.Addresses) == 0 {
		t.Fatalf("%+v", e)
	}
	if _, err := b.Connect(timeout(t), withPeer(a.Addresses())); err != nil {
		t.Fatal(err)
	}
	other := newTidings()
	if _, err := findTopic(t, a, topic+"x", `{"sources":["mdns"]}`, other); err != nil {
		t.Fatal(err)
	}
	if err := <-other.closed; err != nil {
		t.Fatal(err)
	}
	other.none(t, core.DiscoveryFound)
}

func withPeer(addresses []string) []string { return slices.Clone(addresses) }

func TestDiscoveryLeavesNothingBehind(t *testing.T) {
	rendezvous := meetingPoint(t)
	a := start(t, "rendezvous.points", onLines(rendezvous.Addresses()))
	connect(t, a, rendezvous)
	cycle := func() {
		said := newTidings()
		x := advertiseTopic(t, a, "t", "", said)
		said.wait(t, core.DiscoveryAdvertised, "")
		met := newTidings()
		s, _ := findTopic(t, a, "t", `{"follow":true}`, met)
		m := meetAt(t, a, "t", "", newTidings())
		s.Close()
		x.Close()
		m.Close()
	}
	cycle()
	settled := goroutineCount()
	for range 20 {
		cycle()
	}
	until(t, "no goroutines are left", func() bool { return goroutineCount() <= settled+3 })
}

func goroutineCount() int {
	time.Sleep(50 * time.Millisecond)
	return strings.Count(goroutines(), "\ngoroutine ")
}

// What is opened while the node closes ends with it.
func TestDiscoveryOpenedWhileTheNodeCloses(t *testing.T) {
	find, _ := core.ParseFindOptions([]byte(`{"follow":true}`))
	advertise, _ := core.ParseAdvertiseOptions(nil)
	meet, _ := core.ParseMeetOptions(nil)
	for range 10 {
		n := start(t, "dht.mode", "server")
		opened := make(chan struct{}, 64)
		var working sync.WaitGroup
		for _, open := range []func(topic string, inbox core.Inbox[core.DiscoveryEvent]) error{
			func(topic string, inbox core.Inbox[core.DiscoveryEvent]) error {
				_, err := n.Find(topic, find, inbox)
				return err
			},
			func(topic string, inbox core.Inbox[core.DiscoveryEvent]) error {
				_, err := n.Advertise(topic, advertise, inbox)
				return err
			},
			func(topic string, inbox core.Inbox[core.DiscoveryEvent]) error {
				_, err := n.Meet(topic, meet, inbox)
				return err
			},
		} {
			working.Go(func() {
				for i := range 10_000 {
					told := newTidings()
					err := open(strconv.Itoa(i), told.inbox())
					if i == 5 {
						opened <- struct{}{}
					}
					if err != nil {
						if core.Kind(err) != core.ErrClosed {
							t.Error(err)
						}
						return
					}
					working.Go(func() {
						select {
						case <-told.closed:
						case <-timeout(t).Done():
							t.Error("not closed with the node")
						}
					})
				}
			})
		}
		for range 3 {
			<-opened
		}
		n.Close()
		working.Wait()
	}
}

// Topics are found through the DHT, by provider records.
func TestAdvertiseFindAndMeetThroughTheDHT(t *testing.T) {
	hub := start(t, "dht.mode", "server")
	guest := func() *core.Node {
		n := start(t, "dht.mode", "server")
		connect(t, n, hub)
		return n
	}
	a, b, c := guest(), guest(), guest()
	said, met := newTidings(), newTidings()
	advertiseTopic(t, a, "t", `{"retry_min_ms":50}`, said)
	if e := said.wait(t, core.DiscoveryAdvertised, ""); e.Source != "dht" || e.NextMs <= 0 {
		t.Fatalf("%+v", e)
	}
	if _, err := findTopic(t, b, "t", `{"follow":true,"retry_min_ms":50,"interval_ms":200}`, met); err != nil {
		t.Fatal(err)
	}
	if e := met.wait(t, core.DiscoveryFound, a.ID()); e.Source != "dht" {
		t.Fatalf("%+v", e)
	}
	inB, inC := newTidings(), newTidings()
	meetAt(t, b, "m", meetQuickly, inB)
	meetAt(t, c, "m", meetQuickly, inC)
	inB.wait(t, core.DiscoveryConnected, c.ID())
	inC.wait(t, core.DiscoveryConnected, b.ID())
}
