package core

import (
	"bytes"
	"io"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// rendezvousServer is a rendezvous point.
type rendezvousServer struct {
	node    *Node
	cfg     RendezvousConfig
	store   *rendezvousStore
	service *Service
	served  atomic.Int64 // requests answered
	refused atomic.Int64 // requests answered with an error
}

// rendezvousIdle is how long a peer may keep a stream open between two requests.
const rendezvousIdle = 30 * time.Second

// rendezvousIdentify is how long an answer waits to learn what program asks.
const rendezvousIdentify = 2 * time.Second

// startRendezvous serves the rendezvous protocol, if the config says so.
func (n *Node) startRendezvous() error {
	if !n.cfg.Rendezvous.Server {
		return nil
	}
	c := n.cfg.Rendezvous
	r := &rendezvousServer{node: n, cfg: c, store: newRendezvousStore(c.MaxRegistrations, c.MaxPerPeer)}
	if c.Store != "" {
		disk, err := openRendezvousDisk(c.Store)
		if err == nil {
			err = n.onClose(nil, func() {
				r.store.detach() // some requests may still be at work
				disk.close()
			})
		}
		if err == nil {
			err = disk.load(r.store)
		}
		if err != nil {
			return err
		}
	}
	r.service = &Service{node: n, protocols: []string{rendezvousProtocol}}
	streams := places{most: c.MaxStreams}
	err := r.service.start(func(s network.Stream, _ int64, ended func()) {
		defer ended()
		from := s.Conn().RemotePeer()
		if !streams.take(from) {
			r.service.refused.Add(1)
			s.ResetWithError(network.StreamResourceLimitExceeded)
			return
		}
		defer streams.leave(from)
		r.service.accepted.Add(1)
		if err := r.serve(s); err != nil {
			logger.Debug("rendezvous", "peer", from, "err", err)
			s.Reset()
			return
		}
		s.Close()
	})
	if err != nil {
		return err
	}
	n.rendezvous = r
	return nil
}

// serve answers the requests of one stream until the peer closes it.
func (r *rendezvousServer) serve(s network.Stream) error {
	var frames frameReader
	for {
		if err := s.SetDeadline(time.Now().Add(rendezvousIdle)); err != nil {
			return err
		}
		request, err := frames.next(s, rendezvousMaxRequest)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		m, err := decodeRendezvous(request)
		if err != nil {
			return err
		}
		answer := r.answer(s, m)
		if answer == nil {
			continue // unregistering has no answer
		}
		r.served.Add(1)
		if answer.status != rendezvousOK {
			r.refused.Add(1)
		}
		body := answer.encode()
		if _, err := s.Write(append(frameHead(nil, len(body)), body...)); err != nil {
			return err
		}
	}
}

func (r *rendezvousServer) answer(s network.Stream, m *rendezvousMessage) *rendezvousMessage {
	from := s.Conn().RemotePeer()
	switch m.kind {
	case rendezvousRegister:
		a := &rendezvousMessage{kind: rendezvousRegisterResponse}
		a.ttl, a.status, a.words = r.register(from, m)
		return a
	case rendezvousUnregister:
		r.store.unregister(rendezvousKey{from, m.namespace})
		return nil
	case rendezvousDiscover:
		a := &rendezvousMessage{kind: rendezvousDiscoverResponse}
		if len(m.namespace) > r.cfg.MaxNamespace {
			a.status, a.words = rendezvousInvalidNamespace, "too long"
			return a
		}
		limit := uint64(r.cfg.MaxResults)
		if m.limit > 0 {
			limit = min(limit, m.limit)
		}
		var ok bool
		want := wantEither
		if !m.either {
			want = wanted(r.formFor(s))
		}
		if a.registrations, a.cookie, ok = r.store.discover(m.namespace, m.cookie, int(limit), rendezvousMaxResponse/2, want); !ok {
			a.status, a.words = rendezvousInvalidCookie, "not of this namespace, or from before a restart"
		}
		return a
	}
	return &rendezvousMessage{kind: rendezvousRegisterResponse, status: rendezvousInternalError, words: "not a request"}
}

func (r *rendezvousServer) register(from peer.ID, m *rendezvousMessage) (ttl, status uint64, words string) {
	switch {
	case m.namespace == "":
		return 0, rendezvousInvalidNamespace, "empty"
	case len(m.namespace) > r.cfg.MaxNamespace:
		return 0, rendezvousInvalidNamespace, "too long"
	case !utf8.ValidString(m.namespace):
		return 0, rendezvousInvalidNamespace, "not UTF-8"
	case len(m.record) > rendezvousMaxRecord || len(m.second) > rendezvousMaxRecord:
		return 0, rendezvousInvalidRecord, "too long"
	}
	least, most := seconds(r.cfg.TTLMinMs), seconds(r.cfg.TTLMaxMs)
	ttl = m.ttl
	if ttl == 0 {
		ttl = min(max(uint64(rendezvousTTL/time.Second), least), most)
	}
	if ttl < least || ttl > most {
		return 0, rendezvousInvalidTTL, ""
	}
	var records [2][]byte
	for i, record := range [][]byte{m.record, m.second} {
		if i == 1 && record == nil {
			continue
		}
		info, form, err := verifyPeerRecord(record)
		switch {
		case err != nil:
			return 0, rendezvousInvalidRecord, err.Error()
		case info.ID != from:
			return 0, rendezvousNotAuthorized, "the record is of another peer"
		case len(info.Addrs) == 0:
			return 0, rendezvousInvalidRecord, "without an address"
		}
		records[form] = bytes.Clone(record)
	}
	status, words = r.store.register(rendezvousKey{from, m.namespace}, records, time.Duration(ttl)*time.Second)
	return ttl, status, words
}

// formFor returns which form of records an asker reads.
func (r *rendezvousServer) formFor(s network.Stream) recordForm {
	from := s.Conn().RemotePeer()
	if r.store.registersDraft(from) || strings.HasPrefix(r.agent(s), "rust-libp2p") {
		return recordDraft
	}
	return recordStandard
}

// agent returns what the peer says its program is, which may be on its way still.
func (r *rendezvousServer) agent(s network.Stream) string {
	select {
	case <-r.node.identified(s.Conn()):
	case <-time.After(rendezvousIdentify):
	}
	name, err := r.node.host.Peerstore().Get(s.Conn().RemotePeer(), "AgentVersion")
	if text, ok := name.(string); err == nil && ok {
		return text
	}
	return ""
}

// seconds rounds up.
func seconds(ms int64) uint64 { return uint64((ms + 999) / 1000) }

// RendezvousInfo is the part of NodeInfo about the rendezvous point that the node is.
type RendezvousInfo struct {
	Registrations int   `json:"registrations"`
	Namespaces    int   `json:"namespaces"`
	Peers         int   `json:"peers"`
	Streams       int64 `json:"streams"`
	Served        int64 `json:"served"`
	Refused       int64 `json:"refused"`
}

// RendezvousInfo tells of the rendezvous point that the node is; nil if it is none.
func (n *Node) RendezvousInfo() *RendezvousInfo {
	r := n.rendezvous
	if r == nil {
		return nil
	}
	i := &RendezvousInfo{Streams: r.service.open.Load(), Served: r.served.Load(), Refused: r.refused.Load()}
	i.Registrations, i.Namespaces, i.Peers = r.store.counts()
	return i
}
