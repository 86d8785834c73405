package core

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// MetricsServeOptions are the options of ServeMetrics.
type MetricsServeOptions struct {
	MaxConnections int `json:"max_connections" min:"1" max:"10000" doc:"connections at a time; more are closed at once"`
}

// ParseMetricsServeOptions reads MetricsServeOptions from strict JSON; empty is the defaults.
func ParseMetricsServeOptions(doc []byte) (MetricsServeOptions, error) {
	o := MetricsServeOptions{MaxConnections: 16}
	err := parseOptions(doc, &o, "")
	return o, err
}

func init() {
	registerOptions("metrics_serve", "options of a metrics endpoint", func() any { o, _ := ParseMetricsServeOptions(nil); return &o })
}

// MetricsServer is an HTTP endpoint for a node's numbers: /metrics in Prometheus' text format, /metrics.json.
type MetricsServer struct {
	node     *Node
	address  string
	listener net.Listener
	server   *http.Server
	remove   func()
	done     chan struct{} // closed when the server has ended
	open     atomic.Int64
	served   atomic.Int64
	refused  atomic.Int64
}

// metricsAddress completes host:port. Without a host it is this machine alone: numbers tell who talks with whom.
func metricsAddress(text string) (string, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return "127.0.0.1:0", nil
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return "", Errorf(ErrParse, "malformed address %s: expected host:port, such as 127.0.0.1:9100", quoteShort(text))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n > 65535 {
		return "", Errorf(ErrParse, "malformed address %s: %s is not a port", quoteShort(text), quoteShort(port))
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// ServeMetrics serves the node's numbers over HTTP at address, host:port; without a host at this machine's loopback, with port 0 at a free one, until
// Close. It fails with ErrListen, with the address and why.
func (n *Node) ServeMetrics(ctx context.Context, address string, o MetricsServeOptions) (*MetricsServer, error) {
	address, err := metricsAddress(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := n.join(ctx)
	defer cancel()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctxError(ctx, "listen at %s", address)
		}
		return nil, Errorf(ErrListen, "%s: %s", address, bindReason(err))
	}
	s := &MetricsServer{node: n, address: listener.Addr().String(), listener: listener, done: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", s.answer(s.text))
	mux.HandleFunc("GET /metrics.json", s.answer(s.json))
	s.server = &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: standardLoggerOf("metrics"), ConnState: s.watch(o.MaxConnections),
	}
	if err = n.onClose(&s.remove, func() { s.Close() }); err != nil {
		listener.Close()
		return nil, err
	}
	safeGo("metrics endpoint", func() {
		defer close(s.done)
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			logger.Error("metrics endpoint ended", "address", s.address, "err", err)
		}
	})
	return s, nil
}

// watch closes connections beyond limit before anything is read from them.
func (s *MetricsServer) watch(limit int) func(net.Conn, http.ConnState) {
	return func(c net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			if s.open.Add(1) > int64(limit) {
				s.refused.Add(1)
				c.Close()
			}
		case http.StateClosed, http.StateHijacked:
			s.open.Add(-1)
		}
	}
}

// answer keeps out web pages, which reach this machine under a name of their own that they point here, and has Close of the node wait for the
// answers that are being given.
func (s *MetricsServer) answer(give http.HandlerFunc) http.HandlerFunc {
	local := s.listener.Addr().(*net.TCPAddr).IP.IsLoopback()
	return func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if local && host != "localhost" && net.ParseIP(strings.Trim(host, "[]")) == nil {
			http.Error(w, "this address is for this machine", http.StatusForbidden)
			return
		}
		if !s.node.enter() {
			http.Error(w, "the node is closed", http.StatusServiceUnavailable)
			return
		}
		defer s.node.wg.Done()
		s.served.Add(1)
		give(w, r)
	}
}

func (s *MetricsServer) text(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Write([]byte(s.node.Metrics().Prometheus()))
}

func (s *MetricsServer) json(w http.ResponseWriter, _ *http.Request) {
	doc, err := s.node.Metrics().JSON()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(doc)
}

// Close ends the endpoint, and gives its port back.
func (s *MetricsServer) Close() error {
	s.remove()
	s.server.Close()
	<-s.done
	return nil
}

// MetricsServerInfo is what Info returns; docs/info.md explains the keys.
type MetricsServerInfo struct {
	Kind     string `json:"kind"`
	Address  string `json:"address"`
	URL      string `json:"url"`
	Open     int64  `json:"open"`
	Accepted int64  `json:"accepted"`
	Refused  int64  `json:"refused"`
}

// Info returns a MetricsServerInfo.
func (s *MetricsServer) Info() any {
	return MetricsServerInfo{"metrics", s.address, "http://" + s.address + "/metrics", s.open.Load(), s.served.Load(), s.refused.Load()}
}
