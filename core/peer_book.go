package core

import (
	"context"
	"errors"
	"slices"
	"time"

	ds "github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	signed "github.com/libp2p/go-libp2p/core/record"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
)

// What the program itself adds to what the node knows of peers.

const (
	maxMetadata     = 64 << 10
	maxMetadataName = 128
)

// addressTTL is a time for which addresses are kept: 0 for an hour, less for ever.
func addressTTL(ttl time.Duration) time.Duration {
	switch {
	case ttl == 0:
		return peerstore.AddressTTL
	case ttl < 0:
		return peerstore.PermanentAddrTTL
	case ttl == peerstore.TempAddrTTL, ttl == peerstore.RecentlyConnectedAddrTTL:
		return ttl + 1 // upstream marks addresses with these times and would take this one for its own
	}
	return ttl
}

// AddAddresses adds addresses of one peer, which end in /p2p/<peer id>, to those that are known, for ttl (0: an hour; -1: until the node ends,
// or, with a peerstore directory, for ever), and returns the peer's id. Nothing is dialled.
func (n *Node) AddAddresses(addresses []string, ttl time.Duration) (peer.ID, error) {
	id, parsed, err := parsePeerAddresses(addresses)
	switch {
	case err != nil:
		return "", err
	case len(parsed) == 0:
		return "", Errorf(ErrInvalid, "%s: no address is given, only the peer id", id)
	case id == n.ID():
		return "", Errorf(ErrInvalid, "%s is this node itself", id)
	case n.ctx.Err() != nil:
		return "", Errorf(ErrClosed, "the node is closed")
	}
	n.host.Peerstore().AddAddrs(id, parsed, addressTTL(ttl))
	return id, nil
}

// Forget removes all that is known of a peer: addresses, protocols, metadata, record and tags. It fails with ErrState while the peer is
// connected or kept.
func (n *Node) Forget(id peer.ID) error {
	switch {
	case n.ctx.Err() != nil:
		return Errorf(ErrClosed, "the node is closed")
	case id == n.ID():
		return Errorf(ErrInvalid, "%s is this node itself", id)
	case n.isConnected(id):
		return Errorf(ErrState, "%s is connected", id)
	case n.keeper.keeps(id):
		return Errorf(ErrState, "%s is kept", id)
	}
	n.given.forget(id)
	n.connections.forget(id)
	return n.book.forget(id)
}

// KnownPeers returns the peers with a known address, connected or not, without this node.
func (n *Node) KnownPeers() []peer.ID {
	return slices.DeleteFunc(n.host.Peerstore().PeersWithAddrs(), func(id peer.ID) bool { return id == n.ID() })
}

func checkMetadata(name string) error {
	if name == "" || len(name) > maxMetadataName {
		return Errorf(ErrInvalid, "metadata %s: a name is 1 to %d bytes", quoteShort(name), maxMetadataName)
	}
	return nil
}

// PutMetadata keeps data of the program's own about a peer under a name; no data removes it. With a peerstore directory it outlasts the node.
func (n *Node) PutMetadata(id peer.ID, name string, data []byte) error {
	if err := checkMetadata(name); err != nil {
		return err
	}
	if len(data) > maxMetadata {
		return &SizeError{"metadata", int64(len(data)), maxMetadata}
	}
	if n.ctx.Err() != nil {
		return Errorf(ErrClosed, "the node is closed")
	}
	ctx, cancel := n.join(context.Background()) // the store is on this machine
	defer cancel()
	key := metadataKey(id, name)
	var err error
	if len(data) == 0 {
		err = n.book.metadata.Delete(ctx, key)
	} else {
		err = n.book.metadata.Put(ctx, key, slices.Clone(data))
	}
	return translate(ctx, err, ErrSystem, "metadata %s of %s", quoteShort(name), id)
}

// Metadata returns what PutMetadata keeps. It fails with ErrNotFound if there is nothing.
func (n *Node) Metadata(id peer.ID, name string) ([]byte, error) {
	if err := checkMetadata(name); err != nil {
		return nil, err
	}
	if n.ctx.Err() != nil {
		return nil, Errorf(ErrClosed, "the node is closed")
	}
	ctx, cancel := n.join(context.Background()) // the store is on this machine
	defer cancel()
	data, err := n.book.metadata.Get(ctx, metadataKey(id, name))
	if errors.Is(err, ds.ErrNotFound) {
		return nil, Errorf(ErrNotFound, "%s has no metadata %s", id, quoteShort(name))
	}
	return slices.Clone(data), translate(ctx, err, ErrSystem, "metadata %s of %s", quoteShort(name), id)
}

// PeerRecord returns the certified record of a peer: its addresses, signed by itself, as the bytes of an envelope (libp2p/specs, RFC 0003). For
// this node it is its own. It fails with ErrNotFound if the peer has sent none.
func (n *Node) PeerRecord(id peer.ID) ([]byte, error) {
	if n.ctx.Err() != nil {
		return nil, Errorf(ErrClosed, "the node is closed")
	}
	envelope := n.book.GetPeerRecord(id)
	if envelope == nil {
		return nil, Errorf(ErrNotFound, "%s: no signed record is known", id)
	}
	data, err := envelope.Marshal()
	if err != nil {
		return nil, Errorf(ErrInternal, "the record of %s: %w", id, err)
	}
	return data, nil
}

// AddPeerRecord takes a certified record, checks who signed it, and keeps its addresses for ttl, as AddAddresses does. taken is false if a newer
// record of the peer is known. It fails with ErrParse if it is no record, and with ErrSecurity if its signature is not that of its peer.
func (n *Node) AddPeerRecord(data []byte, ttl time.Duration) (id peer.ID, taken bool, err error) {
	if n.ctx.Err() != nil {
		return "", false, Errorf(ErrClosed, "the node is closed")
	}
	defer Recovered("peer record", &err)
	found, err := OpenPeerRecord(data)
	if err != nil {
		return "", false, err
	}
	if found.Peer == n.ID() {
		return "", false, Errorf(ErrInvalid, "%s is this node itself", found.Peer)
	}
	envelope, _, err := signed.ConsumeEnvelope(data, peer.PeerRecordEnvelopeDomain)
	if err == nil {
		taken, err = n.book.ConsumePeerRecord(envelope, addressTTL(ttl))
	}
	if err != nil {
		return "", false, Errorf(ErrParse, "the record of %s: %w", found.Peer, err)
	}
	return found.Peer, taken, nil
}

// watchRecords keeps the signed records that peers send.
func (n *Node) watchRecords() error {
	// As all subscriptions, it is drained until it is closed, or it would block whoever emits.
	sub, err := n.host.EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted), eventbus.BufSize(64), eventbus.Name("libp2pgo records"))
	if err != nil {
		return Errorf(ErrInternal, "subscribe to identifications: %w", err)
	}
	context.AfterFunc(n.ctx, func() { sub.Close() })
	n.spawn("peer records", func() {
		for e := range sub.Out() {
			if done, ok := e.(event.EvtPeerIdentificationCompleted); ok && done.SignedPeerRecord != nil {
				guarded("peer record", func() { n.book.sent(done.Peer, done.SignedPeerRecord) })
			}
		}
	})
	return nil
}
