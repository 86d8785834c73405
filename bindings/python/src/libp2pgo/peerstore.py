"""What a node knows of peers, connected or not: addresses, signed records, and data of yours."""

from __future__ import annotations

from ctypes import byref, c_void_p, string_at
from typing import TYPE_CHECKING

from ._library import encode, milliseconds, pointer
from .peer import Addresses, PeerId, address_lines

if TYPE_CHECKING:
    from typing_extensions import Buffer as BytesLike

    from .node import Core

__all__ = ["Peerstore"]

_HOUR = 3600.0


class Peerstore:
    """A node's memory of its peers: ``node.peerstore``. With the option ``peerstore.directory`` it lasts over restarts."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def add(self, addresses: Addresses, *, ttl: float | None = _HOUR) -> PeerId:
        """Add addresses of one peer, each ending in ``/p2p/`` and its id, to those that are known, and return the id. Nothing is dialled.

        ``ttl`` is for how many seconds they are kept; None is without end.
        """
        core, out = self._core, c_void_p()
        core.lib.check(core.lib.p2p_peer_add(core.open(), address_lines(addresses), milliseconds(ttl, "ttl", 1 << 53), byref(out)))
        return self._peer(out)

    def forget(self, peer: str) -> None:
        """Remove all that is known of a peer: addresses, record, tags and data. Raises StateError while it is connected, or kept."""
        self._core.check("p2p_peer_forget", encode(peer, "peer"))

    def known(self) -> list[PeerId]:
        """The peers with a known address."""
        core = self._core
        return list(map(PeerId, core.lib.lines(core.lib.p2p_peer_known, core.open())))

    def put(self, peer: str, name: str, data: BytesLike) -> None:
        """Keep data of yours, at most 64 KiB, about a peer under a name; empty data removes it."""
        self._core.check("p2p_peer_put", encode(peer, "peer"), encode(name, "name"), *pointer(data))

    def get(self, peer: str, name: str) -> bytes:
        """Return what :meth:`put` keeps. Raises NotFound."""
        core = self._core
        return core.lib.block(core.lib.p2p_peer_get, core.open(), encode(peer, "peer"), encode(name, "name"))

    def record(self, peer: str | None = None) -> bytes:
        """Return the signed record of a peer, or the node's own, as :meth:`PeerRecord.open` reads it. Raises NotFound."""
        core = self._core
        return core.lib.block(core.lib.p2p_peer_record, core.open(), None if peer is None else encode(peer, "peer"))

    def add_record(self, record: BytesLike, *, ttl: float | None = _HOUR) -> PeerId | None:
        """Take a signed record, check its signature, and keep its addresses for ``ttl`` seconds.

        Returns whose it is, None if a newer one is known. Raises SecurityError if its peer has not signed it, ParseError if it is
        none.
        """
        core, out = self._core, c_void_p()
        taken = core.lib.check(core.lib.p2p_peer_add_record(core.open(), *pointer(record), milliseconds(ttl, "ttl", 1 << 53), byref(out)))
        peer = self._peer(out)
        return peer if taken else None

    def _peer(self, out: c_void_p) -> PeerId:
        try:
            return PeerId(string_at(out.value or 0).decode())
        finally:
            self._core.lib.p2p_free(out)
