package core

import "github.com/libp2p/go-libp2p/core/peer"

// explainNAT adds what the node knows of its place behind NATs.
func (n *Node) explainNAT(self *ExplainedSelf) {
	nat := n.NATInfo()
	self.Reachability, self.NATType = nat.Reachability, nat.NATType
	for _, r := range n.RelayInfo().Client.Reservations {
		if r.State == "held" {
			self.Relays = append(self.Relays, r.Relay)
		}
	}
}

// explainHolePunches returns the attempts at a direct connection with a peer that are remembered.
func (n *Node) explainHolePunches(id peer.ID) []HolePunchAttempt {
	if attempts := n.HolePunches(id); attempts != nil {
		return attempts
	}
	return []HolePunchAttempt{}
}
