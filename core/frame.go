package core

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
)

// frameReader reads bytes and messages framed with an unsigned varint length from one flow. What a message read has begun survives a read
// that ended early, so that a timeout loses nothing.
type frameReader struct {
	r       *bufio.Reader // nil until the first framed read
	length  uint64        // of the frame whose length is being or has been read
	shift   uint          // bits of length read so far
	known   bool          // length is complete
	message []byte        // what has been read of it
}

const frameReadBuffer = 4 << 10

// read reads plain bytes.
func (f *frameReader) read(r io.Reader, p []byte) (int, error) {
	if f.r != nil {
		return f.r.Read(p)
	}
	return r.Read(p)
}

// next reads a message of at most limit bytes. io.EOF: the flow ended between messages.
func (f *frameReader) next(r io.Reader, limit int) ([]byte, error) {
	if f.r == nil {
		f.r = bufio.NewReaderSize(r, frameReadBuffer)
	}
	for !f.known {
		b, err := f.r.ReadByte()
		if err != nil {
			if err == io.EOF && f.shift > 0 {
				err = Errorf(ErrReset, "the flow ended inside the length of a message")
			}
			return nil, err
		}
		if f.shift > 63 || (f.shift == 63 && b > 1) {
			return nil, Errorf(ErrTooBig, "the length of a message has more than 64 bits")
		}
		f.length |= uint64(b&0x7f) << f.shift
		f.shift += 7
		f.known = b < 0x80
	}
	if f.length > uint64(max(limit, 0)) {
		return nil, &SizeError{What: "message", Size: int64(min(f.length, 1<<62)), Max: int64(limit)}
	}
	if f.message == nil {
		f.message = make([]byte, 0, min(int(f.length), 64<<10))
	}
	for uint64(len(f.message)) < f.length {
		// A peer that only claims a length gets no memory for it.
		if len(f.message) == cap(f.message) {
			f.message = append(make([]byte, 0, min(2*cap(f.message), int(f.length))), f.message...)
		}
		n, err := f.r.Read(f.message[len(f.message):cap(f.message)])
		f.message = f.message[:len(f.message)+n]
		if uint64(len(f.message)) == f.length {
			break // an end that came with the last bytes comes again
		}
		if err == io.EOF {
			err = Errorf(ErrReset, "the flow ended inside a message of %d bytes", f.length)
		}
		if err != nil {
			return nil, err
		}
	}
	m := f.message
	f.length, f.shift, f.known, f.message = 0, 0, false, nil
	return m, nil
}

// ReadMessage reads one message framed with an unsigned varint length. io.EOF: the peer has closed its side. A message of more than limit bytes is
// a *SizeError, and the stream is reset.
func (s *Stream) ReadMessage(ctx context.Context, limit int) (m []byte, err error) {
	m, err = s.readFrame(ctx, limit)
	if size, ok := err.(*SizeError); ok {
		s.Reset(0)
		return nil, size
	}
	return m, err
}

// frameHead returns the start of a frame: its length, and head, which payload bytes follow.
func frameHead(head []byte, payload int) []byte {
	b := make([]byte, 0, binary.MaxVarintLen64+len(head))
	return append(binary.AppendUvarint(b, uint64(len(head)+payload)), head...)
}

// WriteMessage writes p as one message, framed with an unsigned varint length. It does not keep p. If ctx or the write deadline ends it in the
// middle of the message, the stream is reset: nothing that followed could be told from the rest of it.
func (s *Stream) WriteMessage(ctx context.Context, p []byte) error {
	return s.writeFrame(ctx, nil, p)
}

// writeFrame writes one frame of a head and a payload, without copying a large payload.
func (s *Stream) writeFrame(ctx context.Context, head, payload []byte) error {
	if err := s.beginWrite(ctx, true); err != nil {
		return err
	}
	defer s.endWrite()
	// One write for a small message: one packet instead of two.
	small := len(payload) <= coalesceMax
	room := binary.MaxVarintLen64 + len(head)
	if small {
		room += len(payload)
	}
	b := append(binary.AppendUvarint(make([]byte, 0, room), uint64(len(head)+len(payload))), head...)
	if small {
		b, payload = append(b, payload...), nil
	}
	_, err := s.sendWhole(ctx, b, payload)
	return err
}
