package main

// #include "bridge.h"
import "C"

import (
	"context"
	"encoding/json"

	"github.com/libp2pgo/libp2pgo/core"
)

//export go_metrics
func go_metrics(id C.p2p_handle, format *C.char, out **C.char) (rc C.int) {
	defer trap(&rc)
	_, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	switch f := text(format); f {
	case "", "prometheus":
		return putText(out, n.Metrics().Prometheus())
	case "json":
		doc, err := n.Metrics().JSON()
		if err != nil {
			return fail(err)
		}
		return putText(out, string(doc))
	default:
		return failed(core.ErrInvalid, "format: %q is neither prometheus nor json", f)
	}
}

//export go_metrics_serve
func go_metrics_serve(id C.p2p_handle, address, options *C.char, out *C.p2p_handle) (rc C.int) {
	defer trap(&rc)
	h, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	o, err := core.ParseMetricsServeOptions([]byte(text(options)))
	if err != nil {
		return fail(err)
	}
	s, err := n.ServeMetrics(h.ctx, text(address), o)
	if err != nil {
		return fail(err)
	}
	return openService(h, s, out)
}

// openService makes the handle of a service that has no events.
func openService(node *handle, service interface{ Close() error }, out *C.p2p_handle) C.int {
	h := newHandle(kindService, node)
	if err := h.open(service, func() { service.Close() }); err != nil {
		service.Close()
		return fail(err)
	}
	*out = h.id
	return 0
}

//export go_bandwidth_info
func go_bandwidth_info(id C.p2p_handle, out **C.char) (rc C.int) {
	defer trap(&rc)
	_, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	info, err := n.Bandwidth()
	if err != nil {
		return fail(err)
	}
	return putJSON(out, info)
}

//export go_perf_serve
func go_perf_serve(id C.p2p_handle, options *C.char, out *C.p2p_handle) (rc C.int) {
	defer trap(&rc)
	h, n, code := find[*core.Node](id, kindNode)
	if code < 0 {
		return code
	}
	o, err := core.ParsePerfServeOptions([]byte(text(options)))
	if err != nil {
		return fail(err)
	}
	s, err := n.ServePerf(o)
	if err != nil {
		return fail(err)
	}
	return openService(h, s, out)
}

//export go_perf_run
func go_perf_run(id C.p2p_handle, peerName *C.char, upload, download C.int64_t, options *C.char, out **C.char, wait *C.struct_front_wait) (rc C.int) {
	defer trap(&rc)
	h, n, p, code := findPeer(id, peerName)
	if code < 0 {
		return code
	}
	o, err := core.ParsePerfOptions([]byte(text(options)))
	if err != nil {
		return fail(err)
	}
	return run(h, wait, func(ctx context.Context) (outcome, error) {
		r, err := n.Perf(ctx, p, int64(upload), int64(download), o)
		if err != nil {
			return outcome{}, err
		}
		return jsonOutcome(r)
	}, func(o *outcome) C.int { return putText(out, o.text) })
}

// jsonOutcome is the outcome of a call whose answer is JSON.
func jsonOutcome(value any) (outcome, error) {
	doc, err := json.Marshal(value)
	if err != nil {
		return outcome{}, core.Errorf(core.ErrInternal, "JSON: %v", err)
	}
	return outcome{text: string(doc)}, nil
}

// measureHandles adds the handles that belong to a node to its numbers.
func measureHandles(h *handle, n *core.Node) {
	n.Measure("handles", func(m *core.Measurements) {
		var open [kinds]int64
		h.count(&open)
		f := m.Gauge("libp2pgo_handles", "Handles of the node that are open, itself included.")
		for k, name := range kindNames {
			if name != "" && kind(k) != kindConfig {
				f.Count(open[k], "kind", name)
			}
		}
		m.Gauge("libp2pgo_calls_waiting", "Calls on the node that will complete on a queue.").Count(h.waiting())
		var q C.struct_queue_sums
		C.queue_sums(&q)
		m.Gauge("libp2pgo_process_queues", "Queues of the process.").Count(int64(q.queues))
		m.Gauge("libp2pgo_process_queue_events", "Events that wait in the queues of the process.").Count(int64(q.events))
		m.Gauge("libp2pgo_process_queue_bytes", "Bytes of the events that wait in the queues of the process.").Count(int64(q.bytes))
		m.Counter("libp2pgo_process_queue_pushed_total", "Events that went into the queues of the process.").Count(int64(q.pushed))
		m.Gauge("libp2pgo_process_queue_sources_waiting", "Sources of the process that wait for room in a queue.").Count(int64(q.waiting))
	})
}

// count adds the open handles from h downwards by kind.
func (h *handle) count(open *[kinds]int64) {
	open[h.kind]++
	h.mu.Lock()
	children := make([]*handle, 0, len(h.children))
	for c := range h.children {
		children = append(children, c)
	}
	h.mu.Unlock()
	for _, c := range children {
		c.count(open)
	}
}

// waiting returns how many calls on the handle and what belongs to it wait.
func (h *handle) waiting() int64 {
	h.mu.Lock()
	n := int64(h.pending)
	children := make([]*handle, 0, len(h.children))
	for c := range h.children {
		children = append(children, c)
	}
	h.mu.Unlock()
	for _, c := range children {
		n += c.waiting()
	}
	return n
}
