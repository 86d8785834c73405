package main

// #include "bridge.h"
import "C"

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/libp2pgo/libp2pgo/core"
)

//export go_build_info
func go_build_info(out **C.char) (rc C.int) {
	defer trap(&rc)
	info := struct {
		Version    string            `json:"version"`
		ABI        int               `json:"abi"`
		Go         string            `json:"go"`
		Modules    map[string]string `json:"modules"`
		Transports []string          `json:"transports"`
	}{C.P2P_VERSION, C.P2P_ABI, runtime.Version(), map[string]string{}, core.Transports()}
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, m := range build.Deps {
			info.Modules[m.Path] = m.Version
		}
	}
	return putJSON(out, info)
}

//export go_log_level
func go_log_level(subsystem, level *C.char) (rc C.int) {
	defer trap(&rc)
	if err := core.SetLogLevel(text(subsystem), text(level)); err != nil {
		return fail(err)
	}
	return 0
}

// logCapacity is how many log records may wait for a slow reader.
const logCapacity = 4096

var logSink struct {
	mu  sync.Mutex
	end func() // guarded by mu; ends the present one
}

//export go_log_queue
func go_log_queue(queue C.p2p_handle, tag C.uint64_t) (rc C.int) {
	defer trap(&rc)
	src, code := newSource(&handle{}, queue, tag, logCapacity/16, 0)
	if code < 0 {
		return code
	}
	logSink.mu.Lock()
	defer logSink.mu.Unlock()
	if logSink.end != nil {
		logSink.end()
		logSink.end = nil
	}
	if src == nil {
		return 0
	}
	src.begin()
	closeInbox := core.SetLogInbox(logCapacity-logCapacity/16, core.Inbox[core.LogRecord]{
		Deliver: func(r core.LogRecord) {
			src.deliver(C.p2p_event{_type: C.P2P_EVENT_LOG, value: C.int64_t(r.Level)}, logText(r), nil)
		},
		Dropped: src.dropped,
	})
	logSink.end = func() {
		src.stop()
		closeInbox()
		src.free()
	}
	return 0
}

func logText(r core.LogRecord) string {
	fields := append([]string{core.LevelName(r.Level), r.Time.Format(time.RFC3339Nano), r.Subsystem, r.Message}, r.Attrs...)
	for i, f := range fields {
		fields[i] = strings.ReplaceAll(f, "\n", "\\n")
	}
	return strings.Join(fields, "\n")
}

//export go_log_fd
func go_log_fd(fd C.int, options *C.char) (rc C.int) {
	defer trap(&rc)
	o, err := core.ParseLogOutputOptions([]byte(text(options)))
	if err == nil {
		err = core.SetLogFD(int(fd), o)
	}
	if err != nil {
		return fail(err)
	}
	return 0
}

//export go_log_file
func go_log_file(path, options *C.char) (rc C.int) {
	defer trap(&rc)
	o, err := core.ParseLogOutputOptions([]byte(text(options)))
	if err == nil && path != nil && text(path) == "" {
		err = core.Errorf(core.ErrInvalid, "path: is empty; NULL ends the file")
	}
	if err == nil {
		err = core.SetLogFile(text(path), o)
	}
	if err != nil {
		return fail(err)
	}
	return 0
}

//export go_crash_file
func go_crash_file(path *C.char) (rc C.int) {
	defer trap(&rc)
	if path == nil {
		debug.SetCrashOutput(nil, debug.CrashOptions{})
		return 0
	}
	f, err := os.OpenFile(text(path), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return failed(core.ErrSystem, "%v", err)
	}
	defer f.Close() // the runtime keeps a duplicate
	if err := debug.SetCrashOutput(f, debug.CrashOptions{}); err != nil {
		return failed(core.ErrSystem, "%s: %v", text(path), err)
	}
	return 0
}

//export go_runtime_tune
func go_runtime_tune(threads C.int32_t, heapBytes C.int64_t) (rc C.int) {
	defer trap(&rc)
	if threads < -1 || threads > 1<<16 {
		return failed(core.ErrInvalid, "threads: %d is not -1, 0 or a number of threads", threads)
	}
	if heapBytes < -1 {
		return failed(core.ErrInvalid, "heap_bytes: %d is not -1, 0 or a number of bytes", heapBytes)
	}
	switch {
	case threads == -1:
		runtime.SetDefaultGOMAXPROCS()
	case threads > 0:
		runtime.GOMAXPROCS(int(threads))
	}
	switch {
	case heapBytes == -1:
		debug.SetMemoryLimit(1<<63 - 1)
	case heapBytes > 0:
		debug.SetMemoryLimit(int64(heapBytes))
	}
	return 0
}

//export go_runtime_info
func go_runtime_info(out **C.char) (rc C.int) {
	defer trap(&rc)
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(heap)
	var limit syscall.Rlimit
	syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	open := map[string]int64{"queue": int64(C.queue_live())}
	for k, name := range kindNames {
		if name != "" {
			open[name] = live[k].Load()
		}
	}
	logged, lost := core.LogCounts()
	return putJSON(out, struct {
		Goroutines          int              `json:"goroutines"`
		HeapBytes           uint64           `json:"heap_bytes"`
		Threads             int              `json:"threads"`
		FileDescriptors     int              `json:"file_descriptors"`
		FileDescriptorLimit uint64           `json:"file_descriptor_limit"`
		Handles             map[string]int64 `json:"handles"`
		Panics              int64            `json:"panics"`
		LogRecords          uint64           `json:"log_records"`
		LogDropped          uint64           `json:"log_dropped"`
	}{runtime.NumGoroutine(), heap[0].Value.Uint64(), entries("/proc/self/task"), entries("/proc/self/fd") - 1, limit.Cur, open, core.Panics(),
		logged, lost})
}

// entries counts a directory's entries; what reads /proc/self/fd has one descriptor open for it.
func entries(dir string) int {
	names, _ := os.ReadDir(dir)
	return len(names)
}
