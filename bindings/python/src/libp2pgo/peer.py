"""What a node knows of its peers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterable, Union

from ._library import encode
from .address import Multiaddr, _info
from .errors import InvalidArgument, ParseError
from .keys import PeerId

__all__ = ["Connection", "Multiaddr", "PeerId", "PeerInfo"]


PeerLike = Union[str, PeerId]
Addresses = Union[str, Iterable[str]]


def address_lines(addresses: Addresses, name: str = "addresses") -> bytes:
    """The parameter ``name``, one or several addresses, as the library takes them."""
    try:
        return encode(addresses if isinstance(addresses, str) else "\n".join(addresses))
    except TypeError as error:
        raise TypeError(f"{name}: {addresses!r} is neither a text nor several") from error


def peer_named(addresses: Addresses) -> str:
    """The id of the peer whose addresses they are, for who must not connect to learn it."""
    found = ""
    for line in address_lines(addresses, "peer").decode().splitlines():
        named = _info(line)["peer"] if line.startswith("/") else line
        if named is None:
            raise ParseError(f"address {line!r} does not end in /p2p/<peer id>")
        if found not in ("", named):
            raise InvalidArgument(f"addresses of two peers: {found} and {named}")
        found = named
    if not found:
        raise InvalidArgument("no address is given")
    return found


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
    rtt_ms: float
    """Smoothed round-trip time; 0 before the first ping."""
    kept: bool
    tags: dict[str, int]
    """What the peer is worth, by name of the tag."""
    tag_value: int
    """The sum of the tags; those with less are trimmed first."""
    protected: tuple[str, ...]
    """Names under which it is protected from trimming."""
    connections: tuple[Connection, ...]


def peer_info(known: dict[str, Any]) -> PeerInfo:
    """Make a PeerInfo of the library's JSON."""
    return PeerInfo(
        id=PeerId(known["id"]),
        connected=bool(known.get("connected")),
        addresses=tuple(map(Multiaddr, known.get("addresses") or ())),
        protocols=tuple(known.get("protocols") or ()),
        agent=known.get("agent") or "",
        rtt_ms=float(known.get("rtt_ms") or 0),
        kept=bool(known.get("kept")),
        tags=known.get("tags") or {},
        tag_value=int(known.get("tag_value", 0)),
        protected=tuple(known.get("protected") or ()),
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
