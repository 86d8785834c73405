package core_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/libp2pgo/libp2pgo/core"
)

func TestExactLimits(t *testing.T) {
	n := start(t, "limits.exact", `{"System": {"Conns": 11, "Memory": "1073741824"}, "PeerDefault": {"StreamsInbound": 3}, "Protocol": {"/x/1": {"Streams": 0}},
		"Peer": {"`+randomPeer(t).String()+`": {"Conns": "blockAll"}}, "Stream": {"Memory": "unlimited"}}`)
	var exact map[string]map[string]any
	if err := json.Unmarshal(limits(t, n).Limits, &exact); err != nil {
		t.Fatal(err)
	}
	if exact["System"]["Conns"] != 11.0 || exact["System"]["Memory"] != "1073741824" || exact["PeerDefault"]["StreamsInbound"] != 3.0 ||
		exact["PeerDefault"]["StreamsOutbound"] != 4096.0 || exact["Stream"]["Memory"] != "unlimited" {
		t.Fatalf("%v", exact)
	}
	// What the library tells can be given back to it.
	again := start(t, "limits.exact", string(limits(t, n).Limits))
	if string(limits(t, again).Limits) != string(limits(t, n).Limits) {
		t.Fatalf("%s is not %s", limits(t, again).Limits, limits(t, n).Limits)
	}
	other := start(t)
	if err := openStreams(t, other, n, 64); err == nil {
		t.Fatal("more streams than the limit")
	}
	if refused := limits(t, n).Refused; refused["stream"] == 0 {
		t.Fatalf("%v", refused)
	}
}

func TestLimitsTellTheUse(t *testing.T) {
	a, b := start(t), start(t)
	connect(t, a, b)
	if err := openStreams(t, a, b, 8); err != nil {
		t.Fatal(err)
	}
	info := limits(t, b)
	if u := info.Usage; u.System.ConnectionsInbound < 1 || u.System.StreamsInbound < 8 || u.Peers[a.ID().String()].StreamsInbound < 8 ||
		u.Protocols["/test"].StreamsInbound != 8 || u.System.Memory <= 0 || u.System.FileDescriptors < 1 {
		t.Fatalf("%+v", u)
	}
	if info.Preset != "default" || info.PerIP.Connections != 256 || info.PerIP.ConnectionRate != 64 {
		t.Fatalf("%+v", info)
	}
	if info := limits(t, start(t, "limits.preset", "unlimited")); info.PerIP != (core.PerIPInfo{}) || !strings.Contains(string(info.Limits), `"unlimited"`) {
		t.Fatalf("%+v", info)
	}
	a.Close()
	_, err := a.Limits()
	mustMatch(t, err, core.ErrClosed)
}

func TestConnectionRate(t *testing.T) {
	for _, preset := range []string{"default", "unlimited"} {
		n := start(t, "limits.preset", preset, "limits.connection_rate", "0.001", "limits.connections_per_ip", "4")
		if info := limits(t, n).PerIP; info.Connections != 4 || info.ConnectionRate != 0.001 {
			t.Fatalf("%+v", info)
		}
		resources := n.Host().Network().ResourceManager()
		remote := ma.StringCast("/ip4/203.0.113.7/tcp/4001")
		opened := 0
		for range 20 { // one after another, so that only their rate counts
			scope, err := resources.OpenConnection(network.DirInbound, false, remote)
			if err == nil {
				opened++
				scope.Done()
			}
		}
		if opened != 8 {
			t.Fatalf("%s: %d connections at once, not a burst of 8", preset, opened)
		}
	}
}

func TestExactLimitsMisuse(t *testing.T) {
	for doc, path := range map[string]string{
		`7`: "limits.exact", `[]`: "limits.exact", `"x"`: "limits.exact", `{"system": {}}`: "limits.exact.system", `{"System": 7}`: "limits.exact.System",
		`{"System": {"Connections": 1}}`: "limits.exact.System.Connections", `{"System": {"Conns": -1}}`: "limits.exact.System.Conns",
		`{"System": {"Conns": 1.5}}`: "limits.exact.System.Conns", `{"System": {"Conns": "many"}}`: "limits.exact.System.Conns",
		`{"System": {"Conns": "5"}}`: "limits.exact.System.Conns", `{"System": {"Conns": true}}`: "limits.exact.System.Conns",
		`{"System": {"Conns": 99999999999}}`: "limits.exact.System.Conns", `{"Peer": {"x": {}}}`: "limits.exact.Peer.x", `{"Protocol": []}`: "limits.exact.Protocol",
		`{"System": {"Conns": 1, "Conns": 2}}`: "limits.exact.System.Conns", `{"Stream": {"Memory": "1e99"}}`: "limits.exact.Stream.Memory",
	} {
		_, err := core.ParseConfig([]byte(`{"limits": {"exact": ` + doc + `}}`))
		mustMatch(t, err, core.ErrConfig, path)
		mustMatch(t, core.DefaultConfig().Set("limits.exact", doc), core.ErrConfig, path)
	}
	_, err := core.ParseConfig([]byte(`{"limits": {"connections": 5, "exact": {"System": {"Conns": 6}}}}`))
	mustMatch(t, err, core.ErrConfig, "limits.exact.System.Conns", "limits.connections")
	c := config(t, "limits.exact", `{"System": {"Conns": 6}}`)
	if doc, err := c.Get("limits.exact"); err != nil || string(doc) != `{"System":{"Conns":6}}` {
		t.Fatalf("%s, %v", doc, err)
	}
	if err := c.Set("limits.exact", "null"); err != nil {
		t.Fatal(err)
	}
	if doc, _ := c.Get("limits.exact"); string(doc) != "null" {
		t.Fatalf("%s", doc)
	}
}
