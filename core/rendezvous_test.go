package core_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/libp2pgo/libp2pgo/core"
)

// tidings collects the events of discovery.
type tidings struct {
	ch     chan core.DiscoveryEvent
	closed chan error
}

func newTidings() *tidings {
	return &tidings{make(chan core.DiscoveryEvent, 4096), make(chan error, 1)}
}

func (d *tidings) inbox() core.Inbox[core.DiscoveryEvent] {
	return core.Inbox[core.DiscoveryEvent]{Deliver: func(e core.DiscoveryEvent) { d.ch <- e }, Closed: func(err error) { d.closed <- err }}
}

// wait returns the next event of a type about a peer ("" for any), and drops those before it.
func (d *tidings) wait(t testing.TB, eventType core.DiscoveryEventType, id peer.ID) core.DiscoveryEvent {
	t.Helper()
	var seen []string
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case e := <-d.ch:
			if e.Type == eventType && (id == "" || e.Peer == id) {
				return e
			}
			seen = append(seen, fmt.Sprintf("%+v", e))
		case <-timer.C:
			t.Fatalf("no event %d of %s within %v; there were %s\n%s", eventType, id, limit, strings.Join(seen, ", "), goroutines())
		}
	}
}

// none fails if an event of a type is waiting.
func (d *tidings) none(t testing.TB, eventType core.DiscoveryEventType) {
	t.Helper()
	for {
		select {
		case e := <-d.ch:
			if e.Type == eventType {
				t.Fatalf("unexpected %+v", e)
			}
		default:
			return
		}
	}
}

func meetingPoint(t testing.TB, pairs ...string) *core.Node {
	t.Helper()
	return start(t, append([]string{"rendezvous.server", "true"}, pairs...)...)
}

func registerAt(t testing.TB, n, at *core.Node, namespace, options string) (*core.Advertisement, error) {
	t.Helper()
	o, err := core.ParseRegisterOptions([]byte(options))
	if err != nil {
		t.Fatal(err)
	}
	a, err := n.Register(timeout(t), at.Addresses(), namespace, o, core.Inbox[core.DiscoveryEvent]{})
	if err == nil {
		t.Cleanup(a.Close)
	}
	return a, err
}

func discoverAt(t testing.TB, n, at *core.Node, namespace string, o core.DiscoverOptions) *core.RendezvousAnswer {
	t.Helper()
	answer, err := n.Discover(timeout(t), at.Addresses(), namespace, o)
	if err != nil {
		t.Fatalf("Discover: %v", err)
	}
	return answer
}

func peersOf(answer *core.RendezvousAnswer) (ids []peer.ID) {
	for _, r := range answer.Registrations {
		ids = append(ids, r.Peer)
	}
	return ids
}

func TestRendezvous(t *testing.T) {
	rendezvous, a, b, c := meetingPoint(t), start(t), start(t), start(t)
	atA, err := registerAt(t, a, rendezvous, "books", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := registerAt(t, b, rendezvous, "books", `{"ttl_ms":3600000}`); err != nil {
		t.Fatal(err)
	}
	answer := discoverAt(t, c, rendezvous, "books", core.DiscoverOptions{Limit: 1})
	if got := peersOf(answer); !slices.Equal(got, []peer.ID{a.ID()}) {
		t.Fatalf("%v", got)
	}
	if r := answer.Registrations[0]; len(r.Addresses) == 0 || r.TTLMs <= 3600_000 || r.TTLMs > 7200_000 || r.Namespace != "books" {
		t.Fatalf("%+v", r)
	}
	answer = discoverAt(t, c, rendezvous, "books", core.DiscoverOptions{Cookie: answer.Cookie})
	if got := peersOf(answer); !slices.Equal(got, []peer.ID{b.ID()}) {
		t.Fatalf("after the cookie: %v", got)
	}
	if got := peersOf(discoverAt(t, c, rendezvous, "films", core.DiscoverOptions{})); len(got) != 0 {
		t.Fatalf("of another name: %v", got)
	}
	if got := peersOf(discoverAt(t, c, rendezvous, "", core.DiscoverOptions{})); len(got) != 2 {
		t.Fatalf("of all names: %v", got)
	}
	if i := rendezvous.RendezvousInfo(); i.Registrations != 2 || i.Namespaces != 1 || i.Peers != 2 {
		t.Fatalf("%+v", i)
	}
	atA.Close()
	atA.Close()
	until(t, "the registration is taken back", func() bool { return rendezvous.RendezvousInfo().Registrations == 1 })
	if err := b.Unregister(timeout(t), rendezvous.Addresses(), "books"); err != nil {
		t.Fatal(err)
	}
	until(t, "the other one too", func() bool { return rendezvous.RendezvousInfo().Registrations == 0 })
}

func TestRendezvousRefuses(t *testing.T) {
	rendezvous := meetingPoint(t, "rendezvous.max_per_peer", "1", "rendezvous.max_namespace", "10", "rendezvous.ttl_max_ms", "7200000")
	a, plain := start(t), start(t)
	refused := func(namespace, options string, kind error, words ...string) {
		t.Helper()
		_, err := registerAt(t, a, rendezvous, namespace, options)
		mustMatch(t, err, kind, words...)
	}
	refused("", "", core.ErrInvalid, "1 to 255")
	refused(strings.Repeat("x", 256), "", core.ErrInvalid, "1 to 255")
	refused("\xff", "", core.ErrInvalid, "UTF-8")
	refused(strings.Repeat("x", 11), "", core.ErrInvalid, "invalid namespace", "too long")
	refused("a", `{"ttl_ms":1000}`, core.ErrInvalid, "time to live")
	refused("a", `{"ttl_ms":7201000}`, core.ErrInvalid, "time to live")
	if _, err := registerAt(t, a, rendezvous, "a", ""); err != nil {
		t.Fatal(err)
	}
	refused("b", "", core.ErrBusy, "too many")
	_, err := a.Discover(timeout(t), rendezvous.Addresses(), "a", core.DiscoverOptions{Cookie: "00"})
	mustMatch(t, err, core.ErrInvalid, "cookie")
	var refusal *core.RendezvousError
	if !errors.As(err, &refusal) || refusal.Status != 103 {
		t.Fatalf("%v", err)
	}
	_, err = a.Discover(timeout(t), plain.Addresses(), "a", core.DiscoverOptions{})
	mustMatch(t, err, core.ErrProtocol, plain.ID().String())
	_, err = a.Discover(timeout(t), a.Addresses(), "a", core.DiscoverOptions{})
	mustMatch(t, err, core.ErrInvalid, "itself")
	_, err = a.Discover(timeout(t), []string{"nonsense"}, "a", core.DiscoverOptions{})
	mustMatch(t, err, core.ErrParse, "nonsense")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = a.Discover(ctx, rendezvous.Addresses(), "a", core.DiscoverOptions{})
	mustMatch(t, err, core.ErrCancelled)
}

// A registration is renewed before it ends, and comes back to a point that was away.
func TestRegistrationIsRenewed(t *testing.T) {
	rendezvous := meetingPoint(t, "rendezvous.ttl_min_ms", "1000")
	a := start(t)
	told := newTidings()
	o, _ := core.ParseRegisterOptions([]byte(`{"ttl_ms":1000,"retry_min_ms":50}`))
	if _, err := a.Register(timeout(t), rendezvous.Addresses(), "n", o, told.inbox()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if e := told.wait(t, core.DiscoveryAdvertised, ""); e.NextMs <= 0 || e.NextMs > 1000 || !strings.HasPrefix(e.Source, "rendezvous ") {
			t.Fatalf("%+v", e)
		}
		if rendezvous.RendezvousInfo().Registrations != 1 {
			t.Fatal("it has expired")
		}
	}
	rendezvous.Close()
	if e := told.wait(t, core.DiscoveryFailed, ""); e.NextMs < 50 || !strings.HasPrefix(e.Err.Error(), "rendezvous "+rendezvous.ID().String()+": ") {
		t.Fatalf("%+v", e)
	}
}

// Every registration survives its peer's crowding, and a peer that hangs up in the middle of a message or sends garbage does no harm.
func TestRendezvousPointSurvivesGarbage(t *testing.T) {
	rendezvous, a := meetingPoint(t), start(t)
	connect(t, a, rendezvous)
	for _, garbage := range []string{"", "\x00", "\x05ab", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x02\x08\x00", "\x04\x08\x01\x1a\x00", strings.Repeat("\x80", 100), "\xff\xff\x7f" + strings.Repeat("x", 1<<20)} {
		s, err := a.OpenStream(timeout(t), rendezvous.ID(), []string{"/rendezvous/1.0.0"}, core.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		s.Write([]byte(garbage))
		s.CloseWrite(timeout(t))
		s.ReadMessage(timeout(t), 1000) // an end, a reset, or an answer
		s.Close()
	}
	if _, err := registerAt(t, a, rendezvous, "still", ""); err != nil {
		t.Fatal(err)
	}
}

// crowd opens streams to a peer, with words on each, and holds them, until one is refused; at most that many.
func crowd(t testing.TB, from, to *core.Node, protocol, words string, most int) {
	t.Helper()
	refused := make(chan error, most)
	for range most {
		s, err := from.OpenStream(timeout(t), to.ID(), []string{protocol}, core.OpenOptions{})
		if err == nil {
			t.Cleanup(func() { s.Close() })
			_, err = s.Write([]byte(words))
		}
		if err != nil {
			refused <- err
			break
		}
		go func() {
			b := make([]byte, 4096)
			for err == nil {
				_, err = s.ReadContext(context.Background(), b)
			}
			refused <- err
		}()
	}
	select {
	case err := <-refused:
		var reset *core.ResetError
		if !errors.As(err, &reset) || reset.Code != 0x1002 {
			t.Fatalf("refused with %v", err)
		}
	case <-timeout(t).Done():
		t.Fatal("none is refused")
	}
}

// A peer that takes all streams it can get leaves some to others.
func TestRendezvousPointIsNotTakenByOnePeer(t *testing.T) {
	rendezvous, greedy, other := meetingPoint(t, "rendezvous.max_streams", "8"), start(t), start(t)
	connect(t, greedy, rendezvous)
	crowd(t, greedy, rendezvous, "/rendezvous/1.0.0", "\x07\x08\x03*\x03\n\x01n", 9) // discover "n"
	if _, err := registerAt(t, other, rendezvous, "n", ""); err != nil {
		t.Fatal(err)
	}
}

// A point with a store keeps registrations, and cookies, over a restart; what has expired meanwhile is gone.
func TestRendezvousPointRestarts(t *testing.T) {
	store := t.TempDir() + "/point"
	key := t.TempDir() + "/key"
	options := []string{"rendezvous.store", store, "identity.file", key, "rendezvous.ttl_min_ms", "1000"}
	rendezvous := meetingPoint(t, options...)
	nodes := []*core.Node{start(t), start(t), start(t)}
	for _, n := range nodes[:2] {
		if _, err := registerAt(t, n, rendezvous, "n", ""); err != nil {
			t.Fatal(err)
		}
	}
	o, _ := core.ParseRegisterOptions([]byte(`{"ttl_ms":1000}`))
	brief, err := nodes[2].Register(timeout(t), rendezvous.Addresses(), "n", o, core.Inbox[core.DiscoveryEvent]{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(brief.Close)
	first := discoverAt(t, nodes[2], rendezvous, "n", core.DiscoverOptions{Limit: 1})
	busy, err := core.New(timeout(t), config(t, "rendezvous.server", "true", "rendezvous.store", store), core.Inbox[core.Event]{})
	if err == nil {
		busy.Close()
	}
	mustMatch(t, err, core.ErrBusy, "rendezvous.store", store)
	rendezvous.Close()
	time.Sleep(1100 * time.Millisecond) // the brief one expires while nobody is there

	rendezvous = meetingPoint(t, options...)
	rest := discoverAt(t, nodes[2], rendezvous, "n", core.DiscoverOptions{Cookie: first.Cookie})
	got := append(peersOf(first), peersOf(rest)...)
	if !slices.Equal(got, []peer.ID{nodes[0].ID(), nodes[1].ID()}) {
		t.Fatalf("%v", got)
	}
	if err := nodes[0].Unregister(timeout(t), rendezvous.Addresses(), "n"); err != nil {
		t.Fatal(err)
	}
	until(t, "it is taken back", func() bool { return rendezvous.RendezvousInfo().Registrations == 1 })
	rendezvous.Close()
	rendezvous = meetingPoint(t, append(options, "rendezvous.max_per_peer", "1")...)
	if got := peersOf(discoverAt(t, nodes[2], rendezvous, "n", core.DiscoverOptions{})); !slices.Equal(got, []peer.ID{nodes[1].ID()}) {
		t.Fatalf("%v", got)
	}
}

// A cookie brings what came after a restart also when nothing of what came before it is left.
func TestRendezvousCookieOutlivesWhatItCounted(t *testing.T) {
	options := []string{"rendezvous.store", t.TempDir() + "/point", "identity.file", t.TempDir() + "/key"}
	rendezvous := meetingPoint(t, options...)
	before, after, asker := start(t), start(t), start(t)
	if _, err := registerAt(t, before, rendezvous, "n", ""); err != nil {
		t.Fatal(err)
	}
	answer := discoverAt(t, asker, rendezvous, "n", core.DiscoverOptions{})
	if err := before.Unregister(timeout(t), rendezvous.Addresses(), "n"); err != nil {
		t.Fatal(err)
	}
	until(t, "all are taken back", func() bool { return rendezvous.RendezvousInfo().Registrations == 0 })
	rendezvous.Close()

	rendezvous = meetingPoint(t, options...)
	if _, err := registerAt(t, after, rendezvous, "n", ""); err != nil {
		t.Fatal(err)
	}
	got := peersOf(discoverAt(t, asker, rendezvous, "n", core.DiscoverOptions{Cookie: answer.Cookie}))
	if !slices.Equal(got, []peer.ID{after.ID()}) {
		t.Fatalf("%v", got)
	}
}

// A node that closes takes back what it told points, and says goodbye.
func TestClosingTakesRegistrationsBack(t *testing.T) {
	rendezvous := meetingPoint(t)
	a, b := start(t, "rendezvous.points", onLines(rendezvous.Addresses())), start(t, "rendezvous.points", onLines(rendezvous.Addresses()))
	told := newTidings()
	meetAt(t, a, "t", meetQuickly, told)
	meetAt(t, b, "t", meetQuickly, newTidings())
	told.wait(t, core.DiscoveryConnected, b.ID())
	if _, err := registerAt(t, b, rendezvous, "u", ""); err != nil {
		t.Fatal(err)
	}
	until(t, "all are registered", func() bool { return rendezvous.RendezvousInfo().Registrations == 3 })
	b.Close()
	told.wait(t, core.DiscoveryLeft, b.ID())
	if got := rendezvous.RendezvousInfo().Registrations; got != 1 {
		t.Fatalf("%d registrations are left", got)
	}
}

// A point that says nothing holds up nobody who closes what is registered there, and its node only for a moment.
func TestClosingDoesNotWaitForThePoint(t *testing.T) {
	rendezvous, n := meetingPoint(t), start(t)
	registered, err := registerAt(t, n, rendezvous, "t", "")
	if err != nil {
		t.Fatal(err)
	}
	heard, over := make(chan string, 1), make(chan struct{})
	defer close(over)
	rendezvous.Host().SetStreamHandler("/rendezvous/1.0.0", func(s network.Stream) {
		words, _ := io.ReadAll(s)
		heard <- string(words)
		<-over
		s.Reset()
	})
	begun := time.Now()
	registered.Close()
	if took := time.Since(begun); took > 250*time.Millisecond { // it waits half a second for an end that does not come
		t.Fatalf("it took %s", took)
	}
	n.Close()
	if words := <-heard; !strings.Contains(words, "t") {
		t.Fatalf("the node has not waited until it was taken back: %q", words)
	}
}

// A point knows one registration of a node under a name: it is taken back with the last that uses it, and lives as long as the others want it.
func TestRegistrationIsTakenBackByItsLastUser(t *testing.T) {
	rendezvous := meetingPoint(t, "rendezvous.ttl_min_ms", "1000")
	n, asker := start(t, "rendezvous.points", onLines(rendezvous.Addresses())), start(t)
	left := func() time.Duration {
		t.Helper()
		answer := discoverAt(t, asker, rendezvous, "t", core.DiscoverOptions{})
		if len(answer.Registrations) != 1 {
			t.Fatalf("%d registrations", len(answer.Registrations))
		}
		return time.Duration(answer.Registrations[0].TTLMs) * time.Millisecond
	}
	said, met := newTidings(), newTidings()
	advertised := advertiseTopic(t, n, "t", "", said)
	said.wait(t, core.DiscoveryAdvertised, "")
	meeting := meetAt(t, n, "t", meetQuickly, met)
	met.wait(t, core.DiscoveryAdvertised, "")
	brief, err := registerAt(t, n, rendezvous, "t", `{"ttl_ms":60000}`)
	if err != nil {
		t.Fatal(err)
	}
	if left() > time.Minute {
		t.Fatal("the last word does not count")
	}
	brief.Close()
	left()
	said.wait(t, core.DiscoveryAdvertised, "") // again, for its own time
	if left() <= time.Hour {
		t.Fatal("it ends with the time of what is closed")
	}
	if _, err := registerAt(t, n, rendezvous, "t", `{"ttl_ms":259200000}`); err != nil { // the longest there is
		t.Fatal(err)
	}
	advertised.Close()
	left()
	if i := meeting.Info().(core.MeetingInfo); !i.Sources[0].Advertised {
		t.Fatalf("%+v", i)
	}
	n.Close()
	until(t, "the last one takes it back", func() bool { return rendezvous.RendezvousInfo().Registrations == 0 })
}

// What is said while the last one takes its registration back stays.
func TestRegistrationAfterTheLastIsClosed(t *testing.T) {
	rendezvous, n := meetingPoint(t), start(t)
	for range 50 {
		a, err := registerAt(t, n, rendezvous, "t", "")
		if err != nil {
			t.Fatal(err)
		}
		go a.Close()
		b, err := registerAt(t, n, rendezvous, "t", "")
		if err != nil {
			t.Fatal(err)
		}
		a.Close()
		if got := rendezvous.RendezvousInfo().Registrations; got != 1 {
			t.Fatalf("%d registrations", got)
		}
		b.Close()
	}
}

// A registration whose caller has given up is taken back also when the point's answer comes late.
func TestRegistrationAnsweredLateIsTakenBack(t *testing.T) {
	point, n := meetingPoint(t), start(t)
	port, late := latePort(t, point)
	if _, err := n.Connect(timeout(t), []string{address(port, point.ID())}); err != nil {
		t.Fatal(err)
	}
	if _, err := registerAt(t, n, point, "stays", ""); err != nil {
		t.Fatal(err)
	}
	options, _ := core.ParseRegisterOptions(nil)
	cut := func(topic string) {
		late.Store(int64(time.Second))
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() {
			_, err := n.Register(ctx, point.Addresses(), topic, options, core.Inbox[core.DiscoveryEvent]{})
			failed <- err
		}()
		until(t, "it is registered", func() bool { return point.RendezvousInfo().Registrations == 2 })
		cancel()
		mustMatch(t, <-failed, core.ErrCancelled)
	}
	cut("goes")
	until(t, "it is taken back", func() bool { return point.RendezvousInfo().Registrations == 1 })
	cut("goes with the node")
	late.Store(0)
	n.Close()
	until(t, "all is taken back", func() bool { return point.RendezvousInfo().Registrations == 0 })
}

// What is closed or cancelled while its registration is on the way leaves nothing at the point.
func TestRegistrationsCutAtAnyMomentAreTakenBack(t *testing.T) {
	point, n := meetingPoint(t), start(t)
	connect(t, n, point)
	options, _ := core.ParseRegisterOptions(nil)
	advertise, err := core.ParseAdvertiseOptions(fmt.Appendf(nil, `{"points": [%q]}`, point.Addresses()[0]))
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if _, err := registerAt(t, n, point, "registered", ""); err != nil {
		t.Fatal(err)
	}
	whole := time.Since(begun)
	for i := range 200 {
		ctx, cancel := context.WithTimeout(timeout(t), whole*time.Duration(i)/150)
		if a, err := n.Register(ctx, point.Addresses(), fmt.Sprint("registered ", i), options, core.Inbox[core.DiscoveryEvent]{}); err == nil {
			a.Close()
		}
		cancel()
		a, err := n.Advertise(fmt.Sprint("advertised ", i), advertise, core.Inbox[core.DiscoveryEvent]{})
		if err != nil {
			t.Fatal(err)
		}
		if i%4 > 0 {
			time.Sleep(whole * time.Duration(i%40) / 30)
		}
		a.Close()
	}
	n.Close()
	until(t, "nothing is registered", func() bool { return point.RendezvousInfo().Registrations == 0 })
}
