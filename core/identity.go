package core

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

// GenerateKey makes a private key of type "ed25519", "secp256k1", "ecdsa" or "rsa" (2048 bits) in its protobuf form.
func GenerateKey(keyType string) ([]byte, error) {
	number, err := parseKeyType(keyType)
	if err != nil {
		return nil, err
	}
	private, _, err := crypto.GenerateKeyPairWithReader(number, 2048, rand.Reader)
	if err != nil {
		return nil, Errorf(ErrInternal, "generate a key: %w", err)
	}
	key, err := crypto.MarshalPrivateKey(private)
	if err != nil {
		return nil, Errorf(ErrInternal, "generate a key: %w", err)
	}
	return key, nil
}

// PeerIDOfKey returns the peer id that belongs to a private key in protobuf form.
func PeerIDOfKey(key []byte) (peer.ID, error) {
	private, err := parseKey(key)
	if err != nil {
		return "", err
	}
	id, err := peer.IDFromPrivateKey(private)
	if err != nil {
		return "", Errorf(ErrParse, "the private key has no peer id")
	}
	return id, nil
}

// identity returns the node's private key: the given one, that of the file, which is created if it does not exist, or a new one.
func identity(c *Config) (crypto.PrivKey, error) {
	switch {
	case c.identityKey != nil:
		return parseKey(c.identityKey)
	case c.Identity.File == "":
		key, err := GenerateKey(c.Identity.Type)
		if err != nil {
			return nil, err
		}
		return parseKey(key)
	}
	path := c.Identity.File
	key, err := readSecret("identity.file", path, 0o077)
	if errors.Is(err, fs.ErrNotExist) {
		if err = createIdentity(path, c.Identity.Type); err != nil {
			return nil, err
		}
		key, err = readSecret("identity.file", path, 0o077) // of whoever was first
	}
	if err != nil {
		return nil, err
	}
	if key, err = ImportKey("", "", key); err != nil {
		return nil, Errorf(Kind(err), "identity.file %q: %w", path, err)
	}
	return parseKey(key)
}

// createIdentity writes a new key to path unless there is a file by now. The name appears with the whole content behind it, so of two
// processes that start at once both get the same key.
func createIdentity(path, keyType string) error {
	key, err := GenerateKey(keyType)
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".identity-*") // mode 0600
	if err != nil {
		return fileError("identity.file", path, err)
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(key)
	if err == nil {
		err = temporary.Sync()
	}
	if closeErr := temporary.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fileError("identity.file", path, err)
	}
	err = os.Link(temporary.Name(), path) // unlike a rename, it does not replace
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fileError("identity.file", path, err)
	}
	return nil
}

// maxSecretFile is larger than any key file.
const maxSecretFile = 1 << 20

// readSecret reads a file that must be nobody else's business: permission bits in forbidden are refused. The error is fs.ErrNotExist as it
// is, for the caller to decide, or names option and file.
func readSecret(option, path string, forbidden fs.FileMode) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, fileError(option, path, err)
	}
	if !info.Mode().IsRegular() { // before it is opened, which would wait on a pipe
		return nil, Errorf(ErrPermission, "%s %q: not a regular file", option, path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fileError(option, path, err)
	}
	defer file.Close()
	if info, err = file.Stat(); err != nil {
		return nil, fileError(option, path, err)
	}
	switch mode := info.Mode().Perm(); {
	case mode&forbidden != 0:
		return nil, Errorf(ErrPermission, "%s %q: others have access to it (mode %04o); make it 0600", option, path, mode)
	case mode&0o400 == 0:
		return nil, Errorf(ErrPermission, "%s %q: not readable by its owner (mode %04o)", option, path, mode)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxSecretFile))
	if err != nil {
		return nil, fileError(option, path, err)
	}
	return data, nil
}

func fileError(option, path string, err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	if sentinelOf(err) != nil {
		return err
	}
	kind := ErrSystem
	if errors.Is(err, fs.ErrPermission) {
		kind = ErrPermission
	}
	return Errorf(kind, "%s %q: %w", option, path, err)
}

// readFile reads a file that is no secret.
func readFile(option, path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fileError(option, path, err)
	}
	return data, nil
}
