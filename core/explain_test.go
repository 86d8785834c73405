package core_test

import (
	"encoding/json"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	relayclient "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	relayv2 "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/libp2pgo/libp2pgo/core"
)

// explained explains addresses from n, and fails unless the verdict is as wanted, with words in the attempts and advice for what is bad.
func explained(t testing.TB, n *core.Node, verdict string, o core.ExplainOptions, addresses ...string) *core.Explanation {
	t.Helper()
	if o.AttemptMs == 0 {
		o.AttemptMs = 2000
	}
	e, err := n.Explain(timeout(t), addresses, o)
	if err != nil {
		t.Fatal(err)
	}
	text := e.Text
	if e.Verdict != verdict {
		t.Fatalf("verdict %q, not %q:\n%s", e.Verdict, verdict, text)
	}
	good := slices.Contains([]string{"self", "connected", "reachable"}, verdict)
	if e.Summary == "" || good != (len(e.Advice) == 0) || !strings.Contains(text, e.Summary) || !strings.Contains(text, "["+verdict+"]") {
		t.Errorf("summary %q, advice %q in:\n%s", e.Summary, e.Advice, text)
	}
	for _, a := range e.Attempts {
		if a.Outcome == "" || a.Words == "" || a.Ms < 0 || !strings.Contains(text, a.Address) || strings.Contains(a.Words, "\n") {
			t.Errorf("attempt %+v in:\n%s", a, text)
		}
	}
	doc, err := json.Marshal(e)
	if err != nil || strings.Contains(string(doc), "null") {
		t.Errorf("JSON is %s, %v", doc, err)
	}
	return e
}

// listener is a TCP port at which talk decides what is said.
func listener(t testing.TB, talk func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			go talk(c)
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return "/ip4/127.0.0.1/tcp/" + port
}

// as puts another peer id behind an address.
func as(address string, id peer.ID) string {
	before, _, _ := strings.Cut(address, "/p2p/")
	return before + "/p2p/" + id.String()
}

func TestExplain_Reachable(t *testing.T) {
	a := start(t)
	b := start(t, "listen", "/ip4/127.0.0.1/tcp/0\n/ip4/127.0.0.1/udp/0/quic-v1\n/ip4/127.0.0.1/tcp/0/ws")
	e := explained(t, a, "reachable", core.ExplainOptions{}, b.Addresses()...)
	if len(e.Attempts) != 3 || slices.ContainsFunc(e.Attempts, func(x core.ExplainedAttempt) bool { return x.Outcome != "ok" || x.Source != "given" }) {
		t.Errorf("attempts %+v", e.Attempts)
	}
	until(t, "its connections are closed again", func() bool { return len(a.Peers()) == 0 && len(b.Peers()) == 0 })
	explained(t, a, "self", core.ExplainOptions{}, a.ID().String())
	explained(t, a, "no_address", core.ExplainOptions{}, start(t).ID().String())
	connect(t, a, b)
	e = explained(t, a, "connected", core.ExplainOptions{}, b.ID().String())
	if len(e.Known.Connections) == 0 || e.Attempts[0].Source != "known" {
		t.Errorf("%+v", e)
	}
	_, err := a.Explain(timeout(t), []string{"here"}, core.ExplainOptions{AttemptMs: 1000})
	mustMatch(t, err, core.ErrParse, "here")
	_, err = a.Explain(timeout(t), nil, core.ExplainOptions{AttemptMs: 1000})
	mustMatch(t, err, core.ErrInvalid)
}

// Names are resolved wherever an address comes from.
func TestExplain_KnownByName(t *testing.T) {
	a, b := start(t), start(t, "listen", "/ip4/127.0.0.1/udp/0/quic-v1")
	if _, err := a.AddAddresses([]string{strings.Replace(b.Addresses()[0], "/ip4/127.0.0.1", "/dns4/localhost", 1)}, 0); err != nil {
		t.Fatal(err)
	}
	e := explained(t, a, "reachable", core.ExplainOptions{}, b.ID().String())
	if len(e.Attempts) != 1 || e.Attempts[0].Source != "known" || e.Attempts[0].Outcome != "ok" {
		t.Errorf("attempts %+v", e.Attempts)
	}
}

func TestExplain_NobodyListens(t *testing.T) {
	a, b := start(t), start(t)
	address := b.Addresses()[0]
	b.Close()
	e := explained(t, a, "nobody_listens", core.ExplainOptions{}, address)
	if !strings.Contains(strings.Join(e.Advice, " "), "127.0.0.0/8") {
		t.Errorf("advice %q says nothing of loopback", e.Advice)
	}
	// UDP does not tell; and the one that answers counts.
	explained(t, a, "no_answer", core.ExplainOptions{AttemptMs: 500}, "/ip4/127.0.0.1/udp/1/quic-v1/p2p/"+b.ID().String())
	c := start(t)
	explained(t, a, "reachable", core.ExplainOptions{}, "/ip4/127.0.0.1/tcp/1/p2p/"+c.ID().String(), c.Addresses()[0])
}

func TestExplain_WrongPeer(t *testing.T) {
	a, c := start(t), start(t)
	for _, listen := range []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"} {
		b := start(t, "listen", listen)
		e := explained(t, a, "wrong_peer", core.ExplainOptions{}, as(b.Addresses()[0], c.ID()))
		if !strings.Contains(e.Attempts[0].Words, b.ID().String()) {
			t.Errorf("%q does not name who answers", e.Attempts[0].Words)
		}
	}
}

func TestExplain_PeerThatHangs(t *testing.T) {
	a, id := start(t), start(t).ID()
	silent := listener(t, func(net.Conn) {})
	explained(t, a, "stuck", core.ExplainOptions{AttemptMs: 500}, as(silent, id))
	greets := listener(t, func(c net.Conn) { c.Write([]byte("\x13/multistream/1.0.0\n")) })
	explained(t, a, "stuck", core.ExplainOptions{AttemptMs: 500}, as(greets, id))
	closes := listener(t, func(c net.Conn) { c.Close() })
	explained(t, a, "handshake", core.ExplainOptions{}, as(closes, id))
	other := listener(t, func(c net.Conn) { c.Write([]byte("SSH-2.0-OpenSSH_9.6\r\n")) })
	e := explained(t, a, "not_libp2p", core.ExplainOptions{AttemptMs: 1000}, as(other, id))
	if !strings.Contains(e.Attempts[0].Words, "SSH-2.0") {
		t.Errorf("words %q", e.Attempts[0].Words)
	}
}

func TestExplain_TransportOff(t *testing.T) {
	b := start(t, "listen", "/ip4/127.0.0.1/udp/0/quic-v1")
	a := start(t, "transports.quic", "false", "transports.webtransport", "false")
	e := explained(t, a, "transport_off", core.ExplainOptions{}, b.Addresses()[0])
	if !strings.Contains(e.Attempts[0].Words, "transports.quic") {
		t.Errorf("words %q", e.Attempts[0].Words)
	}
	explained(t, a, "transport_unknown", core.ExplainOptions{}, "/ip4/127.0.0.1/udp/4001/p2p/"+b.ID().String())
	explained(t, a, "name_unknown", core.ExplainOptions{}, "/dns4/no.such.name.invalid/tcp/1/p2p/"+b.ID().String())
	unknown := "/dns4/no.such.name.invalid/tcp/2/p2p/" + b.ID().String()
	if _, err := a.Connect(timeout(t), []string{unknown}); err == nil {
		t.Fatal("there is such a name")
	}
	if e := explained(t, a, "name_unknown", core.ExplainOptions{}, unknown); len(e.Attempts) != 1 {
		t.Errorf("an address that is given and known is told of %d times", len(e.Attempts))
	}
	c := start(t)
	port := strings.Split(c.Addresses()[0], "/")[4]
	explained(t, a, "reachable", core.ExplainOptions{}, "/dns4/localhost/tcp/"+port+"/p2p/"+c.ID().String())
}

func TestExplain_SecurityHasNothingInCommon(t *testing.T) {
	a, b := start(t, "security", "tls"), start(t, "security", "noise")
	explained(t, a, "handshake", core.ExplainOptions{}, b.Addresses()[0])
}

func TestExplain_PrivateNetworks(t *testing.T) {
	private := func(key string) *core.Node {
		c := config(t)
		if err := c.SetSecret("private_network.key", []byte(strings.Repeat(key, 32))); err != nil {
			t.Fatal(err)
		}
		return startWith(t, c, core.Inbox[core.Event]{})
	}
	one, same, other, public := private("1"), private("1"), private("2"), start(t)
	explained(t, one, "reachable", core.ExplainOptions{}, same.Addresses()[0])
	for words, pair := range map[string][2]*core.Node{
		"another private network": {one, other},
		"in no private network":   {one, public},
		"this node is not":        {public, one},
	} {
		e := explained(t, pair[0], "private_network", core.ExplainOptions{AttemptMs: 3000}, pair[1].Addresses()[0])
		if !strings.Contains(e.Attempts[0].Words, words) {
			t.Errorf("words %q, not %q", e.Attempts[0].Words, words)
		}
	}
	quic := start(t, "listen", "/ip4/127.0.0.1/udp/0/quic-v1")
	explained(t, one, "transport_off", core.ExplainOptions{}, quic.Addresses()[0])
}

func TestExplain_Rules(t *testing.T) {
	a, b := start(t), start(t)
	if err := a.Block([]string{b.ID().String()}); err != nil {
		t.Fatal(err)
	}
	e := explained(t, a, "gated", core.ExplainOptions{}, b.Addresses()[0])
	if !strings.Contains(e.Attempts[0].Words, b.ID().String()) {
		t.Errorf("%q does not name the rule", e.Attempts[0].Words)
	}
	explained(t, b, "hung_up", core.ExplainOptions{}, a.Addresses()[0])
}

func TestExplain_Protocol(t *testing.T) {
	a, b := start(t), start(t)
	if _, err := b.Serve([]string{"/there/1"}, core.ServeOptions{}, func(s *core.Stream) { s.Close() }); err != nil {
		t.Fatal(err)
	}
	explained(t, a, "reachable", core.ExplainOptions{Protocol: "/there/1"}, b.Addresses()[0])
	explained(t, a, "protocol_missing", core.ExplainOptions{Protocol: "/elsewhere/1"}, b.Addresses()[0])
}

// The protocol is asked for on a connection of explain's own: what the node itself connects to, and others then use, it neither makes nor closes.
func TestExplain_ProtocolLeavesConnectionsAlone(t *testing.T) {
	for _, listen := range []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0/ws"} {
		told := newEvents()
		a := startWith(t, config(t), told.inbox())
		b, c := start(t, "listen", listen), start(t)
		if _, err := b.Serve([]string{"/there/1"}, core.ServeOptions{}, func(s *core.Stream) { s.Close() }); err != nil {
			t.Fatal(err)
		}
		explained(t, a, "reachable", core.ExplainOptions{Protocol: "/there/1"}, b.Addresses()[0])
		explained(t, a, "protocol_missing", core.ExplainOptions{Protocol: "/elsewhere/1"}, b.Addresses()[0])
		connect(t, a, c)
		told.wait(t, core.PeerConnected, func(e core.Event) bool {
			if e.Peer == b.ID() {
				t.Errorf("%s: the node itself has connected", listen)
			}
			return e.Peer == c.ID()
		})
		until(t, "its connections are closed again", func() bool { return len(b.Peers()) == 0 })
		connect(t, a, b)
		explained(t, a, "connected", core.ExplainOptions{Protocol: "/there/1"}, b.Addresses()[0])
		if !slices.Contains(a.Peers(), b.ID()) {
			t.Errorf("%s: the connection that was there is closed", listen)
		}
	}
}

func TestExplain_Relays(t *testing.T) {
	relay, hidden, a := start(t), start(t, "listen", "[]"), start(t)
	service, err := relayv2.New(relay.Host())
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	connect(t, hidden, relay)
	through := relay.Addresses()[0] + "/p2p-circuit/p2p/"
	explained(t, a, "relay_no_reservation", core.ExplainOptions{}, through+hidden.ID().String())
	if _, err := relayclient.Reserve(timeout(t), hidden.Host(), peer.AddrInfo{ID: relay.ID(), Addrs: relay.Host().Addrs()}); err != nil {
		t.Fatal(err)
	}
	e := explained(t, a, "relay_only", core.ExplainOptions{}, through+hidden.ID().String(), "/ip4/127.0.0.1/tcp/1/p2p/"+hidden.ID().String())
	if len(e.Attempts) != 2 || e.Attempts[0].Scope != "relay" || e.Attempts[1].Outcome != "nobody_listens" {
		t.Errorf("%+v", e.Attempts)
	}
	if _, err := hidden.Serve([]string{"/there/1"}, core.ServeOptions{}, func(s *core.Stream) { s.Close() }); err != nil {
		t.Fatal(err)
	}
	explained(t, a, "relay_only", core.ExplainOptions{Protocol: "/there/1"}, through+hidden.ID().String())
	explained(t, a, "protocol_missing", core.ExplainOptions{Protocol: "/elsewhere/1"}, through+hidden.ID().String())
	if peers := a.Peers(); len(peers) != 0 {
		t.Errorf("connected with %v", peers)
	}
	connect(t, a, relay)
	explained(t, a, "relay_only", core.ExplainOptions{}, through+hidden.ID().String())
	if peers := a.Peers(); !slices.Contains(peers, relay.ID()) {
		t.Errorf("the connection with the relay is closed, though it was there before")
	}
	place := startRelay(t)
	reserve(t, a, place)
	if e := explained(t, a, "no_address", core.ExplainOptions{}, start(t).ID().String()); len(e.Self.Relays) != 1 || e.Self.Relays[0] != place.ID().String() {
		t.Errorf("self %+v", e.Self)
	}
	gone := start(t)
	lost := gone.Addresses()[0] + "/p2p-circuit/p2p/" + hidden.ID().String()
	gone.Close()
	explained(t, a, "relay_unreachable", core.ExplainOptions{}, lost)
}

func TestExplain_Ends(t *testing.T) {
	a, id := start(t), start(t).ID()
	silent := as(listener(t, func(net.Conn) {}), id)
	ended := make(chan error, 1)
	go func() {
		_, err := a.Explain(timeout(t), []string{silent}, core.ExplainOptions{AttemptMs: 60_000})
		ended <- err
	}()
	time.Sleep(50 * time.Millisecond) // either before or while it dials, both must end
	a.Close()
	mustMatch(t, <-ended, core.ErrClosed)
}
