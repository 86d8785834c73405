package main

// #include "bridge.h"
import "C"

import (
	"context"
	"errors"
	"strings"
	"unsafe"

	"github.com/libp2pgo/libp2pgo/core"
)

// codes pairs each of core's sentinels with its number in the header.
var codes = map[error]C.int{
	core.ErrInvalid:     C.P2P_E_INVALID,
	core.ErrConfig:      C.P2P_E_CONFIG,
	core.ErrParse:       C.P2P_E_PARSE,
	core.ErrClosed:      C.P2P_E_CLOSED,
	core.ErrState:       C.P2P_E_STATE,
	core.ErrExists:      C.P2P_E_EXISTS,
	core.ErrBusy:        C.P2P_E_BUSY,
	core.ErrTimeout:     C.P2P_E_TIMEOUT,
	core.ErrCancelled:   C.P2P_E_CANCELLED,
	core.ErrAgain:       C.P2P_E_AGAIN,
	core.ErrDial:        C.P2P_E_DIAL,
	core.ErrNoAddress:   C.P2P_E_NO_ADDRESS,
	core.ErrNotFound:    C.P2P_E_NOT_FOUND,
	core.ErrRefused:     C.P2P_E_REFUSED,
	core.ErrProtocol:    C.P2P_E_PROTOCOL,
	core.ErrReset:       C.P2P_E_RESET,
	core.ErrRemote:      C.P2P_E_REMOTE,
	core.ErrSecurity:    C.P2P_E_SECURITY,
	core.ErrListen:      C.P2P_E_LISTEN,
	core.ErrLimit:       C.P2P_E_LIMIT,
	core.ErrRejected:    C.P2P_E_REJECTED,
	core.ErrTooBig:      C.P2P_E_TOO_BIG,
	core.ErrPermission:  C.P2P_E_PERMISSION,
	core.ErrPeers:       C.P2P_E_PEERS,
	core.ErrSystem:      C.P2P_E_SYSTEM,
	core.ErrUnsupported: C.P2P_E_UNSUPPORTED,
	core.ErrInternal:    C.P2P_E_INTERNAL,
	core.ErrLimited:     C.P2P_E_LIMITED,
}

// failure is an error as the header tells it.
type failure struct {
	code   C.int
	detail int64
	words  string
}

// failureOf translates an error. ctx is that of the call, nil if it does not wait: its cause explains a bare context error.
func failureOf(ctx context.Context, err error) failure {
	if ctx != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return failure{code: C.P2P_E_TIMEOUT, words: "time is up"}
	}
	f := failure{code: codes[core.Kind(err)], words: strings.ToValidUTF8(err.Error(), "?")}
	var reset *core.ResetError
	var remote *core.RemoteError
	var size *core.SizeError
	var partial *partialWrite
	var refusal *core.RendezvousError
	switch {
	case errors.As(err, &reset):
		f.detail = int64(reset.Code)
	case errors.As(err, &remote):
		f.detail, f.words = int64(remote.Code), remote.Words // as the handler said them
	case errors.As(err, &size):
		f.detail = size.Size
	case errors.As(err, &refusal):
		f.detail = int64(refusal.Status)
	case errors.As(err, &partial):
		f.detail = int64(partial.sent)
	}
	return f
}

// set makes the failure the last error of the calling C thread, on which an export's goroutine stays until it returns.
func (f failure) set() C.int {
	return C.error_set(f.code, C.int64_t(f.detail), (*C.char)(unsafe.Pointer(unsafe.StringData(f.words))), C.size_t(len(f.words)))
}

// fail sets err as the thread's last error and returns its code.
func fail(err error) C.int { return failureOf(nil, err).set() }

func failed(sentinel error, format string, args ...any) C.int {
	return fail(core.Errorf(sentinel, format, args...))
}

// panicked logs and counts a panic, with the stack, and returns it as an error.
func panicked(where string, p any) (err error) {
	defer core.Recovered(where, &err)
	panic(p)
}
