"""Discovery without asyncio: what :attr:`libp2pgo.sync.Node.discovery` is."""

from __future__ import annotations

from typing import Any

from ._blocking import BlockingPump
from ._sync_flow import Closing, Flow
from .discovery import Advertisement as _Advertisement
from .discovery import Discovery as _Discovery
from .discovery import DiscoveryEvents as _DiscoveryEvents
from .discovery import FoundPeer, RendezvousAnswer
from .discovery import Meeting as _Meeting
from .discovery import PeerSearch as _PeerSearch
from .peer import Addresses, PeerId


class DiscoveryEvents(Flow[Any]):
    """What discovery does, as an iterator; see :class:`libp2pgo.DiscoveryEvents`."""

    def __init__(self, pump: BlockingPump, events: _DiscoveryEvents[Any]) -> None:
        self._pump = pump
        self._events = events

    @property
    def missed(self) -> int:
        return self._events.missed

    def next(self, *, timeout: float | None = None) -> Any:
        return self._pump.run(self._events.next(timeout=timeout))

    def close(self) -> None:
        self._events.close()


class Advertisement(Closing):
    """Advertising, or a registration, that goes on until closed; see :class:`libp2pgo.Advertisement`."""

    def __init__(self, pump: BlockingPump, advertisement: _Advertisement) -> None:
        self._pump = pump
        self._it = advertisement
        self.topic = advertisement.topic
        self.granted = advertisement.granted

    @property
    def closed(self) -> bool:
        return self._it.closed

    def events(self, *types: type[Any]) -> DiscoveryEvents:
        return DiscoveryEvents(self._pump, self._it.events(*types))

    def info(self) -> dict[str, Any]:
        return self._it.info()

    def close(self) -> None:
        self._it.close()


class PeerSearch(Flow[FoundPeer]):
    """The peers of a topic as they are found; see :class:`libp2pgo.PeerSearch`."""

    def __init__(self, pump: BlockingPump, search: _PeerSearch) -> None:
        self._pump = pump
        self._it = search
        self.topic = search.topic

    @property
    def closed(self) -> bool:
        return self._it.closed

    def next(self, *, timeout: float | None = None) -> FoundPeer | None:
        return self._pump.run(self._it.next(timeout=timeout))

    def events(self, *types: type[Any]) -> DiscoveryEvents:
        return DiscoveryEvents(self._pump, self._it.events(*types))

    def info(self) -> dict[str, Any]:
        return self._it.info()

    def close(self) -> None:
        self._it.close()


class Meeting(Flow[PeerId]):
    """A joined topic; see :class:`libp2pgo.Meeting`. Iterating brings each peer as it is connected."""

    def __init__(self, pump: BlockingPump, meeting: _Meeting) -> None:
        self._pump = pump
        self._it = meeting
        self.topic = meeting.topic

    @property
    def closed(self) -> bool:
        return self._it.closed

    @property
    def missed(self) -> int:
        return self._it.missed

    def next(self, *, timeout: float | None = None) -> PeerId | None:
        return self._pump.run(self._it.next(timeout=timeout))

    def peers(self) -> list[PeerId]:
        return self._it.peers()

    def events(self, *types: type[Any]) -> DiscoveryEvents:
        return DiscoveryEvents(self._pump, self._it.events(*types))

    def info(self) -> dict[str, Any]:
        return self._it.info()

    def close(self) -> None:
        self._it.close()


class Discovery:
    """How a node finds peers; see :class:`libp2pgo.Discovery`, whose options the calls take."""

    def __init__(self, discovery: _Discovery) -> None:
        self._discovery = discovery

    @property
    def _pump(self) -> BlockingPump:
        pump = self._discovery._core.here()
        assert isinstance(pump, BlockingPump)
        return pump

    def join(self, topic: str, **options: Any) -> Meeting:
        return Meeting(self._pump, self._discovery.join(topic, **options))

    def advertise(self, topic: str, **options: Any) -> Advertisement:
        return Advertisement(self._pump, self._discovery.advertise(topic, **options))

    def find(self, topic: str, **options: Any) -> PeerSearch:
        return PeerSearch(self._pump, self._discovery.find(topic, **options))

    def register(self, point: Addresses, name: str, *, timeout: float | None = 30.0, **options: Any) -> Advertisement:
        pump = self._pump
        return Advertisement(pump, pump.run(self._discovery.register(point, name, timeout=timeout, **options)))

    def unregister(self, point: Addresses, name: str, *, timeout: float | None = 30.0) -> None:
        self._pump.run(self._discovery.unregister(point, name, timeout=timeout))

    def discover(
        self, point: Addresses, name: str = "", *, limit: int | None = None, cookie: str | None = None, timeout: float | None = 30.0
    ) -> RendezvousAnswer:
        return self._pump.run(self._discovery.discover(point, name, limit=limit, cookie=cookie, timeout=timeout))
