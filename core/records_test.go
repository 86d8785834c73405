package core_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/libp2pgo/libp2pgo/core"
)

func TestEnvelopeVectors(t *testing.T) {
	v := vectors(t)
	e, err := core.OpenEnvelope(v.Envelope.Envelope, v.Envelope.Domain)
	good(t, err)
	if !bytes.Equal(e.Payload, v.Envelope.Payload) || !bytes.Equal(e.PayloadType, v.Envelope.PayloadType) || e.Peer.String() != v.Envelope.Peer || !bytes.Equal(e.PublicKey, v.Keys[0].Public) {
		t.Fatalf("%+v", e)
	}
	for _, k := range v.Keys {
		sealed, err := core.SealEnvelope(k.Private, "d", []byte("t"), v.Envelope.Payload)
		good(t, err)
		e, err := core.OpenEnvelope(sealed, "d")
		good(t, err)
		if e.Peer.String() != k.Peer || !bytes.Equal(e.Payload, v.Envelope.Payload) {
			t.Fatalf("%s: %+v", k.Type, e)
		}
		_, err = core.OpenEnvelope(sealed, "e")
		mustMatch(t, err, core.ErrSecurity, `"e"`)
	}
	changed := bytes.Replace(v.Envelope.Envelope, []byte("what is said"), []byte("what is paid"), 1)
	_, err = core.OpenEnvelope(changed, v.Envelope.Domain)
	mustMatch(t, err, core.ErrSecurity, "libp2pgo-test")
	_, err = core.OpenEnvelope([]byte("nonsense"), "d")
	mustMatch(t, err, core.ErrParse)
	_, err = core.OpenEnvelope(nil, "d")
	mustMatch(t, err, core.ErrParse)
	_, err = core.OpenEnvelope(v.Envelope.Envelope, "")
	mustMatch(t, err, core.ErrInvalid, "domain")
	_, err = core.SealEnvelope(v.Keys[0].Private, "", []byte("t"), nil)
	mustMatch(t, err, core.ErrInvalid, "domain")
	_, err = core.SealEnvelope(v.Keys[0].Private, "d", nil, nil)
	mustMatch(t, err, core.ErrInvalid, "payload_type")
	sealed, err := core.SealEnvelope(v.Keys[0].Private, "d", []byte("t"), nil) // a payload of no bytes is one
	good(t, err)
	_, err = core.OpenEnvelope(sealed, "d")
	good(t, err)
}

func TestPeerRecordVectors(t *testing.T) {
	v := vectors(t)
	r, err := core.OpenPeerRecord(v.Record.Record)
	good(t, err)
	info := r.Info()
	if info.Peer != v.Record.Peer || info.Sequence != v.Record.Sequence || strings.Join(info.Addresses, " ") != strings.Join(v.Record.Addresses, " ") {
		t.Fatalf("%+v", info)
	}
	ed, rsa := v.Keys[0], v.Keys[3]
	again, err := core.SealPeerRecord(ed.Private, []string{v.Record.Addresses[0], v.Record.Addresses[1] + "/p2p/" + ed.CID}, r.Sequence)
	good(t, err)
	if !bytes.Equal(again, v.Record.Record) { // ed25519 signs the same way every time
		t.Fatalf("%x, not %x", again, []byte(v.Record.Record))
	}
	before := uint64(time.Now().UnixNano())
	now, err := core.SealPeerRecord(rsa.Private, nil, 0)
	good(t, err)
	if r, err = core.OpenPeerRecord(now); err != nil || r.Sequence < before || r.Peer.String() != rsa.Peer || len(r.Addresses) != 0 {
		t.Fatalf("%+v %v", r, err)
	}
	_, err = core.SealPeerRecord(ed.Private, []string{"/ip4/192.0.2.1/tcp/1/p2p/" + rsa.Peer}, 0)
	mustMatch(t, err, core.ErrInvalid, rsa.Peer)
	_, err = core.SealPeerRecord(ed.Private, []string{"/p2p/" + ed.Peer}, 0)
	mustMatch(t, err, core.ErrInvalid, ed.Peer)
	_, err = core.SealPeerRecord(ed.Private, []string{"/ip4/192.0.2.1/tcp"}, 0)
	mustMatch(t, err, core.ErrParse, "/ip4/192.0.2.1/tcp")
	// What another peer signed in this one's name is worth nothing.
	envelope, err := core.OpenEnvelope(v.Record.Record, "libp2p-peer-record")
	good(t, err)
	forged, err := core.SealEnvelope(rsa.Private, "libp2p-peer-record", envelope.PayloadType, envelope.Payload)
	good(t, err)
	_, err = core.OpenPeerRecord(forged)
	mustMatch(t, err, core.ErrSecurity, ed.Peer, rsa.Peer)
	other, err := core.SealEnvelope(ed.Private, "libp2p-peer-record", []byte{9}, envelope.Payload)
	good(t, err)
	_, err = core.OpenPeerRecord(other)
	mustMatch(t, err, core.ErrParse, "09")
	_, err = core.OpenPeerRecord(v.Envelope.Envelope)
	mustMatch(t, err, core.ErrSecurity)
}

func TestAddressVectors(t *testing.T) {
	v := vectors(t)
	for _, c := range v.Addresses {
		a, err := core.ParseAddress(c.Text)
		good(t, err)
		b, err := core.AddressFromBytes(c.Bytes)
		good(t, err)
		if !bytes.Equal(a.Bytes(), c.Bytes) || b.String() != c.Text {
			t.Fatalf("%s: %x, %s", c.Text, a.Bytes(), b)
		}
		whole, err := core.JoinAddresses(core.SplitAddress(a))
		good(t, err)
		if !whole.Equal(a) {
			t.Fatalf("%s became %s", a, whole)
		}
	}
	relayed, err := core.ParseAddress(v.Addresses[4].Text)
	good(t, err)
	info := core.InfoOfAddress(relayed)
	if !info.Relayed || info.DNS || info.Peer == nil || *info.Peer != v.Keys[2].Peer || len(info.Components) != 5 ||
		info.Components[1] != (core.AddressComponent{Protocol: "tcp", Code: 6, Value: "4001"}) || info.Components[3] != (core.AddressComponent{Protocol: "p2p-circuit", Code: 290}) {
		t.Fatalf("%+v", info)
	}
	named, err := core.ParseAddress("/dnsaddr/example.com")
	good(t, err)
	if info := core.InfoOfAddress(named); !info.DNS || info.Peer != nil {
		t.Fatalf("%+v", info)
	}
	for _, bad := range []string{"", "/", "tcp/1", "/ip4", "/ip4/1.2.3", "/ip4/1.2.3.4/tcp/65536", "/carrier-pigeon/1", "/dns4/a\nb/tcp/1", "/dns4/\xff/tcp/1", "/dns4/a\x00/tcp/1",
		strings.Repeat("/quic-v1", 1<<17), "/p2p/nobody"} {
		_, err := core.ParseAddress(bad)
		mustMatch(t, err, core.ErrParse)
	}
	for _, bad := range [][]byte{nil, {4, 127}, {255, 255, 255}, []byte("\x36\x03a\nb"), bytes.Repeat([]byte{0xcd, 3}, 1<<16)} {
		_, err := core.AddressFromBytes(bad)
		mustMatch(t, err, core.ErrParse)
	}
	_, err = core.JoinAddresses(nil)
	mustMatch(t, err, core.ErrInvalid)
}

func TestDecapsulate(t *testing.T) {
	for _, c := range []struct{ whole, inner, left string }{
		{"/ip4/1.2.3.4/tcp/4001/ws", "/ws", "/ip4/1.2.3.4/tcp/4001"},
		{"/ip4/1.2.3.4/tcp/4001/ws", "/tcp/4001", "/ip4/1.2.3.4"},
		{"/ip4/1.2.3.4/tcp/80/http/tcp/80", "/tcp/80", "/ip4/1.2.3.4/tcp/80/http"},
		{"/ip4/1.2.3.4", "/ip4/1.2.3.4", ""},
		{"/ip4/1.2.3.4/tcp/4001", "/tcp/40", "-"}, // a text would contain it
		{"/ip4/1.2.3.4/tcp/4001", "/udp/4001", "-"},
		{"/tcp/1", "/ip4/1.2.3.4/tcp/1", "-"},
	} {
		whole, err := core.ParseAddress(c.whole)
		good(t, err)
		inner, err := core.ParseAddress(c.inner)
		good(t, err)
		left, err := core.Decapsulate(whole, inner)
		if c.left == "-" {
			mustMatch(t, err, core.ErrNotFound, c.whole, c.inner)
		} else if err != nil || left.String() != c.left {
			t.Fatalf("%+v: %s, %v", c, left, err)
		}
	}
}

// nameServer answers for names under .test, on loopback.
func nameServer(t testing.TB, records ...string) string {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	good(t, err)
	zone := map[string][]dns.RR{}
	for _, text := range records {
		rr, err := dns.NewRR(text)
		good(t, err)
		zone[rr.Header().Name] = append(zone[rr.Header().Name], rr)
	}
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		name := strings.ToLower(q.Question[0].Name)
		if strings.HasPrefix(name, "silent.") {
			return
		}
		if zone[name] == nil {
			m.Rcode = dns.RcodeNameError
		}
		for _, rr := range zone[name] {
			if rr.Header().Rrtype == q.Question[0].Qtype {
				m.Answer = append(m.Answer, rr)
			}
		}
		w.WriteMsg(m)
	})}
	done := make(chan struct{})
	go func() { defer close(done); server.ActivateAndServe() }()
	t.Cleanup(func() { server.Shutdown(); conn.Close(); <-done })
	return conn.LocalAddr().String()
}

func TestResolve(t *testing.T) {
	k := vectors(t).Keys
	a, b := k[0].Peer, k[1].Peer
	server := nameServer(t, "node.test. A 192.0.2.7", "node.test. AAAA 2001:db8::7", "empty.test. TXT nothing",
		`_dnsaddr.boot.test. TXT "dnsaddr=/dnsaddr/far.test/p2p/`+a+`"`, `_dnsaddr.boot.test. TXT "dnsaddr=/ip4/192.0.2.9/tcp/1/p2p/`+b+`"`, `_dnsaddr.boot.test. TXT "other=1"`,
		`_dnsaddr.far.test. TXT "dnsaddr=/dns4/node.test/udp/4001/quic-v1/p2p/`+a+`"`, `_dnsaddr.far.test. TXT "dnsaddr=/ip4/192.0.2.8/tcp/4001/p2p/`+a+`"`,
		`_dnsaddr.loop.test. TXT "dnsaddr=/dnsaddr/loop.test"`, `_dnsaddr.half.test. TXT "dnsaddr=/dns4/missing.test/tcp/1"`, `_dnsaddr.half.test. TXT "dnsaddr=/ip4/192.0.2.1/tcp/1"`)
	for address, want := range map[string]string{
		"/ip4/127.0.0.1/tcp/1":                "/ip4/127.0.0.1/tcp/1",
		"/dns4/node.test/tcp/443/wss":         "/ip4/192.0.2.7/tcp/443/wss",
		"/dns6/node.test/tcp/1":               "/ip6/2001:db8::7/tcp/1",
		"/dns/node.test/tcp/1/p2p/" + a:       "/ip4/192.0.2.7/tcp/1/p2p/" + a + " /ip6/2001:db8::7/tcp/1/p2p/" + a,
		"/dnsaddr/boot.test/p2p/" + a:         "/ip4/192.0.2.7/udp/4001/quic-v1/p2p/" + a + " /ip4/192.0.2.8/tcp/4001/p2p/" + a,
		"/dnsaddr/boot.test/p2p/" + b:         "/ip4/192.0.2.9/tcp/1/p2p/" + b,
		"/dnsaddr/half.test":                  "/ip4/192.0.2.1/tcp/1",
		"/dns4/node.test/tcp/1/p2p-circuit":   "/ip4/192.0.2.7/tcp/1/p2p-circuit",
		"/dns4/localhost/tcp/1 of the system": "/ip4/127.0.0.1/tcp/1",
	} {
		o := core.ResolveOptions{Server: server, Max: 100}
		address, system := strings.CutSuffix(address, " of the system")
		if system {
			o.Server = "" // /etc/hosts
		}
		parsed, err := core.ParseAddress(address)
		good(t, err)
		found, err := core.Resolve(timeout(t), parsed, o)
		good(t, err)
		texts := map[string]bool{}
		for _, f := range found {
			texts[f.String()] = true
		}
		for _, w := range strings.Fields(want) {
			if !texts[w] {
				t.Fatalf("%s gives %v, without %s", address, found, w)
			}
			delete(texts, w)
		}
		if len(texts) > 0 {
			t.Fatalf("%s gives too much: %v", address, texts)
		}
	}
	resolve := func(ctx context.Context, address string, max int) error {
		parsed, err := core.ParseAddress(address)
		good(t, err)
		found, err := core.Resolve(ctx, parsed, core.ResolveOptions{Server: server, Max: max})
		if len(found) > max {
			t.Fatalf("%v", found)
		}
		return err
	}
	mustMatch(t, resolve(timeout(t), "/dns4/missing.test/tcp/1", 9), core.ErrNotFound, "missing.test")
	mustMatch(t, resolve(timeout(t), "/dnsaddr/empty.test", 9), core.ErrNotFound, "empty.test")
	mustMatch(t, resolve(timeout(t), "/dnsaddr/boot.test/p2p/"+k[2].Peer, 9), core.ErrNotFound, k[2].Peer)
	mustMatch(t, resolve(timeout(t), "/dnsaddr/loop.test", 9), core.ErrLimit, "loop.test")
	good(t, resolve(timeout(t), "/dns/node.test/tcp/1", 1))
	short, cancel := context.WithTimeout(timeout(t), 50*time.Millisecond)
	defer cancel()
	if err := resolve(short, "/dns4/silent.test/tcp/1", 9); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	_, err := core.ParseResolveOptions([]byte(`{"server": "example.com"}`))
	mustMatch(t, err, core.ErrConfig, "server")
	_, err = core.ParseResolveOptions([]byte(`{"max": 0}`))
	mustMatch(t, err, core.ErrConfig, "max")
}

func TestCIDVectors(t *testing.T) {
	for _, v := range vectors(t).CIDs {
		o, err := core.ParseCIDOptions([]byte(`{"codec": "` + v.Codec + `", "hash": "` + v.Hash + `"}`))
		good(t, err)
		made, err := core.MakeCID(v.Data, o)
		good(t, err)
		if made != v.CID {
			t.Fatalf("%s %s: %s, not %s", v.Codec, v.Hash, made, v.CID)
		}
		o.Base = "base58btc"
		if made, err := core.MakeCID(v.Data, o); err != nil || made != v.Base58BTC {
			t.Fatal(made, err)
		}
		for _, text := range []string{v.CID, v.Base58BTC} {
			info, err := core.InfoOfCID(text)
			good(t, err)
			if info.Version != 1 || info.Codec != v.Codec || info.Hash != v.Hash || info.Digest != v.Digest || info.V1 != v.CID || (info.V0 == nil) != (v.V0 == nil) {
				t.Fatalf("%+v", info)
			}
			good(t, core.VerifyCID(text, v.Data))
			mustMatch(t, core.VerifyCID(text, append([]byte("x"), v.Data...)), core.ErrSecurity, "does not name")
		}
		c, err := core.CIDFromBytes(v.Bytes)
		good(t, err)
		if text, err := core.CIDText(c, core.CIDTextOptions{Version: -1}); err != nil || text != v.CID {
			t.Fatal(text, err)
		}
		if v.V0 == nil {
			_, err := core.CIDText(c, core.CIDTextOptions{Version: 0})
			mustMatch(t, err, core.ErrInvalid, "version 0")
			continue
		}
		if *v.V0 != *mustInfo(t, v.CID).V0 || mustInfo(t, *v.V0).V1 != v.CID || mustInfo(t, *v.V0).Base != "base58btc" {
			t.Fatal(*v.V0)
		}
		good(t, core.VerifyCID(*v.V0, v.Data))
		if made, err := core.MakeCID(v.Data, core.CIDOptions{Codec: "dag-pb", Hash: "sha2-256"}); err != nil || made != *v.V0 {
			t.Fatal(made, err)
		}
		old, err := core.ParseCID(*v.V0)
		good(t, err)
		_, err = core.CIDText(old, core.CIDTextOptions{Version: -1, Base: "base32"})
		mustMatch(t, err, core.ErrInvalid, "base58btc")
	}
}

func mustInfo(t testing.TB, text string) *core.CIDInfo {
	t.Helper()
	info, err := core.InfoOfCID(text)
	good(t, err)
	return info
}

func TestCIDErrors(t *testing.T) {
	for _, bad := range []string{"", "b", "hello", "Qm", "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyk", "z" + strings.Repeat("1", 1<<20), "\xff\xfe", "🚀"} {
		_, err := core.ParseCID(bad)
		mustMatch(t, err, core.ErrParse)
	}
	for _, bad := range [][]byte{nil, {1}, {1, 0x55, 0x12, 0x20}, make([]byte, 1<<16)} {
		_, err := core.CIDFromBytes(bad)
		mustMatch(t, err, core.ErrParse)
	}
	for doc, path := range map[string]string{`{"codec": "soup"}`: "codec", `{"hash": "md5"}`: "hash", `{"version": 2}`: "version", `{"version": 0}`: "version", `{"base": "base7"}`: "base", `{"base": "identity"}`: "base",
		`{"codec": "dag-pb", "version": 0, "base": "base32"}`: "base", `{"colour": 1}`: "colour"} {
		_, err := core.ParseCIDOptions([]byte(doc))
		mustMatch(t, err, core.ErrConfig, path)
	}
	_, err := core.MakeCID(make([]byte, 129), core.CIDOptions{Codec: "raw", Hash: "identity", Version: 1})
	mustMatch(t, err, core.ErrTooBig, "128")
	// murmur3 is a checksum; a digest of four bytes is guessed.
	for _, weak := range []string{"f0155" + "22" + "08" + "0011223344556677", "f0155" + "12" + "04" + "00112233"} {
		mustMatch(t, core.VerifyCID(weak, nil), core.ErrUnsupported, weak)
	}
}

func FuzzEnvelope(f *testing.F) {
	v := vectors(f)
	f.Add([]byte(v.Envelope.Envelope), v.Envelope.Domain)
	f.Add([]byte(v.Record.Record), "libp2p-peer-record")
	f.Add([]byte("\x0a\x00\x12\x01a\x1a\x01b\x2a\x01c"), "d")
	f.Fuzz(func(t *testing.T, data []byte, domain string) {
		if _, err := core.OpenEnvelope(data, domain); err != nil && core.Kind(err) == core.ErrInternal {
			t.Fatal(err)
		}
		if r, err := core.OpenPeerRecord(data); err == nil {
			r.Info()
		} else if core.Kind(err) == core.ErrInternal {
			t.Fatal(err)
		}
	})
}

func FuzzAddress(f *testing.F) {
	for _, c := range vectors(f).Addresses {
		f.Add(c.Text, []byte(c.Bytes))
	}
	for _, text := range []string{"/unix/a/b", "/ip4/1.2.3.4/udp/1/quic-v1/webtransport/certhash/uEiAkH5a4DPGKUuOBjYw0CgwjvcJCJMD2K_1aluKR_tpevQ", "/dns/a%2Fb/tcp/1/http-path/a%2Fb", "/onion3/vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd:1234", "/ip6zone/x/ip6/fe80::1"} {
		f.Add(text, []byte(text))
	}
	f.Fuzz(func(t *testing.T, text string, data []byte) {
		a, err := core.ParseAddress(text)
		if err == nil {
			if again, err := core.AddressFromBytes(a.Bytes()); err != nil || !again.Equal(a) {
				t.Fatalf("%q: %s, %v", text, again, err)
			}
			if again, err := core.JoinAddresses(core.SplitAddress(a)); err != nil || !again.Equal(a) {
				t.Fatalf("%q: %s, %v", text, again, err)
			}
			core.InfoOfAddress(a)
		} else if core.Kind(err) != core.ErrParse {
			t.Fatal(err)
		}
		b, err := core.AddressFromBytes(data)
		if err == nil {
			if again, err := core.ParseAddress(b.String()); err != nil || !again.Equal(b) {
				t.Fatalf("%x: %s, %v", data, again, err)
			}
		} else if core.Kind(err) != core.ErrParse {
			t.Fatal(err)
		}
	})
}

func FuzzCID(f *testing.F) {
	for _, c := range vectors(f).CIDs {
		f.Add(c.CID, []byte(c.Bytes))
		f.Add(c.Base58BTC, []byte(c.Data))
	}
	f.Add("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn", []byte{0x12, 0x20})
	f.Add("🚀😈😈", []byte{1, 0x55, 0, 0})
	f.Fuzz(func(t *testing.T, text string, data []byte) {
		if info, err := core.InfoOfCID(text); err == nil {
			if again, err := core.InfoOfCID(info.V1); err != nil || again.Digest != info.Digest || again.CodecCode != info.CodecCode {
				t.Fatalf("%q: %+v, then %+v, %v", text, info, again, err)
			}
			if err := core.VerifyCID(text, data); core.Kind(err) == core.ErrInternal && err != nil {
				t.Fatal(err)
			}
		} else if core.Kind(err) != core.ErrParse {
			t.Fatal(err)
		}
		if c, err := core.CIDFromBytes(data); err == nil {
			if text, err := core.CIDText(c, core.CIDTextOptions{Version: -1}); err != nil {
				t.Fatalf("%x: %s, %v", data, text, err)
			}
		}
	})
}
