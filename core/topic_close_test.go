package core

import (
	"fmt"
	"sync"
	"testing"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
)

// A node that joins and leaves topics without end keeps nothing of those it has left, while a topic still tells what it counted.
func TestTopic_IsForgottenWhenLeft(t *testing.T) {
	n := startPlain(t, "gossipsub")
	entries := func(m *sync.Map) (count int) {
		m.Range(func(_, _ any) bool { count++; return true })
		return count
	}
	o, err := ParseTopicOptions([]byte(`{"message_id": "content"}`))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		topic, err := n.Join(fmt.Sprint("left-", i), o, Inbox[TopicEvent]{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := topic.Publish(t.Context(), []byte("counted"), 0); err != nil {
			t.Fatal(err)
		}
		topic.Close()
		n.pubsub.tracer.of(topic.name).reject("late")
		if info := topic.Info().(TopicInfo); info.Published != 1 {
			t.Fatalf("info after the close is %+v", info)
		}
	}
	if counters, ids := entries(&n.pubsub.tracer.topics), entries(&n.pubsub.ids); counters+ids > 0 {
		t.Fatalf("counters of %d and message ids of %d topics that were left are kept", counters, ids)
	}
	name := "left-0"
	m := &pb.Message{Topic: &name, Data: []byte("x"), From: []byte("author"), Seqno: []byte("12345678")}
	if joinPlain(t, n, name); n.pubsub.idOf(m) != authorID(m) {
		t.Fatal("a topic that is joined anew still has the message ids that it had")
	}
}
