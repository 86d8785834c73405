package core

import (
	"fmt"
	"net"
	"sync"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
)

// TopicScoreOptions are what counts for and against a peer in a topic, where pubsub.score.enabled is set. A decay is the time in which a counter is
// forgotten.
type TopicScoreOptions struct {
	Weight              float64 `json:"weight" min:"0" max:"1e15" doc:"weight of the topic in a peer's score"`
	TimeInMeshWeight    float64 `json:"time_in_mesh_weight" min:"0" max:"1e15" doc:"weight of the time in the mesh"`
	TimeInMeshQuantumMs int     `json:"time_in_mesh_quantum_ms" min:"1" max:"31536000000" doc:"time that counts as 1"`
	TimeInMeshCap       float64 `json:"time_in_mesh_cap" min:"1e-9" max:"1e15" doc:"the most that it counts"`
	FirstWeight         float64 `json:"first_deliveries_weight" min:"0" max:"1e15" doc:"weight of messages that it was the first to bring"`
	FirstDecayMs        int     `json:"first_deliveries_decay_ms" min:"1000" max:"31536000000" doc:"their decay"`
	FirstCap            float64 `json:"first_deliveries_cap" min:"1e-9" max:"1e15" doc:"the most that they count"`
	MeshWeight          float64 `json:"mesh_deliveries_weight" min:"-1e15" max:"0" doc:"weight of the square of what is missing to mesh_deliveries_threshold; 0: off, as a quiet topic would count against its peers"`
	MeshDecayMs         int     `json:"mesh_deliveries_decay_ms" min:"1000" max:"31536000000" doc:"decay of the messages that it brought as a member of the mesh"`
	MeshCap             float64 `json:"mesh_deliveries_cap" min:"1e-9" max:"1e15" doc:"the most that they count"`
	MeshThreshold       float64 `json:"mesh_deliveries_threshold" min:"1e-9" max:"1e15" doc:"how many it should bring"`
	MeshWindowMs        int     `json:"mesh_deliveries_window_ms" min:"0" max:"86400000" doc:"time after the first copy in which another still counts as brought"`
	MeshActivationMs    int     `json:"mesh_deliveries_activation_ms" min:"1000" max:"86400000" doc:"time in the mesh before it is expected"`
	MeshFailureWeight   float64 `json:"mesh_failure_weight" min:"-1e15" max:"0" doc:"weight of having been removed for that"`
	MeshFailureDecayMs  int     `json:"mesh_failure_decay_ms" min:"1000" max:"31536000000" doc:"its decay"`
	InvalidWeight       float64 `json:"invalid_messages_weight" min:"-1e15" max:"0" doc:"weight of the square of rejected messages"`
	InvalidDecayMs      int     `json:"invalid_messages_decay_ms" min:"1000" max:"31536000000" doc:"their decay"`
}

func defaultTopicScore() TopicScoreOptions {
	return TopicScoreOptions{
		Weight: 1, TimeInMeshWeight: 0.01, TimeInMeshQuantumMs: 1000, TimeInMeshCap: 100, FirstWeight: 0.1, FirstDecayMs: 600_000, FirstCap: 100,
		MeshDecayMs: 60_000, MeshCap: 100, MeshThreshold: 1, MeshWindowMs: 10, MeshActivationMs: 60_000, MeshFailureDecayMs: 600_000,
		InvalidWeight: -1, InvalidDecayMs: 3_600_000,
	}
}

// ParseTopicScoreOptions reads TopicScoreOptions from strict JSON; empty is the defaults.
func ParseTopicScoreOptions(doc []byte) (TopicScoreOptions, error) {
	o := defaultTopicScore()
	err := parseOptions(doc, &o, "")
	return o, err
}

func init() {
	registerOptions("topic_score", "options of p2p_topic_score_set", func() any { o := defaultTopicScore(); return &o })
}

// params translates into upstream's. path is put before the paths in errors.
func (o *TopicScoreOptions) params(c *ScoreConfig, path string) (*pubsub.TopicScoreParams, error) {
	for _, d := range []struct {
		name string
		ms   int
	}{{"first_deliveries", o.FirstDecayMs}, {"mesh_deliveries", o.MeshDecayMs}, {"mesh_failure", o.MeshFailureDecayMs}, {"invalid_messages", o.InvalidDecayMs}} {
		if d.ms < c.DecayIntervalMs {
			return nil, &OptionError{joinPath(path, d.name+"_decay_ms"), fmt.Sprintf("%d is less than pubsub.score.decay_interval_ms, %d", d.ms, c.DecayIntervalMs)}
		}
	}
	return &pubsub.TopicScoreParams{
		TopicWeight:      o.Weight,
		TimeInMeshWeight: o.TimeInMeshWeight, TimeInMeshQuantum: ms(o.TimeInMeshQuantumMs), TimeInMeshCap: o.TimeInMeshCap,
		FirstMessageDeliveriesWeight: o.FirstWeight, FirstMessageDeliveriesDecay: c.decay(o.FirstDecayMs), FirstMessageDeliveriesCap: o.FirstCap,
		MeshMessageDeliveriesWeight: o.MeshWeight, MeshMessageDeliveriesDecay: c.decay(o.MeshDecayMs), MeshMessageDeliveriesCap: o.MeshCap,
		MeshMessageDeliveriesThreshold: o.MeshThreshold, MeshMessageDeliveriesWindow: ms(o.MeshWindowMs), MeshMessageDeliveriesActivation: ms(o.MeshActivationMs),
		MeshFailurePenaltyWeight: o.MeshFailureWeight, MeshFailurePenaltyDecay: c.decay(o.MeshFailureDecayMs),
		InvalidMessageDeliveriesWeight: o.InvalidWeight, InvalidMessageDeliveriesDecay: c.decay(o.InvalidDecayMs),
	}, nil
}

// decay is the factor of each step with which a counter is forgotten in a time.
func (c *ScoreConfig) decay(forgottenMs int) float64 {
	return pubsub.ScoreParameterDecayWithBase(ms(forgottenMs), ms(c.DecayIntervalMs), c.DecayToZero)
}

// scores are what a node thinks of its peers.
type scores struct {
	p *publisher

	mu   sync.Mutex
	app  map[peer.ID]int64                     // guarded by mu; what the program gave
	last map[peer.ID]*pubsub.PeerScoreSnapshot // guarded by mu; not changed by anybody
	gray map[peer.ID]struct{}                  // guarded by mu; those of last that are not heard
}

func (s *scores) init(p *publisher) {
	s.p, s.app, s.gray = p, map[peer.ID]int64{}, map[peer.ID]struct{}{}
}

func (s *scores) options() []pubsub.Option {
	c := &s.p.node.cfg.Pubsub.Score
	params := &pubsub.PeerScoreParams{
		Topics: map[string]*pubsub.TopicScoreParams{}, TopicScoreCap: c.TopicCap,
		AppSpecificScore: s.given, AppSpecificWeight: c.AppWeight,
		IPColocationFactorWeight: c.IPWeight, IPColocationFactorThreshold: c.IPThreshold,
		BehaviourPenaltyWeight: c.BehaviourWeight, BehaviourPenaltyThreshold: c.BehaviourThreshold, BehaviourPenaltyDecay: c.decay(c.BehaviourDecayMs),
		DecayInterval: ms(c.DecayIntervalMs), DecayToZero: c.DecayToZero, RetainScore: ms(c.RetainMs), SeenMsgTTL: ms(s.p.node.cfg.Pubsub.SeenMs),
	}
	for _, text := range c.IPWhitelist {
		if _, subnet, err := net.ParseCIDR(text); err == nil { // checked before
			params.IPColocationFactorWhitelist = append(params.IPColocationFactorWhitelist, subnet)
		}
	}
	return []pubsub.Option{
		pubsub.WithPeerScore(params, &pubsub.PeerScoreThresholds{
			GossipThreshold: c.GossipThreshold, PublishThreshold: c.PublishThreshold, GraylistThreshold: c.GraylistThreshold,
			AcceptPXThreshold: c.AcceptPXThreshold, OpportunisticGraftThreshold: c.OpportunisticGraft,
		}),
		pubsub.WithPeerScoreInspect(s.inspect, ms(c.InspectMs)),
	}
}

// given is what the program thinks of a peer. Upstream asks for it with its own lock held.
func (s *scores) given(id peer.ID) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return float64(s.app[id])
}

// inspect is told all scores now and then, and tells who fell below the threshold, and who rose above it.
func (s *scores) inspect(all map[peer.ID]*pubsub.PeerScoreSnapshot) {
	defer recovered("scores")
	threshold := s.p.node.cfg.Pubsub.Score.GraylistThreshold
	var events []Event
	s.mu.Lock()
	for id, is := range all {
		_, was := s.gray[id]
		switch below := is.Score < threshold; {
		case below && !was:
			s.gray[id] = struct{}{}
			events = append(events, Event{Type: PeerGraylisted, Peer: id, Score: is.Score})
		case !below && was:
			delete(s.gray, id)
			events = append(events, Event{Type: PeerPardoned, Peer: id, Score: is.Score})
		}
	}
	for id := range s.gray {
		if all[id] == nil { // forgotten
			delete(s.gray, id)
			events = append(events, Event{Type: PeerPardoned, Peer: id})
		}
	}
	s.last = all
	s.mu.Unlock()
	for _, e := range events {
		s.p.node.emit(e)
	}
}

// PubsubScore gives a peer a score of the program's own, which counts with pubsub.score.app_weight; 0 takes it back. It fails with ErrState where
// peers are not scored.
func (n *Node) PubsubScore(id peer.ID, score int64) error {
	p, err := n.pubsubOn()
	if err != nil {
		return err
	}
	if !n.cfg.Pubsub.Score.Enabled {
		return Errorf(ErrState, "score of %s: the node has pubsub.score.enabled off", id)
	}
	s := &p.score
	s.mu.Lock()
	defer s.mu.Unlock()
	if score == 0 {
		delete(s.app, id)
	} else {
		s.app[id] = score
	}
	return nil
}

// SetScore changes what counts in the topic. It fails with ErrState where peers are not scored.
func (t *Topic) SetScore(o TopicScoreOptions) error { return t.setScore(o, "") }

func (t *Topic) setScore(o TopicScoreOptions, path string) error {
	c := &t.p.node.cfg.Pubsub.Score
	if !c.Enabled {
		return Errorf(ErrState, "topic %s: the node has pubsub.score.enabled off", quoteShort(t.name))
	}
	params, err := o.params(c, path)
	if err != nil {
		return err
	}
	if err := t.t.SetScoreParams(params); err != nil {
		return t.joinError(err)
	}
	return nil
}
