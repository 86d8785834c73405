package core

import (
	"maps"
	"slices"
)

// measureNAT adds what the node knows of its place behind NATs, what became of holes, and its part with relays, as client and as one.
func (n *Node) measureNAT(m *Measurements) {
	nat := n.NATInfo()
	one := map[bool]int64{true: 1}
	f := m.Gauge("libp2pgo_reachability", "1 for what the node knows of whether others can dial it.")
	for _, state := range []string{"public", "private", "unknown"} {
		f.Count(one[state == nat.Reachability], "state", state)
	}
	f = m.Gauge("libp2pgo_nat_type", "1 for how the NAT before the node maps ports; with endpoint_dependent (symmetric) no hole can be punched.")
	for _, kind := range []string{"endpoint_independent", "endpoint_dependent", "unknown"} {
		f.Count(one[kind == nat.NATType.UDP], "protocol", "udp", "type", kind)
		f.Count(one[kind == nat.NATType.TCP], "protocol", "tcp", "type", kind)
	}
	m.Gauge("libp2pgo_port_mappings", "Ports that the router maps to the node.").Count(int64(len(nat.PortMap.Mappings)))
	f = m.Counter("libp2pgo_hole_punches_total", "Peers to which a direct connection was sought beside a relayed one.")
	f.Count(int64(nat.HolePunch.Succeeded), "result", "ok")
	f.Count(int64(nat.HolePunch.Failed), "result", "failed")

	relay := n.RelayInfo()
	held, lost := int64(0), int64(0)
	for _, r := range relay.Client.Reservations {
		if r.State == "held" {
			held++
		} else {
			lost++
		}
	}
	f = m.Gauge("libp2pgo_relay_reservations", "Places that the node holds with relays, or tries to get back.")
	f.Count(held, "state", "held")
	f.Count(lost, "state", "lost")
	s := relay.Service
	m.Gauge("libp2pgo_relay_service_running", "1 while the node is a relay for others.").Count(one[s.Running])
	m.Gauge("libp2pgo_relay_service_reservations", "Places that peers hold with this relay.").Count(int64(len(s.Reservations)))
	m.Gauge("libp2pgo_relay_service_circuits", "Connections that this relay carries.").Count(int64(s.Circuits))
	m.Counter("libp2pgo_relay_service_reservations_total", "Places that this relay gave.").Count(int64(s.Total.Reservations))
	m.Counter("libp2pgo_relay_service_renewals_total", "Places that this relay renewed.").Count(int64(s.Total.Renewals))
	m.Counter("libp2pgo_relay_service_circuits_total", "Connections that this relay carried.").Count(int64(s.Total.Circuits))
	m.Counter("libp2pgo_relay_service_bytes_total", "Bytes that this relay carried.").Count(int64(s.Total.Bytes))
	f = m.Counter("libp2pgo_relay_service_refused_total", "What this relay refused.")
	for _, reason := range slices.Sorted(maps.Keys(s.Refused)) {
		f.Count(int64(s.Refused[reason]), "reason", reason)
	}
}
