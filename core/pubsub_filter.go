package core

import (
	"slices"
	"strings"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
)

// topicFilter says which topics may be joined and which subscriptions of peers are remembered.
type topicFilter struct{ p *publisher }

var _ pubsub.SubscriptionFilter = (*topicFilter)(nil)

// CanSubscribe implements pubsub.SubscriptionFilter.
func (f *topicFilter) CanSubscribe(topic string) bool {
	names := f.p.node.cfg.Pubsub.Topics
	return len(names) == 0 || slices.ContainsFunc(names, func(name string) bool {
		prefix, ok := strings.CutSuffix(name, "*")
		return name == topic || ok && strings.HasPrefix(topic, prefix)
	})
}

// FilterIncomingSubscriptions implements pubsub.SubscriptionFilter. It is called in the pubsub loop.
func (f *topicFilter) FilterIncomingSubscriptions(from peer.ID, subs []*pb.RPC_SubOpts) ([]*pb.RPC_SubOpts, error) {
	if f.p.block.Contains(from) {
		return nil, nil
	}
	if len(f.p.node.cfg.Pubsub.Topics) > 0 {
		subs = pubsub.FilterSubscriptions(subs, f.CanSubscribe)
	}
	return f.bound(from, subs), nil
}

// peerTopics are the topics that a peer subscribes to, as far as they are remembered.
type peerTopics struct {
	names map[string]struct{}
	bytes int // of the names
}

func newPeerTopics() *peerTopics { return &peerTopics{names: map[string]struct{}{}} }

// bound refuses what would have upstream remember more of a peer than it may: upstream itself remembers whatever is named. The topics of this node
// pass in any case.
func (f *topicFilter) bound(from peer.ID, subs []*pb.RPC_SubOpts) []*pb.RPC_SubOpts {
	c := &f.p.node.cfg.Pubsub
	f.p.block.mu.Lock()
	defer f.p.block.mu.Unlock()
	known := f.p.block.topics[from]
	if known == nil {
		return nil // its stream has ended: upstream is about to forget what was said on it
	}
	return slices.DeleteFunc(subs, func(sub *pb.RPC_SubOpts) bool {
		name := sub.GetTopicid()
		_, had := known.names[name]
		if !sub.GetSubscribe() {
			if had {
				delete(known.names, name)
				known.bytes -= len(name)
			}
			return false
		}
		if had {
			return false
		}
		if _, joined := f.p.tracer.topics.Load(name); !joined &&
			(len(name) > topicNameMax || c.MaxSubscriptions > 0 && len(known.names) >= c.MaxSubscriptions || known.bytes+len(name) > c.MaxControlSize) {
			f.p.tracer.subscriptionsRefused.Add(1)
			return true
		}
		known.names[name] = struct{}{}
		known.bytes += len(name)
		return false
	})
}
