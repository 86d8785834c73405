package core

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/boxo/ipns"
	"github.com/ipfs/go-cid"
	kadrecord "github.com/libp2p/go-libp2p-record"
	"github.com/multiformats/go-multihash"
)

// validators returns the rules of all namespaces. They are called on upstream's goroutines, for own values and those of others.
func (d *DHT) validators() kadrecord.NamespacedValidator {
	rules := kadrecord.NamespacedValidator{
		"pk":   &guardedValidator{"pk", kadrecord.PublicKeyValidator{}},
		"ipns": &guardedValidator{"ipns", ipns.Validator{KeyBook: d.node.host.Peerstore()}},
	}
	if d.cfg.public() {
		return rules
	}
	add := func(namespace, rule string) {
		var v kadrecord.Validator
		switch rule {
		case "accept":
			v = &plainValidator{d, func(string, []byte) error { return nil }}
		case "hash":
			v = &plainValidator{d, hashMatches}
		case "record":
			v = recordValidator{d}
		case "ask":
			v = &plainValidator{d, d.asked.check}
		}
		rules[namespace] = &guardedValidator{namespace, v}
	}
	add(recordNamespace, "record")
	for _, text := range d.cfg.Validators {
		namespace, rule, _ := strings.Cut(text, "=")
		add(namespace, rule)
	}
	return rules
}

// recordRule tells whether a key's namespace is one of signed records.
func (d *DHT) recordRule(key string) bool {
	namespace, _, err := kadrecord.SplitKey(key)
	if err != nil {
		return false
	}
	guarded, ok := d.validator[namespace].(*guardedValidator)
	if !ok {
		return false
	}
	_, ok = guarded.rule.(recordValidator)
	return ok
}

// guardedValidator keeps a panic in a rule from ending the program: what cannot be judged is refused.
type guardedValidator struct {
	namespace string
	rule      kadrecord.Validator
}

func (v *guardedValidator) Validate(key string, value []byte) (err error) {
	defer Recovered("DHT rule "+v.namespace, &err)
	return v.rule.Validate(key, value)
}

func (v *guardedValidator) Select(key string, values [][]byte) (best int, err error) {
	defer Recovered("DHT rule "+v.namespace, &err)
	return v.rule.Select(key, values)
}

// plainValidator is a rule under which every valid value is as good as another: the one that comes later takes the place of the one before.
type plainValidator struct {
	d     *DHT
	valid func(key string, value []byte) error
}

func (v *plainValidator) Validate(key string, value []byte) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if err := v.d.checkSize(key, value, 0); err != nil {
		return err
	}
	return v.valid(key, value)
}

func (v *plainValidator) Select(key string, values [][]byte) (int, error) {
	if len(values) == 0 {
		return 0, errors.New("no value")
	}
	return 0, nil
}

func (d *DHT) checkSize(key string, value []byte, overhead int) error {
	if limit := d.cfg.MaxValueSize + overhead; len(value) > limit {
		return &SizeError{"value of " + quoteShort(key), int64(len(value)), int64(limit)}
	}
	return nil
}

// hashMatches checks a value against its key, "/<namespace>/<hash>": a CID, a multihash in base58, or 64 hex digits of a SHA2-256.
func hashMatches(key string, value []byte) error {
	_, text, err := kadrecord.SplitKey(key)
	if err != nil {
		return Errorf(ErrInvalid, "key %s: /<namespace>/<hash> is asked for", quoteShort(key))
	}
	hash, err := parseHash(text)
	if err != nil {
		return err
	}
	decoded, err := multihash.Decode(hash)
	if err != nil {
		return Errorf(ErrParse, "key %s: %v", quoteShort(key), err)
	}
	length := decoded.Length
	if decoded.Code == multihash.IDENTITY {
		length = -1
	}
	sum, err := multihash.Sum(value, decoded.Code, length)
	if err != nil {
		return Errorf(ErrUnsupported, "key %s: hash function %s: %v", quoteShort(key), decoded.Name, err)
	}
	if !bytes.Equal(sum, hash) {
		return Errorf(ErrRejected, "key %s: the value has another hash", quoteShort(key))
	}
	return nil
}

// parseHash reads a CID, a multihash in base58, or 64 hex digits of a SHA2-256.
func parseHash(text string) (multihash.Multihash, error) {
	if len(text) == 2*sha256.Size {
		if sum, err := hex.DecodeString(text); err == nil {
			return multihash.Encode(sum, multihash.SHA2_256)
		}
	}
	if hash, err := multihash.FromB58String(text); err == nil {
		return hash, nil
	}
	c, err := cid.Decode(text)
	if err != nil {
		return nil, Errorf(ErrParse, "%s is not a CID, a multihash or a SHA2-256 in hex", quoteShort(text))
	}
	return c.Hash(), nil
}

// recordValidator is the rule of signed records.
type recordValidator struct{ d *DHT }

func (v recordValidator) Validate(key string, value []byte) error {
	if err := v.d.checkSize(key, value, recordOverhead); err != nil {
		return err
	}
	r, err := ParseSignedRecord(value)
	switch {
	case err != nil:
		return err
	case r.Key != key:
		return Errorf(ErrRejected, "record %s came under key %s", quoteShort(r.Key), quoteShort(key))
	case !time.Now().Before(r.Expires):
		return Errorf(ErrRejected, "record %s has expired", quoteShort(r.Key))
	}
	return v.d.checkSize(key, r.Value, 0)
}

func (v recordValidator) Select(key string, values [][]byte) (int, error) {
	best := betterRecord(key, values)
	if best < 0 {
		return 0, Errorf(ErrParse, "key %s: no signed record", quoteShort(key))
	}
	return best, nil
}

// askedVerdicts asks the program about values, by event. Upstream asks again and again about one value, and a peer whose value is refused
// sends it once more, so a verdict is remembered for a while.
type askedVerdicts struct {
	d       *DHT
	pending atomic.Int64
	late    atomic.Int64

	mu    sync.Mutex
	given map[[sha256.Size]byte]givenVerdict // guarded by mu
}

type givenVerdict struct {
	decision Decision
	until    time.Time
}

const (
	givenMax    = 4096
	acceptedFor = time.Minute
	rejectedFor = 5 * time.Second
)

func newAskedVerdicts(d *DHT) *askedVerdicts {
	return &askedVerdicts{d: d, given: map[[sha256.Size]byte]givenVerdict{}}
}

func verdictKey(key string, value []byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write([]byte(key))
	h.Write([]byte{0}) // a key has none
	h.Write(value)
	return [sha256.Size]byte(h.Sum(nil))
}

// remember notes what the program said of a value; what it puts itself is good.
func (a *askedVerdicts) remember(id [sha256.Size]byte, decision Decision) {
	until := time.Now().Add(rejectedFor)
	if decision == Accept {
		until = time.Now().Add(acceptedFor)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.given) >= givenMax {
		clear(a.given)
	}
	a.given[id] = givenVerdict{decision, until}
}

func (a *askedVerdicts) remembered(id [sha256.Size]byte) (Decision, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	v, ok := a.given[id]
	return v.decision, ok && time.Now().Before(v.until)
}

// check is the rule of a namespace that the program judges.
func (a *askedVerdicts) check(key string, value []byte) error {
	id := verdictKey(key, value)
	decision, known := a.remembered(id)
	if !known {
		if decision, known = a.ask(key, value); known {
			a.remember(id, decision)
		}
	}
	if decision != Accept {
		return Errorf(ErrRejected, "key %s: the value was refused", quoteShort(key))
	}
	return nil
}

// ask waits for the program's verdict, or the time when the default takes its place: then answered is false.
func (a *askedVerdicts) ask(key string, value []byte) (decision Decision, answered bool) {
	otherwise := Reject
	if a.d.cfg.ValidateDefault == "accept" {
		otherwise = Accept
	}
	defer a.pending.Add(-1)
	if a.pending.Add(1) > int64(a.d.cfg.ValidateCapacity) {
		a.late.Add(1)
		return otherwise, false
	}
	v := &Verdict{decided: make(chan Decision, 1), expired: make(chan struct{})}
	v.Expired = v.expired
	defer close(v.expired)
	a.d.node.emit(Event{Type: DHTValidate, Key: key, Data: bytes.Clone(value), Verdict: v})
	timer := time.NewTimer(time.Duration(a.d.cfg.ValidateTimeoutMs) * time.Millisecond)
	defer timer.Stop()
	select {
	case decision := <-v.decided:
		return decision, true
	case <-timer.C:
	case <-a.d.node.ctx.Done():
		otherwise = Reject
	}
	if !v.settled.CompareAndSwap(false, true) {
		return <-v.decided, true // it was just given
	}
	a.late.Add(1)
	return otherwise, false
}
