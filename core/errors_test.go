package core

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-yamux/v5"
)

// Every error matches one sentinel, whatever is wrapped in whatever.
func TestErrorsMatchOneSentinel(t *testing.T) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	late, cancel := context.WithTimeout(context.Background(), -1)
	defer cancel()
	closed, cancelCause := context.WithCancelCause(context.Background())
	cancelCause(Errorf(ErrClosed, "the node is closed"))
	alive := context.Background()
	for name, c := range map[string]struct {
		err  error
		kind error
		text string
	}{
		"plain":           {Errorf(ErrNotFound, "topic %q", "x"), ErrNotFound, `topic "x"`},
		"wrapped":         {fmt.Errorf("outer: %w", Errorf(ErrNotFound, "x")), ErrNotFound, "outer: x"},
		"replaced":        {Errorf(ErrParse, "file: %w", Errorf(ErrInvalid, "x")), ErrParse, "file: x"},
		"same kind kept":  {Errorf(ErrTooBig, "answer: %w", &SizeError{"message", 9, 8}), ErrTooBig, "answer: message of 9 bytes exceeds 8"},
		"many lines":      {Errorf(ErrDial, "a\n  * b\r\n\tc"), ErrDial, "a; * b; c"},
		"deadline":        {translate(alive, context.DeadlineExceeded, ErrDial, "ping"), ErrTimeout, "ping: time is up"},
		"call's deadline": {translate(late, io.ErrUnexpectedEOF, ErrDial, "ping"), ErrTimeout, "ping: time is up"},
		"call cancelled":  {translate(ended, io.EOF, ErrDial, "ping"), ErrCancelled, "ping: cancelled"},
		"node closed":     {translate(closed, context.Canceled, ErrDial, "ping"), ErrClosed, "ping: the node is closed"},
		"closed below":    {translate(alive, context.Canceled, ErrInternal, "topic"), ErrClosed, "topic: it was closed"},
		"limit":           {translate(alive, fmt.Errorf("stream: %w", network.ErrResourceLimitExceeded), ErrDial, "open"), ErrLimit, ""},
		"limited":         {translate(alive, network.ErrLimitedConn, ErrDial, "open"), ErrLimited, ""},
		"reset":           {translate(alive, &network.StreamError{ErrorCode: 0x1002, Remote: true}, ErrDial, "read"), ErrReset, "0x1002"},
		"fallback":        {translate(alive, io.ErrClosedPipe, ErrRefused, "open"), ErrRefused, "closed pipe"},
		"ours already":    {translate(ended, Errorf(ErrPeers, "2 of 3"), ErrDial, "publish"), ErrPeers, "2 of 3"},
		"dial":            {&DialError{}, ErrDial, ""},
		"reset error":     {&ResetError{7, true}, ErrReset, "by the peer with code 7"},
		"remote error":    {&RemoteError{4, "no\nsuch file"}, ErrRemote, "no; such file (code 4)"},
		"size error":      {&SizeError{"message", -1, 8}, ErrTooBig, "message exceeds 8 bytes"},
		"option error":    {&OptionError{"a.b", "unknown option"}, ErrConfig, "a.b: unknown option"},
	} {
		t.Run(name, func(t *testing.T) {
			matches := 0
			for _, s := range sentinels {
				if errors.Is(c.err, s) {
					matches++
				}
			}
			if matches != 1 || !errors.Is(c.err, c.kind) || Kind(c.err) != c.kind {
				t.Errorf("%v matches %d sentinels; kind %v, not %v", c.err, matches, Kind(c.err), c.kind)
			}
			if !strings.Contains(c.err.Error(), c.text) || strings.Contains(c.err.Error(), "\n") {
				t.Errorf("text is %q, without %q", c.err, c.text)
			}
		})
	}
	if Kind(nil) != nil || Kind(io.EOF) != ErrInternal || translate(alive, nil, ErrDial, "") != nil {
		t.Error("nil and foreign errors")
	}
	var size *SizeError
	if !errors.As(Errorf(ErrTooBig, "answer: %w", &SizeError{"message", 9, 8}), &size) {
		t.Error("a typed error is lost in Errorf")
	}
}

func TestPanicsAreRecoveredAndCounted(t *testing.T) {
	before := Panics()
	done := make(chan struct{})
	safeGo("test", func() {
		defer close(done)
		panic("one")
	})
	<-done
	var err error
	func() {
		defer Recovered("test", &err)
		panic("two")
	}()
	if Kind(err) != ErrInternal || !strings.Contains(err.Error(), "two") {
		t.Errorf("error is %v", err)
	}
	if guarded("test", func() { panic("three") }) || !guarded("test", func() {}) {
		t.Error("guarded does not tell")
	}
	SetLogSink(func(LogRecord) { panic("in the sink") })
	SetLogLevel("*", "debug")
	logger.Info("x")
	SetLogLevel("*", "off")
	SetLogSink(nil)
	for deadline := time.Now().Add(10 * time.Second); Panics() != before+4 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if n := Panics() - before; n != 4 {
		t.Errorf("%d panics counted, not 4", n)
	}
}

// Where the machine has no routing table, QUIC works all the same.
func TestQUICWithoutRoutes(t *testing.T) {
	defer func(f func() bool) { routesKnown = f }(routesKnown)
	routesKnown = func() bool { return false }
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	nodes := make([]*Node, 2)
	for i := range nodes {
		c := DefaultConfig()
		if err := c.Set("listen", "/ip4/127.0.0.1/udp/0/quic-v1"); err != nil {
			t.Fatal(err)
		}
		n, err := New(ctx, c, Inbox[Event]{})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		nodes[i] = n
	}
	if _, err := nodes[0].Connect(ctx, nodes[1].Addresses()); err != nil {
		t.Fatal(err)
	}
}

// Hooks run in reverse order, a panic in one does not stop the others, and none is taken once the node closes.
func TestCloseHooks(t *testing.T) {
	n, err := New(context.Background(), mustParse(t, `{"listen":[]}`), Inbox[Event]{})
	if err != nil {
		t.Fatal(err)
	}
	var order []int
	n.onClose(nil, func() { order = append(order, 1) })
	var remove func()
	n.onClose(&remove, func() { order = append(order, 2) })
	n.onClose(nil, func() { order = append(order, 3); panic("in a hook") })
	remove()
	remove()
	n.Close()
	if fmt.Sprint(order) != "[3 1]" {
		t.Errorf("hooks ran as %v", order)
	}
	if err := n.onClose(&remove, func() { t.Error("called") }); Kind(err) != ErrClosed {
		t.Errorf("late hook: %v", err)
	}
	if n.spawn("late", func() { t.Error("called") }) {
		t.Error("late spawn")
	}
	ctx, cancel := n.join(context.Background())
	defer cancel()
	if <-ctx.Done(); Kind(ctxError(ctx, "x")) != ErrClosed {
		t.Error("join of a closed node")
	}
}

func mustParse(t *testing.T, doc string) *Config {
	t.Helper()
	c, err := ParseConfig([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// silence is the error of a connection whose peer has not answered for long, as QUIC has it.
type silence struct{}

func (silence) Error() string   { return "no recent network activity" }
func (silence) Timeout() bool   { return true }
func (silence) Temporary() bool { return true }

// A connection that was given up is no timeout of a call: waiting longer does not help.
func TestStreamErrorOfALostConnection(t *testing.T) {
	n, err := New(context.Background(), DefaultConfig(), Inbox[Event]{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	for _, lost := range []error{silence{}, yamux.ErrKeepAliveTimeout, yamux.ErrConnectionWriteTimeout} {
		s := &Stream{node: n}
		if err := s.streamError(lost, "read from"); Kind(err) != ErrReset || s.peerReset == nil {
			t.Errorf("%v became %v, the stream %v", lost, err, s.peerReset)
		}
	}
	for _, late := range []error{os.ErrDeadlineExceeded, yamux.ErrTimeout} {
		s := &Stream{node: n}
		if err := s.streamError(late, "read from"); Kind(err) != ErrTimeout || s.peerReset != nil {
			t.Errorf("%v became %v, the stream %v", late, err, s.peerReset)
		}
	}
}
