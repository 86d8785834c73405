package core

import "github.com/libp2p/go-libp2p/core/peer"

// explainNAT adds what the node knows of its place behind NATs.
func (n *Node) explainNAT(*ExplainedSelf) {}

// explainHolePunches returns the attempts at a direct connection with a peer that are remembered.
func (n *Node) explainHolePunches(peer.ID) []any { return []any{} }
