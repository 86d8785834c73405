package core

import (
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// The wire format of requests; docs/request.md is its specification.
//
//	message Request { uint64 timeout_ms = 1; bytes payload = 2; }
//	message Answer  { bytes payload = 1; bool last = 2; uint32 failure = 3; int32 code = 4; string words = 5; }

// failure says which kind of error an Answer is.
type failure uint32

const (
	failNone    failure = 0
	failHandler failure = 1 // the handler's own error, with its code and words
	failBusy    failure = 2 // too many requests at a time
	failTooBig  failure = 3 // the request is larger than the service takes; code is the limit
	failGone    failure = 4 // the handler ended without an answer; code is NoAnswer
	failTimeout failure = 5 // the service's own time limit passed
)

// NoAnswer is the code of the *RemoteError for a handler that ended, or failed, without an answer. A handler's own codes are not negative.
const NoAnswer int32 = -1

// frameOverhead is more than what either message adds to its payload and words.
const frameOverhead = 64

// wordsMax bounds the words of an error answer in bytes.
const wordsMax = 4 << 10

func encodeRequestHead(timeout time.Duration, payload int) []byte {
	var b []byte
	if timeout > 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, 1, protowire.VarintType), uint64(max(timeout.Milliseconds(), 1)))
	}
	b = protowire.AppendTag(b, 2, protowire.BytesType)
	return protowire.AppendVarint(b, uint64(payload))
}

func decodeRequest(m []byte) (timeout time.Duration, payload []byte, err error) {
	err = eachField(m, func(num protowire.Number, value uint64, bytes []byte) {
		switch num {
		case 1:
			timeout = time.Duration(min(value, 1<<40)) * time.Millisecond
		case 2:
			payload = bytes
		}
	})
	return timeout, payload, err
}

// answer is one part of an answer, or its end.
type answer struct {
	payload []byte
	last    bool
	failure failure
	code    int32
	words   string
}

// encodeAnswerHead encodes all of a but the payload's bytes, which follow it.
func encodeAnswerHead(a *answer) []byte {
	var b []byte
	if a.last {
		b = protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), 1)
	}
	if a.failure != failNone {
		b = protowire.AppendVarint(protowire.AppendTag(b, 3, protowire.VarintType), uint64(a.failure))
		b = protowire.AppendVarint(protowire.AppendTag(b, 4, protowire.VarintType), uint64(uint32(a.code)))
		b = protowire.AppendString(protowire.AppendTag(b, 5, protowire.BytesType), a.words)
		return b
	}
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	return protowire.AppendVarint(b, uint64(len(a.payload)))
}

func decodeAnswer(m []byte) (a answer, err error) {
	err = eachField(m, func(num protowire.Number, value uint64, bytes []byte) {
		switch num {
		case 1:
			a.payload = bytes
		case 2:
			a.last = value != 0
		case 3:
			a.failure = failure(value)
		case 4:
			a.code = int32(value)
		case 5:
			a.words = shorten(string(bytes[:min(len(bytes), wordsMax)]))
		}
	})
	return a, err
}

// shorten makes words fit an error answer, and UTF-8.
func shorten(words string) string { return strings.ToValidUTF8(words[:min(len(words), wordsMax)], "") }

// eachField calls fn for every field of a message; unknown ones are the future's.
func eachField(m []byte, fn func(num protowire.Number, value uint64, bytes []byte)) error {
	for len(m) > 0 {
		num, kind, n := protowire.ConsumeTag(m)
		if n < 0 {
			return Errorf(ErrParse, "malformed message: %v", protowire.ParseError(n))
		}
		m = m[n:]
		var value uint64
		var bytes []byte
		switch kind {
		case protowire.VarintType:
			value, n = protowire.ConsumeVarint(m)
		case protowire.BytesType:
			bytes, n = protowire.ConsumeBytes(m)
		default:
			n = protowire.ConsumeFieldValue(num, kind, m)
		}
		if n < 0 {
			return Errorf(ErrParse, "malformed message: %v", protowire.ParseError(n))
		}
		m = m[n:]
		fn(num, value, bytes)
	}
	return nil
}
