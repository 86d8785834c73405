package main

import (
	"context"
	"encoding/binary"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// serve answers the dialler's streams; counting messages is served only where there are some.
func serve(h host.Host, messages *pubsubNode) {
	h.SetStreamHandler(bulkProtocol, func(s network.Stream) {
		defer s.Close()
		received, err := drain(s)
		if err != nil {
			s.Reset()
			return
		}
		s.Write(binary.BigEndian.AppendUint64(nil, uint64(received)))
	})
	h.SetStreamHandler(echoProtocol, func(s network.Stream) {
		defer s.Close()
		buffer := make([]byte, 64<<10)
		for {
			n, err := s.Read(buffer)
			if err != nil {
				return
			}
			if _, err := s.Write(buffer[:n]); err != nil {
				return
			}
		}
	})
	h.SetStreamHandler(requestProtocol, func(s network.Stream) {
		question, err := io.ReadAll(s)
		if err != nil {
			s.Reset()
			return
		}
		s.Write(question)
		s.Close()
	})
	if messages != nil {
		h.SetStreamHandler(countProtocol, messages.answerCount)
	}
}

func drain(r io.Reader) (int64, error) {
	var total int64
	buffer := make([]byte, 64<<10)
	for {
		n, err := r.Read(buffer)
		total += int64(n)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// bulk writes until the bytes or the time are used up; the clock stops when the listener has told how much it read.
func bulk(ctx context.Context, h host.Host, id peer.ID, o options) (map[string]any, error) {
	s, err := h.NewStream(ctx, id, bulkProtocol)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	block := make([]byte, o.size)
	limit := time.Duration(o.seconds * float64(time.Second))
	start := time.Now()
	for sent := int64(0); sent < o.bytes && time.Since(start) < limit; sent += int64(len(block)) {
		if _, err := s.Write(block); err != nil {
			return nil, err
		}
	}
	if err := s.CloseWrite(); err != nil {
		return nil, err
	}
	var answer [8]byte
	if _, err := io.ReadFull(s, answer[:]); err != nil {
		return nil, err
	}
	return map[string]any{"bytes": binary.BigEndian.Uint64(answer[:]), "seconds": time.Since(start).Seconds()}, nil
}

func roundtrip(ctx context.Context, h host.Host, id peer.ID, o options) (map[string]any, error) {
	s, err := h.NewStream(ctx, id, echoProtocol)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	message := make([]byte, o.size)
	limit := time.Duration(o.seconds * float64(time.Second))
	times := make([]time.Duration, 0, o.count)
	start := time.Now()
	for i := 0; i < o.count && time.Since(start) < limit; i++ {
		before := time.Now()
		if _, err := s.Write(message); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(s, message); err != nil {
			return nil, err
		}
		times = append(times, time.Since(before))
	}
	count := len(times)
	p50, p99 := percentiles(times)
	return map[string]any{"count": count, "p50_us": p50, "p99_us": p99}, nil
}

// request opens a stream for each question, with so many questions at a time.
func request(ctx context.Context, h host.Host, id peer.ID, o options) (map[string]any, error) {
	question := make([]byte, o.size)
	limit := time.Duration(o.seconds * float64(time.Second))
	var taken atomic.Int64
	var mu sync.Mutex
	var times []time.Duration
	var failure error
	var workers sync.WaitGroup
	if _, err := ask(ctx, h, id, question); err != nil { // identify and warm-up are not measured
		return nil, err
	}
	start := time.Now()
	for range o.inflight {
		workers.Go(func() {
			var own []time.Duration
			var err error
			for err == nil && taken.Add(1) <= int64(o.count) && time.Since(start) < limit {
				var took time.Duration
				if took, err = ask(ctx, h, id, question); err == nil {
					own = append(own, took)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			times = append(times, own...)
			if err != nil {
				failure = err
			}
		})
	}
	workers.Wait()
	seconds := time.Since(start).Seconds()
	if failure != nil {
		return nil, failure
	}
	count := len(times)
	p50, p99 := percentiles(times)
	return map[string]any{"count": count, "seconds": seconds, "p50_us": p50, "p99_us": p99}, nil
}

func ask(ctx context.Context, h host.Host, id peer.ID, question []byte) (time.Duration, error) {
	before := time.Now()
	s, err := h.NewStream(ctx, id, requestProtocol)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	if _, err := s.Write(question); err != nil {
		return 0, err
	}
	if err := s.CloseWrite(); err != nil {
		return 0, err
	}
	answer, err := io.ReadAll(s)
	if err == nil && len(answer) != len(question) {
		err = io.ErrUnexpectedEOF
	}
	return time.Since(before), err
}
