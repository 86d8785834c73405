package core_test

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/libp2pgo/libp2pgo/core"
)

var scored = []string{"pubsub.heartbeat_ms", "100", "pubsub.score.enabled", "true", "pubsub.score.inspect_ms", "100"}

// Who floods with invalid messages is scored out: it leaves the mesh, and then nothing of it is heard, while others go on.
func TestScore_FloodOfInvalidMessagesIsCutOff(t *testing.T) {
	tells := newEvents()
	victim := startWith(t, config(t, scored...), tells.inbox())
	flooder, friend := start(t, scored...), start(t, scored...)
	connect(t, flooder, victim)
	connect(t, friend, victim)
	far := joinWith(t, victim, "news", `{"max_size": 64}`, core.Inbox[core.TopicEvent]{})
	there := listen(t, far)
	bad, good := join(t, flooder, "news"), join(t, friend, "news")
	listen(t, bad)
	listen(t, good)
	until(t, "both are in the mesh", func() bool { return len(topicInfo(far).Mesh) == 2 })
	publish(t, bad, "still well", 1)
	there.want(t, "still well")

	invalid := make([]byte, 65)
	for i := range 50 {
		invalid[0] = byte(i)
		if _, err := bad.Publish(timeout(t), slices.Clone(invalid), 1); err != nil {
			t.Fatal(err)
		}
	}
	e := tells.wait(t, core.PeerGraylisted, of(flooder.ID()))
	if e.Score >= -100 {
		t.Fatalf("score %v", e.Score)
	}
	score := pubsubInfo(t, victim).Scores[flooder.ID().String()]
	if !score.Graylisted || score.Score >= -100 || score.Topics["news"].InvalidMessages < 10 {
		t.Fatalf("%+v", score)
	}
	until(t, "it is out of the mesh", func() bool { return slices.Equal(topicInfo(far).Mesh, []string{friend.ID().String()}) })
	publish(t, bad, "valid, and not heard", 1)
	publish(t, good, "heard", 1)
	there.want(t, "heard") // after the flooder's, had that been taken
	if len(there.ch) > 0 {
		t.Fatal("the flooder was heard")
	}
	until(t, "the friend has a good name", func() bool {
		score := pubsubInfo(t, victim).Scores[friend.ID().String()]
		return !score.Graylisted && score.Score > 0
	})
}

// The program's own score counts, and pardons.
func TestScore_OfTheProgram(t *testing.T) {
	tells := newEvents()
	here := startWith(t, config(t, append(scored, "pubsub.score.app_weight", "0.5")...), tells.inbox())
	other := start(t, scored...)
	connect(t, other, here)
	far, near := join(t, here, "news"), join(t, other, "news")
	there := listen(t, far)
	publish(t, near, "one", 1)
	there.want(t, "one")
	if err := here.PubsubScore(other.ID(), -1000); err != nil {
		t.Fatal(err)
	}
	tells.wait(t, core.PeerGraylisted, of(other.ID()))
	if s := pubsubInfo(t, here).Scores[other.ID().String()]; s.App != -1000 || s.Score > -490 {
		t.Fatalf("%+v", s)
	}
	if err := here.PubsubScore(other.ID(), 0); err != nil {
		t.Fatal(err)
	}
	tells.wait(t, core.PeerPardoned, of(other.ID()))
	publish(t, near, "two", 1)
	there.want(t, "two")

	plain := start(t)
	mustMatch(t, plain.PubsubScore(other.ID(), 1), core.ErrState, "pubsub.score.enabled")
	o, _ := core.ParseTopicScoreOptions(nil)
	mustMatch(t, join(t, plain, "x").SetScore(o), core.ErrState, "pubsub.score.enabled")
	_, err := plain.Join("y", topicOptions(t, `{"score": {"weight": 2}}`), core.Inbox[core.TopicEvent]{})
	mustMatch(t, err, core.ErrConfig, "score")
	mustMatch(t, start(t, "pubsub.enabled", "false").PubsubScore(other.ID(), 1), core.ErrState, "pubsub off")
}

// What counts in a topic can be set when it is joined, and changed while it runs.
func TestScore_OfATopic(t *testing.T) {
	here, other := start(t, scored...), start(t, scored...)
	connect(t, other, here)
	far := joinWith(t, here, "news", `{"score": {"weight": 10, "first_deliveries_weight": 1}}`, core.Inbox[core.TopicEvent]{})
	there := listen(t, far)
	near := join(t, other, "news")
	for i := range 5 {
		publish(t, near, fmt.Sprint(i), 1)
		there.next(t)
	}
	score := func() float64 { return pubsubInfo(t, here).Scores[other.ID().String()].Score }
	until(t, "deliveries count", func() bool { return score() > 45 })
	o, err := core.ParseTopicScoreOptions([]byte(`{"weight": 0}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := far.SetScore(o); err != nil {
		t.Fatal(err)
	}
	until(t, "they do not any more", func() bool { return score() == 0 })
	o.InvalidDecayMs = 1000
	slow := join(t, start(t, append(scored, "pubsub.score.decay_interval_ms", "2000")...), "slow")
	mustMatch(t, slow.SetScore(o), core.ErrConfig, "invalid_messages_decay_ms", "pubsub.score.decay_interval_ms")
	_, err = core.ParseTopicScoreOptions([]byte(`{"invalid_messages_weight": 1}`))
	mustMatch(t, err, core.ErrConfig, "invalid_messages_weight")
	far.Close()
	mustMatch(t, far.SetScore(o), core.ErrClosed)
}

// A blocked peer is neither heard nor told; taken back it is both, over the same connection.
func TestPubsub_BlockAndUnblock(t *testing.T) {
	here, other := start(t, "pubsub.heartbeat_ms", "100"), start(t, "pubsub.heartbeat_ms", "100")
	connect(t, other, here)
	far, near := join(t, here, "news"), join(t, other, "news")
	there, back := listen(t, far), listen(t, near)
	publish(t, near, "one", 1)
	there.want(t, "one")
	publish(t, far, "uno", 1)
	back.want(t, "one", "uno")
	for round := range 2 {
		if err := here.PubsubBlock(other.ID()); err != nil {
			t.Fatal(err)
		}
		until(t, "it is gone", func() bool { return len(far.Peers()) == 0 })
		if n := publish(t, far, fmt.Sprint("to nobody ", round), 0); n != 0 {
			t.Fatalf("went to %d", n)
		}
		if blocked := pubsubInfo(t, here).Blocked; !slices.Equal(blocked, []string{other.ID().String()}) {
			t.Fatalf("blocked %v", blocked)
		}
		if err := here.PubsubUnblock(other.ID()); err != nil {
			t.Fatal(err)
		}
		until(t, "it is back", func() bool {
			return slices.Equal(far.Peers(), []peer.ID{other.ID()}) && slices.Equal(near.Peers(), []peer.ID{here.ID()})
		})
		publish(t, near, fmt.Sprint("two ", round), 1)
		until(t, "it is heard again", func() bool { return len(there.ch) > 0 && string((<-there.ch).Data) == fmt.Sprint("two ", round) })
		publish(t, far, fmt.Sprint("dos ", round), 1)
		until(t, "it is told again", func() bool { return len(back.ch) > 0 && string((<-back.ch).Data) == fmt.Sprint("dos ", round) })
	}
	mustMatch(t, here.PubsubUnblock(other.ID()), core.ErrNotFound)
	mustMatch(t, here.PubsubBlock(here.ID()), core.ErrInvalid)
	if len(here.Peers()) != 1 {
		t.Fatal("the connection did not stay")
	}
}

// What a blocked peer authored does not come by way of others either.
func TestPubsub_BlockedAuthor(t *testing.T) {
	nodes := cluster(t, 3, "pubsub.heartbeat_ms", "100")
	hub, author, reader := join(t, nodes[0], "news"), join(t, nodes[1], "news"), join(t, nodes[2], "news")
	listen(t, hub)
	there := listen(t, reader)
	until(t, "the reader is in the hub's mesh", func() bool { return len(topicInfo(hub).Mesh) == 1 })
	if err := nodes[2].PubsubBlock(nodes[1].ID()); err != nil {
		t.Fatal(err)
	}
	publish(t, author, "not for everybody", 1)
	until(t, "it is refused", func() bool { return topicInfo(reader).Rejected["blacklisted source"] == 1 })
	publish(t, hub, "from the hub", 1)
	there.want(t, "from the hub")
}

// Direct peers are connected, connected again when lost, and told everything outside the mesh.
func TestPubsub_DirectPeers(t *testing.T) {
	// Not at once: upstream forgets what a peer subscribes to when it sees the end of the old stream after the beginning of the new one.
	fast := []string{"keep.retry_min_ms", "500", "pubsub.heartbeat_ms", "100"}
	one := start(t, fast...)
	two := start(t, append(fast, "pubsub.direct_peers", one.Addresses()[0])...)
	if err := one.PubsubAddDirect(two.Addresses()); err != nil {
		t.Fatal(err)
	}
	near, far := join(t, one, "news"), join(t, two, "news")
	there := listen(t, far)
	listen(t, near)
	publish(t, near, "x", 1)
	there.want(t, "x")
	if info := pubsubInfo(t, one); !slices.Equal(info.Direct, []string{two.ID().String()}) || len(topicInfo(near).Mesh) != 0 {
		t.Fatalf("%+v", info)
	}
	if err := one.Disconnect(two.ID()); err != nil {
		t.Fatal(err)
	}
	until(t, "they are connected again", func() bool { return slices.Contains(near.Peers(), two.ID()) && slices.Contains(far.Peers(), one.ID()) })
	until(t, "messages flow again", func() bool { // both dial, and one of the connections goes again, with what was on it
		publish(t, near, fmt.Sprint("y", time.Now().UnixNano()), 0)
		return len(there.ch) > 0
	})
	if err := one.PubsubRemoveDirect(two.ID()); err != nil {
		t.Fatal(err)
	}
	mustMatch(t, one.PubsubRemoveDirect(two.ID()), core.ErrNotFound)
	mustMatch(t, one.PubsubAddDirect([]string{"nobody"}), core.ErrParse)
	mustMatch(t, start(t, "pubsub.router", "floodsub").PubsubAddDirect(two.Addresses()), core.ErrState, "floodsub")
}

// A node that leaves tells its peers of each other.
func TestPubsub_PeerExchange(t *testing.T) {
	nodes := cluster(t, 4, "pubsub.heartbeat_ms", "100", "pubsub.peer_exchange", "true")
	var all []*core.Topic
	for _, n := range nodes {
		all = append(all, join(t, n, "news"))
		listen(t, all[len(all)-1])
	}
	until(t, "all are in the hub's mesh", func() bool { return len(topicInfo(all[0]).Mesh) == 3 })
	all[0].Close()
	until(t, "the others found each other", func() bool {
		return len(nodes[1].Peers()) > 1 || len(nodes[2].Peers()) > 1 || len(nodes[3].Peers()) > 1
	})
}

// The gater stands by; without overload it refuses nothing.
func TestPubsub_GaterLetsThrough(t *testing.T) {
	near, far := topics(t, "gated", "", "", "pubsub.gater.enabled", "true", "pubsub.score.enabled", "true")
	there := listen(t, far)
	for i := range 100 {
		publish(t, near, fmt.Sprint(i), 1)
	}
	for range 100 {
		if there.next(t) == nil {
			t.Fatal("a gap")
		}
	}
}

// A number is used once, however much is overtaken.
func TestPubsub_CheckSequence(t *testing.T) {
	near, far := topics(t, "numbers", "", "", "pubsub.check_sequence", "true")
	there := listen(t, far)
	const count = 3000
	for i := range count {
		publish(t, near, fmt.Sprint(i), 1)
	}
	for i := range count {
		if there.next(t) == nil {
			t.Fatalf("a gap after %d", i)
		}
	}
	if info := topicInfo(far); len(info.Rejected) > 0 {
		t.Fatalf("%+v", info)
	}
}

// Everything of it ends with the node.
func TestPubsub_NothingStays(t *testing.T) {
	baseline := runtime.NumGoroutine()
	for _, router := range []string{"gossipsub", "floodsub", "randomsub"} {
		options := []string{"pubsub.router", router}
		if router == "gossipsub" {
			options = append(options, "pubsub.score.enabled", "true", "pubsub.gater.enabled", "true", "pubsub.peer_exchange", "true", "pubsub.seen_refresh", "true")
		}
		from, to := pair(t, options...)
		near, far := joinWith(t, from, "end", `{"relay": true}`, core.Inbox[core.TopicEvent]{}), join(t, to, "end")
		there := listen(t, far)
		publish(t, near, "x", 1)
		there.want(t, "x")
		o, _ := core.ParseTraceOptions(nil)
		if _, err := from.PubsubTrace(o, core.Inbox[*core.TraceEvent]{}); err != nil {
			t.Fatal(err)
		}
		if router == "gossipsub" {
			if err := from.PubsubAddDirect(to.Addresses()); err != nil {
				t.Fatal(err)
			}
		}
		from.Close()
		to.Close()
		mustMatch(t, from.PubsubBlock(to.ID()), core.ErrClosed)
	}
	until(t, "all goroutines are gone", func() bool { return runtime.NumGoroutine() <= baseline })
}
