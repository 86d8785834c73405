package core

import (
	"encoding/hex"
	"strconv"

	"github.com/libp2p/go-libp2p/core/peer"
	signed "github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"
)

// Envelope is a payload that somebody signed for one purpose, the domain, and one type of content (libp2p/specs, RFC 0002).
type Envelope struct {
	Payload     []byte
	PayloadType []byte
	PublicKey   []byte // in protobuf form
	Peer        peer.ID
}

// EnvelopeInfo is an envelope without its payload.
type EnvelopeInfo struct {
	Peer        string `json:"peer"`
	PublicKey   string `json:"public_key"`   // hex
	PayloadType string `json:"payload_type"` // hex
}

// Info tells who signed and what.
func (e *Envelope) Info() *EnvelopeInfo {
	return &EnvelopeInfo{e.Peer.String(), hex.EncodeToString(e.PublicKey), hex.EncodeToString(e.PayloadType)}
}

// rawRecord carries bytes through upstream's envelopes, which want a type for each kind of content.
type rawRecord struct {
	domain               string
	payloadType, payload []byte
}

func (r *rawRecord) Domain() string                 { return r.domain }
func (r *rawRecord) Codec() []byte                  { return r.payloadType }
func (r *rawRecord) MarshalRecord() ([]byte, error) { return r.payload, nil }
func (r *rawRecord) UnmarshalRecord(b []byte) error { r.payload = b; return nil }

// SealEnvelope signs a payload. Neither domain nor payloadType may be empty.
func SealEnvelope(key []byte, domain string, payloadType, payload []byte) (envelope []byte, err error) {
	defer Recovered("seal an envelope", &err)
	private, err := parseKey(key)
	switch {
	case err != nil:
		return nil, err
	case domain == "":
		return nil, Errorf(ErrInvalid, "domain: an envelope needs one that is not empty")
	case len(payloadType) == 0:
		return nil, Errorf(ErrInvalid, "payload_type: an envelope needs one that is not empty")
	}
	sealed, err := signed.Seal(&rawRecord{domain, payloadType, payload}, private)
	if err != nil {
		return nil, Errorf(ErrInternal, "seal an envelope: %w", err)
	}
	return sealed.Marshal()
}

// OpenEnvelope checks the signature for the domain and returns what is inside. ErrSecurity: the signature is wrong, or was made for another
// domain.
func OpenEnvelope(data []byte, domain string) (envelope *Envelope, err error) {
	defer Recovered("open an envelope", &err)
	if domain == "" {
		return nil, Errorf(ErrInvalid, "domain: an envelope needs one that is not empty")
	}
	var content rawRecord
	content.domain = domain
	opened, err := signed.ConsumeTypedEnvelope(data, &content)
	if err != nil {
		if opened == nil {
			return nil, Errorf(ErrParse, "%d bytes are not a signed envelope", len(data))
		}
		return nil, Errorf(ErrSecurity, "the envelope's signature is wrong, or not for the domain %s", quoteShort(domain))
	}
	id, err := peerIDOf(opened.PublicKey)
	if err != nil {
		return nil, err
	}
	public, err := marshalPublicKey(opened.PublicKey)
	if err != nil {
		return nil, err
	}
	return &Envelope{Payload: content.payload, PayloadType: opened.PayloadType, PublicKey: public, Peer: id}, nil
}

// PeerRecord is what a peer says, signed, of its own addresses (libp2p/specs, RFC 0003). The one with the higher sequence number counts.
type PeerRecord struct {
	Peer      peer.ID
	Sequence  uint64
	Addresses []ma.Multiaddr
}

// PeerRecordInfo is a peer record as JSON has it. The sequence number is a text: it is commonly beyond what JSON readers keep exact.
type PeerRecordInfo struct {
	Peer      string   `json:"peer"`
	Sequence  string   `json:"sequence"`
	Addresses []string `json:"addresses"`
}

// Info tells what the record says.
func (r *PeerRecord) Info() *PeerRecordInfo {
	info := &PeerRecordInfo{r.Peer.String(), strconv.FormatUint(r.Sequence, 10), []string{}}
	for _, a := range r.Addresses {
		info.Addresses = append(info.Addresses, a.String())
	}
	return info
}

// SealPeerRecord makes a signed peer record of the key's holder. sequence 0 takes the time. Addresses may end in the own /p2p/<peer id>, which
// the record does not repeat.
func SealPeerRecord(key []byte, addresses []string, sequence uint64) (data []byte, err error) {
	defer Recovered("seal a peer record", &err)
	private, err := parseKey(key)
	if err != nil {
		return nil, err
	}
	id, err := peerIDOf(private.GetPublic())
	if err != nil {
		return nil, err
	}
	if sequence == 0 {
		sequence = peer.TimestampSeq()
	}
	r := &peer.PeerRecord{PeerID: id, Seq: sequence}
	for _, text := range addresses {
		address, err := ParseAddress(text)
		if err != nil {
			return nil, err
		}
		transport, owner := peer.SplitAddr(address)
		if owner != "" && owner != id {
			return nil, Errorf(ErrInvalid, "address %s is of another peer than %s, whose key signs", quoteShort(text), id)
		}
		if len(transport) == 0 {
			return nil, Errorf(ErrInvalid, "address %s names a peer but no place", quoteShort(text))
		}
		r.Addrs = append(r.Addrs, transport)
	}
	sealed, err := signed.Seal(r, private)
	if err != nil {
		return nil, Errorf(ErrInternal, "seal a peer record: %w", err)
	}
	return sealed.Marshal()
}

// OpenPeerRecord checks a signed peer record. ErrSecurity: the signature is wrong, or of another peer than the one the record speaks of. Addresses
// that this library cannot read are left out.
func OpenPeerRecord(data []byte) (found *PeerRecord, err error) {
	defer Recovered("open a peer record", &err)
	envelope, err := OpenEnvelope(data, peer.PeerRecordEnvelopeDomain)
	if err != nil {
		return nil, err
	}
	if string(envelope.PayloadType) != string(peer.PeerRecordEnvelopePayloadType) {
		return nil, Errorf(ErrParse, "the envelope holds no peer record: its payload type is %x", envelope.PayloadType[:min(16, len(envelope.PayloadType))])
	}
	var r peer.PeerRecord
	if err := r.UnmarshalRecord(envelope.Payload); err != nil {
		return nil, Errorf(ErrParse, "the envelope holds no peer record: %s", err)
	}
	if r.PeerID != envelope.Peer {
		return nil, Errorf(ErrSecurity, "the record of %s is signed by %s", r.PeerID, envelope.Peer)
	}
	found = &PeerRecord{Peer: r.PeerID, Sequence: r.Seq}
	for _, a := range r.Addrs {
		if isSound(a) {
			found.Addresses = append(found.Addresses, a)
		}
	}
	return found, nil
}
