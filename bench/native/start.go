package main

import (
	"context"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
)

// measureStart tells what a first node costs: the same TCP and QUIC listeners and pubsub as a node of the library with its defaults.
func measureStart() error {
	start := time.Now()
	h, err := libp2p.New(libp2p.DisableRelay(), libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"))
	if err != nil {
		return err
	}
	defer h.Close()
	if _, err := pubsub.NewGossipSub(context.Background(), h); err != nil {
		return err
	}
	show(map[string]any{"first_node_ms": float64(time.Since(start).Microseconds()) / 1e3, "rss_mib": residentMiB()})
	return nil
}

func residentMiB() float64 {
	status, _ := os.ReadFile("/proc/self/status") // Linux only; elsewhere 0
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib / 1024
		}
	}
	return 0
}
