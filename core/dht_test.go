package core_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	kb "github.com/libp2p/go-libp2p-kbucket"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	identifypb "github.com/libp2p/go-libp2p/p2p/protocol/identify/pb"
	"github.com/libp2p/go-msgio/pbio"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/libp2pgo/libp2pgo/core"
)

func table(t testing.TB, n *core.Node) *core.DHT {
	t.Helper()
	d, err := n.DHT()
	if err != nil {
		t.Fatalf("DHT: %v", err)
	}
	return d
}

// startDHT starts count servers that know each other through the first.
func startDHT(t testing.TB, count int, pairs ...string) []*core.Node {
	t.Helper()
	var nodes []*core.Node
	for i := range count {
		n := start(t, append([]string{"dht.mode", "server"}, pairs...)...)
		nodes = append(nodes, n)
		if i > 0 {
			if n != nodes[0] {
				connect(t, n, nodes[0])
			}
		}
	}
	for _, n := range nodes {
		if _, err := table(t, n).Bootstrap(timeout(t), min(count-1, 3)); err != nil {
			t.Fatalf("Bootstrap: %v", err)
		}
	}
	return nodes
}

func put(t testing.TB, n *core.Node, key, value string) int {
	t.Helper()
	taken, err := table(t, n).Put(timeout(t), key, []byte(value), core.DHTPutOptions{MinPeers: 1})
	if err != nil {
		t.Fatalf("Put %s: %v", key, err)
	}
	return taken
}

func get(t testing.TB, n *core.Node, key string) string {
	t.Helper()
	value, err := table(t, n).Get(timeout(t), key, core.DHTGetOptions{})
	if err != nil {
		t.Fatalf("Get %s: %v", key, err)
	}
	return string(value)
}

func set(t testing.TB, n *core.Node, name, value string) int {
	t.Helper()
	o, _ := core.ParseDHTSetOptions(nil)
	taken, err := table(t, n).Set(timeout(t), name, []byte(value), o)
	if err != nil {
		t.Fatalf("Set %s: %v", name, err)
	}
	return taken
}

// providers returns who provides key.
func providers(t testing.TB, n *core.Node, key string) map[peer.ID][]string {
	t.Helper()
	found := map[peer.ID][]string{}
	done := make(chan error, 1)
	o, _ := core.ParseDHTProvidersOptions(nil)
	s, err := table(t, n).FindProviders(key, o, core.Inbox[core.SearchResult]{
		Deliver: func(r core.SearchResult) { found[r.Provider] = r.Addresses },
		Closed:  func(err error) { done <- err },
	})
	if err != nil {
		t.Fatalf("FindProviders %s: %v", key, err)
	}
	defer s.Close()
	select {
	case err := <-done:
		if err != nil {
			t.Fatalf("FindProviders %s: %v", key, err)
		}
	case <-time.After(limit):
		t.Fatalf("FindProviders %s does not end", key)
	}
	return found
}

// What one node puts, sets and provides, every other one finds.
func TestDHTFindsFromEveryNode(t *testing.T) {
	nodes := startDHT(t, 6, "dht.validators", "app=accept")
	for i, n := range nodes {
		if taken := put(t, n, fmt.Sprintf("/app/%d", i), "value"); taken < 3 {
			t.Fatalf("%d peers took it", taken)
		}
		set(t, n, "name", fmt.Sprint("of ", i))
		if heard, err := table(t, n).Provide(timeout(t), fmt.Sprintf("/data/%d", i)); err != nil || heard < 3 {
			t.Fatalf("%d peers heard it, %v", heard, err)
		}
	}
	for _, n := range nodes {
		for i, other := range nodes {
			if got := get(t, n, fmt.Sprintf("/app/%d", i)); got != "value" {
				t.Fatalf("got %q", got)
			}
			if got, want := get(t, n, other.ID().String()+"/name"), fmt.Sprint("of ", i); got != want {
				t.Fatalf("got %q, not %q", got, want)
			}
			found := providers(t, n, fmt.Sprintf("/data/%d", i))
			if addresses, ok := found[other.ID()]; !ok || len(addresses) == 0 || len(found) != 1 {
				t.Fatalf("providers are %v", found)
			}
			if addresses, err := table(t, n).FindPeer(timeout(t), other.ID()); err != nil || len(addresses) == 0 {
				t.Fatalf("FindPeer: %v, %v", addresses, err)
			}
		}
	}
	if got := get(t, nodes[2], "name"); got != "of 2" {
		t.Fatalf("an own name is %q", got)
	}
}

// A provider is told of with its addresses, also when the node knows it without any before a peer names them.
func TestDHTProvidersComeWithAddresses(t *testing.T) {
	nodes := startDHT(t, 3)
	hub, asking, provider := nodes[0], nodes[1], nodes[2]
	connect(t, provider, asking)
	until(t, "both take note", func() bool {
		heard, err := table(t, provider).Provide(timeout(t), "/data/of")
		return err == nil && heard == 2
	})
	id, addresses := provider.ID(), provider.Host().Addrs()
	provider.Close()
	until(t, "the provider is gone", func() bool {
		return asking.Host().Network().Connectedness(id) != network.Connected && hub.Host().Network().Connectedness(id) != network.Connected
	})
	hub.Host().Peerstore().AddAddrs(id, addresses, peerstore.PermanentAddrTTL) // the last that a node says of itself may be that it listens nowhere any more
	for range 20 {
		asking.Host().Peerstore().ClearAddrs(id)
		if found := providers(t, asking, "/data/of"); len(found) != 1 || len(found[id]) == 0 {
			t.Fatalf("providers are %v", found)
		}
	}
	for _, n := range nodes[:2] { // and without, when nobody has them
		n.Host().Peerstore().ClearAddrs(id)
	}
	if found := providers(t, asking, "/data/of"); len(found) != 1 || len(found[id]) != 0 {
		t.Fatalf("providers are %v", found)
	}
}

// A later value of a signed record takes the place of the earlier one everywhere; nobody else can set it; Unset takes it back.
func TestDHTSetBelongsToItsOwner(t *testing.T) {
	nodes := startDHT(t, 4)
	a, b := nodes[1], nodes[2]
	name := a.ID().String() + "/color"
	for _, value := range []string{"red", "green", ""} {
		set(t, a, "color", value)
		for _, n := range nodes {
			if got := get(t, n, name); got != value {
				t.Fatalf("got %q, not %q", got, value)
			}
		}
	}
	_, err := table(t, b).Set(timeout(t), name, []byte("mine"), core.DHTSetOptions{ExpiryMs: 60_000})
	mustMatch(t, err, core.ErrInvalid, "belongs to another")
	_, err = table(t, b).Put(timeout(t), "/record/"+name, []byte("mine"), core.DHTPutOptions{})
	mustMatch(t, err, core.ErrParse, "signed record")

	// Another may pass the record on as it is.
	raw, err := table(t, b).Get(timeout(t), name, core.DHTGetOptions{Raw: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = table(t, b).Put(timeout(t), "/record/"+name, raw, core.DHTPutOptions{MinPeers: 1}); err != nil {
		t.Fatalf("pass on: %v", err)
	}
	set(t, a, "color", "blue")
	_, err = table(t, a).Put(timeout(t), "/record/"+name, raw, core.DHTPutOptions{})
	mustMatch(t, err, core.ErrRejected, "newer")

	if err := table(t, a).Unset(timeout(t), "color"); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		_, err := table(t, n).Get(timeout(t), name, core.DHTGetOptions{})
		mustMatch(t, err, core.ErrNotFound, "withdrawn")
	}
	mustMatch(t, table(t, a).Unset(timeout(t), "color"), core.ErrNotFound, "not set")
	mustMatch(t, table(t, b).Unset(timeout(t), "color"), core.ErrNotFound, "not set")
}

// Content-addressed values are checked against their key.
func TestDHTHashNamespace(t *testing.T) {
	nodes := startDHT(t, 3, "dht.validators", "sha=hash")
	sum := sha256.Sum256([]byte("content"))
	key := "/sha/" + hex.EncodeToString(sum[:])
	put(t, nodes[0], key, "content")
	if got := get(t, nodes[2], key); got != "content" {
		t.Fatalf("got %q", got)
	}
	_, err := table(t, nodes[1]).Put(timeout(t), key, []byte("other"), core.DHTPutOptions{})
	mustMatch(t, err, core.ErrRejected, "another hash")
	_, err = table(t, nodes[1]).Put(timeout(t), "/sha/nonsense", []byte("other"), core.DHTPutOptions{})
	mustMatch(t, err, core.ErrParse, "nonsense")
}

// What cannot be is an error that names it.
func TestDHTRefuses(t *testing.T) {
	n := start(t, "dht.mode", "client", "dht.validators", "app=accept", "dht.max_value_size", "10")
	d := table(t, n)
	ctx := timeout(t)
	_, err := d.Put(ctx, "/none/x", nil, core.DHTPutOptions{})
	mustMatch(t, err, core.ErrInvalid, "/none/x", "app, ipns, pk, record")
	_, err = d.Put(ctx, "plain", nil, core.DHTPutOptions{})
	mustMatch(t, err, core.ErrInvalid, "plain")
	_, err = d.Put(ctx, "/app/\x00", nil, core.DHTPutOptions{})
	mustMatch(t, err, core.ErrInvalid, "control")
	_, err = d.Put(ctx, "/app/"+strings.Repeat("x", 1025), nil, core.DHTPutOptions{})
	mustMatch(t, err, core.ErrInvalid, "1024")
	_, err = d.Put(ctx, "/app/x", make([]byte, 11), core.DHTPutOptions{})
	mustMatch(t, err, core.ErrTooBig, "/app/x")
	_, err = d.Put(ctx, "/app/x", []byte("lonely"), core.DHTPutOptions{MinPeers: 1})
	mustMatch(t, err, core.ErrPeers, "0 of 1", "no peer")
	if got := get(t, n, "/app/x"); got != "lonely" {
		t.Fatalf("alone, a node gets %q", got)
	}
	_, err = d.Get(ctx, "/app/y", core.DHTGetOptions{})
	mustMatch(t, err, core.ErrNotFound, "/app/y", "no peer to ask")
	_, err = d.Provide(ctx, "gibberish")
	mustMatch(t, err, core.ErrParse, "gibberish")
	_, err = d.Provide(ctx, "/name")
	mustMatch(t, err, core.ErrPeers, "no peer")
	_, err = d.Refresh(ctx)
	mustMatch(t, err, core.ErrPeers, "no peer", "/libp2pgo/kad/1.0.0")
	_, err = d.ClosestPeers(ctx, "/app/x")
	mustMatch(t, err, core.ErrPeers, "no peer")
	_, err = d.FindPeer(ctx, start(t).ID())
	mustMatch(t, err, core.ErrNotFound, "no peer to ask")
	short, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err = d.Bootstrap(short, 1)
	mustMatch(t, err, core.ErrPeers, "0 of 1")
	mustMatch(t, d.SetMode("off"), core.ErrInvalid, "off")
	_, err = start(t).DHT()
	mustMatch(t, err, core.ErrState, "dht.mode")

	public := table(t, start(t, "dht.mode", "client", "dht.prefix", "/ipfs"))
	_, err = public.Set(ctx, "x", nil, core.DHTSetOptions{ExpiryMs: 1000})
	mustMatch(t, err, core.ErrState, "/ipfs")
	_, err = public.Get(ctx, "x", core.DHTGetOptions{})
	mustMatch(t, err, core.ErrState, "/ipfs")
}

// Options in conflict are refused with their path.
func TestDHTOptionConflicts(t *testing.T) {
	for _, c := range []struct {
		doc, path string
	}{
		{`{"dht":{"mode":"server","prefix":"","validators":["a=accept"]}}`, "dht.validators"},
		{`{"dht":{"mode":"server","prefix":"/ipfs","bucket_size":5}}`, "dht.bucket_size"},
		{`{"dht":{"bucket_size":2}}`, "dht.resiliency"},
		{`{"dht":{"prefix":"ipfs"}}`, "dht.prefix"},
		{`{"dht":{"validators":["pk=accept"]}}`, "dht.validators[0]"},
		{`{"dht":{"validators":["a=accept","a=hash"]}}`, "dht.validators[1]"},
		{`{"dht":{"validators":["a=trust"]}}`, "dht.validators[0]"},
		{`{"dht":{"validators":["a/b=accept"]}}`, "dht.validators[0]"},
	} {
		cfg, err := core.ParseConfig([]byte(c.doc))
		if err == nil {
			_, err = core.New(timeout(t), cfg, core.Inbox[core.Event]{})
		}
		mustMatch(t, err, core.ErrConfig, c.path)
	}
}

// A node that knows only a peer's id connects to it through the DHT.
func TestDHTResolvesBarePeerID(t *testing.T) {
	nodes := startDHT(t, 4)
	newcomer := start(t, "dht.mode", "client")
	connect(t, newcomer, nodes[0])
	target := start(t, "dht.mode", "client") // not even a server
	connect(t, target, nodes[0])
	if _, err := table(t, newcomer).Bootstrap(timeout(t), 1); err != nil {
		t.Fatal(err)
	}
	until(t, "the first node knows the target's addresses", func() bool {
		addresses, err := table(t, nodes[0]).FindPeer(timeout(t), target.ID())
		return err == nil && len(addresses) > 0
	})
	if _, err := newcomer.Connect(timeout(t), []string{target.ID().String()}); err != nil {
		t.Fatalf("Connect: %v", err)
	}
	stranger := start(t)
	_, err := newcomer.Connect(timeout(t), []string{stranger.ID().String()})
	mustMatch(t, err, core.ErrNoAddress, "the DHT does not know")
}

// Upstream's lookup ends when the three closest peers have answered. Here the fourth, who answers late, is the only one that knows the peer.
func TestDHTFindsPeerThatOnlyTheFarthestKnows(t *testing.T) {
	nodes := startDHT(t, 4)
	newcomer := start(t, "dht.mode", "client")
	port, late := latePort(t, nodes[0])
	if _, err := newcomer.Connect(timeout(t), []string{address(port, nodes[0].ID())}); err != nil {
		t.Fatal(err)
	}
	if _, err := table(t, newcomer).Bootstrap(timeout(t), len(nodes)); err != nil {
		t.Fatal(err)
	}
	c := config(t, "dht.mode", "client")
	c.SetSecret("identity.key", farthestKey(t, nodes[0], nodes[1:]))
	target := startWith(t, c, core.Inbox[core.Event]{})
	connect(t, target, nodes[0])
	until(t, "the first node knows the target's addresses", func() bool {
		return len(nodes[0].Host().Peerstore().Addrs(target.ID())) > 0
	})
	late.Store(int64(500 * time.Millisecond))
	addresses, err := table(t, newcomer).FindPeer(timeout(t), target.ID())
	if err != nil || len(addresses) == 0 {
		t.Fatalf("FindPeer: %v, %v", addresses, err)
	}
}

// A peer that has connected a moment ago, before the look or while others are asked, has not said yet where it listens.
func TestDHTFindsPeerThatIsJustConnected(t *testing.T) {
	var n *core.Node
	slow := func() (_ host.Host, connect func()) {
		h := foreignHost(t, libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
		h.SetStreamHandler(identify.ID, func(s network.Stream) {
			time.Sleep(300 * time.Millisecond) // a network
			pbio.NewDelimitedWriter(s).WriteMsg(&identifypb.Identify{ListenAddrs: [][]byte{h.Addrs()[0].Bytes()}})
			s.Close()
		})
		return h, func() {
			if err := h.Connect(timeout(t), peer.AddrInfo{ID: n.ID(), Addrs: n.Host().Addrs()}); err != nil {
				t.Error(err)
			}
			until(t, "the connection is there", func() bool { return n.Host().Network().Connectedness(h.ID()) == network.Connected })
		}
	}
	during, connectDuring := slow()
	var once sync.Once
	server := foreignServer(t, func(request *pb.Message) *pb.Message {
		if string(request.Key) == string(during.ID()) {
			once.Do(connectDuring)
		}
		return &pb.Message{}
	})
	n = clientOf(t, []host.Host{server})
	before, connectBefore := slow()
	connectBefore()
	for _, h := range []host.Host{before, during} {
		addresses, err := table(t, n).FindPeer(timeout(t), h.ID())
		if err != nil || !slices.ContainsFunc(addresses, h.Addrs()[0].Equal) {
			t.Fatalf("FindPeer: %v, %v", addresses, err)
		}
	}
}

// What others name of a peer is told also when this node could not connect to it just now: here it holds back, after an earlier failure.
func TestDHTFindsPeerThatIsNotDialled(t *testing.T) {
	nodes := startDHT(t, 2)
	hub, n := nodes[0], nodes[1]
	target := start(t, "dht.mode", "server")
	for _, a := range target.Host().Addrs() {
		n.Host().Network().(*swarm.Swarm).Backoff().AddBackoff(target.ID(), a)
	}
	connect(t, target, hub)
	until(t, "the hub knows the target's addresses", func() bool {
		addresses, err := table(t, hub).FindPeer(timeout(t), target.ID())
		return err == nil && len(addresses) > 0
	})
	addresses, err := table(t, n).FindPeer(timeout(t), target.ID())
	if err != nil || !slices.ContainsFunc(addresses, target.Host().Addrs()[0].Equal) {
		t.Fatalf("FindPeer: %v, %v", addresses, err)
	}
}

// farthestKey returns a key whose peer is farther from far than from each of the others in the DHT.
func farthestKey(t testing.TB, far *core.Node, others []*core.Node) []byte {
	t.Helper()
	for {
		key, _, err := crypto.GenerateEd25519Key(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		id, err := peer.IDFromPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(others, func(n *core.Node) bool { return kb.Closer(far.ID(), n.ID(), string(id)) }) {
			raw, err := crypto.MarshalPrivateKey(key)
			if err != nil {
				t.Fatal(err)
			}
			return raw
		}
	}
}

// The mode changes while the node runs: peers drop a server that becomes a client, and take it up again.
func TestDHTModeChanges(t *testing.T) {
	nodes := startDHT(t, 2)
	events := newEvents()
	n := startWith(t, config(t, "dht.mode", "client"), events.inbox())
	if n != nodes[0] {
		connect(t, n, nodes[0])
	}
	// Upstream may add a peer by a check that it began before the peer's mode changed; what it asks of a table's peers next mends that.
	knows := func(want bool) func() bool {
		return func() bool {
			if _, err := table(t, nodes[0]).Refresh(timeout(t)); err != nil {
				t.Fatal(err)
			}
			for _, p := range table(t, nodes[0]).Info().(core.DHTInfo).RoutingTables[0].Peers {
				if p.ID == n.ID().String() {
					return want
				}
			}
			return !want
		}
	}
	until(t, "a client is in no table", knows(false))
	for range 2 {
		if err := table(t, n).SetMode("server"); err != nil {
			t.Fatal(err)
		}
		if e := events.wait(t, core.DHTModeChanged, nil); e.Source != "server" || len(e.Addresses) != 1 {
			t.Fatalf("event %+v", e)
		}
		until(t, "the server is in its peer's table", knows(true))
		if err := table(t, n).SetMode("auto"); err != nil { // a client, for nobody knows it to be reachable
			t.Fatal(err)
		}
		if e := events.wait(t, core.DHTModeChanged, nil); e.Source != "client" {
			t.Fatalf("event %+v", e)
		}
		until(t, "the client is dropped", knows(false))
	}
}

// The program is asked about values of others, and its verdict holds; without one the default does.
func TestDHTAsksForVerdicts(t *testing.T) {
	verdict := func(e core.Event) core.Decision {
		if bytes.HasPrefix(e.Data, []byte("good")) {
			return core.Accept
		}
		return core.Reject
	}
	inbox := core.Inbox[core.Event]{Deliver: func(e core.Event) {
		if e.Type == core.DHTValidate && !bytes.HasPrefix(e.Data, []byte("silent")) {
			e.Verdict.Answer(verdict(e))
		}
	}}
	var nodes []*core.Node
	for range 3 {
		n := startWith(t, config(t, "dht.mode", "server", "dht.validators", "ask=ask", "dht.validate_timeout_ms", "200"), inbox)
		nodes = append(nodes, n)
		if n != nodes[0] {
			connect(t, n, nodes[0])
		}
	}
	for _, n := range nodes {
		if _, err := table(t, n).Bootstrap(timeout(t), 2); err != nil {
			t.Fatal(err)
		}
	}
	if taken := put(t, nodes[0], "/ask/x", "good"); taken != 2 {
		t.Fatalf("%d took it", taken)
	}
	if got := get(t, nodes[1], "/ask/x"); got != "good" {
		t.Fatalf("got %q", got)
	}
	for _, value := range []string{"bad", "silent"} {
		_, err := table(t, nodes[0]).Put(timeout(t), "/ask/"+value, []byte(value), core.DHTPutOptions{MinPeers: 1})
		mustMatch(t, err, core.ErrPeers, "0 of 1")
	}
	if late := table(t, nodes[1]).Info().(core.DHTInfo).VerdictsLate; late == 0 {
		t.Fatal("no verdict was late")
	}
}

// A table of the local network, and one of each kind, work on loopback; one of the public network takes nobody in there.
func TestDHTNetworks(t *testing.T) {
	for network, wants := range map[string]int{"lan": 1, "dual": 1, "wan": 0} {
		a, b := start(t, "dht.mode", "server", "dht.network", network), start(t, "dht.mode", "server", "dht.network", network)
		connect(t, a, b)
		info := table(t, a).Info().(core.DHTInfo)
		if wants == 0 {
			until(t, "the peer's protocols are known", func() bool { return len(a.PeerInfo(b.ID()).(core.PeerInfo).Protocols) > 0 })
			if _, err := table(t, a).Refresh(timeout(t)); !strings.Contains(fmt.Sprint(err), "no peer") {
				t.Fatalf("%s: %v", network, err)
			}
			continue
		}
		if _, err := table(t, a).Bootstrap(timeout(t), 1); err != nil {
			t.Fatalf("%s: %v", network, err)
		}
		if _, err := table(t, b).Bootstrap(timeout(t), 1); err != nil {
			t.Fatalf("%s: %v", network, err)
		}
		set(t, a, "x", network)
		if got := get(t, b, a.ID().String()+"/x"); got != network {
			t.Fatalf("%s: got %q", network, got)
		}
		if _, err := table(t, b).Provide(timeout(t), "/x"); err != nil {
			t.Fatalf("%s: %v", network, err)
		}
		if found := providers(t, a, "/x"); len(found) != 1 {
			t.Fatalf("%s: providers are %v", network, found)
		}
		if last := info.RoutingTables[len(info.RoutingTables)-1]; last.Network != "lan" || last.Protocol != "/libp2pgo/lan/kad/1.0.0" {
			t.Fatalf("%s: table %+v", network, last)
		}
	}
}

// The public DHT's protocol is spoken under its own name, and keeps its rules.
func TestDHTPublicPrefix(t *testing.T) {
	a, b := start(t, "dht.mode", "server", "dht.prefix", ""), start(t, "dht.mode", "server", "dht.prefix", "/ipfs")
	connect(t, a, b)
	for _, n := range []*core.Node{a, b} {
		if _, err := table(t, n).Bootstrap(timeout(t), 1); err != nil {
			t.Fatal(err)
		}
	}
	info := table(t, a).Info().(core.DHTInfo)
	if info.RoutingTables[0].Protocol != "/ipfs/kad/1.0.0" || strings.Join(info.Namespaces, " ") != "ipns pk" {
		t.Fatalf("info is %+v", info)
	}
	_, err := table(t, a).Put(timeout(t), "/pk/x", []byte("not a key"), core.DHTPutOptions{})
	mustMatch(t, err, core.ErrRejected, "/pk/x")
	if _, err := table(t, a).Provide(timeout(t), "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG"); err != nil {
		t.Fatal(err)
	}
	if found := providers(t, b, "bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"); len(found) != 0 {
		t.Fatalf("providers are %v", found)
	}
}

// A peer cannot have a server store more than dht.max_bytes, nor keep it from what its own program puts.
func TestDHTStoresNoMoreThanItMay(t *testing.T) {
	victim := start(t, "dht.mode", "server", "dht.validators", "app=accept", "dht.max_bytes", "1048576")
	evil := start(t, "dht.mode", "server", "dht.validators", "app=accept")
	connect(t, evil, victim)
	if _, err := table(t, evil).Bootstrap(timeout(t), 1); err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("x", 60<<10)
	putLarge := func(i int) error {
		_, err := table(t, evil).Put(timeout(t), fmt.Sprintf("/app/%d", i), []byte(large), core.DHTPutOptions{MinPeers: 1})
		return err
	}
	taken := 0
	for ; taken < 20 && putLarge(taken) == nil; taken++ {
	}
	if taken != 17 { // with what each takes beside its value
		t.Fatalf("%d are stored", taken)
	}
	mustMatch(t, putLarge(taken), core.ErrPeers)
	info := table(t, victim).Info().(core.DHTInfo)
	if info.StoredBytes > 1<<20 || info.StoredBytes < int64(taken*60<<10) || info.RefusedFull < 2 || info.RoutingTables[0].Records != taken {
		t.Fatalf("info is %+v", info)
	}
	if _, err := table(t, victim).Put(timeout(t), "/app/own", []byte(large), core.DHTPutOptions{}); err != nil {
		t.Fatalf("the program's own: %v", err)
	}
	if n := table(t, victim).Info().(core.DHTInfo).RoutingTables[0].Records; n != taken+1 {
		t.Fatalf("%d records", n)
	}
	for i := range 3 {
		put(t, evil, fmt.Sprintf("/app/%d", i), "small") // in place of a large one
	}
	if err := putLarge(taken); err != nil {
		t.Fatalf("there is room again: %v", err)
	}
}

// An automatic node answers while it is known to be reachable.
func TestDHTAutoFollowsReachability(t *testing.T) {
	events := newEvents()
	n := startWith(t, config(t, "dht.mode", "auto", "dht.network", "dual"), events.inbox())
	if info := table(t, n).Info().(core.DHTInfo); info.RoutingTables[0].Serving || !info.RoutingTables[1].Serving {
		t.Fatalf("at the start: %+v", info)
	}
	emitter, err := n.Host().EventBus().Emitter(new(event.EvtLocalReachabilityChanged))
	if err != nil {
		t.Fatal(err)
	}
	defer emitter.Close()
	for _, is := range []struct {
		reachable network.Reachability
		protocols int
	}{{network.ReachabilityPublic, 2}, {network.ReachabilityPrivate, 1}, {network.ReachabilityPublic, 2}, {network.ReachabilityUnknown, 1}} {
		if err := emitter.Emit(event.EvtLocalReachabilityChanged{Reachability: is.reachable}); err != nil {
			t.Fatal(err)
		}
		if e := events.wait(t, core.DHTModeChanged, nil); len(e.Addresses) != is.protocols {
			t.Fatalf("%v: answers %v", is.reachable, e.Addresses)
		}
	}
}

// It follows what the node calls its reachability, in which version 2 of AutoNAT goes before version 1.
func TestDHTAutoFollowsAutoNAT2(t *testing.T) {
	events := newEvents()
	n := startWith(t, config(t, "dht.mode", "auto"), events.inbox())
	address := []ma.Multiaddr{ma.StringCast("/ip4/1.2.3.4/tcp/4001")}
	expect := func(mode string) {
		t.Helper()
		if e := events.wait(t, core.DHTModeChanged, nil); e.Source != mode {
			t.Fatalf("event %+v", e)
		}
	}
	tell(t, n, event.EvtHostReachableAddrsChanged{Reachable: address})
	expect("server")
	tell(t, n, event.EvtHostReachableAddrsChanged{})
	expect("client")
	tell(t, n, event.EvtLocalReachabilityChanged{Reachability: network.ReachabilityPublic})
	expect("server")
	tell(t, n, event.EvtHostReachableAddrsChanged{Unreachable: address})
	expect("client")
}
