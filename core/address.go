package core

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// maxAddressText is longer than any address in use; it bounds the time that reading one takes.
const maxAddressText = 8192

// ParseAddress reads an address (multiaddr) of at least one component.
func ParseAddress(text string) (address ma.Multiaddr, err error) {
	defer Recovered("parse an address", &err)
	if len(text) > maxAddressText {
		return nil, Errorf(ErrParse, "malformed address %s: longer than %d bytes", quoteShort(text), maxAddressText)
	}
	address, err = ma.NewMultiaddr(text)
	if err == nil {
		err = checkAddress(address)
	}
	if err != nil {
		return nil, Errorf(ErrParse, "malformed address %s: %s", quoteShort(text), err)
	}
	return address, nil
}

// AddressFromBytes reads an address in its binary form.
func AddressFromBytes(data []byte) (address ma.Multiaddr, err error) {
	defer Recovered("parse an address", &err)
	if len(data) > maxAddressText {
		return nil, Errorf(ErrParse, "%d bytes are not an address: at most %d are", len(data), maxAddressText)
	}
	address, err = ma.NewMultiaddrBytes(data)
	if err == nil {
		err = checkAddress(address)
	}
	if err != nil {
		return nil, Errorf(ErrParse, "%d bytes are not an address: %s", len(data), err)
	}
	return address, nil
}

// checkAddress refuses what cannot stand in a text of one address per line, and what would not be read again as it is written.
func checkAddress(address ma.Multiaddr) error {
	if len(address) == 0 {
		return Errorf(ErrParse, "it is empty")
	}
	text := address.String()
	if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return Errorf(ErrParse, "it has characters that no address has")
	}
	again, err := ma.NewMultiaddr(text)
	if err != nil || !again.Equal(address) {
		return Errorf(ErrParse, "it has no text form")
	}
	return nil
}

func isSound(address ma.Multiaddr) bool { return checkAddress(address) == nil }

// texts writes addresses. Those that checkAddress refuses, which any peer can name, are left out.
func texts(addresses []ma.Multiaddr) []string {
	list := make([]string, 0, len(addresses))
	for _, a := range addresses {
		if isSound(a) {
			list = append(list, a.String())
		}
	}
	return list
}

// AddressInfo is an address taken apart.
type AddressInfo struct {
	Address    string             `json:"address"` // as the library writes it
	Components []AddressComponent `json:"components"`
	Peer       *string            `json:"peer"`    // at its end, base58
	DNS        bool               `json:"dns"`     // has a name to be resolved
	Relayed    bool               `json:"relayed"` // leads through a relay
}

// AddressComponent is one step of an address: /tcp/4001, /quic-v1.
type AddressComponent struct {
	Protocol string `json:"protocol"`
	Code     int    `json:"code"`
	Value    string `json:"value"` // "" if the protocol takes none
}

// InfoOfAddress takes an address apart.
func InfoOfAddress(address ma.Multiaddr) *AddressInfo {
	info := &AddressInfo{Address: address.String(), Components: []AddressComponent{}}
	for _, c := range address {
		p := c.Protocol()
		part := AddressComponent{Protocol: p.Name, Code: p.Code}
		if p.Size != 0 {
			part.Value = c.Value()
		}
		info.Components = append(info.Components, part)
		info.DNS = info.DNS || isDNS(p.Code)
		info.Relayed = info.Relayed || p.Code == ma.P_CIRCUIT
	}
	if _, id := peer.SplitAddr(address); id != "" {
		text := id.String()
		info.Peer = &text
	}
	return info
}

func isDNS(code int) bool {
	return code == ma.P_DNS || code == ma.P_DNS4 || code == ma.P_DNS6 || code == ma.P_DNSADDR
}

// JoinAddresses puts addresses one behind the other: the place, then what is reached there.
func JoinAddresses(texts []string) (ma.Multiaddr, error) {
	var joined ma.Multiaddr
	for _, text := range texts {
		part, err := ParseAddress(text)
		if err != nil {
			return nil, err
		}
		joined = append(joined, part...)
	}
	if len(joined) == 0 {
		return nil, Errorf(ErrInvalid, "no address is given")
	}
	return joined, nil
}

// Decapsulate cuts an address off where inner begins for the last time. What is left may be nothing. ErrNotFound: inner is no part of it.
func Decapsulate(address, inner ma.Multiaddr) (ma.Multiaddr, error) {
	for at := len(address) - len(inner); at >= 0; at-- {
		if address[at : at+len(inner)].Equal(inner) {
			return address[:at], nil
		}
	}
	return nil, Errorf(ErrNotFound, "address %s does not contain %s", quoteShort(address.String()), quoteShort(inner.String()))
}

// SplitAddress returns each component as an address of its own.
func SplitAddress(address ma.Multiaddr) []string {
	parts := make([]string, len(address))
	for i := range address {
		parts[i] = address[i].String()
	}
	return parts
}
