package core_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	kb "github.com/libp2p/go-libp2p-kbucket"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"google.golang.org/protobuf/proto"

	"github.com/libp2pgo/libp2pgo/core"
)

// foreignServer starts a DHT server that is none of ours. answer makes its answers; nil: there is none, and the stream is reset.
func foreignServer(t testing.TB, answer func(request *pb.Message) *pb.Message, options ...libp2p.Option) host.Host {
	t.Helper()
	h := foreignHost(t, append(options, libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))...)
	h.SetStreamHandler("/libp2pgo/kad/1.0.0", func(s network.Stream) {
		defer s.Reset()
		r := bufio.NewReader(s)
		for {
			size, err := binary.ReadUvarint(r)
			if err != nil {
				return
			}
			data, request := make([]byte, size), &pb.Message{}
			if _, err = io.ReadFull(r, data); err != nil || proto.Unmarshal(data, request) != nil {
				return
			}
			said := answer(request)
			if said == nil {
				return
			}
			said.Type, said.Key = request.Type, request.Key
			if data, err = proto.Marshal(said); err == nil {
				_, err = s.Write(append(binary.AppendUvarint(nil, uint64(len(data))), data...))
			}
			if err != nil {
				return
			}
		}
	})
	return h
}

// clientOf starts a client of the DHT in whose table the servers are.
func clientOf(t testing.TB, servers []host.Host, pairs ...string) *core.Node {
	t.Helper()
	n := start(t, append([]string{"dht.mode", "client"}, pairs...)...)
	for _, h := range servers {
		connectHost(t, n, h)
	}
	if _, err := table(t, n).Bootstrap(timeout(t), len(servers)); err != nil {
		t.Fatal(err)
	}
	return n
}

func connectHost(t testing.TB, n *core.Node, h host.Host) {
	t.Helper()
	if _, err := n.Connect(timeout(t), []string{h.Addrs()[0].String() + "/p2p/" + h.ID().String()}); err != nil {
		t.Fatal(err)
	}
}

// Whatever a server calls a peer id, searches and lookups end, and tell of peers only.
func TestDHTLeavesOutIDsThatAreNone(t *testing.T) {
	long := binary.AppendUvarint([]byte{0}, 2<<20) // the identity hash
	long = append(long, bytes.Repeat([]byte{1}, 2<<20)...)
	provider := randomPeer(t)
	var none []*pb.Message_Peer
	for _, id := range [][]byte{long, nil, []byte("no hash"), {0, 0}} {
		none = append(none, &pb.Message_Peer{Id: id})
	}
	server := foreignServer(t, func(request *pb.Message) *pb.Message {
		if request.Type == pb.Message_GET_PROVIDERS {
			return &pb.Message{ProviderPeers: append([]*pb.Message_Peer{{Id: []byte(provider)}}, none...)}
		}
		return &pb.Message{CloserPeers: none}
	})
	n := clientOf(t, []host.Host{server})
	found := providers(t, n, "/data")
	if _, ok := found[provider]; !ok || len(found) != 1 {
		t.Fatalf("%d providers", len(found))
	}
	peers, err := table(t, n).ClosestPeers(timeout(t), "/app/x")
	if err != nil || len(peers) != 1 || peers[0] != server.ID() {
		t.Fatalf("%d closest peers, %v", len(peers), err)
	}
	_, err = table(t, n).FindPeer(timeout(t), randomPeer(t))
	mustMatch(t, err, core.ErrNotFound)
}

// The first answer names an address where the peer is no more. That the lookup tried it in vain is no reason to forget the address that comes later.
func TestDHTFindsPeerAtItsNewAddress(t *testing.T) {
	target := randomPeer(t)
	gone, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tried := make(chan struct{})
	go func() {
		defer close(tried)
		if c, err := gone.Accept(); err == nil {
			c.Close()
		}
		gone.Close()
	}()
	t.Cleanup(func() { gone.Close() })
	old := ma.StringCast(fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", gone.Addr().(*net.TCPAddr).Port))
	now := ma.StringCast(fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", closedPort(t)))
	names := func(a ma.Multiaddr) *pb.Message {
		return &pb.Message{CloserPeers: pb.RawPeerInfosToPBPeers([]peer.AddrInfo{{ID: target, Addrs: []ma.Multiaddr{a}}})}
	}
	first := foreignServer(t, func(request *pb.Message) *pb.Message {
		if string(request.Key) == string(target) {
			return names(old)
		}
		return &pb.Message{}
	})
	second := foreignServer(t, func(request *pb.Message) *pb.Message {
		if string(request.Key) == string(target) {
			<-tried
			return names(now)
		}
		return &pb.Message{}
	})
	n := clientOf(t, []host.Host{first, second})
	addresses, err := table(t, n).FindPeer(timeout(t), target)
	if err != nil || len(addresses) == 0 || !addresses[0].Equal(now) {
		t.Fatalf("FindPeer: %v, %v", addresses, err)
	}
}

// Who connects by the id of a peer that is not at the address which the DHT names hears why it was not reached there.
func TestDHTConnectTellsWhyThereIsNobody(t *testing.T) {
	target, port := randomPeer(t), closedPort(t)
	server := foreignServer(t, func(request *pb.Message) *pb.Message {
		if string(request.Key) != string(target) {
			return &pb.Message{}
		}
		return &pb.Message{CloserPeers: pb.RawPeerInfosToPBPeers([]peer.AddrInfo{{ID: target, Addrs: []ma.Multiaddr{ma.StringCast(fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port))}}})}
	})
	n := clientOf(t, []host.Host{server})
	_, err := n.Connect(timeout(t), []string{target.String()})
	mustMatch(t, err, core.ErrDial, fmt.Sprint(port), "refused")
}

// One answer may name addresses of a peer by the hundred thousand.
func TestDHTTakesFewAddressesOfAPeer(t *testing.T) {
	target := randomPeer(t)
	var many []*pb.Message_Peer
	for i := range 100 {
		p := &pb.Message_Peer{Id: []byte(target)}
		for j := range 1000 {
			p.Addrs = append(p.Addrs, []byte{4, 127, byte(i), byte(j >> 8), byte(j)})
		}
		many = append(many, p)
	}
	quiet := foreignServer(t, func(*pb.Message) *pb.Message { return &pb.Message{} })
	loud := foreignServer(t, func(request *pb.Message) *pb.Message {
		if string(request.Key) == string(target) {
			time.Sleep(500 * time.Millisecond) // a network: by then the lookup is over, and the peer is not dialled
			return &pb.Message{CloserPeers: many}
		}
		return &pb.Message{}
	})
	for !kb.Closer(quiet.ID(), loud.ID(), string(target)) {
		target = randomPeer(t)
	}
	for _, p := range many {
		p.Id = []byte(target)
	}
	n := clientOf(t, []host.Host{quiet, loud}, "dht.resiliency", "1")
	addresses, err := table(t, n).FindPeer(timeout(t), target)
	if len(addresses) > 64 || err != nil && core.Kind(err) != core.ErrNotFound { // on a slow machine it was dialled
		t.Fatalf("FindPeer: %d, %v", len(addresses), err)
	}
}

// A call that ends while the DHT is asked says why it ended: whether the DHT knows the peer was not found out.
func TestDHTConnectEndsWhileAsking(t *testing.T) {
	asked, over := make(chan struct{}, 64), make(chan struct{})
	target := randomPeer(t)
	silent := foreignServer(t, func(request *pb.Message) *pb.Message {
		if string(request.Key) == string(target) {
			asked <- struct{}{}
			<-over
		}
		return &pb.Message{}
	})
	defer close(over)
	for _, kind := range []error{core.ErrTimeout, core.ErrCancelled, core.ErrClosed} {
		n := clientOf(t, []host.Host{silent})
		for _, known := range []string{"no address is known", "did not answer"} {
			ctx, cancel := context.WithCancelCause(context.Background())
			failed := make(chan error, 1)
			go func() {
				_, err := n.Connect(ctx, []string{target.String()})
				failed <- err
			}()
			<-asked
			switch kind {
			case core.ErrTimeout:
				cancel(context.DeadlineExceeded)
			case core.ErrCancelled:
				cancel(context.Canceled)
			default:
				n.Close()
			}
			mustMatch(t, <-failed, kind, known, "DHT")
			cancel(nil)
			if kind == core.ErrClosed {
				break
			}
			n.Host().Peerstore().AddAddr(target, ma.StringCast(fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", closedPort(t))), time.Hour)
		}
	}
}

// Addresses go to the program one per line. What cannot stand in a line is left out, and the rest comes.
func TestForeignAddressesAreLines(t *testing.T) {
	good := "/dns/example.com/tcp/1"
	list := []ma.Multiaddr{ma.StringCast(good)}
	for _, name := range []string{"a\nb", "a\x00b", "a\xffb", "a\rb"} {
		raw := append([]byte{ma.P_DNS, byte(len(name))}, name...)
		a, err := ma.NewMultiaddrBytes(append(raw, ma.StringCast("/tcp/1").Bytes()...))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, a)
	}
	provider := randomPeer(t)
	server := foreignServer(t, func(*pb.Message) *pb.Message {
		return &pb.Message{ProviderPeers: pb.RawPeerInfosToPBPeers([]peer.AddrInfo{{ID: provider, Addrs: list}})}
	}, libp2p.AddrsFactory(func(own []ma.Multiaddr) []ma.Multiaddr { return slices.Concat(own, list) }))
	n := clientOf(t, []host.Host{server})
	until(t, "the server's own addresses are known", func() bool { return len(n.Host().Peerstore().Addrs(server.ID())) == len(list)+1 })

	check := func(what string, got []string) {
		t.Helper()
		if !slices.Contains(got, good) || slices.ContainsFunc(got, func(text string) bool { _, err := core.ParseAddress(text); return err != nil }) {
			t.Fatalf("%s: %q", what, got)
		}
	}
	addresses, err := table(t, n).FindPeer(timeout(t), server.ID())
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, a := range addresses {
		found = append(found, a.String())
	}
	check("FindPeer", found)
	check("PeerInfo", n.PeerInfo(server.ID()).(core.PeerInfo).Addresses)
	found = providers(t, n, "/data")[provider]
	for i := range found {
		found[i] = strings.TrimSuffix(found[i], "/p2p/"+provider.String())
	}
	check("FindProviders", found)
	met := newTidings()
	if _, err := findTopic(t, n, "topic", `{"sources":["dht"]}`, met); err != nil {
		t.Fatal(err)
	}
	check("Find", met.wait(t, core.DiscoveryFound, provider).Addresses)
	met = newTidings()
	meetAt(t, n, "topic", `{"sources":["dht"]}`, met)
	check("Meet", met.wait(t, core.DiscoveryFound, provider).Addresses)
}
