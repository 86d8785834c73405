package core

// measureDHT adds the node's part in the DHT. What is stored is not counted here: that would read all of it at each look.
func (n *Node) measureDHT(m *Measurements) {
	peers := m.Gauge("libp2pgo_dht_peers", "Peers in the routing tables of the DHT.")
	serving := m.Gauge("libp2pgo_dht_serving", "1 while the node answers the queries of others.")
	providing := m.Gauge("libp2pgo_dht_providing", "Keys that the node keeps providing.")
	due := m.Gauge("libp2pgo_dht_provides_due", "Keys that wait to be provided.")
	late := m.Counter("libp2pgo_dht_verdicts_late_total", "Records that the default decided on, because no verdict came in time.")
	stored := m.Gauge("libp2pgo_dht_stored_bytes", "Bytes of records and providers that are stored, of the dht.max_bytes that may be.")
	full := m.Counter("libp2pgo_dht_refused_full_total", "Records and providers that were refused, because dht.max_bytes were stored.")
	d := n.dht
	if d == nil {
		return
	}
	for _, t := range d.tables {
		is := int64(0)
		if t.host.isServing() {
			is = 1
		}
		peers.Count(int64(t.dht.RoutingTable().Size()), "network", t.network)
		serving.Count(is, "network", t.network)
	}
	keys, waiting := d.providing()
	providing.Count(int64(keys))
	due.Count(int64(waiting))
	late.Count(d.asked.late.Load())
	stored.Count(d.store.all.bytes.Load())
	full.Count(d.store.all.refused.Load())
}

// measureRendezvous adds the node's part as a rendezvous point.
func (n *Node) measureRendezvous(m *Measurements) {
	registrations := m.Gauge("libp2pgo_rendezvous_registrations", "Registrations that this rendezvous point holds.")
	served := m.Counter("libp2pgo_rendezvous_served_total", "Requests that this rendezvous point answered.")
	refused := m.Counter("libp2pgo_rendezvous_refused_total", "Requests that this rendezvous point refused.")
	if info := n.RendezvousInfo(); info != nil {
		registrations.Count(int64(info.Registrations))
		served.Count(info.Served)
		refused.Count(info.Refused)
	}
}
