package core

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"time"
)

// Whatever a peer sends, the reader of frames gives what was framed, or an error, and takes no memory for what was only announced.
func FuzzFrameReader(f *testing.F) {
	for _, seed := range []string{"", "\x00", "\x01a", "\x80", "\x80\x00", "\x05abc", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "\x02ab\x03cde"} {
		f.Add([]byte(seed), 100)
	}
	f.Add([]byte{0}, -14) // a limit below 0 is 0
	f.Fuzz(func(t *testing.T, flow []byte, limit int) {
		for _, r := range []io.Reader{bytes.NewReader(flow), iotest.OneByteReader(bytes.NewReader(flow)), iotest.DataErrReader(bytes.NewReader(flow))} {
			var frames frameReader
			rest := flow
			for {
				m, err := frames.next(r, limit)
				if err != nil {
					if err != io.EOF && Kind(err) == ErrInternal {
						t.Fatalf("not of ours: %v", err)
					}
					if err == io.EOF && len(rest) > 0 {
						t.Fatalf("the end, with %d bytes left", len(rest))
					}
					break
				}
				length, n := binary.Uvarint(rest)
				if n <= 0 || uint64(len(m)) != length || len(m) > max(limit, 0) || !bytes.Equal(m, rest[n:n+len(m)]) {
					t.Fatalf("%d bytes of a frame of %d", len(m), length)
				}
				rest = rest[n+len(m):]
			}
			if cap(frames.message) > 64<<10+2*len(flow) {
				t.Fatalf("%d bytes of memory for a flow of %d", cap(frames.message), len(flow))
			}
		}
	})
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(append(encodeRequestHead(time.Second, 3), "abc"...))
	f.Add([]byte("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x12\x00"))
	f.Add([]byte("\x12\x05ab"))
	f.Fuzz(func(t *testing.T, m []byte) {
		timeout, payload, err := decodeRequest(m)
		if err != nil {
			if !errors.Is(err, ErrParse) {
				t.Fatal(err)
			}
			return
		}
		if timeout < 0 || len(payload) > len(m) {
			t.Fatal(timeout, len(payload))
		}
		again, same, err := decodeRequest(append(encodeRequestHead(timeout, len(payload)), payload...))
		if err != nil || again != timeout || !bytes.Equal(same, payload) {
			t.Fatalf("%v %v, then %v %v %v", timeout, payload, again, same, err)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(append(encodeAnswerHead(&answer{payload: []byte("abc"), last: true}), "abc"...))
	f.Add(encodeAnswerHead(&answer{last: true, failure: failHandler, code: -7, words: "why"}))
	f.Add([]byte("\x2a\x05ab"))
	f.Fuzz(func(t *testing.T, m []byte) {
		a, err := decodeAnswer(m)
		if err != nil {
			if !errors.Is(err, ErrParse) {
				t.Fatal(err)
			}
			return
		}
		if len(a.words) > wordsMax || len(a.payload) > len(m) {
			t.Fatal(len(a.words), len(a.payload))
		}
		head := encodeAnswerHead(&a)
		if a.failure == failNone {
			head = append(head, a.payload...)
		}
		b, err := decodeAnswer(head)
		if err != nil || b.last != a.last || b.failure != a.failure || (a.failure != failNone && (b.code != a.code || b.words != a.words)) || (a.failure == failNone && !bytes.Equal(b.payload, a.payload)) {
			t.Fatalf("%+v, then %+v %v", a, b, err)
		}
	})
}
