package core

import (
	"cmp"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// startNumbers registers what every node counts. What a capability adds stands in its own file.
func (n *Node) startNumbers() {
	n.Measure("node", n.measureNode)
	n.Measure("connections", n.measureConnections)
	n.Measure("dials", n.numbers.dials.measure)
	n.Measure("bandwidth", n.measureBandwidth)
	n.Measure("limits", n.measureLimits)
	n.Measure("pubsub", n.measurePubsub)
	n.Measure("gating", n.measureGate)
	n.Measure("DHT", n.measureDHT)
	n.Measure("rendezvous", n.measureRendezvous)
	n.Measure("NAT and relays", n.measureNAT)
	n.Measure("runtime", measureRuntime)
	n.startBandwidth()
}

func (n *Node) measureNode(m *Measurements) {
	m.Gauge("libp2pgo_node_info", "1, with what the node says of itself.").Count(1, "peer", n.ID().String(), "agent", n.cfg.Identify.Agent)
	m.Gauge("libp2pgo_node_start_time_seconds", "When the node started, in Unix time.").Add(float64(n.since.UnixMilli()) / 1000)
	m.Gauge("libp2pgo_peers", "Connected peers.").Count(int64(len(n.host.Network().Peers())))
	m.Gauge("libp2pgo_known_peers", "Peers with a known address.").Count(int64(knownPeers(n.host.Peerstore(), n.ID())))
	m.Gauge("libp2pgo_kept_peers", "Peers that are connected again when lost.").Count(int64(n.keeper.count()))
	m.Gauge("libp2pgo_addresses", "Addresses at which the node can be dialled.").Count(int64(len(n.host.Addrs())))
	events := n.events.stats()
	m.Counter("libp2pgo_events_delivered_total", "Events of the node that were handed over.").Count(int64(events.Delivered))
	m.Counter("libp2pgo_events_dropped_total", "Events of the node that were lost because events.capacity was reached.").Count(int64(events.Dropped))
	m.Gauge("libp2pgo_events_waiting", "Events of the node that wait.").Count(int64(events.Waiting))
}

// measureConnections adds what is open now.
func (n *Node) measureConnections(m *Measurements) {
	type flows struct{ in, out int64 }
	conns := map[string]*flows{}
	streams := map[string]*flows{}
	count := func(counts map[string]*flows, key, direction string) {
		f := counts[key]
		if f == nil {
			f = &flows{}
			counts[key] = f
		}
		if direction == "inbound" {
			f.in++
		} else {
			f.out++
		}
	}
	limited := int64(0)
	for _, c := range n.host.Network().Conns() {
		stat := c.Stat()
		count(conns, transportName(c.RemoteMultiaddr()), directionName(stat.Direction))
		if stat.Limited {
			limited++
		}
		for _, s := range c.GetStreams() {
			name := string(s.Protocol())
			if name == "" {
				name = string(negotiation)
			}
			count(streams, name, directionName(s.Stat().Direction))
		}
	}
	f := m.Gauge("libp2pgo_connections", "Open connections; transport relay: through a relay.")
	for _, transport := range []string{"tcp", "quic", "websocket", "webtransport", "webrtc_direct", "relay", ""} {
		if c := conns[transport]; c != nil || transport != "" {
			if c == nil {
				c = &flows{}
			}
			f.Count(c.in, "transport", cmp.Or(transport, "other"), "direction", "inbound")
			f.Count(c.out, "transport", cmp.Or(transport, "other"), "direction", "outbound")
		}
	}
	m.Gauge("libp2pgo_connections_limited", "Open connections whose relay limits time and bytes.").Count(limited)
	f = m.Gauge("libp2pgo_streams", "Open streams by protocol, those of libp2p itself included; as many protocols as metrics.protocols says, the rest as (other).")
	names := make([]string, 0, len(streams))
	for name := range streams {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(streams[b].in+streams[b].out, streams[a].in+streams[a].out), cmp.Compare(a, b))
	})
	var rest flows
	for i, name := range names {
		if s := streams[name]; i < n.cfg.Metrics.Protocols {
			f.Count(s.in, "protocol", name, "direction", "inbound")
			f.Count(s.out, "protocol", name, "direction", "outbound")
		} else {
			rest.in, rest.out = rest.in+s.in, rest.out+s.out
		}
	}
	if rest != (flows{}) {
		f.Count(rest.in, "protocol", string(otherProtocols), "direction", "inbound")
		f.Count(rest.out, "protocol", string(otherProtocols), "direction", "outbound")
	}
}

// measureGate adds what the node's rules did.
func (n *Node) measureGate(m *Measurements) {
	info := n.Gate().(GateInfo)
	f := m.Gauge("libp2pgo_gate_rules", "Rules of the gate.")
	f.Count(int64(len(info.Allow)), "verdict", "allow")
	f.Count(int64(len(info.Block)), "verdict", "block")
	f = m.Counter("libp2pgo_gate_refused_total", "Dials and inbound connections that the gate refused.")
	f.Count(int64(info.DialsRefused), "what", "dial")
	f.Count(int64(info.ConnectionsRefused), "what", "connection")
}

// measureRuntime adds what belongs to the process and not to one node, under the names that Prometheus' own clients use.
func measureRuntime(m *Measurements) {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/total:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(samples)
	m.Gauge("go_info", "1, with the version of Go.").Count(1, "version", runtime.Version())
	m.Gauge("go_goroutines", "Goroutines of the process.").Count(int64(runtime.NumGoroutine()))
	m.Gauge("go_memstats_heap_alloc_bytes", "Bytes of objects on the Go heap of the process.").Add(float64(samples[0].Value.Uint64()))
	m.Gauge("go_memstats_sys_bytes", "Bytes that the Go runtime of the process has from the system.").Add(float64(samples[1].Value.Uint64()))
	m.Counter("go_gc_cycles_total", "Garbage collections of the process.").Add(float64(samples[2].Value.Uint64()))
	m.Counter("libp2pgo_process_panics_total", "Panics that were recovered in the process; each is a bug.").Count(Panics())
	delivered, dropped := LogCounts()
	m.Counter("libp2pgo_process_log_records_total", "Log records of the process that were handed over.").Count(int64(delivered))
	m.Counter("libp2pgo_process_log_dropped_total", "Log records of the process that were lost because nobody read them in time.").Count(int64(dropped))
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) == nil {
		seconds := time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
		m.Counter("process_cpu_seconds_total", "Processor time of the process.").Add(seconds)
	}
	if names, err := os.ReadDir("/proc/self/fd"); err == nil {
		m.Gauge("process_open_fds", "Open file descriptors of the process.").Count(int64(len(names) - 1))
	}
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		m.Gauge("process_max_fds", "File descriptors that the process may open.").Count(int64(min(limit.Cur, 1<<53)))
	}
	if resident, ok := residentBytes(); ok {
		m.Gauge("process_resident_memory_bytes", "Memory of the process.").Count(resident)
	}
}

func residentBytes() (int64, bool) {
	text, err := os.ReadFile("/proc/self/statm")
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 2 {
		return 0, false
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err == nil
}
