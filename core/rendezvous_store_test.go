package core

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

func TestRendezvousStoreKeepsOrderAndPlace(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newRendezvousStore(100, 10)
	s.now = func() time.Time { return now }
	put := func(id, name string, ttl time.Duration) uint64 {
		status, _ := s.register(rendezvousKey{peer.ID(id), name}, [2][]byte{[]byte(id + name)}, ttl)
		return status
	}
	records := func(name string, cookie []byte, limit int) (list []string, next []byte) {
		found, next, ok := s.discover(name, cookie, limit, 1<<20, wantEither)
		if !ok {
			t.Fatalf("discover %q: the cookie is refused", name)
		}
		for _, e := range found {
			list = append(list, string(e.record))
		}
		return list, next
	}
	same := func(got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Fatalf("%q, not %q", got, want)
		}
	}
	for _, id := range []string{"1", "2", "3"} {
		put(id, "a", time.Minute)
	}
	put("1", "b", time.Hour)
	got, cookie := records("a", nil, 2)
	same(got, "1a", "2a")
	got, cookie = records("a", cookie, 2)
	same(got, "3a")
	got, cookie = records("a", cookie, 2)
	same(got)
	put("2", "a", time.Minute) // renewed: it comes again
	got, cookie = records("a", cookie, 2)
	same(got, "2a")
	got, _ = records("", nil, 9)
	same(got, "1a", "3a", "1b", "2a")

	if _, _, ok := s.discover("b", cookie, 9, 1<<20, wantEither); ok {
		t.Fatal("the cookie of another name is taken")
	}
	if _, _, ok := newRendezvousStore(1, 1).discover("a", cookie, 9, 1<<20, wantEither); ok {
		t.Fatal("the cookie of another store is taken")
	}
	for _, bad := range [][]byte{{1}, bytes.Repeat([]byte{1}, len(cookie)), append(slices.Clone(cookie), 1)} {
		if _, _, ok := s.discover("a", bad, 9, 1<<20, wantEither); ok {
			t.Fatalf("the cookie %x is taken", bad)
		}
	}
	if len(cookie) < 8 || !utf8.Valid(cookie[8:]) {
		t.Fatalf("cookie %x: rust-libp2p wants eight bytes and UTF-8", cookie)
	}

	s.unregister(rendezvousKey{"3", "a"})
	s.unregister(rendezvousKey{"3", "a"})
	got, _ = records("a", nil, 9)
	same(got, "1a", "2a")
	now = now.Add(time.Minute)
	got, _ = records("", nil, 9)
	same(got, "1b")
	now = now.Add(time.Hour)
	if registrations, names, peers := s.counts(); registrations+names+peers+s.all.Len()+len(s.expiring) != 0 {
		t.Fatalf("left after all has expired: %d %d %d", registrations, names, peers)
	}
}

func TestRendezvousStoreIsBounded(t *testing.T) {
	s := newRendezvousStore(5, 2)
	put := func(id, name string) uint64 {
		status, _ := s.register(rendezvousKey{peer.ID(id), name}, [2][]byte{make([]byte, 1000)}, time.Minute)
		return status
	}
	for _, want := range []struct {
		id, name string
		status   uint64
	}{{"1", "a", 0}, {"1", "b", 0}, {"1", "c", rendezvousUnavailable}, {"1", "a", 0}, {"2", "a", 0}, {"3", "a", 0}, {"4", "a", 0}, {"5", "a", rendezvousUnavailable}, {"4", "a", 0}} {
		if got := put(want.id, want.name); got != want.status {
			t.Fatalf("%+v: %d", want, got)
		}
	}
	found, cookie, _ := s.discover("a", nil, 9, 2500, wantEither)
	if len(found) != 2 {
		t.Fatalf("%d registrations within 2500 bytes", len(found))
	}
	if found, _, _ = s.discover("a", cookie, 9, 2500, wantEither); len(found) != 2 {
		t.Fatalf("then %d", len(found))
	}
}

func TestRendezvousMessages(t *testing.T) {
	for _, m := range []*rendezvousMessage{
		{kind: rendezvousRegister, namespace: "a", record: []byte("r"), ttl: 7200},
		{kind: rendezvousRegisterResponse, ttl: 7200},
		{kind: rendezvousRegisterResponse, status: rendezvousInvalidTTL, words: "no"},
		{kind: rendezvousUnregister, namespace: "a"},
		{kind: rendezvousDiscover, namespace: "a", limit: 3, cookie: []byte("c")},
		{kind: rendezvousDiscover},
		{kind: rendezvousDiscover, either: true},
		{kind: rendezvousRegister, namespace: "a", record: []byte("r"), second: []byte("s")},
		{kind: rendezvousDiscoverResponse, cookie: []byte("c"), registrations: []rendezvousEntry{{"a", []byte("r"), 1}, {"b", []byte{}, 2}}},
		{kind: rendezvousDiscoverResponse, status: rendezvousInvalidCookie, words: "no"},
	} {
		got, err := decodeRendezvous(m.encode())
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%+v became %+v, %v", m, got, err)
		}
	}
	var many rendezvousMessage
	many.kind = rendezvousDiscoverResponse
	many.registrations = make([]rendezvousEntry, rendezvousMaxResults+1)
	if _, err := decodeRendezvous(many.encode()); !errors.Is(err, ErrTooBig) {
		t.Errorf("too many registrations: %v", err)
	}
}

// Whatever a peer sends, reading it ends in a message that can be written again, or in an error of ours.
func FuzzRendezvousMessage(f *testing.F) {
	f.Add((&rendezvousMessage{kind: rendezvousRegister, namespace: "a", record: []byte("r"), ttl: 7200}).encode())
	f.Add((&rendezvousMessage{kind: rendezvousDiscoverResponse, cookie: []byte("c"), registrations: []rendezvousEntry{{"a", []byte("r"), 1}}}).encode())
	f.Add([]byte{8, 1, 26, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeRendezvous(b)
		if err != nil {
			if Kind(err) == ErrInternal {
				t.Fatalf("not of ours: %v", err)
			}
			return
		}
		again, err := decodeRendezvous(m.encode())
		if err != nil || again.kind != m.kind || again.namespace != m.namespace || len(again.registrations) != len(m.registrations) {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
	})
}

func TestPeerRecordsAreVerified(t *testing.T) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, _ := peer.IDFromPrivateKey(key)
	other, _, _ := crypto.GenerateEd25519Key(rand.Reader)
	addresses := []ma.Multiaddr{ma.StringCast("/ip4/192.0.2.1/tcp/1")}
	for _, form := range []recordForm{recordStandard, recordDraft} {
		good, err := signPeerRecord(key, peer.AddrInfo{ID: id, Addrs: addresses}, form)
		if err != nil {
			t.Fatal(err)
		}
		if info, is, err := verifyPeerRecord(good); err != nil || info.ID != id || len(info.Addrs) != 1 || is != form {
			t.Fatalf("%v, %v, %v", info, is, err)
		}
		forged, _ := signPeerRecord(other, peer.AddrInfo{ID: id, Addrs: addresses}, form)
		flipped := slices.Clone(good)
		flipped[len(flipped)-1] ^= 1
		relabelled := bytes.Replace(bytes.Replace(good, []byte{3, 1}, []byte{3, 2}, 1), []byte("routing"), []byte("Routing"), 1)
		for name, bad := range map[string][]byte{"empty": nil, "another's signature": forged, "a bit": flipped, "noise": []byte(strings.Repeat("x", 100)), "another type": relabelled} {
			if info, _, err := verifyPeerRecord(bad); !errors.Is(err, ErrRejected) {
				t.Errorf("%s: %v, %v", name, info, err)
			}
		}
	}
}

// An asker gets registrations in the form that it reads.
func TestRendezvousStoreKeepsBothForms(t *testing.T) {
	s := newRendezvousStore(10, 10)
	for id, records := range map[string][2][]byte{"both": {[]byte("standard"), []byte("draft")}, "standard": {[]byte("standard")}, "draft": {nil, []byte("draft")}} {
		s.register(rendezvousKey{peer.ID(id), "a"}, records, time.Minute)
	}
	for want, count := range map[wanted]int{wantEither: 3, wanted(recordStandard): 2, wanted(recordDraft): 2} {
		found, _, _ := s.discover("a", nil, 9, 1<<20, want)
		if len(found) != count {
			t.Errorf("%d: %v", want, found)
		}
		for _, e := range found {
			if want != wantEither && string(e.record) != map[wanted]string{0: "standard", 1: "draft"}[want] {
				t.Errorf("%d: %s", want, e.record)
			}
		}
	}
	if !s.registersDraft("draft") || s.registersDraft("both") || s.registersDraft("nobody") {
		t.Error("who registers in the draft's form alone")
	}
}

func TestRendezvousErrorsMatchOneKind(t *testing.T) {
	for status, kind := range map[uint64]error{
		rendezvousInvalidNamespace: ErrInvalid, rendezvousInvalidRecord: ErrRejected, rendezvousInvalidTTL: ErrInvalid, rendezvousInvalidCookie: ErrInvalid,
		rendezvousNotAuthorized: ErrRefused, rendezvousInternalError: ErrRemote, rendezvousUnavailable: ErrBusy, 999: ErrRefused,
	} {
		err := fmt.Errorf("wrapped: %w", &RendezvousError{status, "its words"})
		if !errors.Is(err, kind) || !strings.Contains(err.Error(), "its words") {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// Whatever lies in the store, reading it ends in a registration that can be written again, or in nothing.
func FuzzStoredRegistration(f *testing.F) {
	f.Add(encodeStored(&rendezvousStored{key: rendezvousKey{peer.ID("\x00\x01a"), "n"}, records: [2][]byte{[]byte("r"), nil}, number: 7, expires: time.UnixMilli(9)}))
	f.Add([]byte("0123456789abcdef\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e := decodeStored(b); e != nil {
			again := decodeStored(encodeStored(e))
			if again == nil || again.key != e.key || again.number != e.number || !again.expires.Equal(e.expires) {
				t.Fatalf("%+v became %+v", e, again)
			}
		}
	})
}
