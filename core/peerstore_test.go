package core_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peerstore"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/libp2pgo/libp2pgo/core"
)

func addressesOf(n, of *core.Node) []string { return known(n, of).Addresses }

func TestPeersAreRememberedOverRestarts(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "peers")
	file := filepath.Join(t.TempDir(), "key")
	other := start(t)
	first := start(t, "peerstore.directory", folder, "identity.file", file)
	connect(t, first, other)
	if err := first.PutMetadata(other.ID(), "app/né", []byte{0, 1, 2}); err != nil {
		t.Fatal(err)
	}
	lost := randomPeer(t)
	if _, err := first.AddAddresses([]string{"/ip4/203.0.113.7/tcp/1/p2p/" + lost.String()}, -1); err != nil {
		t.Fatal(err)
	}
	_, err := core.New(timeout(t), config(t, "peerstore.directory", folder), core.Inbox[core.Event]{})
	mustMatch(t, err, core.ErrBusy, folder)
	first.Close()

	second := start(t, "peerstore.directory", folder, "identity.file", file)
	if _, err := second.Connect(timeout(t), []string{other.ID().String()}); err != nil { // by its id alone
		t.Fatal(err)
	}
	if data, err := second.Metadata(other.ID(), "app/né"); err != nil || !bytes.Equal(data, []byte{0, 1, 2}) {
		t.Fatalf("%v, %v", data, err)
	}
	if info := second.PeerInfo(lost).(core.PeerInfo); !slices.Equal(info.Addresses, []string{"/ip4/203.0.113.7/tcp/1"}) {
		t.Fatalf("%q", info.Addresses)
	}
	if known := second.KnownPeers(); len(known) != 2 {
		t.Fatalf("%v", known)
	}
}

// Upstream's store writes the private key to disk in clear.
func TestThePrivateKeyIsNeverInThePeerstore(t *testing.T) {
	for _, kind := range []string{"ed25519", "secp256k1", "ecdsa", "rsa"} {
		folder := t.TempDir()
		key, err := core.GenerateKey(kind)
		if err != nil {
			t.Fatal(err)
		}
		private, err := crypto.UnmarshalPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := private.Raw()
		if err != nil {
			t.Fatal(err)
		}
		secret := raw
		switch kind { // behind the secret is the public key, which may be there
		case "ed25519":
			secret = raw[:32]
		case "ecdsa":
			secret = raw[7:39]
		}
		c := config(t, "peerstore.directory", folder)
		if err := c.SetSecret("identity.key", key); err != nil {
			t.Fatal(err)
		}
		n, other := startWith(t, c, core.Inbox[core.Event]{}), start(t)
		connect(t, n, other)
		if n.Host().Peerstore().PrivKey(n.ID()) == nil || !slices.Contains(n.Host().Peerstore().PeersWithKeys(), n.ID()) {
			t.Fatal("the host has no private key")
		}
		n.Close()
		found := 0
		err = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			if bytes.Contains(content, secret) || bytes.Contains(content, key) || bytes.Contains(content, secret[len(secret)/2:]) {
				t.Errorf("%s: the private key is in %s", kind, path)
			}
			if bytes.Contains(content, []byte(other.ID())) || bytes.Contains(content, []byte("/peers/")) {
				found++
			}
			return err
		})
		if err != nil || found == 0 {
			t.Fatalf("nothing of the peers was written: %v", err)
		}
	}
}

func TestPeerstoreDirectoryErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := core.New(timeout(t), config(t, "peerstore.directory", filepath.Join(file, "x")), core.Inbox[core.Event]{})
	mustMatch(t, err, core.ErrSystem, "peerstore.directory", file)
	// What was broken is mended, as far as it goes.
	folder := t.TempDir()
	n := start(t, "peerstore.directory", folder)
	n.Close()
	if err := os.WriteFile(filepath.Join(folder, "CURRENT"), []byte("rubbish\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, "peerstore.directory", folder)
}

func TestAddressesAreRememberedForATime(t *testing.T) {
	other := start(t)
	for _, directory := range []string{"", t.TempDir()} {
		n := start(t, "peerstore.directory", directory, "peerstore.remember_ms", "3000")
		connect(t, n, other)
		ended := time.Now()
		if err := n.Disconnect(other.ID()); err != nil {
			t.Fatal(err)
		}
		until(t, "the addresses have gone", func() bool { return len(addressesOf(n, other)) == 0 })
		if after := time.Since(ended); after < 2*time.Second { // the store on disk counts whole seconds
			t.Fatalf("forgotten after %s", after)
		}
	}
	n := start(t)
	for _, c := range []struct {
		ttl time.Duration
		is  bool
	}{{time.Millisecond, false}, {0, true}, {-1, true}} {
		id := randomPeer(t)
		if got, err := n.AddAddresses([]string{"/ip4/203.0.113.7/tcp/1/p2p/" + id.String()}, c.ttl); err != nil || got != id {
			t.Fatalf("%s, %v", got, err)
		}
		until(t, "as long as said", func() bool { return (len(n.PeerInfo(id).(core.PeerInfo).Addresses) > 0) == c.is })
	}
}

// Upstream tells addresses apart by the time for which they are kept. Those of the program are none of its kinds.
func TestAddedAddressesAreNotTakenForOthers(t *testing.T) {
	const lasting = "/ip4/203.0.113.7/tcp/1"
	other := start(t)
	for _, c := range []struct {
		remember string
		ttl      time.Duration
	}{{"0", 15 * time.Minute}, {"0", 2 * time.Minute}, {"3600000", 0}, {"60000", 5 * time.Minute}} {
		n := start(t, "peerstore.remember_ms", c.remember)
		if _, err := n.AddAddresses([]string{lasting + "/p2p/" + other.ID().String()}, c.ttl); err != nil {
			t.Fatal(err)
		}
		connect(t, n, other)
		until(t, "it is identified", func() bool { return known(n, other).Agent != "" })
		if !slices.Contains(addressesOf(n, other), lasting) {
			t.Errorf("%s: kept for %s, and gone with a connection: %q", c.remember, c.ttl, addressesOf(n, other))
		}
	}
	n, id := start(t), randomPeer(t)
	if err := n.Forget(id); err != nil {
		t.Fatal(err)
	}
	if _, err := n.AddAddresses([]string{lasting + "/p2p/" + id.String()}, 15*time.Minute); err != nil {
		t.Fatal(err)
	}
	if len(n.PeerInfo(id).(core.PeerInfo).Addresses) != 1 {
		t.Error("what was added after Forget is not there")
	}
}

func TestForget(t *testing.T) {
	n, other := start(t), start(t)
	connect(t, n, other)
	mustMatch(t, n.Forget(other.ID()), core.ErrState, "connected")
	mustMatch(t, n.Forget(n.ID()), core.ErrInvalid)
	if err := n.PutMetadata(other.ID(), "x", []byte("y")); err != nil {
		t.Fatal(err)
	}
	if err := n.Tag(other.ID(), "x", 1); err != nil {
		t.Fatal(err)
	}
	if err := n.Disconnect(other.ID()); err != nil {
		t.Fatal(err)
	}
	if err := n.Forget(other.ID()); err != nil {
		t.Fatal(err)
	}
	// What ends late, upstream's farewell to the connection, brings nothing back.
	for end := time.Now().Add(100 * time.Millisecond); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if info := known(n, other); len(info.Addresses)+len(info.Protocols)+len(info.Tags) > 0 {
			t.Fatalf("%+v", info)
		}
	}
	_, err := n.Metadata(other.ID(), "x")
	mustMatch(t, err, core.ErrNotFound)
	_, err = n.Connect(timeout(t), []string{other.ID().String()})
	mustMatch(t, err, core.ErrNoAddress)
	connect(t, n, other) // and it may come back
	if err := n.Disconnect(other.ID()); err != nil {
		t.Fatal(err)
	}
	until(t, "its addresses are known again", func() bool { return len(addressesOf(n, other)) > 0 })
}

func TestMetadataMisuse(t *testing.T) {
	n, id := start(t), randomPeer(t)
	_, err := n.Metadata(id, "x")
	mustMatch(t, err, core.ErrNotFound, "x", id.String())
	for _, name := range []string{"", strings.Repeat("x", 129)} {
		mustMatch(t, n.PutMetadata(id, name, nil), core.ErrInvalid, "metadata")
		_, err := n.Metadata(id, name)
		mustMatch(t, err, core.ErrInvalid)
	}
	mustMatch(t, n.PutMetadata(id, "x", make([]byte, 65537)), core.ErrTooBig)
	for _, name := range []string{"a/b", "a//b", "..", "a/./b", "ü\x00\n"} { // each is its own
		if err := n.PutMetadata(id, name, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a/b", "a//b", "..", "a/./b", "ü\x00\n"} {
		if data, err := n.Metadata(id, name); err != nil || string(data) != name {
			t.Fatalf("%q: %q, %v", name, data, err)
		}
	}
	if err := n.PutMetadata(id, "..", nil); err != nil {
		t.Fatal(err)
	}
	_, err = n.Metadata(id, "..")
	mustMatch(t, err, core.ErrNotFound)
	n.Close()
	mustMatch(t, n.PutMetadata(id, "x", nil), core.ErrClosed)
	_, err = n.Metadata(id, "x")
	mustMatch(t, err, core.ErrClosed)
}

func TestPeerRecords(t *testing.T) {
	a, b, c := start(t), start(t), start(t)
	connect(t, a, b)
	until(t, "b's record has come", func() bool { _, err := a.PeerRecord(b.ID()); return err == nil })
	data, err := a.PeerRecord(b.ID())
	if err != nil {
		t.Fatal(err)
	}
	id, taken, err := c.AddPeerRecord(data, 0)
	if err != nil || !taken || id != b.ID() {
		t.Fatalf("%s, %v, %v", id, taken, err)
	}
	if _, err := c.Connect(timeout(t), []string{b.ID().String()}); err != nil {
		t.Fatal(err)
	}
	again, err := c.PeerRecord(b.ID())
	if err != nil || len(again) == 0 {
		t.Fatalf("%v", err)
	}
	own, err := b.PeerRecord(b.ID())
	if err != nil || len(own) == 0 {
		t.Fatalf("%v", err)
	}
	_, err = a.PeerRecord(randomPeer(t))
	mustMatch(t, err, core.ErrNotFound)
	_, _, err = b.AddPeerRecord(data, 0)
	mustMatch(t, err, core.ErrInvalid)
	for i, bad := range [][]byte{nil, {}, []byte("nonsense"), data[:len(data)-1], append(slices.Clone(data), 0), data[:20]} {
		_, _, err := c.AddPeerRecord(bad, 0)
		if kind := core.Kind(err); kind != core.ErrParse && kind != core.ErrSecurity {
			t.Fatalf("%d: %v", i, err)
		}
	}
	forged := slices.Clone(data)
	forged[len(forged)-1] ^= 1 // in the signature
	_, _, err = c.AddPeerRecord(forged, 0)
	mustMatch(t, err, core.ErrSecurity)
	// An older one is not taken.
	older, err := core.SealPeerRecord(keyOf(t, a), []string{"/ip4/203.0.113.7/tcp/1"}, 5)
	if err != nil {
		t.Fatal(err)
	}
	newer, err := core.SealPeerRecord(keyOf(t, a), []string{"/ip4/203.0.113.8/tcp/1"}, 6)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false} {
		if _, taken, err := c.AddPeerRecord([][]byte{newer, older}[i], -1); err != nil || taken != want {
			t.Fatalf("%d: %v, %v", i, taken, err)
		}
	}
	if got := addressesOf(c, a); !slices.Equal(got, []string{"/ip4/203.0.113.8/tcp/1"}) {
		t.Fatalf("%q", got)
	}
	c.Close()
	_, _, err = c.AddPeerRecord(data, 0)
	mustMatch(t, err, core.ErrClosed)
}

func keyOf(t *testing.T, n *core.Node) []byte {
	t.Helper()
	key, err := crypto.MarshalPrivateKey(n.Host().Peerstore().PrivKey(n.ID()))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// A node that is killed leaves addresses of connections in its peerstore, which upstream would keep for ever.
func TestPeerstoreOfAnUncleanEnd(t *testing.T) {
	folder, id := t.TempDir(), randomPeer(t)
	n := start(t, "peerstore.directory", folder, "peerstore.remember_ms", "300")
	n.Host().Peerstore().AddAddr(id, ma.StringCast("/ip4/203.0.113.7/tcp/1"), peerstore.ConnectedAddrTTL)
	n.Close()
	n = start(t, "peerstore.directory", folder, "peerstore.remember_ms", "300")
	until(t, "the address has gone", func() bool { return len(n.PeerInfo(id).(core.PeerInfo).Addresses) == 0 })
}

// A node with everything of this group in use gives it all back, also while calls are under way.
func TestControlGivesEverythingBack(t *testing.T) {
	folder, other := t.TempDir(), start(t)
	cycle := func() {
		c := config(t, "peerstore.directory", folder, "gating.block", "192.0.2.0/24", "limits.exact", `{"System": {"Conns": 50}}`)
		n, err := core.New(timeout(t), c, core.Inbox[core.Event]{})
		if err != nil {
			t.Fatal(err)
		}
		k := &keeper{}
		if _, err := n.AskGate(gateOptions(t, `{"timeout_ms": 10000}`), k.inbox()); err != nil {
			t.Fatal(err)
		}
		dialled := make(chan struct{})
		go func() {
			defer close(dialled)
			n.Connect(context.Background(), other.Addresses())
		}()
		until(t, "a dial waits for its verdict", func() bool { return len(k.requests()) == 1 })
		var busy sync.WaitGroup
		for range 4 {
			busy.Go(func() {
				for n.PutMetadata(other.ID(), "x", []byte("y")) == nil && n.Tag(other.ID(), "x", 1) == nil && n.Block([]string{"192.0.2.1"}) == nil {
					n.AddAddresses(other.Addresses(), -1)
					n.ListenMore([]string{tcp})
					n.Trim(context.Background(), 0)
					n.Limits()
				}
			})
		}
		n.Close()
		busy.Wait()
		<-dialled
	}
	cycle()
	goroutines, files := runtime.NumGoroutine(), descriptors(t)
	for range 10 {
		cycle()
	}
	waitForGoroutines(t, goroutines)
	until(t, "descriptors are back", func() bool { return descriptors(t) <= files })
}
