package core

import (
	"errors"
	"slices"
	"strings"

	ma "github.com/multiformats/go-multiaddr"
)

// ListenMore binds addresses besides those of the config, all or none, and returns them as they are bound, with the ports that the system
// chose. It fails with ErrListen (which one, and why), ErrParse, ErrInvalid (no transport listens at such an address), or ErrState: its
// transport is off, or needs a certificate.
func (n *Node) ListenMore(given []string) ([]string, error) {
	if len(given) == 0 {
		return nil, Errorf(ErrInvalid, "no address is given")
	}
	on := n.cfg.transportsOn(n.isPrivate())
	addresses := make([]listenAddress, 0, len(given))
	for _, text := range given {
		l, err := parseListen(text, "")
		var problem *OptionError
		switch {
		case errors.As(err, &problem) && l.addr == nil:
			return nil, Errorf(ErrParse, "%s", problem.Problem)
		case errors.As(err, &problem):
			return nil, Errorf(ErrInvalid, "%s", problem.Problem)
		case !on[l.transport]:
			return nil, Errorf(ErrState, "%s: transports.%s is off, or cannot carry a private network", text, l.transport)
		case l.secure && n.cfg.WebSocket.CertFile == "":
			return nil, Errorf(ErrState, "%s needs websocket.cert_file and websocket.key_file", text)
		}
		addresses = append(addresses, l)
	}
	slices.SortStableFunc(addresses, func(a, b listenAddress) int { return listenOrder(a) - listenOrder(b) })

	n.listening.Lock()
	defer n.listening.Unlock()
	if n.ctx.Err() != nil {
		return nil, Errorf(ErrClosed, "the node is closed")
	}
	var bound []ma.Multiaddr
	for _, l := range addresses {
		before := n.host.Network().ListenAddresses()
		err := n.checkFreeBeside(l, before)
		if err == nil {
			func() {
				defer Recovered("listen at "+l.text, &err)
				err = n.host.Network().Listen(l.addr)
			}()
		}
		if err != nil {
			n.unbind(bound)
			if n.ctx.Err() != nil {
				return nil, Errorf(ErrClosed, "the node is closed")
			}
			return nil, Errorf(ErrListen, "%s: %s", l.text, bindReason(err))
		}
		for _, addr := range n.host.Network().ListenAddresses() {
			if !ma.Contains(before, addr) {
				bound = append(bound, addr)
			}
		}
	}
	return texts(bound), nil
}

// checkFreeBeside is checkFree for one address of a node that listens at others: transports over UDP share a port of the node, and those over
// TCP do if transports.share_tcp says so.
func (n *Node) checkFreeBeside(l listenAddress, present []ma.Multiaddr) error {
	network, hostPort, err := dialArgs(l.addr)
	if err != nil {
		return nil
	}
	if strings.HasPrefix(network, "udp") || n.cfg.Transports.ShareTCP {
		for _, addr := range present {
			if otherNetwork, other, err := dialArgs(addr); err == nil && otherNetwork == network && other == hostPort && !addr.Equal(l.addr) {
				return nil
			}
		}
	}
	return checkFree([]listenAddress{l})[l.text]
}

// Unlisten ends listening at addresses, as ListenMore or Info's Listening has them, all or none. Connections stay. A UDP port can remain
// bound for dialling for some seconds. It fails with ErrNotFound if the node does not listen at one of them.
func (n *Node) Unlisten(texts []string) error {
	if len(texts) == 0 {
		return Errorf(ErrInvalid, "no address is given")
	}
	n.listening.Lock()
	defer n.listening.Unlock()
	if n.ctx.Err() != nil {
		return Errorf(ErrClosed, "the node is closed")
	}
	present := n.host.Network().ListenAddresses()
	var going []ma.Multiaddr
	for _, text := range texts {
		addr, err := ma.NewMultiaddr(text)
		if err != nil {
			return Errorf(ErrParse, "malformed address %s: %s", quoteShort(text), err)
		}
		if _, _, err := dialArgs(addr); err != nil {
			return Errorf(ErrInvalid, "%s is no address that is bound", quoteShort(text))
		}
		at := slices.IndexFunc(present, func(p ma.Multiaddr) bool { return p.Equal(addr) || withoutHashes(p).Equal(addr) })
		if at < 0 {
			return Errorf(ErrNotFound, "the node does not listen at %s", text)
		}
		going = append(going, present[at])
	}
	n.unbind(going)
	return nil
}

func (n *Node) unbind(addresses []ma.Multiaddr) {
	closer, ok := n.host.Network().(interface{ ListenClose(...ma.Multiaddr) })
	if ok && len(addresses) > 0 {
		guarded("unlisten", func() { closer.ListenClose(addresses...) })
		n.nat.mappings.forget(addresses)
	}
}

// withoutHashes leaves out the certificate hashes that browsers' transports put behind their addresses, which change.
func withoutHashes(addr ma.Multiaddr) ma.Multiaddr {
	return slices.DeleteFunc(slices.Clone(addr), func(c ma.Component) bool { return c.Protocol().Code == ma.P_CERTHASH })
}
