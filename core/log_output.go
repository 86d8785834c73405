package core

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// LogOutputOptions are the options of SetLogFD and SetLogFile.
type LogOutputOptions struct {
	Format   string `json:"format" enum:"text,json" doc:"text: time, level, subsystem, message and key=value, one record per line; json: the same as an object per line"`
	MaxBytes int64  `json:"max_bytes" min:"4096" max:"1125899906842624" doc:"size of a file beyond which it is renamed to path.1 (.2, ...) and a new one is begun"`
	Keep     int    `json:"keep" min:"0" max:"100" doc:"renamed files that are kept"`
}

// ParseLogOutputOptions reads LogOutputOptions from strict JSON; empty is the defaults.
func ParseLogOutputOptions(doc []byte) (LogOutputOptions, error) {
	o := LogOutputOptions{Format: "text", MaxBytes: 16 << 20, Keep: 1}
	err := parseOptions(doc, &o, "")
	return o, err
}

func init() {
	registerOptions("log_output", "options for writing the log to a descriptor or a file", func() any { o, _ := ParseLogOutputOptions(nil); return &o })
}

const (
	// logWaiting is how many records may wait for a descriptor or a file; then the oldest are dropped.
	logWaiting = 4096
	// maxLogLine is what a pipe that has room at all takes at once. A longer line is cut.
	maxLogLine = 4096
	// logPatience bounds how long the end of an outlet waits for what is in it.
	logPatience = time.Second
)

// logOutputs are the present descriptor and file.
var logOutputs struct {
	mu  sync.Mutex
	end [outlets]func() // guarded by mu
}

func replaceOutput(which int, open func() (end func(), err error)) error {
	logOutputs.mu.Lock()
	defer logOutputs.mu.Unlock()
	var end func()
	if open != nil {
		var err error
		if end, err = open(); err != nil {
			return err
		}
	}
	if before := logOutputs.end[which]; before != nil {
		before()
	}
	logOutputs.end[which] = end
	return nil
}

// SetLogFD writes the log to a file descriptor too, -1 ends that. fd is duplicated, so the caller may close it. Nothing ever waits for who reads it:
// a record that it does not take at once is lost, and counted in LogCounts and in the log itself. It fails with ErrInvalid if fd is not open.
func SetLogFD(fd int, o LogOutputOptions) error {
	if fd < 0 {
		return replaceOutput(outletFD, nil)
	}
	return replaceOutput(outletFD, func() (func(), error) {
		own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return nil, Errorf(ErrInvalid, "fd: %d is no open descriptor: %s", fd, err)
		}
		var state unix.Stat_t
		socket := unix.Fstat(own, &state) == nil && state.Mode&unix.S_IFMT == unix.S_IFSOCK
		w := &fdOutput{fd: own, socket: socket}
		take, dropped := lineOutlet(o, w.write)
		end := openOutlet(outletFD, logWaiting, take, dropped, logPatience)
		return func() {
			end()
			unix.Close(own)
		}, nil
	})
}

// lineOutlet makes lines of records. write reports whether a line was taken; how many were lost is told by a line of its own once there is room.
func lineOutlet(o LogOutputOptions, write func(line []byte) bool) (take func(LogRecord) bool, dropped func(n uint64)) {
	var lost uint64 // of the mailbox's one goroutine
	line := logText
	if o.Format == "json" {
		line = logJSON
	}
	take = func(r LogRecord) bool {
		if lost > 0 {
			note := LogRecord{time.Now(), slog.LevelWarn, "p2pgo", "log records were lost", []string{fmt.Sprintf("count=%d", lost)}}
			if !write(line(note)) {
				lost++
				return false
			}
			lost = 0
		}
		if !write(line(r)) {
			lost++
			return false
		}
		return true
	}
	return take, func(n uint64) { lost += n }
}

// LevelName names a level as SetLogLevel takes it.
func LevelName(l slog.Level) string {
	switch {
	case l < slog.LevelInfo:
		return "debug"
	case l < slog.LevelWarn:
		return "info"
	case l < slog.LevelError:
		return "warn"
	}
	return "error"
}

func logText(r LogRecord) []byte {
	var b bytes.Buffer
	b.WriteString(r.Time.UTC().Format("2006-01-02T15:04:05.000Z ") + LevelName(r.Level) + " " + r.Subsystem + " " + r.Message)
	for _, a := range r.Attrs {
		key, value, _ := strings.Cut(a, "=")
		if strings.ContainsAny(value, " \"=") || value == "" {
			value = fmt.Sprintf("%q", value)
		}
		b.WriteString(" " + key + "=" + value)
	}
	return asLine(b.Bytes())
}

func logJSON(r LogRecord) []byte {
	fields := ordered{}
	for _, a := range r.Attrs {
		key, value, _ := strings.Cut(a, "=")
		fields = append(fields, member{key, value})
	}
	document := func(message string, fields ordered) []byte {
		doc, err := json.Marshal(ordered{{"time", r.Time.UTC().Format(time.RFC3339Nano)}, {"level", LevelName(r.Level)}, {"subsystem", r.Subsystem},
			{"message", message}, {"fields", fields}})
		if err != nil {
			return nil
		}
		return doc
	}
	doc := document(r.Message, fields)
	if len(doc) >= maxLogLine { // cut, it would not be JSON any more
		doc = document(strings.ToValidUTF8(r.Message[:min(len(r.Message), maxLogLine/8)], ""), ordered{{"cut", "true"}})
	}
	return asLine(doc)
}

// asLine ends a line, and cuts it to what can be written at once. Messages come from below, and might hold anything.
func asLine(line []byte) []byte {
	if len(line) >= maxLogLine {
		line = append(bytes.ToValidUTF8(line[:maxLogLine-4], nil), "..."...)
	}
	for i, c := range line {
		if c < ' ' && c != '\t' || c == 0x7f {
			line[i] = ' '
		}
	}
	return append(line, '\n')
}

// fdOutput writes lines to a descriptor of somebody else's: it must neither wait for who reads, nor change how the descriptor behaves for its
// owner, so it asks before each line whether there is room.
type fdOutput struct {
	fd     int
	socket bool
	rest   []byte // of a line that was taken in part
}

func (w *fdOutput) write(line []byte) bool {
	if len(w.rest) > 0 {
		n := w.push(w.rest)
		if w.rest = w.rest[n:]; len(w.rest) > 0 {
			return false
		}
	}
	n := w.push(line)
	if n == 0 {
		return false
	}
	w.rest = append([]byte(nil), line[n:]...)
	return true
}

func (w *fdOutput) push(p []byte) int {
	for {
		ready := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLOUT}}
		if n, err := unix.Poll(ready, 0); err == unix.EINTR {
			continue
		} else if err != nil || n == 0 || ready[0].Revents&unix.POLLOUT == 0 {
			return 0
		}
		var n int
		var err error
		if w.socket {
			n, err = unix.SendmsgN(w.fd, p, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		} else {
			n, err = unix.Write(w.fd, p)
		}
		if err == unix.EINTR {
			continue
		}
		return max(n, 0)
	}
}

// SetLogFile writes the log to the end of a file too, made with mode 0600 if it is not there; "" ends that. It fails with ErrPermission or ErrSystem.
func SetLogFile(path string, o LogOutputOptions) error {
	if path == "" {
		return replaceOutput(outletFile, nil)
	}
	return replaceOutput(outletFile, func() (func(), error) {
		w := &fileOutput{path: path, o: o}
		if err := w.open(); err != nil {
			kind := ErrSystem
			if errors.Is(err, os.ErrPermission) {
				kind = ErrPermission
			}
			return nil, Errorf(kind, "%s", err)
		}
		take, dropped := lineOutlet(o, w.write)
		end := openOutlet(outletFile, logWaiting, take, dropped, logPatience)
		return func() {
			end()
			if w.file != nil {
				w.file.Close()
			}
		}, nil
	})
}

// fileOutput writes lines to a file and begins a new one when it is full.
type fileOutput struct {
	path string
	o    LogOutputOptions
	file *os.File // nil: it could not be opened again
	size int64
}

func (w *fileOutput) open() error {
	file, err := os.OpenFile(w.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND|unix.O_NONBLOCK, 0o600) // a pipe without a reader would be waited for
	if err != nil {
		return err
	}
	state, err := file.Stat()
	if err == nil && !state.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", w.path)
	}
	if err != nil {
		file.Close()
		return err
	}
	w.file, w.size = file, state.Size()
	return nil
}

func (w *fileOutput) write(line []byte) bool {
	if w.file != nil && w.size > 0 && w.size+int64(len(line)) > w.o.MaxBytes {
		w.turn()
	}
	if w.file == nil && w.open() != nil {
		return false
	}
	n, err := w.file.Write(line)
	w.size += int64(n)
	return err == nil
}

// turn renames path to path.1, path.1 to path.2, and so on.
func (w *fileOutput) turn() {
	w.file.Close()
	w.file = nil
	name := func(i int) string {
		if i == 0 {
			return w.path
		}
		return fmt.Sprintf("%s.%d", w.path, i)
	}
	if w.o.Keep == 0 {
		os.Remove(w.path)
		return
	}
	for i := w.o.Keep - 1; i >= 0; i-- {
		os.Rename(name(i), name(i+1))
	}
}
