package core

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/routing"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	lookAgainMin = 200 * time.Millisecond
	lookAgainMax = 10 * time.Second
	// maxNamed bounds the addresses of a peer that answers name, as the peerstore does.
	maxNamed = 64
)

// Bootstrap waits until the DHT's table has at least one peer, or peers of them if it is more, and has looked for this node's own neighbours. It
// returns the number of peers in the table. It fails with ErrPeers when ctx ends before.
func (d *DHT) Bootstrap(ctx context.Context, peers int) (int, error) {
	ctx, cancel := d.node.join(ctx)
	defer cancel()
	peers = max(peers, 1)
	ticker := time.NewTicker(20 * time.Millisecond) // upstream does not tell
	defer ticker.Stop()
	pause, again := lookAgainMin, time.Time{}
	for looked := 0; ; {
		size := d.tableSize()
		if size > 0 && (looked == 0 || size < peers && (size > looked || time.Now().After(again))) { // those in the table may know more by then
			looked = size
			if err := d.refresh(ctx, false); err != nil && ctx.Err() == nil {
				logger.Debug("DHT bootstrap", "err", err)
			}
			size = d.tableSize()
			again, pause = time.Now().Add(pause), min(2*pause, lookAgainMax)
		}
		if looked > 0 && size >= peers && ctx.Err() == nil {
			return size, nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			err := ctxError(ctx, "DHT bootstrap")
			if errors.Is(err, ErrTimeout) {
				return size, Errorf(ErrPeers, "DHT bootstrap: %d of %d peers in the table; it takes servers of %s that the node is connected to", size, peers, d.protocols())
			}
			return size, err
		}
	}
}

// Refresh looks for peers all over the table, and checks those in it that were silent for long. It returns the number of peers in the table.
func (d *DHT) Refresh(ctx context.Context) (int, error) {
	ctx, cancel := d.node.join(ctx)
	defer cancel()
	if err := d.lonely("DHT refresh"); err != nil {
		return 0, err
	}
	if err := d.refresh(ctx, true); err != nil {
		return d.tableSize(), err
	}
	return d.tableSize(), nil
}

func (d *DHT) refresh(ctx context.Context, force bool) error {
	var failed error
	for _, t := range d.active() {
		done := t.dht.RefreshRoutingTable
		if force {
			done = t.dht.ForceRefresh
		}
		select {
		case err := <-done():
			if err != nil {
				failed = dhtError(ctx, err, "DHT refresh")
			}
		case <-ctx.Done():
			return ctxError(ctx, "DHT refresh")
		}
	}
	return failed
}

// FindPeer asks the DHT for a peer's addresses. It fails with ErrNotFound.
func (d *DHT) FindPeer(ctx context.Context, id peer.ID) ([]ma.Multiaddr, error) {
	if id == d.node.ID() {
		return d.node.host.Addrs(), nil
	}
	ctx, cancel := d.node.join(ctx)
	defer cancel()
	d.node.awaitIdentified(ctx, id) // of a connected peer upstream takes what is known
	results := make(chan []ma.Multiaddr, len(d.tables))
	for _, t := range d.tables {
		safeGo("DHT find a peer", func() { results <- t.findPeer(ctx, id) })
	}
	var addresses []ma.Multiaddr
	add := func(found []ma.Multiaddr) {
		for _, a := range found {
			if isSound(a) && !slices.ContainsFunc(addresses, a.Equal) {
				addresses = append(addresses, a)
			}
		}
	}
	for range d.tables {
		select {
		case found := <-results:
			add(found)
		case <-ctx.Done(): // what the other table found is enough
		}
	}
	if d.node.isConnected(id) { // it may be since others were asked; what it says itself is best
		d.node.awaitIdentified(ctx, id)
		if said := d.node.host.Peerstore().Addrs(id); len(said) > 0 {
			addresses = nil
			add(said)
		}
	}
	ctx = d.node.orEnded(ctx)
	switch {
	case len(addresses) > 0:
		return addresses, nil
	case ctx.Err() != nil:
		return nil, ctxError(ctx, "find %s", id)
	case d.tableSize() == 0:
		return nil, Errorf(ErrNotFound, "%s: the DHT's table has no peer to ask", id)
	}
	return nil, Errorf(ErrNotFound, "%s: the DHT does not know the peer", id)
}

// findPeer asks the table's peers. Upstream's lookup is over when the three closest of them have answered, and what the others answer then is lost. Where
// the peers are few one of those may be the only one that knows id: a client is known to the servers it is connected to.
func (t *dhtTable) findPeer(ctx context.Context, id peer.ID) []ma.Multiaddr {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ctx, events := routing.RegisterForQueryEvents(ctx)
	answers := make(chan []ma.Multiaddr, 1)
	safeGo("DHT answers about a peer", func() {
		defer close(answers)
		var named []ma.Multiaddr
		tried := 0 // of named, and in vain, or upstream returns the peer; they come last, for the reason may be this node's own, as a pause after a failure
		for e := range events {
			if e.Type == routing.DialingPeer && e.ID == id {
				tried = len(named)
			}
			for _, info := range e.Responses {
				if info.ID != id {
					continue
				}
				for _, a := range info.Addrs {
					if len(named)-tried < maxNamed && !slices.ContainsFunc(named, a.Equal) {
						named = append(named, a)
					}
				}
			}
		}
		named = slices.Concat(named[tried:], named[:tried])
		answers <- named[:min(len(named), maxNamed)]
	})
	info, _ := t.dht.FindPeer(ctx, id)
	cancel() // ends the events
	if len(info.Addrs) > 0 {
		return info.Addrs
	}
	named := <-answers
	if t.network == "wan" {
		named = publicOnly(named)
	}
	return named
}

// ClosestPeers returns the peers closest to key, at most dht.bucket_size of each table: the key of a record or the name of a signed one, as for Get; or
// a CID, or a peer id.
func (d *DHT) ClosestPeers(ctx context.Context, key string) ([]peer.ID, error) {
	ctx, cancel := d.node.join(ctx)
	defer cancel()
	target, err := d.target(key)
	if err != nil {
		return nil, err
	}
	if err := d.lonely("closest peers of " + quoteShort(key)); err != nil {
		return nil, err
	}
	var all []peer.ID
	var failed error
	for _, t := range d.active() {
		peers, err := t.closest(ctx, target)
		if err != nil {
			failed = err
		}
		for _, id := range peers {
			if !slices.Contains(all, id) {
				all = append(all, id)
			}
		}
	}
	if len(all) == 0 && failed != nil {
		return nil, failed
	}
	return all, nil
}

// target is the place in the DHT that a text names.
func (d *DHT) target(text string) (string, error) {
	if strings.HasPrefix(text, "/") {
		return text, checkKey(text)
	}
	if id, err := ParsePeer(text); err == nil {
		return string(id), nil
	}
	if hash, err := parseHash(text); err == nil {
		return string(hash), nil
	}
	return d.parseKey(text)
}

// resolve finds addresses of a peer that is to be dialled; nil if the DHT is off or does not know it.
func (n *Node) resolve(ctx context.Context, id peer.ID) []ma.Multiaddr {
	if n.dht == nil || n.dht.tableSize() == 0 {
		return nil
	}
	addresses, err := n.dht.FindPeer(ctx, id)
	if err != nil {
		logger.Debug("resolve a peer", "peer", id, "err", err)
		return nil
	}
	return addresses
}

// dhtPeers returns peers of the DHT's table with their addresses, at most limit (0: all), those closest to this node first; none if the DHT is off.
func (n *Node) dhtPeers(limit int) []peer.AddrInfo {
	if n.dht == nil {
		return nil
	}
	var infos []peer.AddrInfo
	for _, t := range n.dht.tables {
		for _, p := range t.byDistance() {
			if limit > 0 && len(infos) == limit {
				return infos
			}
			if !slices.ContainsFunc(infos, func(i peer.AddrInfo) bool { return i.ID == p }) {
				infos = append(infos, n.host.Peerstore().PeerInfo(p))
			}
		}
	}
	return infos
}
