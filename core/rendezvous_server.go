package core

import (
	"io"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	signing "github.com/libp2p/go-libp2p/core/record"
)

// rendezvousServer is a rendezvous point.
type rendezvousServer struct {
	cfg     RendezvousConfig
	store   *rendezvousStore
	service *Service
	served  atomic.Int64 // requests answered
	refused atomic.Int64 // requests answered with an error
}

// rendezvousIdle is how long a peer may keep a stream open between two requests.
const rendezvousIdle = 30 * time.Second

// startRendezvous serves the rendezvous protocol, if the config says so.
func (n *Node) startRendezvous() error {
	if !n.cfg.Rendezvous.Server {
		return nil
	}
	c := n.cfg.Rendezvous
	r := &rendezvousServer{cfg: c, store: newRendezvousStore(c.MaxRegistrations, c.MaxPerPeer)}
	r.service = &Service{node: n, protocols: []string{rendezvousProtocol}}
	err := r.service.start(func(s network.Stream, open int64, ended func()) {
		defer ended()
		if open > int64(c.MaxStreams) {
			r.service.refused.Add(1)
			s.ResetWithError(network.StreamResourceLimitExceeded)
			return
		}
		r.service.accepted.Add(1)
		if err := r.serve(s); err != nil {
			logger.Debug("rendezvous", "peer", s.Conn().RemotePeer(), "err", err)
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
	from := s.Conn().RemotePeer()
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
		answer := r.answer(from, m)
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

func (r *rendezvousServer) answer(from peer.ID, m *rendezvousMessage) *rendezvousMessage {
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
		if a.registrations, a.cookie, ok = r.store.discover(m.namespace, m.cookie, int(limit), rendezvousMaxResponse/2); !ok {
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
	case len(m.record) > rendezvousMaxRecord:
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
	info, err := verifyPeerRecord(m.record)
	switch {
	case err != nil:
		return 0, rendezvousInvalidRecord, err.Error()
	case info.ID != from:
		return 0, rendezvousNotAuthorized, "the record is of another peer"
	case len(info.Addrs) == 0:
		return 0, rendezvousInvalidRecord, "without an address"
	}
	status, words = r.store.register(rendezvousKey{from, m.namespace}, append([]byte(nil), m.record...), time.Duration(ttl)*time.Second)
	return ttl, status, words
}

// seconds rounds up.
func seconds(ms int64) uint64 { return uint64((ms + 999) / 1000) }

// verifyPeerRecord reads a signed peer record, and fails unless it is signed by the peer that it is about.
func verifyPeerRecord(envelope []byte) (info peer.AddrInfo, err error) {
	defer Recovered("peer record", &err)
	signed, content, err := signing.ConsumeEnvelope(envelope, peer.PeerRecordEnvelopeDomain)
	if err != nil {
		return info, Errorf(ErrRejected, "signed peer record: %s", err)
	}
	r, ok := content.(*peer.PeerRecord)
	if !ok || !r.PeerID.MatchesPublicKey(signed.PublicKey) {
		return info, Errorf(ErrRejected, "signed peer record: not signed by its peer")
	}
	return peer.AddrInfo{ID: r.PeerID, Addrs: r.Addrs}, nil
}

// ownPeerRecord signs a record of the node's present addresses.
func (n *Node) ownPeerRecord() ([]byte, error) {
	key := n.host.Peerstore().PrivKey(n.ID())
	if key == nil {
		return nil, Errorf(ErrInternal, "the peerstore has no private key")
	}
	addresses := n.host.Addrs()
	if len(addresses) == 0 {
		return nil, Errorf(ErrState, "the node has no address to tell")
	}
	return signPeerRecord(key, peer.AddrInfo{ID: n.ID(), Addrs: addresses})
}

func signPeerRecord(key crypto.PrivKey, info peer.AddrInfo) ([]byte, error) {
	envelope, err := signing.Seal(peer.PeerRecordFromAddrInfo(info), key)
	if err != nil {
		return nil, Errorf(ErrInternal, "sign a peer record: %s", err)
	}
	return envelope.Marshal()
}

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
