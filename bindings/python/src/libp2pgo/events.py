"""What a node tells about itself and its peers, as frozen dataclasses, and the iterator that brings them."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, Union

from . import _abi, nat, relay
from ._engine import Batch, Bell, Headers, Pump, deadline, keep, poll, reader
from ._inbox import Inbox
from ._library import Library, integer
from .errors import Error, ForkedProcessError, Timeout, from_code
from .peer import Multiaddr, PeerId

__all__ = [
    "AddressesChanged",
    "DHTModeChanged",
    "DHTValidate",
    "Event",
    "Events",
    "ListenFailed",
    "PathChanged",
    "PeerConnected",
    "PeerDisconnected",
    "PeerFound",
    "PeerGraylisted",
    "PeerJoined",
    "PeerLeft",
    "PeerPardoned",
    "PeerUnreachable",
    "TopicEvents",
]


@dataclass(frozen=True)
class PeerConnected:
    """The first connection with a peer is up."""

    peer: PeerId
    address: Multiaddr
    inbound: bool
    relayed: bool
    limited: bool


@dataclass(frozen=True)
class PeerDisconnected:
    """The last connection with a peer is gone."""

    peer: PeerId


@dataclass(frozen=True)
class PathChanged:
    """The best path to a peer changed between direct and relayed."""

    peer: PeerId
    address: Multiaddr
    relayed: bool
    limited: bool


@dataclass(frozen=True)
class PeerFound:
    """Discovery met a peer."""

    peer: PeerId
    source: str
    """``mdns`` or ``bootstrap``."""
    addresses: tuple[Multiaddr, ...]


@dataclass(frozen=True)
class PeerUnreachable:
    """A kept or bootstrap peer did not answer."""

    peer: PeerId | None
    error: Error
    retry_in: float
    """Seconds until the next try."""


@dataclass(frozen=True)
class AddressesChanged:
    """The node can be reached at other addresses than before."""

    addresses: tuple[Multiaddr, ...]


@dataclass(frozen=True)
class ListenFailed:
    """An address was not bound."""

    address: Multiaddr
    reason: str


@dataclass(frozen=True)
class PeerGraylisted:
    """A peer's score fell below ``pubsub.score.graylist_threshold``: it is not heard any more."""

    peer: PeerId
    score: int


@dataclass(frozen=True)
class PeerPardoned:
    """A peer's score is above that threshold again, or was forgotten."""

    peer: PeerId
    score: int


@dataclass(frozen=True)
class DHTModeChanged:
    """The node began, or ceased, to answer for the DHT."""

    serving: bool
    protocols: tuple[str, ...]
    """Those it answers."""


@dataclass(frozen=True)
class DHTValidate:
    """A value for a namespace of the DHT with the rule "ask" wants a verdict. It comes only to who asks for events of this type."""

    key: str
    data: bytes
    _lib: Library
    _token: int

    def answer(self, verdict: bool | int) -> bool:
        """Give the verdict. Returns False if it came too late, and the default took its place."""
        if isinstance(verdict, bool):
            verdict = _abi.VERDICT_ACCEPT if verdict else _abi.VERDICT_REJECT
        code: int = self._lib.p2p_answer(self._token, int(verdict))
        return code >= 0


@dataclass(frozen=True)
class PeerJoined:
    """A peer subscribed to a topic that this node has joined."""

    peer: PeerId


@dataclass(frozen=True)
class PeerLeft:
    """A peer is gone from a topic that this node has joined."""

    peer: PeerId


Event = Union[
    PeerConnected,
    PeerDisconnected,
    PathChanged,
    PeerFound,
    PeerUnreachable,
    AddressesChanged,
    ListenFailed,
    PeerGraylisted,
    PeerPardoned,
    nat.ReachabilityChanged,
    nat.AddressReachability,
    nat.NATTypeChanged,
    nat.HolePunch,
    nat.PortMapping,
    relay.ReservationChanged,
    DHTModeChanged,
]
EVENTS = (
    PeerConnected,
    PeerDisconnected,
    PathChanged,
    PeerFound,
    PeerUnreachable,
    AddressesChanged,
    ListenFailed,
    PeerGraylisted,
    PeerPardoned,
    *nat.EVENTS,
    *relay.EVENTS,
    DHTModeChanged,
)
E = TypeVar("E", covariant=True)

CAPACITY = 1024


def make(type_: int, status: int, object_: int, value: int, flags: int, text: bytes) -> Event | None:
    """Make the event of a record; None for a record of another kind."""
    words = text.decode("utf-8", "replace")
    lines = words.split("\n")
    inbound, relayed, limited = bool(flags & _abi.FLAG_INBOUND), bool(flags & _abi.FLAG_RELAYED), bool(flags & _abi.FLAG_LIMITED)
    if type_ == _abi.EVENT_PEER_CONNECTED:
        return PeerConnected(PeerId(lines[0]), Multiaddr(lines[1]), inbound, relayed, limited)
    if type_ == _abi.EVENT_PEER_DISCONNECTED:
        return PeerDisconnected(PeerId(lines[0]))
    if type_ == _abi.EVENT_PEER_PATH:
        return PathChanged(PeerId(lines[0]), Multiaddr(lines[1]), relayed, limited)
    if type_ == _abi.EVENT_PEER_FOUND:
        return PeerFound(PeerId(lines[0]), lines[1], tuple(map(Multiaddr, filter(None, lines[2:]))))
    if type_ == _abi.EVENT_PEER_UNREACHABLE:
        name = words.partition(":")[0]
        peer = PeerId(name) if name and "/" not in name and " " not in name else None
        return PeerUnreachable(peer, from_code(status, words, value), object_ / 1000)
    if type_ == _abi.EVENT_ADDRESSES:
        return AddressesChanged(tuple(map(Multiaddr, filter(None, lines))))
    if type_ == _abi.EVENT_PEER_GRAYLISTED:
        return PeerGraylisted(PeerId(lines[0]), value)
    if type_ == _abi.EVENT_PEER_PARDONED:
        return PeerPardoned(PeerId(lines[0]), value)
    if type_ == _abi.EVENT_LISTEN_FAILED:
        return ListenFailed(Multiaddr(lines[0]), "\n".join(lines[1:]))
    if type_ == _abi.EVENT_DHT_MODE:
        return DHTModeChanged(lines[0] == "server", tuple(lines[1:]))
    event: Event | None = nat.make(type_, status, object_, value, lines) or relay.make(type_, status, object_, value, lines)
    return event


def event_types(types: tuple[Any, ...], known: tuple[type[Any], ...], *asked: type[Any]) -> tuple[type[Any], ...]:
    """Check which events an iterator is to bring: all that are known, unless it names some of those, or of what comes only if asked for."""
    for type_ in types:
        if type_ not in known and type_ not in asked:
            names = ", ".join(each.__name__ for each in (*known, *asked))
            raise TypeError(f"types: {type_!r} is none of the event classes {names}")
    return types or known


class EventHub:
    """A node's events on their way to any number of iterators, on any loops. Before there is one, they wait in the library."""

    def __init__(self, lib: Library) -> None:
        self.lib = lib
        self.queue = lib.handle(lib.p2p_queue_new, 0)
        self.closed = False
        self._backlog: list[Batch] = []  # guarded by _lock
        self._lock = threading.RLock()
        self._pulling = False  # guarded by _lock, as is _closing
        self._closing = False
        self._iterators: weakref.WeakSet[Events[Any]] = weakref.WeakSet()  # guarded by _lock

    def add(self, events: Events[Any]) -> None:
        with self._lock:
            self._iterators.add(events)

    def discard(self, events: Events[Any]) -> None:
        with self._lock:
            self._iterators.discard(events)

    def pull(self) -> None:
        """Hand out what the library has. Any waiting iterator, or thread, may."""
        with self._lock:
            if self._pulling:
                return  # by a signal's handler, below the very pull that it interrupts
            try:
                self._pulling = True
                while self._fetch():
                    pass
            finally:
                self._pulling = False
                if self._closing:
                    self._closing = False
                    self.close()
            iterators = tuple(self._iterators)
        for events in iterators:
            events.wake()

    @reader
    def _fetch(self) -> bool:
        if self.closed:
            return False
        records: Headers | None = None
        try:
            if not self._backlog and not poll(self.lib, self.queue, self._backlog):
                return False
            headers, block = self._backlog[0]
            records = _abi.EVENT.iter_unpack(headers)
            self._hand_out(records, block, tuple(self._iterators))
        except ForkedProcessError:
            raise  # it is no end
        except Error:
            self.closed = True
            return False
        except BaseException:  # Ctrl-C between two events
            keep(self.lib, self.queue, self._backlog, records)
            raise
        self._backlog.clear()
        return True

    def _hand_out(self, records: Headers, block: bytes | memoryview, iterators: tuple[Events[Any], ...]) -> None:
        for type_, status, _, _, object_, value, flags, text, text_n, data, data_n, _ in records:
            if type_ == _abi.EVENT_DROPPED:
                for events in iterators:
                    events.missed += value
                continue
            event: Any
            if type_ == _abi.EVENT_DHT_VALIDATE:
                key = bytes(block[text : text + text_n]).decode("utf-8", "replace")
                event = DHTValidate(key, bytes(block[data : data + data_n]), self.lib, object_)
            else:
                event = make(type_, status, object_, value, flags, bytes(block[text : text + text_n]))
            if event is not None:
                for events in iterators:
                    events.put(event)

    def close(self) -> None:
        """End all iterators, after what they have not fetched yet."""
        with self._lock:
            if self._pulling:  # a signal's handler closes the node: the pull that it interrupts comes here when it is through
                self._closing = True
                return
        try:
            self.pull()
        finally:
            self.closed = True
            self.lib.p2p_close(self.queue)
            with self._lock:
                iterators = tuple(self._iterators)
            for events in iterators:
                events.wake()


class Events(Generic[E]):
    """An async iterator of a node's events. It holds at most ``capacity`` of them; what it had no room for is counted in ``missed``.

    The first iterator of a node begins with what happened since the start. It ends when the node closes.
    """

    def __init__(self, hub: EventHub, pump: Pump, types: tuple[type[Any], ...], capacity: int) -> None:
        self.missed = 0
        """Events that were lost because they were not fetched."""
        self._hub = hub
        self._pump = pump
        self._types = event_types(types, EVENTS, DHTValidate)
        self._capacity = integer("capacity", capacity, 1)
        self._waiting: deque[Any] = deque()
        self._closed = False
        self._bell: Bell | None = None
        hub.add(self)

    def put(self, event: Any) -> None:
        if isinstance(event, self._types):
            if len(self._waiting) >= self._capacity:
                self._waiting.popleft()
                self.missed += 1
            self._waiting.append(event)

    def wake(self) -> None:
        bell = self._bell
        if bell is not None and (self._waiting or self._hub.closed or self._closed):
            bell.ring()

    def __aiter__(self) -> Events[E]:
        return self

    async def __anext__(self) -> E:
        event = await self.next()
        if event is None:
            raise StopAsyncIteration
        return event

    async def next(self, *, timeout: float | None = None) -> E | None:
        """Return the next event, or None when the node or the iterator is closed. Cancelling loses nothing."""
        until = deadline(timeout)
        while True:
            if self._bell is None and not (self._closed or self._hub.closed):
                self._bell = Bell(self._pump, self._hub.queue, self._hub.pull)
            if not self._waiting:
                self._hub.pull()
            if self._waiting:
                event: E = self._waiting.popleft()
                return event
            if self._closed or self._hub.closed or self._bell is None:
                return None
            try:
                await self._bell.wait(until)
            except Timeout:
                raise Timeout(f"no event within {timeout} s") from None

    async def aclose(self) -> None:
        """End it."""
        self.close()

    def close(self) -> None:
        """End it."""
        self._closed = True
        self._hub.discard(self)
        if self._bell is not None:
            self._bell.close()

    async def __aenter__(self) -> Events[E]:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


class TopicEvents:
    """An async iterator of who joins and leaves a topic, from its creation on. Bounded as :class:`Events` is."""

    def __init__(self, pump: Pump) -> None:
        self._inbox: Inbox[PeerJoined | PeerLeft] = Inbox(pump, "nobody joined or left", CAPACITY)

    @property
    def missed(self) -> int:
        """Events that were lost because they were not fetched."""
        return self._inbox.missed

    def put(self, event: PeerJoined | PeerLeft) -> None:
        self._inbox.put(event)

    async def next(self, *, timeout: float | None = None) -> PeerJoined | PeerLeft | None:
        """Return the next event, or None when the topic or the iterator is closed. Cancelling loses nothing."""
        return await self._inbox.next(timeout)

    def __aiter__(self) -> TopicEvents:
        return self

    async def __anext__(self) -> PeerJoined | PeerLeft:
        event = await self.next()
        if event is None:
            raise StopAsyncIteration
        return event

    def close(self) -> None:
        """End it."""
        self._inbox.end()

    async def __aenter__(self) -> TopicEvents:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
