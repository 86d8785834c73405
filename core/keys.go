package core

import (
	"crypto/ed25519"
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Keys are handed around in libp2p's protobuf form (libp2p/specs, peer-ids), which names the type; key_formats.go has the others.

// PublicKeyOf returns the public half of a private key.
func PublicKeyOf(key []byte) ([]byte, error) {
	private, err := parseKey(key)
	if err != nil {
		return nil, err
	}
	return marshalPublicKey(private.GetPublic())
}

// Sign signs data, as libp2p/specs, peer-ids says for each type of key.
func Sign(key, data []byte) ([]byte, error) {
	private, err := parseKey(key)
	if err != nil {
		return nil, err
	}
	signature, err := private.Sign(data)
	if err != nil {
		return nil, Errorf(ErrInternal, "sign with a key of type %s: %w", keyTypeName(private), err)
	}
	return signature, nil
}

// Verify returns nil if signature is that of data by the holder of the public key, else ErrSecurity.
func Verify(public, data, signature []byte) (err error) {
	defer Recovered("verify a signature", &err)
	key, err := parsePublicKey(public)
	if err != nil {
		return err
	}
	if good, err := key.Verify(data, signature); err != nil || !good {
		return Errorf(ErrSecurity, "the signature is not that of the %s key over these %d bytes", keyTypeName(key), len(data))
	}
	return nil
}

// PeerIDOfPublicKey returns the peer id that belongs to a public key.
func PeerIDOfPublicKey(public []byte) (peer.ID, error) {
	key, err := parsePublicKey(public)
	if err != nil {
		return "", err
	}
	return peerIDOf(key)
}

// PublicKeyInfo is what a public key tells.
type PublicKeyInfo struct {
	Type string `json:"type"`
	Peer string `json:"peer"`
	CID  string `json:"cid"`
	// Inline: the peer id holds the key itself, not its hash.
	Inline bool `json:"inline"`
}

// InfoOfPublicKey tells what a public key is.
func InfoOfPublicKey(public []byte) (*PublicKeyInfo, error) {
	key, err := parsePublicKey(public)
	if err != nil {
		return nil, err
	}
	id, err := peerIDOf(key)
	if err != nil {
		return nil, err
	}
	info := InfoOfPeerID(id)
	return &PublicKeyInfo{Type: keyTypeName(key), Peer: info.Peer, CID: info.CID, Inline: info.Inline}, nil
}

func peerIDOf(key crypto.PubKey) (id peer.ID, err error) {
	defer Recovered("make a peer id", &err)
	id, err = peer.IDFromPublicKey(key)
	if err != nil {
		return "", Errorf(ErrParse, "the public key has no peer id: %s", err)
	}
	return id, nil
}

// parseKey reads a private key. Upstream's words are left out, as they may quote the bytes.
func parseKey(key []byte) (private crypto.PrivKey, err error) {
	defer Recovered("parse a key", &err)
	private, err = crypto.UnmarshalPrivateKey(key)
	if err != nil {
		return nil, Errorf(ErrParse, "not a private key in protobuf form")
	}
	return private, soundKey(private)
}

// soundKey finds what upstream lets pass: a key that does not belong to its own public half would give itself away by its first signature.
func soundKey(key crypto.PrivKey) error {
	raw, err := key.Raw()
	if err != nil {
		return Errorf(ErrParse, "not a private key in protobuf form")
	}
	switch key.Type() {
	case crypto.Ed25519:
		if whole := ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize]); string(whole) != string(raw) {
			return Errorf(ErrParse, "the two halves of the ed25519 key do not belong together")
		}
	case crypto.Secp256k1:
		if !slices.ContainsFunc(raw, func(b byte) bool { return b != 0 }) {
			return Errorf(ErrParse, "the secp256k1 key is out of range")
		}
	}
	return nil
}

// parsePublicKey reads a public key.
func parsePublicKey(public []byte) (key crypto.PubKey, err error) {
	defer Recovered("parse a public key", &err)
	key, err = crypto.UnmarshalPublicKey(public)
	if err != nil {
		return nil, Errorf(ErrParse, "not a public key in protobuf form")
	}
	return key, nil
}

func marshalKey(private crypto.PrivKey) (key []byte, err error) {
	defer Recovered("write a key", &err)
	key, err = crypto.MarshalPrivateKey(private)
	if err != nil {
		return nil, Errorf(ErrParse, "the private key cannot be written in protobuf form")
	}
	return key, nil
}

func marshalPublicKey(public crypto.PubKey) (key []byte, err error) {
	defer Recovered("write a public key", &err)
	key, err = crypto.MarshalPublicKey(public)
	if err != nil {
		return nil, Errorf(ErrParse, "the public key cannot be written in protobuf form: %s", err)
	}
	return key, nil
}

// keyTypes are the types of keys, by the names that the interface uses.
var keyTypes = map[string]int{"ed25519": crypto.Ed25519, "secp256k1": crypto.Secp256k1, "ecdsa": crypto.ECDSA, "rsa": crypto.RSA}

func parseKeyType(name string) (int, error) {
	number, ok := keyTypes[name]
	if !ok {
		return 0, Errorf(ErrInvalid, "key type %s is none of ed25519, secp256k1, ecdsa, rsa", quoteShort(name))
	}
	return number, nil
}

func keyTypeName(key crypto.Key) string {
	return strings.ToLower(key.Type().String())
}
