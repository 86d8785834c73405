package core

import "slices"

// MeetOptions are the options of Meet.
type MeetOptions struct {
	Sources          []string `json:"sources" enum:"dht,rendezvous,mdns,peers" doc:"where to meet; null: every source that is on. peers: those who are connected already, by whatever means"`
	Points           []string `json:"points" doc:"rendezvous points in place of the configured ones"`
	Advertise        bool     `json:"advertise" doc:"let others find this node"`
	Find             bool     `json:"find" doc:"look for others"`
	Connect          bool     `json:"connect" doc:"connect to those who were found"`
	MaxPeers         int      `json:"max_peers" min:"1" max:"100000" doc:"found peers are dialled while fewer than so many are connected; others may still come by themselves"`
	TTLMs            int64    `json:"ttl_ms" min:"1000" max:"259200000" doc:"life of an advertisement where it is not renewed"`
	IntervalMs       int      `json:"interval_ms" min:"10" max:"86400000" doc:"longest pause between two looks at a source; the first ones are shorter"`
	RetryMinMs       int      `json:"retry_min_ms" min:"10" max:"86400000" doc:"first pause after a failure, of a source or of a peer; it doubles"`
	RetryMaxMs       int      `json:"retry_max_ms" min:"10" max:"86400000" doc:"longest pause after a failure"`
	RetryLimit       int      `json:"retry_limit" min:"0" max:"1000000" doc:"failed attempts after which a peer is forgotten until it is found again; 0: none"`
	ConnectTimeoutMs int      `json:"connect_timeout_ms" min:"1" max:"600000" doc:"longest time for one attempt to connect"`
}

// ParseMeetOptions reads MeetOptions from strict JSON; empty is the defaults.
func ParseMeetOptions(doc []byte) (MeetOptions, error) {
	o := MeetOptions{
		Advertise: true, Find: true, Connect: true, MaxPeers: 64, TTLMs: rendezvousTTL.Milliseconds(), IntervalMs: 60_000, RetryMinMs: 1000,
		RetryMaxMs: 60_000, RetryLimit: 8, ConnectTimeoutMs: 15_000,
	}
	err := parseOptions(doc, &o, "")
	if err == nil {
		err = checkSources(o.Sources, o.Points, o.RetryMinMs, o.RetryMaxMs)
	}
	if err == nil && !o.Find && !o.Advertise && o.Sources != nil && !slices.Contains(o.Sources, "peers") {
		err = &OptionError{"find", "conflicts with advertise: with both off there is nothing to do"}
	}
	return o, err
}
