package core_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/libp2pgo/libp2pgo/core"
)

func onlyConnection(t *testing.T, n, to *core.Node) core.ConnectionInfo {
	t.Helper()
	info := n.PeerInfo(to.ID()).(core.PeerInfo)
	if len(info.Connections) != 1 {
		t.Fatalf("%d connections, not 1", len(info.Connections))
	}
	return info.Connections[0]
}

func TestEveryTransportConnects(t *testing.T) {
	for transport, listen := range map[string]string{
		"tcp":           "/ip4/127.0.0.1/tcp/0",
		"quic":          "/ip4/127.0.0.1/udp/0/quic-v1",
		"websocket":     "/ip4/127.0.0.1/tcp/0/ws",
		"webtransport":  "/ip4/127.0.0.1/udp/0/quic-v1/webtransport",
		"webrtc_direct": "/ip4/127.0.0.1/udp/0/webrtc-direct",
	} {
		t.Run(transport, func(t *testing.T) {
			server := start(t, "listen", listen)
			client := start(t, "listen", "[]")
			connect(t, client, server)
			c := onlyConnection(t, client, server)
			if c.Transport != transport || c.Direction != "outbound" || c.Security == "" || c.Muxer == "" || c.OpenedMs == 0 {
				t.Fatalf("connection is %+v", c)
			}
			if rtt, err := client.Ping(timeout(t), server.ID()); err != nil || rtt <= 0 {
				t.Fatalf("Ping: %v, %v", rtt, err)
			}
		})
	}
}

func TestAllTransportsShareOneNode(t *testing.T) {
	server := start(t, "listen", "/ip4/127.0.0.1/tcp/0\n/ip4/127.0.0.1/tcp/0/ws\n/ip4/127.0.0.1/udp/0/quic-v1\n/ip4/127.0.0.1/udp/0/quic-v1/webtransport\n/ip4/127.0.0.1/udp/0/webrtc-direct")
	if got := len(server.Addresses()); got != 5 {
		t.Fatalf("%d addresses: %q", got, server.Addresses())
	}
	for _, a := range server.Addresses() {
		client := start(t, "listen", "[]")
		if _, err := client.Connect(timeout(t), []string{a}); err != nil {
			t.Fatalf("%s: %v", a, err)
		}
	}
}

func TestBothSecureChannels(t *testing.T) {
	for _, name := range []string{"tls", "noise"} {
		t.Run(name, func(t *testing.T) {
			server := start(t)
			client := start(t, "security", name)
			connect(t, client, server)
			if c := onlyConnection(t, client, server); !strings.Contains(c.Security, name) {
				t.Fatalf("security is %q", c.Security)
			}
		})
	}
	t.Run("none in common", func(t *testing.T) {
		server := start(t, "security", "tls")
		client := start(t, "security", "noise")
		_, err := client.Connect(timeout(t), server.Addresses())
		mustMatch(t, err, core.ErrSecurity, server.ID().String())
	})
}

func TestSecureWebSocketFromCertificateFiles(t *testing.T) {
	cert, key := certificate(t)
	server := start(t, "websocket.cert_file", cert, "websocket.key_file", key, "listen", "/ip4/127.0.0.1/tcp/0/tls/ws")
	if a := server.Addresses()[0]; !strings.Contains(a, "/tls/ws") {
		t.Fatalf("address is %s", a)
	}
	t.Run("key readable by everybody", func(t *testing.T) {
		os.Chmod(key, 0o644)
		_, err := core.New(timeout(t), config(t, "websocket.cert_file", cert, "websocket.key_file", key), core.Inbox[core.Event]{})
		mustMatch(t, err, core.ErrPermission, "websocket.key_file", key)
	})
	t.Run("no such certificate", func(t *testing.T) {
		_, err := core.New(timeout(t), config(t, "websocket.cert_file", cert+"x", "websocket.key_file", key), core.Inbox[core.Event]{})
		mustMatch(t, err, core.ErrSystem, "websocket.cert_file", cert+"x")
	})
	t.Run("not a certificate", func(t *testing.T) {
		os.Chmod(key, 0o600)
		_, err := core.New(timeout(t), config(t, "websocket.cert_file", key, "websocket.key_file", key), core.Inbox[core.Event]{})
		mustMatch(t, err, core.ErrParse, "websocket.cert_file")
	})
}

func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	write(t, certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
	write(t, keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), 0o600)
	return certFile, keyFile
}

func write(t *testing.T, path string, data []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, data, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}
