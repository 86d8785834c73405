"""Discovery: how peers that know a name, and not each other, meet; and the rendezvous points at which they may."""

from __future__ import annotations

import json
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Generic, Iterable, Sequence, TypeVar, Union, overload

from . import _abi
from ._engine import Pump, next_tag
from ._inbox import Inbox
from ._library import duration, encode, finalizer
from .errors import Error, from_code
from .events import CAPACITY, event_types
from .peer import Addresses, Multiaddr, PeerId, address_lines

if TYPE_CHECKING:
    from ._library import Finalizer
    from .node import Core

__all__ = [
    "Advertised",
    "Advertisement",
    "Discovery",
    "DiscoveryEvent",
    "DiscoveryEvents",
    "FoundPeer",
    "Meeting",
    "PeerGone",
    "PeerMet",
    "PeerSearch",
    "PeerUnanswering",
    "RegisteredPeer",
    "RendezvousAnswer",
    "SourceFailed",
]


@dataclass(frozen=True)
class FoundPeer:
    """A source told of a peer of the topic."""

    peer: PeerId
    source: str
    """``dht``, ``mdns``, or ``rendezvous`` and the point's peer id."""
    addresses: tuple[Multiaddr, ...]


@dataclass(frozen=True)
class Advertised:
    """A source knows of this node now."""

    source: str
    renewed_in: float
    """Seconds until it is told again."""


@dataclass(frozen=True)
class SourceFailed:
    """A source could not be told or asked."""

    source: str
    error: Error
    retry_in: float
    """Seconds until the next try; 0: there is none."""


@dataclass(frozen=True)
class PeerMet:
    """A peer of the meeting is connected."""

    peer: PeerId
    source: str
    """What told of it first; ``peers``: its own word."""
    address: Multiaddr
    inbound: bool
    relayed: bool
    limited: bool


@dataclass(frozen=True)
class PeerGone:
    """A peer left the meeting, or is no longer connected."""

    peer: PeerId


@dataclass(frozen=True)
class PeerUnanswering:
    """A peer that was found could not be connected."""

    peer: PeerId
    error: Error
    retry_in: float
    """Seconds until the next try; 0: there is none."""


DiscoveryEvent = Union[FoundPeer, Advertised, SourceFailed, PeerMet, PeerGone, PeerUnanswering]
EVENTS = (FoundPeer, Advertised, SourceFailed, PeerMet, PeerGone, PeerUnanswering)
T = TypeVar("T")
E = TypeVar("E", covariant=True)


def _make(type_: int, status: int, object_: int, value: int, flags: int, text: bytes) -> DiscoveryEvent | None:
    words = text.decode("utf-8", "replace")
    lines = words.split("\n")
    if type_ == _abi.EVENT_DISCOVERY_FOUND:
        return FoundPeer(PeerId(lines[0]), lines[1], tuple(map(Multiaddr, filter(None, lines[2:]))))
    if type_ == _abi.EVENT_DISCOVERY_ADVERTISED:
        return Advertised(words, value / 1000)
    if type_ == _abi.EVENT_DISCOVERY_FAILED:
        return SourceFailed(words.partition(": ")[0], from_code(status, words, value), object_ / 1000)
    if type_ == _abi.EVENT_DISCOVERY_CONNECTED:
        inbound, relayed, limited = bool(flags & _abi.FLAG_INBOUND), bool(flags & _abi.FLAG_RELAYED), bool(flags & _abi.FLAG_LIMITED)
        return PeerMet(PeerId(lines[0]), lines[1], Multiaddr(lines[2]), inbound, relayed, limited)
    if type_ == _abi.EVENT_DISCOVERY_LEFT:
        return PeerGone(PeerId(words))
    if type_ == _abi.EVENT_DISCOVERY_UNREACHABLE:
        return PeerUnanswering(PeerId(words.partition(":")[0]), from_code(status, words, value), object_ / 1000)
    return None


class DiscoveryEvents(Generic[E]):
    """An async iterator of what discovery does, from its creation on. Bounded: ``missed`` counts what was not fetched in time."""

    def __init__(self, pump: Pump, types: tuple[type[Any], ...]) -> None:
        self.inbox: Inbox[Any] = Inbox(pump, "no event", CAPACITY)
        self.types = types

    @property
    def missed(self) -> int:
        return self.inbox.missed

    async def next(self, *, timeout: float | None = None) -> E | None:
        """Return the next event, or None at the end. Cancelling loses nothing."""
        event: E | None = await self.inbox.next(timeout)
        return event

    def __aiter__(self) -> DiscoveryEvents[E]:
        return self

    async def __anext__(self) -> E:
        event = await self.next()
        if event is None:
            raise StopAsyncIteration
        return event

    def close(self) -> None:
        """End it."""
        self.inbox.end()

    async def __aenter__(self) -> DiscoveryEvents[E]:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


class _Running:
    """Something that runs in the library until it is closed, and tells of it."""

    def __init__(self, core: Core, topic: str) -> None:
        self.topic = topic
        self._core = core
        self._pump = core.here()
        self._tag = next_tag()
        self._closed = False
        self._end: Finalizer | None = None
        self._watchers: weakref.WeakSet[DiscoveryEvents[Any]] = weakref.WeakSet()
        self._pump.targets[self._tag] = self._arrived

    def _open(self, function: Callable[..., int], *args: Any) -> None:
        """Open the handle."""
        try:
            self._handle = self._pump.lib.handle(function, *args, self._pump.queue, self._tag)
        except BaseException:
            self._forget()
            raise
        self._opened()

    def _opened(self) -> None:
        self._end = finalizer(self._core, self._pump.lib.p2p_close, self._handle)
        if self._closed:  # on the thread that serves the sync face
            self._release()

    def _release(self) -> None:
        if self._end is not None:
            self._end()

    def _forget(self) -> None:
        self._pump.targets.pop(self._tag, None)

    def _arrived(self, type_: int, status: int, subject: int, object_: int, value: int, flags: int, text: bytes, data: bytes) -> None:
        if type_ == _abi.EVENT_CLOSED:
            self._forget()
            self._closed = True
            self._over(from_code(status, text.decode("utf-8", "replace"), value) if status < 0 else None)
            for watcher in tuple(self._watchers):
                watcher.inbox.end()
            return
        event = _make(type_, status, object_, value, flags, text)
        if event is not None:
            self._happened(event)
            for watcher in tuple(self._watchers):
                if isinstance(event, watcher.types):
                    watcher.inbox.put(event)

    def _happened(self, event: DiscoveryEvent) -> None:
        """Take an event."""

    def _over(self, error: Error | None) -> None:
        """Take the end."""

    @overload
    def events(self) -> DiscoveryEvents[DiscoveryEvent]: ...
    @overload
    def events(self, first: type[T], /) -> DiscoveryEvents[T]: ...
    @overload
    def events(self, *types: type[Any]) -> DiscoveryEvents[Any]: ...
    def events(self, *types: type[Any]) -> DiscoveryEvents[Any]:
        """Iterate over what happens from now on, or over events of some types."""
        events: DiscoveryEvents[Any] = DiscoveryEvents(self._core.here(), event_types(types, EVENTS))
        if self._closed:
            events.close()
        self._watchers.add(events)
        return events

    def info(self) -> dict[str, Any]:
        """What the library knows of it, and of each source."""
        result: dict[str, Any] = self._pump.lib.json(self._pump.lib.p2p_info, self._handle)
        return result

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self._closed

    async def aclose(self) -> None:
        """As :meth:`close`."""
        self.close()

    def close(self) -> None:
        """End it."""
        self._closed = True
        self._forget()
        self._release()
        self._over(None)
        for watcher in tuple(self._watchers):
            watcher.inbox.end()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.topic}, {'closed' if self._closed else 'open'}>"

    async def __aexit__(self, *_: object) -> None:
        self.close()


class Advertisement(_Running):
    """This node is told to be of a topic until :meth:`close`, which takes it back where that is possible."""

    granted = 0.0
    """Seconds that a rendezvous point granted at first."""

    async def __aenter__(self) -> Advertisement:
        return self


class PeerSearch(_Running):
    """The peers of a topic as they are found, each once: an async iterator, which ends when every source has answered."""

    def __init__(self, core: Core, topic: str) -> None:
        super().__init__(core, topic)
        self._inbox: Inbox[FoundPeer] = Inbox(self._pump, "no peer")

    def _happened(self, event: DiscoveryEvent) -> None:
        if isinstance(event, FoundPeer):
            self._inbox.put(event)

    def _over(self, error: Error | None) -> None:
        self._inbox.end(error)
        self._release()

    async def next(self, *, timeout: float | None = None) -> FoundPeer | None:
        """Return the next peer, or None at the end. Cancelling loses nothing. Raises what a source failed with if none could be asked."""
        return await self._inbox.next(timeout)

    def __aiter__(self) -> PeerSearch:
        return self

    async def __anext__(self) -> FoundPeer:
        found = await self.next()
        if found is None:
            raise StopAsyncIteration
        return found

    async def __aenter__(self) -> PeerSearch:
        return self


class Meeting(_Running):
    """This node together with all others that joined the topic, until :meth:`close`. Iterating brings each peer as it is connected::

        async with node.discovery.join("book club") as meeting:
            async for peer in meeting:
                await node.request(peer, "/hello/1", b"hello")

    A peer that is lost and comes back comes again. :meth:`events` tells more. Connections outlive the meeting.
    """

    def __init__(self, core: Core, topic: str) -> None:
        super().__init__(core, topic)
        self._inbox: Inbox[PeerId] = Inbox(self._pump, "no peer", CAPACITY)

    def _happened(self, event: DiscoveryEvent) -> None:
        if isinstance(event, PeerMet):
            self._inbox.put(event.peer)

    def _over(self, error: Error | None) -> None:
        self._inbox.end(error)

    @property
    def missed(self) -> int:
        """Peers that the iteration lost because they were not fetched; :meth:`peers` has all."""
        return self._inbox.missed

    async def next(self, *, timeout: float | None = None) -> PeerId | None:
        """Return the next peer that is connected, or None when the meeting is closed. Cancelling loses nothing."""
        return await self._inbox.next(timeout)

    def __aiter__(self) -> Meeting:
        return self

    async def __anext__(self) -> PeerId:
        peer = await self.next()
        if peer is None:
            raise StopAsyncIteration
        return peer

    async def __aenter__(self) -> Meeting:
        return self

    def peers(self) -> list[PeerId]:
        """Who is connected now."""
        lib = self._pump.lib
        return list(map(PeerId, lib.lines(lib.p2p_discovery_peers, self._handle)))


@dataclass(frozen=True)
class RegisteredPeer:
    """A peer that has registered at a rendezvous point. Its addresses are signed by itself."""

    peer: PeerId
    namespace: str
    addresses: tuple[Multiaddr, ...]
    ttl: float
    """Seconds left."""


@dataclass(frozen=True)
class RendezvousAnswer:
    """What a rendezvous point answered."""

    peers: tuple[RegisteredPeer, ...]
    cookie: str
    """Brings only what came since, given to the next question."""
    refused: int
    """Registrations with a bad signature, which are left out."""


def _options(**options: Any) -> bytes:
    return json.dumps({name: value for name, value in options.items() if value is not None}).encode()


def _list(texts: str | Iterable[str] | None) -> list[str] | None:
    return None if texts is None else [texts] if isinstance(texts, str) else list(map(str, texts))


class Discovery:
    """How a node finds peers, as ``node.discovery``.

    A source is a place to meet at: ``"dht"``, ``"rendezvous"`` (the option ``rendezvous={"points": [...]}``), ``"mdns"`` (the local
    network). By default every source that is on is used. Times are seconds.
    """

    def __init__(self, core: Core) -> None:
        self._core = core

    def join(
        self,
        topic: str,
        *,
        sources: Sequence[str] | None = None,
        points: str | Sequence[str] | None = None,
        advertise: bool | None = None,
        find: bool | None = None,
        connect: bool | None = None,
        max_peers: int | None = None,
        ttl: float | None = None,
        interval: float | None = None,
        retry_min: float | None = None,
        retry_max: float | None = None,
        retry_limit: int | None = None,
        connect_timeout: float | None = None,
    ) -> Meeting:
        """Join a topic: peers that join the same one, anywhere, are found, connected and kept connected. Raises AlreadyExists.

        Args:
            sources: also ``"peers"``: those who are connected already.
            points: rendezvous points in place of the configured ones.
            advertise, find, connect: what to do; all by default.
            max_peers: found peers are dialled while fewer are connected; default 64.
            ttl: life of an advertisement that is not renewed; default two hours.
            interval: longest pause between two looks at a source; default 60.
            retry_min, retry_max: pauses after failures, which double; default 1 and 60.
            retry_limit: failures after which a peer is forgotten until it is found again; default 8, 0 for none.
            connect_timeout: for one attempt to connect; default 15.
        """
        options = _options(
            sources=_list(sources),
            points=_list(points),
            advertise=advertise,
            find=find,
            connect=connect,
            max_peers=max_peers,
            ttl_ms=duration("ttl", ttl),
            interval_ms=duration("interval", interval),
            retry_min_ms=duration("retry_min", retry_min),
            retry_max_ms=duration("retry_max", retry_max),
            retry_limit=retry_limit,
            connect_timeout_ms=duration("connect_timeout", connect_timeout),
        )
        meeting = Meeting(self._core, topic)
        self._start(meeting, "p2p_discovery_join", topic, options)
        return meeting

    def advertise(
        self,
        topic: str,
        *,
        sources: Sequence[str] | None = None,
        points: str | Sequence[str] | None = None,
        ttl: float | None = None,
        retry_min: float | None = None,
        retry_max: float | None = None,
    ) -> Advertisement:
        """Tell the sources that this node is of a topic, again and again, until closed. Raises StateError if no source is on."""
        options = _options(
            sources=_list(sources),
            points=_list(points),
            ttl_ms=duration("ttl", ttl),
            retry_min_ms=duration("retry_min", retry_min),
            retry_max_ms=duration("retry_max", retry_max),
        )
        advertisement = Advertisement(self._core, topic)
        self._start(advertisement, "p2p_discovery_advertise", topic, options)
        return advertisement

    def find(
        self,
        topic: str,
        *,
        sources: Sequence[str] | None = None,
        points: str | Sequence[str] | None = None,
        limit: int | None = None,
        follow: bool | None = None,
        interval: float | None = None,
        retry_min: float | None = None,
    ) -> PeerSearch:
        """Look for peers of a topic: ``async for found in node.discovery.find("t"): ...``. They are not connected.

        Args:
            limit: peers after which it ends.
            follow: look again and again, at most ``interval`` apart, instead of ending when every source has answered.

        Raises StateError if no source is on.
        """
        options = _options(
            sources=_list(sources),
            points=_list(points),
            limit=limit,
            follow=follow,
            interval_ms=duration("interval", interval),
            retry_min_ms=duration("retry_min", retry_min),
        )
        search = PeerSearch(self._core, topic)
        self._start(search, "p2p_discovery_find", topic, options)
        return search

    def _start(self, running: _Running, name: str, topic: str, options: bytes) -> None:
        try:
            function, node = getattr(self._core.lib, name), self._core.open()
        except BaseException:
            running._forget()
            raise
        running._open(function, node, encode(topic, "topic"), options)

    # Rendezvous points.

    async def register(
        self,
        point: Addresses,
        name: str,
        *,
        ttl: float | None = None,
        retry_min: float | None = None,
        retry_max: float | None = None,
        timeout: float | None = 30.0,
    ) -> Advertisement:
        """Register at one rendezvous point, and keep that renewed until the result is closed, which takes it back.

        Raises InvalidArgument if the point does not take the name or grant the time, Busy if it is full, Refused,
        ProtocolNotSupported if it is no point; each in its own words.
        """
        core = self._core
        options = _options(
            ttl_ms=duration("ttl", ttl), retry_min_ms=duration("retry_min", retry_min), retry_max_ms=duration("retry_max", retry_max)
        )
        running = Advertisement(core, name)
        try:
            _, running._handle, granted, _, _ = await running._pump.call(
                core.lib.p2p_rendezvous_register,
                core.open(),
                address_lines(point, "point"),
                encode(name, "name"),
                options,
                running._pump.queue,
                running._tag,
                None,
                timeout=timeout,
            )
        except BaseException:
            running._forget()
            raise
        running.granted = granted / 1000
        running._opened()
        return running

    async def unregister(self, point: Addresses, name: str, *, timeout: float | None = 30.0) -> None:
        """Take back a registration, also one of an earlier life of this node. There is no answer to it: it is sent when this returns."""
        core = self._core
        await core.here().call(
            core.lib.p2p_rendezvous_unregister, core.open(), address_lines(point, "point"), encode(name, "name"), timeout=timeout
        )

    async def discover(
        self, point: Addresses, name: str = "", *, limit: int | None = None, cookie: str | None = None, timeout: float | None = 30.0
    ) -> RendezvousAnswer:
        """Ask a rendezvous point who has registered under a name; "" for all names. Raises as :meth:`register`.

        Args:
            cookie: of an earlier answer, to get only what came since. InvalidArgument when the point no longer knows it: ask without.
        """
        core = self._core
        options = _options(limit=limit, cookie=cookie)
        result = await core.here().call(
            core.lib.p2p_rendezvous_discover,
            core.open(),
            address_lines(point, "point"),
            encode(name, "name"),
            options,
            None,
            timeout=timeout,
        )
        answer = json.loads(result[3])
        peers = (
            RegisteredPeer(PeerId(r["peer"]), r["namespace"], tuple(map(Multiaddr, r["addresses"])), r["ttl_ms"] / 1000)
            for r in answer["registrations"]
        )
        return RendezvousAnswer(tuple(peers), answer["cookie"], answer["refused"])
