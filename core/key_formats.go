package core

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/crypto/pb"
)

// The forms in which keys are kept elsewhere:
//
//	protobuf  libp2p's own; a file of `ipfs key export`, of Kubo's keystore, of identity.file
//	base64    the same as text; Identity.PrivKey in Kubo's config
//	pem       PKCS #8 (public: PKIX); `ipfs key export --format=pem-pkcs8-cleartext`, openssl. SEC 1 and PKCS #1 are read too
//	raw       the bare key: 32 bytes for ed25519 (private: 64 are read too) and secp256k1 (public: 33), PKCS #1 DER for rsa, SEC 1 DER for
//	          ecdsa; public rsa and ecdsa keys are PKIX DER
const keyFormats = "protobuf, base64, pem, raw"

// ImportKey reads a private key in the given format, "" for any but raw, and returns its protobuf form. keyType "" allows every type; raw
// needs it. What is in data is not repeated in an error.
func ImportKey(format, keyType string, data []byte) ([]byte, error) {
	private, err := importKey("private", format, keyType, data, keyReader[crypto.PrivKey]{parseKey, privateFromPEM, privateFromRaw})
	if err != nil {
		return nil, err
	}
	key, err := marshalKey(private)
	if err != nil {
		return nil, err
	}
	if _, err := parseKey(key); err != nil { // what a format let pass, a node would not
		return nil, Errorf(ErrParse, "not a private key that libp2p takes: rsa has 2048 to 8192 bits, the others lie in their range")
	}
	return key, nil
}

// ImportPublicKey is ImportKey for a public key.
func ImportPublicKey(format, keyType string, data []byte) ([]byte, error) {
	public, err := importKey("public", format, keyType, data, keyReader[crypto.PubKey]{parsePublicKey, publicFromPEM, publicFromRaw})
	if err != nil {
		return nil, err
	}
	key, err := marshalPublicKey(public)
	if err != nil {
		return nil, err
	}
	if _, err := parsePublicKey(key); err != nil {
		return nil, Errorf(ErrParse, "not a public key that libp2p takes: rsa keys have 2048 to 8192 bits")
	}
	return key, nil
}

// ExportKey writes a private key in a format.
func ExportKey(key []byte, format string) (data []byte, err error) {
	defer Recovered("export a key", &err)
	private, err := parseKey(key)
	if err != nil {
		return nil, err
	}
	switch format {
	case "protobuf":
		return marshalKey(private)
	case "base64":
		return toBase64(marshalKey(private))
	case "pem":
		der, err := privateToPKCS8(private)
		return toPEM("PRIVATE KEY", der, err)
	case "raw":
		raw, err := private.Raw()
		if err == nil && private.Type() == crypto.Ed25519 {
			raw = raw[:ed25519.SeedSize]
		}
		return raw, err
	}
	return nil, unknownKeyFormat(format)
}

// ExportPublicKey writes a public key in a format.
func ExportPublicKey(public []byte, format string) (data []byte, err error) {
	defer Recovered("export a public key", &err)
	key, err := parsePublicKey(public)
	if err != nil {
		return nil, err
	}
	switch format {
	case "protobuf":
		return marshalPublicKey(key)
	case "base64":
		return toBase64(marshalPublicKey(key))
	case "pem":
		der, err := publicToPKIX(key)
		return toPEM("PUBLIC KEY", der, err)
	case "raw":
		return key.Raw()
	}
	return nil, unknownKeyFormat(format)
}

func unknownKeyFormat(format string) error {
	return Errorf(ErrInvalid, "key format %s is none of %s", quoteShort(format), keyFormats)
}

func toBase64(data []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return []byte(base64.StdEncoding.EncodeToString(data)), nil
}

func toPEM(title string, der []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, Errorf(ErrInternal, "write a key as PEM: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: title, Bytes: der}), nil
}

// keyReader reads one half of a key pair in each of the forms.
type keyReader[K crypto.Key] struct {
	protobuf func([]byte) (K, error)
	pem      func(title string, der []byte) (K, error)
	raw      func(keyType int, data []byte) (K, error)
}

func importKey[K crypto.Key](half, format, keyType string, data []byte, read keyReader[K]) (key K, err error) {
	defer Recovered("import a key", &err)
	wanted := -1
	if keyType != "" {
		if wanted, err = parseKeyType(keyType); err != nil {
			return key, err
		}
	}
	if len(data) > maxSecretFile {
		return key, Errorf(ErrParse, "not a %s key: %d bytes", half, len(data))
	}
	switch format {
	case "protobuf":
		key, err = read.protobuf(data)
	case "base64":
		key, err = fromBase64(half, data, read)
	case "pem":
		key, err = fromPEM(half, data, read)
	case "raw":
		if wanted < 0 {
			return key, Errorf(ErrInvalid, "type: a raw key does not tell its type; name it")
		}
		if key, err = read.raw(wanted, data); err != nil {
			err = Errorf(ErrParse, "not a raw %s key of type %s", half, keyType)
		}
	case "":
		if bytes.HasPrefix(bytes.TrimSpace(data), []byte("-----BEGIN ")) {
			key, err = fromPEM(half, data, read)
		} else if key, err = read.protobuf(data); err != nil {
			if key, err = fromBase64(half, data, read); err != nil {
				err = Errorf(ErrParse, "not a %s key in protobuf form, base64 or PEM", half)
			}
		}
	default:
		err = unknownKeyFormat(format)
	}
	if err == nil && wanted >= 0 && int(key.Type()) != wanted {
		err = Errorf(ErrParse, "the key is of type %s, not %s", keyTypeName(key), keyType)
	}
	return key, err
}

func fromBase64[K crypto.Key](half string, data []byte, read keyReader[K]) (key K, err error) {
	decoded, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(data)))
	if err == nil {
		key, err = read.protobuf(decoded)
	}
	if err != nil {
		err = Errorf(ErrParse, "not a %s key in protobuf form as base64", half)
	}
	return key, err
}

func fromPEM[K crypto.Key](half string, data []byte, read keyReader[K]) (key K, err error) {
	block, rest := pem.Decode(data)
	for block != nil && block.Type == "EC PARAMETERS" { // openssl writes the curve in front of the key
		block, rest = pem.Decode(rest)
	}
	switch {
	case block == nil:
		return key, Errorf(ErrParse, "not a %s key as PEM", half)
	case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
		return key, Errorf(ErrUnsupported, "the PEM key is encrypted; decrypt it first, for example with openssl pkey")
	case block.Type == "OPENSSH PRIVATE KEY":
		return key, Errorf(ErrUnsupported, "the key is in OpenSSH's form; only PEM with PKCS #8, PKCS #1 or SEC 1 is read")
	case len(bytes.TrimSpace(rest)) > 0:
		return key, Errorf(ErrParse, "not a %s key as PEM: something follows it", half)
	}
	if key, err = read.pem(block.Type, block.Bytes); err != nil {
		return key, Errorf(ErrParse, "not a %s key as PEM: a block %s that holds none of type ed25519, secp256k1, ecdsa or rsa", half, quoteShort(block.Type))
	}
	return key, nil
}

func privateFromPEM(title string, der []byte) (crypto.PrivKey, error) {
	var standard any
	var err error
	switch title {
	case "PRIVATE KEY":
		if key, err := secp256k1FromPKCS8(der); err == nil {
			return key, nil
		}
		standard, err = x509.ParsePKCS8PrivateKey(der)
	case "EC PRIVATE KEY":
		if key, err := secp256k1FromSEC1(der, true); err == nil {
			return key, nil
		}
		standard, err = x509.ParseECPrivateKey(der)
	case "RSA PRIVATE KEY":
		standard, err = x509.ParsePKCS1PrivateKey(der)
	default:
		err = asn1.StructuralError{}
	}
	if err != nil {
		return nil, err
	}
	if key, ok := standard.(ed25519.PrivateKey); ok {
		standard = &key
	}
	key, _, err := crypto.KeyPairFromStdKey(standard)
	return key, err
}

func publicFromPEM(title string, der []byte) (crypto.PubKey, error) {
	switch title {
	case "PUBLIC KEY":
		return publicFromPKIX(der)
	case "RSA PUBLIC KEY":
		key, err := x509.ParsePKCS1PublicKey(der)
		if err != nil {
			return nil, err
		}
		if der, err = x509.MarshalPKIXPublicKey(key); err != nil {
			return nil, err
		}
		return crypto.UnmarshalRsaPublicKey(der)
	}
	return nil, asn1.StructuralError{}
}

func privateFromRaw(keyType int, data []byte) (crypto.PrivKey, error) {
	if keyType == crypto.Ed25519 && len(data) == ed25519.SeedSize {
		data = ed25519.NewKeyFromSeed(data)
	}
	if keyType == crypto.Secp256k1 {
		return secp256k1FromScalar(data)
	}
	return crypto.PrivKeyUnmarshallers[pb.KeyType(keyType)](data)
}

func publicFromRaw(keyType int, data []byte) (crypto.PubKey, error) {
	return crypto.PubKeyUnmarshallers[pb.KeyType(keyType)](data)
}

func publicFromPKIX(der []byte) (crypto.PubKey, error) {
	if key, err := secp256k1FromPKIX(der); err == nil {
		return key, nil
	}
	standard, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, err
	}
	switch key := standard.(type) {
	case ed25519.PublicKey:
		return crypto.UnmarshalEd25519PublicKey(key)
	case *ecdsa.PublicKey:
		return crypto.UnmarshalECDSAPublicKey(der)
	case *rsa.PublicKey:
		return crypto.UnmarshalRsaPublicKey(der)
	}
	return nil, asn1.StructuralError{}
}

func privateToPKCS8(key crypto.PrivKey) ([]byte, error) {
	if key.Type() == crypto.Secp256k1 {
		return secp256k1ToPKCS8(key)
	}
	standard, err := crypto.PrivKeyToStdKey(key)
	if err != nil {
		return nil, err
	}
	if k, ok := standard.(*ed25519.PrivateKey); ok {
		standard = *k
	}
	return x509.MarshalPKCS8PrivateKey(standard)
}

func publicToPKIX(key crypto.PubKey) ([]byte, error) {
	raw, err := key.Raw()
	if err != nil {
		return nil, err
	}
	switch key.Type() {
	case crypto.Secp256k1:
		return secp256k1ToPKIX(raw)
	case crypto.Ed25519:
		return x509.MarshalPKIXPublicKey(ed25519.PublicKey(raw))
	}
	return raw, nil // is PKIX already
}

// The standard library does not know the curve secp256k1, so its ASN.1 is spelled out (RFC 5480, 5915, 5958).

var (
	oidECPublicKey = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidSecp256k1   = asn1.ObjectIdentifier{1, 3, 132, 0, 10}
)

type pkcs8Key struct {
	Version   int
	Algorithm pkix.AlgorithmIdentifier
	Key       []byte
	Rest      []asn1.RawValue `asn1:"optional,set,tag:0"`
}

type sec1Key struct {
	Version   int
	Key       []byte
	Curve     asn1.ObjectIdentifier `asn1:"optional,explicit,tag:0"`
	PublicKey asn1.BitString        `asn1:"optional,explicit,tag:1"`
}

type pkixKey struct {
	Algorithm pkix.AlgorithmIdentifier
	Key       asn1.BitString
}

func secp256k1Algorithm() (pkix.AlgorithmIdentifier, error) {
	curve, err := asn1.Marshal(oidSecp256k1)
	return pkix.AlgorithmIdentifier{Algorithm: oidECPublicKey, Parameters: asn1.RawValue{FullBytes: curve}}, err
}

func isSecp256k1(a pkix.AlgorithmIdentifier) bool {
	var curve asn1.ObjectIdentifier
	rest, err := asn1.Unmarshal(a.Parameters.FullBytes, &curve)
	return err == nil && len(rest) == 0 && a.Algorithm.Equal(oidECPublicKey) && curve.Equal(oidSecp256k1)
}

// unmarshalASN1 reads exactly one value.
func unmarshalASN1(der []byte, into any) error {
	rest, err := asn1.Unmarshal(der, into)
	if err == nil && len(rest) > 0 {
		err = asn1.SyntaxError{Msg: "trailing data"}
	}
	return err
}

func secp256k1FromPKCS8(der []byte) (crypto.PrivKey, error) {
	var outer pkcs8Key
	if err := unmarshalASN1(der, &outer); err != nil {
		return nil, err
	}
	if !isSecp256k1(outer.Algorithm) {
		return nil, asn1.StructuralError{Msg: "another curve"}
	}
	return secp256k1FromSEC1(outer.Key, false)
}

// secp256k1FromSEC1 reads the curve's own form, in which the curve may be named by what is around it.
func secp256k1FromSEC1(der []byte, named bool) (crypto.PrivKey, error) {
	var inner sec1Key
	if err := unmarshalASN1(der, &inner); err != nil {
		return nil, err
	}
	if (named || inner.Curve != nil) && !inner.Curve.Equal(oidSecp256k1) {
		return nil, asn1.StructuralError{Msg: "another curve"}
	}
	scalar := inner.Key
	if len(scalar) > secp256k1.PrivKeyBytesLen {
		return nil, asn1.StructuralError{Msg: "too long"}
	}
	return secp256k1FromScalar(append(make([]byte, secp256k1.PrivKeyBytesLen-len(scalar)), scalar...))
}

// secp256k1FromScalar refuses a number beyond the curve's order, which upstream would silently make another key of.
func secp256k1FromScalar(raw []byte) (crypto.PrivKey, error) {
	var scalar secp256k1.ModNScalar
	if scalar.SetByteSlice(raw) {
		return nil, asn1.StructuralError{Msg: "out of range"}
	}
	return crypto.UnmarshalSecp256k1PrivateKey(raw)
}

func secp256k1FromPKIX(der []byte) (crypto.PubKey, error) {
	var outer pkixKey
	if err := unmarshalASN1(der, &outer); err != nil {
		return nil, err
	}
	if !isSecp256k1(outer.Algorithm) {
		return nil, asn1.StructuralError{Msg: "another curve"}
	}
	return crypto.UnmarshalSecp256k1PublicKey(outer.Key.RightAlign())
}

func secp256k1ToPKCS8(key crypto.PrivKey) ([]byte, error) {
	raw, err := key.Raw()
	if err != nil {
		return nil, err
	}
	point := secp256k1.PrivKeyFromBytes(raw).PubKey().SerializeUncompressed()
	inner, err := asn1.Marshal(sec1Key{Version: 1, Key: raw, PublicKey: asn1.BitString{Bytes: point, BitLength: 8 * len(point)}})
	if err != nil {
		return nil, err
	}
	algorithm, err := secp256k1Algorithm()
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(pkcs8Key{Algorithm: algorithm, Key: inner})
}

func secp256k1ToPKIX(raw []byte) ([]byte, error) {
	key, err := secp256k1.ParsePubKey(raw)
	if err != nil {
		return nil, err
	}
	point := key.SerializeUncompressed()
	algorithm, err := secp256k1Algorithm()
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(pkixKey{Algorithm: algorithm, Key: asn1.BitString{Bytes: point, BitLength: 8 * len(point)}})
}
