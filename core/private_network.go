package core

import (
	"bytes"
	"crypto/rand"
	"crypto/sha3"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"

	"golang.org/x/crypto/salsa20"
)

const networkKeySize = 32

// NewNetworkKey makes a key for a private network, as the text of a swarm.key file.
func NewNetworkKey() string {
	var key [networkKeySize]byte
	rand.Read(key[:]) // does not fail
	return networkKeyText(key[:])
}

func networkKeyText(key []byte) string {
	return "/key/swarm/psk/1.0.0/\n/base16/\n" + hex.EncodeToString(key) + "\n"
}

// ParseNetworkKey reads the key of a private network in any of its forms and returns its 32 bytes.
func ParseNetworkKey(data []byte) ([]byte, error) {
	if len(data) > maxSecretFile {
		return nil, Errorf(ErrParse, "not a network key: %d bytes", len(data))
	}
	return parseNetworkKey(data)
}

// NetworkKeyText writes the key of a private network, in any of its forms, as the text of a swarm.key file.
func NetworkKeyText(data []byte) (string, error) {
	key, err := ParseNetworkKey(data)
	if err != nil {
		return "", err
	}
	return networkKeyText(key), nil
}

// NetworkKeyFingerprint returns 32 hex digits that tell whether two nodes have the same network key and do not give it away, the same as Kubo
// prints at its start.
func NetworkKeyFingerprint(data []byte) (string, error) {
	parsed, err := ParseNetworkKey(data)
	if err != nil {
		return "", err
	}
	// The cipher's stream stands for the key, and of that there is half a hash: two ways that do not lead back.
	stream := make([]byte, 64)
	salsa20.XORKeyStream(stream, stream, []byte("finprint"), (*[networkKeySize]byte)(parsed))
	return hex.EncodeToString(sha3.SumSHAKE128(stream, 16)), nil
}

// parseNetworkKey reads the key of a private network: 32 bytes as they are, 64 hex digits, or the text of a swarm.key file. Its errors do
// not repeat any of it.
func parseNetworkKey(data []byte) ([]byte, error) {
	if len(data) == networkKeySize && !bytes.HasPrefix(data, []byte("/key/")) {
		return bytes.Clone(data), nil
	}
	header, rest, found := bytes.Cut(data, []byte("\n"))
	if !found || string(bytes.TrimSpace(header)) != "/key/swarm/psk/1.0.0/" {
		if key, ok := decodeHex(data); ok {
			return key, nil
		}
		return nil, Errorf(ErrParse, "not a network key: neither a swarm.key file, nor 64 hex digits, nor 32 bytes")
	}
	encoding, rest, _ := bytes.Cut(rest, []byte("\n"))
	switch string(bytes.TrimSpace(encoding)) {
	case "/base16/":
		if key, ok := decodeHex(rest); ok {
			return key, nil
		}
		return nil, Errorf(ErrParse, "not a network key: 64 hex digits should follow /base16/")
	case "/base64/":
		key, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(rest)))
		if err == nil && len(key) == networkKeySize {
			return key, nil
		}
		return nil, Errorf(ErrParse, "not a network key: base64 of 32 bytes should follow /base64/")
	case "/bin/":
		if len(rest) == networkKeySize+1 && rest[networkKeySize] == '\n' {
			rest = rest[:networkKeySize]
		}
		if len(rest) == networkKeySize {
			return bytes.Clone(rest), nil
		}
		return nil, Errorf(ErrParse, "not a network key: 32 bytes should follow /bin/")
	}
	return nil, Errorf(ErrParse, "not a network key: the second line is none of /base16/, /base64/, /bin/")
}

func decodeHex(text []byte) ([]byte, bool) {
	key := make([]byte, networkKeySize)
	text = bytes.TrimSpace(text)
	if len(text) != 2*networkKeySize {
		return nil, false
	}
	if _, err := hex.Decode(key, text); err != nil {
		return nil, false
	}
	return key, true
}

// privateNetwork returns the network key, nil if the network is not private.
func privateNetwork(c *Config) ([]byte, error) {
	path := c.PrivateNetwork.File
	if path == "" {
		return c.networkKey, nil
	}
	data, err := readSecret("private_network.file", path, 0o077)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, Errorf(ErrPermission, "private_network.file %q: no such file", path)
	}
	if err != nil {
		return nil, err
	}
	key, err := parseNetworkKey(data)
	if err != nil {
		return nil, Errorf(ErrParse, "private_network.file %q: %w", path, err)
	}
	return key, nil
}

// SetSecret sets a secret that JSON cannot carry: "identity.key", a private key in protobuf form, or "private_network.key", 32 bytes, 64
// hex digits or the text of a swarm.key file. Secrets appear in no log, Get or Info. nil takes one back.
func (c *Config) SetSecret(path string, data []byte) error {
	switch path {
	case "identity.key":
		if data != nil {
			if _, err := parseKey(data); err != nil {
				return Errorf(ErrParse, "identity.key: %w", err)
			}
		}
		c.identityKey = bytes.Clone(data)
	case "private_network.key":
		var key []byte
		if data != nil {
			var err error
			if key, err = parseNetworkKey(data); err != nil {
				return Errorf(ErrParse, "private_network.key: %w", err)
			}
		}
		c.networkKey = key
		c.note([]string{"private_network.key"})
		if key == nil {
			delete(c.given, "private_network.key")
		}
	default:
		return &OptionError{path, "unknown secret; there are identity.key, private_network.key"}
	}
	return nil
}
