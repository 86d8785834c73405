package core

import (
	"crypto/tls"
	"fmt"
	"strings"
)

// checkValues finds what the types of the options do not say; ParseConfig and Set call it.
func (c *Config) checkValues() error {
	for i, text := range c.Listen {
		if _, err := parseListen(text, fmt.Sprintf("listen[%d]", i)); err != nil {
			return err
		}
	}
	if _, err := newAdvertised(c.Addresses); err != nil {
		return err
	}
	if err := c.Limits.checkExact(c.given); err != nil {
		return err
	}
	if _, err := newGate(c.Gating); err != nil {
		return err
	}
	for i, text := range c.Bootstrap.Peers {
		if _, _, err := parsePeerAddress(text); err != nil {
			return &OptionError{fmt.Sprintf("bootstrap.peers[%d]", i), err.Error()}
		} else if !strings.HasPrefix(text, "/") {
			return &OptionError{fmt.Sprintf("bootstrap.peers[%d]", i), quoteShort(text) + " is a peer id without an address"}
		}
	}
	if c.Security != nil && len(c.Security) == 0 || hasTwice(c.Security) {
		return &OptionError{"security", "name tls, noise, or both once"}
	}
	if err := c.Rendezvous.checkValues(); err != nil {
		return err
	}
	if len(c.Identify.Agent) > 512 {
		return &OptionError{"identify.agent", "longer than 512 bytes"}
	}
	if s := c.MDNS.Service; s == "" || len(s) > 64 || strings.ContainsAny(s, " \t\n") {
		return &OptionError{"mdns.service", quoteShort(s) + " is not a DNS-SD service name such as _p2p._udp"}
	}
	if err := c.Pubsub.checkValues(); err != nil {
		return err
	}
	if err := c.DHT.check(); err != nil {
		return err
	}
	return c.Relay.checkValues()
}

func hasTwice(texts []string) bool {
	for i, text := range texts {
		for _, other := range texts[:i] {
			if text == other {
				return true
			}
		}
	}
	return false
}

// checkConflicts finds options that do not go together; New calls it, as Set may pass through such a state.
func (c *Config) checkConflicts() error {
	if err := c.checkValues(); err != nil {
		return err
	}
	if err := c.Relay.checkConflicts(); err != nil {
		return err
	}
	conflict := func(path, format string, args ...any) error { return &OptionError{path, fmt.Sprintf(format, args...)} }
	private := c.PrivateNetwork.File != "" || c.networkKey != nil
	switch {
	case c.Relay.Client.FromDHT && c.DHT.Mode == "off":
		return conflict("relay.client.from_dht", "conflicts with dht.mode, which is off")
	case c.identityKey != nil && c.Identity.File != "":
		return conflict("identity.file", "conflicts with identity.key; give one of them")
	case c.networkKey != nil && c.PrivateNetwork.File != "":
		return conflict("private_network.file", "conflicts with private_network.key; give one of them")
	case c.Connections.High > 0 && c.Connections.Low > c.Connections.High:
		return conflict("connections.low", "%d is more than connections.high, %d", c.Connections.Low, c.Connections.High)
	case c.Keep.RetryMinMs > c.Keep.RetryMaxMs:
		return conflict("keep.retry_min_ms", "%d is more than keep.retry_max_ms, %d", c.Keep.RetryMinMs, c.Keep.RetryMaxMs)
	case c.Bootstrap.RetryMinMs > c.Bootstrap.RetryMaxMs:
		return conflict("bootstrap.retry_min_ms", "%d is more than bootstrap.retry_max_ms, %d", c.Bootstrap.RetryMinMs, c.Bootstrap.RetryMaxMs)
	case (c.WebSocket.CertFile == "") != (c.WebSocket.KeyFile == ""):
		return conflict("websocket.cert_file", "goes with websocket.key_file; give both or none")
	case c.MDNS.Enabled && c.Listen != nil && len(c.Listen) == 0:
		return conflict("mdns.enabled", "conflicts with listen, which is empty: there is nothing to announce")
	}
	if private && c.Transports.ShareTCP {
		return conflict("transports.share_tcp", "conflicts with private_network, whose connections look alike on all ports")
	}
	if err := c.Pubsub.checkConflicts(c.given); err != nil {
		return err
	}
	if err := c.Rendezvous.checkConflicts(); err != nil {
		return err
	}
	if private {
		with := "private_network.file"
		if c.networkKey != nil {
			with = "private_network.key"
		}
		on := c.transportsOn(false)
		for _, name := range []string{"quic", "webtransport", "webrtc_direct"} {
			if on[name] && c.given["transports."+name] {
				return conflict("transports."+name, "conflicts with %s: it cannot carry a private network", with)
			}
		}
		addresses, err := listenAddresses(c, private)
		if err != nil {
			return err
		}
		for _, l := range addresses {
			if l.transport != "tcp" && l.transport != "websocket" {
				return conflict(l.path, "%s conflicts with %s: only TCP and WebSocket can carry a private network", l.text, with)
			}
		}
	}
	if err := c.DHT.checkConflicts(); err != nil {
		return err
	}
	on := c.transportsOn(private)
	if len(on) == 0 {
		return conflict("transports", "all are off")
	}
	addresses, err := listenAddresses(c, private)
	if err != nil {
		return err
	}
	for _, l := range addresses {
		if !on[l.transport] {
			return conflict(l.path, "%s conflicts with transports.%s, which is off", l.text, l.transport)
		}
		if l.secure && c.WebSocket.CertFile == "" {
			return conflict(l.path, "%s needs websocket.cert_file and websocket.key_file", l.text)
		}
	}
	return nil
}

// transportsOn returns the names of the transports that the node has.
func (c *Config) transportsOn(private bool) map[string]bool {
	on := map[string]bool{}
	for name, is := range map[string]bool{
		"tcp": c.Transports.TCP, "websocket": c.Transports.WebSocket, "quic": c.Transports.QUIC && !private,
		"webtransport": c.Transports.WebTransport && !private, "webrtc_direct": c.Transports.WebRTCDirect && !private,
	} {
		if is {
			on[name] = true
		}
	}
	return on
}

// webSocketTLS loads the certificate of secure WebSocket listeners, nil if there is none.
func webSocketTLS(c *WebSocketConfig) (*tls.Config, error) {
	if c.CertFile == "" {
		return nil, nil
	}
	cert, err := readFile("websocket.cert_file", c.CertFile)
	if err != nil {
		return nil, err
	}
	// Servers' keys are commonly readable by a group made for that.
	key, err := readSecret("websocket.key_file", c.KeyFile, 0o007)
	if err != nil {
		return nil, fileError("websocket.key_file", c.KeyFile, err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, Errorf(ErrParse, "websocket.cert_file %q with websocket.key_file %q: %s", c.CertFile, c.KeyFile, err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}
