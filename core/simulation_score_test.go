//go:build !race

package core

import (
	"fmt"
	"math/rand"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/marcopolo/simnet"
)

// gossiper is a node of the simulation with its part in a topic.
type gossiper struct {
	node  *Node
	topic *Topic
	heard *heardBy
}

// gather starts count members of a topic that are connected at random; options are pairs of path and value, rules those of each member's topic.
func gather(t *testing.T, chance *rand.Rand, count, neighbours int, rules func(i int) string, options ...string) []*gossiper {
	t.Helper()
	all := make([]*gossiper, count)
	for i := range all {
		c := DefaultConfig()
		pairs := append([]string{"listen", fmt.Sprintf("/ip4/%s/udp/0/quic-v1", simnet.IntToPublicIPv4(i)), "limits.preset", "unlimited"}, options...)
		for k := 0; k < len(pairs); k += 2 {
			if err := c.Set(pairs[k], pairs[k+1]); err != nil {
				t.Fatal(err)
			}
		}
		n, err := New(t.Context(), c, Inbox[Event]{})
		if err != nil {
			t.Fatal(err)
		}
		m := &gossiper{node: n, heard: &heardBy{times: map[string]int{}}}
		all[i] = m
		topicRules, err := ParseTopicOptions([]byte(rules(i)))
		if err == nil {
			m.topic, err = n.Join("sim", topicRules, Inbox[TopicEvent]{})
		}
		hearing, _ := ParseSubscribeOptions(nil)
		if err == nil {
			_, err = m.topic.Subscribe(hearing, Inbox[*Message]{Deliver: func(message *Message) {
				m.heard.mu.Lock()
				defer m.heard.mu.Unlock()
				m.heard.times[string(message.Data)]++
			}})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, m := range all {
		for _, j := range append([]int{(i + 1) % count}, chance.Perm(count)[:neighbours-1]...) {
			if i == j {
				continue
			}
			if _, err := m.node.Connect(t.Context(), all[j].node.Addresses()); err != nil {
				t.Fatal(err)
			}
		}
	}
	return all
}

// sayAndCheck has random members publish, and each of them hear every message once.
func sayAndCheck(t *testing.T, chance *rand.Rand, members []*gossiper, round string, count int) {
	t.Helper()
	for i := range count {
		if _, err := members[chance.Intn(len(members))].topic.Publish(t.Context(), fmt.Appendf(nil, "%s %d", round, i), 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	time.Sleep(10 * time.Second)
	wrong := 0
	for _, m := range members {
		m.heard.mu.Lock()
		for i := range count {
			if m.heard.times[fmt.Sprintf("%s %d", round, i)] != 1 {
				wrong++
			}
		}
		m.heard.mu.Unlock()
	}
	if wrong > 0 {
		t.Fatalf("%s: of %d x %d deliveries %d are missing or came twice", round, len(members), count, wrong)
	}
}

func steadyDelay(p *simnet.Packet) time.Duration {
	spread := 0
	for _, c := range p.From.String() + p.To.String() {
		spread = (spread*31 + int(c)) % 50
	}
	return time.Duration(10+spread) * time.Millisecond
}

// Nodes that flood a network with invalid messages are cut off by all their neighbours, none of the others is, and those miss no message.
func TestSimulatedFloodersAreCutOff(t *testing.T) {
	count := numberOr(t, "SIMULATED_NODES", 300) / 5
	time.Sleep(10 * idleTime) // goroutines of earlier tests
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Second)
		simulate(t, steadyDelay)
		chance := rand.New(rand.NewSource(2))
		floods := func(i int) bool { return i%10 == 5 }
		all := gather(t, chance, count, 5, func(i int) string {
			if floods(i) {
				return ""
			}
			return `{"max_size": 200}`
		}, "pubsub.score.enabled", "true", "pubsub.flood_publish", "false")
		var honest, flooders []*gossiper
		bad := map[string]bool{}
		for i, m := range all {
			defer m.node.Close()
			if floods(i) {
				flooders = append(flooders, m)
				bad[m.node.ID().String()] = true
			} else {
				honest = append(honest, m)
			}
		}
		time.Sleep(15 * time.Second) // rounds of upkeep
		for i := range 40 {
			for k, m := range flooders {
				if _, err := m.topic.Publish(t.Context(), fmt.Appendf(nil, "%0300d", 100*i+k), 0); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		cut := 0
		for i, m := range honest {
			info, err := m.node.PubsubInfo()
			if err != nil {
				t.Fatal(err)
			}
			for id, score := range info.Scores {
				switch {
				case score.Graylisted && !bad[id]:
					t.Errorf("node %d cut off an honest one: %+v", i, score)
				case score.Graylisted:
					cut++
				}
			}
			if slices.ContainsFunc(info.Mesh["sim"], func(id string) bool { return bad[id] }) {
				t.Errorf("node %d has a flooder in its mesh", i)
			}
		}
		if cut < len(flooders) {
			t.Errorf("%d flooders were cut off %d times", len(flooders), cut)
		}
		sayAndCheck(t, chance, honest, "good", 20)
	})
}

// A third of the nodes vanishes at once: the rest still hear everything once, over meshes of the size that was asked for.
func TestSimulatedGossipSurvivesTheLossOfAThird(t *testing.T) {
	count := numberOr(t, "SIMULATED_NODES", 300) / 3
	time.Sleep(10 * idleTime)
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Second)
		simulate(t, steadyDelay)
		chance := rand.New(rand.NewSource(3))
		all := gather(t, chance, count, 8, func(int) string { return "" }, "pubsub.flood_publish", "false")
		defer func() {
			for _, m := range all {
				m.node.Close()
			}
		}()
		time.Sleep(15 * time.Second)
		sayAndCheck(t, chance, all, "all", 10)
		gone := map[peer.ID]bool{}
		for _, m := range all[count-count/3:] {
			gone[m.node.ID()] = true
			m.node.Close()
		}
		rest := all[:count-count/3]
		time.Sleep(5 * time.Second)
		sayAndCheck(t, chance, rest, "rest", 10)
		outside := 0
		for _, m := range rest {
			if mesh := len(m.topic.Info().(TopicInfo).Mesh); mesh < 5 || mesh > 12 {
				outside++
			}
			if slices.ContainsFunc(m.topic.Peers(), func(id peer.ID) bool { return gone[id] }) {
				t.Error("a node still believes in one that is gone")
			}
		}
		if outside > len(rest)/10 {
			t.Errorf("%d of %d meshes are smaller than d_low or larger than d_high", outside, len(rest))
		}
	})
}
