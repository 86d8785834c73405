package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"io"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// quiet is how long nothing may arrive before the receiver calls the rest lost.
const quiet = 3 * time.Second

type pubsubNode struct {
	topic *pubsub.Topic

	mu       sync.Mutex
	received int
	first    time.Time
	last     time.Time
}

// newPubsub has queues that hold every message of a run, so that the control is measured at its best and not by what it drops.
func newPubsub(ctx context.Context, h host.Host, o options) (*pubsubNode, error) {
	opts := []pubsub.Option{
		pubsub.WithPeerOutboundQueueSize(o.count + 1024),
		pubsub.WithValidateQueueSize(o.count + 1024),
		pubsub.WithMessageSignaturePolicy(pubsub.StrictSign),
	}
	if o.signing == "none" {
		// As a message without author has no number, its content is its name, here and in the library.
		opts = append(opts, pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(), pubsub.WithMessageIdFn(contentID))
	}
	ps, err := pubsub.NewGossipSub(ctx, h, opts...)
	if err != nil {
		return nil, err
	}
	topic, err := ps.Join(topicName)
	return &pubsubNode{topic: topic}, err
}

func contentID(m *pb.Message) string {
	h := sha256.New()
	h.Write([]byte(m.GetTopic()))
	h.Write(m.GetData())
	return string(h.Sum(nil))
}

func (n *pubsubNode) receive(ctx context.Context) error {
	sub, err := n.topic.Subscribe(pubsub.WithBufferSize(1 << 17))
	if err != nil {
		return err
	}
	go func() {
		for {
			if _, err := sub.Next(ctx); err != nil {
				return
			}
			now := time.Now()
			n.mu.Lock()
			if n.received == 0 {
				n.first = now
			}
			n.received++
			n.last = now
			n.mu.Unlock()
		}
	}()
	return nil
}

// answerCount waits until all that was sent has come, or nothing more comes, and tells the dialler what it counted.
func (n *pubsubNode) answerCount(s network.Stream) {
	defer s.Close()
	var question [8]byte
	if _, err := io.ReadFull(s, question[:]); err != nil {
		return
	}
	expected := int(binary.BigEndian.Uint64(question[:]))
	asked := time.Now()
	for {
		n.mu.Lock()
		received, span, last := n.received, n.last.Sub(n.first), n.last
		n.mu.Unlock()
		if last.Before(asked) {
			last = asked
		}
		if received >= expected || time.Since(last) > quiet {
			json.NewEncoder(s).Encode(map[string]any{"received": received, "seconds": span.Seconds()})
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (n *pubsubNode) publish(ctx context.Context, h host.Host, id peer.ID, o options) (map[string]any, error) {
	message := make([]byte, o.size)
	// A publisher that does not subscribe has no mesh, so pubsub's own readiness option would wait for ever.
	for len(n.topic.ListPeers()) == 0 {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	start := time.Now()
	for i := range o.count {
		binary.BigEndian.PutUint64(message, uint64(i))
		if err := n.topic.Publish(ctx, bytes.Clone(message)); err != nil { // pubsub keeps the slice
			return nil, err
		}
	}
	published := time.Since(start).Seconds()
	s, err := h.NewStream(ctx, id, countProtocol)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if _, err := s.Write(binary.BigEndian.AppendUint64(nil, uint64(o.count))); err != nil {
		return nil, err
	}
	s.CloseWrite()
	result := map[string]any{"sent": o.count, "publish_seconds": published}
	return result, json.NewDecoder(s).Decode(&result)
}
