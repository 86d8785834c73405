package core

import (
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// PubsubInfo is what PubsubInfo returns; docs/info.md explains the keys.
type PubsubInfo struct {
	Router    string                     `json:"router"`
	Protocols []string                   `json:"protocols"`
	Signing   string                     `json:"signing"`
	Author    string                     `json:"author"`
	MessageID string                     `json:"message_id"`
	Peers     map[string]PubsubPeerInfo  `json:"peers"`
	Mesh      map[string][]string        `json:"mesh"`
	Scores    map[string]PubsubScoreInfo `json:"scores"`
	Direct    []string                   `json:"direct"`
	Blocked   []string                   `json:"blocked"`
}

// PubsubPeerInfo is a peer that messages can be sent to.
type PubsubPeerInfo struct {
	Protocol     string `json:"protocol"`
	Waiting      int    `json:"waiting"`
	WaitingBytes int    `json:"waiting_bytes"`
}

// PubsubScoreInfo is a peer's score with its parts, before their weights.
type PubsubScoreInfo struct {
	Score        float64                         `json:"score"`
	Graylisted   bool                            `json:"graylisted"`
	App          float64                         `json:"app"`
	IPColocation float64                         `json:"ip_colocation"`
	Behaviour    float64                         `json:"behaviour"`
	Topics       map[string]PubsubTopicScoreInfo `json:"topics"`
}

// PubsubTopicScoreInfo is what a peer did in a topic.
type PubsubTopicScoreInfo struct {
	TimeInMeshMs    int64   `json:"time_in_mesh_ms"`
	FirstDeliveries float64 `json:"first_deliveries"`
	MeshDeliveries  float64 `json:"mesh_deliveries"`
	InvalidMessages float64 `json:"invalid_messages"`
}

// pubsubOn returns the node's pubsub, ErrState if it is off.
func (n *Node) pubsubOn() (*publisher, error) {
	if n.pubsub == nil {
		return nil, Errorf(ErrState, "the node has pubsub off")
	}
	if n.ctx.Err() != nil {
		return nil, ctxError(n.ctx, "pubsub")
	}
	return n.pubsub, nil
}

// PubsubInfo returns what pubsub knows: its peers, the mesh of each topic, the scores. It costs no network.
func (n *Node) PubsubInfo() (*PubsubInfo, error) {
	p, err := n.pubsubOn()
	if err != nil {
		return nil, err
	}
	c := &n.cfg.Pubsub
	info := &PubsubInfo{
		Router: c.Router, Protocols: []string{}, Signing: c.Signing, MessageID: c.MessageID, Peers: map[string]PubsubPeerInfo{},
		Mesh: p.tracer.meshes(), Scores: p.score.info(), Direct: []string{}, Blocked: p.block.list(),
	}
	if p.author != "" {
		info.Author = p.author.String()
	}
	for _, id := range p.protocols() {
		info.Protocols = append(info.Protocols, string(id))
	}
	for id, peer := range p.out.info() {
		info.Peers[id.String()] = peer
	}
	p.mu.Lock()
	for id := range p.direct {
		info.Direct = append(info.Direct, id.String())
	}
	p.mu.Unlock()
	slices.Sort(info.Direct)
	return info, nil
}

// protocols returns the names that pubsub goes by on this node, the best one first.
func (p *publisher) protocols() []protocol.ID {
	c := &p.node.cfg.Pubsub
	return prefixed(protocol.ID(c.ProtocolPrefix), routerProtocols[c.Router]...)
}

func (s *scores) info() map[string]PubsubScoreInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]PubsubScoreInfo, len(s.last))
	for id, is := range s.last {
		_, gray := s.gray[id]
		info := PubsubScoreInfo{is.Score, gray, is.AppSpecificScore, is.IPColocationFactor, is.BehaviourPenalty, map[string]PubsubTopicScoreInfo{}}
		for topic, t := range is.Topics {
			info.Topics[topic] = PubsubTopicScoreInfo{t.TimeInMesh.Milliseconds(), t.FirstMessageDeliveries, t.MeshMessageDeliveries, t.InvalidMessageDeliveries}
		}
		all[id.String()] = info
	}
	return all
}

// info returns the peers that there is a stream to.
func (o *outbound) info() map[peer.ID]PubsubPeerInfo {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := make(map[peer.ID]PubsubPeerInfo, len(o.ready))
	for id, name := range o.ready {
		info := PubsubPeerInfo{Protocol: string(name)}
		if q := o.queues[id]; q != nil {
			info.Waiting, info.WaitingBytes = max(q.waiting, 0), max(q.bytes, 0)
		}
		all[id] = info
	}
	return all
}
