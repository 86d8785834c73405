package core

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Every error that leaves this package matches exactly one of these with errors.Is; Kind tells which. Its text names the thing at fault
// (the address, the option's path, the peer) in one line and leaves the kind to the sentinel.
var (
	ErrInvalid     = errors.New("not allowed here")                          // an argument is not allowed here
	ErrConfig      = errors.New("bad option")                                // an option is unknown, mistyped, out of range or in conflict
	ErrParse       = errors.New("malformed")                                 // an address, peer id or key is malformed
	ErrClosed      = errors.New("closed")                                    // closed, also while the call waited
	ErrState       = errors.New("not possible in the present state")         // the thing exists but cannot do this now
	ErrExists      = errors.New("already there")                             // taken by an earlier call
	ErrBusy        = errors.New("busy")                                      // somebody else is doing this
	ErrTimeout     = errors.New("time is up")                                // the call's or the stream's deadline passed
	ErrCancelled   = errors.New("cancelled")                                 // ended by its caller, or by the remote asker
	ErrAgain       = errors.New("nothing now")                               // try later
	ErrDial        = errors.New("no address answered")                       // a *DialError lists every address
	ErrNoAddress   = errors.New("no address known")                          // the peer's addresses are unknown
	ErrNotFound    = errors.New("not found")                                 // nothing by that name
	ErrRefused     = errors.New("refused by the peer")                       // the peer turned it away
	ErrProtocol    = errors.New("the peer speaks none of the protocols")     // protocol negotiation failed
	ErrReset       = errors.New("stream reset")                              // a *ResetError has the code
	ErrRemote      = errors.New("the remote handler answered with an error") // a *RemoteError has code and words
	ErrSecurity    = errors.New("the peer could not be authenticated")       // wrong peer id, or the handshake failed
	ErrListen      = errors.New("an address could not be bound")             // taken, or not of this machine
	ErrLimit       = errors.New("a limit is reached")                        // the words name the limit
	ErrRejected    = errors.New("refused by a rule")                         // a validation rule said no
	ErrTooBig      = errors.New("too big")                                   // a *SizeError has the sizes
	ErrPermission  = errors.New("permission")                                // a file is unreadable, or readable by others
	ErrPeers       = errors.New("fewer peers than asked for")                // publish waited for more peers than came
	ErrSystem      = errors.New("the operating system refused")              // see the words
	ErrUnsupported = errors.New("not available here")                        // not in this build, or not on this machine
	ErrInternal    = errors.New("a bug in the library")                      // the log has the stack
	ErrLimited     = errors.New("only a limited relayed connection exists")  // allow_limited would use it
)

var sentinels = []error{
	ErrInvalid, ErrConfig, ErrParse, ErrClosed, ErrState, ErrExists, ErrBusy, ErrTimeout, ErrCancelled, ErrAgain, ErrDial, ErrNoAddress,
	ErrNotFound, ErrRefused, ErrProtocol, ErrReset, ErrRemote, ErrSecurity, ErrListen, ErrLimit, ErrRejected, ErrTooBig, ErrPermission,
	ErrPeers, ErrSystem, ErrUnsupported, ErrInternal, ErrLimited,
}

// Kind returns the sentinel that err matches: nil for nil, ErrInternal for an error that is not of this package.
func Kind(err error) error {
	if err == nil {
		return nil
	}
	if s := sentinelOf(err); s != nil {
		return s
	}
	return ErrInternal
}

func sentinelOf(err error) error {
	for _, s := range sentinels {
		if errors.Is(err, s) {
			return s
		}
	}
	return nil
}

// wordsError is a sentinel with words of its own.
type wordsError struct {
	sentinel error
	words    string
	cause    error // nil if there is none, or if it matches another sentinel
}

func (e *wordsError) Error() string { return e.words }

func (e *wordsError) Unwrap() []error {
	if e.cause == nil {
		return []error{e.sentinel}
	}
	return []error{e.sentinel, e.cause}
}

// Errorf makes an error that matches sentinel and reads as format and args say, on one line. A %w keeps that error in the chain, unless
// it matches another sentinel: then its words stay and its kind is replaced.
func Errorf(sentinel error, format string, args ...any) error {
	wrapped := fmt.Errorf(format, args...)
	e := &wordsError{sentinel: sentinel, words: oneLine(wrapped.Error())}
	if _, ok := wrapped.(interface{ Unwrap() error }); ok {
		if s := sentinelOf(wrapped); s == nil || s == sentinel {
			e.cause = errors.Unwrap(wrapped)
		}
	}
	return e
}

// oneLine joins the lines of text, as upstream lists its reasons on lines of their own.
func oneLine(text string) string {
	if !strings.ContainsAny(text, "\r\n\t") {
		return text
	}
	parts := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' })
	for i := range parts {
		parts[i] = strings.TrimSpace(strings.ReplaceAll(parts[i], "\t", " "))
	}
	return strings.Join(parts, "; ")
}

// ctxError says in our terms why ctx ended, about the thing that format and args name.
func ctxError(ctx context.Context, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	cause := context.Cause(ctx)
	switch {
	case errors.Is(cause, ErrClosed):
		return Errorf(ErrClosed, "%s: %s", what, cause)
	case errors.Is(cause, context.DeadlineExceeded), errors.Is(cause, ErrTimeout):
		return Errorf(ErrTimeout, "%s: time is up", what)
	default:
		return Errorf(ErrCancelled, "%s: cancelled", what)
	}
}

// translate puts an error of the stack below into our terms, about the thing that format and args name. ctx is that of the call. Errors that
// are ours already pass unchanged; what fits no other kind becomes fallback.
func translate(ctx context.Context, err, fallback error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	if sentinelOf(err) != nil {
		return err
	}
	if ctx != nil && ctx.Err() != nil {
		return ctxError(ctx, format, args...)
	}
	what := fmt.Sprintf(format, args...)
	var stream *network.StreamError
	switch {
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return Errorf(ErrTimeout, "%s: time is up", what)
	case errors.Is(err, network.ErrResourceLimitExceeded):
		return Errorf(ErrLimit, "%s: %w", what, err)
	case errors.Is(err, network.ErrLimitedConn):
		return Errorf(ErrLimited, "%s: %w", what, err)
	case errors.Is(err, network.ErrNoConn):
		return Errorf(ErrState, "%s: not connected", what)
	case errors.As(err, &stream):
		return &ResetError{Code: uint32(stream.ErrorCode), Remote: stream.Remote}
	case errors.Is(err, network.ErrReset):
		return &ResetError{Remote: true}
	case errors.Is(err, os.ErrPermission):
		return Errorf(ErrPermission, "%s: %w", what, err)
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return Errorf(ErrSystem, "%s: %w", what, err)
	case fallback == ErrInternal && errors.Is(err, context.Canceled): // when a node closes, contexts of upstream's can end before that of the call
		return Errorf(ErrClosed, "%s: it was closed meanwhile", what)
	}
	return Errorf(fallback, "%s: %w", what, err)
}

// DialAttempt is one address that was tried, and why it failed.
type DialAttempt struct {
	Address string
	Err     error
}

// DialError lists why a peer could not be reached. It matches ErrDial, or ErrSecurity if every address that answered failed to prove that
// it is the peer, or ErrTimeout, ErrCancelled or ErrClosed if the call ended first.
type DialError struct {
	Peer     peer.ID
	Attempts []DialAttempt
	kind     error
	cause    string // words about the dial as a whole, may be ""
}

func (e *DialError) Error() string {
	var b strings.Builder
	b.WriteString(e.Peer.String())
	b.WriteString(": ")
	if e.cause != "" {
		b.WriteString(e.cause)
	}
	if len(e.Attempts) > 0 {
		if e.cause != "" {
			b.WriteString(", ")
		}
		if len(e.Attempts) == 1 {
			b.WriteString("the only address did not answer: ")
		} else {
			fmt.Fprintf(&b, "none of %d addresses answered: ", len(e.Attempts))
		}
	}
	for i, a := range e.Attempts {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%s %s", a.Address, oneLine(a.Err.Error()))
	}
	return b.String()
}

func (e *DialError) Unwrap() error {
	if e.kind == nil {
		return ErrDial
	}
	return e.kind
}

// ResetError tells that a stream was given up, by the peer or by this side, with a code (0: none).
type ResetError struct {
	Code   uint32
	Remote bool
}

func (e *ResetError) Error() string {
	who := "by this side"
	if e.Remote {
		who = "by the peer"
	}
	text := "stream reset " + who
	if e.Code != 0 {
		text += " with code " + codeName(e.Code)
	}
	return text
}

func (e *ResetError) Unwrap() error { return ErrReset }

func codeName(code uint32) string {
	text := strconv.FormatUint(uint64(code), 10)
	if code >= 0x1000 && code <= 0x1009 { // libp2p's own, in words
		text = fmt.Sprintf("0x%x", code)
	}
	switch network.StreamErrorCode(code) {
	case network.StreamProtocolNegotiationFailed:
		text += " (protocol negotiation failed)"
	case network.StreamResourceLimitExceeded:
		text += " (resource limit exceeded)"
	case network.StreamRateLimited:
		text += " (rate limited)"
	case network.StreamGarbageCollected:
		text += " (connection trimmed)"
	case network.StreamShutdown:
		text += " (shutting down)"
	}
	return text
}

// RemoteError is the error answer of a peer's request handler.
type RemoteError struct {
	Code  int32
	Words string
}

func (e *RemoteError) Error() string {
	if e.Words == "" {
		return fmt.Sprintf("the handler answered with code %d", e.Code)
	}
	return fmt.Sprintf("%s (code %d)", oneLine(e.Words), e.Code)
}

func (e *RemoteError) Unwrap() error { return ErrRemote }

// SizeError tells that something is larger than allowed. Size is -1 where it is unknown.
type SizeError struct {
	What      string
	Size, Max int64
}

func (e *SizeError) Error() string {
	if e.Size < 0 {
		return fmt.Sprintf("%s exceeds %d bytes", e.What, e.Max)
	}
	return fmt.Sprintf("%s of %d bytes exceeds %d", e.What, e.Size, e.Max)
}

func (e *SizeError) Unwrap() error { return ErrTooBig }

// OptionError tells what is wrong with the option at Path ("pubsub.d", "listen[1]"; "" for the document as a whole).
type OptionError struct {
	Path, Problem string
}

func (e *OptionError) Error() string {
	if e.Path == "" {
		return "options: " + e.Problem
	}
	return e.Path + ": " + e.Problem
}

func (e *OptionError) Unwrap() error { return ErrConfig }
