"""Relays: places that the node holds with some, and the one that it can be: ``node.relay``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Iterable

from . import _abi
from .errors import Error, from_code
from .peer import Addresses, Multiaddr, PeerId, address_lines

if TYPE_CHECKING:
    from .node import Core

__all__ = ["Relay", "Reservation", "ReservationChanged"]


@dataclass(frozen=True)
class ReservationChanged:
    """News of a place with a relay."""

    relay: PeerId
    state: str
    """``made``, ``renewed``, ``lost`` or ``failed`` (an attempt to make it)."""
    addresses: tuple[Multiaddr, ...]
    """Of this node, through the relay."""
    expires: float | None
    """When it ends unless it is renewed, in seconds since 1970."""
    error: Error | None
    """Why it is lost, or the attempt failed."""
    retry_in: float | None
    """Seconds until the next attempt; None: there is none."""


EVENTS = (ReservationChanged,)


def make(type_: int, status: int, object_: int, value: int, lines: list[str]) -> Any:
    """Make the event of a record; None for a record of another kind."""
    if type_ != _abi.EVENT_RESERVATION:
        return None
    relay, state, *rest = lines
    if status < 0:
        return ReservationChanged(PeerId(relay), state, (), None, from_code(status, "\n".join(rest), 0), object_ / 1000 or None)
    return ReservationChanged(PeerId(relay), state, tuple(map(Multiaddr, rest)), value / 1000, None, None)


class Reservation:
    """A place with a relay. It renews itself, and is made again after a loss, until :meth:`close` or the node's end.

    ``async with`` closes it.
    """

    def __init__(self, core: Core, handle: int, relay: PeerId) -> None:
        self.relay = relay
        self._core = core
        self._handle = handle

    def info(self) -> dict[str, Any]:
        """State (``held``, ``lost``), addresses, expiry, the relay's limits, counters."""
        lib = self._core.lib
        found: dict[str, Any] = lib.json(lib.p2p_info, self._handle)
        return found

    @property
    def addresses(self) -> tuple[Multiaddr, ...]:
        """Where this node can be dialled through the relay; none while the place is lost."""
        return tuple(map(Multiaddr, self.info()["addresses"]))

    def close(self) -> None:
        """Give it up. Connections through the relay stay; the relay holds the place until it expires."""
        self._core.lib.p2p_close(self._handle)

    async def aclose(self) -> None:
        """As :meth:`close`."""
        self.close()

    def __enter__(self) -> Reservation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Reservation:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Reservation with {self.relay}>"


class Relay:
    """Relays of a node; reach it as ``node.relay``."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def reserve(self, addresses: Addresses, *, timeout: float | None = 30.0) -> Reservation:
        """Reserve a place with a relay, connecting to it first if needed. Its addresses are then among the node's.

        What happens to it later is told by :class:`ReservationChanged` events of the node. Cancelling gives it up.

        Raises DialError, PeerNotFound as :meth:`Node.connect`; ProtocolNotSupported if the peer is no relay; Refused and
        ResourceLimitExceeded if the relay does not want, or has no place left; AlreadyExists.
        """
        core = self._core
        _, handle, _, _, _ = await core.here().call(
            core.lib.p2p_relay_reserve, core.open(), address_lines(addresses), 0, 0, None, None, timeout=timeout
        )
        return Reservation(core, handle, PeerId(core.lib.json(core.lib.p2p_info, handle)["relay"]))

    def info(self) -> dict[str, Any]:
        """Relays in use (``client``), and what this node does as one (``service``)."""
        core = self._core
        found: dict[str, Any] = core.lib.json(core.lib.p2p_relay_info, core.open())
        return found

    def allow(self, subjects: str | Iterable[str]) -> None:
        """Let peers, IP addresses or subnets reserve a place with this node's relay; from the first one on, others may not."""
        self._core.check("p2p_relay_allow", address_lines(subjects, "subjects"))

    def deny(self, subjects: str | Iterable[str]) -> None:
        """Keep peers, IP addresses or subnets from using this node's relay; those that hold a place are disconnected."""
        self._core.check("p2p_relay_deny", address_lines(subjects, "subjects"))

    def forget(self, subjects: str | Iterable[str]) -> None:
        """Take back what :meth:`allow`, :meth:`deny` or the options said of them. Raises NotFound."""
        self._core.check("p2p_relay_forget", address_lines(subjects, "subjects"))
