package core

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/namespace"
	"github.com/ipfs/go-datastore/query"
	dssync "github.com/ipfs/go-datastore/sync"
	leveldb "github.com/ipfs/go-ds-leveldb"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	signed "github.com/libp2p/go-libp2p/core/record"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoreds"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	ma "github.com/multiformats/go-multiaddr"
)

// PeerstoreConfig says where and how long peers are remembered.
type PeerstoreConfig struct {
	Directory  string `json:"directory" doc:"folder in which peers are remembered over restarts: their addresses and what p2p_peer_put keeps, never the private key; for one node at a time; empty: in memory"`
	RememberMs int64  `json:"remember_ms" min:"0" max:"31536000000" doc:"how long the addresses of a peer are remembered after its last connection; 0: 15 minutes, or 7 days with a directory"`
}

const (
	rememberInMemory = 15 * time.Minute
	rememberOnDisk   = 7 * 24 * time.Hour
	// forgetGrace is how long after Forget nothing is learned from a connection that ended before.
	forgetGrace = 5 * time.Second
)

// peerBook is go-libp2p's peerstore with some differences: private keys stay in memory (upstream's writes them to disk in clear), the time for
// which a peer's addresses are remembered can be chosen, the program's metadata outlasts the minute after which upstream drops its own, the
// signed records that peers send are kept, and a peer that was forgotten stays so.
type peerBook struct {
	peerstore.Peerstore
	peerstore.CertifiedAddrBook
	disk     io.Closer // nil: in memory
	metadata ds.Datastore
	remember time.Duration

	mu        sync.Mutex
	keys      map[peer.ID]crypto.PrivKey   // guarded by mu
	records   map[peer.ID]*signed.Envelope // guarded by mu; what identify brought
	forgotten map[peer.ID]time.Time        // guarded by mu
}

// maxRecords bounds the signed records of peers that are kept.
const maxRecords = 4096

// openPeerstore opens the peerstore of the node self.
func openPeerstore(c *PeerstoreConfig, self peer.ID) (_ *peerBook, err error) {
	defer Recovered("open the peerstore", &err)
	b := &peerBook{remember: time.Duration(c.RememberMs) * time.Millisecond, keys: map[peer.ID]crypto.PrivKey{},
		records: map[peer.ID]*signed.Envelope{}, forgotten: map[peer.ID]time.Time{}}
	if b.remember == 0 && c.Directory == "" {
		b.remember = rememberInMemory
	} else if b.remember == 0 {
		b.remember = rememberOnDisk
	}
	b.remember += 2 // this time and doubtful() are marks, as are upstream's, and no other addresses may have them
	if c.Directory == "" {
		store, err := pstoremem.NewPeerstore()
		if err != nil {
			return nil, Errorf(ErrInternal, "peerstore: %w", err)
		}
		b.Peerstore, b.CertifiedAddrBook, b.metadata = store, store, dssync.MutexWrap(ds.NewMapDatastore())
		return b, nil
	}
	if err := os.MkdirAll(c.Directory, 0o700); err != nil {
		return nil, directoryError(c.Directory, err)
	}
	// What was learned in the last moment before the machine fails may be lost; each new connection would else wait for the disk.
	disk, err := leveldb.NewDatastore(c.Directory, &leveldb.Options{NoSync: true})
	if err != nil {
		return nil, directoryError(c.Directory, err)
	}
	store, err := pstoreds.NewPeerstore(context.Background(), disk, pstoreds.DefaultOpts()) // ended by Close
	if err != nil {
		disk.Close()
		return nil, Errorf(ErrSystem, "peerstore.directory %q: %w", c.Directory, err)
	}
	b.Peerstore, b.CertifiedAddrBook, b.disk, b.metadata = store, store, disk, namespace.Wrap(disk, ds.NewKey("/libp2pgo/metadata"))
	// A node that did not end in good order left addresses that count as those of connections, which never expire, and its own.
	store.ClearAddrs(self)
	for _, id := range store.PeersWithAddrs() {
		store.UpdateAddrs(id, peerstore.ConnectedAddrTTL, b.remember)
	}
	return b, nil
}

func directoryError(path string, err error) error {
	switch {
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EACCES) && isLocked(path):
		return Errorf(ErrBusy, "peerstore.directory %q: another node uses it", path)
	case errors.Is(err, os.ErrPermission):
		return Errorf(ErrPermission, "peerstore.directory %q: %w", path, err)
	}
	return Errorf(ErrSystem, "peerstore.directory %q: %w", path, err)
}

// Close ends it; the host calls it when nothing uses it any more.
func (b *peerBook) Close() error {
	err := b.Peerstore.Close()
	if b.disk != nil {
		err = errors.Join(err, b.disk.Close())
	}
	return err
}

func (b *peerBook) AddPrivKey(id peer.ID, key crypto.PrivKey) error {
	if key == nil || !id.MatchesPrivateKey(key) {
		return errors.New("the private key is not that of the peer")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keys[id] = key
	return nil
}

func (b *peerBook) PrivKey(id peer.ID) crypto.PrivKey {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.keys[id]
}

func (b *peerBook) PeersWithKeys() peer.IDSlice {
	ids := b.Peerstore.PeersWithKeys()
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range b.keys {
		if b.Peerstore.PubKey(id) == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// ttl puts our time in the place of upstream's for peers that were connected.
func (b *peerBook) ttl(ttl time.Duration) time.Duration {
	if ttl == peerstore.RecentlyConnectedAddrTTL {
		return b.remember
	}
	return ttl
}

func (b *peerBook) AddAddr(id peer.ID, addr ma.Multiaddr, ttl time.Duration) {
	b.AddAddrs(id, []ma.Multiaddr{addr}, ttl)
}

func (b *peerBook) AddAddrs(id peer.ID, addresses []ma.Multiaddr, ttl time.Duration) {
	if ttl == peerstore.RecentlyConnectedAddrTTL {
		if b.wasForgotten(id) {
			return
		}
		if b.brief() {
			b.Peerstore.UpdateAddrs(id, peerstore.TempAddrTTL, b.doubtful())
		}
	}
	b.Peerstore.AddAddrs(id, addresses, b.ttl(ttl))
}

// brief is whether a peer's addresses are remembered for less time than those that are only tried. When a peer goes, upstream marks all it has with
// the latter time, adds those that it keeps with the former, which it takes to be longer, and drops what is still marked.
func (b *peerBook) brief() bool { return b.remember <= peerstore.TempAddrTTL }

// doubtful is the mark that is shorter than the time for which addresses are remembered.
func (b *peerBook) doubtful() time.Duration { return b.remember - 1 }

func (b *peerBook) SetAddr(id peer.ID, addr ma.Multiaddr, ttl time.Duration) {
	b.Peerstore.SetAddr(id, addr, b.ttl(ttl))
}

func (b *peerBook) SetAddrs(id peer.ID, addresses []ma.Multiaddr, ttl time.Duration) {
	b.Peerstore.SetAddrs(id, addresses, b.ttl(ttl))
}

func (b *peerBook) UpdateAddrs(id peer.ID, from, to time.Duration) {
	b.Peerstore.UpdateAddrs(id, b.ttl(from), b.ttl(to))
	if from == peerstore.TempAddrTTL && b.brief() {
		b.Peerstore.UpdateAddrs(id, b.doubtful(), b.ttl(to))
	}
}

func (b *peerBook) ConsumePeerRecord(envelope *signed.Envelope, ttl time.Duration) (bool, error) {
	return b.CertifiedAddrBook.ConsumePeerRecord(envelope, b.ttl(ttl))
}

// forget removes all that is known of a peer.
func (b *peerBook) forget(id peer.ID) error {
	b.mu.Lock()
	for other, at := range b.forgotten {
		if time.Since(at) > forgetGrace {
			delete(b.forgotten, other)
		}
	}
	b.forgotten[id] = time.Now()
	delete(b.records, id)
	b.mu.Unlock()
	b.ClearAddrs(id)
	b.RemovePeer(id)
	ctx := context.Background() // the store is on this machine, and does not wait
	results, err := b.metadata.Query(ctx, query.Query{Prefix: metadataKey(id, "").String(), KeysOnly: true})
	if err != nil {
		return Errorf(ErrSystem, "the metadata of %s: %w", id, err)
	}
	defer results.Close()
	for r := range results.Next() {
		if r.Error == nil {
			r.Error = b.metadata.Delete(ctx, ds.NewKey(r.Key))
		}
		if r.Error != nil {
			return Errorf(ErrSystem, "the metadata of %s: %w", id, r.Error)
		}
	}
	return nil
}

// metadataKey is where metadata lies; name "" is all of a peer's. Names go in hexadecimal, as a store takes slashes and dots for a path.
func metadataKey(id peer.ID, name string) ds.Key {
	key := ds.NewKey(hex.EncodeToString([]byte(id)))
	if name == "" {
		return key
	}
	return key.ChildString(hex.EncodeToString([]byte(name)))
}

// GetPeerRecord returns the newest signed record of a peer.
func (b *peerBook) GetPeerRecord(id peer.ID) *signed.Envelope {
	added := b.CertifiedAddrBook.GetPeerRecord(id)
	b.mu.Lock()
	defer b.mu.Unlock()
	if sent := b.records[id]; sent != nil && (added == nil || recordSequence(sent) > recordSequence(added)) {
		return sent
	}
	return added
}

func recordSequence(envelope *signed.Envelope) uint64 {
	rec, err := envelope.Record()
	if r, ok := rec.(*peer.PeerRecord); err == nil && ok {
		return r.Seq
	}
	return 0
}

// sent keeps the record that a peer sent with its identification. Upstream takes its addresses, those of use here, and drops it.
func (b *peerBook) sent(id peer.ID, envelope *signed.Envelope) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for other := range b.records { // any one makes room
		if len(b.records) < maxRecords {
			break
		}
		delete(b.records, other)
	}
	b.records[id] = envelope
}

func (b *peerBook) wasForgotten(id peer.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	at, ok := b.forgotten[id]
	return ok && time.Since(at) < forgetGrace
}

// welcome ends forget: the peer is connected again.
func (b *peerBook) welcome(id peer.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.forgotten, id)
}
