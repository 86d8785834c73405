package core

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// The messages of libp2p/specs, rendezvous, each framed with an unsigned varint length. A Message has its type in field 1 and a body for it in
// field 2 + type.
const rendezvousProtocol = "/rendezvous/1.0.0"

// fieldOfOurs is a field that we add to a registration and to a question, for points of ours; others pass over it.
const fieldOfOurs = 2050

type rendezvousType uint64

const (
	rendezvousRegister rendezvousType = iota
	rendezvousRegisterResponse
	rendezvousUnregister
	rendezvousDiscover
	rendezvousDiscoverResponse
)

// Status of an answer.
const (
	rendezvousOK               = 0
	rendezvousInvalidNamespace = 100
	rendezvousInvalidRecord    = 101
	rendezvousInvalidTTL       = 102
	rendezvousInvalidCookie    = 103
	rendezvousNotAuthorized    = 200
	rendezvousInternalError    = 300
	rendezvousUnavailable      = 400
)

// Sizes, in bytes, of what is read.
const (
	rendezvousMaxRequest  = 16 << 10
	rendezvousMaxResponse = 1 << 20 // what rust-libp2p takes
	rendezvousMaxRecord   = 8 << 10
)

// rendezvousMessage is any of the messages; which fields one has stands in appendBody.
type rendezvousMessage struct {
	kind          rendezvousType
	namespace     string
	record        []byte // signed envelope of a peer record
	second        []byte // ours: the record in the other form
	either        bool   // ours: records of both forms are read
	ttl           uint64 // seconds; 0: not given
	limit         uint64 // 0: not given
	cookie        []byte
	status        uint64
	words         string
	registrations []rendezvousEntry
}

// rendezvousEntry is one registration of a discovery's answer.
type rendezvousEntry struct {
	namespace string
	record    []byte
	ttl       uint64
}

func (m *rendezvousMessage) encode() []byte {
	body := m.appendBody(nil)
	b := protowire.AppendTag(make([]byte, 0, len(body)+16), 1, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(m.kind))
	b = protowire.AppendTag(b, protowire.Number(2+m.kind), protowire.BytesType)
	return protowire.AppendBytes(b, body)
}

func (m *rendezvousMessage) appendBody(b []byte) []byte {
	switch m.kind {
	case rendezvousRegister:
		b = appendRegistration(b, rendezvousEntry{m.namespace, m.record, m.ttl})
		if m.second != nil {
			b = protowire.AppendBytes(protowire.AppendTag(b, fieldOfOurs, protowire.BytesType), m.second)
		}
	case rendezvousRegisterResponse:
		b = appendNumber(b, 1, m.status)
		b = appendText(b, 2, m.words)
		if m.status == rendezvousOK {
			b = appendNumber(b, 3, m.ttl)
		}
	case rendezvousUnregister:
		b = protowire.AppendString(protowire.AppendTag(b, 1, protowire.BytesType), m.namespace)
	case rendezvousDiscover:
		b = appendText(b, 1, m.namespace)
		if m.limit > 0 {
			b = appendNumber(b, 2, m.limit)
		}
		if len(m.cookie) > 0 {
			b = protowire.AppendBytes(protowire.AppendTag(b, 3, protowire.BytesType), m.cookie)
		}
		if m.either {
			b = appendNumber(b, fieldOfOurs, 1)
		}
	case rendezvousDiscoverResponse:
		for _, e := range m.registrations {
			b = protowire.AppendBytes(protowire.AppendTag(b, 1, protowire.BytesType), appendRegistration(nil, e))
		}
		if m.status == rendezvousOK {
			b = protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), m.cookie)
		}
		b = appendNumber(b, 3, m.status)
		b = appendText(b, 4, m.words)
	}
	return b
}

func appendRegistration(b []byte, e rendezvousEntry) []byte {
	b = protowire.AppendString(protowire.AppendTag(b, 1, protowire.BytesType), e.namespace)
	b = protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), e.record)
	if e.ttl > 0 {
		b = appendNumber(b, 3, e.ttl)
	}
	return b
}

func appendNumber(b []byte, field protowire.Number, n uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), n)
}

func appendText(b []byte, field protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

// decodeRendezvous reads a message. What it returns shares memory with b.
func decodeRendezvous(b []byte) (*rendezvousMessage, error) {
	m := &rendezvousMessage{}
	hasType := false
	bodies := map[protowire.Number][]byte{}
	err := eachField(b, func(field protowire.Number, number uint64, content []byte) {
		switch {
		case field == 1 && content == nil:
			m.kind, hasType = rendezvousType(number), true
		case field >= 2 && field <= 6 && content != nil:
			bodies[field] = content
		}
	})
	if err != nil {
		return nil, err
	}
	if !hasType || m.kind > rendezvousDiscoverResponse {
		return nil, Errorf(ErrProtocol, "a rendezvous message of no known type")
	}
	body, ok := bodies[protowire.Number(2+m.kind)]
	if !ok {
		return nil, Errorf(ErrProtocol, "a rendezvous message without its body")
	}
	return m, m.decodeBody(body)
}

// decodeBody takes a field for a number if content is nil, and for bytes or text if not.
func (m *rendezvousMessage) decodeBody(body []byte) error {
	var bad error
	err := eachField(body, func(field protowire.Number, number uint64, content []byte) {
		switch m.kind {
		case rendezvousRegister, rendezvousUnregister:
			e := rendezvousEntry{m.namespace, m.record, m.ttl}
			e.set(field, number, content)
			m.namespace, m.record, m.ttl = e.namespace, e.record, e.ttl
			if field == fieldOfOurs && m.kind == rendezvousRegister {
				m.second = content
			}
		case rendezvousRegisterResponse:
			switch {
			case field == 1 && content == nil:
				m.status = number
			case field == 2 && content != nil:
				m.words = string(content)
			case field == 3 && content == nil:
				m.ttl = number
			}
		case rendezvousDiscover:
			switch {
			case field == 1 && content != nil:
				m.namespace = string(content)
			case field == 2 && content == nil:
				m.limit = number
			case field == 3 && content != nil:
				m.cookie = content
			case field == fieldOfOurs && content == nil:
				m.either = number != 0
			}
		case rendezvousDiscoverResponse:
			switch {
			case field == 1 && content != nil:
				if len(m.registrations) >= rendezvousMaxResults {
					bad = Errorf(ErrTooBig, "a rendezvous answer of more than %d registrations", rendezvousMaxResults)
					return
				}
				var e rendezvousEntry
				if err := eachField(content, e.set); err != nil {
					bad = err
				}
				m.registrations = append(m.registrations, e)
			case field == 2 && content != nil:
				m.cookie = content
			case field == 3 && content == nil:
				m.status = number
			case field == 4 && content != nil:
				m.words = string(content)
			}
		}
	})
	if err == nil {
		err = bad
	}
	return err
}

func (e *rendezvousEntry) set(field protowire.Number, number uint64, content []byte) {
	switch {
	case field == 1 && content != nil:
		e.namespace = string(content)
	case field == 2 && content != nil:
		e.record = content
	case field == 3 && content == nil:
		e.ttl = number
	}
}

// RendezvousError is the refusal of a rendezvous point. Status is that of libp2p/specs, rendezvous.
type RendezvousError struct {
	Status uint64
	Words  string // the point's, may be ""
}

func (e *RendezvousError) Error() string {
	text := fmt.Sprintf("status %d", e.Status)
	switch e.Status {
	case rendezvousInvalidNamespace:
		text = "invalid namespace"
	case rendezvousInvalidRecord:
		text = "invalid signed peer record"
	case rendezvousInvalidTTL:
		text = "time to live not granted"
	case rendezvousInvalidCookie:
		text = "invalid cookie"
	case rendezvousNotAuthorized:
		text = "not authorized"
	case rendezvousInternalError:
		text = "internal error of the point"
	case rendezvousUnavailable:
		text = "unavailable"
	}
	if e.Words != "" {
		text += ": " + quoteShort(e.Words)
	}
	return text
}

func (e *RendezvousError) Unwrap() error {
	switch e.Status {
	case rendezvousInvalidNamespace, rendezvousInvalidTTL, rendezvousInvalidCookie:
		return ErrInvalid
	case rendezvousInvalidRecord:
		return ErrRejected
	case rendezvousUnavailable:
		return ErrBusy
	case rendezvousInternalError:
		return ErrRemote
	}
	return ErrRefused
}
