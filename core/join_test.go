package core_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/libp2pgo/libp2pgo/core"
)

func meetAt(t testing.TB, n *core.Node, topic, options string, told *tidings) *core.Meeting {
	t.Helper()
	o, err := core.ParseMeetOptions([]byte(options))
	if err != nil {
		t.Fatal(err)
	}
	m, err := n.Meet(topic, o, told.inbox())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

const meetQuickly = `{"retry_min_ms":50,"retry_max_ms":200,"interval_ms":200}`

// Who joins a topic meets all others who did, whoever came first, and hears of them once.
func TestMeetAtARendezvousPoint(t *testing.T) {
	rendezvous := meetingPoint(t)
	var nodes []*core.Node
	var heard []*tidings
	var meetings []*core.Meeting
	for range 4 {
		n := start(t, "rendezvous.points", onLines(rendezvous.Addresses()))
		d := newTidings()
		nodes, heard, meetings = append(nodes, n), append(heard, d), append(meetings, meetAt(t, n, "t", meetQuickly, d))
	}
	for i, n := range nodes {
		seen := map[peer.ID]bool{}
		for range 3 {
			e := heard[i].wait(t, core.DiscoveryConnected, "")
			if seen[e.Peer] || e.Peer == n.ID() || e.Address == "" || e.Source == "" {
				t.Fatalf("%+v after %v", e, seen)
			}
			seen[e.Peer] = true
		}
		if got := meetings[i].Peers(); len(got) != 3 || slices.Contains(got, rendezvous.ID()) {
			t.Fatalf("%v", got)
		}
	}
	// One leaves the topic and stays connected; one goes altogether.
	meetings[3].Close()
	nodes[2].Close()
	for i := range 2 {
		left := []peer.ID{heard[i].wait(t, core.DiscoveryLeft, "").Peer, heard[i].wait(t, core.DiscoveryLeft, "").Peer}
		if !slices.Contains(left, nodes[3].ID()) || !slices.Contains(left, nodes[2].ID()) {
			t.Fatalf("%v left", left)
		}
		until(t, "one is left", func() bool { return slices.Equal(meetings[i].Peers(), []peer.ID{nodes[1-i].ID()}) })
	}
	if nodes[0].Host().Network().Connectedness(nodes[3].ID()) != network.Connected {
		t.Fatal("leaving the topic has closed the connection")
	}
	// And comes back.
	again := newTidings()
	meetAt(t, nodes[3], "t", meetQuickly, again)
	again.wait(t, core.DiscoveryConnected, nodes[0].ID())
	heard[0].wait(t, core.DiscoveryConnected, nodes[3].ID())
}

// Peers that are connected for whatever reason meet without any source, on both sides, and only those of the topic.
func TestMeetAmongConnectedPeers(t *testing.T) {
	a, b, c, d := start(t), start(t), start(t), start(t)
	for _, n := range []*core.Node{b, c, d} {
		connect(t, a, n)
	}
	toldA, toldB := newTidings(), newTidings()
	meetAt(t, c, "other", "", newTidings())
	inA := meetAt(t, a, "t", "", toldA)
	inB := meetAt(t, b, "t", "", toldB)
	if e := toldA.wait(t, core.DiscoveryConnected, b.ID()); e.Source != "peers" || e.Inbound {
		t.Fatalf("%+v", e)
	}
	if e := toldB.wait(t, core.DiscoveryConnected, a.ID()); !e.Inbound {
		t.Fatalf("%+v", e)
	}
	if !slices.Equal(inA.Peers(), []peer.ID{b.ID()}) || !slices.Equal(inB.Peers(), []peer.ID{a.ID()}) {
		t.Fatalf("%v %v", inA.Peers(), inB.Peers())
	}
	e := start(t)
	toldE := newTidings()
	meetAt(t, e, "t", "", toldE)
	connect(t, e, a) // one that comes later
	toldA.wait(t, core.DiscoveryConnected, e.ID())
	toldE.wait(t, core.DiscoveryConnected, a.ID())
	if _, err := a.Meet("t", core.MeetOptions{MaxPeers: 1}, core.Inbox[core.DiscoveryEvent]{}); err == nil {
		t.Fatal("joined twice")
	} else {
		mustMatch(t, err, core.ErrExists, `"t"`)
	}
}

// A peer that was lost is dialled again, with pauses, and forgotten in the end.
func TestMeetAgainAfterALoss(t *testing.T) {
	rendezvous := meetingPoint(t)
	a, b := start(t, "rendezvous.points", onLines(rendezvous.Addresses())), start(t, "rendezvous.points", onLines(rendezvous.Addresses()))
	toldA, toldB := newTidings(), newTidings()
	meetAt(t, a, "t", `{"retry_min_ms":20,"retry_max_ms":50,"interval_ms":86400000,"retry_limit":3}`, toldA)
	meetAt(t, b, "t", meetQuickly, toldB)
	toldA.wait(t, core.DiscoveryConnected, b.ID())
	toldB.wait(t, core.DiscoveryConnected, a.ID())
	a.Disconnect(b.ID())
	toldA.wait(t, core.DiscoveryLeft, b.ID())
	toldA.wait(t, core.DiscoveryConnected, b.ID()) // b may have heard nothing: the new connection can come before the end of the old one
	b.Host().Close()                               // without a farewell
	toldA.wait(t, core.DiscoveryLeft, b.ID())
	for {
		e := toldA.wait(t, core.DiscoveryUnreachable, b.ID())
		if !strings.HasPrefix(e.Err.Error(), b.ID().String()) {
			t.Fatal(e.Err)
		}
		if e.NextMs == -1 {
			break
		}
		if e.NextMs < 20 {
			t.Fatalf("%+v", e)
		}
	}
}

// A peer that has connected while it was dialled in vain is a member like any other.
func TestMeetOneThatDialledMeanwhile(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	dialled := make(chan struct{}, 16)
	go func() {
		for {
			c, err := silent.Accept()
			if err != nil {
				return
			}
			defer c.Close() // at the end: it is not answered
			dialled <- struct{}{}
		}
	}()
	rendezvous := meetingPoint(t)
	a := start(t, "rendezvous.points", onLines(rendezvous.Addresses()))
	b := start(t, "addresses.announce", fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", silent.Addr().(*net.TCPAddr).Port))
	toldA, toldB := newTidings(), newTidings()
	meetAt(t, b, "t", `{"connect":false}`, toldB)
	if _, err := registerAt(t, b, rendezvous, "t", ""); err != nil {
		t.Fatal(err)
	}
	m := meetAt(t, a, "t", `{"connect_timeout_ms":2000,"retry_limit":1}`, toldA)
	<-dialled
	connect(t, b, a)
	if e := toldA.wait(t, core.DiscoveryConnected, b.ID()); !e.Inbound {
		t.Fatalf("%+v", e)
	}
	until(t, "the dial ends", func() bool { return m.Info().(core.MeetingInfo).Dialing == 0 })
	if got := m.Peers(); !slices.Equal(got, []peer.ID{b.ID()}) {
		t.Fatalf("the meeting has %v", got)
	}
	toldA.none(t, core.DiscoveryUnreachable)
	b.Disconnect(a.ID())
	toldA.wait(t, core.DiscoveryLeft, b.ID())
}

// A peer that only advertises, of another implementation, is met too.
func TestMeetPeersThatDoNotGreet(t *testing.T) {
	rendezvous := meetingPoint(t)
	a, plain := start(t, "rendezvous.points", onLines(rendezvous.Addresses())), start(t)
	if _, err := registerAt(t, plain, rendezvous, "t", ""); err != nil {
		t.Fatal(err)
	}
	heard := newTidings()
	m := meetAt(t, a, "t", meetQuickly, heard)
	heard.wait(t, core.DiscoveryFound, plain.ID())
	if e := heard.wait(t, core.DiscoveryConnected, plain.ID()); !strings.HasPrefix(e.Source, "rendezvous ") {
		t.Fatalf("%+v", e)
	}
	until(t, "the point knows the node", func() bool { return m.Info().(core.MeetingInfo).Sources[0].Advertised })
	if i := m.Info().(core.MeetingInfo); len(i.Peers) != 1 || i.Topic != "t" {
		t.Fatalf("%+v", i)
	}
}

// No more than max_peers are dialled, and found peers are not dialled at all with connect off.
func TestMeetIsBounded(t *testing.T) {
	rendezvous := meetingPoint(t)
	for range 5 {
		if _, err := registerAt(t, start(t), rendezvous, "t", ""); err != nil {
			t.Fatal(err)
		}
	}
	a, b := start(t, "rendezvous.points", onLines(rendezvous.Addresses())), start(t, "rendezvous.points", onLines(rendezvous.Addresses()))
	heard := newTidings()
	m := meetAt(t, a, "t", `{"max_peers":2,"advertise":false}`, heard)
	heard.wait(t, core.DiscoveryConnected, "")
	heard.wait(t, core.DiscoveryConnected, "")
	only := newTidings()
	meetAt(t, b, "t", `{"connect":false,"advertise":false}`, only)
	for range 5 {
		only.wait(t, core.DiscoveryFound, "")
	}
	only.none(t, core.DiscoveryConnected)
	if got := len(m.Peers()); got != 2 || len(b.Peers()) != 1 {
		t.Fatalf("%d met, %d connected", got, len(b.Peers()))
	}
	if rendezvous.RendezvousInfo().Registrations != 5 {
		t.Fatal("advertised with advertise off")
	}
}

// Greetings that nobody can read do no harm.
func TestGreetingSurvivesGarbage(t *testing.T) {
	a, b := start(t), start(t)
	told := newTidings()
	m := meetAt(t, a, "t", "", told)
	connect(t, b, a)
	for _, garbage := range []string{"", "\x01", strings.Repeat("\x00", 41), strings.Repeat("\x01", 41), strings.Repeat("\x02", 50), strings.Repeat("\xff", 41)} {
		s, err := b.OpenStream(timeout(t), a.ID(), []string{"/libp2pgo/meet/1.0.0"}, core.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		s.Write([]byte(garbage))
		s.CloseWrite(timeout(t))
		s.Read(make([]byte, 40))
		s.Close()
	}
	if len(m.Peers()) != 0 {
		t.Fatal("a member by garbage")
	}
}

// A peer that opens all streams it can and says nothing keeps no other from greeting.
func TestGreetingIsNotTakenByOnePeer(t *testing.T) {
	a, greedy, other := start(t), start(t), start(t)
	meetAt(t, a, "t", "", newTidings())
	connect(t, greedy, a)
	connect(t, other, a)
	crowd(t, greedy, a, "/libp2pgo/meet/1.0.0", "\x01", 1025)
	s, err := other.OpenStream(timeout(t), a.ID(), []string{"/libp2pgo/meet/1.0.0"}, core.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Write([]byte(strings.Repeat("\x01", 41)))
	answer := make([]byte, 1)
	if _, err := s.Read(answer); err != nil || answer[0] != 0 {
		t.Fatalf("%v, %v", answer, err)
	}
}

// Peers that say nothing do not hold up the end of a meeting, however many they are.
func TestMeetingEndsDespiteSilentPeers(t *testing.T) {
	const peers = 48
	n := start(t, "limits.preset", "unlimited")
	m := meetAt(t, n, "silence", `{"sources":["peers"]}`, newTidings())
	over := make(chan struct{})
	defer close(over)
	for range peers {
		silent := start(t)
		silent.Host().SetStreamHandler("/libp2pgo/meet/1.0.0", func(s network.Stream) {
			<-over
			s.Reset()
		})
		connect(t, silent, n)
	}
	until(t, "all are known", func() bool { return m.Info().(core.MeetingInfo).Known == peers })
	begun := time.Now()
	m.Close()
	if took := time.Since(begun); took > 250*time.Millisecond {
		t.Fatalf("it took %s", took)
	}
	n.Close()
	if took := time.Since(begun); took > 2*time.Second { // all share half a second; each eight of them had one before
		t.Fatalf("the node took %s", took)
	}
}

// Who leaves and joins again at once is of the topic, in whatever order the others hear of it. What closes meanwhile waits for the farewell.
func TestMeetingJoinedAgainAtOnce(t *testing.T) {
	a, b := start(t), start(t)
	met := newTidings()
	connect(t, a, b)
	theirs := meetAt(t, b, "t", `{"sources":["peers"]}`, met)
	var last *core.Meeting
	for range 20 {
		if last != nil {
			last.Close()
		}
		last = meetAt(t, a, "t", `{"sources":["peers"]}`, newTidings())
		until(t, "a knows b", func() bool { return len(last.Peers()) == 1 })
	}
	until(t, "b knows a", func() bool { return len(theirs.Peers()) == 1 })
	last.Close()
	a.Close()
	met.wait(t, core.DiscoveryLeft, a.ID())
}
