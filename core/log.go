package core

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"math"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/gologshim"
)

// LogRecord is one line of the log.
type LogRecord struct {
	Time      time.Time
	Level     slog.Level
	Subsystem string   // "swarm2", "pubsub", "p2pgo", ...
	Message   string   // one line
	Attrs     []string // "key=value", one line each
}

// levelOff is above every level that is logged.
const levelOff = slog.Level(math.MaxInt32)

// logs is the one pipeline of the process: go-libp2p, pubsub and this package log into it, and it goes to the sink or nowhere. Levels are
// kept here because upstream's own table of subsystems is not safe to read while loggers are made.
var logs = struct {
	sink   atomic.Pointer[func(LogRecord)]
	lowest atomic.Int64 // the lowest of all levels, so that a log call that nobody hears costs one load

	mu     sync.RWMutex
	all    slog.Level            // guarded by mu
	levels map[string]slog.Level // guarded by mu
}{all: levelOff, levels: map[string]slog.Level{}}

// logger is this package's own.
var logger = newLogger("p2pgo")

func init() {
	logs.lowest.Store(int64(levelOff))
	// Both must come before anything else logs: without the first go-libp2p writes to stderr, without the second quic-go does, when the
	// kernel grants a smaller receive buffer than it asked for.
	gologshim.SetDefaultHandler(logHandler{})
	os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
}

// newLogger makes a logger for a subsystem, for those parts of the stack that take one.
func newLogger(subsystem string) *slog.Logger {
	return slog.New(logHandler{subsystem: subsystem})
}

// SetLogLevel sets how much a subsystem logs: "debug", "info", "warn", "error" or "off". "*" is all of them, also those to come.
func SetLogLevel(subsystem, level string) error {
	var l slog.Level
	switch strings.ToLower(level) {
	case "debug":
		l = slog.LevelDebug
	case "info":
		l = slog.LevelInfo
	case "warn":
		l = slog.LevelWarn
	case "error":
		l = slog.LevelError
	case "off":
		l = levelOff
	default:
		return Errorf(ErrInvalid, "log level %s is none of debug, info, warn, error, off", quoteShort(level))
	}
	if subsystem == "" {
		return Errorf(ErrInvalid, "the subsystem is empty; * is all of them")
	}
	logs.mu.Lock()
	defer logs.mu.Unlock()
	if subsystem == "*" {
		logs.all = l
		clear(logs.levels)
	} else {
		logs.levels[subsystem] = l
	}
	lowest := logs.all
	for _, other := range logs.levels {
		lowest = min(lowest, other)
	}
	logs.lowest.Store(int64(lowest))
	return nil
}

// SetLogSink sends log records to sink, or nowhere if it is nil. sink is called from any goroutine, several at a time, and must not block:
// the goroutine that logs waits for it.
func SetLogSink(sink func(LogRecord)) {
	if sink == nil {
		logs.sink.Store(nil)
		return
	}
	logs.sink.Store(&sink)
}

// SetLogInbox is SetLogSink with an inbox for which capacity records may wait; then the oldest are dropped and announced. end takes it back
// and waits until the inbox is no longer called. The newest sink or inbox takes the place of the one before.
func SetLogInbox(capacity int, inbox Inbox[LogRecord]) (end func()) {
	m := newMailbox("log", inbox, DropOldest, capacity, 0, nil)
	sink := func(r LogRecord) { m.put(context.Background(), r, 0) } // DropOldest does not wait
	logs.sink.Store(&sink)
	return func() {
		logs.sink.CompareAndSwap(&sink, nil)
		m.close(nil)
	}
}

// CaptureStandardLog sends what is written to the standard library's logger to the subsystem "std". A few packages below (zeroconf, quic-go)
// write there, and thereby to stderr. It is for programs in which no other Go code logs, such as the shared library.
func CaptureStandardLog() {
	log.SetFlags(0)
	log.SetOutput(standardLog{})
}

type standardLog struct{}

var standardLogger = newLogger("std")

func (standardLog) Write(text []byte) (int, error) {
	standardLogger.Warn(strings.TrimSpace(string(text)))
	return len(text), nil
}

// logHandler feeds slog records into logs.
type logHandler struct {
	subsystem string
	attrs     []string
	group     string
}

func (h logHandler) Enabled(_ context.Context, level slog.Level) bool {
	if int64(level) < logs.lowest.Load() || logs.sink.Load() == nil {
		return false
	}
	if h.subsystem == "" {
		return true // decided in Handle, where the record may name its subsystem
	}
	return level >= levelOf(h.subsystem)
}

func levelOf(subsystem string) slog.Level {
	logs.mu.RLock()
	defer logs.mu.RUnlock()
	if level, ok := logs.levels[subsystem]; ok {
		return level
	}
	return logs.all
}

func (h logHandler) Handle(_ context.Context, r slog.Record) (err error) {
	sink := logs.sink.Load()
	if sink == nil {
		return nil
	}
	defer func() {
		if p := recover(); p != nil { // no log record: it would come here again
			panicCount.Add(1)
			err = Errorf(ErrInternal, "log sink: panic: %v", p)
		}
	}()
	attrs := append([]string(nil), h.attrs...)
	r.Attrs(func(a slog.Attr) bool {
		if h.group == "" && a.Key == "logger" {
			h.subsystem = a.Value.String()
			return true
		}
		attrs = appendAttr(attrs, h.group, a)
		return true
	})
	if r.Level < levelOf(h.subsystem) {
		return nil
	}
	(*sink)(LogRecord{r.Time, r.Level, h.subsystem, oneLine(r.Message), attrs})
	return nil
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.attrs = append([]string(nil), h.attrs...)
	for _, a := range attrs {
		if h.group == "" && a.Key == "logger" {
			h.subsystem = a.Value.String()
			continue
		}
		h.attrs = appendAttr(h.attrs, h.group, a)
	}
	return h
}

func (h logHandler) WithGroup(name string) slog.Handler {
	if name != "" {
		h.group += name + "."
	}
	return h
}

func appendAttr(attrs []string, group string, a slog.Attr) []string {
	value := a.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		if a.Key != "" {
			group += a.Key + "."
		}
		for _, inner := range value.Group() {
			attrs = appendAttr(attrs, group, inner)
		}
		return attrs
	}
	if a.Equal(slog.Attr{}) {
		return attrs
	}
	return append(attrs, oneLine(fmt.Sprintf("%s%s=%s", group, a.Key, value)))
}
