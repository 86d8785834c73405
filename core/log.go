package core

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"math"
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

// logs is the one pipeline of the process: go-libp2p, pubsub, the DHT and this package log into it, and it goes to the outlets or nowhere. Levels
// are kept here because upstream's own table of subsystems is not safe to read while loggers are made.
var logs = struct {
	outlets   atomic.Pointer[[]func(LogRecord)] // nil: none
	lowest    atomic.Int64                      // the lowest of all levels, so that a log call that nobody hears costs one load
	delivered atomic.Uint64
	dropped   atomic.Uint64
	changing  sync.Mutex // held while a level is set

	mu     sync.RWMutex
	all    slog.Level                // guarded by mu
	levels map[string]slog.Level     // guarded by mu
	set    [outlets]*func(LogRecord) // guarded by mu; what outlets is made of
}{all: levelOff, levels: map[string]slog.Level{}}

// The outlets of the log. Each gets all records.
const (
	outletSink = iota
	outletInbox
	outletFD
	outletFile
	outlets
)

// setOutlet has an outlet's records go to fn; nil: nowhere. end takes it back, unless another one has taken its place.
func setOutlet(which int, fn func(LogRecord)) (end func()) {
	var own *func(LogRecord)
	if fn != nil {
		own = &fn
	}
	change := func(from, to *func(LogRecord), always bool) {
		logs.mu.Lock()
		defer logs.mu.Unlock()
		if !always && logs.set[which] != from {
			return
		}
		logs.set[which] = to
		var open []func(LogRecord)
		for _, outlet := range logs.set {
			if outlet != nil {
				open = append(open, *outlet)
			}
		}
		if open == nil {
			logs.outlets.Store(nil)
		} else {
			logs.outlets.Store(&open)
		}
	}
	change(nil, own, true)
	return func() { change(own, nil, false) }
}

// LogCounts returns how many log records of the process were handed over to an inbox, descriptor or file, and how many of them were lost because
// it did not take them in time.
func LogCounts() (delivered, dropped uint64) { return logs.delivered.Load(), logs.dropped.Load() }

// logger is this package's own.
var logger = newLogger("p2pgo")

func init() {
	logs.lowest.Store(int64(levelOff))
	// These must come before anything else logs: without them go-libp2p writes to stderr, and so does the DHT. quic-go, which does when the kernel
	// grants a smaller receive buffer than it asked for, is CaptureStandardLog's: its own switch is an environment variable, and a library must not
	// set one in a host whose threads may be reading others.
	gologshim.SetDefaultHandler(logHandler{})
	captureZap()
	captureCanonical()
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
	logs.changing.Lock()
	defer logs.changing.Unlock()
	changeLevel(subsystem, l)
	captureZap()
	return nil
}

func changeLevel(subsystem string, l slog.Level) {
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
}

// SetLogSink sends log records to sink too; nil ends it. sink is called from any goroutine, several at a time, and must not block: the goroutine
// that logs waits for it.
func SetLogSink(sink func(LogRecord)) { setOutlet(outletSink, sink) }

// SetLogInbox is SetLogSink for an inbox for which capacity records may wait; then the oldest are dropped and announced. end takes it back
// and waits until the inbox is no longer called. The newest inbox takes the place of the one before.
func SetLogInbox(capacity int, inbox Inbox[LogRecord]) (end func()) {
	take := func(r LogRecord) bool {
		inbox.Deliver(r)
		return true
	}
	return openOutlet(outletInbox, capacity, take, inbox.Dropped, 0)
}

// openOutlet puts a mailbox before an outlet, whose take reports whether it had room for a record. dropped is told how many were lost before that; it
// may be nil. end waits at most patience for what is in the mailbox to be taken.
func openOutlet(which, capacity int, take func(LogRecord) bool, dropped func(n uint64), patience time.Duration) (end func()) {
	m := newMailbox("log", Inbox[LogRecord]{
		Deliver: func(r LogRecord) {
			if take(r) {
				logs.delivered.Add(1)
			} else {
				logs.dropped.Add(1)
			}
		},
		Dropped: func(n uint64) {
			logs.dropped.Add(n)
			if dropped != nil {
				dropped(n)
			}
		},
	}, DropOldest, capacity, 0, nil)
	remove := setOutlet(which, func(r LogRecord) { m.put(context.Background(), r, 0) }) // DropOldest does not wait
	return func() {
		remove()
		for until := time.Now().Add(patience); m.stats().Waiting > 0 && time.Now().Before(until); {
			time.Sleep(time.Millisecond)
		}
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

// standardLoggerOf makes a logger of the standard library's kind for a subsystem, for those who take no other.
func standardLoggerOf(subsystem string) *log.Logger {
	return slog.NewLogLogger(logHandler{subsystem: subsystem}, slog.LevelWarn)
}

// logHandler feeds slog records into logs.
type logHandler struct {
	subsystem string
	attrs     []string
	group     string
}

func (h logHandler) Enabled(_ context.Context, level slog.Level) bool {
	if !anyoneHears(level) {
		return false
	}
	if h.subsystem == "" {
		return true // decided in Handle, where the record may name its subsystem
	}
	return level >= levelOf(h.subsystem)
}

// anyoneHears is false where a record of a level goes nowhere in any case; it costs two loads.
func anyoneHears(level slog.Level) bool {
	return int64(level) >= logs.lowest.Load() && logs.outlets.Load() != nil
}

// hand passes a record on to every outlet.
func hand(r LogRecord) (err error) {
	open := logs.outlets.Load()
	if open == nil {
		return nil
	}
	defer func() {
		if p := recover(); p != nil { // no log record: it would come here again
			panicCount.Add(1)
			err = Errorf(ErrInternal, "log outlet: panic: %v", p)
		}
	}()
	for _, outlet := range *open {
		outlet(r)
	}
	return nil
}

func levelOf(subsystem string) slog.Level {
	logs.mu.RLock()
	defer logs.mu.RUnlock()
	if level, ok := logs.levels[subsystem]; ok {
		return level
	}
	return logs.all
}

func (h logHandler) Handle(_ context.Context, r slog.Record) error {
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
	return hand(LogRecord{r.Time, r.Level, h.subsystem, oneLine(r.Message), attrs})
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
