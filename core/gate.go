package core

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// GatingConfig says who may be dialled and who may connect. Block, Allow and the others change it.
type GatingConfig struct {
	Block   []string `json:"block" doc:"whom to refuse: peer ids, IP addresses and subnets such as 10.0.0.0/8"`
	Allow   []string `json:"allow" doc:"whom to let through: as block; the most exact rule holds, that of a peer before that of its address"`
	Default string   `json:"default" enum:"allow,block" doc:"what becomes of those that no rule names"`
}

// gate decides which connections the node opens and takes. Rules name peers and networks; the most exact one holds: that of the peer, then
// that of the longest prefix of its address. It has go-libp2p's hooks, which are called while it dials and accepts: they only look up.
type gate struct {
	node *Node // set before the host is there

	mu      sync.RWMutex
	peers   map[peer.ID]*gateRule      // guarded by mu
	nets    map[netip.Prefix]*gateRule // guarded by mu
	lengths map[int]int                // guarded by mu; number of rules by length of prefix, IPv6 counted from 1000
	allowed [2]int                     // guarded by mu; number of rules that allow networks, and peers
	open    bool                       // guarded by mu; the default is allow
	keeper  *Gatekeeper                // guarded by mu; nil: nobody is asked
	asked   map[peer.ID]*gateQuestion  // guarded by mu; about dials, until they are answered
	reasons map[peer.ID]string         // guarded by mu; why the keeper refused a dial, for the words of the error

	dialsRefused, connectionsRefused atomic.Uint64
}

// gateRule is one rule; text is its canonical form.
type gateRule struct {
	text    string
	id      peer.ID      // "": a network
	net     netip.Prefix // of no use if id is set
	allow   bool
	refused atomic.Uint64
}

func newGate(c GatingConfig) (*gate, error) {
	g := &gate{peers: map[peer.ID]*gateRule{}, nets: map[netip.Prefix]*gateRule{}, lengths: map[int]int{}, asked: map[peer.ID]*gateQuestion{},
		reasons: map[peer.ID]string{}, open: c.Default == "allow"}
	at := map[string]string{}
	for _, list := range []struct {
		name  string
		texts []string
		allow bool
	}{{"gating.block", c.Block, false}, {"gating.allow", c.Allow, true}} {
		for i, text := range list.texts {
			path := fmt.Sprintf("%s[%d]", list.name, i)
			rule, err := parseGateRule(text, list.allow)
			if err != nil {
				return nil, &OptionError{path, err.Error()}
			}
			if other := at[rule.text]; other != "" && g.find(rule).allow != rule.allow {
				return nil, &OptionError{path, fmt.Sprintf("%s conflicts with %s", rule.text, other)}
			}
			at[rule.text] = path
			g.add(rule)
		}
	}
	return g, nil
}

// parseGateRule reads a peer id, an IP address or a subnet.
func parseGateRule(text string, allow bool) (*gateRule, error) {
	text = strings.TrimSpace(text)
	if net, ok := parseSubnet(text); ok {
		rule := &gateRule{text: net.String(), net: net, allow: allow}
		if net.IsSingleIP() {
			rule.text = net.Addr().String()
		}
		return rule, nil
	}
	if strings.ContainsAny(text, "/:") {
		return nil, Errorf(ErrParse, "%s is neither a peer id, an IP address nor a subnet", quoteShort(text))
	}
	id, err := ParsePeer(text)
	if err != nil {
		return nil, Errorf(ErrParse, "%s is neither a peer id, an IP address nor a subnet", quoteShort(text))
	}
	return &gateRule{text: id.String(), id: id, allow: allow}, nil
}

func parseGateRules(texts []string, allow bool) ([]*gateRule, error) {
	if len(texts) == 0 {
		return nil, Errorf(ErrInvalid, "no rule is given")
	}
	rules := make([]*gateRule, 0, len(texts))
	for _, text := range texts {
		rule, err := parseGateRule(text, allow)
		if err != nil {
			return nil, err
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// find returns the rule for the same peer or network; mu is held, or g is new.
func (g *gate) find(like *gateRule) *gateRule {
	if like.id != "" {
		return g.peers[like.id]
	}
	return g.nets[like.net]
}

// add puts a rule in the place of one for the same peer or network; mu is held, or g is new.
func (g *gate) add(rule *gateRule) {
	g.remove(rule)
	if rule.allow {
		g.allowed[kindOfRule(rule)]++
	}
	if rule.id != "" {
		g.peers[rule.id] = rule
		return
	}
	g.nets[rule.net] = rule
	g.lengths[prefixLength(rule.net.Addr(), rule.net.Bits())]++
}

func (g *gate) remove(like *gateRule) {
	present := g.find(like)
	if present == nil {
		return
	}
	if present.allow {
		g.allowed[kindOfRule(present)]--
	}
	if present.id != "" {
		delete(g.peers, present.id)
		return
	}
	delete(g.nets, present.net)
	g.lengths[prefixLength(present.net.Addr(), present.net.Bits())]--
}

func kindOfRule(rule *gateRule) int {
	if rule.id != "" {
		return 1
	}
	return 0
}

func prefixLength(ip netip.Addr, bits int) int {
	if ip.Is6() {
		return 1000 + bits
	}
	return bits
}

// ofPeer returns the rule that names a peer.
func (g *gate) ofPeer(id peer.ID) *gateRule {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.peers[id]
}

// ofAddress returns the most exact rule for an address. A relayed one has none: the IP address in it is the relay's.
func (g *gate) ofAddress(addr ma.Multiaddr) *gateRule {
	if addr == nil || !isDirect(addr) {
		return nil
	}
	ip, ok := addressIP(addr)
	if !ok {
		return nil
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	for bits := ip.BitLen(); bits >= 0 && len(g.nets) > 0; bits-- {
		if g.lengths[prefixLength(ip, bits)] == 0 {
			continue
		}
		if net, err := ip.WithZone("").Prefix(bits); err == nil && g.nets[net] != nil {
			return g.nets[net]
		}
	}
	return nil
}

// rule returns the rule that holds for a connection; nil: the default does.
func (g *gate) rule(id peer.ID, addr ma.Multiaddr) *gateRule {
	if rule := g.ofPeer(id); rule != nil {
		return rule
	}
	return g.ofAddress(addr)
}

// state returns what holds where no rule does, and whether some peers, or some addresses, are let through by name.
func (g *gate) state() (open bool, keeper *Gatekeeper, allowedPeers, allowedNets bool) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.open, g.keeper, g.allowed[1] > 0, g.allowed[0] > 0
}

// refuses tells whether an open connection would not be let through now. Those that the default alone would refuse are not meant.
func (g *gate) refuses(c network.Conn) *gateRule {
	if rule := g.rule(c.RemotePeer(), c.RemoteMultiaddr()); rule != nil && !rule.allow {
		return rule
	}
	return nil
}

// why says in words why a dial to an address, nil for the peer as a whole, is refused.
func (g *gate) why(id peer.ID, addr ma.Multiaddr) string {
	if rule := g.rule(id, addr); rule != nil && !rule.allow {
		return "blocked by the rule " + rule.text
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	if reason := g.reasons[id]; reason != "" {
		return reason
	}
	return "no rule allows it, and gating.default is block"
}

// GateInfo is what Gate returns; docs/info.md explains the keys.
type GateInfo struct {
	Default            string         `json:"default"`
	Block              []GateRuleInfo `json:"block"`
	Allow              []GateRuleInfo `json:"allow"`
	Asking             bool           `json:"asking"`
	DialsRefused       uint64         `json:"dials_refused"`
	ConnectionsRefused uint64         `json:"connections_refused"`
}

// GateRuleInfo is one rule, and how many dials and connections it refused.
type GateRuleInfo struct {
	Rule    string `json:"rule"`
	Refused uint64 `json:"refused"`
}

// Gate returns the rules, in the order of their texts, and what they did.
func (n *Node) Gate() any {
	g := n.gate
	g.mu.RLock()
	defer g.mu.RUnlock()
	info := GateInfo{Default: "block", Block: []GateRuleInfo{}, Allow: []GateRuleInfo{}, Asking: g.keeper != nil,
		DialsRefused: g.dialsRefused.Load(), ConnectionsRefused: g.connectionsRefused.Load()}
	if g.open {
		info.Default = "allow"
	}
	put := func(rule *gateRule) {
		if rule.allow {
			info.Allow = append(info.Allow, GateRuleInfo{Rule: rule.text})
		} else {
			info.Block = append(info.Block, GateRuleInfo{rule.text, rule.refused.Load()})
		}
	}
	for _, rule := range g.peers {
		put(rule)
	}
	for _, rule := range g.nets {
		put(rule)
	}
	byText := func(a, b GateRuleInfo) int { return strings.Compare(a.Rule, b.Rule) }
	slices.SortFunc(info.Block, byText)
	slices.SortFunc(info.Allow, byText)
	return info
}

// Block refuses peers, IP addresses and subnets from now on, and closes the connections that the rules mean. A rule takes the place of an
// opposite one. All of rules are taken, or none: ErrParse names the malformed one.
func (n *Node) Block(rules []string) error { return n.setRules(rules, false) }

// Allow lets peers, IP addresses and subnets through, as Block refuses them.
func (n *Node) Allow(rules []string) error { return n.setRules(rules, true) }

func (n *Node) setRules(texts []string, allow bool) error {
	rules, err := parseGateRules(texts, allow)
	if err != nil {
		return err
	}
	if n.ctx.Err() != nil {
		return Errorf(ErrClosed, "the node is closed")
	}
	g := n.gate
	g.mu.Lock()
	for _, rule := range rules {
		if present := g.find(rule); present == nil || present.allow != allow {
			g.add(rule)
		}
	}
	g.mu.Unlock()
	if !allow {
		n.closeRefused()
	}
	return nil
}

// closeLinger bounds the wait for connections that are being closed, which takes well under a millisecond unless a peer reads nothing.
const closeLinger = 100 * time.Millisecond

// closeRefused closes the connections that the rules refuse.
func (n *Node) closeRefused() {
	var closing sync.WaitGroup
	for _, c := range n.host.Network().Conns() {
		if rule := n.gate.refuses(c); rule != nil {
			rule.refused.Add(1)
			n.gate.connectionsRefused.Add(1)
			closing.Add(1)
			if !n.spawn("close a refused connection", func() { defer closing.Done(); c.CloseWithError(network.ConnGated) }) {
				closing.Done()
			}
		}
	}
	closed := make(chan struct{})
	safeGo("wait for closing", func() { closing.Wait(); close(closed) })
	select {
	case <-closed:
	case <-time.After(closeLinger):
	}
}

// RemoveRules takes rules out, whether they block or allow, all or none. It fails with ErrNotFound if there is no such rule.
func (n *Node) RemoveRules(texts []string) error {
	rules, err := parseGateRules(texts, false)
	if err != nil {
		return err
	}
	if n.ctx.Err() != nil {
		return Errorf(ErrClosed, "the node is closed")
	}
	g := n.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, rule := range rules {
		if g.find(rule) == nil {
			return Errorf(ErrNotFound, "there is no rule for %s", rule.text)
		}
	}
	for _, rule := range rules {
		g.remove(rule)
	}
	return nil
}

// SetGateDefault sets what becomes of those that no rule names: "allow" or "block". Present connections stay.
func (n *Node) SetGateDefault(verdict string) error {
	if verdict != "allow" && verdict != "block" {
		return Errorf(ErrInvalid, "%s is neither allow nor block", quoteShort(verdict))
	}
	if n.ctx.Err() != nil {
		return Errorf(ErrClosed, "the node is closed")
	}
	n.gate.mu.Lock()
	defer n.gate.mu.Unlock()
	n.gate.open = verdict == "allow"
	return nil
}
