package core

import (
	"bytes"
	"runtime"
	"strconv"
)

// goroutineID tells goroutines apart, for one purpose: a close that is called from the goroutine it would wait for must
// not wait. Go offers no other way to know.
func goroutineID() uint64 {
	var buf [64]byte
	text := buf[:runtime.Stack(buf[:], false)] // "goroutine 18 [running]: ..."
	text = bytes.TrimPrefix(text, []byte("goroutine "))
	if i := bytes.IndexByte(text, ' '); i > 0 {
		id, _ := strconv.ParseUint(string(text[:i]), 10, 64)
		return id
	}
	return 0
}
