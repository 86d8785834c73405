//go:build !race

// The race detector has room for 8128 goroutines, which are 150 nodes.

package core

import (
	"context"
	"fmt"
	"math/rand"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/marcopolo/simnet"
	"github.com/quic-go/quic-go"
	"go.uber.org/fx"
)

// SIMULATED_NODES (300) and SIMULATED_MESSAGES (100) set other numbers.
// In the simulation there is one network, of which every node has an address, and time passes when nobody has anything to do.

// numberOr returns a number from the environment.
func numberOr(t *testing.T, name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// simulate has nodes that start from now on stand on a network where a packet takes as long as latency says.
func simulate(t *testing.T, latency func(*simnet.Packet) time.Duration) {
	network := &simnet.Simnet{LatencyFunc: latency}
	link := simnet.NodeBiDiLinkSettings{
		Downlink: simnet.LinkSettings{BitsPerSecond: 50_000_000}, Uplink: simnet.LinkSettings{BitsPerSecond: 50_000_000},
	}
	network.Start()
	underlay = func() []libp2p.Option {
		return []libp2p.Option{simulatedQUIC(network, link), libp2p.DisableIdentifyAddressDiscovery()} // which polls, and has the time stand still
	}
	outside := idle
	idle = make(chan func()) // goroutines that wait for work are idle in here too
	t.Cleanup(func() {
		idle = outside
		underlay = nil
		network.Close()
	})
}

// simulatedQUIC is a QUIC transport whose sockets are on network.
func simulatedQUIC(network *simnet.Simnet, link simnet.NodeBiDiLinkSettings) libp2p.Option {
	own := &ownAddress{}
	return libp2p.QUICReuse(func(l fx.Lifecycle, reset quic.StatelessResetKey, token quic.TokenGeneratorKey) (*quicreuse.ConnManager, error) {
		manager, err := quicreuse.NewConnManager(reset, token,
			quicreuse.OverrideSourceIPSelector(func() (quicreuse.SourceIPSelector, error) { return own, nil }),
			quicreuse.OverrideListenUDP(func(_ string, address *net.UDPAddr) (net.PacketConn, error) {
				own.ip = address.IP
				return network.NewEndpoint(&net.UDPAddr{IP: address.IP, Port: 4001}, link), nil
			}))
		if err == nil {
			l.Append(fx.StopHook(manager.Close))
		}
		return manager, err
	})
}

// ownAddress is the address that a node listens at; it dials from there.
type ownAddress struct{ ip net.IP }

func (o *ownAddress) PreferredSourceIPForDestination(*net.UDPAddr) (net.IP, error) { return o.ip, nil }

// heardBy counts what a node hears, by message.
type heardBy struct {
	mu    sync.Mutex
	times map[string]int // guarded by mu
	all   atomic.Int64
}

func TestSimulatedGossipReachesEveryNodeOnce(t *testing.T) {
	nodes, messages, neighbours := numberOr(t, "SIMULATED_NODES", 300), numberOr(t, "SIMULATED_MESSAGES", 100), 5
	options, err := ParseSubscribeOptions(nil)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * idleTime) // goroutines of earlier tests
	begun := time.Now()
	var lasted time.Duration
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Second) // when the nodes are closed, all goroutines end
		chance := rand.New(rand.NewSource(1))
		var mu sync.Mutex
		simulate(t, func(*simnet.Packet) time.Duration {
			mu.Lock()
			defer mu.Unlock()
			return time.Duration(20+chance.Intn(80)) * time.Millisecond
		})
		began := time.Now()
		list := make([]*Node, nodes)
		topics := make([]*Topic, nodes)
		heard := make([]*heardBy, nodes)
		for i := range list {
			c := DefaultConfig()
			c.Listen = []string{fmt.Sprintf("/ip4/%s/udp/0/quic-v1", simnet.IntToPublicIPv4(i))}
			c.Limits.Preset = "unlimited"
			n, err := New(t.Context(), c, Inbox[Event]{})
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			h := &heardBy{times: map[string]int{}}
			topic, err := n.Join("sim", TopicOptions{}, Inbox[TopicEvent]{})
			if err == nil {
				_, err = topic.Subscribe(options, Inbox[*Message]{Deliver: func(m *Message) {
					h.mu.Lock()
					defer h.mu.Unlock()
					h.times[string(m.Data)]++
					h.all.Add(1)
				}})
			}
			if err != nil {
				t.Fatal(err)
			}
			list[i], topics[i], heard[i] = n, topic, h
		}
		for i, n := range list {
			for _, j := range append([]int{(i + 1) % nodes}, chance.Perm(nodes)[:neighbours-1]...) {
				if i == j {
					continue
				}
				if _, err := n.Connect(t.Context(), list[j].Addresses()); err != nil {
					t.Fatal(err)
				}
			}
		}
		time.Sleep(5 * time.Second) // heartbeats
		for i := range messages {
			if _, err := topics[i*7%nodes].Publish(context.Background(), fmt.Appendf(nil, "message %d", i), 0); err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		lasted = time.Since(began)
		for i, h := range heard {
			if len(h.times) != messages || h.all.Load() != int64(messages) {
				t.Errorf("node %d heard %d messages, %d different ones, of %d", i, h.all.Load(), len(h.times), messages)
			}
		}
	})
	t.Logf("%d nodes heard %d messages once: %v of their time in %v of ours", nodes, messages, lasted.Round(time.Second), time.Since(begun).Round(time.Second))
}
