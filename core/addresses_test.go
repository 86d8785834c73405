package core_test

import (
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/libp2pgo/libp2pgo/core"
)

// told returns a node's addresses without its id.
func told(n *core.Node) []string {
	list := n.Addresses()
	for i := range list {
		list[i] = strings.TrimSuffix(list[i], "/p2p/"+n.ID().String())
	}
	slices.Sort(list)
	return list
}

func mustTell(t *testing.T, n *core.Node, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := told(n); !slices.Equal(got, want) {
		t.Fatalf("the node tells %q, not %q", got, want)
	}
}

func TestAddressRulesOfTheConfig(t *testing.T) {
	n := start(t, "addresses.announce", "/ip4/203.0.113.7/tcp/4001\n/ip4/10.0.0.1/tcp/4001\n/dns4/a.example/tcp/443/wss",
		"addresses.append", "/ip4/192.168.1.1/tcp/9", "addresses.hide", "10.0.0.0/8\n/dns4/a.example")
	mustTell(t, n, "/ip4/203.0.113.7/tcp/4001", "/ip4/192.168.1.1/tcp/9")
}

func TestAddressRulesAtRunTime(t *testing.T) {
	heard := newEvents()
	n := startWith(t, config(t), heard.inbox())
	found := told(n)
	if len(found) != 1 {
		t.Fatalf("%q", found)
	}
	for _, step := range []struct {
		doc  string
		want []string
	}{
		{`{"append": ["/ip4/203.0.113.7/tcp/1"]}`, []string{found[0], "/ip4/203.0.113.7/tcp/1"}},
		{`{"hide": ["127.0.0.1"]}`, []string{"/ip4/203.0.113.7/tcp/1"}}, // what is not given stays
		{`{"hide": ["/ip4/127.0.0.0/ipcidr/8", "/ip4/203.0.113.7"]}`, nil},
		{`{"hide": ["/ip4/127.0.0.1/tcp/1"], "append": []}`, found}, // another port
		{`{"announce": ["/ip6/2001:db8::1/udp/4001/quic-v1"]}`, []string{"/ip6/2001:db8::1/udp/4001/quic-v1"}},
		{`{"hide": ["2001:db8::/32"]}`, nil},
		{`{"announce": [], "hide": []}`, found},
	} {
		if err := n.Announce([]byte(step.doc)); err != nil {
			t.Fatalf("%s: %v", step.doc, err)
		}
		mustTell(t, n, step.want...)
		heard.wait(t, core.AddressesChanged, func(e core.Event) bool { return len(e.Addresses) == len(step.want) })
	}
	for _, bad := range []struct{ doc, path string }{
		{`{"anounce": []}`, "anounce"}, {`{"announce": "x"}`, "announce"}, {`{"append": ["x"]}`, "append[0]"},
		{`{"hide": ["", "x"]}`, "hide[0]"}, {`{"hide": ["10.0.0.0/33"]}`, "hide[0]"}, {`{"announce": ["/ip4/1.2.3.4/tcp/1/p2p/` + n.ID().String() + `"]}`, "announce[0]"},
	} {
		mustMatch(t, n.Announce([]byte(bad.doc)), core.ErrConfig, bad.path)
		mustTell(t, n, found...)
	}
	n.Close()
	mustMatch(t, n.Announce([]byte(`{}`)), core.ErrClosed)
}

// What the node tells reaches its peers.
func TestPeersHearTheAnnouncedAddress(t *testing.T) {
	a, b := start(t, "addresses.append", "/ip4/203.0.113.7/tcp/4001"), start(t)
	if _, err := b.Connect(timeout(t), a.Addresses()[:1]); err != nil {
		t.Fatal(err)
	}
	until(t, "the address is in the peerstore", func() bool {
		for _, addr := range b.Host().Peerstore().Addrs(a.ID()) {
			if addr.String() == "/ip4/203.0.113.7/tcp/4001" {
				return true
			}
		}
		return false
	})
}

func TestListenAtRunTime(t *testing.T) {
	heard := newEvents()
	n := startWith(t, config(t), heard.inbox())
	bound, err := n.ListenMore([]string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0/ws"})
	if err != nil || len(bound) != 2 {
		t.Fatalf("%q, %v", bound, err)
	}
	heard.wait(t, core.AddressesChanged, func(e core.Event) bool { return len(e.Addresses) == 3 })
	for _, address := range bound {
		other := start(t)
		id, err := other.Connect(timeout(t), []string{address + "/p2p/" + n.ID().String()})
		if err != nil || id != n.ID() {
			t.Fatalf("connect to %s: %v", address, err)
		}
	}
	// Transports share a UDP port of the node.
	shared := bound[slices.IndexFunc(bound, func(a string) bool { return strings.Contains(a, "quic") })]
	more, err := n.ListenMore([]string{shared + "/webtransport", strings.TrimSuffix(shared, "quic-v1") + "webrtc-direct"})
	if err != nil || len(more) != 2 {
		t.Fatalf("%q, %v", more, err)
	}
	if err := n.Unlisten(append(more, bound...)); err != nil {
		t.Fatal(err)
	}
	heard.wait(t, core.AddressesChanged, func(e core.Event) bool { return len(e.Addresses) == 1 })
	if _, err := start(t).Connect(timeout(t), []string{bound[1] + "/p2p/" + n.ID().String()}); err == nil {
		t.Fatal("still listening")
	}
	mustMatch(t, n.Unlisten(bound), core.ErrNotFound, bound[0])
	mustMatch(t, n.Unlisten([]string{"/p2p-circuit"}), core.ErrInvalid, "/p2p-circuit")
	mustMatch(t, n.Unlisten([]string{"x"}), core.ErrParse, `"x"`)
	mustMatch(t, n.Unlisten(nil), core.ErrInvalid)
	n.Close()
	_, err = n.ListenMore([]string{"/ip4/127.0.0.1/tcp/0"})
	mustMatch(t, err, core.ErrClosed)
	mustMatch(t, n.Unlisten([]string{"/ip4/127.0.0.1/tcp/0"}), core.ErrClosed)
}

func TestListenAtRunTimeIsAllOrNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy := "/ip4/127.0.0.1/tcp/" + taken.Addr().String()[len("127.0.0.1:"):]
	n := start(t, "transports.quic", "false")
	before := n.Info().(core.NodeInfo).Listening
	for _, c := range []struct {
		addresses []string
		kind      error
		says      string
	}{
		{[]string{"/ip4/127.0.0.1/tcp/0", busy}, core.ErrListen, busy},
		{[]string{"/ip4/127.0.0.1/tcp/0", "/ip4/192.0.2.1/tcp/0"}, core.ErrListen, "/ip4/192.0.2.1/tcp/0"},
		{[]string{"/ip4/127.0.0.1/tcp/0", "nonsense"}, core.ErrParse, "nonsense"},
		{[]string{"/ip4/127.0.0.1/tcp/0", "/dns4/a.example/tcp/1"}, core.ErrInvalid, "/dns4/a.example/tcp/1"},
		{[]string{"/ip4/127.0.0.1/udp/0/quic-v1"}, core.ErrState, "transports.quic"},
		{[]string{"/ip4/127.0.0.1/tcp/0/tls/ws"}, core.ErrState, "websocket.cert_file"},
		{told(n), core.ErrListen, told(n)[0]},
		{nil, core.ErrInvalid, ""},
	} {
		_, err := n.ListenMore(c.addresses)
		mustMatch(t, err, c.kind, c.says)
		until(t, "nothing more is bound", func() bool { return slices.Equal(n.Info().(core.NodeInfo).Listening, before) })
	}
}

// TCP and WebSocket share one port, and a peer reaches the node by either.
func TestSharedTCPPort(t *testing.T) {
	n := start(t, "transports.share_tcp", "true")
	at := told(n)[0]
	if _, err := n.ListenMore([]string{at + "/ws"}); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{at, at + "/ws"} {
		other := start(t)
		if _, err := other.Connect(timeout(t), []string{address + "/p2p/" + n.ID().String()}); err != nil {
			t.Fatal(err)
		}
		info := other.PeerInfo(n.ID()).(core.PeerInfo)
		if want := map[bool]string{true: "websocket", false: "tcp"}[strings.HasSuffix(address, "/ws")]; info.Connections[0].Transport != want {
			t.Fatalf("%s: %+v", address, info.Connections)
		}
	}
	_, err := core.New(timeout(t), withNetworkKey(t, config(t, "transports.share_tcp", "true")), core.Inbox[core.Event]{})
	mustMatch(t, err, core.ErrConfig, "transports.share_tcp", "private_network")
}

func withNetworkKey(t *testing.T, c *core.Config) *core.Config {
	t.Helper()
	if err := c.SetSecret("private_network.key", make([]byte, 32)); err != nil {
		t.Fatal(err)
	}
	return c
}
