package core_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/libp2pgo/libp2pgo/core"
)

const (
	tcp  = "/ip4/127.0.0.1/tcp/0"
	quic = "/ip4/127.0.0.1/udp/0/quic-v1"
)

func gateInfo(n *core.Node) core.GateInfo { return n.Gate().(core.GateInfo) }

// What the rules decide, without a connection: by name of the peer, then by the longest prefix, then by default.
func TestGateRulesTheMostExactHolds(t *testing.T) {
	friend, foe, stranger := randomPeer(t), randomPeer(t), randomPeer(t)
	n := start(t, "gating.block", "10.0.0.0/8\n10.1.2.3\n2001:db8::/32\n/ip4/192.0.2.0/ipcidr/24\n"+foe.String(),
		"gating.allow", "10.1.0.0/16\n"+friend.String())
	for _, c := range []struct {
		who     peer.ID
		address string
		refused string // the rule
	}{
		{stranger, "/ip4/8.8.8.8/tcp/1", ""},
		{stranger, "/ip4/10.2.0.1/tcp/1", "10.0.0.0/8"},
		{stranger, "/ip4/10.1.0.1/tcp/1", ""},
		{stranger, "/ip4/10.1.2.3/udp/1/quic-v1", "10.1.2.3"},
		{friend, "/ip4/10.1.2.3/tcp/1", ""},
		{foe, "/ip4/8.8.8.8/tcp/1", foe.String()},
		{stranger, "/ip6/2001:db8::1/tcp/1", "2001:db8::/32"},
		{stranger, "/ip6/2001:db9::1/tcp/1", ""},
		{stranger, "/ip4/192.0.2.7/tcp/1", "192.0.2.0/24"},
	} {
		n.Host().Peerstore().ClearAddrs(c.who)
		n.Host().Peerstore().AddAddr(c.who, ma.StringCast(c.address), time.Minute)
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		_, err := n.Connect(ctx, []string{c.who.String()})
		cancel()
		if c.refused != "" {
			mustMatch(t, err, core.ErrRefused, "blocked by the rule "+c.refused, c.who.String())
		} else if core.Kind(err) == core.ErrRefused {
			t.Fatalf("%s at %s: %v", c.who, c.address, err)
		}
	}
}

func TestGateRefusesInboundConnections(t *testing.T) {
	for _, over := range []string{tcp, quic} {
		t.Run(strings.Split(over, "/")[3], func(t *testing.T) {
			told := newEvents()
			a, b := startWith(t, config(t, "listen", over), told.inbox()), start(t, "listen", over)
			if err := a.Block([]string{b.ID().String()}); err != nil {
				t.Fatal(err)
			}
			_, err := b.Connect(timeout(t), a.Addresses())
			if kind := core.Kind(err); kind != core.ErrRefused && kind != core.ErrDial && kind != core.ErrSecurity {
				t.Fatalf("connected, or %v", err)
			}
			if info := gateInfo(a); info.ConnectionsRefused == 0 || info.Block[0].Rule != b.ID().String() || info.Block[0].Refused == 0 {
				t.Fatalf("%+v", info)
			}
			if err := a.RemoveRules([]string{b.ID().String()}); err != nil {
				t.Fatal(err)
			}
			connect(t, b, a)
			if e := told.wait(t, core.PeerConnected, nil); e.Peer != b.ID() {
				t.Fatalf("%+v", e)
			}
		})
	}
}

func TestBlockingClosesConnections(t *testing.T) {
	for _, rule := range []string{"", "127.0.0.0/8"} {
		told := newEvents()
		a, b, c := start(t), startWith(t, config(t), told.inbox()), start(t)
		connect(t, a, b)
		connect(t, c, b)
		if rule == "" {
			rule = b.ID().String()
		}
		if err := a.Block([]string{rule}); err != nil {
			t.Fatal(err)
		}
		told.wait(t, core.PeerDisconnected, of(a.ID()))
		if got := b.Peers(); len(got) != 1 || got[0] != c.ID() {
			t.Fatalf("%s: %v", rule, got)
		}
		_, err := a.Connect(timeout(t), b.Addresses())
		mustMatch(t, err, core.ErrRefused, rule)
		if err := a.Allow([]string{rule}); err != nil { // takes the rule's place
			t.Fatal(err)
		}
		connect(t, a, b)
	}
}

func TestGateDefaultBlock(t *testing.T) {
	a, b, c := start(t), start(t), start(t)
	n := start(t, "gating.default", "block", "gating.allow", b.ID().String())
	connect(t, n, b)
	_, err := n.Connect(timeout(t), c.Addresses())
	mustMatch(t, err, core.ErrRefused, c.ID().String(), "gating.default")
	if _, err := a.Connect(timeout(t), n.Addresses()); err == nil {
		t.Fatal("a stranger came in")
	}
	if err := n.Disconnect(b.ID()); err != nil {
		t.Fatal(err)
	}
	until(t, "disconnected", func() bool { return len(b.Peers()) == 0 })
	connect(t, b, n)
	if err := n.SetGateDefault("allow"); err != nil {
		t.Fatal(err)
	}
	connect(t, a, n)
	if err := n.SetGateDefault("block"); err != nil {
		t.Fatal(err)
	}
	connect(t, a, n) // what is there stays
	// An allowed network alone, too.
	m := start(t, "gating.default", "block", "gating.allow", "127.0.0.1")
	connect(t, m, a)
	connect(t, c, m)
}

func TestGateMisuse(t *testing.T) {
	n := start(t)
	for _, bad := range []string{"", "nonsense", "10.0.0.0/33", "/ip4/1.2.3.4/tcp/1", "1.2.3", n.Addresses()[0], "/dns4/a.example"} {
		mustMatch(t, n.Block([]string{"10.0.0.1", bad}), core.ErrParse, strings.TrimSpace(fmt.Sprintf("%.40q", bad))[:1])
		mustMatch(t, n.Allow([]string{bad}), core.ErrParse)
		mustMatch(t, n.RemoveRules([]string{bad}), core.ErrParse)
	}
	if info := gateInfo(n); len(info.Block)+len(info.Allow) != 0 {
		t.Fatalf("half a list was taken: %+v", info)
	}
	mustMatch(t, n.Block(nil), core.ErrInvalid)
	mustMatch(t, n.SetGateDefault("ask"), core.ErrInvalid, "ask")
	if err := n.Block([]string{"10.0.0.1", "10.0.0.1/32", "/ip4/10.0.0.1"}); err != nil || len(gateInfo(n).Block) != 1 {
		t.Fatalf("%v, %+v", err, gateInfo(n))
	}
	mustMatch(t, n.RemoveRules([]string{"10.0.0.1", "10.0.0.2"}), core.ErrNotFound, "10.0.0.2")
	if len(gateInfo(n).Block) != 1 {
		t.Fatal("half a list was removed")
	}
	for doc, path := range map[string]string{
		`{"gating":{"block":["x"]}}`: "gating.block[0]", `{"gating":{"allow":["10.0.0.0/8"],"block":["10.0.0.0/8"]}}`: "gating.allow[0]", `{"gating":{"default":"ask"}}`: "gating.default",
	} {
		_, err := core.ParseConfig([]byte(doc))
		mustMatch(t, err, core.ErrConfig, path)
	}
	n.Close()
	for _, err := range []error{n.Block([]string{"10.0.0.1"}), n.Allow([]string{"10.0.0.1"}), n.RemoveRules([]string{"10.0.0.1"}), n.SetGateDefault("block")} {
		mustMatch(t, err, core.ErrClosed)
	}
}

// keeper answers what a node asks, and remembers it.
type keeper struct {
	mu     sync.Mutex
	asked  []core.GateRequest
	answer func(core.GateRequest)
}

func (k *keeper) inbox() core.Inbox[core.GateRequest] {
	return core.Inbox[core.GateRequest]{Deliver: func(r core.GateRequest) {
		k.mu.Lock()
		k.asked = append(k.asked, r)
		k.mu.Unlock()
		if k.answer != nil {
			k.answer(r)
		}
	}}
}

func (k *keeper) requests() []core.GateRequest {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]core.GateRequest{}, k.asked...)
}

func gateOptions(t *testing.T, doc string) core.GateOptions {
	t.Helper()
	o, err := core.ParseGateOptions([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestGatekeeperDecides(t *testing.T) {
	for _, over := range []string{tcp, quic} {
		for _, verdict := range []core.Decision{core.Accept, core.Reject, core.Ignore} {
			a, b := start(t, "listen", over), start(t, "listen", over)
			k := &keeper{answer: func(r core.GateRequest) { r.Verdict.Answer(verdict) }}
			if _, err := a.AskGate(gateOptions(t, ""), k.inbox()); err != nil {
				t.Fatal(err)
			}
			_, inbound := b.Connect(timeout(t), a.Addresses())
			asked := k.requests()
			if len(asked) != 1 || asked[0].Peer != b.ID() || asked[0].Stage != core.GateConnection || !asked[0].Inbound ||
				!strings.Contains(asked[0].Address, "/127.0.0.1/") {
				t.Fatalf("asked %+v", asked)
			}
			c := start(t, "listen", over)
			_, dial := a.Connect(timeout(t), c.Addresses())
			if asked = k.requests(); len(asked) != 2 || asked[1].Peer != c.ID() || asked[1].Stage != core.GateDial || asked[1].Inbound {
				t.Fatalf("asked %+v", asked)
			}
			if verdict == core.Accept {
				if inbound != nil || dial != nil {
					t.Fatalf("%v, %v", inbound, dial)
				}
				continue
			}
			mustMatch(t, inbound, core.ErrRefused, a.ID().String())
			mustMatch(t, dial, core.ErrRefused, c.ID().String(), "verdict")
		}
	}
}

func TestGatekeeperIsNotAskedWhereARuleDecides(t *testing.T) {
	a, b, c := start(t), start(t), start(t)
	k := &keeper{}
	if _, err := a.AskGate(gateOptions(t, ""), k.inbox()); err != nil {
		t.Fatal(err)
	}
	if err := a.Allow([]string{b.ID().String()}); err != nil {
		t.Fatal(err)
	}
	connect(t, b, a)
	if err := a.Allow([]string{"127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	connect(t, a, c)
	if asked := k.requests(); len(asked) != 0 {
		t.Fatalf("%+v", asked)
	}
}

func TestGatekeeperInTimeOrByDefault(t *testing.T) {
	for _, c := range []struct {
		doc string
		ok  bool
	}{{`{"timeout_ms": 50}`, false}, {`{"timeout_ms": 50, "default": "allow"}`, true}} {
		a, b := start(t), start(t)
		k := &keeper{} // says nothing
		gatekeeper, err := a.AskGate(gateOptions(t, c.doc), k.inbox())
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.Connect(timeout(t), b.Addresses())
		if c.ok != (err == nil) {
			t.Fatalf("%s: %v", c.doc, err)
		}
		if !c.ok {
			mustMatch(t, err, core.ErrRefused, "no verdict within 50ms")
		}
		mustMatch(t, k.requests()[0].Verdict.Answer(core.Accept), core.ErrNotFound)
		if info := gatekeeper.Info().(core.GatekeeperInfo); info.Asked != 1 || info.Late != 1 || info.Pending != 0 {
			t.Fatalf("%+v", info)
		}
	}
	// Beyond the capacity the default holds at once.
	a := start(t)
	k := &keeper{}
	if _, err := a.AskGate(gateOptions(t, `{"timeout_ms": 10000, "capacity": 1, "default": "allow"}`), k.inbox()); err != nil {
		t.Fatal(err)
	}
	b, c := start(t), start(t)
	first := make(chan error, 1)
	go func() {
		_, err := a.Connect(context.Background(), b.Addresses())
		first <- err
	}()
	until(t, "the first question", func() bool { return len(k.requests()) == 1 })
	connect(t, a, c)
	k.requests()[0].Verdict.Answer(core.Accept)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
}

// Closing the keeper, or the node, ends what waits for a verdict at once.
func TestGatekeeperCloses(t *testing.T) {
	for _, closeNode := range []bool{false, true} {
		a, b := start(t), start(t)
		k := &keeper{}
		gatekeeper, err := a.AskGate(gateOptions(t, `{"timeout_ms": 10000}`), k.inbox())
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.AskGate(gateOptions(t, ""), k.inbox())
		mustMatch(t, err, core.ErrExists)
		dialled := make(chan error, 1)
		go func() {
			_, err := a.Connect(context.Background(), b.Addresses())
			dialled <- err
		}()
		until(t, "the question", func() bool { return len(k.requests()) == 1 })
		began := time.Now()
		if closeNode {
			a.Close()
			gatekeeper.Close()
		} else {
			gatekeeper.Close()
			gatekeeper.Close()
		}
		if err := <-dialled; err == nil || time.Since(began) > 5*time.Second {
			t.Fatalf("%v after %v", err, time.Since(began))
		}
		if closeNode {
			_, err = a.AskGate(gateOptions(t, ""), k.inbox())
			mustMatch(t, err, core.ErrClosed)
		} else {
			connect(t, a, b) // nobody is asked any more
			if _, err = a.AskGate(gateOptions(t, ""), k.inbox()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Rules change while many dial: nothing hangs, and in the end the rules hold.
func TestGateChangesWhileBusy(t *testing.T) {
	hub := start(t)
	var others []*core.Node
	for range 4 {
		others = append(others, start(t))
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, n := range others {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				n.Connect(ctx, hub.Addresses())
				cancel()
				n.Disconnect(hub.ID())
			}
		})
	}
	for i := range 50 {
		net := netip.MustParsePrefix("127.0.0.0/8").String()
		if i%2 == 0 {
			hub.Block([]string{net, others[0].ID().String()})
		} else {
			hub.RemoveRules([]string{net})
		}
	}
	hub.Block([]string{"127.0.0.0/8"})
	close(stop)
	wg.Wait()
	until(t, "nobody is connected", func() bool { return len(hub.Peers()) == 0 })
}
