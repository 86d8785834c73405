package core

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// listenAddress is an address to listen at with the transport it needs.
type listenAddress struct {
	path      string // "listen[1]"; "" for one of the built-in list
	text      string
	addr      ma.Multiaddr
	transport string // name of an option in transports
	secure    bool   // WebSocket over TLS
}

// parseListen reads an address to listen at.
func parseListen(text, path string) (listenAddress, error) {
	l := listenAddress{path: path, text: text}
	addr, err := ma.NewMultiaddr(text)
	if err != nil {
		return l, &OptionError{path, fmt.Sprintf("malformed address %s: %s", quoteShort(text), oneLine(err.Error()))}
	}
	l.addr = addr
	var codes []int
	ma.ForEach(addr, func(c ma.Component) bool {
		codes = append(codes, c.Protocol().Code)
		return true
	})
	refused := func(why string) (listenAddress, error) {
		return l, &OptionError{path, fmt.Sprintf("%s cannot be listened at: %s", quoteShort(text), why)}
	}
	if len(codes) > 0 && codes[0] == ma.P_IP6ZONE {
		codes = codes[1:]
	}
	if len(codes) < 2 || codes[0] != ma.P_IP4 && codes[0] != ma.P_IP6 {
		return refused("it does not begin with an IP address and a port")
	}
	switch rest := codes[1:]; {
	case slices.Equal(rest, []int{ma.P_TCP}):
		l.transport = "tcp"
	case slices.Equal(rest, []int{ma.P_UDP, ma.P_QUIC_V1}):
		l.transport = "quic"
	case slices.Equal(rest, []int{ma.P_UDP, ma.P_QUIC_V1, ma.P_WEBTRANSPORT}):
		l.transport = "webtransport"
	case slices.Equal(rest, []int{ma.P_UDP, ma.P_WEBRTC_DIRECT}):
		l.transport = "webrtc_direct"
	case slices.Equal(rest, []int{ma.P_TCP, ma.P_WS}):
		l.transport = "websocket"
	case slices.Equal(rest, []int{ma.P_TCP, ma.P_WSS}), slices.Equal(rest, []int{ma.P_TCP, ma.P_TLS, ma.P_WS}),
		slices.Equal(rest, []int{ma.P_TCP, ma.P_TLS, ma.P_SNI, ma.P_WS}):
		l.transport, l.secure = "websocket", true
	case codes[len(codes)-1] == ma.P_P2P:
		return refused("leave /p2p/<peer id> out")
	default:
		return refused("no transport here listens at it; there are /tcp, /udp/../quic-v1, /udp/../quic-v1/webtransport, /udp/../webrtc-direct, /tcp/../ws, /tcp/../tls/ws")
	}
	return l, nil
}

// listenAddresses returns what c wants to listen at, or, for null, the built-in list with whichever transports are on.
func listenAddresses(c *Config, private bool) ([]listenAddress, error) {
	texts, builtIn := c.Listen, c.Listen == nil
	if builtIn {
		if c.Transports.TCP {
			texts = append(texts, "/ip4/0.0.0.0/tcp/0", "/ip6/::/tcp/0")
		}
		if c.Transports.QUIC && !private {
			texts = append(texts, "/ip4/0.0.0.0/udp/0/quic-v1", "/ip6/::/udp/0/quic-v1")
		}
	}
	list := make([]listenAddress, 0, len(texts))
	for i, text := range texts {
		l, err := parseListen(text, fmt.Sprintf("listen[%d]", i))
		if err != nil {
			return nil, err
		}
		if builtIn {
			l.path = ""
		}
		list = append(list, l)
	}
	return list, nil
}

// checkFree finds out whether the ports that addresses name are free, for go-libp2p listens with SO_REUSEPORT: a second node would start
// without an error and take a share of the first one's connections.
func checkFree(addresses []listenAddress) map[string]error {
	failed := map[string]error{}
	seen := map[string]error{}
	for _, l := range addresses {
		network, hostPort, err := dialArgs(l.addr)
		if err != nil || strings.HasSuffix(hostPort, ":0") {
			continue
		}
		key := network + " " + hostPort
		result, known := seen[key]
		if !known { // QUIC, WebTransport and WebRTC share one port
			result = tryBind(network, hostPort)
			seen[key] = result
		}
		if result != nil {
			failed[l.text] = result
		}
	}
	return failed
}

// dialArgs returns the part of addr that a socket is bound to.
func dialArgs(addr ma.Multiaddr) (network, hostPort string, err error) {
	end := 0
	ma.ForEach(addr, func(c ma.Component) bool {
		end++
		return c.Protocol().Code != ma.P_TCP && c.Protocol().Code != ma.P_UDP
	})
	return manet.DialArgs(addr[:end])
}

func tryBind(network, hostPort string) error {
	var socket interface{ Close() error }
	var err error
	if strings.HasPrefix(network, "udp") {
		socket, err = net.ListenPacket(network, hostPort)
	} else {
		socket, err = net.Listen(network, hostPort)
	}
	if err != nil {
		return err
	}
	return socket.Close()
}

// bindReason is what the system said, without the words around it.
func bindReason(err error) string {
	var call *os.SyscallError
	if errors.As(err, &call) {
		return call.Err.Error()
	}
	return oneLine(err.Error())
}
