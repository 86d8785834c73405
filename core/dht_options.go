package core

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// DHTConfig configures the distributed hash table.
type DHTConfig struct {
	Mode              string   `json:"mode" enum:"off,client,server,auto" doc:"off; client: ask others only; server: also answer and store for others; auto: server once the node is known to be reachable"`
	Prefix            string   `json:"prefix" doc:"first part of the protocol name: nodes meet that use the same; \"\" or \"/ipfs\" is the public DHT, with its fixed validators"`
	Network           string   `json:"network" enum:"any,lan,wan,dual" doc:"any: peers at whatever address; lan: only at private and loopback addresses; wan: only at public ones; dual: a table for each"`
	BucketSize        int      `json:"bucket_size" min:"1" max:"1000" doc:"peers that keep each record, and peers in a bucket of the table (k)"`
	Concurrency       int      `json:"concurrency" min:"1" max:"1000" doc:"peers asked at a time in one query (alpha)"`
	Resiliency        int      `json:"resiliency" min:"1" max:"1000" doc:"of the peers closest to a key, how many must have answered before a query ends (beta)"`
	RefreshMs         int64    `json:"refresh_ms" min:"0" max:"31536000000" doc:"pause between refreshes of the table; 0: none but those asked for"`
	RefreshTimeoutMs  int64    `json:"refresh_timeout_ms" min:"1" max:"3600000" doc:"longest time for one query of a refresh, and for the check of a new peer"`
	RecordAgeMs       int64    `json:"record_age_ms" min:"1000" max:"31536000000" doc:"how long a record of another node is kept unless it comes again"`
	ProviderAgeMs     int64    `json:"provider_age_ms" min:"1000" max:"31536000000" doc:"how long a provider of another node is kept unless it comes again"`
	ReprovideMs       int64    `json:"reprovide_ms" min:"1000" max:"31536000000" doc:"within which time all keys that the node keeps providing are announced again"`
	RepublishMs       int64    `json:"republish_ms" min:"100" max:"31536000000" doc:"pause between publications of the node's own signed records, until they expire"`
	MaxValueSize      int      `json:"max_value_size" min:"1" max:"1048576" doc:"bytes of the largest value that is stored or taken"`
	MaxBytes          int64    `json:"max_bytes" min:"1048576" max:"1125899906842624" doc:"bytes of records and providers that are kept for others, about, in memory or in dht.store; beyond it new ones are refused until others have expired"`
	Store             string   `json:"store" doc:"directory that keeps records, providers, and what the node itself provides and has set; \"\": in memory, lost with the node"`
	Validators        []string `json:"validators" doc:"namespaces of keys beside pk, ipns and record, each as name=rule; accept: any value; hash: the key names the value's hash; record: signed records; ask: the program by event"`
	ValidateTimeoutMs int      `json:"validate_timeout_ms" min:"1" max:"60000" doc:"time for a verdict of the program"`
	ValidateDefault   string   `json:"validate_default" enum:"reject,accept" doc:"the verdict when time is up"`
	ValidateCapacity  int      `json:"validate_capacity" min:"1" max:"1000000" doc:"verdicts that may be pending; beyond it the default holds at once"`
}

// publicPrefix is that of the public DHT, which admits only records of the namespaces pk and ipns.
const publicPrefix = "/ipfs"

// validatorRules are the rules that a namespace may have.
var validatorRules = []string{"accept", "hash", "record", "ask"}

const hours = 60 * 60 * 1000

func defaultDHT() DHTConfig {
	return DHTConfig{
		Mode: "off", Prefix: "/libp2pgo", Network: "any", BucketSize: 20, Concurrency: 10, Resiliency: 3, RefreshMs: 600_000, RefreshTimeoutMs: 10_000,
		RecordAgeMs: 48 * hours, ProviderAgeMs: 48 * hours, ReprovideMs: 22 * hours, RepublishMs: hours, MaxValueSize: 64 << 10, MaxBytes: 256 << 20,
		Validators: []string{}, ValidateTimeoutMs: 1000, ValidateDefault: "reject", ValidateCapacity: 1024,
	}
}

func (c *DHTConfig) public() bool { return c.Prefix == "" || c.Prefix == publicPrefix }

// check finds what the types of the options do not say.
func (c *DHTConfig) check() error {
	if p := c.Prefix; p != "" && (p[0] != '/' || strings.HasSuffix(p, "/") || len(p) > 128 || strings.ContainsAny(p, " \t\r\n") || !utf8.ValidString(p)) {
		return &OptionError{"dht.prefix", quoteShort(p) + " is not the first part of a protocol name, such as /app"}
	}
	seen := map[string]bool{}
	for i, text := range c.Validators {
		path := fmt.Sprintf("dht.validators[%d]", i)
		name, rule, found := strings.Cut(text, "=")
		switch {
		case !found || !slices.Contains(validatorRules, rule):
			return &OptionError{path, quoteShort(text) + " is not name=rule, with a rule of " + strings.Join(validatorRules, ", ")}
		case name == "pk" || name == "ipns" || name == recordNamespace || name == "providers":
			return &OptionError{path, quoteShort(name) + " is built in"}
		case name == "" || len(name) > 64 || strings.ContainsFunc(name, notNamespace):
			return &OptionError{path, quoteShort(name) + " is not a namespace: 1 to 64 letters, digits, '-', '_' or '.'"}
		case seen[name]:
			return &OptionError{path, quoteShort(name) + " has a rule already"}
		}
		seen[name] = true
	}
	return nil
}

func notNamespace(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r))
}

// checkConflicts finds options that do not go together.
func (c *DHTConfig) checkConflicts() error {
	conflict := func(path, format string, args ...any) error { return &OptionError{path, fmt.Sprintf(format, args...)} }
	if c.Resiliency > c.BucketSize {
		return conflict("dht.resiliency", "%d is more than dht.bucket_size, %d", c.Resiliency, c.BucketSize)
	}
	if !c.public() {
		return nil
	}
	switch {
	case len(c.Validators) > 0:
		return conflict("dht.validators", "conflicts with dht.prefix, %q: the public DHT admits only pk and ipns", c.Prefix)
	case c.BucketSize != defaultDHT().BucketSize:
		return conflict("dht.bucket_size", "conflicts with dht.prefix, %q: the public DHT has %d", c.Prefix, defaultDHT().BucketSize)
	}
	return nil
}
