package core_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/libp2pgo/libp2pgo/core"
)

func randomPeer(t testing.TB) peer.ID {
	t.Helper()
	id, err := core.PeerIDOfKey(mustKey(t, "ed25519"))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// closedPort returns a TCP port of loopback where nobody listens.
func closedPort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// silentPort returns a TCP port that accepts and then says nothing.
func silentPort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
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
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

func address(port int, id peer.ID) string {
	return fmt.Sprintf("/ip4/127.0.0.1/tcp/%d/p2p/%s", port, id)
}

func TestConnectChecksItsAddresses(t *testing.T) {
	n := start(t)
	a, b := randomPeer(t), randomPeer(t)
	for _, c := range []struct {
		addresses []string
		kind      error
		words     []string
	}{
		{nil, core.ErrInvalid, []string{"no address"}},
		{[]string{"", " "}, core.ErrInvalid, []string{"no address"}},
		{[]string{"/ip4/127.0.0.1/tcp/1"}, core.ErrParse, []string{`"/ip4/127.0.0.1/tcp/1"`, "/p2p/"}},
		{[]string{"/ip4/300.0.0.1/tcp/1/p2p/" + a.String()}, core.ErrParse, []string{"300.0.0.1"}},
		{[]string{"nonsense"}, core.ErrParse, []string{`"nonsense"`}},
		{[]string{"/p2p/x"}, core.ErrParse, []string{`"/p2p/x"`}},
		{[]string{address(1, a), address(1, b)}, core.ErrInvalid, []string{a.String(), b.String()}},
		{[]string{a.String()}, core.ErrNoAddress, []string{a.String()}},
		{n.Addresses(), core.ErrInvalid, []string{n.ID().String(), "itself"}},
	} {
		_, err := n.Connect(timeout(t), c.addresses)
		mustMatch(t, err, c.kind, c.words...)
		if c.kind != core.ErrNoAddress {
			mustMatch(t, n.Keep(c.addresses), c.kind, c.words...)
		}
	}
}

func TestConnectToNobodyListsEveryAddress(t *testing.T) {
	n, id := start(t), randomPeer(t)
	first, second := address(closedPort(t), id), address(closedPort(t), id)
	_, err := n.Connect(timeout(t), []string{first, second})
	mustMatch(t, err, core.ErrDial, id.String(), "connection refused", strings.Split(first, "/p2p")[0], strings.Split(second, "/p2p")[0])
	var dial *core.DialError
	if !errors.As(err, &dial) || len(dial.Attempts) != 2 || dial.Peer != id {
		t.Fatalf("%#v", dial)
	}
	t.Run("the next attempt is not held back", func(t *testing.T) {
		_, err := n.Connect(timeout(t), []string{first})
		mustMatch(t, err, core.ErrDial, "connection refused")
	})
	t.Run("no transport", func(t *testing.T) {
		n, id := start(t, "transports.quic", "false"), randomPeer(t)
		_, err := n.Connect(timeout(t), []string{"/ip4/127.0.0.1/udp/1/quic-v1/p2p/" + id.String()})
		mustMatch(t, err, core.ErrDial, "/ip4/127.0.0.1/udp/1/quic-v1", "no transport")
	})
}

func TestConnectToAnotherPeerIsASecurityError(t *testing.T) {
	for transport, listen := range map[string]string{"tcp": "/ip4/127.0.0.1/tcp/0", "quic": "/ip4/127.0.0.1/udp/0/quic-v1", "websocket": "/ip4/127.0.0.1/tcp/0/ws"} {
		for _, security := range []string{"tls", "noise"} {
			t.Run(transport+" "+security, func(t *testing.T) {
				server, client, expected := start(t, "listen", listen), start(t, "security", security), randomPeer(t)
				wrong, _, _ := strings.Cut(server.Addresses()[0], "/p2p/")
				_, err := client.Connect(timeout(t), []string{wrong + "/p2p/" + expected.String()})
				mustMatch(t, err, core.ErrSecurity, expected.String(), server.ID().String(), wrong)
			})
		}
	}
}

// A peer that hangs in the handshake costs no more than the call's time, and no address is missing from the error.
func TestConnectToASilentPeerEndsInTime(t *testing.T) {
	n, id := start(t), randomPeer(t)
	silent, refused := address(silentPort(t), id), address(closedPort(t), id)
	ctx, cancel := context.WithTimeout(context.Background(), 700*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := n.Connect(ctx, []string{silent, refused})
	if took := time.Since(begin); took > 5*time.Second {
		t.Fatalf("took %v", took)
	}
	mustMatch(t, err, core.ErrTimeout, id.String(), strings.Split(silent, "/p2p")[0]+" no answer", strings.Split(refused, "/p2p")[0]+" connection refused")

	t.Run("dial.timeout_ms", func(t *testing.T) {
		n := start(t, "dial.timeout_ms", "300")
		_, err := n.Connect(timeout(t), []string{silent})
		mustMatch(t, err, core.ErrDial, strings.Split(silent, "/p2p")[0])
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(50*time.Millisecond, cancel)
		_, err := start(t).Connect(ctx, []string{silent})
		mustMatch(t, err, core.ErrCancelled, id.String())
	})
	t.Run("closed", func(t *testing.T) {
		n := start(t)
		time.AfterFunc(50*time.Millisecond, func() { n.Close() })
		_, err := n.Connect(timeout(t), []string{silent})
		mustMatch(t, err, core.ErrClosed)
	})
}

func TestConnectionsWithDetails(t *testing.T) {
	told := newEvents()
	a := startWith(t, config(t, "identify.agent", "alpha/1"), told.inbox())
	b := start(t, "identify.agent", "beta/2")
	connect(t, a, b)
	connect(t, a, b) // found connected
	if _, err := a.Connect(timeout(t), []string{b.ID().String()}); err != nil {
		t.Fatalf("by peer id alone: %v", err)
	}
	e := told.wait(t, core.PeerConnected, of(b.ID()))
	if e.Inbound || e.Relayed || e.Limited || e.Address != b.Addresses()[0] {
		t.Fatalf("event %+v", e)
	}
	if peers := a.Peers(); len(peers) != 1 || peers[0] != b.ID() {
		t.Fatalf("peers %v", peers)
	}
	if _, err := a.Ping(timeout(t), b.ID()); err != nil {
		t.Fatal(err)
	}
	info := a.PeerInfo(b.ID()).(core.PeerInfo)
	if !info.Connected || info.Agent != "beta/2" || info.RTTMs <= 0 || info.Kept || len(info.Protocols) == 0 || len(info.Addresses) == 0 {
		t.Fatalf("%+v", info)
	}
	if c := info.Connections[0]; c.Direction != "outbound" || c.Transport != "tcp" || c.Security != "/tls/1.0.0" || c.Muxer != "/yamux/1.0.0" {
		t.Fatalf("%+v", c)
	}
	if c := b.PeerInfo(a.ID()).(core.PeerInfo).Connections[0]; c.Direction != "inbound" {
		t.Fatalf("%+v", c)
	}
	for _, v := range []any{a.Info(), a.PeersInfo(), a.PeerInfo(randomPeer(t))} {
		if doc, err := json.Marshal(v); err != nil || strings.Contains(string(doc), "null") {
			t.Fatalf("%s, %v", doc, err)
		}
	}
	if err := a.Disconnect(b.ID()); err != nil {
		t.Fatal(err)
	}
	told.wait(t, core.PeerDisconnected, of(b.ID()))
	if err := a.Disconnect(b.ID()); err != nil {
		t.Fatalf("twice: %v", err)
	}
	if a.PeerInfo(b.ID()).(core.PeerInfo).Connected {
		t.Fatal("still connected")
	}
}

// What was disconnected stays so: nothing in the node dials behind the user's back.
func TestDisconnectIsNotUndone(t *testing.T) {
	told := newEvents()
	a, b := startWith(t, config(t), told.inbox()), start(t)
	for range 200 {
		done := make(chan struct{})
		go func() {
			defer close(done)
			a.Connect(context.Background(), b.Addresses()) // fails when it is disconnected before the end
		}()
		told.wait(t, core.PeerConnected, of(b.ID()))
		a.Disconnect(b.ID()) // at once, while everybody greets the new peer
		told.wait(t, core.PeerDisconnected, of(b.ID()))
		<-done
	}
}

func TestPingDialsAndFails(t *testing.T) {
	a, b := start(t), start(t)
	_, err := a.Ping(timeout(t), b.ID())
	mustMatch(t, err, core.ErrNoAddress, b.ID().String())
	connect(t, a, b)
	a.Disconnect(b.ID())
	var wg sync.WaitGroup
	for range 20 { // upstream allows two at a time
		wg.Go(func() {
			if _, err := a.Ping(timeout(t), b.ID()); err != nil {
				t.Errorf("ping: %v", err)
			}
		})
	}
	wg.Wait()
	b.Close()
	until(t, "the peer is gone", func() bool { return len(a.Peers()) == 0 })
	_, err = a.Ping(timeout(t), b.ID())
	mustMatch(t, err, core.ErrDial, b.ID().String(), "connection refused")
	a.Close()
	_, err = a.Ping(timeout(t), b.ID())
	mustMatch(t, err, core.ErrClosed)
}

// An address that worked stays known, although the peer lists none, or others, as its own.
func TestGivenAddressStaysKnown(t *testing.T) {
	a, b := start(t), start(t)
	connect(t, a, b)
	a.Disconnect(b.ID())
	a.Host().Peerstore().ClearAddrs(b.ID()) // as identify does
	if _, err := a.Connect(timeout(t), []string{b.ID().String()}); err != nil {
		t.Fatal(err)
	}
}

// A kept peer is tried until it answers, with growing pauses, and again when it is lost.
func TestKeep(t *testing.T) {
	told := newEvents()
	key, port := mustKey(t, "ed25519"), closedPort(t)
	id, _ := core.PeerIDOfKey(key)
	n := startWith(t, config(t, "keep.retry_min_ms", "20", "keep.retry_max_ms", "80"), told.inbox())
	if err := n.Keep([]string{address(port, id)}); err != nil {
		t.Fatal(err)
	}
	for _, pause := range []int64{20, 40, 80, 80} {
		e := told.wait(t, core.PeerUnreachable, of(id))
		if e.RetryMs != pause || e.Source != "keep" {
			t.Fatalf("%+v; want a pause of %d ms", e, pause)
		}
		mustMatch(t, e.Err, core.ErrDial, fmt.Sprint(port))
	}
	if !n.PeerInfo(id).(core.PeerInfo).Kept || n.Info().(core.NodeInfo).KeptPeers != 1 {
		t.Fatal("not shown as kept")
	}
	open := func() *core.Node {
		c := config(t, "listen", fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port))
		c.SetSecret("identity.key", key)
		return startWith(t, c, core.Inbox[core.Event]{})
	}
	first := open()
	told.wait(t, core.PeerConnected, of(id))
	if !n.Host().ConnManager().IsProtected(id, "keep") {
		t.Fatal("not protected")
	}
	first.Close()
	told.wait(t, core.PeerDisconnected, of(id))
	told.wait(t, core.PeerUnreachable, of(id))
	second := open()
	told.wait(t, core.PeerConnected, of(id))
	if err := n.Disconnect(id); err != nil { // also when it was us
		t.Fatal(err)
	}
	told.wait(t, core.PeerDisconnected, of(id))
	told.wait(t, core.PeerConnected, of(id))

	if err := n.Release(id); err != nil {
		t.Fatal(err)
	}
	mustMatch(t, n.Release(id), core.ErrNotFound, id.String())
	if n.Host().ConnManager().IsProtected(id, "keep") || len(n.Peers()) != 1 {
		t.Fatal("Release must end the protection and leave the connection")
	}
	second.Close()
	told.wait(t, core.PeerDisconnected, of(id))
	select {
	case e := <-told.ch:
		if e.Type == core.PeerUnreachable {
			t.Fatalf("tried after Release: %+v", e)
		}
	case <-time.After(200 * time.Millisecond):
	}
}

// Release ends what Keep began, and nothing else.
func TestRelease_LeavesDirectPeers(t *testing.T) {
	other := start(t)
	n := start(t, "keep.retry_min_ms", "20", "keep.retry_max_ms", "80")
	if err := n.PubsubAddDirect(other.Addresses()); err != nil {
		t.Fatal(err)
	}
	mustMatch(t, n.Release(other.ID()), core.ErrNotFound)
	if err := n.Keep(other.Addresses()); err != nil {
		t.Fatal(err)
	}
	if err := n.Release(other.ID()); err != nil {
		t.Fatal(err)
	}
	kept := func() bool {
		return n.PeerInfo(other.ID()).(core.PeerInfo).Kept && n.Host().ConnManager().IsProtected(other.ID(), "keep")
	}
	if !kept() {
		t.Fatal("the direct peer is not kept")
	}
	if err := n.Keep(other.Addresses()); err != nil {
		t.Fatal(err)
	}
	if err := n.PubsubRemoveDirect(other.ID()); err != nil {
		t.Fatal(err)
	}
	if !kept() {
		t.Fatal("the kept peer is not kept")
	}
	if err := n.Release(other.ID()); err != nil || kept() {
		t.Fatalf("%v, kept: %v", err, kept())
	}
}

// Keep of a kept peer replaces its addresses.
func TestKeepReplacesAddresses(t *testing.T) {
	told := newEvents()
	a := startWith(t, config(t, "keep.retry_min_ms", "60000"), told.inbox())
	b := start(t)
	if err := a.Keep([]string{address(closedPort(t), b.ID())}); err != nil {
		t.Fatal(err)
	}
	told.wait(t, core.PeerUnreachable, of(b.ID()))
	if err := a.Keep(b.Addresses()); err != nil {
		t.Fatal(err)
	}
	told.wait(t, core.PeerConnected, of(b.ID()))
}

func TestBootstrap(t *testing.T) {
	b := start(t)
	told, lost := newEvents(), randomPeer(t)
	n := startWith(t, config(t, "bootstrap.peers", b.Addresses()[0]+"\n"+address(closedPort(t), lost), "bootstrap.retry_min_ms", "20"), told.inbox())
	seen := map[core.EventType]peer.ID{}
	for len(seen) < 3 {
		select {
		case e := <-told.ch:
			switch e.Type {
			case core.PeerFound, core.PeerConnected, core.PeerUnreachable:
				seen[e.Type] = e.Peer
				if e.Type == core.PeerUnreachable && (e.Source != "bootstrap" || e.Err == nil) || e.Type == core.PeerFound && (e.Source != "bootstrap" || len(e.Addresses) == 0) {
					t.Fatalf("%+v", e)
				}
			}
		case <-time.After(limit):
			t.Fatalf("only %v", seen)
		}
	}
	if seen[core.PeerFound] != b.ID() || seen[core.PeerConnected] != b.ID() || seen[core.PeerUnreachable] != lost {
		t.Fatalf("%v", seen)
	}
	for range 2 { // lost again, found again
		n.Disconnect(b.ID())
		told.wait(t, core.PeerDisconnected, of(b.ID()))
		told.wait(t, core.PeerConnected, of(b.ID()))
	}
}
