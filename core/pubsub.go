package core

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"sort"
	"sync"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p-pubsub/timecache"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// publisher is a node's pubsub with what this package adds: counters, publishing with an answer, and holding peers back.
type publisher struct {
	node   *Node
	ps     *pubsub.PubSub
	tracer *pubsubTracer
	gate   readGate
	out    outbound
	block  blockList
	score  scores
	turn   chan struct{} // a token: one batch is published at a time

	author       peer.ID        // whom messages name; "": nobody
	key          crypto.PrivKey // what they are signed with; nil: they are not
	signatureMax int
	verified     bool                 // a message without a valid signature has no author that rules may trust
	id           pubsub.MsgIdFunction // of topics without one of their own

	ids sync.Map // topic -> pubsub.MsgIdFunction, of joined topics that have one of their own; the pubsub loop reads it

	mu     sync.Mutex           // also held while the pubsub loop is waited for
	topics map[string]*Topic    // guarded by mu
	direct map[peer.ID]struct{} // guarded by mu
}

// startPubsub starts pubsub on the node. It ends with the node: upstream has no other stop than its context.
func startPubsub(n *Node) (*publisher, error) {
	c := &n.cfg.Pubsub
	p := &publisher{node: n, turn: make(chan struct{}, 1), topics: map[string]*Topic{}, direct: map[peer.ID]struct{}{}}
	p.tracer = newPubsubTracer(p)
	p.gate.init(n.ctx, n.cfg.Yamux.WindowBytes)
	p.out.init(c.OutboundQueue)
	p.block.init()
	p.score.init(p)
	options := []pubsub.Option{
		pubsub.WithLogger(newLogger("pubsub")), // first: others take it along
		pubsub.WithRPCLogger(newLogger("pubsub-rpc")),
		pubsub.WithMaxMessageSize(c.MaxMessageSize),
		pubsub.WithMaxControlMessageSize(c.MaxControlSize),
		pubsub.WithPeerOutboundQueueSize(c.OutboundQueue),
		pubsub.WithValidateQueueSize(c.ValidateQueue),
		pubsub.WithValidateThrottle(verdictsMax), // what may be pending is each topic's validate_capacity
		pubsub.WithRawTracer(p.tracer),
		pubsub.WithBlacklist(&p.block),
		pubsub.WithPeerFilter(func(id peer.ID, _ string) bool { return !p.block.Contains(id) }),
		pubsub.WithSubscriptionFilter(&topicFilter{p}),
		pubsub.WithSeenMessagesTTL(ms(c.SeenMs)),
	}
	if c.SeenRefresh {
		options = append(options, pubsub.WithSeenMessagesStrategy(timecache.Strategy_LastSeen))
	}
	if c.ValidateWorkers > 0 {
		options = append(options, pubsub.WithValidateWorkers(c.ValidateWorkers))
	}
	if c.CheckSequence {
		options = append(options, pubsub.WithDefaultValidator(newSequences(n.ID()).check, pubsub.WithValidatorInline(true)))
	}
	authorship, err := p.authorship()
	if err != nil {
		return nil, err
	}
	p.id = messageIDs[c.MessageID]
	options = append(options, pubsub.WithMessageIdFn(p.tracer.noteID(p.idOf)))
	p.ps, err = p.startRouter(append(options, authorship...))
	if err != nil {
		return nil, Errorf(ErrConfig, "pubsub: %v", err)
	}
	return p, nil
}

// authorship settles whom messages name as their author and who signs them.
func (p *publisher) authorship() ([]pubsub.Option, error) {
	c, n := &p.node.cfg.Pubsub, p.node
	policy := map[string]pubsub.MessageSignaturePolicy{
		"sign": pubsub.StrictSign, "none": pubsub.StrictNoSign, "lax_sign": pubsub.LaxSign, "lax_none": pubsub.LaxNoSign}[c.Signing]
	options := []pubsub.Option{pubsub.WithMessageSignaturePolicy(policy)}
	signs := c.Signing == "sign" || c.Signing == "lax_sign"
	p.verified = c.Signing != "none"
	if c.Author == "none" || c.Author == "auto" && !signs {
		return append(options, pubsub.WithNoAuthor()), nil
	}
	p.author = n.ID()
	key := n.host.Peerstore().PrivKey(n.ID())
	if c.AuthorFile != "" {
		var err error
		if key, err = authorKey(c.AuthorFile); err != nil {
			return nil, err
		}
		if p.author, err = peer.IDFromPrivateKey(key); err != nil {
			return nil, Errorf(ErrParse, "pubsub.author_file %q: the key has no peer id", c.AuthorFile)
		}
		if err := n.host.Peerstore().AddPrivKey(p.author, key); err != nil {
			return nil, Errorf(ErrInternal, "pubsub.author_file %q: %v", c.AuthorFile, err)
		}
		options = append(options, pubsub.WithMessageAuthor(p.author))
	}
	if signs {
		p.key, p.signatureMax = key, signatureMax(key)
	}
	return options, nil
}

func authorKey(path string) (crypto.PrivKey, error) {
	data, err := readSecret("pubsub.author_file", path, 0o077)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, Errorf(ErrPermission, "pubsub.author_file %q: no such file", path)
	}
	if err != nil {
		return nil, err
	}
	key, err := parseKey(data)
	if err != nil {
		return nil, Errorf(ErrParse, "pubsub.author_file %q: %w", path, err)
	}
	return key, nil
}

// maxData is how many bytes of data leave room for a message's other fields. Upstream drops what is larger without a word.
func (p *publisher) maxData(topic string) int {
	limit := p.node.cfg.Pubsub.MaxMessageSize
	m := &pb.Message{Topic: &topic}
	if p.author != "" {
		m.From, m.Seqno = []byte(p.author), make([]byte, 8)
	}
	if p.key != nil {
		m.Signature = make([]byte, p.signatureMax)
		if _, err := p.author.ExtractPublicKey(); err != nil { // the id does not contain the key, so the message does
			m.Key, _ = crypto.MarshalPublicKey(p.key.GetPublic())
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

// messageIDs are the choices of what makes two messages the same.
var messageIDs = map[string]pubsub.MsgIdFunction{"auto": authorID, "author": authorID, "content": contentID, "topic_content": topicContentID}

// authorID is upstream's default: author and number. Those without an author go by what they say: upstream would take them all for one.
func authorID(m *pb.Message) string {
	if len(m.GetFrom()) == 0 {
		return topicContentID(m)
	}
	return string(m.GetFrom()) + string(m.GetSeqno())
}

func contentID(m *pb.Message) string {
	sum := sha256.Sum256(m.GetData())
	return string(sum[:])
}

// topicContentID names a message by what it says: two equal ones are one for as long as the first is remembered.
func topicContentID(m *pb.Message) string {
	h := sha256.New()
	h.Write([]byte(m.GetTopic()))
	h.Write([]byte{0})
	h.Write(m.GetData())
	return string(h.Sum(nil))
}

// authorOf returns the author that a message names. Where nobody signs it can be anything.
func authorOf(m *pubsub.Message) peer.ID {
	if len(m.From) > 128 {
		return ""
	}
	return peer.ID(m.From)
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
	return &Message{m.GetTopic(), m.Data, authorOf(m), m.ReceivedFrom, []byte(m.ID), seq, m.Signature != nil, local}
}
