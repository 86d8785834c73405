package core

import (
	"container/heap"
	"container/list"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// rendezvousStore holds the registrations of a point: in memory, bounded, and in the order in which they came, so that a cookie is no more than
// a place in that order and costs the point nothing to remember.
type rendezvousStore struct {
	maxAll, maxPeer int
	disk            *rendezvousDisk // nil: in memory alone
	instance        [4]byte         // of the cookies of this store alone: after a restart the order is another

	mu       sync.Mutex
	last     uint64                              // guarded by mu; number of the latest registration
	entries  map[rendezvousKey]*rendezvousStored // guarded by mu
	perPeer  map[peer.ID]peerCount               // guarded by mu
	perName  map[string]*list.List               // guarded by mu; of *rendezvousStored, in order
	all      *list.List                          // guarded by mu; in order
	expiring rendezvousHeap                      // guarded by mu
	now      func() time.Time                    // for tests
}

type rendezvousKey struct {
	peer      peer.ID
	namespace string
}

type rendezvousStored struct {
	key           rendezvousKey
	records       [2][]byte // by recordForm; one may be nil
	expires       time.Time
	number        uint64
	inName, inAll *list.Element
	index         int // in the heap
}

func newRendezvousStore(maxAll, maxPeer int) *rendezvousStore {
	s := &rendezvousStore{maxAll: maxAll, maxPeer: maxPeer, entries: map[rendezvousKey]*rendezvousStored{}, perPeer: map[peer.ID]peerCount{},
		perName: map[string]*list.List{}, all: list.New(), now: time.Now}
	rand.Read(s.instance[:])
	return s
}

// register adds or renews a registration, with its record in one form or both. It returns a status and words.
func (s *rendezvousStore) register(key rendezvousKey, records [2][]byte, ttl time.Duration) (status uint64, words string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pruneLocked()
	if old := s.entries[key]; old != nil {
		s.removeLocked(old)
	}
	now := s.now()
	number := max(s.last+1, uint64(now.UnixNano())) // so it grows over a restart too, when what had the last number is gone
	status, words = s.addLocked(&rendezvousStored{key: key, records: records, expires: now.Add(ttl), number: number})
	if status == rendezvousOK {
		s.disk.put(s.entries[key])
	}
	return status, words
}

// addLocked adds what is not there, in its place by number, which is the last.
func (s *rendezvousStore) addLocked(e *rendezvousStored) (status uint64, words string) {
	key := e.key
	switch {
	case s.perPeer[key.peer].all >= s.maxPeer:
		return rendezvousUnavailable, "too many registrations of this peer"
	case len(s.entries) >= s.maxAll:
		return rendezvousUnavailable, "the point is full"
	}
	s.last = e.number
	named := s.perName[key.namespace]
	if named == nil {
		named = list.New()
		s.perName[key.namespace] = named
	}
	e.inName, e.inAll = named.PushBack(e), s.all.PushBack(e)
	s.entries[key] = e
	s.countLocked(e, 1)
	heap.Push(&s.expiring, e)
	return rendezvousOK, ""
}

func (s *rendezvousStore) unregister(key rendezvousKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[key]; e != nil {
		s.removeLocked(e)
	}
}

// detach keeps what follows in memory alone.
func (s *rendezvousStore) detach() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disk = nil
}

// registersDraft tells whether the peer has a registration with a record in the draft's form alone.
func (s *rendezvousStore) registersDraft(id peer.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.perPeer[id].draft > 0
}

// peerCount counts a peer's registrations, and those of them with a record in the draft's form alone.
type peerCount struct{ all, draft int }

func (s *rendezvousStore) countLocked(e *rendezvousStored, by int) {
	c := s.perPeer[e.key.peer]
	c.all += by
	if e.records[recordStandard] == nil {
		c.draft += by
	}
	if s.perPeer[e.key.peer] = c; c.all == 0 {
		delete(s.perPeer, e.key.peer)
	}
}

// wanted is the form of records that an asker reads; registrations without it are passed over.
type wanted int

const wantEither wanted = -1

func (w wanted) of(records [2][]byte) []byte {
	if w != wantEither {
		return records[w]
	}
	if records[recordStandard] != nil {
		return records[recordStandard]
	}
	return records[recordDraft]
}

// discover returns what came after the cookie's place, the oldest first, at most limit registrations and about maxBytes bytes, and the cookie
// for the rest. It reports false for a cookie that is not of this name and store.
func (s *rendezvousStore) discover(namespace string, cookie []byte, limit, maxBytes int, want wanted) (found []rendezvousEntry, next []byte, ok bool) {
	after, ok := s.place(namespace, cookie)
	if !ok {
		return nil, nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pruneLocked()
	entries := s.all
	if namespace != "" {
		entries = s.perName[namespace]
	}
	if entries != nil {
		first := entries.Front()
		if after > 0 { // a cookie is mostly near the end
			first = nil
			for e := entries.Back(); e != nil && e.Value.(*rendezvousStored).number > after; e = e.Prev() {
				first = e
			}
		}
		now, size := s.now(), 0
		for e := first; e != nil && len(found) < limit; e = e.Next() {
			r := e.Value.(*rendezvousStored)
			record := want.of(r.records)
			if size += len(record) + len(r.key.namespace) + 32; size > maxBytes && len(found) > 0 {
				break
			}
			if after = r.number; record == nil {
				continue
			}
			found = append(found, rendezvousEntry{r.key.namespace, record, max(uint64(r.expires.Sub(now)/time.Second), 1)})
		}
	}
	return found, s.cookie(namespace, after), true
}

// A cookie is eight bytes, the place, and text that ties it to this store and name. rust-libp2p reads the cookies of others too and expects
// eight bytes and UTF-8.
const rendezvousCookieSize = 8 + 2*12

func (s *rendezvousStore) cookie(namespace string, place uint64) []byte {
	sum := sha256.Sum256([]byte(namespace))
	cookie := binary.BigEndian.AppendUint64(make([]byte, 0, rendezvousCookieSize), place)
	cookie = hex.AppendEncode(cookie, s.instance[:])
	return hex.AppendEncode(cookie, sum[:8])
}

func (s *rendezvousStore) place(namespace string, cookie []byte) (after uint64, ok bool) {
	if len(cookie) == 0 {
		return 0, true
	}
	if len(cookie) != rendezvousCookieSize {
		return 0, false
	}
	after = binary.BigEndian.Uint64(cookie)
	return after, string(s.cookie(namespace, after)) == string(cookie)
}

func (s *rendezvousStore) pruneLocked() {
	for now := s.now(); len(s.expiring) > 0 && !now.Before(s.expiring[0].expires); {
		s.removeLocked(s.expiring[0])
	}
}

func (s *rendezvousStore) removeLocked(e *rendezvousStored) {
	s.disk.remove(e.key)
	heap.Remove(&s.expiring, e.index)
	delete(s.entries, e.key)
	s.all.Remove(e.inAll)
	named := s.perName[e.key.namespace]
	if named.Remove(e.inName); named.Len() == 0 {
		delete(s.perName, e.key.namespace)
	}
	s.countLocked(e, -1)
}

func (s *rendezvousStore) counts() (registrations, namespaces, peers int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pruneLocked()
	return len(s.entries), len(s.perName), len(s.perPeer)
}

// rendezvousHeap has what expires first on top.
type rendezvousHeap []*rendezvousStored

func (h rendezvousHeap) Len() int           { return len(h) }
func (h rendezvousHeap) Less(i, j int) bool { return h[i].expires.Before(h[j].expires) }
func (h rendezvousHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *rendezvousHeap) Push(x any) {
	e := x.(*rendezvousStored)
	e.index = len(*h)
	*h = append(*h, e)
}
func (h *rendezvousHeap) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return e
}
