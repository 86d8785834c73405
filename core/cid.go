package core

import (
	"bytes"
	"encoding/hex"
	"unicode/utf8"

	"github.com/ipfs/boxo/verifcid"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multibase"
	"github.com/multiformats/go-multicodec"
	"github.com/multiformats/go-multihash"
)

// maxCIDText bounds the time that reading a CID takes: some bases take the square of the length.
const maxCIDText = 2048

// maxIdentity is how many bytes a CID may hold in place of their hash.
const maxIdentity = verifcid.DefaultMaxIdentityDigestSize

// CIDOptions are the options of making a CID.
type CIDOptions struct {
	Codec   string `json:"codec" doc:"what the bytes are: a multicodec such as raw, dag-pb, dag-cbor, dag-json, libp2p-key"`
	Hash    string `json:"hash" doc:"how they are hashed; identity: not at all, for at most 128 bytes" enum:"sha2-256,sha2-512,sha3-256,sha3-512,blake2b-256,blake2s-256,blake3,identity"`
	Version int    `json:"version" doc:"0 is dag-pb with sha2-256, as IPFS long wrote it" min:"0" max:"1"`
	Base    string `json:"base" doc:"multibase of the text, such as base32, base36, base58btc, base64url; version 0 has base58btc only"`
}

// CIDTextOptions are the options of writing a CID.
type CIDTextOptions struct {
	Version int    `json:"version" doc:"0 or 1; -1: as it is" min:"-1" max:"1"`
	Base    string `json:"base" doc:"multibase of the text; empty: base32 for version 1, base58btc for version 0"`
}

func init() {
	registerOptions("cid", "options of making a CID", func() any { o, _ := ParseCIDOptions(nil); return &o })
	registerOptions("cid_text", "options of writing a CID", func() any { o, _ := ParseCIDTextOptions(nil); return &o })
}

// ParseCIDOptions reads the options of MakeCID.
func ParseCIDOptions(doc []byte) (CIDOptions, error) {
	o := CIDOptions{Codec: "raw", Hash: "sha2-256", Version: 1}
	if err := parseOptions(doc, &o, ""); err != nil {
		return o, err
	}
	var code multicodec.Code
	if err := code.Set(o.Codec); err != nil {
		return o, &OptionError{"codec", quoteShort(o.Codec) + " is no multicodec"}
	}
	if o.Version == 0 && (o.Codec != "dag-pb" || o.Hash != "sha2-256") {
		return o, &OptionError{"version", "0 goes with codec dag-pb and hash sha2-256 only"}
	}
	return o, checkBase(o.Base, o.Version)
}

// ParseCIDTextOptions reads the options of CIDText.
func ParseCIDTextOptions(doc []byte) (CIDTextOptions, error) {
	o := CIDTextOptions{Version: -1}
	if err := parseOptions(doc, &o, ""); err != nil {
		return o, err
	}
	return o, checkBase(o.Base, o.Version)
}

func checkBase(base string, version int) error {
	encoding, known := multibase.Encodings[base]
	switch {
	case base == "":
	case !known || encoding == multibase.Identity:
		return &OptionError{"base", quoteShort(base) + " is no multibase"}
	case version == 0 && encoding != multibase.Base58BTC:
		return &OptionError{"base", quoteShort(base) + ": version 0 has base58btc only"}
	}
	return nil
}

// MakeCID returns the CID of data, as text.
func MakeCID(data []byte, o CIDOptions) (string, error) {
	var codec multicodec.Code
	if err := codec.Set(o.Codec); err != nil {
		return "", &OptionError{"codec", quoteShort(o.Codec) + " is no multicodec"}
	}
	if o.Hash == "identity" && len(data) > maxIdentity {
		return "", Errorf(ErrTooBig, "a CID with hash identity holds at most %d bytes, not %d", maxIdentity, len(data))
	}
	hash, err := multihash.Sum(data, multihash.Names[o.Hash], -1)
	if err != nil {
		return "", Errorf(ErrInternal, "hash with %s: %w", o.Hash, err)
	}
	if o.Version == 0 {
		return cid.NewCidV0(hash).String(), nil
	}
	return CIDText(cid.NewCidV1(uint64(codec), hash), CIDTextOptions{Version: 1, Base: o.Base})
}

// ParseCID reads a CID of either version, in any multibase.
func ParseCID(text string) (c cid.Cid, err error) {
	defer Recovered("parse a CID", &err)
	if len(text) > maxCIDText || !utf8.ValidString(text) {
		return cid.Undef, Errorf(ErrParse, "%s is not a CID", quoteShort(text))
	}
	if c, err = cid.Decode(text); err != nil {
		return cid.Undef, Errorf(ErrParse, "%s is not a CID: %s", quoteShort(text), err)
	}
	return c, nil
}

// CIDFromBytes reads a CID in its binary form.
func CIDFromBytes(data []byte) (c cid.Cid, err error) {
	defer Recovered("parse a CID", &err)
	if len(data) > maxCIDText/8 {
		return cid.Undef, Errorf(ErrParse, "%d bytes are not a CID", len(data))
	}
	if c, err = cid.Cast(data); err != nil {
		return cid.Undef, Errorf(ErrParse, "%d bytes are not a CID: %s", len(data), err)
	}
	return c, nil
}

// CIDText writes a CID. ErrInvalid: it cannot be of that version, or in that base.
func CIDText(c cid.Cid, o CIDTextOptions) (string, error) {
	if o.Version < 0 {
		o.Version = int(c.Version())
	}
	if o.Version == 0 {
		hash := c.Prefix()
		if hash.Codec != cid.DagProtobuf || hash.MhType != multihash.SHA2_256 || hash.MhLength != 32 {
			return "", Errorf(ErrInvalid, "%s cannot be of version 0, which is dag-pb with sha2-256 only", c)
		}
		if o.Base != "" && o.Base != "base58btc" {
			return "", Errorf(ErrInvalid, "%s: version 0 has base58btc only, not %s", c, o.Base)
		}
		return cid.NewCidV0(c.Hash()).String(), nil
	}
	if o.Base == "" {
		o.Base = "base32"
	}
	text, err := cid.NewCidV1(c.Type(), c.Hash()).StringOfBase(multibase.Encodings[o.Base])
	if err != nil {
		return "", Errorf(ErrInvalid, "%s in %s: %s", c, o.Base, err)
	}
	return text, nil
}

// CIDInfo is a CID taken apart.
type CIDInfo struct {
	Version   int     `json:"version"`
	Base      string  `json:"base"` // of the text it was read from
	Codec     string  `json:"codec"`
	CodecCode uint64  `json:"codec_code"`
	Hash      string  `json:"hash"`
	HashCode  uint64  `json:"hash_code"`
	Digest    string  `json:"digest"` // hex
	V0        *string `json:"v0"`     // null if there is none
	V1        string  `json:"v1"`     // base32
}

// InfoOfCID takes a CID apart.
func InfoOfCID(text string) (info *CIDInfo, err error) {
	defer Recovered("take a CID apart", &err)
	c, err := ParseCID(text)
	if err != nil {
		return nil, err
	}
	hash, err := multihash.Decode(c.Hash())
	if err != nil {
		return nil, Errorf(ErrParse, "%s is not a CID: %s", quoteShort(text), err)
	}
	info = &CIDInfo{Version: int(c.Version()), Base: baseOfCID(text), Codec: multicodec.Code(c.Type()).String(), CodecCode: c.Type(),
		Hash: multicodec.Code(hash.Code).String(), HashCode: hash.Code, Digest: hex.EncodeToString(hash.Digest)}
	if v0, err := CIDText(c, CIDTextOptions{Version: 0}); err == nil {
		info.V0 = &v0
	}
	info.V1, err = CIDText(c, CIDTextOptions{Version: 1})
	return info, err
}

func baseOfCID(text string) string {
	if len(text) == 46 && text[:2] == "Qm" {
		return "base58btc"
	}
	first, _ := utf8.DecodeRuneInString(text)
	return multibase.EncodingToStr[multibase.Encoding(first)]
}

// VerifyCID returns nil if data are the bytes that the CID names, else ErrSecurity. ErrUnsupported: its hash proves nothing.
func VerifyCID(text string, data []byte) (err error) {
	defer Recovered("verify a CID", &err)
	c, err := ParseCID(text)
	if err != nil {
		return err
	}
	if err := verifcid.ValidateCid(verifcid.DefaultAllowlist, c); err != nil {
		return Errorf(ErrUnsupported, "%s: %s", quoteShort(text), err)
	}
	want, err := multihash.Decode(c.Hash())
	if err != nil {
		return Errorf(ErrParse, "%s is not a CID: %s", quoteShort(text), err)
	}
	if want.Code == multihash.IDENTITY {
		if !bytes.Equal(want.Digest, data) {
			return Errorf(ErrSecurity, "%s does not name these %d bytes", quoteShort(text), len(data))
		}
		return nil
	}
	got, err := multihash.Sum(data, want.Code, want.Length)
	if err != nil {
		return Errorf(ErrUnsupported, "%s: %s", quoteShort(text), err)
	}
	if !bytes.Equal(got, c.Hash()) {
		return Errorf(ErrSecurity, "%s does not name these %d bytes", quoteShort(text), len(data))
	}
	return nil
}
