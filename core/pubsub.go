package core

import (
	"context"
	"crypto/sha256"
	"sort"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// publisher is a node's gossipsub with what this package adds: counters, publishing with an answer, and holding peers back.
type publisher struct {
	node         *Node
	ps           *pubsub.PubSub
	tracer       *pubsubTracer
	gate         readGate
	out          outbound
	signed       bool
	signatureMax int
	turn         chan struct{} // a token: one batch is published at a time

	mu     sync.Mutex
	topics map[string]*Topic // guarded by mu
}

// startPubsub starts gossipsub on the node. It ends with the node: upstream has no other stop than its context.
func startPubsub(n *Node) (*publisher, error) {
	c := n.cfg.Pubsub
	p := &publisher{node: n, signed: c.Signing != "none", turn: make(chan struct{}, 1), topics: map[string]*Topic{}}
	p.tracer = newPubsubTracer(p)
	if p.signed {
		p.signatureMax = signatureMax(n.host.Peerstore().PrivKey(n.ID()))
	}
	p.gate.init(n.ctx, n.cfg.Yamux.WindowBytes)
	p.out.init(c.OutboundQueue)
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
		pubsub.WithValidateThrottle(verdictsMax), // what may be pending is each topic's validate_capacity
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
	ps, err := pubsub.NewGossipSub(n.ctx, &gatedHost{n.host, &p.gate, &p.out}, options...)
	if err != nil {
		return nil, Errorf(ErrConfig, "pubsub: %v", err)
	}
	p.ps = ps
	return p, nil
}

// maxData is how many bytes of data leave room for a message's other fields. Upstream drops what is larger without a word.
func (p *publisher) maxData(topic string) int {
	limit := p.node.cfg.Pubsub.MaxMessageSize
	m := &pb.Message{Topic: &topic}
	if p.signed {
		m.From, m.Seqno, m.Signature = []byte(p.node.ID()), make([]byte, 8), make([]byte, p.signatureMax)
		if _, err := p.node.ID().ExtractPublicKey(); err != nil { // the id does not contain the key, so the message does
			m.Key, _ = crypto.MarshalPublicKey(p.node.host.Peerstore().PubKey(p.node.ID()))
		}
	}
	fields := proto.Size(m)
	rpc := func(data int) int {
		message := fields + protowire.SizeTag(2) + protowire.SizeBytes(data)
		return protowire.SizeTag(2) + protowire.SizeBytes(message)
	}
	return sort.Search(limit, func(data int) bool { return rpc(data+1) > limit })
}

// signatureMax is the largest signature of the node's key; those of ECDSA and secp256k1 vary by some bytes.
func signatureMax(key crypto.PrivKey) int {
	sample, err := key.Sign([]byte("libp2p-pubsub:"))
	if err != nil {
		return 0
	}
	switch key.Type() {
	case crypto.Ed25519, crypto.RSA:
		return len(sample)
	}
	return max(len(sample), 72)
}

// verdictsMax is above any number of messages that are validated at a time.
const verdictsMax = 1 << 24

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
	ctx       context.Context
	allowance int // bytes that a stream may bring after it was held back for gateLimit

	mu     sync.Mutex
	shut   int           // guarded by mu; how many want it shut
	opened chan struct{} // guarded by mu; closed when nobody does any more
}

// gateLimit bounds how long a stream is held back: a peer that cannot write for 30 s gives it up, with all that is under way.
const gateLimit = 20 * time.Second

func (g *readGate) init(ctx context.Context, window int) { g.ctx, g.allowance = ctx, window }

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

// pass waits while the gate is shut. It returns how much may be read without asking again: after gateLimit, enough for the peer to get on.
func (g *readGate) pass() (allowance int) {
	g.mu.Lock()
	shut, opened := g.shut, g.opened
	g.mu.Unlock()
	if shut == 0 {
		return 0
	}
	timer := time.NewTimer(gateLimit)
	defer timer.Stop()
	select {
	case <-opened:
	case <-timer.C:
		return g.allowance
	case <-g.ctx.Done():
	}
	return 0
}

// gatedHost is a host whose inbound pubsub streams are read through a gate, and whose outbound ones are counted.
type gatedHost struct {
	host.Host
	gate *readGate
	out  *outbound
}

func (h *gatedHost) wrap(handler network.StreamHandler) network.StreamHandler {
	return func(s network.Stream) { handler(&gatedStream{Stream: s, gate: h.gate}) }
}

func (h *gatedHost) SetStreamHandler(id protocol.ID, handler network.StreamHandler) {
	h.Host.SetStreamHandler(id, h.wrap(handler))
}

func (h *gatedHost) SetStreamHandlerMatch(id protocol.ID, match func(protocol.ID) bool, handler network.StreamHandler) {
	h.Host.SetStreamHandlerMatch(id, match, h.wrap(handler))
}

// NewStream does not dial: upstream greets every new peer with a stream of its own, and one that was just disconnected would be back.
func (h *gatedHost) NewStream(ctx context.Context, id peer.ID, protocols ...protocol.ID) (network.Stream, error) {
	s, err := h.Host.NewStream(network.WithNoDial(ctx, "pubsub"), id, protocols...)
	if err != nil {
		return nil, err
	}
	return &outboundStream{s, h.out}, nil
}

type gatedStream struct {
	network.Stream
	gate      *readGate
	allowance int // of the one goroutine that reads
}

func (s *gatedStream) Read(p []byte) (int, error) {
	if s.allowance <= 0 {
		s.allowance = s.gate.pass()
	}
	n, err := s.Stream.Read(p)
	s.allowance -= n
	return n, err
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
