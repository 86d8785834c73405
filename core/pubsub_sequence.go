package core

import (
	"context"
	"encoding/binary"
	"sync"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// sequenceWindow is how far an author's messages may overtake each other: they are validated on several processors.
	sequenceWindow = 4096
	// sequenceAuthors bounds the authors that are remembered.
	sequenceAuthors = 4096
)

// sequences remembers which numbers authors have used, long after the messages themselves are forgotten. Upstream's own validator remembers the
// highest alone, and loses what was overtaken.
type sequences struct {
	self peer.ID

	mu      sync.Mutex
	authors map[peer.ID]*sequence // guarded by mu
}

type sequence struct {
	highest uint64
	used    [sequenceWindow / 64]uint64 // a bit for each of the last numbers up to highest
}

func newSequences(self peer.ID) *sequences {
	return &sequences{self: self, authors: map[peer.ID]*sequence{}}
}

// check is upstream's validator.
func (s *sequences) check(_ context.Context, from peer.ID, m *pubsub.Message) (result pubsub.ValidationResult) {
	result = pubsub.ValidationIgnore
	defer recovered("sequence numbers")
	if from == s.self {
		return pubsub.ValidationAccept
	}
	if len(m.GetSeqno()) == 8 && s.fresh(authorOf(m), binary.BigEndian.Uint64(m.GetSeqno())) {
		return pubsub.ValidationAccept
	}
	return pubsub.ValidationIgnore
}

// fresh tells whether the author uses the number for the first time, and notes it.
func (s *sequences) fresh(author peer.ID, n uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.authors[author]
	if q == nil {
		if len(s.authors) >= sequenceAuthors {
			for other := range s.authors {
				delete(s.authors, other)
				break
			}
		}
		q = &sequence{highest: n}
		s.authors[author] = q
	}
	switch {
	case n > q.highest && n-q.highest >= sequenceWindow:
		clear(q.used[:])
	case n > q.highest:
		for i := q.highest + 1; i != n; i++ {
			q.used[i%sequenceWindow/64] &^= 1 << (i % 64)
		}
		q.used[n%sequenceWindow/64] &^= 1 << (n % 64)
	case q.highest-n >= sequenceWindow:
		return false
	}
	q.highest = max(q.highest, n)
	word, bit := &q.used[n%sequenceWindow/64], uint64(1)<<(n%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}
