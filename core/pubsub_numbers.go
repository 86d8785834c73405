package core

import (
	"maps"
	"slices"
)

// measurePubsub adds the numbers of the topics that are joined.
func (n *Node) measurePubsub(m *Measurements) {
	p := n.pubsub
	if p == nil {
		return
	}
	p.mu.Lock()
	names := slices.Sorted(maps.Keys(p.topics))
	topics := make([]*Topic, len(names))
	for i, name := range names {
		topics[i] = p.topics[name]
	}
	p.mu.Unlock()
	m.Gauge("libp2pgo_pubsub_topics", "Topics that are joined.").Count(int64(len(topics)))
	peers := m.Gauge("libp2pgo_pubsub_topic_peers", "Peers that are subscribed, as far as this node knows.")
	subscriptions := m.Gauge("libp2pgo_pubsub_subscriptions", "Subscriptions of this node.")
	published := m.Counter("libp2pgo_pubsub_published_total", "Messages that this node published.")
	waiting := m.Gauge("libp2pgo_pubsub_publish_waiting", "Messages accepted for publishing that are not out yet.")
	delivered := m.Counter("libp2pgo_pubsub_delivered_total", "Messages of peers that passed all rules.")
	duplicates := m.Counter("libp2pgo_pubsub_duplicates_total", "Messages that came again, by another way; a healthy mesh has many.")
	rejected := m.Counter("libp2pgo_pubsub_rejected_total", "Messages that were refused.")
	undeliverable := m.Counter("libp2pgo_pubsub_undeliverable_total", "Messages that the network stack lost between its queues and a subscription.")
	droppedRPC := m.Counter("libp2pgo_pubsub_dropped_rpc_total", "Copies of messages that a peer did not get because its outbound queue was full or gone; what waited in a queue when its stream ended is not counted.")
	late := m.Counter("libp2pgo_pubsub_verdicts_late_total", "Messages that the default decided on, because no verdict came in time or too many were pending.")
	received := m.Counter("libp2pgo_subscription_delivered_total", "Messages that subscriptions handed over.")
	lost := m.Counter("libp2pgo_subscription_dropped_total", "Messages that subscriptions lost because their capacity was reached.")
	unread := m.Gauge("libp2pgo_subscription_waiting", "Messages that wait in subscriptions.")
	unreadBytes := m.Gauge("libp2pgo_subscription_waiting_bytes", "Bytes of the messages that wait in subscriptions, with about 256 for each.")
	mesh := m.Gauge("libp2pgo_pubsub_mesh_peers", "Peers in the mesh of a topic, to whom messages are passed at once.")
	meshes := p.tracer.meshes()
	for _, topic := range slices.Sorted(maps.Keys(meshes)) {
		mesh.Count(int64(len(meshes[topic])), "topic", topic)
	}
	waitingOut, gray := int64(0), int64(0)
	streams := p.out.info()
	for _, peer := range streams {
		waitingOut += int64(peer.Waiting)
	}
	for _, score := range p.score.info() {
		if score.Graylisted {
			gray++
		}
	}
	m.Gauge("libp2pgo_pubsub_peers", "Peers that pubsub has a stream to.").Count(int64(len(streams)))
	m.Gauge("libp2pgo_pubsub_outbound_waiting", "Packets that wait to be sent to slow peers.").Count(waitingOut)
	m.Gauge("libp2pgo_pubsub_graylisted_peers", "Peers whose score is so low that they are not listened to.").Count(gray)
	m.Counter("libp2pgo_pubsub_subscriptions_refused_total", "Subscriptions that were not remembered, because the peer has too many already.").Count(p.tracer.subscriptionsRefused.Load())
	for i, t := range topics {
		info := t.Info().(TopicInfo)
		label := []string{"topic", names[i]}
		peers.Count(int64(info.Peers), label...)
		subscriptions.Count(int64(info.Subscriptions), label...)
		published.Count(info.Published, label...)
		waiting.Count(int64(info.PublishWaiting), label...)
		delivered.Count(info.Delivered, label...)
		duplicates.Count(info.Duplicates, label...)
		undeliverable.Count(info.Undeliverable, label...)
		droppedRPC.Count(info.DroppedRPC, label...)
		late.Count(info.VerdictsLate, label...)
		for _, reason := range slices.Sorted(maps.Keys(info.Rejected)) {
			rejected.Count(info.Rejected[reason], "topic", names[i], "reason", reason)
		}
		t.mu.Lock()
		sum, subs := t.ended, slices.Collect(maps.Keys(t.subs))
		t.mu.Unlock()
		for _, s := range subs {
			b := s.box.stats()
			sum.Delivered += b.Delivered
			sum.Dropped += b.Dropped
			sum.Waiting += b.Waiting
			sum.WaitingBytes += b.WaitingBytes
		}
		received.Count(int64(sum.Delivered), label...)
		lost.Count(int64(sum.Dropped), label...)
		unread.Count(int64(sum.Waiting), label...)
		unreadBytes.Count(sum.WaitingBytes, label...)
	}
}
