package core

import (
	"reflect"
	"strings"
	"unsafe"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/proto"
)

// routerProtocols are the names of the protocols of each router, the best one first.
var routerProtocols = map[string][]protocol.ID{
	"gossipsub": pubsub.GossipSubDefaultProtocols, "floodsub": {pubsub.FloodSubID}, "randomsub": {pubsub.RandomSubID, pubsub.FloodSubID},
}

// startRouter starts upstream with the router that the options name.
func (p *publisher) startRouter(options []pubsub.Option) (*pubsub.PubSub, error) {
	n, c := p.node, &p.node.cfg.Pubsub
	h := &gatedHost{n.host, &p.gate, &p.out, &p.block}
	switch c.Router {
	case "floodsub":
		return pubsub.NewPubSub(n.ctx, h, p.plain(&pubsub.FloodSubRouter{}), options...)
	case "randomsub":
		router, err := newRandomSub(c.RandomSize)
		if err != nil {
			return nil, err
		}
		return pubsub.NewPubSub(n.ctx, h, p.plain(router), options...)
	}
	options = append(options,
		pubsub.WithGossipSubParams(c.gossip(n.cfg.given)),
		pubsub.WithFloodPublish(c.FloodPublish),
		pubsub.WithPeerExchange(c.PeerExchange),
	)
	if prefix := protocol.ID(c.ProtocolPrefix); prefix != "" {
		options = append(options, pubsub.WithGossipSubProtocols(p.protocols(),
			func(feature pubsub.GossipSubFeature, id protocol.ID) bool {
				return pubsub.GossipSubDefaultFeatures(feature, protocol.ID(strings.TrimPrefix(string(id), string(prefix))))
			}))
	}
	if c.Score.Enabled {
		options = append(options, p.score.options()...)
	}
	if c.Gater.Enabled {
		options = append(options, pubsub.WithPeerGater(c.Gater.params()))
	}
	return pubsub.NewGossipSub(n.ctx, h, options...)
}

func prefixed(prefix protocol.ID, ids ...protocol.ID) []protocol.ID {
	all := make([]protocol.ID, 0, len(ids))
	for _, id := range ids {
		all = append(all, prefix+id)
	}
	return all
}

// plainRouter is a router without a mesh. What it adds is batches, which upstream has in gossipsub only.
type plainRouter struct {
	pubsub.PubSubRouter
	tracer    *pubsubTracer
	prefix    string
	protocols []protocol.ID
}

var _ pubsub.BatchPublisher = (*plainRouter)(nil)

func (p *publisher) plain(router pubsub.PubSubRouter) *plainRouter {
	return &plainRouter{router, p.tracer, p.node.cfg.Pubsub.ProtocolPrefix, p.protocols()}
}

func (r *plainRouter) Protocols() []protocol.ID { return r.protocols }

func (r *plainRouter) OnNewOutboundStream(id peer.ID, name protocol.ID, hello *pubsub.RPC) *pubsub.RPC {
	hello = r.PubSubRouter.OnNewOutboundStream(id, protocol.ID(strings.TrimPrefix(string(name), r.prefix)), hello)
	if proto.Size(&hello.RPC) > 0 {
		r.tracer.p.out.greet(id)
	}
	return hello
}

// PublishBatch is called in the pubsub loop.
func (r *plainRouter) PublishBatch(messages []*pubsub.Message, o *pubsub.BatchPublishOptions) {
	k, ok := o.Strategy.(*packets)
	if !ok {
		return
	}
	defer close(k.done)
	defer recovered("publish packets")
	k.direct = true
	r.tracer.batch = k
	defer func() { r.tracer.batch = nil }()
	for _, m := range messages {
		r.PubSubRouter.Publish(m)
	}
}

// newRandomSub makes upstream's router, which only upstream's own constructor of a whole pubsub can: two of its fields are not exported.
func newRandomSub(size int) (*pubsub.RandomSubRouter, error) {
	router := &pubsub.RandomSubRouter{}
	fields := reflect.ValueOf(router).Elem()
	for name, value := range map[string]any{"size": size, "peers": map[peer.ID]protocol.ID{}} {
		f := fields.FieldByName(name)
		if !f.IsValid() || f.Type() != reflect.TypeOf(value) {
			return nil, Errorf(ErrUnsupported, "randomsub has no %s in this version", name)
		}
		reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem().Set(reflect.ValueOf(value))
	}
	return router, nil
}
