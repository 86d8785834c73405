package main

// #include "bridge.h"
import "C"

import (
	"unsafe"

	"github.com/libp2pgo/libp2pgo/core"
)

//export go_envelope_seal
func go_envelope_seal(key *C.uint8_t, n C.size_t, domain *C.char, kind *C.uint8_t, kindLen C.size_t, payload *C.uint8_t, payloadLen C.size_t,
	out **C.uint8_t, lenOut *C.size_t) (rc C.int) {
	defer trap(&rc)
	envelope, err := core.SealEnvelope(borrowed(key, n), text(domain), borrowed(kind, kindLen), borrowed(payload, payloadLen))
	return giveBytes(out, lenOut, envelope, err)
}

//export go_envelope_open
func go_envelope_open(data *C.uint8_t, n C.size_t, domain *C.char, out **C.uint8_t, lenOut *C.size_t, jsonOut **C.char) (rc C.int) {
	defer trap(&rc)
	envelope, err := core.OpenEnvelope(borrowed(data, n), text(domain))
	if err != nil {
		return fail(err)
	}
	if code := putJSON(jsonOut, envelope.Info()); code < 0 {
		return code
	}
	code := putBytes(out, lenOut, envelope.Payload)
	if code < 0 {
		C.free(unsafe.Pointer(*jsonOut))
		*jsonOut = nil
	}
	return code
}

//export go_record_seal
func go_record_seal(key *C.uint8_t, n C.size_t, addresses *C.char, sequence C.uint64_t, out **C.uint8_t, lenOut *C.size_t) (rc C.int) {
	defer trap(&rc)
	record, err := core.SealPeerRecord(borrowed(key, n), lines(addresses), uint64(sequence))
	return giveBytes(out, lenOut, record, err)
}

//export go_record_open
func go_record_open(data *C.uint8_t, n C.size_t, out **C.char) (rc C.int) {
	defer trap(&rc)
	record, err := core.OpenPeerRecord(borrowed(data, n))
	if err != nil {
		return fail(err)
	}
	return putJSON(out, record.Info())
}
