package core_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2pgo/libp2pgo/core"
)

// startRelay starts a relay on loopback, changed by pairs of path and value.
func startRelay(t testing.TB, pairs ...string) *core.Node {
	t.Helper()
	return start(t, append([]string{"relay.service.enabled", "true", "relay.service.when", "always"}, pairs...)...)
}

// reservations collects what happens to a reservation.
type reservations struct {
	ch     chan core.ReservationEvent
	closed chan error
}

func newReservations() *reservations {
	return &reservations{make(chan core.ReservationEvent, 256), make(chan error, 1)}
}

func (r *reservations) inbox() core.Inbox[core.ReservationEvent] {
	return core.Inbox[core.ReservationEvent]{
		Deliver: func(e core.ReservationEvent) { r.ch <- e }, Closed: func(err error) { r.closed <- err },
	}
}

func (r *reservations) wait(t testing.TB, states ...string) core.ReservationEvent {
	t.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var seen []string
	for {
		select {
		case e := <-r.ch:
			if slices.Contains(states, e.State) {
				return e
			}
			seen = append(seen, e.State)
		case <-timer.C:
			t.Fatalf("not %s within %v; there were %s", states, limit, strings.Join(seen, ", "))
		}
	}
}

func reserve(t testing.TB, n, relay *core.Node) *core.Reservation {
	t.Helper()
	r, err := n.Reserve(timeout(t), relay.Addresses(), core.Inbox[core.ReservationEvent]{})
	if err != nil {
		t.Fatalf("Reserve: %v", err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func relayedOnly(addresses []string) []string {
	return slices.DeleteFunc(slices.Clone(addresses), func(a string) bool { return !strings.Contains(a, "/p2p-circuit") })
}

// A reservation's addresses are the node's own while it is held, lead to it from outside, and go with it.
func TestReservationMakesTheNodeReachable(t *testing.T) {
	told := newEvents()
	relay, a := startRelay(t), start(t)
	b := startWith(t, config(t), told.inbox())
	r := reserve(t, b, relay)

	want := relay.Addresses()[0] + "/p2p-circuit/p2p/" + b.ID().String()
	var e core.Event
	for seen := map[core.EventType]bool{}; len(seen) < 2; { // in either order
		next := told.next(t)
		if next.Type == core.ReservationChanged {
			e = next
			seen[next.Type] = true
		}
		if next.Type == core.AddressesChanged && slices.Contains(next.Addresses, want) {
			seen[next.Type] = true
		}
	}
	if e.State != "made" || e.Reservation.LimitBytes != 128<<10 || e.Reservation.LimitTime != 2*time.Minute || time.Until(e.Reservation.Expires) < 50*time.Minute {
		t.Fatalf("%+v %+v", e, e.Reservation)
	}
	addresses := r.Addresses()
	if !slices.Equal(addresses, []string{want}) || !slices.Equal(e.Reservation.Addresses, addresses) {
		t.Fatalf("%q, %q, want %q", addresses, e.Reservation.Addresses, want)
	}
	if !slices.Contains(b.Addresses(), want) {
		t.Fatalf("%q is not among %q", want, b.Addresses())
	}
	if state, err := b.WaitReachable(timeout(t), "relayed"); err != nil || state != "unknown" {
		t.Fatal(state, err)
	}
	if _, err := a.Connect(timeout(t), addresses); err != nil {
		t.Fatal(err)
	}
	info := relay.RelayInfo().Service
	if !info.Running || len(info.Reservations) != 1 || info.Reservations[0].Peer != b.ID().String() || info.Circuits != 1 || len(info.CircuitPeers) != 2 {
		t.Fatalf("%+v", info)
	}
	if c := b.RelayInfo().Client.Reservations; len(c) != 1 || c[0].State != "held" || !c[0].Explicit || c[0].Relay != relay.ID().String() {
		t.Fatalf("%+v", c)
	}

	r.Close()
	told.wait(t, core.AddressesChanged, func(e core.Event) bool { return len(relayedOnly(e.Addresses)) == 0 })
	if got := b.RelayInfo().Client.Reservations; len(got) != 0 {
		t.Fatalf("%+v", got)
	}
	_, err := b.Reserve(timeout(t), []string{start(t).Addresses()[0]}, core.Inbox[core.ReservationEvent]{})
	mustMatch(t, err, core.ErrProtocol, "is no relay")
}

// A reservation is renewed before it expires, and the relay counts that.
func TestReservationRenewsItself(t *testing.T) {
	relay, b := startRelay(t, "relay.service.reservation_ms", "3000"), start(t)
	told := newReservations()
	r, err := b.Reserve(timeout(t), relay.Addresses(), told.inbox())
	if err != nil {
		t.Fatal(err)
	}
	first := told.wait(t, "made")
	again := told.wait(t, "renewed")
	if !again.Expires.After(first.Expires) {
		t.Fatalf("%v, then %v", first.Expires, again.Expires)
	}
	if info := relay.RelayInfo().Service; info.Total.Renewals == 0 || info.Total.Reservations != 1 {
		t.Fatalf("%+v", info)
	}
	r.Close()
	if err := <-told.closed; err != nil {
		t.Fatal(err)
	}
}

// A relay that goes takes the place along; when it is back, the place is made again and is the node's address again.
func TestReservationSurvivesARestartOfTheRelay(t *testing.T) {
	file := t.TempDir() + "/relay.key"
	relay := startRelay(t, "identity.file", file)
	port := strings.Split(relay.Addresses()[0], "/")[4]
	b := start(t, "relay.client.retry_min_ms", "100", "relay.client.retry_max_ms", "200")
	told := newReservations()
	r, err := b.Reserve(timeout(t), relay.Addresses(), told.inbox())
	if err != nil {
		t.Fatal(err)
	}
	told.wait(t, "made")
	relay.Close()
	lost := told.wait(t, "lost")
	mustMatch(t, lost.Err, core.ErrDial, "ended")
	if got := relayedOnly(b.Addresses()); len(got) != 0 || len(r.Addresses()) != 0 {
		t.Fatalf("still %q, %q", got, r.Addresses())
	}
	if failed := told.wait(t, "failed"); failed.RetryMs == 0 || failed.Err == nil {
		t.Fatalf("%+v", failed)
	}
	relay = startRelay(t, "identity.file", file, "listen", "/ip4/127.0.0.1/tcp/"+port)
	told.wait(t, "made")
	if got := relayedOnly(b.Addresses()); len(got) != 1 {
		t.Fatalf("%q", got)
	}
	if _, err := start(t).Connect(timeout(t), r.Addresses()); err != nil {
		t.Fatal(err)
	}
}

// A short break of the connection loses the place at the relay, and is noticed even if the connection is back before anybody looks.
func TestReservationIsMadeAgainAfterAShortBreak(t *testing.T) {
	relay, b := startRelay(t), start(t)
	told := newReservations()
	if _, err := b.Reserve(timeout(t), relay.Addresses(), told.inbox()); err != nil {
		t.Fatal(err)
	}
	told.wait(t, "made")
	for range 5 {
		relay.Disconnect(b.ID())
		connect(t, b, relay)
		if e := told.wait(t, "lost", "renewed"); e.State == "lost" {
			told.wait(t, "made")
		}
		until(t, "the relay knows the place", func() bool { return len(relay.RelayInfo().Service.Reservations) == 1 })
	}
}

// The node finds relays by itself while it is not reachable, and lets them go when it is.
func TestRelaysAreFoundByOptionAndAmongPeers(t *testing.T) {
	one, two, three := startRelay(t), startRelay(t), startRelay(t)
	b := start(t, "nat.reachability", "private", "relay.client.number", "2", "relay.client.relays", one.Addresses()[0], "relay.client.from_peers", "true")
	held := func() (list []string) {
		for _, r := range b.RelayInfo().Client.Reservations {
			if r.State == "held" {
				list = append(list, r.Relay)
			}
		}
		return list
	}
	until(t, "a place with the relay of the options", func() bool { return slices.Contains(held(), one.ID().String()) })
	connect(t, b, two)
	until(t, "a place with the peer that is a relay", func() bool { return slices.Contains(held(), two.ID().String()) })
	connect(t, b, three)
	if got := held(); len(got) != 2 {
		t.Fatalf("%q", got)
	}
	two.Close()
	until(t, "the other peer in its place", func() bool { return slices.Contains(held(), three.ID().String()) })
	until(t, "the addresses of both places", func() bool { return len(relayedOnly(b.Addresses())) == 2 })

	public := start(t, "nat.reachability", "public", "relay.client.relays", one.Addresses()[0])
	if state, err := public.WaitReachable(timeout(t), "public"); err != nil || state != "public" {
		t.Fatal(state, err)
	}
	if got := public.RelayInfo().Client.Reservations; len(got) != 0 {
		t.Fatalf("%+v", got)
	}
}

// A relay in the DHT's table is found there.
func TestRelaysAreFoundInTheDHT(t *testing.T) {
	point, relay := start(t, "dht.mode", "server"), startRelay(t, "dht.mode", "server")
	connect(t, relay, point)
	b := start(t, "dht.mode", "client", "nat.reachability", "private", "relay.client.from_dht", "true", "relay.client.number", "1", "relay.client.interval_ms", "100")
	connect(t, b, point)
	connect(t, b, relay) // into its table; whether it is a relay, the search finds out
	until(t, "a place with the relay", func() bool {
		held := b.RelayInfo().Client.Reservations
		return len(held) == 1 && held[0].Relay == relay.ID().String() && held[0].State == "held"
	})
	_, err := core.New(timeout(t), config(t, "relay.client.from_dht", "true"), core.Inbox[core.Event]{})
	mustMatch(t, err, core.ErrConfig, "relay.client.from_dht", "dht.mode")
}

// A relay of the options that does not answer is tried again, with growing pauses and an event each time.
func TestARelayThatIsNotThereIsTriedAgain(t *testing.T) {
	gone := start(t)
	address := gone.Addresses()[0]
	gone.Close()
	told := newEvents()
	startWith(t, config(t, "relay.client.relays", address, "relay.client.retry_min_ms", "20", "relay.client.retry_max_ms", "50"), told.inbox())
	for _, pause := range []int64{20, 40, 50, 50} {
		e := told.wait(t, core.ReservationChanged, nil)
		if e.State != "failed" || e.Reservation.RetryMs != pause {
			t.Fatalf("%+v %+v", e, e.Reservation)
		}
		mustMatch(t, e.Reservation.Err, core.ErrDial, address[:len("/ip4/127.0.0.1/tcp/")])
	}
}

// The relay's limits hold, and are told to those who meet them and counted by reason.
func TestRelayLimits(t *testing.T) {
	relay := startRelay(t, "relay.service.max_reservations", "1", "relay.service.max_circuits", "1", "relay.service.circuit_bytes", "20000")
	b := start(t)
	r := reserve(t, b, relay)
	_, err := start(t).Reserve(timeout(t), relay.Addresses(), core.Inbox[core.ReservationEvent]{})
	mustMatch(t, err, core.ErrLimit, relay.ID().String(), "no place left")
	_, err = b.Reserve(timeout(t), relay.Addresses(), core.Inbox[core.ReservationEvent]{})
	mustMatch(t, err, core.ErrExists)

	a := start(t)
	if _, err := a.Connect(timeout(t), r.Addresses()); err != nil {
		t.Fatal(err)
	}
	_, err = start(t).Connect(timeout(t), r.Addresses())
	mustMatch(t, err, core.ErrDial, "RESOURCE_LIMIT_EXCEEDED")
	until(t, "both refusals are counted", func() bool { // which the relay does when it has answered
		refused := relay.RelayInfo().Service.Refused
		return refused["reservation_reservation_refused"] == 1 && refused["circuit_resource_limit_exceeded"] == 1
	})

	got := make(chan int, 1)
	if _, err := b.Serve([]string{"/sink"}, core.ServeOptions{}, func(s *core.Stream) {
		count := 0
		for buffer := make([]byte, 4096); ; {
			n, err := s.Read(buffer)
			if count += n; err != nil {
				got <- count
				return
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	s, err := a.OpenStream(timeout(t), b.ID(), []string{"/sink"}, core.OpenOptions{AllowLimited: true})
	if err != nil {
		t.Fatal(err)
	}
	s.WriteContext(timeout(t), make([]byte, 100_000)) // fails, or not, where the relay cuts it
	if count := <-got; count > 20_000 {
		t.Fatalf("%d bytes came through", count)
	}
}

// Rules of the options and of run time decide who may use the relay.
func TestRelayRules(t *testing.T) {
	friend, stranger := start(t), start(t)
	relay := startRelay(t, "relay.service.allow", friend.ID().String())
	r := reserve(t, friend, relay)
	try := func(n *core.Node) error {
		r, err := n.Reserve(timeout(t), relay.Addresses(), core.Inbox[core.ReservationEvent]{})
		if err == nil {
			r.Close()
		}
		return err
	}
	mustMatch(t, try(stranger), core.ErrRefused, "rules")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(relay.RelayAllow([]string{"127.0.0.0/8"}))
	must(try(stranger))
	if _, err := stranger.Connect(timeout(t), r.Addresses()); err != nil {
		t.Fatal(err)
	}
	other := start(t)
	must(relay.RelayDeny([]string{stranger.ID().String(), other.ID().String()}))
	until(t, "the denied peer's place is gone", func() bool {
		return len(relay.RelayInfo().Service.Reservations) == 1 && !slices.Contains(stranger.Peers(), relay.ID())
	})
	mustMatch(t, try(stranger), core.ErrRefused, "rules")
	_, err := other.Connect(timeout(t), r.Addresses())
	mustMatch(t, err, core.ErrDial, "PERMISSION_DENIED")
	must(relay.RelayForget([]string{stranger.ID().String()}))
	must(try(stranger))
	mustMatch(t, relay.RelayForget([]string{"10.0.0.1"}), core.ErrNotFound, "10.0.0.1")
	mustMatch(t, relay.RelayDeny([]string{"nobody"}), core.ErrParse, "nobody")
	mustMatch(t, relay.RelayDeny(nil), core.ErrInvalid)
	mustMatch(t, stranger.RelayDeny([]string{"10.0.0.1"}), core.ErrState, "relay.service.enabled")
	must(relay.RelayDeny([]string{"127.0.0.1"}))
	until(t, "the denied address is disconnected", func() bool { return !slices.Contains(stranger.Peers(), relay.ID()) })
	mustMatch(t, try(stranger), core.ErrRefused)
	if info := relay.RelayInfo().Service; !slices.Equal(info.Deny, []string{other.ID().String(), "127.0.0.1"}) || !slices.Equal(info.Allow, []string{friend.ID().String(), "127.0.0.0/8"}) {
		t.Fatalf("%q", info.Deny)
	}
}

// Whoever is denied is disconnected; asking in that moment is answered over a new connection.
func TestReservingWhileTheConnectionEnds(t *testing.T) {
	relay := startRelay(t)
	for range 40 {
		n := start(t)
		reserve(t, n, relay).Close()
		if err := relay.RelayDeny([]string{n.ID().String()}); err != nil {
			t.Fatal(err)
		}
		_, err := n.Reserve(timeout(t), relay.Addresses(), core.Inbox[core.ReservationEvent]{})
		mustMatch(t, err, core.ErrRefused, "rules")
		n.Close()
	}
}

// The relay runs only while the node is public, unless told otherwise.
func TestRelayServiceRunsWhilePublic(t *testing.T) {
	private := start(t, "relay.service.enabled", "true", "nat.reachability", "private")
	if _, err := private.WaitReachable(timeout(t), "known"); err != nil {
		t.Fatal(err)
	}
	if info := private.RelayInfo().Service; !info.Enabled || info.Running {
		t.Fatalf("%+v", info)
	}
	public := start(t, "relay.service.enabled", "true", "nat.reachability", "public")
	until(t, "the relay runs", func() bool { return public.RelayInfo().Service.Running })
	reserve(t, start(t), public)
}

// What waits for a reservation ends with its caller and with the node, and a reservation ends with the node.
func TestReservationEndsWithCallerAndNode(t *testing.T) {
	relay := startRelay(t)
	b := start(t)
	told := newReservations()
	if _, err := b.Reserve(timeout(t), relay.Addresses(), told.inbox()); err != nil {
		t.Fatal(err)
	}
	b.Close()
	if err := <-told.closed; err != nil {
		t.Fatal(err)
	}
	_, err := b.Reserve(timeout(t), relay.Addresses(), core.Inbox[core.ReservationEvent]{})
	mustMatch(t, err, core.ErrClosed)

	c, silent := start(t), start(t)
	if _, err := silent.Serve([]string{"/libp2p/circuit/relay/0.2.0/hop"}, core.ServeOptions{}, func(s *core.Stream) {}); err != nil {
		t.Fatal(err) // takes the question and does not answer
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	begun := time.Now()
	_, err = c.Reserve(ctx, silent.Addresses(), core.Inbox[core.ReservationEvent]{})
	mustMatch(t, err, core.ErrTimeout)
	if took := time.Since(begun); took > 5*time.Second {
		t.Fatalf("after %v", took)
	}
	_, err = c.WaitReachable(ctx, "public")
	mustMatch(t, err, core.ErrTimeout, "unknown")
	_, err = c.WaitReachable(ctx, "tomorrow")
	mustMatch(t, err, core.ErrInvalid)
	waiting := make(chan error, 1)
	go func() { _, err := c.WaitReachable(context.Background(), "public"); waiting <- err }()
	c.Close()
	mustMatch(t, <-waiting, core.ErrClosed)
}

// Limited relayed connections refuse what may cost much at once, and never by waiting.
func TestLimitedConnectionsFailFast(t *testing.T) {
	relay, a, b := startRelay(t), start(t), start(t)
	r := reserve(t, b, relay)
	if _, err := a.Connect(timeout(t), r.Addresses()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ServeRequests("/echo", core.RequestServeOptions{MaxConcurrent: 1, MaxRequest: 100}, func(r *core.Request) {
		r.Respond(context.Background(), r.Data, false)
	}); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	_, err := a.OpenStream(timeout(t), b.ID(), []string{"/sink"}, core.OpenOptions{})
	mustMatch(t, err, core.ErrLimited, "allow_limited")
	_, err = a.Request(timeout(t), b.ID(), "/echo", []byte("hello"), core.RequestOptions{MaxResponse: 100})
	mustMatch(t, err, core.ErrLimited, "allow_limited")
	_, err = a.OpenRequest(timeout(t), b.ID(), "/echo", []byte("hello"), core.RequestOptions{MaxResponse: 100})
	mustMatch(t, err, core.ErrLimited, "allow_limited")
	answer, err := a.Request(timeout(t), b.ID(), "/echo", []byte("hello"), core.RequestOptions{MaxResponse: 100, AllowLimited: true})
	if err != nil || string(answer) != "hello" {
		t.Fatalf("%q %v", answer, err)
	}
	if _, err := a.Ping(timeout(t), b.ID()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Fatalf("it took %v", took)
	}
}

// After a direct connection has come, the relayed one is closed as soon as nothing uses it.
func TestRelayedConnectionIsClosedBesideADirectOne(t *testing.T) {
	relay, b := startRelay(t), start(t, "relay.client.linger_ms", "200")
	a := start(t, "relay.client.linger_ms", "-1")
	r := reserve(t, b, relay)
	if _, err := a.Connect(timeout(t), r.Addresses()); err != nil {
		t.Fatal(err)
	}
	direct := slices.DeleteFunc(b.Addresses(), func(a string) bool { return strings.Contains(a, "/p2p-circuit") })
	if _, err := a.Connect(timeout(t), direct); err != nil {
		t.Fatal(err)
	}
	until(t, "only the direct connection is left", func() bool {
		connections := a.PeerInfo(b.ID()).(core.PeerInfo).Connections
		return len(connections) == 1 && !connections[0].Relayed
	})
	until(t, "the relay has no circuit", func() bool { return relay.RelayInfo().Service.Circuits == 0 })
}
