package core

import (
	"bytes"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	librecord "github.com/libp2p/go-libp2p/core/record"
	"google.golang.org/protobuf/encoding/protowire"
)

// recordNamespace is that of signed records, in every DHT but the public one.
const recordNamespace = "record"

// A signed record is a libp2p signed envelope (RFC 0002) with this domain and payload type; docs/dht.md has the payload.
const recordDomain = "libp2pgo-record"

var recordCodec = []byte("/libp2pgo/record/1")

const (
	maxRecordKey      = 1024
	recordOverhead    = 4 << 10 // a record's bytes beside its value: key, public key, signature
	maxRecordSequence = 1<<53 - 1
)

// SignedRecord is a value under a name of its owner's, who alone can make it, with the private key of the peer id in the record's key. Of
// several with the same key the one with the highest Sequence holds.
type SignedRecord struct {
	Key       string    // "/record/<owner>/<name>"
	Sequence  uint64    // > 0
	Expires   time.Time // in whole milliseconds
	Value     []byte
	Withdrawn bool // the owner took the value back; Value is empty
}

// Fields of the payload, in this order, each once; withdrawn only if it is 1.
const (
	recordFieldKey       protowire.Number = 1
	recordFieldSequence  protowire.Number = 2
	recordFieldExpires   protowire.Number = 3
	recordFieldValue     protowire.Number = 4
	recordFieldWithdrawn protowire.Number = 5
)

// Domain is called by upstream.
func (r *SignedRecord) Domain() string { return recordDomain }

// Codec is called by upstream.
func (r *SignedRecord) Codec() []byte { return recordCodec }

// MarshalRecord is called by upstream.
func (r *SignedRecord) MarshalRecord() ([]byte, error) {
	b := protowire.AppendTag(nil, recordFieldKey, protowire.BytesType)
	b = protowire.AppendString(b, r.Key)
	b = protowire.AppendTag(b, recordFieldSequence, protowire.VarintType)
	b = protowire.AppendVarint(b, r.Sequence)
	b = protowire.AppendTag(b, recordFieldExpires, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(r.Expires.UnixMilli()))
	b = protowire.AppendTag(b, recordFieldValue, protowire.BytesType)
	b = protowire.AppendBytes(b, r.Value)
	if r.Withdrawn {
		b = protowire.AppendTag(b, recordFieldWithdrawn, protowire.VarintType)
		b = protowire.AppendVarint(b, 1)
	}
	return b, nil
}

var errRecordFormat = errors.New("not a signed record: malformed payload")

// UnmarshalRecord is called by upstream. There is one encoding of each record only.
func (r *SignedRecord) UnmarshalRecord(data []byte) error {
	rest := data
	take := func(number protowire.Number, kind protowire.Type) (text []byte, n uint64, ok bool) {
		got, gotKind, length := protowire.ConsumeTag(rest)
		if length < 0 || got != number || gotKind != kind {
			return nil, 0, false
		}
		rest = rest[length:]
		if kind == protowire.VarintType {
			n, length = protowire.ConsumeVarint(rest)
		} else {
			text, length = protowire.ConsumeBytes(rest)
		}
		if length < 0 {
			return nil, 0, false
		}
		rest = rest[length:]
		return text, n, true
	}
	key, _, ok1 := take(recordFieldKey, protowire.BytesType)
	_, sequence, ok2 := take(recordFieldSequence, protowire.VarintType)
	_, expires, ok3 := take(recordFieldExpires, protowire.VarintType)
	value, _, ok4 := take(recordFieldValue, protowire.BytesType)
	if !ok1 || !ok2 || !ok3 || !ok4 || sequence > maxRecordSequence || expires > maxRecordSequence {
		return errRecordFormat
	}
	*r = SignedRecord{Key: string(key), Sequence: sequence, Expires: time.UnixMilli(int64(expires)), Value: bytes.Clone(value)}
	if len(rest) > 0 {
		_, withdrawn, ok := take(recordFieldWithdrawn, protowire.VarintType)
		if !ok || withdrawn != 1 {
			return errRecordFormat
		}
		r.Withdrawn = true
	}
	again, err := r.MarshalRecord()
	if err != nil || !bytes.Equal(again, data) {
		return errRecordFormat
	}
	return nil
}

// Seal signs the record with its owner's private key. It fails with ErrInvalid for another's key.
func (r *SignedRecord) Seal(key crypto.PrivKey) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	owner, _, _ := splitRecordKey(r.Key)
	if !owner.MatchesPrivateKey(key) {
		return nil, Errorf(ErrInvalid, "record %s: the key is not its owner's", quoteShort(r.Key))
	}
	envelope, err := librecord.Seal(r, key)
	if err != nil {
		return nil, Errorf(ErrInternal, "record %s: %w", quoteShort(r.Key), err)
	}
	data, err := envelope.Marshal()
	if err != nil {
		return nil, Errorf(ErrInternal, "record %s: %w", quoteShort(r.Key), err)
	}
	return data, nil
}

// ParseSignedRecord reads a signed record and checks its signature and whose it is; not whether it has expired. It fails with ErrParse.
func ParseSignedRecord(data []byte) (r *SignedRecord, err error) {
	defer Recovered("signed record", &err)
	r = &SignedRecord{}
	envelope, err := librecord.ConsumeTypedEnvelope(data, r)
	if err != nil {
		return nil, Errorf(ErrParse, "not a signed record: %v", err)
	}
	if !bytes.Equal(envelope.PayloadType, recordCodec) {
		return nil, Errorf(ErrParse, "not a signed record: another payload type")
	}
	if again, err := envelope.Marshal(); err != nil || !bytes.Equal(again, data) {
		return nil, Errorf(ErrParse, "not a signed record: its envelope has more fields, or in another order")
	}
	if err := r.check(); err != nil {
		return nil, Errorf(ErrParse, "not a signed record: %v", err)
	}
	owner, _, _ := splitRecordKey(r.Key)
	if !owner.MatchesPublicKey(envelope.PublicKey) {
		return nil, Errorf(ErrParse, "record %s is not signed by its owner", quoteShort(r.Key))
	}
	return r, nil
}

// check finds what a record cannot be.
func (r *SignedRecord) check() error {
	if _, _, err := splitRecordKey(r.Key); err != nil {
		return err
	}
	switch {
	case r.Sequence == 0 || r.Sequence > maxRecordSequence:
		return Errorf(ErrInvalid, "record %s: sequence %d is out of range", quoteShort(r.Key), r.Sequence)
	case r.Expires.UnixMilli() <= 0 || r.Expires.UnixMilli() > maxRecordSequence:
		return Errorf(ErrInvalid, "record %s: its expiry is out of range", quoteShort(r.Key))
	case r.Withdrawn && len(r.Value) > 0:
		return Errorf(ErrInvalid, "record %s: withdrawn, but with a value", quoteShort(r.Key))
	}
	return nil
}

// splitRecordKey takes "/<namespace>/<owner>/<name>" apart. The owner stands there in the one form that a peer id prints in.
func splitRecordKey(key string) (owner peer.ID, name string, err error) {
	bad := func(why string) (peer.ID, string, error) {
		return "", "", Errorf(ErrInvalid, "key %s: %s", quoteShort(key), why)
	}
	if err := checkKey(key); err != nil {
		return "", "", err
	}
	parts := strings.SplitN(key, "/", 4)
	if len(parts) != 4 || parts[0] != "" || parts[1] == "" {
		return bad("a signed record's is /<namespace>/<owner>/<name>")
	}
	owner, err = peer.Decode(parts[2])
	if err != nil || owner.String() != parts[2] {
		return bad(quoteShort(parts[2]) + " is not the owner's peer id")
	}
	if parts[3] == "" {
		return bad("the name is empty")
	}
	return owner, parts[3], nil
}

// checkKey finds keys that are no text for people: they could not pass through every language, nor be shown.
func checkKey(key string) error {
	switch {
	case key == "" || len(key) > maxRecordKey:
		return Errorf(ErrInvalid, "key %s: a key is 1 to %d bytes", quoteShort(key), maxRecordKey)
	case !utf8.ValidString(key) || strings.ContainsFunc(key, unicode.IsControl):
		return Errorf(ErrInvalid, "key %s: not UTF-8, or with control characters", quoteShort(key))
	}
	return nil
}

// betterRecord returns the index of the record that holds among values, -1 if none is a record.
func betterRecord(key string, values [][]byte) int {
	best, at := (*SignedRecord)(nil), -1
	for i, value := range values {
		r, err := ParseSignedRecord(value)
		if err != nil || r.Key != key {
			continue
		}
		// Signed twice with one sequence number, every node still chooses the same.
		if best == nil || r.Sequence > best.Sequence || r.Sequence == best.Sequence && bytes.Compare(value, values[at]) > 0 {
			best, at = r, i
		}
	}
	return at
}
