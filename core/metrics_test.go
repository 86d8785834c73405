package core_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/libp2pgo/libp2pgo/core"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// parsed reads a node's numbers as Prometheus would.
func parsed(t testing.TB, text string) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("Prometheus does not understand it: %v\n%s", err, text)
	}
	return families
}

// number returns the sum of a family's samples that have these labels, as name, value, name, value.
func number(t testing.TB, n *core.Node, name string, labels ...string) float64 {
	t.Helper()
	family := parsed(t, n.Metrics().Prometheus())[name]
	if family == nil {
		return 0 // a family without samples is not seen by the parser
	}
	sum := 0.0
	for _, m := range family.Metric {
		has := map[string]string{}
		for _, l := range m.Label {
			has[l.GetName()] = l.GetValue()
		}
		matches := true
		for i := 0; i < len(labels); i += 2 {
			matches = matches && has[labels[i]] == labels[i+1]
		}
		if matches {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// Every family has a good name with its unit, help and a type, and every sample parses.
func TestMetrics_ParseAsPrometheus(t *testing.T) {
	a, b := start(t), start(t)
	connect(t, a, b)
	topic, err := a.Join("a \"quoted\" \\ topic\nof two lines", core.TopicOptions{}, core.Inbox[core.TopicEvent]{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := topic.Subscribe(core.SubscribeOptions{Capacity: 8, CapacityBytes: 1 << 20, Overflow: "block"}, core.Inbox[*core.Message]{}); err != nil {
		t.Fatal(err)
	}
	text := a.Metrics().Prometheus()
	families := parsed(t, text)
	for name, f := range families {
		if !regexp.MustCompile(`^(libp2pgo|go|process)_[a-z0-9_]+$`).MatchString(name) {
			t.Errorf("family %q", name)
		}
		if f.GetHelp() == "" || !strings.HasSuffix(f.GetHelp(), ".") {
			t.Errorf("%s: help is %q", name, f.GetHelp())
		}
		if isTotal := strings.HasSuffix(name, "_total"); isTotal != (f.GetType() == dto.MetricType_COUNTER) {
			t.Errorf("%s is a %v", name, f.GetType())
		}
		seen := map[string]bool{}
		for _, m := range f.Metric {
			if key := fmt.Sprint(m.Label); seen[key] {
				t.Errorf("%s: %s comes twice", name, key)
			} else {
				seen[key] = true
			}
		}
	}
	found := false
	for _, m := range families["libp2pgo_pubsub_subscriptions"].GetMetric() {
		found = found || m.Label[0].GetValue() == "a \"quoted\" \\ topic\nof two lines" && m.GetGauge().GetValue() == 1
	}
	if !found {
		t.Errorf("the topic's name did not survive:\n%s", text)
	}
	until(t, "the time of the dial is counted", func() bool { return number(t, a, "libp2pgo_dial_seconds") == 1 })
}

// The trap of upstream's collectors: the numbers of one node must not show the other's.
func TestMetrics_AreTheNodesOwn(t *testing.T) {
	a, b, idle := start(t), start(t), start(t)
	connect(t, a, b)
	until(t, "both count the connection", func() bool {
		return number(t, a, "libp2pgo_connections", "transport", "tcp", "direction", "outbound") == 1 &&
			number(t, b, "libp2pgo_connections", "transport", "tcp", "direction", "inbound") == 1
	})
	if n := number(t, a, "libp2pgo_connections", "direction", "inbound"); n != 0 {
		t.Errorf("a shows %v inbound connections", n)
	}
	for _, name := range []string{"libp2pgo_connections", "libp2pgo_connections_opened_total", "libp2pgo_peers", "libp2pgo_streams",
		"libp2pgo_bandwidth_bytes_total", "libp2pgo_dials_total", "libp2pgo_resource_connections"} {
		if n := number(t, idle, name); n != 0 {
			t.Errorf("an idle node shows %s %v", name, n)
		}
	}
	until(t, "a counts its dial", func() bool {
		return number(t, a, "libp2pgo_dials_total", "result", "ok") == 1 && number(t, a, "libp2pgo_connections_opened_total", "transport", "tcp", "direction", "outbound") == 1
	})
	a.Disconnect(b.ID())
	until(t, "the end of the connection is counted", func() bool {
		return number(t, a, "libp2pgo_connections_closed_total") == 1 && number(t, a, "libp2pgo_connections") == 0
	})
}

func TestMetrics_CountFailures(t *testing.T) {
	a, b, c := start(t), start(t), start(t)
	address := b.Addresses()[0]
	wrong := strings.Replace(address, b.ID().String(), c.ID().String(), 1)
	a.Connect(timeout(t), []string{wrong})
	b.Close()
	a.Connect(timeout(t), []string{address})
	for _, reason := range []string{"refused", "wrong_peer"} {
		until(t, reason+" is counted", func() bool {
			return number(t, a, "libp2pgo_dial_failures_total", "transport", "tcp", "reason", reason) == 1
		})
	}
	until(t, "both dials are counted", func() bool { return number(t, a, "libp2pgo_dials_total", "result", "failed") == 2 })
}

func TestMetrics_CountRefusals(t *testing.T) {
	a, b := start(t), start(t, "limits.streams_per_peer", "4")
	connect(t, a, b)
	if _, err := b.Serve([]string{"/hold"}, core.ServeOptions{}, func(*core.Stream) {}); err != nil {
		t.Fatal(err)
	}
	until(t, "a stream is refused", func() bool {
		if s, err := a.OpenStream(timeout(t), b.ID(), []string{"/hold"}, core.OpenOptions{}); err == nil {
			s.Write([]byte("x"))
		}
		return number(t, b, "libp2pgo_resource_refused_total") > 0
	})
}

func TestMetrics_FollowTheDHT(t *testing.T) {
	a, b := start(t, "dht.mode", "server", "dht.prefix", "/test"), start(t, "dht.mode", "server", "dht.prefix", "/test")
	connect(t, a, b)
	until(t, "they are in each other's table", func() bool { return number(t, a, "libp2pgo_dht_peers") == 1 && number(t, b, "libp2pgo_dht_peers") == 1 })
	if number(t, a, "libp2pgo_dht_serving") == 0 {
		t.Error("it does not serve")
	}
	if n := number(t, start(t), "libp2pgo_dht_serving"); n != 0 {
		t.Error("a node without DHT serves")
	}
}

func TestMetrics_FollowRelaysAndRules(t *testing.T) {
	relay, hidden, a := startRelay(t), start(t), start(t)
	reserve(t, hidden, relay)
	until(t, "both count the place", func() bool {
		return number(t, hidden, "libp2pgo_relay_reservations", "state", "held") == 1 && number(t, relay, "libp2pgo_relay_service_reservations") == 1
	})
	if number(t, relay, "libp2pgo_relay_service_running") != 1 || number(t, hidden, "libp2pgo_relay_service_running") != 0 {
		t.Errorf("%s", relay.Metrics().Prometheus())
	}
	public := start(t, "nat.reachability", "public")
	until(t, "the node is public", func() bool {
		return number(t, public, "libp2pgo_reachability", "state", "public") == 1 && number(t, public, "libp2pgo_reachability") == 1
	})
	if _, err := a.Connect(timeout(t), relayedOnly(hidden.Addresses())); err != nil {
		t.Fatal(err)
	}
	until(t, "the circuit is counted", func() bool {
		return number(t, relay, "libp2pgo_relay_service_circuits_total") == 1 && number(t, a, "libp2pgo_connections", "transport", "relay") == 1
	})
	if err := a.Block([]string{hidden.ID().String()}); err != nil {
		t.Fatal(err)
	}
	until(t, "blocking has closed the connection", func() bool { return number(t, a, "libp2pgo_connections", "transport", "relay") == 0 })
	if _, err := a.Connect(timeout(t), relayedOnly(hidden.Addresses())); err == nil {
		t.Fatal("connected to a blocked peer")
	}
	until(t, "the refusal is counted", func() bool {
		return number(t, a, "libp2pgo_gate_refused_total", "what", "dial") > 0 && number(t, a, "libp2pgo_gate_rules", "verdict", "block") == 1
	})
}

func TestMetrics_JSONHasTheSame(t *testing.T) {
	a, b := start(t), start(t)
	connect(t, a, b)
	m := a.Metrics()
	doc, err := m.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var tree struct {
		Node    string
		TimeMs  int64 `json:"time_ms"`
		Metrics map[string]struct {
			Type, Help string
			Samples    []struct {
				Labels  map[string]string
				Value   *float64
				Count   *float64
				Buckets []struct{ Le string }
			}
		}
	}
	if err := json.Unmarshal(doc, &tree); err != nil {
		t.Fatal(err)
	}
	if tree.Node != a.ID().String() || time.Since(time.UnixMilli(tree.TimeMs)) > limit {
		t.Errorf("node %q at %d", tree.Node, tree.TimeMs)
	}
	for name, f := range parsed(t, m.Prometheus()) {
		own := tree.Metrics[name]
		if own.Help != f.GetHelp() || !strings.EqualFold(own.Type, f.GetType().String()) || len(own.Samples) != len(f.Metric) {
			t.Errorf("%s: JSON has %+v, the text %v", name, own, f)
			continue
		}
		for i, sample := range own.Samples {
			h := f.Metric[i].GetHistogram()
			if h == nil && (sample.Value == nil || *sample.Value != f.Metric[i].GetCounter().GetValue()+f.Metric[i].GetGauge().GetValue()) {
				t.Errorf("%s: JSON has %+v, the text %v", name, sample, f.Metric[i])
			}
			if h != nil && (sample.Count == nil || *sample.Count != float64(h.GetSampleCount()) || len(sample.Buckets) != len(h.Bucket)) {
				t.Errorf("%s: JSON has %+v, the text %v", name, sample, f.Metric[i])
			}
		}
	}
}

func TestBandwidth_CountsEveryByte(t *testing.T) {
	a, b := start(t), start(t)
	connect(t, a, b)
	if _, err := b.Serve([]string{"/sink"}, core.ServeOptions{}, func(s *core.Stream) {
		n, _ := io.Copy(io.Discard, s)
		fmt.Fprint(s, n)
		s.Close()
	}); err != nil {
		t.Fatal(err)
	}
	const size = 300_000
	s, err := a.OpenStream(timeout(t), b.ID(), []string{"/sink"}, core.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.Write(make([]byte, size))
	s.CloseWrite(timeout(t))
	if answer, err := io.ReadAll(s); err != nil || string(answer) != fmt.Sprint(size) {
		t.Fatalf("%q, %v", answer, err)
	}
	of := func(n *core.Node, protocol string) (found core.Bandwidth) {
		info, err := n.Bandwidth()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range info.Protocols {
			if p.Protocol == protocol {
				found = p.Bandwidth
			}
		}
		if len(info.Peers) != 1 {
			t.Errorf("peers: %+v", info.Peers)
		}
		return found
	}
	// The name of the protocol travels with the first bytes, and is counted with them.
	if sent := of(a, "/sink"); sent.Out < size || sent.Out > size+100 || sent.In < 6 || sent.In > 100 {
		t.Errorf("a: %+v", sent)
	}
	if got := of(b, "/sink"); got.In < size || got.In > size+100 || got.Out < 6 || got.Out > 100 {
		t.Errorf("b: %+v", got)
	}
	if n := number(t, a, "libp2pgo_protocol_bytes_total", "protocol", "/sink", "direction", "out"); int64(n) != of(a, "/sink").Out {
		t.Errorf("metrics say %v", n)
	}
	if n := number(t, b, "libp2pgo_peer_bytes_total", "peer", a.ID().String(), "direction", "in"); n < size {
		t.Errorf("metrics say %v", n)
	}
	until(t, "there is a rate", func() bool {
		info, _ := a.Bandwidth()
		return info.Total.RateOut > 1000 && info.Peers[0].RateOut > 1000
	})
}

func TestBandwidth_Off(t *testing.T) {
	a, b := start(t, "metrics.bandwidth", "false"), start(t, "metrics.peers", "0", "metrics.protocols", "1")
	connect(t, a, b)
	if _, err := a.Bandwidth(); err == nil {
		t.Fatal("bandwidth of a node that does not count it")
	} else {
		mustMatch(t, err, core.ErrState, "metrics.bandwidth")
	}
	if text := a.Metrics().Prometheus(); strings.Contains(text, "bandwidth_bytes") || strings.Contains(text, "peer_bytes") {
		t.Errorf("%s", text)
	}
	until(t, "identify has run", func() bool { return number(t, b, "libp2pgo_bandwidth_bytes_total", "direction", "in") > 0 })
	if n := number(t, b, "libp2pgo_peer_bytes_total"); n != 0 {
		t.Errorf("peers are named: %v", n)
	}
	if family := parsed(t, b.Metrics().Prometheus())["libp2pgo_protocol_bytes_total"]; len(family.GetMetric()) != 2 {
		t.Errorf("not one protocol: %v", family)
	}
}

func httpGet(t testing.TB, url string) (status int, contentType, body string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: limit}
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header.Get("Content-Type"), string(text)
}

func serveMetrics(t testing.TB, n *core.Node, address string) (*core.MetricsServer, core.MetricsServerInfo) {
	t.Helper()
	o, _ := core.ParseMetricsServeOptions(nil)
	s, err := n.ServeMetrics(timeout(t), address, o)
	if err != nil {
		t.Fatal(err)
	}
	return s, s.Info().(core.MetricsServerInfo)
}

func TestMetricsEndpoint(t *testing.T) {
	n := start(t)
	s, info := serveMetrics(t, n, "")
	if host, _, err := net.SplitHostPort(info.Address); err != nil || host != "127.0.0.1" {
		t.Fatalf("serves at %q", info.Address)
	}
	status, contentType, body := httpGet(t, info.URL)
	if status != 200 || contentType != "text/plain; version=0.0.4; charset=utf-8" || parsed(t, body)["libp2pgo_node_info"] == nil {
		t.Errorf("%d, %s: %s", status, contentType, body)
	}
	status, contentType, body = httpGet(t, info.URL+".json")
	if status != 200 || contentType != "application/json" || !json.Valid([]byte(body)) || !strings.Contains(body, n.ID().String()) {
		t.Errorf("%d, %s: %s", status, contentType, body)
	}
	if status, _, _ = httpGet(t, "http://"+info.Address+"/secrets"); status != 404 {
		t.Errorf("another path: %d", status)
	}
	request, _ := http.NewRequest("GET", info.URL, nil)
	request.Host = "evil.example"
	if response, err := http.DefaultClient.Do(request); err != nil || response.StatusCode != 403 {
		t.Errorf("under a foreign name: %v, %v", response, err)
	} else {
		response.Body.Close()
	}
	o, _ := core.ParseMetricsServeOptions(nil)
	_, err := n.ServeMetrics(timeout(t), info.Address, o)
	mustMatch(t, err, core.ErrListen, info.Address, "in use")
	for address, problem := range map[string]string{"here": "host:port", "127.0.0.1:http": "port", "127.0.0.1:70000": "port"} {
		_, err = n.ServeMetrics(timeout(t), address, o)
		mustMatch(t, err, core.ErrParse, address, problem)
	}
	_, err = n.ServeMetrics(timeout(t), "192.0.2.1:0", o)
	mustMatch(t, err, core.ErrListen, "192.0.2.1:0")
	s.Close()
	s.Close()
	if c, err := net.Dial("tcp", info.Address); err == nil {
		c.Close()
		t.Error("it still listens")
	}
	// The node's own end ends it too, while somebody is connected.
	_, info = serveMetrics(t, n, "127.0.0.1:0")
	c, err := net.Dial("tcp", info.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	n.Close()
	c.SetReadDeadline(time.Now().Add(limit))
	if _, err := c.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("the connection outlives the node: %v", err)
	}
}

func TestMetricsEndpoint_BoundsConnections(t *testing.T) {
	n := start(t)
	s, err := n.ServeMetrics(timeout(t), "", core.MetricsServeOptions{MaxConnections: 2})
	if err != nil {
		t.Fatal(err)
	}
	info := func() core.MetricsServerInfo { return s.Info().(core.MetricsServerInfo) }
	var open []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", info().Address)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	until(t, "both are there", func() bool { return info().Open == 2 })
	c, err := net.Dial("tcp", info().Address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(limit))
	if _, err := c.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("a third is served: %v", err)
	}
	for _, c := range open {
		c.Close()
	}
	until(t, "they are gone", func() bool { return info().Open == 0 && info().Refused == 1 })
	if status, _, _ := httpGet(t, info().URL); status != 200 {
		t.Errorf("status %d", status)
	}
}

func TestPerf(t *testing.T) {
	for _, listen := range []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"} {
		server, client := start(t, "listen", listen), start(t, "listen", "[]")
		o, _ := core.ParsePerfServeOptions(nil)
		service, err := server.ServePerf(o)
		if err != nil {
			t.Fatal(err)
		}
		connect(t, client, server)
		for _, sizes := range [][2]int64{{0, 0}, {1, 0}, {0, 1}, {3 << 20, 0}, {0, 3 << 20}, {1 << 20, 5 << 20}} {
			r, err := client.Perf(timeout(t), server.ID(), sizes[0], sizes[1], core.PerfOptions{})
			if err != nil {
				t.Fatalf("%v: %v", sizes, err)
			}
			if r.UploadBytes != sizes[0] || r.DownloadBytes != sizes[1] || r.Peer != server.ID().String() || r.UploadMs <= 0 || r.Transport == "" {
				t.Errorf("%v: %+v", sizes, r)
			}
			if sizes[1] > 1<<20 && (r.DownloadMs <= 0 || r.DownloadPerSecond <= 0) {
				t.Errorf("%v: %+v", sizes, r)
			}
		}
		_, err = client.Perf(timeout(t), server.ID(), -1, 0, core.PerfOptions{})
		mustMatch(t, err, core.ErrInvalid, "upload_bytes")
		_, err = client.Perf(timeout(t), server.ID(), 0, 1<<60, core.PerfOptions{})
		mustMatch(t, err, core.ErrReset, "limit")
		service.Close()
		until(t, "the client knows that perf is over", func() bool {
			_, err = client.Perf(timeout(t), server.ID(), 1, 1, core.PerfOptions{})
			return core.Kind(err) == core.ErrProtocol
		})
	}
}

// A server that talks too long is left at the caller's time, and a client that is closed leaves nothing behind.
func TestPerf_Ends(t *testing.T) {
	server, client := start(t), start(t)
	o, _ := core.ParsePerfServeOptions([]byte(`{"max_streams": 1}`))
	service, err := server.ServePerf(o)
	if err != nil {
		t.Fatal(err)
	}
	connect(t, client, server)
	ctx, cancel := context.WithCancel(timeout(t))
	ended := make(chan error, 1)
	go func() {
		_, err := client.Perf(ctx, server.ID(), 0, 8<<30, core.PerfOptions{})
		ended <- err
	}()
	until(t, "it runs", func() bool { return service.Info().(core.ServiceInfo).Open == 1 })
	_, err = client.Perf(timeout(t), server.ID(), 0, 0, core.PerfOptions{})
	mustMatch(t, err, core.ErrReset)
	cancel()
	mustMatch(t, <-ended, core.ErrCancelled)
	until(t, "the server noticed", func() bool { return service.Info().(core.ServiceInfo).Open == 0 })
}
