package main

// #include "bridge.h"
import "C"

import (
	"github.com/libp2pgo/libp2pgo/core"
)

// giveBytes, giveText and giveJSON end a call that neither waits nor has a handle.

func giveBytes(out **C.uint8_t, lenOut *C.size_t, data []byte, err error) C.int {
	if err != nil {
		return fail(err)
	}
	return putBytes(out, lenOut, data)
}

func giveText(out **C.char, s string, err error) C.int {
	if err != nil {
		return fail(err)
	}
	return putText(out, s)
}

func giveJSON(out **C.char, value any, err error) C.int {
	if err != nil {
		return fail(err)
	}
	return putJSON(out, value)
}

func give(err error) C.int {
	if err != nil {
		return fail(err)
	}
	return 0
}

//export go_key_import
func go_key_import(data *C.uint8_t, n C.size_t, format, kind *C.char, out **C.uint8_t, lenOut *C.size_t) (rc C.int) {
	defer trap(&rc)
	key, err := core.ImportKey(text(format), text(kind), borrowed(data, n))
	return giveBytes(out, lenOut, key, err)
}

//export go_key_export
func go_key_export(key *C.uint8_t, n C.size_t, format *C.char, out **C.uint8_t, lenOut *C.size_t) (rc C.int) {
	defer trap(&rc)
	data, err := core.ExportKey(borrowed(key, n), text(format))
	return giveBytes(out, lenOut, data, err)
}

//export go_key_public
func go_key_public(key *C.uint8_t, n C.size_t, out **C.uint8_t, lenOut *C.size_t) (rc C.int) {
	defer trap(&rc)
	public, err := core.PublicKeyOf(borrowed(key, n))
	return giveBytes(out, lenOut, public, err)
}

//export go_key_sign
func go_key_sign(key *C.uint8_t, n C.size_t, data *C.uint8_t, dataLen C.size_t, out **C.uint8_t, lenOut *C.size_t) (rc C.int) {
	defer trap(&rc)
	signature, err := core.Sign(borrowed(key, n), borrowed(data, dataLen))
	return giveBytes(out, lenOut, signature, err)
}

//export go_pubkey_import
func go_pubkey_import(data *C.uint8_t, n C.size_t, format, kind *C.char, out **C.uint8_t, lenOut *C.size_t) (rc C.int) {
	defer trap(&rc)
	key, err := core.ImportPublicKey(text(format), text(kind), borrowed(data, n))
	return giveBytes(out, lenOut, key, err)
}

//export go_pubkey_export
func go_pubkey_export(key *C.uint8_t, n C.size_t, format *C.char, out **C.uint8_t, lenOut *C.size_t) (rc C.int) {
	defer trap(&rc)
	data, err := core.ExportPublicKey(borrowed(key, n), text(format))
	return giveBytes(out, lenOut, data, err)
}

//export go_pubkey_info
func go_pubkey_info(key *C.uint8_t, n C.size_t, out **C.char) (rc C.int) {
	defer trap(&rc)
	info, err := core.InfoOfPublicKey(borrowed(key, n))
	return giveJSON(out, info, err)
}

//export go_pubkey_verify
func go_pubkey_verify(key *C.uint8_t, n C.size_t, data *C.uint8_t, dataLen C.size_t, signature *C.uint8_t, signatureLen C.size_t) (rc C.int) {
	defer trap(&rc)
	return give(core.Verify(borrowed(key, n), borrowed(data, dataLen), borrowed(signature, signatureLen)))
}

//export go_id_info
func go_id_info(name *C.char, out **C.char) (rc C.int) {
	defer trap(&rc)
	id, err := core.ParsePeer(text(name))
	if err != nil {
		return fail(err)
	}
	return putJSON(out, core.InfoOfPeerID(id))
}

//export go_id_bytes
func go_id_bytes(name *C.char, out **C.uint8_t, lenOut *C.size_t) (rc C.int) {
	defer trap(&rc)
	id, err := core.ParsePeer(text(name))
	return giveBytes(out, lenOut, []byte(id), err)
}

//export go_id_text
func go_id_text(data *C.uint8_t, n C.size_t, out **C.char) (rc C.int) {
	defer trap(&rc)
	id, err := core.PeerIDFromBytes(borrowed(data, n))
	return giveText(out, id.String(), err)
}

//export go_id_public_key
func go_id_public_key(name *C.char, out **C.uint8_t, lenOut *C.size_t) (rc C.int) {
	defer trap(&rc)
	var public []byte
	id, err := core.ParsePeer(text(name))
	if err == nil {
		public, err = core.PublicKeyOfPeer(id)
	}
	return giveBytes(out, lenOut, public, err)
}

//export go_network_key_new
func go_network_key_new(out **C.char) (rc C.int) {
	defer trap(&rc)
	return putText(out, core.NewNetworkKey())
}

//export go_network_key_parse
func go_network_key_parse(data *C.uint8_t, n C.size_t, out **C.uint8_t, lenOut *C.size_t) (rc C.int) {
	defer trap(&rc)
	key, err := core.ParseNetworkKey(borrowed(data, n))
	return giveBytes(out, lenOut, key, err)
}

//export go_network_key_text
func go_network_key_text(data *C.uint8_t, n C.size_t, out **C.char) (rc C.int) {
	defer trap(&rc)
	s, err := core.NetworkKeyText(borrowed(data, n))
	return giveText(out, s, err)
}

//export go_network_key_fingerprint
func go_network_key_fingerprint(data *C.uint8_t, n C.size_t, out **C.char) (rc C.int) {
	defer trap(&rc)
	s, err := core.NetworkKeyFingerprint(borrowed(data, n))
	return giveText(out, s, err)
}
