package core

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	kad "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p-kad-dht/records"
	kadrecord "github.com/libp2p/go-libp2p-record"
	recpb "github.com/libp2p/go-libp2p-record/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/routing"
)

// DHTPutOptions are the options of Put.
type DHTPutOptions struct {
	MinPeers int `json:"min_peers" min:"0" max:"1000" doc:"peers that must have taken the value, else the call fails; 0: none, it is kept here"`
}

// ParseDHTPutOptions reads DHTPutOptions from strict JSON; empty is the defaults.
func ParseDHTPutOptions(doc []byte) (DHTPutOptions, error) {
	o := DHTPutOptions{MinPeers: 1}
	return o, parseOptions(doc, &o, "")
}

// DHTGetOptions are the options of Get.
type DHTGetOptions struct {
	Quorum int  `json:"quorum" min:"0" max:"1000" doc:"answers that are enough; 0: all peers closest to the key are asked"`
	Raw    bool `json:"raw" doc:"a signed record as it is, with its signature, instead of its value"`
}

// ParseDHTGetOptions reads DHTGetOptions from strict JSON; empty is the defaults.
func ParseDHTGetOptions(doc []byte) (o DHTGetOptions, err error) {
	return o, parseOptions(doc, &o, "")
}

func init() {
	registerOptions("dht_put", "options for putting a value into the DHT", func() any { o, _ := ParseDHTPutOptions(nil); return &o })
	registerOptions("dht_get", "options for getting a value from the DHT", func() any { o, _ := ParseDHTGetOptions(nil); return &o })
}

// putTimeout bounds the time that one peer may take to store something.
const putTimeout = 30 * time.Second

// parseKey reads what a program calls a value: the key of a record, "/<namespace>/...", or the name of a signed record, "<name>" for one of this
// node's or "<owner's peer id>/<name>".
func (d *DHT) parseKey(text string) (string, error) {
	if err := checkKey(text); err != nil {
		return "", err
	}
	if !strings.HasPrefix(text, "/") {
		if d.cfg.public() {
			return "", d.noRecords()
		}
		owner, name, found := strings.Cut(text, "/")
		id, err := peer.Decode(owner)
		if !found || err != nil {
			return d.recordKey(d.node.ID(), text)
		}
		return d.recordKey(id, name)
	}
	namespace, _, err := kadrecord.SplitKey(text)
	if err != nil {
		return "", Errorf(ErrInvalid, "key %s: a record's key is /<namespace>/<rest>, a signed record's name begins without /", quoteShort(text))
	}
	if d.validator[namespace] == nil {
		return "", Errorf(ErrInvalid, "key %s: the namespace has no rule; there are %s, and dht.validators adds others", quoteShort(text), d.namespaces())
	}
	return text, nil
}

func (d *DHT) noRecords() error {
	return Errorf(ErrState, "the public DHT (dht.prefix %s) has no signed records, only pk and ipns", quoteShort(d.cfg.Prefix))
}

func (d *DHT) recordKey(owner peer.ID, name string) (string, error) {
	key := "/" + recordNamespace + "/" + owner.String() + "/" + name
	_, _, err := splitRecordKey(key)
	return key, err
}

// Put stores value under key, "/<namespace>/...", at the peers closest to it and here, and returns how many peers took it. It fails with
// ErrInvalid (the namespace has no rule), ErrRejected (the rule refuses the value, or a better one is there), ErrTooBig, or ErrPeers: fewer took
// it than asked for, but here it is kept.
func (d *DHT) Put(ctx context.Context, key string, value []byte, o DHTPutOptions) (int, error) {
	if !strings.HasPrefix(key, "/") {
		return 0, Errorf(ErrInvalid, "key %s: a record's key is /<namespace>/<rest>; names of the node's own are stored with set, not put", quoteShort(key))
	}
	key, err := d.parseKey(key)
	if err != nil {
		return 0, err
	}
	if len(value) == 0 {
		return 0, Errorf(ErrInvalid, "key %s: an empty value cannot be stored: to peers it is none", quoteShort(key))
	}
	d.asked.remember(verdictKey(key, value), Accept)
	return d.put(ctx, key, value, o.MinPeers)
}

func (d *DHT) put(ctx context.Context, key string, value []byte, minPeers int) (int, error) {
	ctx, cancel := d.node.join(ctx)
	defer cancel()
	if err := d.validator.Validate(key, value); err != nil {
		if Kind(err) == ErrInternal {
			return 0, Errorf(ErrRejected, "key %s: %v", quoteShort(key), err)
		}
		return 0, err
	}
	taken, last := 0, error(nil)
	for _, t := range d.tables {
		if err := t.keep(ctx, key, value); err != nil {
			if ctx.Err() != nil {
				return taken, ctxError(ctx, "key %s", quoteShort(key)) // the store may be closed by now
			}
			return taken, err
		}
	}
	for _, t := range d.active() {
		n, err := t.put(ctx, key, value)
		taken += n
		if err != nil {
			last = err
		}
	}
	if taken >= minPeers {
		return taken, nil
	}
	switch {
	case ctx.Err() != nil:
		return taken, ctxError(ctx, "key %s: %d peers took the value", quoteShort(key), taken)
	case last != nil:
		return taken, Errorf(ErrPeers, "key %s: %d of %d peers took the value: %v", quoteShort(key), taken, minPeers, last)
	}
	return taken, Errorf(ErrPeers, "key %s: %d of %d peers took the value", quoteShort(key), taken, minPeers)
}

// keep stores a value of this node's own here.
func (t *dhtTable) keep(ctx context.Context, key string, value []byte) error {
	err := t.values.Put(context.WithValue(ctx, ownWrite{}, true), key, kadrecord.MakePutRecord(key, value))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, records.ErrOldRecord):
		return Errorf(ErrRejected, "key %s: a newer value is stored already", quoteShort(key))
	}
	return Errorf(ErrSystem, "key %s: store: %v", quoteShort(key), err)
}

// put sends a value to the peers closest to its key and returns how many took it.
func (t *dhtTable) put(ctx context.Context, key string, value []byte) (int, error) {
	peers, err := t.closest(ctx, key)
	if len(peers) == 0 {
		if err == nil {
			err = Errorf(ErrPeers, "no peer was found")
		}
		return 0, err
	}
	rec := kadrecord.MakePutRecord(key, value)
	return atAll(ctx, peers, func(ctx context.Context, id peer.ID) error {
		// Upstream compares the answer with the record, which it must not share with another goroutine that writes it.
		return t.messages.PutValue(ctx, id, &recpb.Record{Key: rec.Key, Value: rec.Value})
	})
}

// atAll runs do for each peer at the same time and returns for how many it went well, and one of the errors.
func atAll(ctx context.Context, peers []peer.ID, do func(context.Context, peer.ID) error) (int, error) {
	var wait sync.WaitGroup
	var good atomic.Int64
	var failure atomic.Pointer[error]
	for _, id := range peers {
		wait.Add(1)
		safeGo("DHT message", func() {
			defer wait.Done()
			ctx, cancel := context.WithTimeout(ctx, putTimeout)
			defer cancel()
			if err := do(ctx, id); err != nil {
				failure.Store(&err)
				return
			}
			good.Add(1)
		})
	}
	wait.Wait()
	if err := failure.Load(); err != nil {
		return int(good.Load()), *err
	}
	return int(good.Load()), nil
}

// closest finds the peers closest to a key; without this node.
func (t *dhtTable) closest(ctx context.Context, key string) ([]peer.ID, error) {
	peers, err := t.dht.GetClosestPeers(ctx, key)
	if err != nil && len(peers) == 0 {
		return nil, dhtError(ctx, err, "closest peers")
	}
	return peers, nil
}

// Get returns the best value for a key or a signed record's name; see Search for what key may be. It fails with ErrNotFound.
func (d *DHT) Get(ctx context.Context, key string, o DHTGetOptions) ([]byte, error) {
	ctx, cancel := d.node.join(ctx)
	defer cancel()
	key, err := d.parseKey(key)
	if err != nil {
		return nil, err
	}
	var best []byte
	err = d.search(ctx, key, o.Quorum, func(value []byte) bool { best = value; return true })
	if best == nil {
		if err != nil {
			return nil, err
		}
		if d.tableSize() == 0 {
			return nil, Errorf(ErrNotFound, "key %s: not kept here, and the DHT's table has no peer to ask", quoteShort(key))
		}
		return nil, Errorf(ErrNotFound, "key %s: no peer has it", quoteShort(key))
	}
	if !o.Raw && d.recordRule(key) {
		r, err := ParseSignedRecord(best)
		if err != nil {
			return nil, err
		}
		if r.Withdrawn {
			return nil, Errorf(ErrNotFound, "key %s: its owner has withdrawn it", quoteShort(key))
		}
		return r.Value, nil
	}
	return best, nil
}

// search gives better and better values to found until it returns false or the query is at its end.
func (d *DHT) search(ctx context.Context, key string, quorum int, found func([]byte) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	values := make(chan []byte)
	var wait sync.WaitGroup
	for _, t := range d.tables {
		options := []routing.Option{kad.Quorum(max(quorum-1, 0))} // upstream waits for one more
		results, err := t.dht.SearchValue(ctx, key, options...)
		if err != nil {
			return dhtError(ctx, err, "key %s", quoteShort(key))
		}
		wait.Add(1)
		safeGo("DHT search", func() {
			defer wait.Done()
			for value := range results {
				select {
				case values <- value:
				case <-ctx.Done(): // the channel is closed soon
				}
			}
		})
	}
	safeGo("DHT search", func() {
		wait.Wait()
		close(values)
	})
	var best []byte
	for value := range values {
		if best != nil {
			if i, err := d.validator.Select(key, [][]byte{best, value}); err != nil || i == 0 {
				continue
			}
		}
		best = value
		if !found(value) || quorum == 1 {
			cancel()
			for range values { // until the queries have ended
			}
			return nil
		}
	}
	if ctx.Err() != nil {
		return ctxError(ctx, "key %s", quoteShort(key))
	}
	return nil
}
