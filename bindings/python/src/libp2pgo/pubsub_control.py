"""Pubsub beyond topics: who is heard, what a peer is worth, and what goes on. It is reached as ``node.pubsub``."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Callable, Iterable, TypedDict, Union

from . import _abi
from ._engine import Headers, Pump, next_tag
from ._flow import Flow, Other
from ._library import encode, integer
from .peer import Addresses, address_lines

if TYPE_CHECKING:
    from .node import Core

__all__ = ["Pubsub", "PubsubInfo", "Trace"]


class PubsubInfo(TypedDict):
    """What :meth:`Pubsub.info` returns. Peers are named by their ids."""

    router: str
    protocols: list[str]
    """Names of its protocols, the best one first."""
    signing: str
    author: str
    """Whom messages name as their author; empty for nobody."""
    message_id: str
    peers: dict[str, dict[str, Any]]
    """Peers that messages can be sent to: protocol, waiting, waiting_bytes."""
    mesh: dict[str, list[str]]
    """Topic to the peers that messages are passed to at once."""
    scores: dict[str, dict[str, Any]]
    """Peer to its score, its parts, and whether it is graylisted."""
    direct: list[str]
    blocked: list[str]


class Trace(Flow["dict[str, Any]"]):
    """What pubsub does, as an async iterator of dicts with ``type`` and ``time``.

    Up to ``capacity`` wait in the library; then the oldest are lost and counted in ``dropped``. One that writes a file has nothing to
    iterate over. Close it with ``async with`` or :meth:`aclose`.
    """

    def __init__(self, pump: Pump, node: int, options: dict[str, Any]) -> None:
        lib = pump.lib
        document = json.dumps({key: value for key, value in options.items() if value is not None}).encode()
        filed = options["file"] is not None

        def begin(queue: int) -> int:
            return lib.handle(lib.p2p_pubsub_trace, node, document, 0 if filed else queue, next_tag())

        super().__init__(pump, begin, f"Trace to {options['file']}" if filed else "Trace", "nothing happened")

    def _make(self, headers: Headers, block: bytes | memoryview, others: list[Other]) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        for type_, status, _, _, _, value, _, text, text_n, data, data_n, _ in headers:
            if type_ == _abi.EVENT_PUBSUB_TRACE:
                events.append(json.loads(bytes(block[data : data + data_n])))
            else:
                others.append((type_, status, value, bytes(block[text : text + text_n])))
        return events


PathLike = Union[str, "os.PathLike[str]"]


class Pubsub:
    """The pubsub of a node."""

    def __init__(self, core: Core, here: Callable[[], Pump]) -> None:
        self._core = core
        self._here = here

    def info(self) -> PubsubInfo:
        """Return what it knows: peers, the mesh of each topic, scores with their parts. Costs no network."""
        core = self._core
        result: PubsubInfo = core.lib.json(core.lib.p2p_pubsub_info, core.open())
        return result

    def set_score(self, peer: str, score: int) -> None:
        """Give a peer a score of the program's own, which counts with ``pubsub.score.app_weight``; 0 takes it back.

        Raises StateError where ``pubsub.score.enabled`` is off.
        """
        self._core.check("p2p_pubsub_score_set", encode(peer, "peer"), integer("score", score))

    def block(self, peer: str) -> None:
        """Hear nothing of a peer, nor of what it authored, and send it nothing, until :meth:`unblock`. The connection stays."""
        self._core.check("p2p_pubsub_block", encode(peer, "peer"))

    def unblock(self, peer: str) -> None:
        """End :meth:`block`. Raises NotFound if the peer was not blocked."""
        self._core.check("p2p_pubsub_unblock", encode(peer, "peer"))

    def add_direct(self, addresses: Addresses) -> None:
        """Stay connected to a peer and pass every message to it, outside the mesh. It has to do the same with this node."""
        self._core.check("p2p_pubsub_direct_add", address_lines(addresses))

    def remove_direct(self, peer: str) -> None:
        """End :meth:`add_direct`. Raises NotFound."""
        self._core.check("p2p_pubsub_direct_remove", encode(peer, "peer"))

    def trace(
        self,
        file: PathLike | None = None,
        *,
        events: Iterable[str] | None = None,
        topics: Iterable[str] | None = None,
        capacity: int | None = None,
    ) -> Trace:
        """Record what pubsub does until the trace is closed: iterate over it, or have it written to ``file``, one JSON object a line.

        Args:
            events: kinds to record, such as ``"reject"`` or ``"graft"``; None for all. docs/pubsub.md lists them.
            topics: topics to record; None for all.
            capacity: events that may wait; then the oldest are dropped. Default 16384.
        """
        return self._core.follow(
            Trace(
                self._here(),
                self._core.open(),
                {
                    "file": None if file is None else os.fspath(file),
                    "events": None if events is None else list(events),
                    "topics": None if topics is None else list(topics),
                    "capacity": capacity,
                },
            )
        )
