package core

import (
	"bytes"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	librecord "github.com/libp2p/go-libp2p/core/record"
)

func recordOwner(t testing.TB, kind int) (crypto.PrivKey, string) {
	t.Helper()
	key, _, err := crypto.GenerateKeyPairWithReader(kind, 2048, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, id.String()
}

func sealed(t testing.TB, key crypto.PrivKey, r SignedRecord) []byte {
	t.Helper()
	data, err := r.Seal(key)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// What is sealed is read again as it was, under every type of key.
func TestSignedRecordRoundTrip(t *testing.T) {
	for _, kind := range []int{crypto.Ed25519, crypto.Secp256k1, crypto.ECDSA, crypto.RSA} {
		key, owner := recordOwner(t, kind)
		for _, want := range []SignedRecord{
			{Key: "/record/" + owner + "/name", Sequence: 1, Expires: time.UnixMilli(1), Value: []byte{}},
			{Key: "/x/" + owner + "/a/b c/ü", Sequence: maxRecordSequence, Expires: time.UnixMilli(maxRecordSequence), Value: bytes.Repeat([]byte{0xff}, 60_000)},
			{Key: "/record/" + owner + "/name", Sequence: 7, Expires: time.UnixMilli(9), Value: []byte{}, Withdrawn: true},
		} {
			got, err := ParseSignedRecord(sealed(t, key, want))
			if err != nil {
				t.Fatal(err)
			}
			if got.Key != want.Key || got.Sequence != want.Sequence || !got.Expires.Equal(want.Expires) || got.Withdrawn != want.Withdrawn ||
				!bytes.Equal(got.Value, want.Value) {
				t.Fatalf("got %+v, not %+v", got, want)
			}
		}
	}
}

// A record cannot be sealed that could not be read.
func TestSignedRecordThatCannotBe(t *testing.T) {
	key, owner := recordOwner(t, crypto.Ed25519)
	_, other := recordOwner(t, crypto.Ed25519)
	good := SignedRecord{Key: "/record/" + owner + "/x", Sequence: 1, Expires: time.UnixMilli(1)}
	for words, spoil := range map[string]func(*SignedRecord){
		"not its owner's":  func(r *SignedRecord) { r.Key = "/record/" + other + "/x" },
		"name is empty":    func(r *SignedRecord) { r.Key = "/record/" + owner + "/" },
		"is not the owner": func(r *SignedRecord) { r.Key = "/record/me/x" },
		"control":          func(r *SignedRecord) { r.Key += "\n" },
		"1024":             func(r *SignedRecord) { r.Key += strings.Repeat("x", 1024) },
		"sequence":         func(r *SignedRecord) { r.Sequence = 0 },
		"expiry":           func(r *SignedRecord) { r.Expires = time.Time{} },
		"withdrawn":        func(r *SignedRecord) { r.Withdrawn, r.Value = true, []byte{1} },
	} {
		r := good
		spoil(&r)
		if _, err := r.Seal(key); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", words, err)
		}
	}
}

// A changed bit anywhere, another's signature, and another envelope are all refused.
func TestSignedRecordThatIsForged(t *testing.T) {
	key, owner := recordOwner(t, crypto.Ed25519)
	thief, _ := recordOwner(t, crypto.Ed25519)
	r := SignedRecord{Key: "/record/" + owner + "/x", Sequence: 3, Expires: time.UnixMilli(5), Value: []byte("value")}
	data := sealed(t, key, r)
	for i := range data {
		for bit := range 8 {
			changed := bytes.Clone(data)
			changed[i] ^= 1 << bit
			if _, err := ParseSignedRecord(changed); !errors.Is(err, ErrParse) {
				t.Fatalf("with bit %d of byte %d changed: %v", bit, i, err)
			}
		}
	}
	stolen, err := librecord.Seal(&r, thief)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := stolen.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseSignedRecord(forged); !errors.Is(err, ErrParse) || !strings.Contains(err.Error(), "owner") {
		t.Fatalf("signed by another: %v", err)
	}
	for _, longer := range [][]byte{append(bytes.Clone(data), 0), append(bytes.Clone(data), 0x78, 1), data[:len(data)-1], nil} {
		if _, err := ParseSignedRecord(longer); !errors.Is(err, ErrParse) {
			t.Fatalf("%d bytes for %d: %v", len(longer), len(data), err)
		}
	}
}

// The highest sequence number holds, and every node chooses the same of two with one number.
func TestBetterRecord(t *testing.T) {
	key, owner := recordOwner(t, crypto.Ed25519)
	name := "/record/" + owner + "/x"
	make := func(sequence uint64, value string) []byte {
		return sealed(t, key, SignedRecord{Key: name, Sequence: sequence, Expires: time.UnixMilli(5), Value: []byte(value)})
	}
	one, two, twin := make(1, "a"), make(2, "b"), make(2, "c")
	other := sealed(t, key, SignedRecord{Key: name + "y", Sequence: 9, Expires: time.UnixMilli(5)})
	if got := betterRecord(name, [][]byte{one, two, []byte("junk"), other}); got != 1 {
		t.Fatalf("chose %d", got)
	}
	if a, b := betterRecord(name, [][]byte{two, twin}), betterRecord(name, [][]byte{twin, two}); a == b {
		t.Fatal("the choice depends on the order")
	}
	if got := betterRecord(name, [][]byte{other, nil}); got != -1 {
		t.Fatalf("chose %d", got)
	}
}

// Whatever bytes come, reading a record ends in a record that reads the same again, or in ErrParse.
func FuzzSignedRecord(f *testing.F) {
	key, owner := recordOwner(f, crypto.Ed25519)
	good := SignedRecord{Key: "/record/" + owner + "/x", Sequence: 3, Expires: time.UnixMilli(5), Value: []byte("value")}
	payload, _ := good.MarshalRecord()
	f.Add(sealed(f, key, good))
	f.Add(payload)
	f.Add([]byte{})
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := ParseSignedRecord(data); err != nil {
			if Kind(err) != ErrParse {
				t.Fatalf("of kind %v: %v", Kind(err), err)
			}
		} else if err := r.check(); err != nil {
			t.Fatalf("accepted what cannot be: %v", err)
		}
		// The payload alone, as a peer that holds a key could sign anything.
		var r SignedRecord
		if r.UnmarshalRecord(data) == nil {
			again, err := r.MarshalRecord()
			if err != nil || !bytes.Equal(again, data) {
				t.Fatalf("%x reads as %+v, which is %x", data, r, again)
			}
		}
		var sealedAny = bytes.Clone(payload)
		copy(sealedAny, data)
		if r.UnmarshalRecord(sealedAny) == nil && !bytes.Equal(sealedAny, payload) {
			if again, _ := r.MarshalRecord(); !bytes.Equal(again, sealedAny) {
				t.Fatalf("two encodings of one record")
			}
		}
	})
}
