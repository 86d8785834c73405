package core_test

import (
	"testing"

	"github.com/libp2pgo/libp2pgo/core"
)

// A peer that has just subscribed is not in the publisher's mesh before the next heartbeat, and by then what was published is not told
// to it any more. Who waits for n subscribers must reach n.
func TestPublishReachesThoseItWaitedFor(t *testing.T) {
	const slow = "60000" // no heartbeat comes to help
	nodes := []*core.Node{start(t, "pubsub.heartbeat_ms", slow), start(t, "pubsub.heartbeat_ms", slow), start(t, "pubsub.heartbeat_ms", slow)}
	var topics []*core.Topic
	heard := make(chan string, 16)
	join := func(i int) {
		topic, err := nodes[i].Join("reach", core.TopicOptions{}, core.Inbox[core.TopicEvent]{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := topic.Subscribe(mustSubscribeOptions(t), core.Inbox[*core.Message]{Deliver: func(m *core.Message) {
			if !m.Local {
				heard <- string(m.Data)
			}
		}}); err != nil {
			t.Fatal(err)
		}
		topics = append(topics, topic)
	}
	for i := range nodes {
		join(i)
	}
	connect(t, nodes[0], nodes[1])
	if n, err := topics[0].Publish(timeout(t), []byte("first"), 1); err != nil || n != 1 {
		t.Fatalf("published to %d peers, %v", n, err)
	}
	connect(t, nodes[0], nodes[2])
	if n, err := topics[0].Publish(timeout(t), []byte("second"), 2); err != nil || n != 2 {
		t.Fatalf("after waiting for 2 peers it was published to %d, %v", n, err)
	}
	for i := range 3 {
		select {
		case <-heard:
		case <-timeout(t).Done():
			t.Fatalf("%d of 3 messages were delivered", i)
		}
	}
}

func mustSubscribeOptions(t *testing.T) core.SubscribeOptions {
	t.Helper()
	o, err := core.ParseSubscribeOptions(nil)
	if err != nil {
		t.Fatal(err)
	}
	return o
}
