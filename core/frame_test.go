package core

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"
	"testing/iotest"
)

// QUIC streams bring the end of the flow together with its last bytes.
func TestFrameReader_EndTogetherWithTheLastBytes(t *testing.T) {
	for _, size := range []int{0, 1, 100, frameReadBuffer, 100_000} {
		want := bytes.Repeat([]byte("m"), size)
		var flow bytes.Buffer
		flow.Write(append(binary.AppendUvarint(nil, uint64(len(want))), want...))
		r := iotest.DataErrReader(&flow)
		var f frameReader
		got, err := f.next(r, size+1)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("message of %d bytes: got %d bytes, %v", size, len(got), err)
		}
		if _, err := f.next(r, size+1); err != io.EOF {
			t.Fatalf("after a message of %d bytes: %v, not the end", size, err)
		}
	}
}
