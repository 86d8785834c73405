// Command goactor is the actor in Go, over the core that the shared library is made of; ../README.md lists what it does.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/libp2pgo/libp2pgo/core"
)

const echo = "/lab/echo/1"

type order struct {
	ID           int             `json:"id"`
	Do           string          `json:"do"`
	Node         int             `json:"node"`
	Nodes        int             `json:"nodes"`
	Options      json.RawMessage `json:"options"`
	To           string          `json:"to"`
	Peer         string          `json:"peer"`
	Text         string          `json:"text"`
	AllowLimited bool            `json:"allow_limited"`
	TimeoutMs    int             `json:"timeout_ms"`
}

var (
	mu    sync.Mutex
	nodes []*core.Node // guarded by mu
	out   sync.Mutex
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var o order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		go func() {
			result, err := obey(o)
			if err != nil {
				say(map[string]any{"id": o.ID, "error": map[string]any{"code": codeOf(err), "words": err.Error()}})
				return
			}
			say(map[string]any{"id": o.ID, "ok": result})
		}()
	}
	for _, n := range nodes {
		n.Close()
	}
}

func say(what any) {
	line, err := json.Marshal(what)
	if err != nil {
		panic(err)
	}
	out.Lock()
	defer out.Unlock()
	os.Stdout.Write(append(line, '\n'))
}

// codeOf names an error as the header does, where the word is the same.
func codeOf(err error) string {
	if core.Kind(err) == core.ErrLimited {
		return "P2P_E_LIMITED"
	}
	return core.Kind(err).Error()
}

func nodeOf(number int) *core.Node {
	mu.Lock()
	defer mu.Unlock()
	return nodes[number]
}

func obey(o order) (any, error) {
	if o.TimeoutMs == 0 {
		o.TimeoutMs = 30_000
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(o.TimeoutMs)*time.Millisecond)
	defer cancel()
	if o.Do == "start" {
		return start(ctx, o)
	}
	n := nodeOf(o.Node)
	id, _ := peer.Decode(o.Peer)
	switch o.Do {
	case "addresses":
		return n.Addresses(), nil
	case "connect":
		return n.Connect(ctx, []string{o.To})
	case "keep":
		return nil, n.Keep([]string{o.To})
	case "disconnect":
		return nil, n.Disconnect(id)
	case "peers":
		return n.Peers(), nil
	case "peer":
		return n.PeerInfo(id), nil
	case "info":
		return n.Info(), nil
	case "ask":
		answer, err := n.Request(ctx, id, echo, []byte(o.Text), core.RequestOptions{MaxResponse: 1 << 20, AllowLimited: o.AllowLimited})
		return string(answer), err
	case "nat":
		return n.NATInfo(), nil
	case "relay":
		return n.RelayInfo(), nil
	case "close":
		return nil, n.Close()
	}
	return nil, fmt.Errorf("the actor in Go does not know how to %s", o.Do)
}

func start(ctx context.Context, o order) (any, error) {
	config, err := core.ParseConfig(o.Options)
	if err != nil {
		return nil, err
	}
	type started struct {
		ID        peer.ID  `json:"id"`
		Addresses []string `json:"addresses"`
	}
	var list []started
	for range o.Nodes {
		mu.Lock()
		number := len(nodes)
		nodes = append(nodes, nil)
		mu.Unlock()
		n, err := core.New(ctx, config, core.Inbox[core.Event]{Deliver: func(e core.Event) { say(map[string]any{"event": fields(number, e)}) }})
		if err != nil {
			return nil, err
		}
		_, err = n.ServeRequests(echo, core.RequestServeOptions{MaxRequest: 1 << 20, MaxConcurrent: 64}, func(r *core.Request) {
			r.Respond(r.Context(), r.Data, false)
		})
		if err != nil {
			return nil, err
		}
		mu.Lock()
		nodes[number] = n
		mu.Unlock()
		list = append(list, started{n.ID(), n.Addresses()})
	}
	return list, nil
}

// fields is an event by the header's names.
func fields(number int, e core.Event) map[string]any {
	all := map[string]any{"node": number, "type": snake(strings.TrimSuffix(strings.TrimSuffix(e.Type.String(), "Changed"), "ed"))}
	switch e.Type {
	case core.PeerConnected, core.PeerDisconnected:
		all["type"] = snake(e.Type.String())
	case core.HolePunched:
		all["outcome"] = e.State
	case core.ReachabilityChanged, core.AddressReachabilityChanged:
		all["reachability"] = e.State
	}
	value := reflect.ValueOf(e)
	for i := range value.NumField() {
		if field := value.Type().Field(i); field.Name != "Type" && !value.Field(i).IsZero() || value.Field(i).Kind() == reflect.Bool {
			if err, ok := value.Field(i).Interface().(error); ok {
				all[snake(field.Name)] = err.Error()
			} else {
				all[snake(field.Name)] = value.Field(i).Interface()
			}
		}
	}
	return all
}

func snake(name string) string {
	var out []rune
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 && unicode.IsLower(rune(name[i-1])) {
			out = append(out, '_')
		}
		out = append(out, unicode.ToLower(r))
	}
	return string(out)
}
