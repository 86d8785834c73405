package core

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"os"
	"slices"
	"time"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	leveldb "github.com/ipfs/go-ds-leveldb"
	"github.com/libp2p/go-libp2p/core/peer"
)

// rendezvousDisk keeps a point's registrations over a restart. A nil one keeps nothing.
type rendezvousDisk struct {
	path string
	db   *leveldb.Datastore
}

// The keys of the store, and the length of what comes before the records of a registration: its number, and when it expires (Unix, ms).
var (
	rendezvousInstanceKey = ds.NewKey("/instance")
	rendezvousEntries     = "/registration"
)

const rendezvousEntryHead = 16

func openRendezvousDisk(path string) (d *rendezvousDisk, err error) {
	defer Recovered("open rendezvous.store", &err)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, storeError("rendezvous.store", path, err)
	}
	db, err := leveldb.NewDatastore(path, nil)
	if err != nil {
		return nil, storeError("rendezvous.store", path, err)
	}
	return &rendezvousDisk{path, db}, nil
}

// load fills an empty store, which from then on keeps the disk up to date.
func (d *rendezvousDisk) load(s *rendezvousStore) (err error) {
	defer Recovered("load rendezvous.store", &err)
	ctx := context.Background()
	s.mu.Lock()
	defer s.mu.Unlock()
	if instance, err := d.db.Get(ctx, rendezvousInstanceKey); err == nil && len(instance) == len(s.instance) {
		copy(s.instance[:], instance)
	} else if err := d.db.Put(ctx, rendezvousInstanceKey, s.instance[:]); err != nil {
		return storeError("rendezvous.store", d.path, err)
	}
	results, err := d.db.Query(ctx, query.Query{Prefix: rendezvousEntries})
	if err != nil {
		return storeError("rendezvous.store", d.path, err)
	}
	defer results.Close()
	var found []*rendezvousStored
	for r := range results.Next() {
		if r.Error != nil {
			return storeError("rendezvous.store", d.path, r.Error)
		}
		e := decodeStored(r.Value)
		if e == nil || !s.now().Before(e.expires) {
			d.delete(ds.RawKey(r.Key))
			continue
		}
		found = append(found, e)
	}
	slices.SortFunc(found, func(a, b *rendezvousStored) int { return cmp.Compare(a.number, b.number) })
	s.disk = d
	for _, e := range found {
		if status, _ := s.addLocked(e); status != rendezvousOK { // the limits are lower now
			d.remove(e.key)
		}
	}
	return nil
}

func (d *rendezvousDisk) put(e *rendezvousStored) {
	if d == nil {
		return
	}
	if err := d.db.Put(context.Background(), rendezvousDiskKey(e.key), encodeStored(e)); err != nil {
		logger.Error("rendezvous.store", "path", d.path, "err", err) // it still holds until the node ends
	}
}

func (d *rendezvousDisk) remove(key rendezvousKey) {
	if d != nil {
		d.delete(rendezvousDiskKey(key))
	}
}

func (d *rendezvousDisk) delete(key ds.Key) {
	if err := d.db.Delete(context.Background(), key); err != nil {
		logger.Error("rendezvous.store", "path", d.path, "err", err)
	}
}

func (d *rendezvousDisk) close() {
	within(closeLimit, "close rendezvous.store", func() {
		if err := d.db.Close(); err != nil {
			logger.Error("close rendezvous.store", "path", d.path, "err", err)
		}
	})
}

func rendezvousDiskKey(key rendezvousKey) ds.Key {
	return ds.RawKey(rendezvousEntries + "/" + hex.EncodeToString([]byte(key.peer)) + "/" + hex.EncodeToString([]byte(key.namespace)))
}

// A stored registration is its head, the peer's id with its length before it, and the message that made it.
func encodeStored(e *rendezvousStored) []byte {
	b := binary.BigEndian.AppendUint64(nil, e.number)
	b = binary.BigEndian.AppendUint64(b, uint64(e.expires.UnixMilli()))
	b = append(binary.AppendUvarint(b, uint64(len(e.key.peer))), e.key.peer...)
	m := rendezvousMessage{kind: rendezvousRegister, namespace: e.key.namespace, record: e.records[recordStandard], second: e.records[recordDraft]}
	return append(b, m.encode()...)
}

// decodeStored returns nil for what is not a stored registration.
func decodeStored(b []byte) *rendezvousStored {
	if len(b) < rendezvousEntryHead {
		return nil
	}
	e := &rendezvousStored{number: binary.BigEndian.Uint64(b), expires: time.UnixMilli(int64(binary.BigEndian.Uint64(b[8:])))}
	length, n := binary.Uvarint(b[rendezvousEntryHead:])
	b = b[min(rendezvousEntryHead+max(n, 0), len(b)):]
	if n <= 0 || length > uint64(len(b)) {
		return nil
	}
	id, err := peer.IDFromBytes(b[:length])
	m, bad := decodeRendezvous(b[length:])
	if err != nil || bad != nil || m.kind != rendezvousRegister || m.namespace == "" || len(m.record)+len(m.second) == 0 {
		return nil
	}
	e.key = rendezvousKey{id, m.namespace}
	if len(m.record) > 0 {
		e.records[recordStandard] = m.record
	}
	if len(m.second) > 0 {
		e.records[recordDraft] = m.second
	}
	return e
}
