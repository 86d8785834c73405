package core

// Transports names the transports that this build has, as they stand in addresses.
func Transports() []string {
	return []string{"tcp", "quic-v1", "ws", "wss", "webtransport", "webrtc-direct"}
}
