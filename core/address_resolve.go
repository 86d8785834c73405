package core

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"

	ma "github.com/multiformats/go-multiaddr"
	madns "github.com/multiformats/go-multiaddr-dns"
)

// ResolveOptions are the options of resolving an address.
type ResolveOptions struct {
	Server string `json:"server" doc:"DNS server to ask, IP:port; empty: those of the system"`
	Max    int    `json:"max" doc:"addresses to return at most" min:"1" max:"1000"`
}

func init() {
	registerOptions("address_resolve", "options of resolving an address", func() any { o, _ := ParseResolveOptions(nil); return &o })
}

// ParseResolveOptions reads the options of Resolve.
func ParseResolveOptions(doc []byte) (ResolveOptions, error) {
	o := ResolveOptions{Max: 100}
	if err := parseOptions(doc, &o, ""); err != nil {
		return o, err
	}
	if o.Server != "" {
		if _, err := netip.ParseAddrPort(o.Server); err != nil {
			return o, &OptionError{"server", quoteShort(o.Server) + " is not IP:port"}
		}
	}
	return o, nil
}

// resolveDepth bounds how often a name may lead to another one.
const resolveDepth = 32

// Resolve replaces the names in an address by what DNS says of them, until none is left: /dns, /dns4 and /dns6 by IP addresses, /dnsaddr by the
// addresses of its TXT records that end as the address does. An address without a name is its own result. ErrNotFound: a name stands for
// nothing.
func Resolve(ctx context.Context, address ma.Multiaddr, o ResolveOptions) (found []ma.Multiaddr, err error) {
	defer Recovered("resolve an address", &err)
	resolver, err := madns.NewResolver(madns.WithDefaultResolver(dnsClient(o.Server)))
	if err != nil {
		return nil, Errorf(ErrInternal, "resolve an address: %w", err)
	}
	open := []ma.Multiaddr{address}
	var failure error
	for depth := 0; len(open) > 0; depth++ {
		if depth == resolveDepth {
			return nil, Errorf(ErrLimit, "%s: names lead to names more than %d times", quoteShort(address.String()), resolveDepth)
		}
		var next []ma.Multiaddr
		for _, a := range open {
			if !hasDNS(a) {
				if !slices.ContainsFunc(found, a.Equal) && isSound(a) {
					found = append(found, a)
				}
				continue
			}
			step, err := resolver.Resolve(ctx, a)
			if err != nil {
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				failure = dnsError(a, err)
			}
			next = append(next, step...)
		}
		if open = next; len(found)+len(open) > o.Max {
			open = open[:max(0, o.Max-len(found))]
		}
	}
	switch {
	case len(found) > 0:
		return found[:min(len(found), o.Max)], nil // what another branch could not find does not matter then
	case failure != nil:
		return nil, failure
	}
	return nil, Errorf(ErrNotFound, "%s: DNS has no address for it", quoteShort(address.String()))
}

func hasDNS(address ma.Multiaddr) bool {
	return slices.ContainsFunc(address, func(c ma.Component) bool { return isDNS(c.Code()) })
}

func dnsClient(server string) *net.Resolver {
	if server == "" {
		return net.DefaultResolver
	}
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, network, server)
	}}
}

func dnsError(address ma.Multiaddr, err error) error {
	kind := ErrSystem
	var dns *net.DNSError
	if errors.As(err, &dns) {
		switch {
		case dns.IsNotFound:
			kind = ErrNotFound
		case dns.IsTimeout:
			kind = ErrTimeout
		}
	}
	return Errorf(kind, "%s: %s", quoteShort(address.String()), err)
}
