"""Diagnosis: why a peer can, or cannot, be reached."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._library import duration
from .peer import Addresses, Multiaddr, PeerId, PeerInfo, address_lines, peer_info

if TYPE_CHECKING:
    from .node import Core

__all__ = ["ExplainedAttempt", "Explanation"]


@dataclass(frozen=True)
class ExplainedAttempt:
    """One address that was tried."""

    address: Multiaddr
    source: str
    """``given``, ``known`` or ``dht``."""
    transport: str
    scope: str
    """From where it can be reached at all: ``loopback``, ``private``, ``public``, ``relay`` or ``name``."""
    outcome: str
    """``ok``, or one of the verdicts."""
    words: str
    time: float
    """Seconds that it took."""


@dataclass(frozen=True)
class Explanation:
    """Why a peer can, or cannot, be reached. ``str()`` of it is for people; docs/explain.md lists the verdicts."""

    peer: PeerId
    verdict: str
    """``reachable``, ``connected``, ``nobody_listens``, ``wrong_peer``, ..."""
    summary: str
    """The verdict in a sentence."""
    advice: tuple[str, ...]
    attempts: tuple[ExplainedAttempt, ...]
    known: PeerInfo
    """What is known of the peer."""
    self: dict[str, Any]
    """What this node has to do with it: transports, limits, reachability, relays."""
    hole_punches: tuple[dict[str, Any], ...]
    """Attempts at a direct connection with it that are remembered."""
    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def reachable(self) -> bool:
        """Whether something leads to it, be it through a relay."""
        return self.verdict in ("self", "connected", "reachable", "relay_only")


async def explain(core: Core, addresses: Addresses, protocol: str | None, attempt: float, timeout: float | None) -> Explanation:
    """Ask the library and make an Explanation of its answer."""
    options: dict[str, Any] = {"attempt_ms": duration("attempt", attempt)}
    if protocol is not None:
        options["protocol"] = protocol
    result = await core.here().call(
        core.lib.p2p_peer_explain, core.open(), address_lines(addresses), json.dumps(options).encode(), None, timeout=timeout
    )
    found = json.loads(result[3])
    return Explanation(
        peer=PeerId(found["peer"]),
        verdict=found["verdict"],
        summary=found["summary"],
        advice=tuple(found["advice"]),
        attempts=tuple(
            ExplainedAttempt(Multiaddr(a["address"]), a["source"], a["transport"], a["scope"], a["outcome"], a["words"], a["ms"] / 1000)
            for a in found["attempts"]
        ),
        known=peer_info(found["known"]),
        self=found["self"],
        hole_punches=tuple(found["hole_punches"]),
        text=found["text"],
    )
