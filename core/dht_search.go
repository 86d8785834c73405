package core

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multihash"
)

// DHTSearchOptions are the options of Search.
type DHTSearchOptions struct {
	Quorum    int  `json:"quorum" min:"0" max:"1000" doc:"answers that are enough; 0: all peers closest to the key are asked"`
	Raw       bool `json:"raw" doc:"signed records as they are, with their signature, instead of their values"`
	TimeoutMs int  `json:"timeout_ms" min:"1" max:"86400000" doc:"when the search ends at the latest"`
}

// ParseDHTSearchOptions reads DHTSearchOptions from strict JSON; empty is the defaults.
func ParseDHTSearchOptions(doc []byte) (DHTSearchOptions, error) {
	o := DHTSearchOptions{TimeoutMs: 60_000}
	return o, parseOptions(doc, &o, "")
}

// DHTProvidersOptions are the options of FindProviders.
type DHTProvidersOptions struct {
	Count     int `json:"count" min:"0" max:"1000000" doc:"providers that are enough; 0: all that are found"`
	TimeoutMs int `json:"timeout_ms" min:"1" max:"86400000" doc:"when the search ends at the latest"`
}

// ParseDHTProvidersOptions reads DHTProvidersOptions from strict JSON; empty is the defaults.
func ParseDHTProvidersOptions(doc []byte) (DHTProvidersOptions, error) {
	o := DHTProvidersOptions{TimeoutMs: 60_000}
	return o, parseOptions(doc, &o, "")
}

func init() {
	registerOptions("dht_search", "options for searching a value in the DHT", func() any { o, _ := ParseDHTSearchOptions(nil); return &o })
	registerOptions("dht_providers", "options for finding providers in the DHT", func() any { o, _ := ParseDHTProvidersOptions(nil); return &o })
}

// searchWaiting is how many results may wait for a slow reader; then the query waits.
const searchWaiting = 256

// SearchResult is what a search found: a value, or a provider.
type SearchResult struct {
	Key string // of a value

	Value     []byte
	Sequence  uint64 // of a signed record, else 0
	Withdrawn bool   // a signed record that its owner took back; Value is empty

	Provider  peer.ID
	Addresses []string // of the provider, each with /p2p/<peer id>; may be empty

	last bool // nothing follows
}

// Search is a running query. Its results go to the inbox as they come; Closed tells its end: nil after the whole query, ErrTimeout, or ErrPeers
// if there was nobody to ask.
type Search struct {
	kind   string
	key    string
	box    *mailbox[SearchResult]
	cancel context.CancelFunc
	unhook func()
	found  atomic.Int64
	since  time.Time
	done   chan struct{} // closed when the query has ended

	mu    sync.Mutex
	ended bool  // guarded by mu
	err   error // guarded by mu; why it ended
}

// Search asks for a key's values: each that is better than those before goes to the inbox. key is that of a record, "/<namespace>/...", or the name of
// a signed record: "<name>" of this node's, "<owner's peer id>/<name>" of another's.
func (d *DHT) Search(key string, o DHTSearchOptions, inbox Inbox[SearchResult]) (*Search, error) {
	key, err := d.parseKey(key)
	if err != nil {
		return nil, err
	}
	signed := d.recordRule(key)
	return d.startSearch("value", key, o.TimeoutMs, inbox, func(ctx context.Context, found func(SearchResult) bool) error {
		return d.search(ctx, key, o.Quorum, func(value []byte) bool {
			result := SearchResult{Key: key, Value: value}
			if signed {
				r, err := ParseSignedRecord(value)
				if err != nil {
					return true // not possible: it was validated
				}
				result.Sequence, result.Withdrawn = r.Sequence, r.Withdrawn
				if !o.Raw {
					result.Value = r.Value
				}
			}
			return found(result)
		})
	})
}

// FindProviders asks who provides key (see ProviderKey); each goes to the inbox once.
func (d *DHT) FindProviders(key string, o DHTProvidersOptions, inbox Inbox[SearchResult]) (*Search, error) {
	hash, err := ProviderKey(key)
	if err != nil {
		return nil, err
	}
	return d.startSearch("providers", key, o.TimeoutMs, inbox, func(ctx context.Context, found func(SearchResult) bool) error {
		return d.findProviders(ctx, hash, o.Count, func(info peer.AddrInfo) bool {
			result := SearchResult{Provider: info.ID}
			for _, a := range texts(info.Addrs) {
				result.Addresses = append(result.Addresses, a+"/p2p/"+info.ID.String())
			}
			return found(result)
		})
	})
}

func (d *DHT) findProviders(ctx context.Context, hash multihash.Multihash, count int, found func(peer.AddrInfo) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	infos := make(chan peer.AddrInfo)
	var wait sync.WaitGroup
	for _, t := range d.tables {
		results := t.dht.FindProvidersAsync(ctx, cid.NewCidV1(cid.Raw, hash), 0)
		wait.Add(1)
		safeGo("DHT search", func() {
			defer wait.Done()
			for info := range results {
				select {
				case infos <- info:
				case <-ctx.Done(): // the channel is closed soon
				}
			}
		})
	}
	safeGo("DHT search", func() {
		wait.Wait()
		close(infos)
	})
	told := map[peer.ID]bool{}
	bare := map[peer.ID]bool{} // no addresses came yet; those that come later are worth waiting for
	tell := func(info peer.AddrInfo) (more bool) {
		told[info.ID] = true
		return found(info) && (count == 0 || len(told) < count)
	}
	for info := range infos {
		if info.ID == d.node.ID() {
			info.Addrs = d.node.host.Addrs()
		} else if len(info.Addrs) == 0 {
			info.Addrs = d.node.host.Peerstore().Addrs(info.ID)
		}
		switch {
		case told[info.ID]:
		case len(info.Addrs) == 0:
			bare[info.ID] = true
		default:
			delete(bare, info.ID)
			if !tell(info) {
				cancel()
				for range infos { // until the queries have ended
				}
				return nil
			}
		}
	}
	for id := range bare {
		if !tell(peer.AddrInfo{ID: id, Addrs: d.node.host.Peerstore().Addrs(id)}) {
			return nil
		}
	}
	if ctx.Err() != nil {
		return ctxError(ctx, "providers")
	}
	return nil
}

func (d *DHT) startSearch(kind, key string, timeoutMs int, inbox Inbox[SearchResult],
	query func(context.Context, func(SearchResult) bool) error) (*Search, error) {
	n := d.node
	s := &Search{kind: kind, key: key, since: time.Now(), done: make(chan struct{})}
	deliver := inbox.Deliver
	inbox.Deliver = func(r SearchResult) {
		if r.last {
			s.box.close(s.reason())
			return
		}
		if deliver != nil {
			deliver(r)
		}
	}
	ctx, cancel := context.WithTimeout(n.ctx, time.Duration(timeoutMs)*time.Millisecond)
	s.cancel = cancel
	s.box = newMailbox("DHT search", inbox, Block, searchWaiting, 0, nil)
	if err := n.onClose(&s.unhook, s.Close); err != nil {
		cancel()
		s.box.close(err)
		return nil, err
	}
	if !n.spawn("DHT search", func() {
		defer close(s.done)
		err := query(ctx, func(r SearchResult) bool {
			s.found.Add(1)
			return s.box.put(ctx, r, 0) == nil
		})
		if err == nil && s.found.Load() == 0 {
			err = d.lonely(kind + " of " + quoteShort(key))
		}
		s.finish(err)
		s.box.put(n.ctx, SearchResult{last: true}, 0)
	}) {
		close(s.done)
		s.Close()
		return nil, Errorf(ErrClosed, "the node is closed")
	}
	return s, nil
}

func (s *Search) finish(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended, s.err = true, err
	}
}

func (s *Search) reason() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close ends the search.
func (s *Search) Close() {
	s.unhook()
	s.finish(nil)
	s.cancel()
	s.box.close(nil)
	<-s.done
}

// SearchInfo is what Info returns; docs/info.md explains the keys.
type SearchInfo struct {
	Kind      string `json:"kind"`
	Search    string `json:"search"`
	Key       string `json:"key"`
	Found     int64  `json:"found"`
	Running   bool   `json:"running"`
	RunningMs int64  `json:"running_ms"`
}

// Info returns a SearchInfo.
func (s *Search) Info() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return SearchInfo{"search", s.kind, s.key, s.found.Load(), !s.ended, time.Since(s.since).Milliseconds()}
}
