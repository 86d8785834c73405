package main

import (
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/libp2pgo/libp2pgo/core"
)

// A node speaks with the same few peers again and again, and turning an id into text or back costs more than all the rest of an event. These
// tables remember; full, they start anew.
const peerTextsMax = 4096

type table[K comparable, V any] struct {
	mu sync.RWMutex
	m  map[K]V // guarded by mu
}

func (t *table[K, V]) get(k K) (v V, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	v, ok = t.m[k]
	return v, ok
}

func (t *table[K, V]) put(k K, v V) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m == nil || len(t.m) >= peerTextsMax {
		t.m = map[K]V{}
	}
	t.m[k] = v
}

var (
	peerTexts table[peer.ID, string]
	peerIDs   table[string, peer.ID]
)

// peerText is id.String(), and "" for no peer.
func peerText(id peer.ID) string {
	if id == "" {
		return ""
	}
	s, ok := peerTexts.get(id)
	if !ok {
		s = id.String()
		peerTexts.put(id, s)
	}
	return s
}

// parsePeer is core.ParsePeer.
func parsePeer(s string) (peer.ID, error) {
	id, ok := peerIDs.get(s)
	if ok {
		return id, nil
	}
	id, err := core.ParsePeer(s)
	if err == nil {
		peerIDs.put(s, id)
	}
	return id, err
}
