package core

import (
	"context"
	"strings"
	"sync"
	"time"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	"github.com/multiformats/go-base32"
)

// DHTSetOptions are the options of Set.
type DHTSetOptions struct {
	ExpiryMs  int64 `json:"expiry_ms" min:"1000" max:"31536000000" doc:"how long the value holds"`
	Republish bool  `json:"republish" doc:"publish it again and again until it expires, also after a restart if dht.store is given"`
	MinPeers  int   `json:"min_peers" min:"0" max:"1000" doc:"peers that must have taken the value, else the call fails; 0: none, it goes out when there are some"`
}

// ParseDHTSetOptions reads DHTSetOptions from strict JSON; empty is the defaults.
func ParseDHTSetOptions(doc []byte) (DHTSetOptions, error) {
	o := DHTSetOptions{ExpiryMs: 24 * hours, Republish: true, MinPeers: 1}
	return o, parseOptions(doc, &o, "")
}

func init() {
	registerOptions("dht_set", "options for setting a signed record in the DHT", func() any { o, _ := ParseDHTSetOptions(nil); return &o })
}

// ownRecords are the signed records of this node that are published until they expire.
type ownRecords struct {
	d    *DHT
	data ds.Batching
	wake chan struct{} // capacity 1: there is a record to publish, or another time

	mu      sync.Mutex
	records map[string]*ownRecord // guarded by mu; by key
	setting map[string]*sync.Mutex
}

// ownRecord is a record with the time of its next publication.
type ownRecord struct {
	key      string
	sequence uint64
	sealed   []byte
	expires  time.Time
	due      time.Time     // guarded by ownRecords.mu
	pause    time.Duration // guarded by ownRecords.mu; before the next attempt while no peer took it
}

const (
	publishRetryMin = time.Second
	publishRetryMax = time.Minute
)

// loadOwnRecords reads those of the last run and begins to publish them.
func loadOwnRecords(d *DHT) (*ownRecords, error) {
	o := &ownRecords{d: d, data: d.store.part("own"), wake: make(chan struct{}, 1), records: map[string]*ownRecord{}, setting: map[string]*sync.Mutex{}}
	results, err := o.data.Query(d.node.ctx, query.Query{})
	if err != nil {
		return nil, Errorf(ErrSystem, "dht.store %q: %v", d.cfg.Store, err)
	}
	entries, err := results.Rest()
	if err != nil {
		return nil, Errorf(ErrSystem, "dht.store %q: %v", d.cfg.Store, err)
	}
	now := time.Now()
	for _, entry := range entries {
		r, err := ParseSignedRecord(entry.Value)
		if err != nil || !now.Before(r.Expires) {
			o.data.Delete(d.node.ctx, ds.RawKey(entry.Key))
			continue
		}
		if owner, _, _ := splitRecordKey(r.Key); owner == d.node.ID() && !d.cfg.public() { // the store may have been another node's
			o.records[r.Key] = &ownRecord{key: r.Key, sequence: r.Sequence, sealed: entry.Value, expires: r.Expires, due: now}
		}
	}
	d.node.spawn("DHT publisher", o.publishAll)
	return o, nil
}

func ownDSKey(key string) ds.Key {
	return ds.NewKey(base32.RawStdEncoding.EncodeToString([]byte(key)))
}

// Set makes value that of name, a key of this node's own: it is found under "<this node's peer id>/<name>", only this node can change it, and it
// holds until it expires. While the node runs it is published again and again. It returns how many peers took it. It fails with ErrInvalid
// (the name), ErrTooBig, ErrState on the public DHT, or ErrPeers: fewer peers took it than asked for, but it is set here, and goes out when there are
// some.
func (d *DHT) Set(ctx context.Context, name string, value []byte, o DHTSetOptions) (int, error) {
	return d.set(ctx, name, &SignedRecord{Value: value}, o)
}

// Unset withdraws what Set has set: it is no longer found. Peers forget it when it would have expired. It fails with ErrNotFound if this node, and
// what it remembers, has not set it.
func (d *DHT) Unset(ctx context.Context, name string) error {
	key, err := d.ownKey(name)
	if err != nil {
		return err
	}
	last := d.lastOwn(ctx, key)
	if last == nil || last.Withdrawn {
		return Errorf(ErrNotFound, "key %s is not set", quoteShort(name))
	}
	left := max(time.Until(last.Expires).Milliseconds(), 1000)
	_, err = d.set(ctx, name, &SignedRecord{Withdrawn: true}, DHTSetOptions{ExpiryMs: left, Republish: true})
	return err
}

// ownKey is the key of a name of this node's.
func (d *DHT) ownKey(name string) (string, error) {
	if d.cfg.public() {
		return "", d.noRecords()
	}
	if strings.HasPrefix(name, "/") {
		return "", Errorf(ErrInvalid, "name %s: begins with /", quoteShort(name))
	}
	owner, _, found := strings.Cut(name, "/")
	if _, err := ParsePeer(owner); found && err == nil && owner != d.node.ID().String() {
		return "", Errorf(ErrInvalid, "name %s: belongs to another peer, who alone can set it", quoteShort(name))
	}
	return d.parseKey(name)
}

func (d *DHT) set(ctx context.Context, name string, r *SignedRecord, o DHTSetOptions) (int, error) {
	key, err := d.ownKey(name)
	if err != nil {
		return 0, err
	}
	if err := d.checkSize(name, r.Value, 0); err != nil {
		return 0, err
	}
	ctx, cancel := d.node.join(ctx)
	defer cancel()
	// One after the other, or an earlier value could be the later record.
	lock := d.own.lock(key)
	lock.Lock()
	defer lock.Unlock()
	if ctx.Err() != nil {
		return 0, ctxError(ctx, "key %s", quoteShort(name))
	}
	now := time.Now()
	r.Key, r.Expires = key, time.UnixMilli(now.UnixMilli()+o.ExpiryMs)
	// The clock makes the sequence grow also when nothing is remembered of the last run.
	r.Sequence = uint64(now.UnixMilli())
	if last := d.lastOwn(ctx, key); last != nil {
		r.Sequence = max(r.Sequence, last.Sequence+1)
	}
	sealed, err := r.Seal(d.node.host.Peerstore().PrivKey(d.node.ID()))
	if err != nil {
		return 0, err
	}
	own := &ownRecord{key: key, sequence: r.Sequence, sealed: sealed, expires: r.Expires}
	own.due = now.Add(milliseconds(d.cfg.RepublishMs))
	if err := d.own.remember(own, o.Republish); err != nil {
		return 0, err
	}
	taken, err := d.put(ctx, key, sealed, o.MinPeers)
	if o.Republish && taken == 0 {
		d.own.retry(own)
	}
	return taken, err
}

// lastOwn returns the last record of a key of this node's that is known here.
func (d *DHT) lastOwn(ctx context.Context, key string) *SignedRecord {
	var values [][]byte
	d.own.mu.Lock()
	if r := d.own.records[key]; r != nil {
		values = append(values, r.sealed)
	}
	d.own.mu.Unlock()
	for _, t := range d.tables {
		if rec, err := t.values.Get(ctx, key); err == nil && rec != nil {
			values = append(values, rec.GetValue())
		}
	}
	if best := betterRecord(key, values); best >= 0 {
		r, _ := ParseSignedRecord(values[best])
		return r
	}
	return nil
}

func (o *ownRecords) lock(key string) *sync.Mutex {
	o.mu.Lock()
	defer o.mu.Unlock()
	lock := o.setting[key]
	if lock == nil {
		if len(o.setting) >= 4096 { // those in use are held by their users
			clear(o.setting)
		}
		lock = &sync.Mutex{}
		o.setting[key] = lock
	}
	return lock
}

// remember keeps a record to be published again, or forgets the one before it.
func (o *ownRecords) remember(r *ownRecord, keep bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	var err error
	if keep {
		o.records[r.key] = r
		err = o.data.Put(o.d.node.ctx, ownDSKey(r.key), r.sealed)
	} else {
		delete(o.records, r.key)
		err = o.data.Delete(o.d.node.ctx, ownDSKey(r.key))
	}
	if err != nil {
		return Errorf(ErrSystem, "dht.store %q: %v", o.d.cfg.Store, err)
	}
	wake(o.wake)
	return nil
}

// retry sets the time of the next attempt at a record that nobody took.
func (o *ownRecords) retry(r *ownRecord) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r.pause = min(max(2*r.pause, publishRetryMin), publishRetryMax, milliseconds(o.d.cfg.RepublishMs))
	r.due = time.Now().Add(r.pause)
	wake(o.wake)
}

// publishAll publishes each record when it is due.
func (o *ownRecords) publishAll() {
	ctx := o.d.node.ctx
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-o.wake:
		case <-ctx.Done():
			return
		}
		next := o.next()
		for next != nil && !time.Now().Before(next.due) && ctx.Err() == nil {
			o.publish(ctx, next)
			next = o.next()
		}
		if next != nil {
			timer.Reset(time.Until(next.due))
		}
	}
}

// next returns the record that is due first, without those that have expired. due is changed by publishAll and, under mu, by retry.
func (o *ownRecords) next() *ownRecord {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	var first *ownRecord
	for key, r := range o.records {
		if !now.Before(r.expires) {
			delete(o.records, key)
			o.data.Delete(o.d.node.ctx, ownDSKey(key))
			continue
		}
		if first == nil || r.due.Before(first.due) {
			first = r
		}
	}
	if first == nil {
		return nil
	}
	copied := *first
	return &copied
}

// publish puts a record once more.
func (o *ownRecords) publish(ctx context.Context, r *ownRecord) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	taken, err := 0, error(nil)
	if o.d.tableSize() > 0 {
		taken, err = o.d.put(ctx, r.key, r.sealed, 0)
	}
	if err != nil {
		logger.Debug("publish a record", "key", r.key, "err", err)
	}
	o.mu.Lock()
	now := o.records[r.key]
	if now != nil && taken > 0 {
		now.pause, now.due = 0, time.Now().Add(milliseconds(o.d.cfg.RepublishMs))
	}
	o.mu.Unlock()
	if now != nil && taken == 0 {
		o.retry(now)
	}
}

func (o *ownRecords) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.records)
}
