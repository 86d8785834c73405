package core

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// publisher is a node's gossipsub with what this package adds: counters, publishing with an answer, and holding peers back.
type publisher struct {
	node   *Node
	ps     *pubsub.PubSub
	tracer *pubsubTracer
	gate   readGate
	signed bool
	turn   chan struct{} // a token: one batch is published at a time

	mu     sync.Mutex
	topics map[string]*Topic // guarded by mu
}

// startPubsub starts gossipsub on the node. It ends with the node: upstream has no other stop than its context.
func startPubsub(n *Node) (*publisher, error) {
	c := n.cfg.Pubsub
	p := &publisher{node: n, signed: c.Signing != "none", turn: make(chan struct{}, 1), topics: map[string]*Topic{}}
	p.tracer = newPubsubTracer(p)
	p.gate.ctx = n.ctx
	params := pubsub.DefaultGossipSubParams()
	params.D, params.Dlo, params.Dhi, params.Dlazy = c.D, c.DLow, c.DHigh, c.DLazy
	params.Dscore, params.Dout = min(params.Dscore, c.D), min(params.Dout, max(min(c.DLow-1, c.D/2-1), 0))
	params.HeartbeatInterval = time.Duration(c.HeartbeatMs) * time.Millisecond
	options := []pubsub.Option{
		pubsub.WithGossipSubParams(params),
		pubsub.WithFloodPublish(c.FloodPublish),
		pubsub.WithMaxMessageSize(c.MaxMessageSize),
		pubsub.WithPeerOutboundQueueSize(c.OutboundQueue),
		pubsub.WithValidateQueueSize(c.ValidateQueue),
		pubsub.WithRawTracer(p.tracer),
		pubsub.WithLogger(newLogger("pubsub")),
		pubsub.WithRPCLogger(newLogger("pubsub-rpc")),
	}
	if c.ValidateWorkers > 0 {
		options = append(options, pubsub.WithValidateWorkers(c.ValidateWorkers))
	}
	if !p.signed {
		options = append(options, pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(), pubsub.WithMessageIdFn(contentID))
	}
	ps, err := pubsub.NewGossipSub(n.ctx, &gatedHost{n.host, &p.gate}, options...)
	if err != nil {
		return nil, Errorf(ErrConfig, "pubsub: %v", err)
	}
	p.ps = ps
	return p, nil
}

// contentID names a message without author by what it says: two equal ones are one for as long as the first is remembered.
func contentID(m *pb.Message) string {
	h := sha256.New()
	h.Write([]byte(m.GetTopic()))
	h.Write([]byte{0})
	h.Write(m.GetData())
	return string(h.Sum(nil))
}

// readGate holds back the peers of a node's pubsub while a subscription that must not lose is full.
type readGate struct {
	ctx context.Context

	mu     sync.Mutex
	shut   int           // guarded by mu; how many want it shut
	opened chan struct{} // guarded by mu; closed when nobody does any more
}

// gateLimit bounds how long one read is held back: a peer that cannot write for longer gives the stream up.
const gateLimit = 20 * time.Second

func (g *readGate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut++; g.shut == 1 {
		g.opened = make(chan struct{})
	}
}

func (g *readGate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut--; g.shut == 0 {
		close(g.opened)
	}
}

func (g *readGate) pass() {
	g.mu.Lock()
	shut, opened := g.shut, g.opened
	g.mu.Unlock()
	if shut == 0 {
		return
	}
	timer := time.NewTimer(gateLimit)
	defer timer.Stop()
	select {
	case <-opened:
	case <-timer.C:
	case <-g.ctx.Done():
	}
}

// gatedHost is a host whose inbound pubsub streams are read through a gate.
type gatedHost struct {
	host.Host
	gate *readGate
}

func (h *gatedHost) wrap(handler network.StreamHandler) network.StreamHandler {
	return func(s network.Stream) { handler(&gatedStream{s, h.gate}) }
}

func (h *gatedHost) SetStreamHandler(id protocol.ID, handler network.StreamHandler) {
	h.Host.SetStreamHandler(id, h.wrap(handler))
}

func (h *gatedHost) SetStreamHandlerMatch(id protocol.ID, match func(protocol.ID) bool, handler network.StreamHandler) {
	h.Host.SetStreamHandlerMatch(id, match, h.wrap(handler))
}

// NewStream does not dial: upstream greets every new peer with a stream of its own, and one that was just disconnected would be back.
func (h *gatedHost) NewStream(ctx context.Context, id peer.ID, protocols ...protocol.ID) (network.Stream, error) {
	return h.Host.NewStream(network.WithNoDial(ctx, "pubsub"), id, protocols...)
}

type gatedStream struct {
	network.Stream
	gate *readGate
}

func (s *gatedStream) Read(p []byte) (int, error) {
	s.gate.pass()
	return s.Stream.Read(p)
}

// Message is one message of a topic. It is shared between subscriptions and must not be changed.
type Message struct {
	Topic  string
	Data   []byte
	Author peer.ID // who published it; empty when messages carry no author
	From   peer.ID // who passed it on to this node
	ID     []byte
	Seq    uint64 // the author's number for it; 0 when messages carry no author
	Signed bool   // the author's signature was checked
	Local  bool   // published by this node
}

func (p *publisher) message(m *pubsub.Message) *Message {
	var seq uint64
	for _, b := range m.GetSeqno() {
		seq = seq<<8 | uint64(b)
	}
	local := m.ReceivedFrom == p.node.ID()
	return &Message{m.GetTopic(), m.Data, peer.ID(m.From), m.ReceivedFrom, []byte(m.ID), seq, m.Signature != nil, local}
}
