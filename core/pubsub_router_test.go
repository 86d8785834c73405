package core_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/libp2pgo/libp2pgo/core"
)

// cluster starts nodes that all are connected to the first.
func cluster(t testing.TB, count int, options ...string) []*core.Node {
	t.Helper()
	nodes := make([]*core.Node, count)
	for i := range nodes {
		nodes[i] = start(t, options...)
		if i > 0 {
			connect(t, nodes[i], nodes[0])
		}
	}
	return nodes
}

func pubsubInfo(t testing.TB, n *core.Node) *core.PubsubInfo {
	t.Helper()
	info, err := n.PubsubInfo()
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// Every router carries messages over a hop, says to how many peers they went, and keeps their order.
func TestRouter_CarriesMessages(t *testing.T) {
	for router, name := range map[string]string{"gossipsub": "/meshsub/1.3.0", "floodsub": "/floodsub/1.0.0", "randomsub": "/randomsub/1.0.0"} {
		t.Run(router, func(t *testing.T) {
			nodes := cluster(t, 3, "pubsub.router", router, "pubsub.signing", "none", "pubsub.heartbeat_ms", "100", "pubsub.protocol_prefix", "/own")
			var all []*core.Topic
			var heard []*heard
			for _, n := range nodes {
				all = append(all, join(t, n, "news"))
				heard = append(heard, listen(t, all[len(all)-1]))
			}
			if n := publish(t, all[0], "to both", 2); n != 2 {
				t.Fatalf("went to %d", n)
			}
			until(t, "the hub knows of both", func() bool { return len(all[0].Peers()) == 2 })
			until(t, "a leaf knows of the hub", func() bool { return len(all[1].Peers()) == 1 })
			if router == "gossipsub" { // what comes just before a peer is taken into the mesh is passed to it by no way
				until(t, "both are in the hub's mesh", func() bool { return len(topicInfo(all[0]).Mesh) == 2 })
			}
			if n := publish(t, all[1], "over the hub", 1); n != 1 {
				t.Fatalf("went to %d", n)
			}
			for i, h := range heard {
				if got := []string{string(h.next(t).Data), string(h.next(t).Data)}; !slices.Contains(got, "to both") || !slices.Contains(got, "over the hub") {
					t.Fatalf("node %d heard %q", i, got)
				}
			}
			for i := range 500 {
				if n := publish(t, all[0], fmt.Sprint(i), 0); n != 2 {
					t.Fatalf("message %d went to %d", i, n)
				}
			}
			for i := range 500 {
				heard[2].want(t, fmt.Sprint(i))
			}
			info := pubsubInfo(t, nodes[0])
			if info.Router != router || info.Protocols[0] != "/own"+name || len(info.Peers) != 2 || !strings.HasPrefix(info.Peers[nodes[1].ID().String()].Protocol, "/") {
				t.Fatalf("%+v", info)
			}
			if mesh := topicInfo(all[0]).Mesh; (router == "gossipsub") != (len(mesh) == 2) || len(info.Mesh["news"]) != len(mesh) {
				t.Fatalf("mesh %v, %v", mesh, info.Mesh)
			}
		})
	}
}

// Two prefixes are two networks.
func TestRouter_PrefixSeparates(t *testing.T) {
	one, two := start(t, "pubsub.protocol_prefix", "/one"), start(t, "pubsub.protocol_prefix", "/two")
	connect(t, one, two)
	third := start(t, "pubsub.protocol_prefix", "/one")
	connect(t, one, third)
	far, there := join(t, two, "news"), join(t, third, "news")
	listen(t, far)
	h := listen(t, there)
	if n := publish(t, join(t, one, "news"), "x", 1); n != 1 {
		t.Fatalf("went to %d", n)
	}
	h.want(t, "x")
	if info := pubsubInfo(t, one); len(info.Peers) != 1 {
		t.Fatalf("%+v", info.Peers)
	}
}

// A relay passes on what it has not subscribed to; a fanout-only topic only publishes.
func TestTopic_RelayAndFanoutOnly(t *testing.T) {
	nodes := cluster(t, 3, "pubsub.heartbeat_ms", "100")
	relay := joinWith(t, nodes[0], "news", `{"relay": true}`, core.Inbox[core.TopicEvent]{})
	from := joinWith(t, nodes[1], "news", `{"fanout_only": true}`, core.Inbox[core.TopicEvent]{})
	own := listen(t, from)
	to := join(t, nodes[2], "news")
	there := listen(t, to)
	until(t, "the subscriber is in the relay's mesh", func() bool { return slices.Equal(topicInfo(relay).Mesh, []string{nodes[2].ID().String()}) })
	publish(t, from, "over the relay", 1)
	there.want(t, "over the relay")
	own.want(t, "over the relay")
	publish(t, to, "back", 1)
	until(t, "the relay had it", func() bool { return topicInfo(relay).Delivered == 2 })
	if len(own.ch) > 0 {
		t.Fatalf("heard %q", (<-own.ch).Data)
	}
	relay.Close()
	until(t, "nobody is left", func() bool { return len(to.Peers()) == 0 && len(from.Peers()) == 0 })
	join(t, nodes[0], "news")
	_, err := nodes[0].Join("both", topicOptions(t, `{"relay": true, "fanout_only": true}`), core.Inbox[core.TopicEvent]{})
	mustMatch(t, err, core.ErrConfig, "relay", "fanout_only")
}

// What makes two messages the same, for a node and for a topic.
func TestPubsub_MessageID(t *testing.T) {
	for _, c := range []struct {
		node, topic string
		again       int // to how many peers the same data goes again
		size        int // of the id; 0: another
	}{
		{"auto", "node", 1, 0}, {"content", "node", 0, 32}, {"topic_content", "node", 0, 32}, {"content", "author", 1, 0}, {"auto", "content", 0, 32},
	} {
		t.Run(c.node+"/"+c.topic, func(t *testing.T) {
			options := fmt.Sprintf(`{"message_id": %q}`, c.topic)
			near, far := topics(t, "same", options, options, "pubsub.message_id", c.node)
			there := listen(t, far)
			publish(t, near, "same", 1)
			if m := there.next(t); (len(m.ID) == 32) != (c.size == 32) {
				t.Fatalf("id %x", m.ID)
			}
			if n := publish(t, near, "same", 1); n != c.again {
				t.Fatalf("the second went to %d", n)
			}
		})
	}
	n := start(t, "pubsub.signing", "none")
	_, err := n.Join("x", topicOptions(t, `{"message_id": "author"}`), core.Inbox[core.TopicEvent]{})
	mustMatch(t, err, core.ErrConfig, "message_id")
	again := joinWith(t, start(t, "pubsub.message_id", "content"), "again", `{"message_id": "author"}`, core.Inbox[core.TopicEvent]{})
	again.Close() // and a topic that is joined anew forgets what it was
}

// Who hears whom, by how each signs: a lax node hears all.
func TestPubsub_SigningPolicies(t *testing.T) {
	hears := map[string][]string{
		"sign": {"sign", "lax_sign"}, "none": {"none", "lax_none"}, // the lax one without signature names no author either
		"lax_sign": {"sign", "none", "lax_sign", "lax_none"}, "lax_none": {"sign", "none", "lax_sign", "lax_none"},
	}
	for to, from := range hears {
		t.Run(to, func(t *testing.T) {
			receiver := start(t, "pubsub.signing", to)
			far := join(t, receiver, "policy")
			there := listen(t, far)
			for _, policy := range []string{"sign", "none", "lax_sign", "lax_none"} {
				n := start(t, "pubsub.signing", policy)
				connect(t, n, receiver)
				near := join(t, n, "policy")
				publish(t, near, policy, 1)
				signs := strings.HasSuffix(policy, "sign")
				if slices.Contains(from, policy) {
					m := there.next(t)
					if string(m.Data) != policy || m.Signed != signs || (m.Author == n.ID()) != signs {
						t.Fatalf("from %s: %+v", policy, m)
					}
				} else {
					until(t, "it is refused: "+policy, func() bool { return len(topicInfo(far).Rejected) > 0 })
				}
				n.Close()
			}
			if len(there.ch) > 0 {
				t.Fatalf("heard %q", (<-there.ch).Data)
			}
		})
	}
}

// Messages can name an author without a signature, or sign as somebody else.
func TestPubsub_Author(t *testing.T) {
	near, far := topics(t, "author", "", "", "pubsub.signing", "none", "pubsub.author", "self")
	there := listen(t, far)
	publish(t, near, "same", 1)
	publish(t, near, "same", 1)
	for range 2 {
		if m := there.next(t); m.Author == "" || m.Author != m.From || m.Signed || m.Seq == 0 {
			t.Fatalf("%+v", m)
		}
	}

	key, err := core.GenerateKey("secp256k1")
	if err != nil {
		t.Fatal(err)
	}
	id, err := core.PeerIDOfKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "author.key")
	if err := os.WriteFile(file, key, 0o600); err != nil {
		t.Fatal(err)
	}
	from, to := start(t, "pubsub.author_file", file), start(t)
	connect(t, from, to)
	heard := listen(t, joinWith(t, to, "as", fmt.Sprintf(`{"signers": [%q]}`, id), core.Inbox[core.TopicEvent]{}))
	publish(t, join(t, from, "as"), "somebody else", 1)
	if m := heard.next(t); m.Author != id || m.From != from.ID() || !m.Signed {
		t.Fatalf("%+v", m)
	}
	if info := pubsubInfo(t, from); info.Author != id.String() {
		t.Fatalf("%+v", info)
	}
	os.Chmod(file, 0o644)
	_, err = core.New(timeout(t), config(t, "pubsub.author_file", file), core.Inbox[core.Event]{})
	mustMatch(t, err, core.ErrPermission, "pubsub.author_file")
}

// Options that do not go together name both.
func TestPubsub_OptionConflicts(t *testing.T) {
	for _, c := range []struct {
		options []string
		words   []string
	}{
		{[]string{"pubsub.author", "none"}, []string{"pubsub.author", "pubsub.signing"}},
		{[]string{"pubsub.signing", "none", "pubsub.message_id", "author"}, []string{"pubsub.message_id", "pubsub.signing"}},
		{[]string{"pubsub.signing", "none", "pubsub.author_file", "/x"}, []string{"pubsub.author_file", "pubsub.author"}},
		{[]string{"pubsub.signing", "lax_sign", "pubsub.check_sequence", "true"}, []string{"pubsub.check_sequence", "pubsub.signing"}},
		{[]string{"pubsub.d_out", "5"}, []string{"pubsub.d_out", "pubsub.d_low"}},
		{[]string{"pubsub.d_out", "3"}, []string{"pubsub.d_out", "pubsub.d"}},
		{[]string{"pubsub.d_score", "13"}, []string{"pubsub.d_score", "pubsub.d_high"}},
		{[]string{"pubsub.history_gossip", "6"}, []string{"pubsub.history_gossip", "pubsub.history_length"}},
		{[]string{"pubsub.router", "floodsub", "pubsub.score.enabled", "true"}, []string{"pubsub.score.enabled", "pubsub.router"}},
		{[]string{"pubsub.router", "randomsub", "pubsub.gater.enabled", "true"}, []string{"pubsub.gater.enabled", "pubsub.router"}},
		{[]string{"pubsub.router", "floodsub", "pubsub.peer_exchange", "true"}, []string{"pubsub.peer_exchange", "pubsub.router"}},
		{[]string{"pubsub.score.enabled", "true", "pubsub.score.publish_threshold", "-1"}, []string{"pubsub.score.publish_threshold", "pubsub.score.gossip_threshold"}},
		{[]string{"pubsub.score.enabled", "true", "pubsub.score.graylist_threshold", "-20"}, []string{"pubsub.score.graylist_threshold", "pubsub.score.publish_threshold"}},
		{[]string{"pubsub.score.enabled", "true", "pubsub.score.behaviour_decay_ms", "1000", "pubsub.score.decay_interval_ms", "2000"},
			[]string{"pubsub.score.behaviour_decay_ms", "pubsub.score.decay_interval_ms"}},
	} {
		_, err := core.New(timeout(t), config(t, c.options...), core.Inbox[core.Event]{})
		mustMatch(t, err, core.ErrConfig, c.words...)
	}
	for _, pair := range [][2]string{{"pubsub.protocol_prefix", "own"}, {"pubsub.topics", `[""]`}, {"pubsub.direct_peers", `["nobody"]`}, {"pubsub.score.ip_whitelist", `["home"]`},
		{"pubsub.seen_ms", "1"}, {"pubsub.gossip_factor", "1.5"}, {"pubsub.router", "meshsub"}} {
		mustMatch(t, core.DefaultConfig().Set(pair[0], pair[1]), core.ErrConfig, pair[0])
	}
	small := start(t, "pubsub.d", "2", "pubsub.d_low", "1", "pubsub.d_high", "2") // what was not given makes way
	join(t, small, "x")
}

// Topics that are not wanted can neither be joined nor fill the memory.
func TestPubsub_OnlyTheseTopics(t *testing.T) {
	from, to := start(t, "pubsub.topics", "news\nroom-*"), start(t)
	connect(t, from, to)
	_, err := from.Join("other", topicOptions(t, ""), core.Inbox[core.TopicEvent]{})
	mustMatch(t, err, core.ErrRejected, "other")
	listen(t, join(t, to, "room-1"))
	if n := publish(t, join(t, from, "room-1"), "x", 1); n != 1 {
		t.Fatalf("went to %d", n)
	}
	join(t, from, "news")
}
