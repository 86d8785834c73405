package core

import (
	"context"
	"encoding/binary"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// PerfProtocol is the name of the perf protocol (libp2p/specs, perf): the asker sends how many bytes it wants, as a big-endian 64-bit number, then
// bytes until it closes its side; the server then sends as many bytes as it was asked for, and closes.
const PerfProtocol = "/perf/1.0.0"

// perfBlock is how much is written and read at a time.
const perfBlock = 64 << 10

// PerfServeOptions are the options of ServePerf. A server sends what it is asked for, so what that may be is bounded.
type PerfServeOptions struct {
	MaxBytes   int64 `json:"max_bytes" min:"1" max:"1125899906842624" doc:"bytes in each direction of one run, beyond which its stream is reset with code 0x1002"`
	MaxStreams int   `json:"max_streams" min:"1" max:"1000000" doc:"runs at a time, beyond which a stream is reset with code 0x1002"`
	TimeoutMs  int64 `json:"timeout_ms" min:"1" max:"86400000" doc:"longest time for one run"`
}

// ParsePerfServeOptions reads PerfServeOptions from strict JSON; empty is the defaults.
func ParsePerfServeOptions(doc []byte) (PerfServeOptions, error) {
	o := PerfServeOptions{MaxBytes: 16 << 30, MaxStreams: 16, TimeoutMs: 300_000}
	err := parseOptions(doc, &o, "")
	return o, err
}

// PerfOptions are the options of Perf.
type PerfOptions struct {
	AllowLimited bool `json:"allow_limited" doc:"also use a relayed connection whose relay limits time and bytes"`
}

// ParsePerfOptions reads PerfOptions from strict JSON; empty is the defaults.
func ParsePerfOptions(doc []byte) (o PerfOptions, err error) {
	err = parseOptions(doc, &o, "")
	return o, err
}

// ServePerf answers runs of the perf protocol until the service is closed. It fails with ErrExists if the node serves it already.
func (n *Node) ServePerf(o PerfServeOptions) (*Service, error) {
	return n.Serve([]string{PerfProtocol}, ServeOptions{MaxStreams: o.MaxStreams}, func(s *Stream) {
		ctx, cancel := context.WithTimeout(n.ctx, time.Duration(o.TimeoutMs)*time.Millisecond)
		defer cancel()
		if err := servePerf(ctx, s, o.MaxBytes); err != nil {
			logger.Debug("perf", "peer", s.Peer(), "err", err)
			code := uint32(0)
			if Kind(err) == ErrTooBig {
				code = uint32(network.StreamResourceLimitExceeded)
			}
			s.Reset(code)
		}
		s.Close()
	})
}

func servePerf(ctx context.Context, s *Stream, limit int64) error {
	var head [8]byte
	if err := readWhole(ctx, s, head[:]); err != nil {
		return err
	}
	wanted := binary.BigEndian.Uint64(head[:])
	if wanted > uint64(limit) {
		return &SizeError{What: "download", Size: -1, Max: limit}
	}
	if _, _, err := swallow(ctx, s, limit); err != nil {
		return err
	}
	if err := pour(ctx, s, int64(wanted)); err != nil {
		return err
	}
	return s.CloseWrite(ctx)
}

func readWhole(ctx context.Context, s *Stream, p []byte) error {
	for len(p) > 0 {
		n, err := s.ReadContext(ctx, p)
		if err == io.EOF {
			return Errorf(ErrReset, "%s closed its side too early", s.Peer())
		}
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// swallow reads to the end of the flow. first is when the first byte, or the end, came.
func swallow(ctx context.Context, s *Stream, limit int64) (bytes int64, first time.Time, err error) {
	buffer := make([]byte, perfBlock)
	for {
		n, err := s.ReadContext(ctx, buffer)
		if first.IsZero() {
			first = time.Now()
		}
		bytes += int64(n)
		switch {
		case err == io.EOF:
			return bytes, first, nil
		case err != nil:
			return bytes, first, err
		case bytes > limit:
			return bytes, first, &SizeError{What: "perf stream", Size: -1, Max: limit}
		}
	}
}

// pour writes bytes bytes.
func pour(ctx context.Context, s *Stream, bytes int64) error {
	buffer := make([]byte, min(bytes, perfBlock))
	for bytes > 0 {
		n, err := s.WriteContext(ctx, buffer[:min(bytes, int64(len(buffer)))])
		if err != nil {
			return err
		}
		bytes -= int64(n)
	}
	return nil
}

// PerfResult is what a run of the perf protocol took; docs/numbers.md explains the keys.
type PerfResult struct {
	Peer              string  `json:"peer"`
	Address           string  `json:"address"`
	Transport         string  `json:"transport"`
	Security          string  `json:"security"`
	Muxer             string  `json:"muxer"`
	Relayed           bool    `json:"relayed"`
	UploadBytes       int64   `json:"upload_bytes"`
	DownloadBytes     int64   `json:"download_bytes"`
	OpenMs            float64 `json:"open_ms"`
	UploadMs          float64 `json:"upload_ms"`
	DownloadMs        float64 `json:"download_ms"`
	UploadPerSecond   float64 `json:"upload_bytes_per_second"`
	DownloadPerSecond float64 `json:"download_bytes_per_second"`
}

// Perf sends upload bytes to a peer, fetches download bytes from it, and tells how long that took, dialling first if needed. The peer has to serve
// the perf protocol: ErrProtocol. ErrReset: it does not want to transfer as much. ctx bounds all of it.
func (n *Node) Perf(ctx context.Context, id peer.ID, upload, download int64, o PerfOptions) (*PerfResult, error) {
	if upload < 0 || download < 0 {
		return nil, Errorf(ErrInvalid, "%s: a number of bytes is not negative", map[bool]string{true: "upload_bytes", false: "download_bytes"}[upload < 0])
	}
	ctx, cancel := n.join(ctx)
	defer cancel()
	begun := time.Now()
	s, err := n.openStream(ctx, id, []string{PerfProtocol}, OpenOptions{AllowLimited: o.AllowLimited})
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { s.Reset(0) })
	defer stop()
	defer s.Close()
	opened := time.Now()
	var head [8]byte
	binary.BigEndian.PutUint64(head[:], uint64(download))
	_, err = s.WriteContext(ctx, head[:])
	if err == nil {
		err = pour(ctx, s, upload)
	}
	if err == nil {
		err = s.CloseWrite(ctx)
	}
	// What reading ends with tells more of why the server gave up than that writing failed.
	sent, reading := err, ctx
	if sent != nil {
		var stop context.CancelFunc
		reading, stop = context.WithTimeout(ctx, 2*time.Second)
		defer stop()
	}
	got, first, err := swallow(reading, s, download)
	if sent != nil && Kind(err) == ErrTimeout {
		err = sent
	}
	if err == nil {
		err = sent
	}
	if err == nil && got < download {
		err = Errorf(ErrReset, "%s sent %d of %d bytes", id, got, download)
	}
	if err != nil {
		s.Reset(0)
		if ctx.Err() != nil {
			return nil, ctxError(ctx, "perf with %s", id)
		}
		return nil, err
	}
	ended := time.Now()
	c := connectionInfo(s.s.Conn())
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	r := &PerfResult{Peer: id.String(), Address: c.Address, Transport: c.Transport, Security: c.Security, Muxer: c.Muxer, Relayed: c.Relayed,
		UploadBytes: upload, DownloadBytes: got, OpenMs: ms(opened.Sub(begun)), UploadMs: ms(first.Sub(opened)), DownloadMs: ms(ended.Sub(first))}
	if took := first.Sub(opened).Seconds(); took > 0 {
		r.UploadPerSecond = float64(upload) / took
	}
	if took := ended.Sub(first).Seconds(); took > 0 {
		r.DownloadPerSecond = float64(got) / took
	}
	return r, nil
}

func init() {
	registerOptions("perf_serve", "options for serving the perf protocol", func() any { o, _ := ParsePerfServeOptions(nil); return &o })
	registerOptions("perf", "options of a perf run", func() any { o, _ := ParsePerfOptions(nil); return &o })
}
