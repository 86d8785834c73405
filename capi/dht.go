package main

// #include "bridge.h"
import "C"

import (
	"context"
	"strings"

	"github.com/libp2pgo/libp2pgo/core"
)

// A search keeps at most this many results and bytes in its queue; then its query waits.
const (
	windowResults     = 64
	windowResultBytes = 1 << 20
)

// findDHT returns a node's DHT, or a negative code.
func findDHT(id C.p2p_handle) (*handle, *core.DHT, C.int) {
	h, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return nil, nil, code
	}
	d, err := n.DHT()
	if err != nil {
		return nil, nil, fail(err)
	}
	return h, d, 0
}

// counted runs a call whose result is a number of peers.
func counted(h *handle, wait *C.struct_front_wait, do func(context.Context) (int, error)) C.int {
	return run(h, wait, func(ctx context.Context) (outcome, error) {
		n, err := do(ctx)
		return outcome{value: int64(n)}, err
	}, func(o *outcome) C.int { return C.int(o.value) })
}

//export go_dht_bootstrap
func go_dht_bootstrap(id C.p2p_handle, minPeers C.int32_t, wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	h, d, code := findDHT(id)
	if code < 0 {
		return code
	}
	return counted(h, wait, func(ctx context.Context) (int, error) { return d.Bootstrap(ctx, int(minPeers)) })
}

//export go_dht_put
func go_dht_put(id C.p2p_handle, key *C.char, data *C.uint8_t, n C.size_t, options *C.char, wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	h, d, code := findDHT(id)
	if code < 0 {
		return code
	}
	o, err := core.ParseDHTPutOptions([]byte(text(options)))
	if err != nil {
		return fail(err)
	}
	name, value := text(key), copied(data, n)
	return counted(h, wait, func(ctx context.Context) (int, error) { return d.Put(ctx, name, value, o) })
}

//export go_dht_get
func go_dht_get(id C.p2p_handle, key, options *C.char, out **C.uint8_t, lenOut *C.size_t, wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	h, d, code := findDHT(id)
	if code < 0 {
		return code
	}
	o, err := core.ParseDHTGetOptions([]byte(text(options)))
	if err != nil {
		return fail(err)
	}
	name := text(key)
	return run(h, wait, func(ctx context.Context) (outcome, error) {
		value, err := d.Get(ctx, name, o)
		return outcome{data: value}, err
	}, func(o *outcome) C.int { return putBytes(out, lenOut, o.data) })
}

//export go_dht_set
func go_dht_set(id C.p2p_handle, name *C.char, data *C.uint8_t, n C.size_t, options *C.char, wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	h, d, code := findDHT(id)
	if code < 0 {
		return code
	}
	o, err := core.ParseDHTSetOptions([]byte(text(options)))
	if err != nil {
		return fail(err)
	}
	key, value := text(name), copied(data, n)
	return counted(h, wait, func(ctx context.Context) (int, error) { return d.Set(ctx, key, value, o) })
}

//export go_dht_unset
func go_dht_unset(id C.p2p_handle, name *C.char, wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	h, d, code := findDHT(id)
	if code < 0 {
		return code
	}
	key := text(name)
	return counted(h, wait, func(ctx context.Context) (int, error) { return 0, d.Unset(ctx, key) })
}

//export go_dht_provide
func go_dht_provide(id C.p2p_handle, key *C.char, wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	h, d, code := findDHT(id)
	if code < 0 {
		return code
	}
	name := text(key)
	return counted(h, wait, func(ctx context.Context) (int, error) { return d.Provide(ctx, name) })
}

//export go_dht_provide_keep
func go_dht_provide_keep(id C.p2p_handle, keys *C.char, start C.int, wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	h, d, code := findDHT(id)
	if code < 0 {
		return code
	}
	list := lines(keys)
	return counted(h, wait, func(ctx context.Context) (int, error) {
		if start != 0 {
			return 0, d.StartProviding(ctx, list)
		}
		return 0, d.StopProviding(ctx, list)
	})
}

//export go_dht_find_peer
func go_dht_find_peer(id C.p2p_handle, peerName *C.char, out **C.char, wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	h, d, code := findDHT(id)
	if code < 0 {
		return code
	}
	p, err := parsePeer(text(peerName))
	if err != nil {
		return fail(err)
	}
	return run(h, wait, func(ctx context.Context) (outcome, error) {
		addresses, err := d.FindPeer(ctx, p)
		lines := make([]string, 0, len(addresses))
		for _, a := range addresses {
			lines = append(lines, a.String()+"/p2p/"+peerText(p))
		}
		return outcome{text: strings.Join(lines, "\n")}, err
	}, func(o *outcome) C.int { return putText(out, o.text) })
}

//export go_dht_closest_peers
func go_dht_closest_peers(id C.p2p_handle, key *C.char, out **C.char, wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	h, d, code := findDHT(id)
	if code < 0 {
		return code
	}
	name := text(key)
	return run(h, wait, func(ctx context.Context) (outcome, error) {
		peers, err := d.ClosestPeers(ctx, name)
		return outcome{text: peerLines(peers)}, err
	}, func(o *outcome) C.int { return putText(out, o.text) })
}

//export go_dht_refresh
func go_dht_refresh(id C.p2p_handle, wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	h, d, code := findDHT(id)
	if code < 0 {
		return code
	}
	return counted(h, wait, d.Refresh)
}

//export go_dht_mode
func go_dht_mode(id C.p2p_handle, mode *C.char) (rc C.int) {
	defer trap(&rc)
	_, d, code := findDHT(id)
	if code < 0 {
		return code
	}
	if err := d.SetMode(text(mode)); err != nil {
		return fail(err)
	}
	return 0
}

//export go_dht_info
func go_dht_info(id C.p2p_handle, out **C.char) (rc C.int) {
	defer trap(&rc)
	_, d, code := findDHT(id)
	if code < 0 {
		return code
	}
	return putJSON(out, d.Info())
}

//export go_dht_search
func go_dht_search(id C.p2p_handle, key, options *C.char, queue C.p2p_handle, tag C.uint64_t, out *C.p2p_handle) (rc C.int) {
	defer trap(&rc)
	h, d, code := findDHT(id)
	if code < 0 {
		return code
	}
	o, err := core.ParseDHTSearchOptions([]byte(text(options)))
	if err != nil {
		return fail(err)
	}
	return search(h, queue, tag, out, func(inbox core.Inbox[core.SearchResult]) (*core.Search, error) {
		return d.Search(text(key), o, inbox)
	})
}

//export go_dht_find_providers
func go_dht_find_providers(id C.p2p_handle, key, options *C.char, queue C.p2p_handle, tag C.uint64_t, out *C.p2p_handle) (rc C.int) {
	defer trap(&rc)
	h, d, code := findDHT(id)
	if code < 0 {
		return code
	}
	o, err := core.ParseDHTProvidersOptions([]byte(text(options)))
	if err != nil {
		return fail(err)
	}
	return search(h, queue, tag, out, func(inbox core.Inbox[core.SearchResult]) (*core.Search, error) {
		return d.FindProviders(text(key), o, inbox)
	})
}

// search makes the handle of a running query whose results go to queue.
func search(node *handle, queue C.p2p_handle, tag C.uint64_t, out *C.p2p_handle,
	start func(core.Inbox[core.SearchResult]) (*core.Search, error)) C.int {
	if queue == 0 {
		return failed(core.ErrInvalid, "queue: 0, but a search needs one")
	}
	h, src, code := newHandleSource(kindSearch, node, queue, tag, windowResults, windowResultBytes)
	if code < 0 {
		return code
	}
	s, err := start(inboxOf(src, func(r core.SearchResult) { deliverResult(src, r) }))
	return openSource(h, src, out, s, err)
}

func deliverResult(src *source, r core.SearchResult) {
	if r.Provider != "" {
		src.deliver(C.p2p_event{_type: C.P2P_EVENT_DHT_PROVIDER}, strings.Join(append([]string{peerText(r.Provider)}, r.Addresses...), "\n"), nil)
		return
	}
	e := C.p2p_event{_type: C.P2P_EVENT_DHT_VALUE, value: C.int64_t(r.Sequence)}
	if r.Withdrawn {
		e.status = C.P2P_E_NOT_FOUND
	}
	src.deliver(e, strings.ToValidUTF8(r.Key, "?"), r.Value)
}
