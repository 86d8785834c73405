"""Whether others can reach the node, and ways through NATs: ``node.nat``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import _abi
from ._library import encode
from .errors import Error, from_code
from .peer import Multiaddr, PeerId

if TYPE_CHECKING:
    from typing_extensions import Literal

    from .node import Core

    Wanted = Literal["reachable", "public", "relayed", "known"]

__all__ = ["NAT", "AddressReachability", "HolePunch", "NATTypeChanged", "PortMapping", "ReachabilityChanged"]


@dataclass(frozen=True)
class ReachabilityChanged:
    """Others can, or cannot, reach the node."""

    reachability: str
    """``public``, ``private`` or ``unknown``."""
    source: str
    """How that is known: ``option``, ``autonat``, ``autonat_v2`` or ``none``."""


@dataclass(frozen=True)
class AddressReachability:
    """The same for one public address of the node, by AutoNAT version 2."""

    address: Multiaddr
    reachability: str


@dataclass(frozen=True)
class NATTypeChanged:
    """How the NAT before the node maps addresses."""

    protocol: str
    """``udp`` or ``tcp``."""
    nat_type: str
    """``endpoint_independent`` (cone), ``endpoint_dependent`` (symmetric: no hole can be punched) or ``unknown``."""


@dataclass(frozen=True)
class HolePunch:
    """An attempt at turning a relayed connection into a direct one has ended."""

    peer: PeerId
    side: str
    """``initiator``: the one that was dialled through the relay; ``receiver``."""
    outcome: str
    """``direct`` (a plain dial did it), ``punched``, ``failed`` (the next attempt follows) or ``gave_up``."""
    attempt: int
    """0: the plain dial, or none was possible."""
    duration: float
    """Seconds."""
    error: Error | None
    """Why it failed."""

    @property
    def succeeded(self) -> bool:
        """Whether there is a direct connection now."""
        return self.error is None


@dataclass(frozen=True)
class PortMapping:
    """The router forwards a port to the node, or, with ``external`` None, does so no more."""

    address: Multiaddr
    external: Multiaddr | None


EVENTS = (ReachabilityChanged, AddressReachability, NATTypeChanged, HolePunch, PortMapping)


def make(type_: int, status: int, object_: int, value: int, lines: list[str]) -> Any:
    """Make the event of a record; None for a record of another kind."""
    if type_ == _abi.EVENT_REACHABILITY:
        return ReachabilityChanged(lines[0], lines[1])
    if type_ == _abi.EVENT_ADDRESS_REACHABILITY:
        return AddressReachability(Multiaddr(lines[0]), lines[1])
    if type_ == _abi.EVENT_NAT_TYPE:
        return NATTypeChanged(lines[0], lines[1])
    if type_ == _abi.EVENT_HOLE_PUNCH:
        error = from_code(status, "\n".join(lines[3:]), 0) if status < 0 else None
        return HolePunch(PeerId(lines[0]), lines[1], lines[2], value, object_ / 1000, error)
    if type_ == _abi.EVENT_PORT_MAPPING:
        return PortMapping(Multiaddr(lines[0]), Multiaddr(lines[1]) if lines[1] else None)
    return None


class NAT:
    """What a node knows of its place in the network; reach it as ``node.nat``."""

    def __init__(self, core: Core) -> None:
        self._core = core

    @property
    def reachability(self) -> str:
        """``public``, ``private`` or ``unknown``."""
        found: str = self.info()["reachability"]
        return found

    def info(self) -> dict[str, Any]:
        """Reachability, in all and by address, NAT types, observed and relayed addresses, port mappings, history of hole punching."""
        core = self._core
        found: dict[str, Any] = core.lib.json(core.lib.p2p_nat_info, core.open())
        return found

    async def wait(self, what: Wanted = "reachable", *, timeout: float | None = 30.0) -> str:
        """Wait until others can reach the node, and return its reachability.

        Args:
            what: ``reachable``: directly or through a relay that it holds a place with; ``public``: directly; ``relayed``: through a
                relay; ``known``: until it is known to be public or private.

        Raises Timeout.
        """
        core = self._core
        result = await core.here().call(core.lib.p2p_nat_wait, core.open(), encode(what, "what"), None, timeout=timeout)
        return result[3].decode()
