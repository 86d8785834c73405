"""Addresses (multiaddrs): taking them apart, putting them together, and asking DNS what they stand for. None of it needs a node."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from ._engine import Pump, loop_pump, next_tag
from ._library import encode, library, pointer
from .keys import PeerId

if TYPE_CHECKING:
    from typing_extensions import Buffer as BytesLike

__all__ = ["Component", "Multiaddr"]


@dataclass(frozen=True)
class Component:
    """One step of an address: ``/tcp/4001``, ``/quic-v1``."""

    protocol: str
    code: int
    value: str
    """``""`` if the protocol takes none."""


class Multiaddr(str):
    """An address: ``/ip4/192.0.2.1/udp/4001/quic-v1/p2p/12D3KooW...``. A str in every respect, and not checked; :meth:`parse` checks."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Multiaddr:
        """Check an address and return it as the library writes it. Raises ParseError."""
        return cls(_info(text)["address"])

    @classmethod
    def from_bytes(cls, data: BytesLike) -> Multiaddr:
        """Read the binary form. Raises ParseError."""
        lib = library()
        return cls(lib.text(lib.p2p_address_text, *pointer(data)))

    def to_bytes(self) -> bytes:
        """Return the binary form. Raises ParseError if it is no address, as do all methods below."""
        lib = library()
        return lib.block(lib.p2p_address_bytes, encode(self))

    @property
    def components(self) -> tuple[Component, ...]:
        """Its steps, the outermost first."""
        return tuple(Component(c["protocol"], c["code"], c["value"]) for c in _info(self)["components"])

    @property
    def peer_id(self) -> PeerId | None:
        """The peer at its end, if it names one."""
        _, found, peer = self.rpartition("/p2p/")
        return PeerId(peer) if found and "/" not in peer else None

    @property
    def relayed(self) -> bool:
        """Whether it leads through a relay."""
        return bool(_info(self)["relayed"])

    @property
    def dns(self) -> bool:
        """Whether a name in it has to be resolved."""
        return bool(_info(self)["dns"])

    def encapsulate(self, *inner: str) -> Multiaddr:
        """Return it with others behind it: the place, then what is reached there."""
        lib = library()
        return Multiaddr(lib.text(lib.p2p_address_join, encode("\n".join((self, *inner)))))

    def decapsulate(self, inner: str) -> Multiaddr:
        """Return what stands before the last ``inner``, perhaps ``""``. Raises NotFound if it is no part of it."""
        lib = library()
        return Multiaddr(lib.text(lib.p2p_address_decapsulate, encode(self), encode(inner)))

    def split_components(self) -> tuple[Multiaddr, ...]:
        """Return each component as an address of its own."""
        lib = library()
        return tuple(map(Multiaddr, lib.lines(lib.p2p_address_split, encode(self))))

    async def resolve(self, *, server: str | None = None, max: int | None = None, timeout: float | None = 30.0) -> tuple[Multiaddr, ...]:
        """Ask DNS until no name is left (``/dns``, ``/dns4``, ``/dns6``, ``/dnsaddr``) and return the addresses it stands for.

        Args:
            server: a DNS server as ``IP:port``; None asks those of the system.
            max: how many addresses to return at most; 100 by default.

        Raises NotFound if there is none. :func:`libp2pgo.sync.resolve` is the same without asyncio.
        """
        return await resolve_on(loop_pump(), self, server, max, timeout)

    def __repr__(self) -> str:
        return f"Multiaddr({str(self)!r})"


def _info(text: str) -> dict[str, Any]:
    lib = library()
    return cast("dict[str, Any]", lib.json(lib.p2p_address_info, encode(text)))


async def resolve_on(pump: Pump, address: str, server: str | None, max: int | None, timeout: float | None) -> tuple[Multiaddr, ...]:
    """What :meth:`Multiaddr.resolve` does, on any pump."""
    options = {name: value for name, value in (("server", server), ("max", max)) if value is not None}
    user = -next_tag()  # no node's handle

    def start(queue: int, *args: Any) -> int:
        return int(pump.lib.p2p_address_resolve(*args))

    pump.use(user)
    try:
        # The call has no handle of its own: its queue is its owner.
        result = await pump.call(start, pump.queue, encode(address), encode(json.dumps(options)), None, timeout=timeout)
    finally:
        pump.release(user)
    return tuple(map(Multiaddr, result[3].decode().splitlines()))
