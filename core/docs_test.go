package core_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/libp2pgo/libp2pgo/core"
)

var update = flag.Bool("update", false, "write the generated pages in docs/ instead of comparing them")

// docs/config.md is made of the schema: go test ./core -run ConfigPage -update
func TestConfigPageIsTheSchema(t *testing.T) {
	const page = "../docs/config.md"
	want := configPage(t)
	if *update {
		if err := os.WriteFile(page, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%s is not what the schema says; run go test ./core -run ConfigPage -update", page)
	}
}

// object is a JSON object in its order.
type object []struct {
	key   string
	value json.RawMessage
}

func (o *object) UnmarshalJSON(doc []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(doc))
	if _, err := decoder.Token(); err != nil {
		return err
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return err
		}
		*o = append(*o, struct {
			key   string
			value json.RawMessage
		}{key.(string), value})
	}
	return nil
}

type property struct {
	Type        any             `json:"type"`
	Title       string          `json:"title"`
	Description string          `json:"description"`
	Enum        []string        `json:"enum"`
	Items       *property       `json:"items"`
	Minimum     json.Number     `json:"minimum"`
	Maximum     json.Number     `json:"maximum"`
	Default     json.RawMessage `json:"default"`
	Properties  object          `json:"properties"`
	Secrets     []string        `json:"x-secrets"`
}

func (p *property) unmarshal(t *testing.T, doc []byte) {
	t.Helper()
	if err := json.Unmarshal(doc, p); err != nil {
		t.Fatal(err)
	}
}

func configPage(t *testing.T) []byte {
	t.Helper()
	var schema struct {
		Defs object `json:"$defs"`
	}
	if err := json.Unmarshal(core.Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	b.WriteString(`# Options

The same keys in every language: one JSON document for a node, one for each call that takes options. An unknown key, a wrong type, a value out of
range and a conflict are errors that name the path, such as ` + "`pubsub.d`" + `. Times are milliseconds, sizes bytes. This page is generated from the
schema, which ` + "`p2p_config_schema`" + ` returns.
`)
	for _, def := range schema.Defs {
		var p property
		p.unmarshal(t, def.value)
		fmt.Fprintf(&b, "\n## %s: %s\n\n| option | type | default | |\n|---|---|---|---|\n", def.key, p.Title)
		rows(t, &b, "", p.Properties)
		if len(p.Secrets) > 0 {
			fmt.Fprintf(&b, "\nSecrets do not travel in JSON: `p2p_config_set_secret` takes `%s`.\n", strings.Join(p.Secrets, "` and `"))
		}
	}
	return b.Bytes()
}

func rows(t *testing.T, b *bytes.Buffer, prefix string, properties object) {
	for _, m := range properties {
		var p property
		p.unmarshal(t, m.value)
		if p.Type == "object" {
			fmt.Fprintf(b, "| **%s** | | | %s |\n", prefix+m.key, p.Description)
			rows(t, b, prefix+m.key+".", p.Properties)
			continue
		}
		kind := fmt.Sprint(p.Type)
		enum := p.Enum
		if p.Items != nil {
			kind, enum = "list of texts", p.Items.Enum
		}
		if kind == "string" {
			kind = "text"
		}
		if len(enum) > 0 {
			kind += ": " + strings.Join(enum, ", ")
		}
		switch {
		case p.Minimum != "" && p.Maximum != "":
			kind += fmt.Sprintf(", %s to %s", p.Minimum, p.Maximum)
		case p.Minimum != "":
			kind += fmt.Sprintf(", at least %s", p.Minimum)
		case p.Maximum != "":
			kind += fmt.Sprintf(", at most %s", p.Maximum)
		}
		fmt.Fprintf(b, "| `%s` | %s | `%s` | %s |\n", prefix+m.key, kind, p.Default, p.Description)
	}
}

// Every option has a type, a default and a line of description.
func TestSchemaIsComplete(t *testing.T) {
	var schema struct {
		Schema string `json:"$schema"`
		Defs   object `json:"$defs"`
	}
	if err := json.Unmarshal(core.Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(schema.Schema, "2020-12") {
		t.Fatalf("$schema is %q", schema.Schema)
	}
	var check func(path string, doc []byte)
	check = func(path string, doc []byte) {
		var p property
		p.unmarshal(t, doc)
		if p.Type == "object" {
			for _, m := range p.Properties {
				check(path+"."+m.key, m.value)
			}
			return
		}
		if p.Type == nil || p.Description == "" || p.Default == nil {
			t.Errorf("%s: type %v, description %q, default %s", path, p.Type, p.Description, p.Default)
		}
	}
	for _, def := range schema.Defs {
		check(def.key, def.value)
	}
}

// The defaults in the schema are those of a config.
func TestSchemaDefaultsAreTheConfigs(t *testing.T) {
	var schema struct {
		Defs map[string]property `json:"$defs"`
	}
	if err := json.Unmarshal(core.Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	c := core.DefaultConfig()
	var check func(path string, properties object)
	check = func(path string, properties object) {
		for _, m := range properties {
			var p property
			p.unmarshal(t, m.value)
			if p.Type == "object" {
				check(path+m.key+".", p.Properties)
				continue
			}
			got, err := c.Get(path + m.key)
			if err != nil || !bytes.Equal(got, p.Default) {
				t.Errorf("%s: default %s in the schema, %s in the config (%v)", path+m.key, p.Default, got, err)
			}
		}
	}
	check("", schema.Defs["node"].Properties)
}

// docs/info.md has a row for every key that an Info returns.
func TestInfoPageHasEveryKey(t *testing.T) {
	page, err := os.ReadFile("../docs/info.md")
	if err != nil {
		t.Fatal(err)
	}
	for section, infos := range map[string][]any{
		"## node":          {core.NodeInfo{}},
		"## peers":         {core.PeerInfo{}, core.ConnectionInfo{}},
		"## service":       {core.ServiceInfo{}},
		"## stream":        {core.StreamInfo{}},
		"## exchange":      {core.ExchangeInfo{}},
		"## request":       {core.RequestInfo{}},
		"## topic":         {core.TopicInfo{}},
		"## subscription":  {core.SubscriptionInfo{}},
		"## advertisement": {core.AdvertisementInfo{}, core.SourceInfo{}},
		"## peer_search":   {core.PeerSearchInfo{}},
		"## meeting":       {core.MeetingInfo{}},
		"## search":        {core.SearchInfo{}},
		"## dht":           {core.DHTInfo{}, core.DHTTableInfo{}, core.DHTPeerInfo{}},
	} {
		_, text, found := strings.Cut(string(page), "\n"+section+"\n")
		if !found {
			t.Fatalf("no section %q", section)
		}
		text, _, _ = strings.Cut(text, "\n## ")
		for _, info := range infos {
			for field := range reflect.TypeOf(info).Fields() {
				if key, _, _ := strings.Cut(field.Tag.Get("json"), ","); !strings.Contains(text, "`"+key+"`") {
					t.Errorf("%s: no row for %s", section, key)
				}
			}
		}
	}
}

// The list in docs/numbers.md is that of the metrics: go test ./core -run NumbersPage -update
func TestNumbersPageListsEveryMetric(t *testing.T) {
	const page, head = "../docs/numbers.md", "| metric | labels | |\n|---|---|---|\n"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, after, ok := strings.Cut(string(text), head)
	if !ok {
		t.Fatalf("%s has no list", page)
	}
	_, rest, _ := strings.Cut(after, "\n\n")
	a, b := start(t), start(t)
	connect(t, a, b)
	topic, err := a.Join("t", core.TopicOptions{}, core.Inbox[core.TopicEvent]{})
	if err != nil {
		t.Fatal(err)
	}
	defer topic.Close()
	var want strings.Builder
	for _, f := range a.Metrics().Families() {
		labels := metricLabels[f.Name]
		if labels == "" {
			labels = strings.Join(f.Labels(), ", ")
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s |\n", f.Name, labels, f.Help)
	}
	for _, line := range strings.SplitAfter(after, "\n") { // those that the library adds to what this package has
		if strings.Contains(line, "`libp2pgo_handles`") || strings.Contains(line, "`libp2pgo_calls_") || strings.Contains(line, "`libp2pgo_process_queue") {
			want.WriteString(line)
		}
	}
	list := before + head + want.String()
	if rest != "" {
		list += "\n" + rest
	}
	if *update {
		if err := os.WriteFile(page, []byte(list), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if list != string(text) {
		t.Fatalf("%s does not list the metrics; run go test ./core -run NumbersPage -update", page)
	}
}

// metricLabels are the labels of metrics that a quiet pair of nodes has no samples of.
var metricLabels = map[string]string{
	"libp2pgo_dial_failures_total":         "transport, reason",
	"libp2pgo_streams":                     "protocol, direction",
	"libp2pgo_protocol_bytes_total":        "protocol, direction",
	"libp2pgo_peer_bytes_total":            "peer, direction",
	"libp2pgo_connections_closed_total":    "transport, direction",
	"libp2pgo_dial_black_hole":             "sort",
	"libp2pgo_pubsub_rejected_total":       "topic, reason",
	"libp2pgo_pubsub_mesh_peers":           "topic",
	"libp2pgo_dht_peers":                   "network",
	"libp2pgo_dht_serving":                 "network",
	"libp2pgo_relay_service_refused_total": "reason",
}
