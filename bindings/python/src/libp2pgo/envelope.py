"""What somebody signed: Envelope for anything, PeerRecord for a peer's own addresses. Neither needs a node."""

from __future__ import annotations

import ctypes
import json
from ctypes import byref, c_size_t, c_void_p
from dataclasses import dataclass
from typing import TYPE_CHECKING, Iterable

from ._library import encode, library, pointer
from .address import Multiaddr
from .keys import PeerId, PrivateKey, PublicKey

if TYPE_CHECKING:
    from typing_extensions import Buffer as BytesLike

__all__ = ["Envelope", "PeerRecord"]


@dataclass(frozen=True)
class Envelope:
    """A payload with the signature of whoever stands behind it, for one purpose (libp2p/specs, RFC 0002)."""

    payload: bytes
    payload_type: bytes
    public_key: PublicKey

    @property
    def peer_id(self) -> PeerId:
        """Who signed."""
        return self.public_key.peer_id

    @staticmethod
    def seal(key: PrivateKey, domain: str, payload_type: BytesLike, payload: BytesLike) -> bytes:
        """Sign a payload and return the envelope's bytes. Neither ``domain`` nor ``payload_type`` may be empty."""
        lib = library()
        return lib.block(
            lib.p2p_envelope_seal, *pointer(bytes(key)), encode(domain), *pointer(payload_type), *pointer(payload)
        )  # fmt: skip

    @classmethod
    def open(cls, data: BytesLike, domain: str) -> Envelope:
        """Check an envelope and return what is in it; whether signer and type are the expected ones is yours to check.

        Raises SecurityError if the signature is wrong or was made for another domain, ParseError if it is no envelope.
        """
        lib = library()
        payload, size, text = c_void_p(), c_size_t(), c_void_p()
        lib.check(lib.p2p_envelope_open(*pointer(data), encode(domain), byref(payload), byref(size), byref(text)))
        try:
            known = json.loads(ctypes.string_at(text.value or 0))
            content = ctypes.string_at(payload.value or 0, size.value) if size.value else b""
        finally:
            lib.p2p_free(payload)
            lib.p2p_free(text)
        return cls(content, bytes.fromhex(known["payload_type"]), PublicKey(bytes.fromhex(known["public_key"])))


@dataclass(frozen=True)
class PeerRecord:
    """What a peer says, signed, of its own addresses (libp2p/specs, RFC 0003). The record with the higher sequence number counts."""

    peer_id: PeerId
    sequence: int
    addresses: tuple[Multiaddr, ...]

    @staticmethod
    def seal(key: PrivateKey, addresses: Iterable[str], *, sequence: int = 0) -> bytes:
        """Sign the addresses of the key's holder and return the record's bytes. ``sequence`` 0: nanoseconds of Unix time."""
        if not 0 <= sequence < 1 << 64:
            raise ValueError(f"sequence: {sequence} is not between 0 and 2**64 - 1")
        lib = library()
        return lib.block(lib.p2p_record_seal, *pointer(bytes(key)), encode("\n".join(addresses)), sequence)

    @classmethod
    def open(cls, data: BytesLike) -> PeerRecord:
        """Check a record. Raises SecurityError if the signature is wrong, or of another peer than the record speaks of."""
        lib = library()
        known = lib.json(lib.p2p_record_open, *pointer(data))
        return cls(PeerId(known["peer"]), int(known["sequence"]), tuple(map(Multiaddr, known["addresses"])))
