package core_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/libp2pgo/libp2pgo/core"
)

func mustKey(t testing.TB, keyType string) []byte {
	t.Helper()
	key, err := core.GenerateKey(keyType)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestKeyTypes(t *testing.T) {
	server := start(t)
	for _, keyType := range []string{"ed25519", "secp256k1", "ecdsa", "rsa"} {
		t.Run(keyType, func(t *testing.T) {
			key := mustKey(t, keyType)
			want, err := core.PeerIDOfKey(key)
			if err != nil {
				t.Fatal(err)
			}
			c := config(t)
			if err := c.SetSecret("identity.key", key); err != nil {
				t.Fatal(err)
			}
			n := startWith(t, c, core.Inbox[core.Event]{})
			if n.ID() != want {
				t.Fatalf("id is %s, not %s", n.ID(), want)
			}
			connect(t, n, server)
			connect(t, server, n)
		})
	}
	_, err := core.GenerateKey("dsa")
	mustMatch(t, err, core.ErrInvalid, "dsa")
	_, err = core.PeerIDOfKey([]byte("nonsense"))
	mustMatch(t, err, core.ErrParse)
}

func TestParsePeer(t *testing.T) {
	id, _ := core.PeerIDOfKey(mustKey(t, "ed25519"))
	for _, text := range []string{id.String(), peer.ToCid(id).String()} {
		if got, err := core.ParsePeer(text); err != nil || got != id {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "x", "12D3KooW", id.String() + "x", "/p2p/" + id.String(), strings.Repeat("1", 10_000), "\x00\xff"} {
		_, err := core.ParsePeer(text)
		mustMatch(t, err, core.ErrParse, "is not a peer id")
	}
}

func TestIdentityFileIsMadeOnceAndKept(t *testing.T) {
	for _, keyType := range []string{"ed25519", "ecdsa"} {
		file := filepath.Join(t.TempDir(), "id.key")
		first := start(t, "identity.file", file, "identity.type", keyType)
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("%v, %v", info, err)
		}
		if second := start(t, "identity.file", file); second.ID() != first.ID() {
			t.Fatalf("a second start is %s, not %s", second.ID(), first.ID())
		}
		if entries, _ := os.ReadDir(filepath.Dir(file)); len(entries) != 1 {
			t.Fatalf("left behind: %v", entries)
		}
	}
}

// Starts that race for a file that does not exist yet agree on one identity.
func TestIdentityFileRace(t *testing.T) {
	if file := os.Getenv("LIBP2PGO_TEST_IDENTITY"); file != "" { // a child of the test
		os.Stdout.WriteString("id=" + start(t, "identity.file", file, "listen", "[]").ID().String() + "\n")
		return
	}
	file := filepath.Join(t.TempDir(), "id.key")
	ids := make([]string, 8)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			if i%2 == 0 { // processes and goroutines, mixed
				n, err := core.New(timeout(t), config(t, "identity.file", file, "listen", "[]"), core.Inbox[core.Event]{})
				if err != nil {
					t.Error(err)
					return
				}
				ids[i] = n.ID().String()
				n.Close()
				return
			}
			child := exec.Command(os.Args[0], "-test.run=^TestIdentityFileRace$")
			child.Env = append(os.Environ(), "LIBP2PGO_TEST_IDENTITY="+file)
			out, err := child.CombinedOutput()
			if err != nil {
				t.Errorf("child: %v: %s", err, out)
			}
			_, id, _ := strings.Cut(string(out), "id=")
			ids[i], _, _ = strings.Cut(id, "\n")
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] || id == "" {
			t.Fatalf("several identities: %q", ids)
		}
	}
}

// A key file that cannot be used is an error, and stays as it is.
func TestIdentityFileErrors(t *testing.T) {
	good := mustKey(t, "ed25519")
	for name, c := range map[string]struct {
		content []byte
		mode    os.FileMode
		kind    error
		says    string
	}{
		"world-readable": {good, 0o644, core.ErrPermission, "0644"},
		"group-readable": {good, 0o640, core.ErrPermission, "0640"},
		"world-writable": {good, 0o602, core.ErrPermission, "0602"},
		"unreadable":     {good, 0o000, core.ErrPermission, ""},
		"empty":          {nil, 0o600, core.ErrParse, ""},
		"cut":            {good[:40], 0o600, core.ErrParse, ""},
		"text":           {[]byte("-----BEGIN PRIVATE KEY-----"), 0o600, core.ErrParse, ""},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "id.key")
			write(t, file, c.content, c.mode)
			_, err := core.New(timeout(t), config(t, "identity.file", file), core.Inbox[core.Event]{})
			mustMatch(t, err, c.kind, "identity.file", file, c.says)
			os.Chmod(file, 0o600)
			if after, _ := os.ReadFile(file); string(after) != string(c.content) {
				t.Fatal("the file was changed")
			}
		})
	}
	t.Run("directory", func(t *testing.T) {
		_, err := core.New(timeout(t), config(t, "identity.file", t.TempDir()), core.Inbox[core.Event]{})
		mustMatch(t, err, core.ErrPermission, "identity.file")
	})
	t.Run("in a directory that is not there", func(t *testing.T) {
		_, err := core.New(timeout(t), config(t, "identity.file", filepath.Join(t.TempDir(), "no", "id.key")), core.Inbox[core.Event]{})
		mustMatch(t, err, core.ErrSystem, "identity.file", "no such file or directory")
	})
}
