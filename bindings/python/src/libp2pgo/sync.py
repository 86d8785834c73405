"""The same without asyncio, for scripts and notebooks: every call waits on its own thread, and Ctrl-C ends any wait at once.

::

    with libp2pgo.sync.Node() as node:
        print(node.request(peer, "/sum/1", b"1 2 3"))
        for message in node.subscribe("news"):
            print(message.peer, message.data)

One node may be used from several threads. Handlers run on threads of their own; a validator runs where events are dispatched and must not
wait. A signal's handler may close a node; another call that waits raises StateError there if the signal came amid such work.

The words are those of the asyncio face, whose documentation holds.
"""

from __future__ import annotations

import socket as _socket
from typing import TYPE_CHECKING, Any, Callable, Iterable, Iterator, Mapping, TypeVar, Union, overload

from ._blocking import BlockingPump
from ._library import duration, library
from ._sync_discovery import Discovery
from ._sync_flow import Closing, Flow
from .address import resolve_on
from .connections import Connections as _Connections
from .dht import DHT as _DHT
from .dht import DHTValue, Provider
from .dht import Search as _Search
from .errors import NodeClosed
from .events import CAPACITY
from .events import Event as AnyEvent
from .events import Events as _Events
from .explain import Explanation
from .nat import NAT as _NAT
from .node import Node as _Node
from .node import Protocols, Service
from .numbers import Metrics, PerfResult, PerfServer
from .numbers import Perf as _Perf
from .peer import Addresses, Multiaddr, PeerId, PeerInfo
from .pubsub import BLOCK, Judgement, Message
from .pubsub import Subscription as _Subscription
from .pubsub import Topic as _Topic
from .pubsub_control import PathLike, PubsubInfo
from .pubsub_control import Pubsub as _Pubsub
from .pubsub_control import Trace as _Trace
from .relay import Relay as _Relay
from .relay import Reservation
from .request import Request
from .request import RequestStream as _RequestStream
from .stream import _ITEM, MAX_LINE, MAX_MESSAGE
from .stream import Stream as _Stream

if TYPE_CHECKING:
    from typing_extensions import Buffer as BytesLike
    from typing_extensions import Unpack

    from .config import TopicScoreOptions
    from .nat import Wanted
    from .pubsub import Overflow

    Answer = Union[BytesLike, Iterable[BytesLike]]
    RequestHandler = Callable[[Request], Answer]
    R = TypeVar("R", bound=RequestHandler)

__all__ = [
    "Connections",
    "DHT",
    "Events",
    "NAT",
    "Node",
    "Perf",
    "Pubsub",
    "Relay",
    "RequestStream",
    "Reservation",
    "Search",
    "Stream",
    "Subscription",
    "Topic",
    "Trace",
    "resolve",
]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[["Stream"], Any])


class Stream:
    """A stream; see :class:`libp2pgo.Stream`. ``with`` closes it, or resets it if an exception leaves."""

    def __init__(self, pump: BlockingPump, stream: _Stream) -> None:
        self._pump = pump
        self._stream = stream
        self.peer = stream.peer
        self.protocol = stream.protocol

    def __repr__(self) -> str:
        return repr(self._stream)

    @property
    def closed(self) -> bool:
        return self._stream.closed

    def at_eof(self) -> bool:
        return self._stream.at_eof()

    def read(self, n: int = -1, *, timeout: float | None = None) -> bytes:
        return self._pump.run(self._stream.read(n, timeout=timeout))

    def readexactly(self, n: int, *, timeout: float | None = None) -> bytes:
        return self._pump.run(self._stream.readexactly(n, timeout=timeout))

    def readinto(self, buffer: Any, *, timeout: float | None = None) -> int:
        return self._pump.run(self._stream.readinto(buffer, timeout=timeout))

    def readline(self, *, limit: int = MAX_LINE, timeout: float | None = None) -> bytes:
        return self._pump.run(self._stream.readline(limit=limit, timeout=timeout))

    def read_message(self, *, max: int = MAX_MESSAGE, timeout: float | None = None) -> bytes | None:
        return self._pump.run(self._stream.read_message(max=max, timeout=timeout))

    def __iter__(self) -> Iterator[bytes]:
        while True:
            data = self.read(_ITEM)
            if not data:
                return
            yield data

    def write(self, data: BytesLike, *, timeout: float | None = None) -> None:
        self._pump.run(self._stream.write(data, timeout=timeout))

    def write_message(self, data: BytesLike, *, timeout: float | None = None) -> None:
        self._pump.run(self._stream.write_message(data, timeout=timeout))

    def close_write(self, *, timeout: float | None = 30.0) -> None:
        self._pump.run(self._stream.close_write(timeout=timeout))

    write_eof = close_write

    def close_read(self) -> None:
        self._pump.run(self._stream.close_read())

    def reset(self, code: int = 0) -> None:
        self._stream.reset(code)

    def close(self) -> None:
        self._pump.run(self._stream.close())

    def set_deadlines(self, *, read: float | None = None, write: float | None = None) -> None:
        self._stream.set_deadlines(read=read, write=write)

    def detach_fd(self) -> int:
        return self._stream.detach_fd()

    def detach_socket(self) -> _socket.socket:
        return self._stream.detach_socket()

    def info(self) -> dict[str, Any]:
        return self._stream.info()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.reset()


class RequestStream(Closing):
    """The parts of a streamed answer, as an iterator; see :class:`libp2pgo.RequestStream`."""

    def __init__(self, pump: BlockingPump, parts: _RequestStream) -> None:
        self._pump = pump
        self._parts = parts

    def __iter__(self) -> RequestStream:
        return self

    def __next__(self) -> bytes:
        try:
            return self._pump.run(self._parts.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        self._pump.run(self._parts.aclose())


class Subscription(Flow[Message]):
    """The messages of a topic, as an iterator; see :class:`libp2pgo.Subscription`."""

    def __init__(self, pump: BlockingPump, subscription: _Subscription) -> None:
        self._pump = pump
        self._subscription = subscription
        self.topic = subscription.topic

    @property
    def dropped(self) -> int:
        return self._subscription.dropped

    def next(self, *, timeout: float | None = None) -> Message | None:
        return self._pump.run(self._subscription.next(timeout=timeout))

    def info(self) -> dict[str, Any]:
        return self._subscription.info()

    def close(self) -> None:
        self._subscription.close()


class Topic(Closing):
    """A joined topic; see :class:`libp2pgo.Topic`."""

    def __init__(self, pump: BlockingPump, topic: _Topic) -> None:
        self._pump = pump
        self._topic = topic
        self.name = topic.name

    def subscribe(self, *, capacity: int = 16384, capacity_bytes: int = 64 << 20, overflow: Overflow = BLOCK) -> Subscription:
        found = self._topic.subscribe(capacity=capacity, capacity_bytes=capacity_bytes, overflow=overflow)
        return Subscription(self._pump, found)

    def publish(self, data: BytesLike, *, min_peers: int = 0, timeout: float | None = 30.0) -> int:
        return self._pump.run(self._topic.publish(data, min_peers=min_peers, timeout=timeout))

    def publish_many(self, messages: Iterable[BytesLike], *, min_peers: int = 0, timeout: float | None = 30.0) -> list[int]:
        return self._pump.run(self._topic.publish_many(messages, min_peers=min_peers, timeout=timeout))

    def set_score(self, **options: Unpack[TopicScoreOptions]) -> None:
        self._topic.set_score(**options)

    def peers(self) -> list[PeerId]:
        return self._topic.peers()

    def info(self) -> dict[str, Any]:
        return self._topic.info()

    def close(self) -> None:
        self._topic.close()


class Trace(Flow[dict[str, Any]]):
    """What pubsub does, as an iterator of dicts; see :class:`libp2pgo.Trace`."""

    def __init__(self, pump: BlockingPump, trace: _Trace) -> None:
        self._pump = pump
        self._trace = trace

    @property
    def dropped(self) -> int:
        return self._trace.dropped

    def next(self, *, timeout: float | None = None) -> dict[str, Any] | None:
        return self._pump.run(self._trace.next(timeout=timeout))

    def info(self) -> dict[str, Any]:
        return self._trace.info()

    def close(self) -> None:
        self._trace.close()


class Pubsub:
    """The pubsub of a node; see :class:`libp2pgo.Pubsub`."""

    def __init__(self, pump: BlockingPump, pubsub: _Pubsub) -> None:
        self._pump = pump
        self._pubsub = pubsub

    def info(self) -> PubsubInfo:
        return self._pubsub.info()

    def set_score(self, peer: str, score: int) -> None:
        self._pubsub.set_score(peer, score)

    def block(self, peer: str) -> None:
        self._pubsub.block(peer)

    def unblock(self, peer: str) -> None:
        self._pubsub.unblock(peer)

    def add_direct(self, addresses: Addresses) -> None:
        self._pubsub.add_direct(addresses)

    def remove_direct(self, peer: str) -> None:
        self._pubsub.remove_direct(peer)

    def trace(
        self,
        file: PathLike | None = None,
        *,
        events: Iterable[str] | None = None,
        topics: Iterable[str] | None = None,
        capacity: int | None = None,
    ) -> Trace:
        return Trace(self._pump, self._pubsub.trace(file, events=events, topics=topics, capacity=capacity))


class Events(Flow[AnyEvent]):
    """A node's events, as an iterator; see :class:`libp2pgo.Events`."""

    def __init__(self, pump: BlockingPump, events: _Events[Any]) -> None:
        self._pump = pump
        self._events = events

    @property
    def missed(self) -> int:
        return self._events.missed

    def next(self, *, timeout: float | None = None) -> AnyEvent | None:
        event: AnyEvent | None = self._pump.run(self._events.next(timeout=timeout))
        return event

    def close(self) -> None:
        self._events.close()


class Perf:
    """The perf protocol; see :class:`libp2pgo.Perf`."""

    def __init__(self, pump: BlockingPump, perf: _Perf) -> None:
        self._pump = pump
        self._perf = perf

    def serve(self, **options: Any) -> PerfServer:
        return self._perf.serve(**options)

    def run(
        self, peer: Addresses, *, upload: int = 0, download: int = 0, allow_limited: bool = False, timeout: float | None = 30.0
    ) -> PerfResult:
        return self._pump.run(self._perf.run(peer, upload=upload, download=download, allow_limited=allow_limited, timeout=timeout))


class Connections:
    """Which connections stay when there are too many; see :class:`libp2pgo.Connections`."""

    def __init__(self, here: Callable[[], BlockingPump], connections: _Connections) -> None:
        self._here = here
        self._connections = connections
        self.tag = connections.tag
        self.untag = connections.untag
        self.protect = connections.protect
        self.unprotect = connections.unprotect
        self.set_watermarks = connections.set_watermarks

    def trim(self, left: int | None = None, *, timeout: float | None = 30.0) -> int:
        return self._here().run(self._connections.trim(left, timeout=timeout))


class NAT:
    """Reachability of a node; see :class:`libp2pgo.NAT`."""

    def __init__(self, here: Callable[[], BlockingPump], nat: _NAT) -> None:
        self._here = here
        self._nat = nat

    @property
    def reachability(self) -> str:
        return self._nat.reachability

    def info(self) -> dict[str, Any]:
        return self._nat.info()

    def wait(self, what: Wanted = "reachable", *, timeout: float | None = 30.0) -> str:
        return self._here().run(self._nat.wait(what, timeout=timeout))


class Relay:
    """Relays of a node; see :class:`libp2pgo.Relay`."""

    def __init__(self, here: Callable[[], BlockingPump], relay: _Relay) -> None:
        self._here = here
        self._relay = relay
        self.info = relay.info
        self.allow = relay.allow
        self.deny = relay.deny
        self.forget = relay.forget

    def reserve(self, addresses: Addresses, *, timeout: float | None = 30.0) -> Reservation:
        """As :meth:`libp2pgo.Relay.reserve`; the reservation also works in a plain ``with``."""
        return self._here().run(self._relay.reserve(addresses, timeout=timeout))


class Search(Flow[T]):
    """Results of a running query: an iterator; see :class:`libp2pgo.Search`."""

    def __init__(self, pump: BlockingPump, search: _Search[T]) -> None:
        self._pump = pump
        self._search = search

    def next(self, *, timeout: float | None = None) -> T | None:
        return self._pump.run(self._search.next(timeout=timeout))

    def close(self) -> None:
        self._search.close()


class DHT:
    """A node's part in the distributed hash table; see :class:`libp2pgo.DHT`."""

    def __init__(self, pump: Callable[[], BlockingPump], dht: _DHT) -> None:
        self._pump = pump
        self._dht = dht

    def __repr__(self) -> str:
        return repr(self._dht)

    def bootstrap(self, min_peers: int = 1, *, timeout: float | None = 30.0) -> int:
        return self._pump().run(self._dht.bootstrap(min_peers, timeout=timeout))

    def put(self, key: str, value: BytesLike, *, min_peers: int = 1, timeout: float | None = 30.0) -> int:
        return self._pump().run(self._dht.put(key, value, min_peers=min_peers, timeout=timeout))

    def get(self, key: str, *, owner: str | None = None, quorum: int = 0, raw: bool = False, timeout: float | None = 30.0) -> bytes:
        return self._pump().run(self._dht.get(key, owner=owner, quorum=quorum, raw=raw, timeout=timeout))

    def search(
        self, key: str, *, owner: str | None = None, quorum: int = 0, raw: bool = False, timeout: float | None = 60.0
    ) -> Search[DHTValue]:
        return Search(self._pump(), self._dht.search(key, owner=owner, quorum=quorum, raw=raw, timeout=timeout))

    def set(
        self,
        name: str,
        value: BytesLike,
        *,
        expiry: float | None = None,
        republish: bool = True,
        min_peers: int = 1,
        timeout: float | None = 30.0,
    ) -> int:
        work = self._dht.set(name, value, expiry=expiry, republish=republish, min_peers=min_peers, timeout=timeout)
        return self._pump().run(work)

    def unset(self, name: str, *, timeout: float | None = 30.0) -> None:
        self._pump().run(self._dht.unset(name, timeout=timeout))

    def validator(self, function: Callable[[str, bytes], Judgement]) -> Callable[[str, bytes], Judgement]:
        """As :meth:`libp2pgo.DHT.validator`, with a plain function that runs on a thread of its own."""
        self._dht.validator(function)
        return function

    def provide(self, key: str, *, timeout: float | None = 30.0) -> int:
        return self._pump().run(self._dht.provide(key, timeout=timeout))

    def start_providing(self, keys: str | Iterable[str], *, timeout: float | None = 30.0) -> None:
        self._pump().run(self._dht.start_providing(keys, timeout=timeout))

    def stop_providing(self, keys: str | Iterable[str], *, timeout: float | None = 30.0) -> None:
        self._pump().run(self._dht.stop_providing(keys, timeout=timeout))

    def find_providers(self, key: str, *, count: int = 0, timeout: float | None = 60.0) -> Search[Provider]:
        return Search(self._pump(), self._dht.find_providers(key, count=count, timeout=timeout))

    def find_peer(self, peer: str, *, timeout: float | None = 30.0) -> tuple[Multiaddr, ...]:
        return self._pump().run(self._dht.find_peer(peer, timeout=timeout))

    def closest_peers(self, key: str, *, timeout: float | None = 30.0) -> list[PeerId]:
        return self._pump().run(self._dht.closest_peers(key, timeout=timeout))

    def refresh(self, *, timeout: float | None = 30.0) -> int:
        return self._pump().run(self._dht.refresh(timeout=timeout))

    @property
    def mode(self) -> str:
        return self._dht.mode

    @mode.setter
    def mode(self, mode: str) -> None:
        self._dht.mode = mode

    def peers(self) -> list[PeerId]:
        return self._dht.peers()

    def info(self) -> dict[str, Any]:
        return self._dht.info()


class Node:
    """A node; see :class:`libp2pgo.Node`, whose options it takes. Start and end it with ``with``, or with start and close."""

    def __init__(self, **options: Any) -> None:
        self._node = _Node(**options)
        self._core = self._node._core
        self._core.here = self._here
        self.connections = Connections(self._here, self._node.connections)
        self.gater = self._node.gater
        self.peerstore = self._node.peerstore
        self.discovery = Discovery(self._node.discovery)
        self._blocking: BlockingPump | None = None
        self.nat = NAT(self._here, self._node.nat)
        self.relay = Relay(self._here, self._node.relay)
        self.dht = DHT(self._here, self._node.dht)

    def _here(self) -> BlockingPump:
        if self._blocking is None or not self._core.handle:
            raise NodeClosed("the node is closed" if self._core.ended else "the node is not started")
        return self._blocking

    # Life.

    def start(self) -> Node:
        if self._blocking is None or self._blocking.closed:  # closed by a start that failed
            self._blocking = BlockingPump(library())
        self._blocking.run(self._core.start(self._node._document, self._blocking))
        return self

    def close(self) -> None:
        if self._blocking is not None:
            self._blocking.run(self._core.close(self._blocking))

    def __enter__(self) -> Node:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self._node)

    @property
    def closed(self) -> bool:
        return self._node.closed

    @property
    def id(self) -> PeerId:
        return self._node.id

    @property
    def addresses(self) -> tuple[Multiaddr, ...]:
        return self._node.addresses

    def listen(self, addresses: Addresses) -> tuple[Multiaddr, ...]:
        return self._node.listen(addresses)

    def unlisten(self, addresses: Addresses) -> None:
        self._node.unlisten(addresses)

    def announce(
        self, *, announce: Iterable[str] | None = None, append: Iterable[str] | None = None, hide: Iterable[str] | None = None
    ) -> None:
        self._node.announce(announce=announce, append=append, hide=hide)

    def info(self) -> dict[str, Any]:
        return self._node.info()

    def limits(self) -> dict[str, Any]:
        return self._node.limits()

    def events(self, *types: type[Any], capacity: int = CAPACITY) -> Events:
        pump = self._here()
        return Events(pump, self._core.events(pump, types, capacity))

    @property
    def metrics(self) -> Metrics:
        return self._node.metrics

    @property
    def perf(self) -> Perf:
        return Perf(self._here(), self._node.perf)

    # Peers.

    def connect(self, addresses: Addresses, *, timeout: float | None = 30.0) -> PeerId:
        return self._here().run(self._node.connect(addresses, timeout=timeout))

    def disconnect(self, peer: str) -> None:
        self._node.disconnect(peer)

    def ping(self, peer: Addresses, *, timeout: float | None = 30.0) -> float:
        return self._here().run(self._node.ping(peer, timeout=timeout))

    def explain(
        self, addresses: Addresses, *, protocol: str | None = None, attempt: float = 5.0, timeout: float | None = 30.0
    ) -> Explanation:
        return self._here().run(self._node.explain(addresses, protocol=protocol, attempt=attempt, timeout=timeout))

    def keep(self, addresses: Addresses) -> None:
        self._node.keep(addresses)

    def release(self, peer: str) -> None:
        self._node.release(peer)

    def peers(self) -> list[PeerId]:
        return self._node.peers()

    def peer_info(self, peer: str) -> PeerInfo:
        return self._node.peer_info(peer)

    def peers_info(self) -> list[PeerInfo]:
        return self._node.peers_info()

    # Streams.

    @overload
    def handle(self, protocols: Protocols, handler: None = None, *, max_streams: int | None = None) -> Callable[[F], F]: ...
    @overload
    def handle(self, protocols: Protocols, handler: Callable[[Stream], Any], *, max_streams: int | None = None) -> Service: ...
    def handle(self, protocols: Protocols, handler: Callable[[Stream], Any] | None = None, *, max_streams: int | None = None) -> Any:
        """As :meth:`libp2pgo.Node.handle`, with a plain function that runs on a thread of its own per stream."""

        def register(function: Callable[[Stream], Any]) -> Service:
            async def work(stream: _Stream) -> None:
                function(Stream(self._here(), stream))

            return self._core.serve_streams(protocols, max_streams, work)

        return self._core.decorate(handler, register)

    def unhandle(self, protocol: str) -> None:
        self._node.unhandle(protocol)

    def open_stream(
        self,
        peer: Addresses,
        protocols: Protocols,
        *,
        no_dial: bool = False,
        allow_limited: bool = False,
        timeout: float | None = 30.0,
    ) -> Stream:
        pump = self._here()
        work = self._node._open_stream(pump, peer, protocols, no_dial, allow_limited, timeout)
        return Stream(pump, pump.run(work))

    def open_socket(self, peer: Addresses, protocols: Protocols, *, timeout: float | None = 30.0) -> _socket.socket:
        """As :meth:`libp2pgo.Node.open_socket`, blocking as sockets are by default."""
        sock = self.open_stream(peer, protocols, timeout=timeout).detach_socket()
        sock.setblocking(True)
        return sock

    # Requests.

    def request(self, peer: Addresses, protocol: str, data: BytesLike = b"", **options: Any) -> bytes:
        return self._here().run(self._node.request(peer, protocol, data, **options))

    def request_stream(self, peer: Addresses, protocol: str, data: BytesLike = b"", **options: Any) -> RequestStream:
        return RequestStream(self._here(), self._node.request_stream(peer, protocol, data, **options))

    @overload
    def on_request(self, protocol: str, handler: None = None, **options: Any) -> Callable[[R], R]: ...
    @overload
    def on_request(self, protocol: str, handler: RequestHandler, **options: Any) -> Service: ...
    def on_request(self, protocol: str, handler: RequestHandler | None = None, **options: Any) -> Any:
        """As :meth:`libp2pgo.Node.on_request`, with a plain function or generator that runs on a thread of its own per request."""
        given: Mapping[str, Any] = options
        unknown = set(given) - {"max_request", "max_concurrent", "timeout"}
        if unknown:
            raise TypeError(f"on_request got an unexpected keyword argument {sorted(unknown)[0]!r}")
        duration("timeout", given.get("timeout"))  # before the start, at which the rest follows

        def register(function: RequestHandler) -> Any:
            def answer(request: Request) -> Any:
                return _answer(function, request)

            return self._node.on_request(protocol, answer, **options)

        return self._core.decorate(handler, register)

    # Pubsub.

    @property
    def pubsub(self) -> Pubsub:
        return Pubsub(self._here(), self._node.pubsub)

    def join(self, name: str, *, validator: Callable[[Message], Judgement] | None = None, **rules: Any) -> Topic:
        return Topic(self._here(), self._node.join(name, validator=validator, **rules))

    def topic(self, name: str) -> Topic:
        return Topic(self._here(), self._node.topic(name))

    def subscribe(self, topic: str, *, capacity: int = 16384, capacity_bytes: int = 64 << 20, overflow: Overflow = BLOCK) -> Subscription:
        return self.topic(topic).subscribe(capacity=capacity, capacity_bytes=capacity_bytes, overflow=overflow)

    def publish(self, topic: str, data: BytesLike, *, min_peers: int = 0, timeout: float | None = 30.0) -> int:
        return self.topic(topic).publish(data, min_peers=min_peers, timeout=timeout)


class _Parts:
    """Lets the engine iterate over a plain generator."""

    def __init__(self, parts: Iterable[Any]) -> None:
        self._parts = iter(parts)

    def __aiter__(self) -> _Parts:
        return self

    async def __anext__(self) -> Any:
        for part in self._parts:
            return part
        raise StopAsyncIteration


def _answer(function: Callable[[Request], Any], request: Request) -> Any:
    answer = function(request)
    if isinstance(answer, Iterable) and not isinstance(answer, (bytes, bytearray, memoryview)):
        return _Parts(answer)
    return answer


def resolve(address: str, *, server: str | None = None, max: int | None = None, timeout: float | None = 30.0) -> tuple[Multiaddr, ...]:
    """Ask DNS what an address stands for; see :meth:`libp2pgo.Multiaddr.resolve`. It needs no node."""
    pump = BlockingPump(library())
    try:
        return pump.run(resolve_on(pump, address, server, max, timeout))
    finally:
        pump.close()
