"""Which connections stay when there are too many: tags, protection, watermarks, trimming."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._library import INT32, duration, encode, integer

if TYPE_CHECKING:
    from .node import Core

__all__ = ["Connections"]


class Connections:
    """The worth of a node's connections: ``node.connections``.

    When there are more than the option ``connections.high``, the least useful are closed until ``connections.low`` are left. A peer is
    worth the sum of its tags; PeerInfo has them.
    """

    def __init__(self, core: Core) -> None:
        self._core = core

    def tag(self, peer: str, name: str, value: int) -> None:
        """Give a peer a value under a name of yours, in place of the one it had. It outlasts the peer's connections, not the node."""
        self._core.check("p2p_peer_tag", encode(peer, "peer"), encode(name, "name"), integer("value", value, -INT32 - 1, INT32))

    def untag(self, peer: str, name: str) -> None:
        """Take a tag back. Raises NotFound."""
        self._core.check("p2p_peer_untag", encode(peer, "peer"), encode(name, "name"))

    def protect(self, peer: str, name: str) -> None:
        """Spare a peer from trimming, until :meth:`unprotect` with the same name."""
        self._core.check("p2p_peer_protect", encode(peer, "peer"), encode(name, "name"))

    def unprotect(self, peer: str, name: str) -> bool:
        """End one protection. Returns whether the peer is still protected under another name. Raises NotFound."""
        core = self._core
        return bool(core.lib.check(core.lib.p2p_peer_unprotect(core.open(), encode(peer, "peer"), encode(name, "name"))))

    async def trim(self, left: int | None = None, *, timeout: float | None = 30.0) -> int:
        """Close connections now, the least useful first, until ``left`` (default: the low watermark) are there. Returns how many went.

        Protected peers and those younger than ``connections.grace_ms`` are spared.
        """
        core = self._core
        until = -1 if left is None else integer("left", left, 0, INT32)
        result = await core.here().call(core.lib.p2p_peer_trim, core.open(), until, timeout=timeout)
        return result[2]

    def set_watermarks(self, *, low: int | None = None, high: int | None = None, grace: float | None = None) -> None:
        """Change when and how far connections are trimmed; ``grace`` is in seconds, ``high`` 0 means never."""
        marks = (None if mark is None else integer(name, mark, 0, INT32) for name, mark in (("low", low), ("high", high)))
        given = (*marks, duration("grace", grace, zero=True, most=INT32))
        self._core.check("p2p_node_watermarks", *(-1 if value is None else value for value in given))
