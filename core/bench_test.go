package core_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"

	"github.com/libp2pgo/libp2pgo/core"
)

// What this package costs on top of plain go-libp2p: each benchmark runs both, over TCP and TLS on loopback, in one process.
//
//	go test ./core -run '^$' -bench . -count 5

// The protocol of the benchmarks: a four-byte length, and so many bytes back.
const benchName = "/test/bench/1"

func answerBench(s io.ReadWriteCloser) {
	defer s.Close()
	buf := make([]byte, 64<<10)
	for {
		if _, err := io.ReadFull(s, buf[:4]); err != nil {
			return
		}
		n := binary.BigEndian.Uint32(buf)
		if n == sink {
			for {
				if _, err := s.Read(buf); err != nil {
					s.Write([]byte{1})
					return
				}
			}
		}
		if _, err := io.ReadFull(s, buf[4:n]); err != nil {
			return
		}
		if _, err := s.Write(buf[:n]); err != nil {
			return
		}
	}
}

// sink as a length asks for everything up to the end to be read, and answered with one byte.
const sink = 1<<32 - 1

func question(n int) []byte { return binary.BigEndian.AppendUint32(make([]byte, 0, n), uint32(n))[:n] }

// opener opens streams to the other end.
type opener func(b *testing.B) benchStream

type benchStream interface {
	io.ReadWriteCloser
	end() error
}

type plainStream struct{ network.Stream }

func (s plainStream) end() error { return s.CloseWrite() }

type coreStream struct{ *core.Stream }

func (s coreStream) end() error { return s.CloseWrite(context.Background()) }

func plainHosts(b *testing.B) (from, to host.Host) {
	b.Helper()
	hosts := [2]host.Host{}
	for i := range hosts {
		manager, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(rcmgr.InfiniteLimits), rcmgr.WithMetricsDisabled())
		if err != nil {
			b.Fatal(err)
		}
		h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.Security(libp2ptls.ID, libp2ptls.New), libp2p.ResourceManager(manager), libp2p.DisableMetrics())
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { h.Close() })
		hosts[i] = h
	}
	from, to = hosts[0], hosts[1]
	if err := from.Connect(timeout(b), peer.AddrInfo{ID: to.ID(), Addrs: to.Addrs()}); err != nil {
		b.Fatal(err)
	}
	return from, to
}

// both runs bench over plain go-libp2p and over this package.
func both(b *testing.B, bench func(b *testing.B, open opener)) {
	b.Run("plain", func(b *testing.B) {
		from, to := plainHosts(b)
		to.SetStreamHandler(benchName, func(s network.Stream) { answerBench(s) })
		awaitProtocol(b, func() bool { p, _ := from.Peerstore().SupportsProtocols(to.ID(), benchName); return len(p) > 0 })
		bench(b, func(b *testing.B) benchStream {
			s, err := from.NewStream(context.Background(), to.ID(), benchName)
			if err != nil {
				b.Error(err)
				return nil
			}
			return plainStream{s}
		})
	})
	b.Run("core", func(b *testing.B) {
		from, to := pair(b)
		serve(b, to, benchName, core.ServeOptions{}, func(s *core.Stream) { answerBench(s) })
		awaitProtocol(b, func() bool { p, _ := from.Host().Peerstore().SupportsProtocols(to.ID(), benchName); return len(p) > 0 })
		bench(b, func(b *testing.B) benchStream {
			s, err := from.OpenStream(context.Background(), to.ID(), []string{benchName}, core.OpenOptions{})
			if err != nil {
				b.Error(err)
				return nil
			}
			return coreStream{s}
		})
	})
}

func awaitProtocol(b *testing.B, known func() bool) {
	b.Helper()
	until(b, "the peer's protocol is known", known)
}

func BenchmarkStream_Bulk64K(b *testing.B) {
	both(b, func(b *testing.B, open opener) {
		s := open(b)
		defer s.Close()
		block := make([]byte, 64<<10)
		s.Write(binary.BigEndian.AppendUint32(nil, sink))
		b.SetBytes(int64(len(block)))
		for b.Loop() {
			if _, err := s.Write(block); err != nil {
				b.Fatal(err)
			}
		}
		s.end()
		if _, err := io.ReadFull(s, block[:1]); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkStream_RoundTrip32(b *testing.B) {
	both(b, func(b *testing.B, open opener) {
		s := open(b)
		defer s.Close()
		q, a := question(32), make([]byte, 32)
		for b.Loop() {
			s.Write(q)
			if _, err := io.ReadFull(s, a); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// once opens a stream, asks, and takes the answer.
func once(b *testing.B, open opener) {
	s := open(b)
	if s == nil {
		return
	}
	var a [32]byte
	s.Write(question(32))
	if _, err := io.ReadFull(s, a[:]); err != nil {
		b.Error(err)
	}
	s.Close()
}

func BenchmarkStream_OpenAskSequential(b *testing.B) {
	both(b, func(b *testing.B, open opener) {
		for b.Loop() {
			once(b, open)
		}
	})
}

// inFlight runs one b.N times, 32 at a time.
func inFlight(b *testing.B, one func()) {
	work := make(chan struct{}, 32)
	var all sync.WaitGroup
	for range 32 {
		all.Add(1)
		go func() {
			defer all.Done()
			for range work {
				one()
			}
		}()
	}
	b.ResetTimer()
	for range b.N {
		work <- struct{}{}
	}
	close(work)
	all.Wait()
}

func BenchmarkStream_OpenAsk32InFlight(b *testing.B) {
	both(b, func(b *testing.B, open opener) { inFlight(b, func() { once(b, open) }) })
}

// The same question as a request, to compare with OpenAsk of plain streams.
func BenchmarkRequest(b *testing.B) {
	from, to := pair(b)
	o, _ := core.ParseRequestServeOptions(nil)
	if _, err := to.ServeRequests(benchName, o, func(r *core.Request) { r.Respond(context.Background(), r.Data, false) }); err != nil {
		b.Fatal(err)
	}
	asking, _ := core.ParseRequestOptions(nil)
	data := make([]byte, 32)
	ask := func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second) // as every call through the ABI has
		defer cancel()
		if _, err := from.Request(ctx, to.ID(), benchName, data, asking); err != nil {
			b.Error(err)
		}
	}
	awaitProtocol(b, func() bool { p, _ := from.Host().Peerstore().SupportsProtocols(to.ID(), benchName); return len(p) > 0 })
	b.Run("sequential", func(b *testing.B) {
		for b.Loop() {
			ask()
		}
	})
	b.Run("32-in-flight", func(b *testing.B) { inFlight(b, ask) })
}

// Messages of 256 bytes between two nodes, until the last is delivered.
func BenchmarkPubsub(b *testing.B) {
	for _, signing := range []string{"sign", "none"} {
		b.Run(signing+"/plain", func(b *testing.B) { plainPubsub(b, signing) })
		b.Run(signing+"/core-publish", func(b *testing.B) {
			corePubsub(b, signing, func(topic *core.Topic, data []byte) {
				if _, err := topic.Publish(context.Background(), data, 0); err != nil {
					b.Fatal(err)
				}
			})
		})
		b.Run(signing+"/core-enqueue", func(b *testing.B) {
			pending := make(chan struct{}, 256)
			corePubsub(b, signing, func(topic *core.Topic, data []byte) {
				pending <- struct{}{}
				if err := topic.Enqueue(context.Background(), data, 0, func(int, error) { <-pending }); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}

func benchMessage(i int) []byte { return append(fmt.Appendf(nil, "%d ", i), make([]byte, 240)...) }

// contentHash names messages as this package does when they carry no author.
func contentHash(m *pb.Message) string {
	h := sha256.New()
	h.Write([]byte(m.GetTopic()))
	h.Write(m.GetData())
	return string(h.Sum(nil))
}

func plainPubsub(b *testing.B, signing string) {
	from, to := plainHosts(b)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	topic := func(h host.Host) *pubsub.Topic {
		options := []pubsub.Option{pubsub.WithPeerOutboundQueueSize(1 << 20), pubsub.WithValidateQueueSize(1 << 20)}
		if signing == "none" {
			options = append(options, pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(), pubsub.WithMessageIdFn(contentHash))
		}
		ps, err := pubsub.NewGossipSub(ctx, h, options...)
		if err != nil {
			b.Fatal(err)
		}
		t, err := ps.Join("bench")
		if err != nil {
			b.Fatal(err)
		}
		return t
	}
	near, far := topic(from), topic(to)
	sub, err := far.Subscribe(pubsub.WithBufferSize(1 << 20))
	if err != nil {
		b.Fatal(err)
	}
	// Until one arrives, nothing of what is published may.
	until(b, "a message arrives", func() bool {
		near.Publish(ctx, fmt.Appendf(nil, "begin %d", time.Now().UnixNano()))
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		_, err := sub.Next(short)
		return err == nil
	})
	done := make(chan error, 1)
	b.ResetTimer()
	go func() {
		for range b.N {
			if _, err := sub.Next(timeout(b)); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for i := range b.N {
		if err := near.Publish(ctx, benchMessage(i)); err != nil {
			b.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

func corePubsub(b *testing.B, signing string, send func(*core.Topic, []byte)) {
	near, far := topics(b, "bench", "", "", "pubsub.signing", signing)
	there := listen(b, far)
	publish(b, near, "begin", 1)
	there.want(b, "begin")
	done := make(chan struct{})
	b.ResetTimer()
	go func() {
		defer close(done)
		for range b.N {
			<-there.ch
		}
	}()
	for i := range b.N {
		send(near, benchMessage(i))
	}
	select {
	case <-done:
	case <-timeout(b).Done():
		b.Fatalf("lost: %+v, %+v", topicInfo(near), topicInfo(far))
	}
}
