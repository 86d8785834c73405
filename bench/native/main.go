// Program native is the control of the benchmark: the same exchanges as bench.c, bench.py and bench.mjs, written
// with plain go-libp2p and go-libp2p-pubsub as a Go programmer would, without this project's library.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"sort"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/multiformats/go-multiaddr"
)

// Names of the protocols that every contender speaks.
const (
	bulkProtocol    = "/bench/bulk/1.0.0"
	echoProtocol    = "/bench/echo/1.0.0"
	requestProtocol = "/bench/request/1.0.0"
	countProtocol   = "/bench/count/1.0.0"
	topicName       = "bench"
)

// options is the command line that all contenders share; see README.md.
type options struct {
	role      string
	scenario  string
	transport string
	security  string
	peer      string
	signing   string
	size      int
	bytes     int64
	count     int
	inflight  int
	seconds   float64
}

func main() {
	o, err := parse(os.Args[1:])
	if err == nil {
		err = run(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "native:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	if len(args) == 0 {
		return o, fmt.Errorf("usage: native listen|dial|local --scenario NAME [--KEY VALUE ...]")
	}
	o.role = args[0]
	flags := flag.NewFlagSet("native", flag.ContinueOnError)
	flags.StringVar(&o.scenario, "scenario", "bulk", "bulk, roundtrip, request, pubsub or start")
	flags.StringVar(&o.transport, "transport", "tcp", "tcp or quic")
	flags.StringVar(&o.security, "security", "tls", "tls or noise")
	flags.StringVar(&o.peer, "peer", "", "address of the listener")
	flags.StringVar(&o.signing, "signing", "sign", "sign or none")
	flags.IntVar(&o.size, "size", 64<<10, "bytes of a write or message")
	flags.Int64Var(&o.bytes, "bytes", 256<<20, "most bytes of a bulk transfer")
	flags.IntVar(&o.count, "count", 1000, "most round trips, requests or messages")
	flags.IntVar(&o.inflight, "inflight", 1, "requests at a time")
	flags.Float64Var(&o.seconds, "seconds", 5, "longest time of the measured part")
	return o, flags.Parse(args[1:])
}

func run(o options) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if o.role == "local" {
		return measureStart()
	}
	h, err := newHost(o)
	if err != nil {
		return err
	}
	defer h.Close()

	var messages *pubsubNode
	if o.scenario == "pubsub" {
		if messages, err = newPubsub(ctx, h, o); err != nil {
			return err
		}
	}
	switch o.role {
	case "listen":
		serve(h, messages)
		if messages != nil {
			if err := messages.receive(ctx); err != nil {
				return err
			}
		}
		show(map[string]any{"address": fmt.Sprintf("%s/p2p/%s", h.Addrs()[0], h.ID())})
		_, err = io.Copy(io.Discard, os.Stdin) // the runner closes it when the dialler is done
		return err
	case "dial":
		info, err := peer.AddrInfoFromString(o.peer)
		if err != nil {
			return err
		}
		if err := h.Connect(ctx, *info); err != nil {
			return err
		}
		result, err := dial(ctx, h, info.ID, messages, o)
		if err == nil {
			show(result)
		}
		return err
	}
	return fmt.Errorf("unknown role %q", o.role)
}

func newHost(o options) (host.Host, error) {
	var opts []libp2p.Option
	address := "/ip4/127.0.0.1/tcp/0"
	if o.transport == "quic" {
		address = "/ip4/127.0.0.1/udp/0/quic-v1"
		opts = append(opts, libp2p.Transport(quic.NewTransport))
	} else {
		opts = append(opts, libp2p.Transport(tcp.NewTCPTransport))
		if o.security == "noise" {
			opts = append(opts, libp2p.Security(noise.ID, noise.New))
		} else {
			opts = append(opts, libp2p.Security(libp2ptls.ID, libp2ptls.New))
		}
	}
	listen, err := multiaddr.NewMultiaddr(address)
	if err != nil {
		return nil, err
	}
	return libp2p.New(append(opts, libp2p.ListenAddrs(listen), libp2p.DisableRelay())...)
}

func dial(ctx context.Context, h host.Host, id peer.ID, messages *pubsubNode, o options) (map[string]any, error) {
	switch o.scenario {
	case "bulk":
		return bulk(ctx, h, id, o)
	case "roundtrip":
		return roundtrip(ctx, h, id, o)
	case "request":
		return request(ctx, h, id, o)
	case "pubsub":
		return messages.publish(ctx, h, id, o)
	}
	return nil, fmt.Errorf("unknown scenario %q", o.scenario)
}

func show(result map[string]any) {
	line, _ := json.Marshal(result) // numbers and texts only: cannot fail
	fmt.Println(string(line))
}

// percentiles tells the median and the 99th percentile in microseconds.
func percentiles(times []time.Duration) (p50, p99 float64) {
	if len(times) == 0 {
		return 0, 0
	}
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	at := func(q float64) float64 { return float64(times[int(q*float64(len(times)-1))].Nanoseconds()) / 1e3 }
	return at(0.5), at(0.99)
}
