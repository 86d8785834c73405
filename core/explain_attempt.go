package core

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/multiformats/go-multistream"
)

// tryAddress dials one address by itself, past the swarm, which would go on to others, remember failures, and keep the connection.
func (n *Node) tryAddress(ctx context.Context, s *swarm.Swarm, id peer.ID, addr ma.Multiaddr, limit time.Duration) (outcome, words string) {
	if !n.gate.InterceptPeerDial(id) || !n.gate.InterceptAddrDial(id, addr) {
		return "gated", "not dialled: " + n.gate.why(id, addr)
	}
	dialler := s.TransportForDialing(addr)
	if dialler == nil {
		return n.noTransport(addr)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, err := dialler.Dial(ctx, addr, id)
	if err == nil {
		defer conn.Close()
		return aliveOutcome(ctx, conn)
	}
	if !isDirect(addr) {
		return relayOutcome(addr, err)
	}
	return n.directOutcome(ctx, id, addr, err)
}

// borrowed counts who explains by a relay that was not connected before.
type borrowed struct {
	mu sync.Mutex
	by map[peer.ID]int // guarded by mu
}

// borrowRelays notes the relays that trying connects to. What it returns closes those connections, unless somebody has taken to them meanwhile.
func (n *Node) borrowRelays(attempts []ExplainedAttempt) (giveBack func()) {
	b := &n.borrowed
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.by == nil {
		b.by = map[peer.ID]int{}
	}
	var mine []peer.ID
	for _, a := range attempts {
		if isDirect(a.addr) {
			continue
		}
		id, err := peer.Decode(relayOf(a.addr))
		if err == nil && !slices.Contains(mine, id) && (b.by[id] > 0 || !n.isConnected(id)) {
			b.by[id]++
			mine = append(mine, id)
		}
	}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, id := range mine {
			if b.by[id]--; b.by[id] > 0 {
				continue
			}
			delete(b.by, id)
			if n.host.ConnManager().IsProtected(id, "") || len(n.relays.with(id)) > 0 {
				continue
			}
			for _, c := range n.host.Network().ConnsToPeer(id) {
				if !isInbound(c) && !slices.ContainsFunc(c.GetStreams(), func(s network.Stream) bool { return s.Protocol() == proto.ProtoIDv2Hop }) {
					c.Close()
				}
			}
		}
	}
}

// noTransport says why there is nothing to dial an address with.
func (n *Node) noTransport(addr ma.Multiaddr) (outcome, words string) {
	name := transportName(addr)
	switch {
	case name == "relay":
		return "transport_off", "relay.client.enabled is off in this node"
	case name == "":
		return "transport_unknown", "this library has no transport for such addresses"
	case n.isPrivate() && name != "tcp" && name != "websocket":
		return "transport_off", "a private network, in which this node is, carries only TCP and WebSocket"
	case !n.cfg.transportsOn(n.isPrivate())[name]:
		return "transport_off", "transports." + name + " is off in this node"
	}
	return "transport_unknown", "this library has no transport for such addresses"
}

// greeting is what a listener of libp2p says first, and the asker answers, when they speak in the clear.
const greeting = "\x13/multistream/1.0.0\n"

// aliveOutcome tells whether the peer stays: one whose rules or limits refuse us closes a connection that was made already.
func aliveOutcome(ctx context.Context, conn transport.CapableConn) (outcome, words string) {
	begun := time.Now()
	s, err := conn.OpenStream(ctx)
	if err == nil {
		defer s.Reset()
		s.SetDeadline(time.Now().Add(2 * time.Second))
		if _, err = s.Write([]byte(greeting)); err == nil {
			var first [1]byte
			_, err = s.Read(first[:])
		}
	}
	if err == nil {
		return "ok", fmt.Sprintf("answers, in %.1f ms", float64(time.Since(begun).Microseconds())/1000)
	}
	if isTimeout(err) && !conn.IsClosed() {
		return "stuck", "proved that it is the peer, and then said nothing"
	}
	return "hung_up", "proved that it is the peer, and closed the connection at once"
}

// askProtocol dials an address as tryAddress does, and asks for a protocol.
func (n *Node) askProtocol(ctx context.Context, id peer.ID, addr ma.Multiaddr, name string, limit time.Duration) (speaks, answered bool) {
	s, ok := n.host.Network().(*swarm.Swarm)
	if !ok {
		return false, false
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, err := s.TransportForDialing(addr).Dial(ctx, addr, id)
	if err != nil {
		return false, false
	}
	defer conn.Close()
	stream, err := conn.OpenStream(ctx)
	if err != nil {
		return false, false
	}
	defer stream.Reset()
	defer context.AfterFunc(ctx, func() { stream.Reset() })()
	err = multistream.SelectProtoOrFail(protocol.ID(name), stream)
	var missing multistream.ErrNotSupported[protocol.ID]
	return err == nil, err == nil || errors.As(err, &missing)
}

// relayOutcome sorts out why a relayed address failed.
func relayOutcome(addr ma.Multiaddr, err error) (outcome, words string) {
	text := err.Error()
	relay := relayOf(addr)
	switch {
	case strings.Contains(text, "NO_RESERVATION"):
		return "relay_no_reservation", "the relay " + relay + " answers, but the peer holds no place with it"
	case strings.Contains(text, "error opening relay circuit"):
		_, status, _ := strings.Cut(text, "error opening relay circuit: ")
		return "relay_refused", "the relay " + relay + " refused: " + status
	case strings.Contains(text, "error opening hop stream to relay"):
		return "relay_unreachable", "the relay " + relay + " itself cannot be reached: " + oneLine(text)
	case isTimeout(err):
		return "no_answer", "no answer in time through the relay " + relay
	}
	return "other", oneLine(text)
}

// directOutcome sorts out why a direct address failed, with a look of its own where the error leaves it open.
func (n *Node) directOutcome(ctx context.Context, id peer.ID, addr ma.Multiaddr, err error) (outcome, words string) {
	switch dialFailure(err) {
	case "refused":
		return "nobody_listens", "the machine is there, but nobody listens at this port"
	case "wrong_peer":
		return "wrong_peer", "somebody else answers there: " + oneLine(dialReason(err).Error())
	case "limit":
		return "limit", "this node's own resource limits: " + oneLine(err.Error())
	case "files":
		return "limit", "this process has no file descriptor left: " + oneLine(err.Error())
	case "unreachable":
		return "no_route", "there is no way from here: " + oneLine(dialReason(err).Error())
	case "timeout", "handshake":
		if !overTCP(addr) {
			break
		}
		looked, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTime)
		defer cancel()
		stop := context.AfterFunc(n.ctx, cancel)
		defer stop()
		return n.probedOutcome(looked, addr, err, isTimeout(err) || strings.Contains(err.Error(), "deadline exceeded"))
	}
	if isTimeout(err) {
		return "no_answer", "nothing came back in time; over UDP that is also what a machine looks like on which nobody listens"
	}
	if isHandshake(err) {
		return "handshake", "answers, but the handshake failed: " + oneLine(err.Error())
	}
	if strings.Contains(err.Error(), "no such host") {
		return "name_unknown", "its name is unknown: " + oneLine(err.Error())
	}
	return "other", oneLine(err.Error())
}

func overTCP(addr ma.Multiaddr) bool {
	_, err := addr.ValueForProtocol(ma.P_TCP)
	return err == nil
}

// probeTime bounds the plain look at a TCP port, and probeListen how long it listens for what the other side says by itself.
const (
	probeTime   = 3 * time.Second
	probeListen = 1500 * time.Millisecond
)

// probedOutcome connects once more without libp2p: who accepts and what is said first tells apart who hangs, who is in another private network, and
// who is no libp2p at all.
func (n *Node) probedOutcome(ctx context.Context, addr ma.Multiaddr, failure error, hangs bool) (outcome, words string) {
	raw := withoutTransport(addr)
	var dialer manet.Dialer
	conn, err := dialer.DialContext(ctx, raw)
	if err != nil {
		if dialFailure(err) == "refused" {
			return "nobody_listens", "the machine is there, but nobody listens at this port"
		}
		return "no_answer", "nothing came back in time: the machine is off, or something on the way drops what is sent to it"
	}
	defer conn.Close()
	said := listenTo(conn)
	reason := oneLine(failure.Error())
	web := transportName(addr) == "websocket"
	switch {
	case said == greeting || strings.HasPrefix(said, greeting):
		if n.isPrivate() {
			return "private_network", "the peer is in no private network, and this node is in one"
		}
		if hangs {
			return "stuck", "it greets as libp2p does, and then does not finish the handshake"
		}
		return "handshake", "it greets as libp2p does, but the handshake failed: " + reason
	case isPrintable(said):
		return "not_libp2p", "another program answers there; it says " + quoteShort(said)
	case len(said) >= 24: // a nonce, and a greeting that is encrypted
		if n.isPrivate() {
			return "private_network", "what it says is encrypted with another key: it is in another private network than this node"
		}
		return "private_network", "what it says is encrypted: it is in a private network, and this node is not"
	case n.isPrivate() && !web && !hangs:
		return "private_network", "it accepts connections and ends them when it hears this node: probably it is in no private network, or in another one"
	case hangs:
		return "stuck", "it accepts connections, and then says nothing: the program hangs, is overloaded, or waits for another protocol"
	}
	return "handshake", "it accepts connections, but the handshake failed: " + reason
}

// listenTo returns what the other side says by itself, at most 256 bytes.
func listenTo(conn net.Conn) string {
	conn.SetReadDeadline(time.Now().Add(probeListen))
	buffer := make([]byte, 256)
	have := 0
	for have < len(buffer) {
		n, err := conn.Read(buffer[have:])
		have += n
		if err != nil || strings.HasPrefix(string(buffer[:have]), greeting) || have >= 24 {
			break
		}
	}
	return string(buffer[:have])
}

func isPrintable(text string) bool {
	if text == "" {
		return false
	}
	for _, c := range []byte(text) {
		if (c < ' ' || c > '~') && c != '\r' && c != '\n' && c != '\t' {
			return false
		}
	}
	return true
}

// withoutTransport cuts an address off behind its port.
func withoutTransport(addr ma.Multiaddr) (raw ma.Multiaddr) {
	for _, c := range addr {
		raw = append(raw, c)
		if c.Code() == ma.P_TCP || c.Code() == ma.P_UDP {
			break
		}
	}
	return raw
}
