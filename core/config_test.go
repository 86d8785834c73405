package core_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/libp2pgo/libp2pgo/core"
)

// Every error of a config names the option.
func TestConfigErrorsNameThePath(t *testing.T) {
	for _, c := range []struct{ doc, path, says string }{
		{`{`, "", "malformed JSON"},
		{`{"pubsub":{"d":6}`, "", "unfinished"},
		{`{"pubsub":}`, "pubsub", "malformed JSON at byte"},
		{`{} x`, "", "follows"},
		{`{}{}`, "", "follows"},
		{`[]`, "", "expected an object, got a list"},
		{`null`, "", "expected an object, got null"},
		{"{\"identify\":{\"agent\":\"\xff\"}}", "", "not UTF-8"},
		{strings.Repeat(`{"a":`, 100), "", "nested too deeply"},
		{`{"pubsob":{}}`, "pubsob", "unknown option"},
		{`{"pubsub":{"D":6}}`, "pubsub.D", `did you mean "d"`},
		{`{"keep":{"retry_min":5}}`, "keep.retry_min", `did you mean "retry_min_ms"`},
		{`{"pubsub":{"d":6,"d":7}}`, "pubsub.d", "given twice"},
		{`{"pubsub":{"d":"6"}}`, "pubsub.d", `expected a whole number, got the text "6"`},
		{`{"pubsub":{"d":6.5}}`, "pubsub.d", "expected a whole number, got 6.5"},
		{`{"pubsub":{"d":1e99}}`, "pubsub.d", "expected a whole number"},
		{`{"pubsub":{"d":0}}`, "pubsub.d", "0 is out of range 1 to 1000"},
		{`{"pubsub":{"enabled":1}}`, "pubsub.enabled", "expected true or false, got 1"},
		{`{"pubsub":7}`, "pubsub", "expected an object, got 7"},
		{`{"pubsub":{"signing":"both"}}`, "pubsub.signing", `"both" is none of sign, none`},
		{`{"identify":{"agent":null}}`, "identify.agent", "expected a text, got null"},
		{`{"security":["tls","ssl"]}`, "security[1]", `"ssl" is none of tls, noise`},
		{`{"security":[]}`, "security", "name tls, noise"},
		{`{"security":["tls","tls"]}`, "security", "once"},
		{`{"listen":"/ip4/0.0.0.0/tcp/0"}`, "listen", "expected a list of texts"},
		{`{"listen":["/ip4/127.0.0.1/tcp/0",7]}`, "listen[1]", "expected a text, got 7"},
		{`{"listen":["/ip4/127.0.0.1/tcp/0","/ip4/300.0.0.1/tcp/0"]}`, "listen[1]", `malformed address "/ip4/300.0.0.1/tcp/0"`},
		{`{"listen":[""]}`, "listen[0]", "malformed"},
		{`{"listen":["/ip4/127.0.0.1"]}`, "listen[0]", "cannot be listened at"},
		{`{"listen":["/dns4/a.example/tcp/1"]}`, "listen[0]", "cannot be listened at"},
		{`{"listen":["/ip4/127.0.0.1/tcp/0/p2p/12D3KooWGzBVk6UVQJyWpVyXfaLWdSbWVBKYSLfYaXQWTTFHZ8Sm"]}`, "listen[0]", ""},
		{`{"bootstrap":{"peers":["/ip4/127.0.0.1/tcp/1"]}}`, "bootstrap.peers[0]", "/p2p/"},
		{`{"identity":{"key":"x"}}`, "identity.key", "unknown option"},
		{`{"identity":{"type":"dsa"}}`, "identity.type", "none of ed25519, secp256k1, ecdsa, rsa"},
		{`{"events":{"capacity":0}}`, "events.capacity", "out of range"},
		{`{"mdns":{"service":""}}`, "mdns.service", "DNS-SD"},
	} {
		_, err := core.ParseConfig([]byte(c.doc))
		var option *core.OptionError
		if !errors.As(err, &option) {
			t.Errorf("%.60s: %v is no OptionError", c.doc, err)
			continue
		}
		mustMatch(t, err, core.ErrConfig)
		if c.path != "" && option.Path != c.path || !strings.Contains(option.Problem, c.says) {
			t.Errorf("%.60s: got %q: %q, want path %q and words %q", c.doc, option.Path, option.Problem, c.path, c.says)
		}
	}
}

func TestConfigIsParsedOverTheDefaults(t *testing.T) {
	for _, doc := range []string{"", " ", "{}"} {
		c, err := core.ParseConfig([]byte(doc))
		if err != nil || c.String() != core.DefaultConfig().String() {
			t.Fatalf("%q: %v, %v", doc, c, err)
		}
	}
	c, err := core.ParseConfig([]byte(`{"pubsub":{"d":8},"listen":["/ip4/127.0.0.1/tcp/0"],"yamux":{"window_bytes":1e6}}`))
	if err != nil {
		t.Fatal(err)
	}
	if c.Pubsub.D != 8 || c.Pubsub.DLow != 5 || c.Yamux.WindowBytes != 1_000_000 || c.Listen[0] != "/ip4/127.0.0.1/tcp/0" {
		t.Fatalf("%v", c)
	}
	again, err := core.ParseConfig([]byte(c.String()))
	if err != nil || again.String() != c.String() {
		t.Fatalf("%v does not survive a round trip: %v, %v", c, again, err)
	}
}

func TestConfigSetAndGet(t *testing.T) {
	c := core.DefaultConfig()
	for _, s := range []struct{ path, value, want string }{
		{"pubsub.d", "8", "8"},
		{"mdns.enabled", "true", "true"},
		{"identify.agent", "demo/1.0", `"demo/1.0"`},
		{"identify.agent", `"demo \"2\""`, `"demo \"2\""`},
		{"identify.agent", "", `""`},
		{"identify.agent", "12", `"12"`},
		{"listen", "/ip4/127.0.0.1/tcp/0\n/ip4/127.0.0.1/udp/0/quic-v1\n", `["/ip4/127.0.0.1/tcp/0","/ip4/127.0.0.1/udp/0/quic-v1"]`},
		{"listen", `["/ip4/127.0.0.1/tcp/1"]`, `["/ip4/127.0.0.1/tcp/1"]`},
		{"listen", "[]", "[]"},
		{"listen", "", "[]"},
		{"listen", "null", "null"},
		{"keep", `{"retry_min_ms":50}`, `{"retry_min_ms":50,"retry_max_ms":60000}`},
		{"", `{"dial":{"timeout_ms":99}}`, ""},
		{"dial.timeout_ms", "99", "99"},
	} {
		if err := c.Set(s.path, s.value); err != nil {
			t.Fatalf("Set %s = %q: %v", s.path, s.value, err)
		}
		if got, err := c.Get(s.path); err != nil || s.want != "" && string(got) != s.want {
			t.Fatalf("Get %s after %q: %s, %v; want %s", s.path, s.value, got, err, s.want)
		}
	}
	before := c.String()
	for _, s := range []struct{ path, value string }{
		{"pubsub.d", "x"}, {"pubsub.d", ""}, {"pubsub.d", "0"}, {"pubsub.e", "1"}, {"pubsub.d.x", "1"}, {"", "7"}, {"listen", "/ip4"},
		{"pubsub.signing", "maybe"}, {"identity.key", "x"}, {"private_network.key", "x"}, {"keep", `{"retry_min_ms":60,"x":1}`},
		{"identify.agent", "\xff"}, {"mdns.enabled", "yes"}, {".", "1"}, {"pubsub.", "1"},
	} {
		err := c.Set(s.path, s.value)
		mustMatch(t, err, core.ErrConfig, strings.Split(s.path, ".")[0])
		if c.String() != before {
			t.Fatalf("Set %s = %q failed and changed the config", s.path, s.value)
		}
	}
	for _, path := range []string{"x", "pubsub.x", "identity.key", "private_network.key"} {
		_, err := c.Get(path)
		mustMatch(t, err, core.ErrConfig, path)
	}
}

func TestConfigCloneSharesNothing(t *testing.T) {
	c := config(t)
	d := c.Clone()
	d.Listen[0] = "changed"
	d.Security[0] = "changed"
	if strings.Contains(c.String(), "changed") {
		t.Fatal("the clone shares a list")
	}
}

// Options in conflict are found by New; the error names both.
func TestConflictingOptions(t *testing.T) {
	key := mustKey(t, "ed25519")
	for name, c := range map[string]struct {
		pairs   []string
		secrets map[string][]byte
		words   []string
	}{
		"network key and a QUIC address": {[]string{"listen", "/ip4/127.0.0.1/udp/0/quic-v1"}, map[string][]byte{"private_network.key": make([]byte, 32)}, []string{"listen[0]", "private_network.key"}},
		"network file and QUIC":          {[]string{"private_network.file", "swarm.key", "transports.quic", "true"}, nil, []string{"transports.quic", "private_network.file"}},
		"network key and WebTransport":   {[]string{"transports.webtransport", "true"}, map[string][]byte{"private_network.key": make([]byte, 32)}, []string{"transports.webtransport", "private_network.key"}},
		"network key and WebRTC":         {[]string{"transports.webrtc_direct", "true"}, map[string][]byte{"private_network.key": make([]byte, 32)}, []string{"transports.webrtc_direct", "private_network.key"}},
		"two network keys":               {[]string{"private_network.file", "swarm.key"}, map[string][]byte{"private_network.key": make([]byte, 32)}, []string{"private_network.file", "private_network.key"}},
		"two identities":                 {[]string{"identity.file", "id.key"}, map[string][]byte{"identity.key": key}, []string{"identity.file", "identity.key"}},
		"address of a transport off":     {[]string{"transports.tcp", "false"}, nil, []string{"listen[0]", "transports.tcp"}},
		"no transport":                   {[]string{"transports", `{"tcp":false,"quic":false,"websocket":false,"webtransport":false,"webrtc_direct":false}`, "listen", "[]"}, nil, []string{"transports"}},
		"connections":                    {[]string{"connections.low", "200"}, nil, []string{"connections.low", "connections.high"}},
		"keep":                           {[]string{"keep.retry_min_ms", "70000"}, nil, []string{"keep.retry_min_ms", "keep.retry_max_ms"}},
		"bootstrap":                      {[]string{"bootstrap.retry_min_ms", "70000"}, nil, []string{"bootstrap.retry_min_ms", "bootstrap.retry_max_ms"}},
		"pubsub low":                     {[]string{"pubsub.d_low", "7"}, nil, []string{"pubsub.d_low", "pubsub.d"}},
		"pubsub high":                    {[]string{"pubsub.d_high", "5"}, nil, []string{"pubsub.d", "pubsub.d_high"}},
		"half a certificate":             {[]string{"websocket.cert_file", "x.pem"}, nil, []string{"websocket.cert_file", "websocket.key_file"}},
		"wss without a certificate":      {[]string{"listen", "/ip4/127.0.0.1/tcp/0/tls/ws"}, nil, []string{"listen[0]", "websocket.cert_file"}},
		"mdns without an address":        {[]string{"listen", "[]", "mdns.enabled", "true"}, nil, []string{"mdns.enabled", "listen"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t, c.pairs...)
			for path, secret := range c.secrets {
				if err := cfg.SetSecret(path, secret); err != nil {
					t.Fatal(err)
				}
			}
			n, err := core.New(timeout(t), cfg, core.Inbox[core.Event]{})
			if err == nil {
				n.Close()
				t.Fatal("started")
			}
			mustMatch(t, err, core.ErrConfig, c.words...)
		})
	}
}

// Whatever is a secret appears nowhere.
func TestSecretsAreShownNowhere(t *testing.T) {
	key, network := mustKey(t, "ed25519"), []byte("0123456789abcdefghijklmnopqrstuv")
	c := config(t)
	for path, secret := range map[string][]byte{"identity.key": key, "private_network.key": network} {
		if err := c.SetSecret(path, secret); err != nil {
			t.Fatal(err)
		}
	}
	logged := captureLog(t, "debug")
	n := startWith(t, c, core.Inbox[core.Event]{})
	_, refused := core.New(timeout(t), config(t, "private_network.file", "/does/not/exist"), core.Inbox[core.Event]{})
	texts := []string{c.String(), fmt.Sprintf("%v %+v %#v", c, c, c), fmt.Sprint(n.Info()), refused.Error(), logged()}
	for _, bad := range [][]byte{key[:len(key)-1], append([]byte("/key/swarm/psk/1.0.0/\n/base16/\n"), network...)} {
		for _, path := range []string{"identity.key", "private_network.key"} {
			err := c.SetSecret(path, bad)
			mustMatch(t, err, core.ErrParse, path)
			texts = append(texts, err.Error())
		}
	}
	for _, text := range texts {
		for _, secret := range []string{string(key[8:]), string(network), hex.EncodeToString(key[8:]), hex.EncodeToString(network), fmt.Sprint(network)[1:40]} {
			if strings.Contains(text, secret) {
				t.Fatalf("a secret is in %q", text)
			}
		}
	}
	mustMatch(t, c.SetSecret("identity", key), core.ErrConfig, "identity")
}

func FuzzParseConfig(f *testing.F) {
	for _, doc := range []string{"", "{}", "null", `{"pubsub":{"d":8,"d":9}}`, `{"listen":["/ip4/127.0.0.1/tcp/0/ws"]}`, core.DefaultConfig().String(), `{"a":[[[{"b":1e400}]]]}`, "{\"\xff\":0}", `{"bootstrap":{"peers":["/ip6zone/x/ip6/fe80::1/tcp/1"]}}`} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		c, err := core.ParseConfig(doc)
		if err != nil {
			mustMatch(t, err, core.ErrConfig)
			return
		}
		again, err := core.ParseConfig([]byte(c.String()))
		if err != nil || again.String() != c.String() {
			t.Fatalf("%s does not survive a round trip: %v", c, err)
		}
	})
}

func FuzzNetworkKey(f *testing.F) {
	digits := strings.Repeat("0123456789abcdef", 4)
	for _, doc := range []string{"", digits, digits + "\n", "/key/swarm/psk/1.0.0/\n/base16/\n" + digits, "/key/swarm/psk/1.0.0/\r\n/base16/\r\n" + digits + "\r\n", "/key/swarm/psk/1.0.0/\n/bin/\n" + digits[:32], "/key/swarm/psk/1.0.0/\n/base64/\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "/key/swarm/psk/1.0.0/\n/base32/\n"} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		if err := core.DefaultConfig().SetSecret("private_network.key", doc); err != nil {
			mustMatch(t, err, core.ErrParse, "private_network.key")
		}
	})
}

func TestNetworkKeyForms(t *testing.T) {
	digits := strings.Repeat("0123456789abcdef", 4)
	raw, _ := hex.DecodeString(digits)
	forms := map[string][]byte{
		"raw":       raw,
		"hex":       []byte(digits + "\n"),
		"swarm.key": []byte("/key/swarm/psk/1.0.0/\n/base16/\n" + digits + "\n"),
		"CRLF":      []byte("/key/swarm/psk/1.0.0/\r\n/base16/\r\n" + digits + "\r\n"),
		"base64":    []byte("/key/swarm/psk/1.0.0/\n/base64/\nASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4mrze8=\n"),
		"bin":       append([]byte("/key/swarm/psk/1.0.0/\n/bin/\n"), raw...),
	}
	server := config(t)
	if err := server.SetSecret("private_network.key", raw); err != nil {
		t.Fatal(err)
	}
	node := startWith(t, server, core.Inbox[core.Event]{})
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "swarm.key")
			write(t, file, form, 0o600)
			connect(t, start(t, "private_network.file", file), node)
		})
	}
	t.Run("another key", func(t *testing.T) {
		c := config(t, "dial.timeout_ms", "1000")
		c.SetSecret("private_network.key", make([]byte, 32))
		_, err := startWith(t, c, core.Inbox[core.Event]{}).Connect(timeout(t), node.Addresses())
		mustMatch(t, err, core.ErrSecurity, node.ID().String(), "127.0.0.1")
	})
	t.Run("no key", func(t *testing.T) {
		_, err := start(t, "dial.timeout_ms", "1000").Connect(timeout(t), node.Addresses())
		if err == nil {
			t.Fatal("connected")
		}
	})
	for name, form := range map[string][]byte{"empty": {}, "short": raw[:31], "odd": []byte(digits[1:]), "unknown": []byte("/key/swarm/psk/1.0.0/\n/base32/\nx")} {
		t.Run(name+" file", func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "swarm.key")
			write(t, file, form, 0o600)
			_, err := core.New(timeout(t), config(t, "private_network.file", file), core.Inbox[core.Event]{})
			mustMatch(t, err, core.ErrParse, "private_network.file", file)
		})
	}
	t.Run("readable by others", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "swarm.key")
		write(t, file, raw, 0o640)
		_, err := core.New(timeout(t), config(t, "private_network.file", file), core.Inbox[core.Event]{})
		mustMatch(t, err, core.ErrPermission, "private_network.file", file, "0640")
	})
	t.Run("missing file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "swarm.key")
		_, err := core.New(timeout(t), config(t, "private_network.file", file), core.Inbox[core.Event]{})
		mustMatch(t, err, core.ErrPermission, "private_network.file", file)
		if _, err := os.Stat(file); err == nil {
			t.Fatal("a network key was made up")
		}
	})
}
