package core

import (
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multihash"
)

// maxPeerIDText is longer than any peer id: an inlined key has at most 42 bytes, in base 2 some 370 characters. Reading base 58 takes time with
// the square of the length.
const maxPeerIDText = 512

// maxPeerID bounds the bytes of a peer id: writing one takes time with their square too. The longest hash in use makes 66.
const maxPeerID = 128

// ParsePeer reads a peer id in its base58 ("12D3KooW...") or CID ("bafz...") form.
func ParsePeer(text string) (id peer.ID, err error) {
	defer Recovered("parse a peer id", &err)
	if len(text) <= maxPeerIDText {
		if id, err = peer.Decode(text); err == nil {
			id, err = PeerIDFromBytes([]byte(id))
		}
	}
	if err != nil || id == "" {
		return "", Errorf(ErrParse, "%s is not a peer id", quoteShort(text))
	}
	return id, nil
}

// PeerIDFromBytes reads a peer id in its binary form, a multihash.
func PeerIDFromBytes(data []byte) (peer.ID, error) {
	if len(data) > maxPeerID {
		return "", Errorf(ErrParse, "%d bytes are not a peer id: at most %d are", len(data), maxPeerID)
	}
	hash, err := multihash.Decode(data)
	if err != nil {
		return "", Errorf(ErrParse, "%d bytes are not a peer id: %s", len(data), err)
	}
	if hash.Length == 0 {
		return "", Errorf(ErrParse, "a peer id of no bytes")
	}
	return peer.ID(data), nil
}

// PeerIDInfo is what a peer id tells.
type PeerIDInfo struct {
	Peer string `json:"peer"` // base58, the form that the library writes
	CID  string `json:"cid"`
	// Inline: the id holds the public key itself, of this type; else only its hash.
	Inline bool   `json:"inline"`
	Type   string `json:"type"`
}

// InfoOfPeerID tells what a peer id is.
func InfoOfPeerID(id peer.ID) *PeerIDInfo {
	info := &PeerIDInfo{Peer: id.String(), CID: peer.ToCid(id).String()}
	if key, err := PublicKeyOfPeer(id); err == nil {
		if public, err := parsePublicKey(key); err == nil {
			info.Inline, info.Type = true, keyTypeName(public)
		}
	}
	return info
}

// PublicKeyOfPeer returns the public key that a peer id holds. ErrNotFound: it holds the hash of one.
func PublicKeyOfPeer(id peer.ID) (public []byte, err error) {
	defer Recovered("take the key out of a peer id", &err)
	key, err := id.ExtractPublicKey()
	if err != nil {
		return nil, Errorf(ErrNotFound, "peer id %s is the hash of a public key and does not hold it", id)
	}
	return marshalPublicKey(key)
}
