package core

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// AddressesConfig says which addresses the node tells its peers, beside or instead of those it finds out. Announce changes it.
type AddressesConfig struct {
	Announce []string `json:"announce" doc:"addresses to tell instead of all that the node finds out, for a node behind a port that somebody forwards; empty: what it finds out"`
	Append   []string `json:"append" doc:"addresses to tell besides"`
	Hide     []string `json:"hide" doc:"addresses not to tell: multiaddrs, which hide whatever begins with them, and subnets such as 10.0.0.0/8 or /ip4/10.0.0.0/ipcidr/8"`
}

// advertised decides which addresses the node tells its peers. It is the one hook that go-libp2p has for that (AddrsFactory), made of steps:
// what was found out, or the announced addresses instead; the appended ones; those of the sources; and, of all these, what no rule hides.
type advertised struct {
	mu       sync.Mutex
	texts    AddressesConfig             // guarded by mu; as given
	announce []ma.Multiaddr              // guarded by mu
	append   []ma.Multiaddr              // guarded by mu
	hide     []hideRule                  // guarded by mu
	sources  map[*addressSource]struct{} // guarded by mu
	changed  chan struct{}               // capacity 1: something here changed
}

// addressSource is a part of the node that has addresses to tell, such as relay reservations.
type addressSource struct{ list func() []ma.Multiaddr }

// hideRule is a subnet, or the beginning of an address.
type hideRule struct {
	subnet netip.Prefix
	prefix ma.Multiaddr
}

func newAdvertised(c AddressesConfig) (*advertised, error) {
	a := &advertised{sources: map[*addressSource]struct{}{}, changed: make(chan struct{}, 1)}
	return a, a.set(c, "addresses.")
}

// set replaces the rules. path is put before the names of the options in errors.
func (a *advertised) set(c AddressesConfig, path string) error {
	announce, err := parseAnnounced(c.Announce, path+"announce")
	if err != nil {
		return err
	}
	appended, err := parseAnnounced(c.Append, path+"append")
	if err != nil {
		return err
	}
	hide := make([]hideRule, 0, len(c.Hide))
	for i, text := range c.Hide {
		rule, err := parseHide(text)
		if err != nil {
			return &OptionError{fmt.Sprintf("%shide[%d]", path, i), err.Error()}
		}
		hide = append(hide, rule)
	}
	a.mu.Lock()
	a.texts = AddressesConfig{slices.Clone(c.Announce), slices.Clone(c.Append), slices.Clone(c.Hide)}
	a.announce, a.append, a.hide = announce, appended, hide
	a.mu.Unlock()
	wake(a.changed)
	return nil
}

func (a *advertised) rules() AddressesConfig {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.texts
}

// addSource has list called whenever the node's addresses are asked for, and what it returns appended. It must not wait, nor ask for the
// node's addresses. remove ends that. Call touch when what list returns changes.
func (a *advertised) addSource(list func() []ma.Multiaddr) (remove func()) {
	s := &addressSource{list}
	a.mu.Lock()
	a.sources[s] = struct{}{}
	a.mu.Unlock()
	a.touch()
	return func() {
		a.mu.Lock()
		delete(a.sources, s)
		a.mu.Unlock()
		a.touch()
	}
}

// touch tells that a source has other addresses than before: the node then reports a change at once. Connected peers hear of it when
// go-libp2p looks the next time, within 5 s.
func (a *advertised) touch() { wake(a.changed) }

// factory is go-libp2p's AddrsFactory. It is called from several goroutines, with a slice that stays its caller's.
func (a *advertised) factory(found []ma.Multiaddr) (told []ma.Multiaddr) {
	told = found
	defer recovered("addresses")
	a.mu.Lock()
	announce, appended, hide := a.announce, a.append, a.hide
	sources := make([]*addressSource, 0, len(a.sources))
	for s := range a.sources {
		sources = append(sources, s)
	}
	a.mu.Unlock()

	list := slices.Clone(found)
	if len(announce) > 0 {
		list = slices.Clone(announce)
	}
	list = append(list, appended...)
	for _, s := range sources {
		list = append(list, s.list()...)
	}
	list = slices.DeleteFunc(list, func(addr ma.Multiaddr) bool { return isHidden(addr, hide) })
	return ma.Unique(list)
}

func isHidden(addr ma.Multiaddr, rules []hideRule) bool {
	return slices.ContainsFunc(rules, func(r hideRule) bool {
		if r.prefix != nil {
			return len(addr) >= len(r.prefix) && addr[:len(r.prefix)].Equal(r.prefix)
		}
		ip, ok := addressIP(addr)
		return ok && r.subnet.Contains(ip)
	})
}

// addressIP returns the IP address that addr begins with. That of a relayed address is the relay's.
func addressIP(addr ma.Multiaddr) (netip.Addr, bool) {
	ip, err := manet.ToIP(addr)
	if err != nil {
		return netip.Addr{}, false
	}
	parsed, ok := netip.AddrFromSlice(ip)
	return parsed.Unmap(), ok
}

// parseAnnounced reads addresses to be told.
func parseAnnounced(texts []string, path string) ([]ma.Multiaddr, error) {
	list := make([]ma.Multiaddr, 0, len(texts))
	for i, text := range texts {
		addr, err := ma.NewMultiaddr(text)
		if err == nil {
			if _, withID := addr.ValueForProtocol(ma.P_P2P); withID == nil && isDirect(addr) {
				err = fmt.Errorf("%s: leave /p2p/<peer id> out", quoteShort(text))
			}
		} else {
			err = fmt.Errorf("malformed address %s: %w", quoteShort(text), err)
		}
		if err != nil {
			return nil, &OptionError{fmt.Sprintf("%s[%d]", path, i), oneLine(err.Error())}
		}
		list = append(list, addr)
	}
	return list, nil
}

func parseHide(text string) (hideRule, error) {
	if subnet, ok := parseSubnet(text); ok {
		return hideRule{subnet: subnet}, nil
	}
	addr, err := ma.NewMultiaddr(text)
	if err != nil || len(addr) == 0 {
		return hideRule{}, fmt.Errorf("%s is neither an address nor a subnet", quoteShort(text))
	}
	return hideRule{prefix: addr}, nil
}

// parseSubnet reads "10.0.0.0/8", "10.1.2.3" or "/ip4/10.0.0.0/ipcidr/8".
func parseSubnet(text string) (netip.Prefix, bool) {
	text = strings.TrimSpace(text)
	if rest, ok := strings.CutPrefix(text, "/ip4/"); ok {
		text = strings.Replace(rest, "/ipcidr/", "/", 1)
	} else if rest, ok := strings.CutPrefix(text, "/ip6/"); ok {
		text = strings.Replace(rest, "/ipcidr/", "/", 1)
	}
	if ip, err := netip.ParseAddr(text); err == nil && ip.Zone() == "" {
		ip = ip.Unmap()
		return netip.PrefixFrom(ip, ip.BitLen()), true
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil || prefix.Addr().Is4In6() {
		return netip.Prefix{}, false
	}
	return prefix.Masked(), true
}

func init() {
	registerOptions("announce", "options of p2p_node_announce", func() any { return &AddressesConfig{[]string{}, []string{}, []string{}} })
}

// Announce changes which addresses the node tells its peers: doc is JSON with the options announce, append and hide, as in the config's
// section addresses; a list that is given replaces the present one. AddressesChanged follows if anything changed.
func (n *Node) Announce(doc []byte) error {
	if n.ctx.Err() != nil {
		return Errorf(ErrClosed, "the node is closed")
	}
	rules := n.advertised.rules()
	if err := parseOptions(doc, &rules, ""); err != nil {
		return err
	}
	return n.advertised.set(rules, "")
}

// widest returns the direct ones among addresses that are useful to most: public ones, or else private ones, or else the others.
func widest(addresses []ma.Multiaddr) []ma.Multiaddr {
	var public, private, others []ma.Multiaddr
	for _, a := range addresses {
		switch {
		case !isDirect(a):
		case manet.IsPublicAddr(a):
			public = append(public, a)
		case manet.IsPrivateAddr(a) && !manet.IsIPLoopback(a):
			private = append(private, a)
		default:
			others = append(others, a)
		}
	}
	for _, list := range [][]ma.Multiaddr{public, private} {
		if len(list) > 0 {
			return list
		}
	}
	return others
}
