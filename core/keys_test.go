package core_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/libp2pgo/libp2pgo/core"
)

type keyVector struct {
	Type      string `json:"type"`
	Private   hexed  `json:"private"`
	Public    hexed  `json:"public"`
	Peer      string `json:"peer"`
	CID       string `json:"cid"`
	ID        hexed  `json:"id"`
	Inline    bool   `json:"inline"`
	PEM       string `json:"pem"`
	PublicPEM string `json:"public_pem"`
	Base64    string `json:"base64"`
	Raw       hexed  `json:"raw"`
	PublicRaw hexed  `json:"public_raw"`
	Signature hexed  `json:"signature"`
}

type vectorFile struct {
	Message  hexed       `json:"message"`
	Keys     []keyVector `json:"keys"`
	Envelope struct {
		Domain      string `json:"domain"`
		PayloadType hexed  `json:"payload_type"`
		Payload     hexed  `json:"payload"`
		Peer        string `json:"peer"`
		Envelope    hexed  `json:"envelope"`
	} `json:"envelope"`
	Record struct {
		Peer      string   `json:"peer"`
		Sequence  string   `json:"sequence"`
		Addresses []string `json:"addresses"`
		Record    hexed    `json:"record"`
	} `json:"record"`
	Addresses []struct {
		Text  string `json:"text"`
		Bytes hexed  `json:"bytes"`
	} `json:"addresses"`
	CIDs []struct {
		Data      hexed   `json:"data"`
		Codec     string  `json:"codec"`
		Hash      string  `json:"hash"`
		CID       string  `json:"cid"`
		V0        *string `json:"v0"`
		Bytes     hexed   `json:"bytes"`
		Digest    string  `json:"digest"`
		Base58BTC string  `json:"base58btc"`
	} `json:"cids"`
	NetworkKey struct {
		Key         hexed  `json:"key"`
		Text        string `json:"text"`
		Base64      string `json:"base64"`
		Fingerprint string `json:"fingerprint"`
	} `json:"network_key"`
}

type hexed []byte

func (h *hexed) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// vectors are what others wrote; see tests/vectors.
func vectors(t testing.TB) *vectorFile {
	t.Helper()
	doc, err := os.ReadFile("../tests/vectors/keys.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectorFile
	if err := json.Unmarshal(doc, &v); err != nil {
		t.Fatal(err)
	}
	return &v
}

func good(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestKeyVectors(t *testing.T) {
	v := vectors(t)
	for _, k := range v.Keys {
		t.Run(k.Type, func(t *testing.T) {
			public, err := core.PublicKeyOf(k.Private)
			good(t, err)
			if !bytes.Equal(public, k.Public) {
				t.Fatalf("the public key is %x, not %x", public, k.Public)
			}
			id, err := core.PeerIDOfKey(k.Private)
			good(t, err)
			info, err := core.InfoOfPublicKey(k.Public)
			good(t, err)
			if want := (core.PublicKeyInfo{Type: k.Type, Peer: k.Peer, CID: k.CID, Inline: k.Inline}); *info != want || id.String() != k.Peer {
				t.Fatalf("%+v, %s; not %+v", *info, id, want)
			}
			for format, data := range map[string][]byte{"protobuf": k.Private, "base64": []byte(k.Base64), "pem": []byte(k.PEM), "raw": k.Raw} {
				for _, asked := range []string{format, ""} {
					if format == "raw" && asked == "" {
						continue
					}
					key, err := core.ImportKey(asked, k.Type, data)
					good(t, err)
					if got, _ := core.PeerIDOfKey(key); got != id {
						t.Fatalf("%s: the key of %s", format, got)
					}
				}
				out, err := core.ExportKey(k.Private, format)
				good(t, err)
				back, err := core.ImportKey(format, k.Type, out)
				good(t, err)
				if got, _ := core.PeerIDOfKey(back); got != id {
					t.Fatalf("%s: became the key of %s", format, got)
				}
				if !bytes.Equal(out, data) && !(k.Type == "secp256k1" && format == "pem") { // openssl writes the public key differently
					t.Fatalf("%s: wrote %q, not %q", format, out, data)
				}
			}
			for format, data := range map[string][]byte{"protobuf": k.Public, "pem": []byte(k.PublicPEM), "raw": k.PublicRaw} {
				key, err := core.ImportPublicKey(format, k.Type, data)
				good(t, err)
				out, err := core.ExportPublicKey(key, format)
				good(t, err)
				if !bytes.Equal(key, k.Public) || !bytes.Equal(out, data) {
					t.Fatalf("public %s: %x, then %q", format, key, out)
				}
			}
			good(t, core.Verify(k.Public, v.Message, k.Signature))
			signature, err := core.Sign(k.Private, v.Message)
			good(t, err)
			good(t, core.Verify(k.Public, v.Message, signature))
			mustMatch(t, core.Verify(k.Public, []byte("another"), signature), core.ErrSecurity, k.Type)
			mustMatch(t, core.Verify(k.Public, v.Message, signature[:len(signature)-1]), core.ErrSecurity)
			mustMatch(t, core.Verify(k.Public, v.Message, nil), core.ErrSecurity)
			mustMatch(t, core.Verify(v.Keys[(slices.IndexFunc(v.Keys, func(o keyVector) bool { return o.Type == k.Type })+1)%4].Public, v.Message, signature), core.ErrSecurity)
		})
	}
}

func TestPeerIDVectors(t *testing.T) {
	for _, k := range vectors(t).Keys {
		for _, form := range []string{k.Peer, k.CID} {
			id, err := core.ParsePeer(form)
			good(t, err)
			if id.String() != k.Peer || !bytes.Equal([]byte(id), k.ID) {
				t.Fatalf("%s was read as %s", form, id)
			}
			info := core.InfoOfPeerID(id)
			if info.Peer != k.Peer || info.CID != k.CID || info.Inline != k.Inline || (k.Inline && info.Type != k.Type) {
				t.Fatalf("%+v", info)
			}
		}
		id, err := core.PeerIDFromBytes(k.ID)
		good(t, err)
		public, err := core.PublicKeyOfPeer(id)
		switch {
		case k.Inline:
			good(t, err)
			if !bytes.Equal(public, k.Public) {
				t.Fatalf("%x", public)
			}
		default:
			mustMatch(t, err, core.ErrNotFound, k.Peer)
		}
	}
	// The two forms of one id that the specification prints.
	id, err := core.ParsePeer("bafzbeie5745rpv2m6tjyuugywy4d5ewrqgqqhfnf445he3omzpjbx5xqxe")
	good(t, err)
	if id.String() != "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N" {
		t.Fatal(id)
	}
	for _, bad := range []string{"", "1", "Qm", "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5", "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", strings.Repeat("1", 1<<20)} {
		_, err := core.ParsePeer(bad)
		mustMatch(t, err, core.ErrParse)
	}
	for _, bad := range [][]byte{nil, {0}, {0, 0}, {0x12, 0x20, 1}, bytes.Repeat([]byte{255}, 40), append([]byte{0, 200, 1}, make([]byte, 200)...)} {
		_, err := core.PeerIDFromBytes(bad)
		mustMatch(t, err, core.ErrParse)
	}
}

// Whatever is wrong with a key is told without any of it.
func TestImportKeyErrors(t *testing.T) {
	v := vectors(t)
	ed, other := v.Keys[0], v.Keys[1]
	mixed := append(append([]byte{}, ed.Private[:36]...), bytes.Repeat([]byte{7}, 32)...)
	encrypted := "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGjMF8GCSqGSIb3\n-----END ENCRYPTED PRIVATE KEY-----\n"
	for name, c := range map[string]struct {
		format, keyType string
		data            []byte
		kind            error
		says            string
	}{
		"unknown format":     {"jwk", "", ed.Private, core.ErrInvalid, "jwk"},
		"unknown type":       {"", "ed448", ed.Private, core.ErrInvalid, "ed448"},
		"raw without type":   {"raw", "", ed.Raw, core.ErrInvalid, "type"},
		"raw too short":      {"raw", "ed25519", ed.Raw[:31], core.ErrParse, "ed25519"},
		"raw of no bytes":    {"raw", "rsa", nil, core.ErrParse, "rsa"},
		"of another type":    {"", "rsa", ed.Private, core.ErrParse, "is of type ed25519, not rsa"},
		"nothing":            {"", "", nil, core.ErrParse, "protobuf"},
		"a public key":       {"pem", "", []byte(ed.PublicPEM), core.ErrParse, "PUBLIC KEY"},
		"halves of two keys": {"protobuf", "", mixed, core.ErrParse, "halves"},
		"scalar of zero":     {"raw", "secp256k1", make([]byte, 32), core.ErrParse, "range"},
		"scalar too large":   {"raw", "secp256k1", bytes.Repeat([]byte{255}, 32), core.ErrParse, "secp256k1"},
		"encrypted":          {"", "", []byte(encrypted), core.ErrUnsupported, "encrypted"},
		"openssh":            {"", "", []byte("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1r\n-----END OPENSSH PRIVATE KEY-----\n"), core.ErrUnsupported, "OpenSSH"},
		"two keys":           {"pem", "", []byte(ed.PEM + other.PEM), core.ErrParse, "something follows"},
		"pem cut short":      {"pem", "", []byte(ed.PEM[:60]), core.ErrParse, "PEM"},
		"base64 of rubbish":  {"base64", "", []byte("aGVsbG8="), core.ErrParse, "base64"},
		"huge":               {"", "", make([]byte, 2<<20), core.ErrParse, "bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := core.ImportKey(c.format, c.keyType, c.data)
			mustMatch(t, err, c.kind, c.says)
			for at := 0; at+8 <= len(c.data) && len(c.data) < 1000; at += 8 {
				if strings.Contains(err.Error(), string(c.data[at:at+8])) && c.format != "raw" {
					t.Fatalf("the words repeat the key: %s", err)
				}
			}
		})
	}
	_, err := core.ExportKey(ed.Private, "jwk")
	mustMatch(t, err, core.ErrInvalid, "jwk", "protobuf, base64, pem, raw")
	_, err = core.ExportPublicKey(ed.Private, "pem")
	mustMatch(t, err, core.ErrParse)
}

// Small keys are no keys: the smallest that upstream takes has 2048 bits.
func TestImportKeySmallRSA(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	out, err := exec.Command("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024").Output()
	good(t, err)
	_, err = core.ImportKey("pem", "", out)
	mustMatch(t, err, core.ErrParse)
}

// What openssl writes is read, in its older forms too, and what we write is read by openssl.
func TestKeysWithOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	openssl := func(input []byte, args ...string) []byte {
		t.Helper()
		cmd := exec.Command("openssl", args...)
		cmd.Stdin = bytes.NewReader(input)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("openssl %v: %v", args, err)
		}
		return out
	}
	for _, k := range vectors(t).Keys {
		written, err := core.ExportKey(k.Private, "pem")
		good(t, err)
		if public := openssl(written, "pkey", "-pubout"); string(public) != k.PublicPEM {
			t.Fatalf("%s: openssl reads another key: %s", k.Type, public)
		}
		if k.Type != "ed25519" { // SEC 1 and PKCS #1
			old := openssl(written, "pkey", "-traditional")
			key, err := core.ImportKey("", "", old)
			good(t, err)
			if id, _ := core.PeerIDOfKey(key); id.String() != k.Peer {
				t.Fatalf("%s: %s", k.Type, id)
			}
		}
		public, err := core.ExportPublicKey(k.Public, "pem")
		good(t, err)
		if again := openssl(public, "pkey", "-pubin"); !bytes.Equal(again, public) {
			t.Fatalf("%s: openssl writes %s for %s", k.Type, again, public)
		}
	}
	curve := openssl(nil, "ecparam", "-name", "secp256k1", "-genkey") // with the parameters in front
	_, err := core.ImportKey("pem", "secp256k1", curve)
	good(t, err)
}

// A node takes its key from any file that holds one.
func TestIdentityFileForms(t *testing.T) {
	for _, k := range vectors(t).Keys {
		for name, content := range map[string]string{"pem": k.PEM, "base64": k.Base64 + "\n", "protobuf": string(k.Private)} {
			file := filepath.Join(t.TempDir(), name)
			write(t, file, []byte(content), 0o600)
			if n := start(t, "identity.file", file, "listen", "[]"); n.ID().String() != k.Peer {
				t.Fatalf("%s %s: the node is %s", k.Type, name, n.ID())
			}
		}
	}
}

func TestNetworkKeyVectors(t *testing.T) {
	v := vectors(t).NetworkKey
	for _, form := range [][]byte{v.Key, []byte(v.Text), []byte(v.Base64), []byte(hex.EncodeToString(v.Key))} {
		key, err := core.ParseNetworkKey(form)
		good(t, err)
		text, err := core.NetworkKeyText(form)
		good(t, err)
		fingerprint, err := core.NetworkKeyFingerprint(form)
		good(t, err)
		if !bytes.Equal(key, v.Key) || text != v.Text || fingerprint != v.Fingerprint {
			t.Fatalf("%q: %x %q %s", form, key, text, fingerprint)
		}
	}
	a, b := core.NewNetworkKey(), core.NewNetworkKey()
	if _, err := core.ParseNetworkKey([]byte(a)); err != nil || a == b {
		t.Fatal(a, b, err)
	}
	_, err := core.NetworkKeyFingerprint([]byte("/key/swarm/psk/1.0.0/\n/base16/\nabc"))
	mustMatch(t, err, core.ErrParse)
}

func FuzzImportKey(f *testing.F) {
	for _, k := range vectors(f).Keys {
		for _, seed := range [][]byte{k.Private, k.Public, []byte(k.PEM), []byte(k.PublicPEM), []byte(k.Base64), k.Raw, k.PublicRaw} {
			f.Add(seed, byte(0))
			f.Add(seed, byte(len(k.Type)))
		}
	}
	types := []string{"", "ed25519", "secp256k1", "ecdsa", "rsa"}
	f.Fuzz(func(t *testing.T, data []byte, choice byte) {
		keyType := types[int(choice)%len(types)]
		for _, format := range []string{"", "protobuf", "base64", "pem", "raw"} {
			key, err := core.ImportKey(format, keyType, data)
			if err == nil {
				id, err := core.PeerIDOfKey(key)
				good(t, err)
				for _, out := range []string{"protobuf", "base64", "pem", "raw"} {
					name := keyType
					if name == "" {
						public, err := core.PublicKeyOf(key)
						good(t, err)
						info, err := core.InfoOfPublicKey(public)
						good(t, err)
						name = info.Type
					}
					written, err := core.ExportKey(key, out)
					good(t, err)
					back, err := core.ImportKey(out, name, written)
					good(t, err)
					if again, _ := core.PeerIDOfKey(back); again != id {
						t.Fatalf("%s: %s became %s", out, id, again)
					}
				}
			} else if core.Kind(err) == core.ErrInternal {
				t.Fatal(err)
			}
			public, err := core.ImportPublicKey(format, keyType, data)
			if err == nil {
				_, err = core.InfoOfPublicKey(public)
				good(t, err)
				_, err = core.ExportPublicKey(public, "pem")
				good(t, err)
			} else if core.Kind(err) == core.ErrInternal {
				t.Fatal(err)
			}
		}
	})
}

func FuzzPeerID(f *testing.F) {
	for _, k := range vectors(f).Keys {
		f.Add(k.Peer, []byte(k.ID))
		f.Add(k.CID, []byte(k.Public))
	}
	f.Fuzz(func(t *testing.T, text string, data []byte) {
		if id, err := core.ParsePeer(text); err == nil {
			info := core.InfoOfPeerID(id)
			for _, form := range []string{info.Peer, info.CID} {
				if again, err := core.ParsePeer(form); err != nil || again != id {
					t.Fatalf("%q: %s: %s, %v", text, form, again, err)
				}
			}
			core.PublicKeyOfPeer(id)
		} else if core.Kind(err) != core.ErrParse {
			t.Fatal(err)
		}
		if id, err := core.PeerIDFromBytes(data); err == nil && string(id) != string(data) {
			t.Fatal(id)
		}
	})
}

func FuzzNetworkKeyText(f *testing.F) {
	v := vectors(f).NetworkKey
	for _, seed := range []string{v.Text, v.Base64, string(v.Key), hex.EncodeToString(v.Key), "/key/swarm/psk/1.0.0/\n/bin/\n" + string(v.Key)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		key, err := core.ParseNetworkKey(data)
		if err != nil {
			mustMatch(t, err, core.ErrParse)
			return
		}
		text, err := core.NetworkKeyText(data)
		good(t, err)
		if again, err := core.ParseNetworkKey([]byte(text)); err != nil || !bytes.Equal(again, key) {
			t.Fatalf("%x %x %v", key, again, err)
		}
	})
}
