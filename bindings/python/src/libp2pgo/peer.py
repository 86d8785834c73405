"""Who a peer is and where: PeerId, Multiaddr, PrivateKey, and what a node knows of its peers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Iterable, Union

from ._library import encode, library, pointer

__all__ = ["Connection", "Multiaddr", "PeerId", "PeerInfo", "PrivateKey"]


class PeerId(str):
    """A peer's name, the hash of its public key: ``12D3KooW...``. A str in every respect."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"PeerId({str(self)!r})"


class Multiaddr(str):
    """An address: ``/ip4/192.0.2.1/udp/4001/quic-v1/p2p/12D3KooW...``. A str in every respect."""

    __slots__ = ()

    @property
    def peer_id(self) -> PeerId | None:
        """The peer at its end, if it names one."""
        _, found, peer = self.rpartition("/p2p/")
        return PeerId(peer) if found and "/" not in peer else None

    def __repr__(self) -> str:
        return f"Multiaddr({str(self)!r})"


PeerLike = Union[str, PeerId]
Addresses = Union[str, Iterable[str]]


def address_lines(addresses: Addresses) -> bytes:
    """One or several addresses as the library takes them."""
    return encode(addresses if isinstance(addresses, str) else "\n".join(addresses))


class PrivateKey:
    """A node's identity. Its bytes are a secret: they show in no repr."""

    __slots__ = ("_data", "_peer_id")

    def __init__(self, data: bytes) -> None:
        """Take a key in libp2p's protobuf form. Raises ParseError if it is none."""
        self._data = bytes(data)
        lib = library()
        self._peer_id = PeerId(lib.text(lib.p2p_key_peer_id, *pointer(self._data)))

    @classmethod
    def generate(cls, type: str = "ed25519") -> PrivateKey:
        """Make a key: ``ed25519``, ``secp256k1``, ``ecdsa`` or ``rsa``."""
        lib = library()
        return cls(lib.block(lib.p2p_key_new, encode(type)))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> PrivateKey:
        """Read a key file."""
        with open(path, "rb") as file:
            return cls(file.read())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a key file that only its owner can read. Raises FileExistsError rather than replace one."""
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        with open(fd, "wb") as file:
            file.write(self._data)

    @property
    def peer_id(self) -> PeerId:
        """The name of whoever holds this key."""
        return self._peer_id

    def __bytes__(self) -> bytes:
        return self._data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PrivateKey) and other._data == self._data

    def __hash__(self) -> int:
        return hash(self._peer_id)

    def __repr__(self) -> str:
        return f"<PrivateKey of {self._peer_id}>"


@dataclass(frozen=True)
class Connection:
    """One connection with a peer."""

    id: str
    address: Multiaddr
    direction: str
    """``inbound`` or ``outbound``."""
    transport: str
    security: str
    muxer: str
    relayed: bool
    limited: bool
    opened_ms: int
    """When, in milliseconds of Unix time."""
    streams: int


@dataclass(frozen=True)
class PeerInfo:
    """What a node knows of a peer."""

    id: PeerId
    connected: bool
    addresses: tuple[Multiaddr, ...]
    protocols: tuple[str, ...]
    agent: str
    rtt_ms: float | None
    kept: bool
    connections: tuple[Connection, ...]


def peer_info(known: dict[str, Any]) -> PeerInfo:
    """Make a PeerInfo of the library's JSON."""
    return PeerInfo(
        id=PeerId(known["id"]),
        connected=bool(known.get("connected")),
        addresses=tuple(map(Multiaddr, known.get("addresses") or ())),
        protocols=tuple(known.get("protocols") or ()),
        agent=known.get("agent") or "",
        rtt_ms=known.get("rtt_ms"),
        kept=bool(known.get("kept")),
        connections=tuple(
            Connection(
                id=str(c.get("id", "")),
                address=Multiaddr(c.get("address", "")),
                direction=c.get("direction", ""),
                transport=c.get("transport", ""),
                security=c.get("security", ""),
                muxer=c.get("muxer", ""),
                relayed=bool(c.get("relayed")),
                limited=bool(c.get("limited")),
                opened_ms=int(c.get("opened_ms", 0)),
                streams=int(c.get("streams", 0)),
            )
            for c in known.get("connections") or ()
        ),
    )
