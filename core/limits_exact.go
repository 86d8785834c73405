package core

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
)

// Limits of single scopes come in go-libp2p's own form, PartialLimitConfig, so that what operators have can be taken over. Upstream reads it
// with encoding/json, which ignores what it does not know; here that is an error with its path.

var (
	exactScopes = []string{"System", "Transient", "AllowlistedSystem", "AllowlistedTransient", "ServiceDefault", "ServicePeerDefault",
		"ProtocolDefault", "ProtocolPeerDefault", "PeerDefault", "Conn", "Stream"}
	exactTables = []string{"Service", "ServicePeer", "Protocol", "ProtocolPeer", "Peer"}
	exactLimits = []string{"Streams", "StreamsInbound", "StreamsOutbound", "Conns", "ConnsInbound", "ConnsOutbound", "FD", "Memory"}
	exactWords  = []string{"unlimited", "blockAll", "default"}
)

// checkExact finds what is wrong with limits.exact, and options that say the same as it.
func (c *LimitsConfig) checkExact(given map[string]bool) error {
	if len(c.Exact) == 0 {
		return nil
	}
	parsed, err := parseJSON(c.Exact, "limits.exact")
	if err != nil {
		return err
	}
	object, ok := parsed.(*jsonObject)
	if !ok {
		return &OptionError{"limits.exact", "expected an object, got " + describeJSON(parsed)}
	}
	for _, scope := range object.members {
		at := joinPath("limits.exact", scope.key)
		switch {
		case slices.Contains(exactScopes, scope.key):
			if err := checkExactScope(scope.value, at); err != nil {
				return err
			}
		case slices.Contains(exactTables, scope.key):
			table, ok := scope.value.(*jsonObject)
			if !ok {
				return &OptionError{at, "expected an object of limits by name, got " + describeJSON(scope.value)}
			}
			for _, m := range table.members {
				path := joinPath(at, m.key)
				if scope.key == "Peer" {
					if _, err := ParsePeer(m.key); err != nil {
						return &OptionError{path, err.Error()}
					}
				}
				if err := checkExactScope(m.value, path); err != nil {
					return err
				}
			}
		default:
			return &OptionError{at, "unknown scope; there are " + strings.Join(append(slices.Clone(exactScopes), exactTables...), ", ")}
		}
	}
	for option, path := range map[string][]string{
		"connections": {"System", "Conns"}, "memory_bytes": {"System", "Memory"}, "file_descriptors": {"System", "FD"},
		"streams_per_peer": {"PeerDefault", "Streams"},
	} {
		if scope, ok := object.get(path[0]); ok && given["limits."+option] {
			if _, twice := scope.(*jsonObject).get(path[1]); twice {
				return &OptionError{"limits.exact." + strings.Join(path, "."), "conflicts with limits." + option}
			}
		}
	}
	return nil
}

func checkExactScope(value any, path string) error {
	object, ok := value.(*jsonObject)
	if !ok {
		return &OptionError{path, "expected an object of limits, got " + describeJSON(value)}
	}
	for _, m := range object.members {
		at := joinPath(path, m.key)
		if !slices.Contains(exactLimits, m.key) {
			return &OptionError{at, "unknown limit; there are " + strings.Join(exactLimits, ", ")}
		}
		switch v := m.value.(type) {
		case json.Number:
			if n, ok := wholeNumber(v); ok && n >= 0 && (m.key == "Memory" || n <= math.MaxInt32) {
				continue
			}
		case string:
			if slices.Contains(exactWords, v) {
				continue
			}
			if n, ok := wholeNumber(json.Number(v)); ok && n >= 0 && m.key == "Memory" { // as go-libp2p writes it
				continue
			}
		}
		return &OptionError{at, fmt.Sprintf("expected a whole number, 0 for none at all, or one of %s; got %s", strings.Join(exactWords, ", "), describeJSON(m.value))}
	}
	return nil
}

// applyExact puts limits.exact over limits.
func (c *LimitsConfig) applyExact(limits rcmgr.ConcreteLimitConfig) (rcmgr.ConcreteLimitConfig, error) {
	if len(c.Exact) == 0 {
		return limits, nil
	}
	var exact rcmgr.PartialLimitConfig
	if err := json.Unmarshal(c.Exact, &exact); err != nil {
		return limits, &OptionError{"limits.exact", oneLine(err.Error())}
	}
	return exact.Build(limits), nil
}
