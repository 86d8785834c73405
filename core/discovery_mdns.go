package core

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/zeroconf/v2"
	ma "github.com/multiformats/go-multiaddr"
)

// mdnsSource finds on the local network, in the records of libp2p/specs, mdns, under a service name made of the topic, which itself is not
// told. Upstream's service cannot look without being seen, so this speaks to the layer below it.
type mdnsSource struct {
	node *Node

	mu     sync.Mutex
	server *zeroconf.Server // guarded by mu; nil: not announced
	told   []string         // guarded by mu; the records that it announces
}

const (
	mdnsRound   = 3 * time.Second // one look around
	mdnsRenew   = time.Minute     // how often the announced addresses are compared with those the node has
	mdnsDomain  = "local"
	mdnsPrefix  = "dnsaddr="
	mdnsRecords = 16 // addresses in one announcement, so that it fits a packet
)

func (*mdnsSource) kind() string { return "mdns" }
func (*mdnsSource) name() string { return "mdns" }

// mdnsService is the service name of a topic: at most 15 letters and digits, as DNS-SD has it.
func mdnsService(topic string) string {
	sum := sha256.Sum256([]byte("libp2pgo mdns\x00" + topic))
	return "_p" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:13]) + "._udp"
}

func (s *mdnsSource) advertise(_ context.Context, topic string, _ time.Duration) (ttl time.Duration, err error) {
	defer Recovered("mdns advertise", &err)
	records, ip, err := s.records()
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Equal(records, s.told) {
		return mdnsRenew, nil
	}
	s.stopLocked()
	instance := strings.ToLower(rand.Text())
	server, err := zeroconf.RegisterProxy(instance, mdnsService(topic), mdnsDomain, 4001, instance, []string{ip}, records, nil)
	if err != nil {
		return 0, Errorf(ErrSystem, "announce: %w", err)
	}
	s.server, s.told = server, records
	return mdnsRenew, nil
}

// records returns what is announced: the addresses that mean something on the local network.
func (s *mdnsSource) records() (records []string, ip string, err error) {
	addresses, err := s.node.host.Network().InterfaceListenAddresses()
	if err != nil {
		return nil, "", Errorf(ErrSystem, "own addresses: %w", err)
	}
	for _, a := range addresses {
		first, _ := ma.SplitFirst(a)
		if first == nil || first.Protocol().Code != ma.P_IP4 && first.Protocol().Code != ma.P_IP6 || len(records) == mdnsRecords {
			continue
		}
		if ip == "" {
			ip = first.Value()
		}
		records = append(records, mdnsPrefix+a.String()+"/p2p/"+s.node.ID().String())
	}
	if ip == "" {
		return nil, "", Errorf(ErrState, "the node listens at no IP address")
	}
	return records, ip, nil
}

// withdraw takes the announcement back, and says so on the network.
func (s *mdnsSource) withdraw(string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopLocked()
}

func (*mdnsSource) stale() <-chan struct{} { return nil }

func (s *mdnsSource) stopLocked() {
	if server := s.server; server != nil {
		guarded("mdns", server.Shutdown)
	}
	s.server, s.told = nil, nil
}

func (s *mdnsSource) find(ctx context.Context, topic string, _ []byte, found func(peer.AddrInfo)) ([]byte, error) {
	round, cancel := context.WithTimeout(ctx, mdnsRound)
	defer cancel()
	var turn sync.Mutex // held while found is called
	each := func(info peer.AddrInfo) {
		turn.Lock()
		defer turn.Unlock()
		found(info)
	}
	// Each for itself: a host may have only one of them, and then looking at both at once fails.
	six := make(chan error, 1)
	safeGo("mdns find", func() { six <- mdnsBrowse(round, topic, zeroconf.IPv6, each) })
	err := mdnsBrowse(round, topic, zeroconf.IPv4, each)
	if <-six == nil {
		err = nil
	}
	return nil, err
}

// mdnsBrowse looks around until round is over, at one kind of IP traffic.
func mdnsBrowse(round context.Context, topic string, traffic zeroconf.IPType, found func(peer.AddrInfo)) error {
	entries := make(chan *zeroconf.ServiceEntry, 64)
	ended := make(chan error, 1)
	safeGo("mdns browse", func() {
		var err error
		defer func() { ended <- err }()
		defer Recovered("mdns browse", &err)
		err = zeroconf.Browse(round, mdnsService(topic), mdnsDomain, entries, zeroconf.SelectIPTraffic(traffic))
	})
	for {
		select {
		case entry := <-entries:
			if entry == nil { // closed at the end of the round
				entries = nil
				continue
			}
			for _, info := range mdnsInfos(entry.Text) {
				found(info)
			}
		case err := <-ended:
			if err != nil && round.Err() == nil {
				return Errorf(ErrSystem, "look around: %w", err)
			}
			return nil
		}
	}
}

func mdnsInfos(records []string) []peer.AddrInfo {
	var addresses []ma.Multiaddr
	for _, text := range records {
		address, ok := strings.CutPrefix(text, mdnsPrefix)
		if !ok || len(addresses) == 2*mdnsRecords {
			continue
		}
		if a, err := ma.NewMultiaddr(address); err == nil {
			addresses = append(addresses, a)
		}
	}
	infos, err := peer.AddrInfosFromP2pAddrs(addresses...)
	if err != nil {
		return nil
	}
	return infos
}
