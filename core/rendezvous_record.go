package core

import (
	"bytes"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	signing "github.com/libp2p/go-libp2p/core/record"
)

// A peer record comes in two forms that differ in two labels under the signature. libp2p's RFC 3 has "libp2p-peer-record"; rust-libp2p's
// rendezvous still has those of an earlier draft, reads no other, and gives up a whole answer for one record that it cannot read. A record
// cannot be turned into the other form but by its peer. So a client of ours sends both where it can: a point of ours then hands out what the
// asker reads.
type recordForm int

const (
	recordStandard recordForm = iota
	recordDraft               // rust-libp2p's rendezvous
)

func (f recordForm) other() recordForm { return 1 - f }

// draftRecord is a peer record with the labels of the draft.
type draftRecord struct{ *peer.PeerRecord }

var draftPayloadType = []byte("/libp2p/routing-state-record")

func (draftRecord) Domain() string { return "libp2p-routing-state" }
func (draftRecord) Codec() []byte  { return draftPayloadType }

// verifyPeerRecord reads a signed peer record of either form, and fails unless it is signed by the peer that it is about.
func verifyPeerRecord(envelope []byte) (info peer.AddrInfo, form recordForm, err error) {
	defer Recovered("peer record", &err)
	signed, err := signing.UnmarshalEnvelope(envelope)
	if err != nil {
		return info, form, Errorf(ErrRejected, "signed peer record: %s", err)
	}
	content := &peer.PeerRecord{}
	var target signing.Record = content
	switch {
	case bytes.Equal(signed.PayloadType, peer.PeerRecordEnvelopePayloadType):
	case bytes.Equal(signed.PayloadType, draftPayloadType):
		target, form = draftRecord{content}, recordDraft
	default:
		return info, form, Errorf(ErrRejected, "signed peer record: of an unknown type")
	}
	if _, err := signing.ConsumeTypedEnvelope(envelope, target); err != nil {
		return info, form, Errorf(ErrRejected, "signed peer record: %s", err)
	}
	if !content.PeerID.MatchesPublicKey(signed.PublicKey) {
		return info, form, Errorf(ErrRejected, "signed peer record: not signed by its peer")
	}
	return peer.AddrInfo{ID: content.PeerID, Addrs: content.Addrs}, form, nil
}

// ownPeerRecord signs a record of the node's present addresses.
func (n *Node) ownPeerRecord(form recordForm) ([]byte, error) {
	key := n.host.Peerstore().PrivKey(n.ID())
	if key == nil {
		return nil, Errorf(ErrInternal, "the peerstore has no private key")
	}
	addresses := n.host.Addrs()
	if len(addresses) == 0 {
		return nil, Errorf(ErrState, "the node has no address to tell")
	}
	return signPeerRecord(key, peer.AddrInfo{ID: n.ID(), Addrs: addresses}, form)
}

func signPeerRecord(key crypto.PrivKey, info peer.AddrInfo, form recordForm) ([]byte, error) {
	var content signing.Record = peer.PeerRecordFromAddrInfo(info)
	if form == recordDraft {
		content = draftRecord{peer.PeerRecordFromAddrInfo(info)}
	}
	envelope, err := signing.Seal(content, key)
	if err != nil {
		return nil, Errorf(ErrInternal, "sign a peer record: %s", err)
	}
	return envelope.Marshal()
}
