package core

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// outcomeOrder is which outcome of several tells most about a peer none of whose addresses works: the first one that is there.
var outcomeOrder = []string{"hung_up", "wrong_peer", "private_network", "handshake", "stuck", "limit", "relay_refused", "relay_no_reservation", "not_libp2p",
	"nobody_listens", "relay_unreachable", "no_answer", "no_route", "name_unknown", "transport_off", "transport_unknown", "gated", "other"}

// summaries say each verdict in a sentence about "it", the peer.
var summaries = map[string]string{
	"self":                 "That is this node itself.",
	"connected":            "It is connected.",
	"reachable":            "It can be reached.",
	"relay_only":           "It can be reached through a relay only.",
	"protocol_missing":     "It can be reached, but does not speak the protocol.",
	"no_address":           "No address of it is known.",
	"hung_up":              "It answers, and then closes the connection at once.",
	"wrong_peer":           "Somebody else answers at its address.",
	"private_network":      "The private networks do not fit together.",
	"handshake":            "Somebody answers, but the handshake fails.",
	"stuck":                "It accepts connections, and then says nothing.",
	"limit":                "This node's own limits are in the way.",
	"relay_refused":        "Its relay refuses the way to it.",
	"relay_no_reservation": "It holds no place with the relay that its address names.",
	"relay_unreachable":    "The relay that its address names cannot be reached.",
	"not_libp2p":           "Another program answers at its address.",
	"nobody_listens":       "The machine is there, but nobody listens at this port.",
	"no_answer":            "Nothing comes back from its address.",
	"no_route":             "There is no way from here to its address.",
	"name_unknown":         "DNS does not know the name in its address.",
	"transport_off":        "This node has the transport of its addresses switched off.",
	"transport_unknown":    "No transport knows addresses of this sort.",
	"gated":                "This node's own rules forbid it.",
	"other":                "It cannot be reached; the attempts say why.",
}

// advices are what can be done about a verdict.
var advices = map[string][]string{
	"protocol_missing":     {"see that the program over there serves the protocol, under this very name; known.protocols lists what it serves"},
	"no_address":           {"give an address that ends in /p2p/<peer id>, or a way to find one: the DHT, mDNS, rendezvous, or a peer that knows it"},
	"hung_up":              {"look there: its gating rules, its resource limits (connections, and those per IP address), or its connection manager refuse this node"},
	"wrong_peer":           {"the address is out of date, or the peer has a new key: ask for its present id, and keep its key in a file (identity.file)"},
	"private_network":      {"give both nodes the same key (private_network.file), or none"},
	"handshake":            {"see that both sides have a secure channel in common (security: tls, noise), and that nothing between them changes what they say"},
	"stuck":                {"look there: the program may hang or be overloaded; a proxy or a port forward may accept for a program that is gone"},
	"limit":                {"raise this node's limits (limits.preset, limits.connections, limits.file_descriptors), or close what is not needed; self.refused counts what they refused"},
	"relay_refused":        {"ask the relay's operator: its limits or its rules refuse this circuit; or have the peer use another relay"},
	"relay_no_reservation": {"the peer is offline, or lost its place: have it reserve again, or ask it for its present addresses"},
	"relay_unreachable":    {"explain the relay's own address, to see why"},
	"not_libp2p":           {"the port belongs to another program: compare it with what the peer's own address list says"},
	"nobody_listens":       {"see whether the program runs there and listens at this port and address; one that listens at 127.0.0.1 hears only its own machine"},
	"no_answer":            {"see whether the machine is on, and whether a firewall or NAT there drops what comes from outside: open or forward the port, or have the peer use a relay"},
	"no_route":             {"see whether this machine is in the network, and has the peer's kind of IP (v4 or v6) at all"},
	"name_unknown":         {"see whether the name is spelt right, and whether this machine's DNS knows it"},
	"transport_off":        {"switch the transport on (transports), or ask the peer for an address of another one"},
	"transport_unknown":    {"ask the peer for a TCP or QUIC address"},
	"gated":                {"take the rule out (gating), if it is not meant for this peer"},
	"relay_only":           {"that is enough for little data; for a direct way one of the two has to be reachable from outside, or hole punching has to succeed"},
}

// explain puts the verdict into words.
func (e *Explanation) explain() {
	e.Summary = summaries[e.Verdict]
	e.Advice = append(e.Advice, advices[e.Verdict]...)
	advise := func(when bool, format string, args ...any) {
		if when {
			e.Advice = append(e.Advice, fmt.Sprintf(format, args...))
		}
	}
	bad := !slices.Contains([]string{"self", "connected", "reachable"}, e.Verdict)
	failed := func(scope string, outcomes ...string) bool {
		return slices.ContainsFunc(e.Attempts, func(a ExplainedAttempt) bool { return a.Scope == scope && slices.Contains(outcomes, a.Outcome) })
	}
	silent := []string{"nobody_listens", "no_answer", "no_route"}
	advise(bad && failed("loopback", silent...), "an address in 127.0.0.0/8 is the machine it is used on; from another one it leads nowhere")
	advise(bad && failed("private", "no_answer", "no_route"), "a private address (10/8, 172.16/12, 192.168/16, ...) leads to the peer only from within its own network")
	advise(bad && len(e.Self.BlackHoles) > 0, "dials over %s failed so often here that they are left out for a while: perhaps this network lets none through",
		strings.Join(e.Self.BlackHoles, " and "))
	advise(bad && len(e.Self.Refused) > 0 && e.Verdict != "limit", "this node's resource limits have turned things away: see self.refused")
	advise(e.Verdict == "no_address" && e.Self.DHTPeers == 0, "this node's DHT is off, or knows nobody yet")
	advise(e.Verdict == "relay_only" && (e.Self.NATType.UDP == "endpoint_dependent" || e.Self.NATType.TCP == "endpoint_dependent"),
		"this node's NAT gives another port for each peer (symmetric), which cannot be punched: make this node or the peer reachable by a forwarded port")
	if n := len(e.HolePunches); n > 0 && e.Verdict == "relay_only" {
		advise(true, "hole punching was tried %d times: see hole_punches for the reasons", n)
	}
}

// text is the explanation for people.
func (e *Explanation) text() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("%s", e.Peer)
	line("%s [%s]", e.Summary, e.Verdict)
	if len(e.Attempts) > 0 {
		line("")
		line("Addresses tried:")
		for _, a := range e.Attempts {
			line("  %-20s %8.1f ms  %s (%s)", a.Outcome, a.Ms, a.Address, a.Source)
			line("  %-20s              %s", "", a.Words)
		}
	}
	if len(e.Advice) > 0 {
		line("")
		line("Advice:")
		for _, a := range e.Advice {
			line("  - %s", a)
		}
	}
	line("")
	line("What is known of it:")
	for _, c := range e.Known.Connections {
		line("  connected %s over %s, %s, %d streams", c.Direction, c.Transport, c.Address, c.Streams)
	}
	line("  program: %s; protocols: %d; addresses: %d", orNone(e.Known.Agent), len(e.Known.Protocols), len(e.Known.Addresses))
	for _, h := range e.HolePunches {
		words := h.Outcome
		if h.Reason != "" {
			words += ": " + h.Reason
		}
		line("  hole punch at %s, as %s, attempt %d, %.0f ms: %s", time.UnixMilli(h.AtMs).UTC().Format(time.RFC3339), h.Side, h.Attempt, h.DurationMs, words)
	}
	line("")
	line("This node, %s:", e.Self.ID)
	line("  transports: %s; private network: %t; connections: %d", orNone(strings.Join(e.Self.Transports, ", ")), e.Self.PrivateNetwork, e.Self.Connections)
	line("  reachability: %s; NAT: udp %s, tcp %s; relays: %s", e.Self.Reachability, e.Self.NATType.UDP, e.Self.NATType.TCP,
		orNone(strings.Join(e.Self.Relays, ", ")))
	for _, what := range sortedKeys(e.Self.Refused) {
		line("  refused by its limits: %d of %s", e.Self.Refused[what], what)
	}
	return b.String()
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

func sortedKeys(counts map[string]int64) []string {
	var keys []string
	for key := range counts {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
