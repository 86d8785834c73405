package core_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/protocol/holepunch"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/libp2pgo/libp2pgo/core"
)

// tell has the host say something to all who listen, as its own services do.
func tell[T any](t testing.TB, n *core.Node, e T) {
	t.Helper()
	emitter, err := n.Host().EventBus().Emitter(new(T))
	if err != nil {
		t.Fatal(err)
	}
	defer emitter.Close()
	if err := emitter.Emit(e); err != nil {
		t.Fatal(err)
	}
}

// What is found out about each address goes before what version 1 of AutoNAT guesses; changes are told once.
func TestReachabilityIsMadeOfAllThatIsFoundOut(t *testing.T) {
	told := newEvents()
	n := startWith(t, config(t), told.inbox())
	expect := func(state, source string) {
		t.Helper()
		if e := told.wait(t, core.ReachabilityChanged, nil); e.State != state || e.Source != source {
			t.Fatalf("%+v", e)
		}
		if info := n.NATInfo(); info.Reachability != state || info.Source != source || n.Reachability() != state {
			t.Fatalf("%+v", info)
		}
	}
	tell(t, n, event.EvtLocalReachabilityChanged{Reachability: network.ReachabilityPublic})
	expect("public", "autonat")
	one, two := ma.StringCast("/ip4/1.2.3.4/tcp/4001"), ma.StringCast("/ip4/1.2.3.4/udp/4001/quic-v1")
	tell(t, n, event.EvtHostReachableAddrsChanged{Unreachable: []ma.Multiaddr{one}, Unknown: []ma.Multiaddr{two}})
	if e := told.wait(t, core.AddressReachabilityChanged, nil); e.Address != one.String() || e.State != "private" {
		t.Fatalf("%+v", e)
	}
	tell(t, n, event.EvtHostReachableAddrsChanged{Unreachable: []ma.Multiaddr{one, two}})
	if e := told.wait(t, core.AddressReachabilityChanged, nil); e.Address != two.String() || e.State != "private" {
		t.Fatalf("%+v", e)
	}
	expect("private", "autonat_v2")
	tell(t, n, event.EvtHostReachableAddrsChanged{Unreachable: []ma.Multiaddr{one}, Reachable: []ma.Multiaddr{two}})
	expect("public", "autonat_v2")
	want := []core.AddressReachability{{Address: one.String(), Reachability: "private"}, {Address: two.String(), Reachability: "public"}}
	if got := n.NATInfo().Addresses; !slices.Equal(got, want) {
		t.Fatalf("%+v", got)
	}
	tell(t, n, event.EvtHostReachableAddrsChanged{})
	tell(t, n, event.EvtLocalReachabilityChanged{Reachability: network.ReachabilityUnknown})
	expect("unknown", "none")
	tell(t, n, event.EvtNATDeviceTypeChanged{TransportProtocol: network.NATTransportTCP, NatDeviceType: network.NATDeviceTypeEndpointDependent})
	if e := told.wait(t, core.NATTypeChanged, nil); e.Source != "tcp" || e.State != "endpoint_dependent" {
		t.Fatalf("%+v", e)
	}
	if nat := n.NATInfo().NATType; nat != (core.NATTypes{UDP: "unknown", TCP: "endpoint_dependent"}) {
		t.Fatalf("%+v", nat)
	}
}

// nowhere is an address that looks public, so that hole punching begins; the gate keeps everybody from dialling it.
const nowhere = "1.2.3.4"

// punching starts a node that believes in a public address, and has others too.
func punching(t *testing.T, told *events, others []string, pairs ...string) *core.Node {
	t.Helper()
	return startWith(t, config(t, append([]string{
		"addresses.append", strings.Join(append(others, "/ip4/"+nowhere+"/tcp/9"), "\n"), "gating.block", nowhere, "nat.hole_punch.dial_timeout_ms", "1000",
	}, pairs...)...), told.inbox())
}

// Where the ways between two nodes are closed, both hear of each attempt, of its reason and of the end; the relayed connection carries on.
func TestHolePunchThatFailsIsToldWithItsReason(t *testing.T) {
	relay, told, toldReceiver := startRelay(t), newEvents(), newEvents()
	b := punching(t, told, nil, "listen", "/ip4/127.0.0.2/tcp/0", "nat.hole_punch.dial_timeout_ms", "300")
	// The initiator's attempts last longer than the receiver's, or these would overlap.
	a := punching(t, toldReceiver, silentAddress(t), "listen", "[]", "gating.block", `["127.0.0.2", "`+nowhere+`"]`, "nat.hole_punch.history", "2")
	tell(t, b, event.EvtNATDeviceTypeChanged{TransportProtocol: network.NATTransportTCP, NatDeviceType: network.NATDeviceTypeEndpointDependent})
	told.wait(t, core.NATTypeChanged, nil)
	r := reserve(t, b, relay)
	if _, err := a.Connect(timeout(t), r.Addresses()); err != nil {
		t.Fatal(err)
	}
	for attempt := range 4 {
		e := told.wait(t, core.HolePunched, of(a.ID()))
		p := e.HolePunch
		want := "failed"
		if attempt == 3 {
			want = "gave_up"
		}
		if e.State != want || p.Outcome != want || p.Attempt != attempt || p.Side != "initiator" || p.Reason == "" || strings.Contains(p.Reason, "\n") {
			t.Fatalf("%d: %+v", attempt, p)
		}
		if !strings.Contains(p.Reason, "NAT gives TCP another port") {
			t.Fatalf("the reason %q does not tell of the NAT", p.Reason)
		}
	}
	for attempt := 1; attempt <= 3; attempt++ {
		p := toldReceiver.wait(t, core.HolePunched, of(b.ID())).HolePunch
		if p.Side != "receiver" || p.Attempt != attempt || (p.Outcome == "gave_up") != (attempt == 3) || len(p.Addresses) != 1 || p.RTTMs <= 0 || p.Reason == "" {
			t.Fatalf("%d: %+v", attempt, p)
		}
	}
	if info := b.NATInfo().HolePunch; !info.Enabled || info.Failed != 1 || info.Succeeded != 0 || len(info.History) != 4 {
		t.Fatalf("%+v", info)
	}
	if history := a.HolePunches(b.ID()); len(history) == 0 || len(history) > 2 || history[len(history)-1].Outcome != "gave_up" {
		t.Fatalf("%+v", history)
	}
	if _, err := a.Ping(timeout(t), b.ID()); err != nil {
		t.Fatal(err)
	}
}

func silentAddress(t *testing.T) []string {
	t.Helper()
	return []string{fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", silentPort(t))}
}

// The receiver of attempts may be at one still when the next begins. Each is told once, by its own number.
func TestHolePunchAttemptsThatOverlap(t *testing.T) {
	relay, toldReceiver := startRelay(t), newEvents()
	b := punching(t, newEvents(), silentAddress(t), "listen", "/ip4/127.0.0.2/tcp/0")
	a := punching(t, toldReceiver, nil, "listen", "[]", "gating.block", `["127.0.0.2", "`+nowhere+`"]`)
	r := reserve(t, b, relay)
	if _, err := a.Connect(timeout(t), r.Addresses()); err != nil {
		t.Fatal(err)
	}
	for attempt := 1; attempt <= 2; attempt++ { // upstream takes no more than two at a time
		p := toldReceiver.wait(t, core.HolePunched, of(b.ID())).HolePunch
		if p.Side != "receiver" || p.Attempt != attempt || p.Outcome != "failed" || len(p.Addresses) != 1 || p.Reason == "" {
			t.Fatalf("%d: %+v", attempt, p)
		}
	}
}

// A peer that can be dialled after all is dialled, and the relayed connection closes when it is idle.
func TestHolePunchDialsFirst(t *testing.T) {
	relay, told, path := startRelay(t), newEvents(), newEvents()
	b := punching(t, told, nil, "relay.client.linger_ms", "100")
	a := punching(t, path, nil)
	r := reserve(t, b, relay)
	if _, err := a.Connect(timeout(t), r.Addresses()); err != nil {
		t.Fatal(err)
	}
	if e := told.wait(t, core.HolePunched, of(a.ID())); e.State != "direct" || e.HolePunch.Attempt != 0 || e.HolePunch.Reason != "" {
		t.Fatalf("%+v %+v", e, e.HolePunch)
	}
	if e := path.wait(t, core.PeerPath, of(b.ID())); e.Relayed {
		t.Fatalf("%+v", e)
	}
	until(t, "only the direct connection is left", func() bool {
		connections := a.PeerInfo(b.ID()).(core.PeerInfo).Connections
		return len(connections) == 1 && !connections[0].Relayed
	})
	if _, err := a.OpenStream(timeout(t), b.ID(), []string{"/x"}, core.OpenOptions{}); err == nil || core.Kind(err) == core.ErrLimited {
		t.Fatal(err) // the direct connection has no limits; nobody serves /x
	}
}

// A peer behind a NAT knows its public address in most cases, and does not answer a plain dial to it. The attempts at a hole do not wait for all of their own
// time for that.
func TestHolePunchDoesNotWaitLongForAPlainDial(t *testing.T) {
	relay, told := startRelay(t), newEvents()
	b := punching(t, told, nil, "nat.hole_punch.dial_timeout_ms", "600000", "dial.timeout_ms", "600000") // the test ends before
	a := punching(t, newEvents(), silentAddress(t), "listen", "[]")
	r := reserve(t, b, relay)
	if _, err := a.Connect(timeout(t), r.Addresses()); err != nil {
		t.Fatal(err)
	}
	if p := told.wait(t, core.HolePunched, of(a.ID())).HolePunch; p.Outcome != "failed" || p.Attempt != 0 || !strings.Contains(p.Reason, "deadline") {
		t.Fatalf("%+v", p)
	}
}

// Without a public address there is nothing to punch a hole to: that is told too, for else nobody would know why a connection stays relayed.
func TestHolePunchWithoutPublicAddress(t *testing.T) {
	relay, told := startRelay(t), newEvents()
	b, a := startWith(t, config(t), told.inbox()), start(t)
	r := reserve(t, b, relay)
	if _, err := a.Connect(timeout(t), r.Addresses()); err != nil {
		t.Fatal(err)
	}
	if p := told.wait(t, core.HolePunched, of(a.ID())).HolePunch; p.Outcome != "gave_up" || p.Attempt != 0 || !strings.Contains(p.Reason, "no public address") {
		t.Fatalf("%+v", p)
	}
	off := start(t, "nat.hole_punch.enabled", "false")
	r = reserve(t, off, relay)
	if _, err := a.Connect(timeout(t), r.Addresses()); err != nil {
		t.Fatal(err)
	}
	until(t, "the connection is there", func() bool { return slices.Contains(off.Peers(), a.ID()) })
	if info := off.NATInfo().HolePunch; info.Enabled || len(info.History) != 0 {
		t.Fatalf("%+v", info)
	}
}

// A node that waits for a peer's answer about a hole closes without it.
func TestCloseWhileAPeerIsSilentAboutAHole(t *testing.T) {
	relay := startRelay(t)
	b := punching(t, newEvents(), nil)
	a := start(t, "nat.hole_punch.enabled", "false")
	asked := make(chan struct{}, 1)
	a.Host().SetStreamHandler(holepunch.Protocol, func(network.Stream) { asked <- struct{}{} })
	r := reserve(t, b, relay)
	if _, err := a.Connect(timeout(t), r.Addresses()); err != nil {
		t.Fatal(err)
	}
	<-asked
	begun := time.Now()
	b.Close()
	if took, all := time.Since(begun), goroutines(); took > 15*time.Second || strings.Contains(all, "holepunch.(*holePuncher)") { // 20 s: it gave up waiting
		t.Fatalf("closed after %v\n%s", took, all)
	}
}

// Nodes and relays may close at any moment of what goes on between them.
func TestCloseWhileRelaying(t *testing.T) {
	for _, first := range []string{"relay", "asker", "served"} {
		t.Run(first, func(t *testing.T) {
			relay, a, b := startRelay(t, "relay.service.circuit_bytes", "0"), start(t), start(t)
			r := reserve(t, b, relay)
			if _, err := a.Connect(timeout(t), r.Addresses()); err != nil {
				t.Fatal(err)
			}
			moved := make(chan struct{}, 1)
			if _, err := b.Serve([]string{"/sink"}, core.ServeOptions{}, func(s *core.Stream) {
				defer s.Close()
				for buffer := make([]byte, 4096); ; {
					if _, err := s.Read(buffer); err != nil {
						return
					}
					select {
					case moved <- struct{}{}:
					default:
					}
				}
			}); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			s, err := a.OpenStream(timeout(t), b.ID(), []string{"/sink"}, core.OpenOptions{AllowLimited: true})
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				for {
					if _, err := s.WriteContext(context.Background(), make([]byte, 1<<16)); err != nil {
						ended <- err
						return
					}
				}
			}()
			<-moved
			begun := time.Now()
			switch first {
			case "relay":
				relay.Close()
			case "asker":
				a.Close()
			case "served":
				b.Close()
			}
			if took := time.Since(begun); took > 10*time.Second {
				t.Fatalf("the close took %v", took)
			}
			select {
			case <-ended:
			case <-time.After(limit):
				t.Fatal("the stream goes on")
			}
		})
	}
}
