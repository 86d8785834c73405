package core

// startBootstrap keeps the configured bootstrap peers connected; PeerFound tells of each when it answers first.
func (n *Node) startBootstrap() {
	byPeer := map[string][]string{}
	var order []string
	for _, text := range n.cfg.Bootstrap.Peers {
		id, _, err := parsePeerAddress(text)
		if err != nil || id == n.ID() { // one list serves all nodes of a network, the bootstrap nodes too
			continue
		}
		key := id.String()
		if byPeer[key] == nil {
			order = append(order, key)
		}
		byPeer[key] = append(byPeer[key], text)
	}
	for _, key := range order {
		id, addresses, err := parsePeerAddresses(byPeer[key])
		if err == nil {
			err = n.keep(id, addresses, "bootstrap", n.cfg.Bootstrap.RetryMinMs, n.cfg.Bootstrap.RetryMaxMs)
		}
		if err != nil {
			logger.Error("bootstrap", "peer", key, "err", err)
		}
	}
}
