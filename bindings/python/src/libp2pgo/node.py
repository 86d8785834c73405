"""A Node: this process' presence in a libp2p network."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import warnings
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Iterable, Sequence, TypeVar, Union, overload

from . import _abi
from ._engine import Pump, Target, Work, deadline, loop_pump, next_tag
from ._flow import Flow
from ._library import Library, duration, encode, finalizer
from .config import (
    MDNS,
    AddressesOptions,
    Bootstrap,
    ConnectionsOptions,
    DHTOptions,
    DialOptions,
    Document,
    EventsOptions,
    GatingOptions,
    IdentifyOptions,
    Identity,
    KeepOptions,
    LimitsOptions,
    MetricsOptions,
    NATOptions,
    Options,
    PeerstoreOptions,
    PrivateNetwork,
    PubsubOptions,
    RelayOptions,
    RendezvousOptions,
    StreamOptions,
    TopicScoreOptions,
    TransportsOptions,
    WebSocketOptions,
    YamuxOptions,
)
from .connections import Connections
from .dht import DHT
from .discovery import Discovery
from .errors import ClosedError, NodeClosed, NotFound, StateError
from .events import CAPACITY, EventHub, Events
from .events import Event as AnyEvent
from .explain import Explanation, explain
from .gater import Gater
from .nat import NAT
from .numbers import Metrics, Perf
from .peer import Addresses, Multiaddr, PeerId, PeerInfo, address_lines, peer_info, peer_named
from .peerstore import Peerstore
from .pubsub import BLOCK, Subscription, Topic, Validator
from .pubsub_control import Pubsub
from .relay import Relay
from .request import RequestServer, RequestStream, ask, open_exchange
from .stream import OpeningStream, Stream, _State, serve_stream

if TYPE_CHECKING:
    import socket

    from typing_extensions import Buffer as BytesLike

    from ._library import Finalizer
    from .pubsub import Overflow
    from .request import RequestHandler

    H = TypeVar("H", bound=Callable[[Stream], Awaitable[Any]])
    R = TypeVar("R", bound=RequestHandler)

__all__ = ["Node", "Service"]

T = TypeVar("T")
F = TypeVar("F", bound=Flow[Any])
Protocols = Union[str, Iterable[str]]


class Service:
    """A protocol that this node serves, until :meth:`close`."""

    def __init__(
        self, pump: Pump, handle: int, tag: int, at_work: dict[int, Work], protocols: tuple[str, ...], requests: RequestServer | None
    ) -> None:
        self.protocols = protocols
        self.at_work = at_work
        self.closed = False
        self._pump = pump
        self._handle = handle
        self._tag = tag
        self._requests = requests

    def close(self) -> None:
        """Stop serving; what is at work goes on."""
        self.closed = True
        self._pump.lib.p2p_close(self._handle)
        if self._requests is None:
            self._pump.targets.pop(self._tag, None)
        else:  # a request at work may still be cancelled
            self._requests.close(partial(self._pump.targets.pop, self._tag, None))

    def finish(self) -> None:
        """Its node has closed, while others may go on using the pump."""
        self._pump.targets.pop(self._tag, None)

    def info(self) -> dict[str, Any]:
        """What the library knows of it."""
        result: dict[str, Any] = self._pump.lib.json(self._pump.lib.p2p_info, self._handle)
        return result

    def __repr__(self) -> str:
        return f"<Service {', '.join(self.protocols)}>"


class Node:
    """A libp2p node. Start and end it with ``async with``, or with :meth:`start` and :meth:`close`.

    It may be used from any number of event loops and threads; its streams and subscriptions belong to the loop that made them.
    Handlers run on the loop on which they were registered, or on the one that starts the node.

    Args:
        identity: where the private key is: a path (created with mode 0600 if missing), a PrivateKey, or None for a new one each time.
        listen: addresses to listen at; ``[]`` for none, None for TCP and QUIC on every interface.
        mdns: whether to announce and find nodes on the local network.
        bootstrap: addresses of peers to stay connected to.
        rendezvous: the rendezvous points to meet at, and being one.
        private_network: the key of a private network: a path, a NetworkKey or its bytes.
        config: the options by the names of the library's schema, as a mapping or JSON; the others by name go over it.

    Raises ConfigError, with the path of the option, ListenError, PermissionDenied or ParseError (the key file) when it starts.
    """

    def __init__(
        self,
        *,
        identity: Identity = None,
        listen: str | Sequence[str] | None = None,
        listen_require: str | None = None,
        mdns: MDNS = None,
        bootstrap: Bootstrap = None,
        rendezvous: RendezvousOptions | None = None,
        private_network: PrivateNetwork = None,
        addresses: AddressesOptions | None = None,
        transports: TransportsOptions | None = None,
        websocket: WebSocketOptions | None = None,
        security: Sequence[str] | None = None,
        yamux: YamuxOptions | None = None,
        peerstore: PeerstoreOptions | None = None,
        limits: LimitsOptions | None = None,
        gating: GatingOptions | None = None,
        connections: ConnectionsOptions | None = None,
        dial: DialOptions | None = None,
        keep: KeepOptions | None = None,
        pubsub: PubsubOptions | None = None,
        dht: DHTOptions | None = None,
        identify: IdentifyOptions | None = None,
        events: EventsOptions | None = None,
        stream: StreamOptions | None = None,
        metrics: MetricsOptions | None = None,
        nat: NATOptions | None = None,
        relay: RelayOptions | None = None,
        config: Options | str | None = None,
    ) -> None:
        given = {
            "identity": identity,
            "listen": listen,
            "listen_require": listen_require,
            "mdns": mdns,
            "bootstrap": bootstrap,
            "rendezvous": rendezvous,
            "private_network": private_network,
            "addresses": addresses,
            "transports": transports,
            "websocket": websocket,
            "security": security,
            "yamux": yamux,
            "peerstore": peerstore,
            "limits": limits,
            "gating": gating,
            "connections": connections,
            "dial": dial,
            "keep": keep,
            "pubsub": pubsub,
            "dht": dht,
            "identify": identify,
            "events": events,
            "stream": stream,
            "metrics": metrics,
            "nat": nat,
            "relay": relay,
        }
        self._document = Document(config, given)
        self._core = Core()
        self.connections = Connections(self._core)
        """Which connections stay when there are too many."""
        self.peerstore = Peerstore(self._core)
        """What is known of peers, connected or not."""
        self.gater = Gater(self._core)
        """Who may be dialled, and who may connect."""
        self.discovery = Discovery(self._core)
        """How peers that know a name meet."""
        self.nat = NAT(self._core)
        """Reachability, and ways through NATs."""
        self.relay = Relay(self._core)
        """Relays in use, and the one that this node can be."""
        self.dht = DHT(self._core)
        """The distributed hash table; the option ``dht`` turns it on."""

    # Life.

    async def start(self) -> Node:
        """Start it. Returns the node itself, so that ``node = await Node().start()`` works too."""
        await self._core.start(self._document, loop_pump())
        return self

    async def close(self) -> None:
        """End it. When this returns its ports, threads of work and memory are released; what still waited has failed with ClosedError.

        Every caller waits for that end, which cancelling one does not hold up. Only if the node is just starting this returns at once:
        then it is the start that raises NodeClosed, when all is released.
        """
        await self._core.close()

    async def __aenter__(self) -> Node:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def closed(self) -> bool:
        """Whether it is not running: closed, or not started yet."""
        return not self._core.handle

    def __repr__(self) -> str:
        return f"<Node {self._core.id or '(not started)'}{', closed' if self._core.ended else ''}>"

    # About itself.

    @property
    def id(self) -> PeerId:
        """Its name."""
        if self._core.id is None:
            raise NodeClosed("the node is not started")
        return self._core.id

    @property
    def addresses(self) -> tuple[Multiaddr, ...]:
        """Where it can be dialled, each ending in ``/p2p/`` and its id."""
        core = self._core
        return tuple(map(Multiaddr, core.lib.lines(core.lib.p2p_node_addresses, core.open())))

    def listen(self, addresses: Addresses) -> tuple[Multiaddr, ...]:
        """Listen at more addresses, all or none, and return them as they are bound. Raises ListenError, which names the one at fault."""
        core = self._core
        return tuple(map(Multiaddr, core.lib.lines(core.lib.p2p_node_listen, core.open(), address_lines(addresses))))

    def unlisten(self, addresses: Addresses) -> None:
        """End listening at addresses, named as ``info()["listening"]`` has them; connections stay. Raises NotFound."""
        self._core.check("p2p_node_unlisten", address_lines(addresses))

    def announce(
        self, *, announce: Iterable[str] | None = None, append: Iterable[str] | None = None, hide: Iterable[str] | None = None
    ) -> None:
        """Change which addresses peers are told; a list that is given replaces the present one.

        Args:
            announce: addresses to tell instead of all that the node finds out; empty for those.
            append: addresses to tell besides.
            hide: addresses, or subnets such as ``10.0.0.0/8``, not to tell.
        """
        rules = {"announce": announce, "append": append, "hide": hide}
        given = {name: [values] if isinstance(values, str) else list(values) for name, values in rules.items() if values is not None}
        self._core.check("p2p_node_announce", json.dumps(given).encode())

    def info(self) -> dict[str, Any]:
        """What the library knows of it."""
        core = self._core
        result: dict[str, Any] = core.lib.json(core.lib.p2p_info, core.open())
        return result

    @overload
    def events(self, *, capacity: int = CAPACITY) -> Events[AnyEvent]: ...
    @overload
    def events(self, first: type[T], /, *, capacity: int = CAPACITY) -> Events[T]: ...
    @overload
    def events(self, *types: type[Any], capacity: int = CAPACITY) -> Events[Any]: ...
    def events(self, *types: type[Any], capacity: int = CAPACITY) -> Events[Any]:
        """Iterate over what happens, or over events of some types: ``async for event in node.events(PeerConnected): ...``"""
        return self._core.events(self._core.here(), types, capacity)

    @property
    def metrics(self) -> Metrics:
        """Its numbers, for programs and for Prometheus."""
        return Metrics(self._core)

    @property
    def perf(self) -> Perf:
        """The perf protocol: how fast bytes travel to a peer."""
        return Perf(self)

    def limits(self) -> dict[str, Any]:
        """The limits of resources, what is in use, and what was refused; docs/info.md has the keys."""
        core = self._core
        result: dict[str, Any] = core.lib.json(core.lib.p2p_limits_info, core.open())
        return result

    # Peers.

    async def connect(self, addresses: Addresses, *, timeout: float | None = 30.0) -> PeerId:
        """Connect to a peer, or find it connected, and return its id.

        Args:
            addresses: one or several addresses of one peer, or its id when its addresses are known.

        Raises DialError, whose ``.attempts`` has every address and why it failed; SecurityError if somebody else answered;
        PeerNotFound if no address is known; ParseError.
        """
        return await self._connect(address_lines(addresses), timeout)

    def disconnect(self, peer: str) -> None:
        """Close all connections to a peer, and their streams."""
        self._core.check("p2p_peer_disconnect", encode(peer, "peer"))

    async def ping(self, peer: Addresses, *, timeout: float | None = 30.0) -> float:
        """Return the round-trip time to a peer, named by id or addresses, in seconds, dialling it first if needed."""
        core = self._core
        named, timeout = await self._resolve(peer, timeout)
        result = await core.here().call(core.lib.p2p_peer_ping, core.open(), encode(named), None, timeout=timeout)
        return result[2] / 1e9

    async def explain(
        self, addresses: Addresses, *, protocol: str | None = None, attempt: float = 5.0, timeout: float | None = 30.0
    ) -> Explanation:
        """Find out why a peer can, or cannot, be reached: each address tried by itself, a verdict, and advice.

        Args:
            addresses: as for :meth:`connect`; those that are known of the peer are tried too.
            protocol: one that the peer should speak.
            attempt: seconds for one address.

        That it cannot be reached raises nothing; ParseError for a malformed address.
        """
        return await explain(self._core, addresses, protocol, attempt, timeout)

    def keep(self, addresses: Addresses) -> None:
        """Connect to a peer, and again whenever it is lost, until :meth:`release`."""
        self._core.check("p2p_peer_keep", address_lines(addresses))

    def release(self, peer: str) -> None:
        """End :meth:`keep`; the connection stays. Raises NotFound if it was not called for the peer."""
        self._core.check("p2p_peer_release", encode(peer, "peer"))

    def peers(self) -> list[PeerId]:
        """Who is connected."""
        core = self._core
        return list(map(PeerId, core.lib.lines(core.lib.p2p_peer_list, core.open())))

    def peer_info(self, peer: str) -> PeerInfo:
        """What is known of a peer."""
        core = self._core
        return peer_info(core.lib.json(core.lib.p2p_peer_info, core.open(), encode(peer, "peer")))

    def peers_info(self) -> list[PeerInfo]:
        """What is known of every connected peer."""
        core = self._core
        return list(map(peer_info, core.lib.json(core.lib.p2p_peer_info, core.open(), None)))

    async def _resolve(self, peer: Addresses, timeout: float | None) -> tuple[str, float | None]:
        """Addresses stand for their peer wherever one is asked for: it is connected to first. Returns it and what is left of the time."""
        if isinstance(peer, str) and not peer.startswith("/"):
            return peer, timeout
        lines, until = address_lines(peer, "peer"), deadline(timeout)
        named = await self._connect(lines, timeout)
        return named, None if until is None else until.left()

    async def _connect(self, lines: bytes, timeout: float | None) -> PeerId:
        core = self._core
        result = await core.here().call(core.lib.p2p_peer_connect, core.open(), lines, None, timeout=timeout)
        return PeerId(result[3].decode())

    # Streams.

    @overload
    def handle(self, protocols: Protocols, handler: None = None, *, max_streams: int | None = None) -> Callable[[H], H]: ...
    @overload
    def handle(self, protocols: Protocols, handler: Callable[[Stream], Awaitable[Any]], *, max_streams: int | None = None) -> Service: ...
    def handle(
        self, protocols: Protocols, handler: Callable[[Stream], Awaitable[Any]] | None = None, *, max_streams: int | None = None
    ) -> Any:
        """Serve one or several protocols (``"/files/*"``: all with that prefix), as a decorator or a call.

        Each inbound stream gets a task. When the handler returns, the stream is closed; when it raises, the stream is reset and the
        exception goes to the logger ``libp2pgo``, which prints it unless told otherwise. On a node that is not started yet it takes effect
        at the start. ``max_streams`` are open at a time; default 1024.
        """
        return self._core.decorate(handler, partial(self._core.serve_streams, protocols, max_streams))

    def unhandle(self, protocol: str) -> None:
        """Stop serving a protocol, of streams or requests, and all that the same :meth:`handle` serves. Raises NotFound."""
        self._core.unhandle(protocol)

    def open_stream(
        self,
        peer: Addresses,
        protocols: Protocols,
        *,
        no_dial: bool = False,
        allow_limited: bool = False,
        timeout: float | None = 30.0,
    ) -> OpeningStream:
        """Open a stream, dialling the peer first if needed: await it, or use it in ``async with``.

        Args:
            peer: whom, by id, or by one or several addresses.
            protocols: one or several, in order of preference.
            no_dial: only over a present connection; an address then has to end in ``/p2p/`` and the peer's id.
            allow_limited: also over a limited relayed connection.

        Raises ProtocolNotSupported if the peer speaks none of them; DialError, PeerNotFound as :meth:`connect`.
        """
        return OpeningStream(lambda: self._open_stream(self._core.here(), peer, protocols, no_dial, allow_limited, timeout))

    async def _open_stream(
        self, pump: Pump, peer: Addresses, protocols: Protocols, no_dial: bool, allow_limited: bool, timeout: float | None
    ) -> Stream:
        core = self._core
        named, timeout = (peer_named(peer), timeout) if no_dial else await self._resolve(peer, timeout)
        options = None
        if no_dial or allow_limited:
            options = json.dumps({"no_dial": no_dial, "allow_limited": allow_limited}).encode()
        _, handle, _, protocol, _ = await pump.call(
            core.lib.p2p_stream_open, core.open(), encode(named), address_lines(protocols, "protocols"), options, None, timeout=timeout
        )
        return self._core.stream(pump, handle, PeerId(named), protocol.decode())

    async def open_socket(self, peer: Addresses, protocols: Protocols, *, timeout: float | None = 30.0) -> socket.socket:
        """Open a stream as a real, non-blocking socket, for libraries that want one. A reset by the peer shows as an end of file."""
        stream = await self.open_stream(peer, protocols, timeout=timeout)
        return stream.detach_socket()

    async def open_connection(
        self, peer: Addresses, protocols: Protocols, *, timeout: float | None = 30.0
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a stream as asyncio's pair of reader and writer, for code written for :func:`asyncio.open_connection`."""
        return await asyncio.open_connection(sock=await self.open_socket(peer, protocols, timeout=timeout))

    # Requests.

    async def request(
        self,
        peer: Addresses,
        protocol: str,
        data: BytesLike = b"",
        *,
        max_response: int | None = None,
        allow_limited: bool = False,
        timeout: float | None = 30.0,
    ) -> bytes:
        """Ask a peer, named by id or addresses, and return its answer. The timeout and a cancellation reach the remote handler.

        Raises RequestError, with the handler's ``.reason`` and ``.words``; ProtocolNotSupported if nobody serves it there; Busy; TooBig.
        """
        core = self._core
        named, timeout = await self._resolve(peer, timeout)
        options = _request_options(max_response, allow_limited)
        return await ask(core.here(), core.open(), named, protocol, data, options, timeout)

    def request_stream(
        self,
        peer: Addresses,
        protocol: str,
        data: BytesLike = b"",
        *,
        max_response: int | None = None,
        allow_limited: bool = False,
        timeout: float | None = 30.0,
    ) -> RequestStream:
        """Ask a peer for a streamed answer: ``async for part in node.request_stream(...)``. The timeout bounds the whole exchange."""

        async def open_(pump: Pump) -> int:
            named, left = await self._resolve(peer, timeout)
            options = _request_options(max_response, allow_limited)
            return await open_exchange(pump, self._core.open(), named, protocol, data, options, left)

        return RequestStream(self._core.here, open_)

    @overload
    def on_request(
        self,
        protocol: str,
        handler: None = None,
        *,
        max_request: int | None = None,
        max_concurrent: int | None = None,
        timeout: float | None = None,
    ) -> Callable[[R], R]: ...
    @overload
    def on_request(
        self,
        protocol: str,
        handler: RequestHandler,
        *,
        max_request: int | None = None,
        max_concurrent: int | None = None,
        timeout: float | None = None,
    ) -> Service: ...
    def on_request(
        self,
        protocol: str,
        handler: RequestHandler | None = None,
        *,
        max_request: int | None = None,
        max_concurrent: int | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Answer requests, as a decorator or a call. An async function answers once; an async generator answers in parts.

        The handler's task is cancelled when the asker gives up or its deadline passes. ``raise RequestError(number, words)`` answers
        with an error; another exception does so too, and goes to the logger ``libp2pgo``.

        Args:
            max_request: bytes of the largest question; default 4 MiB.
            max_concurrent: requests at work at a time, more are told Busy; default 1024.
            timeout: longest time for an answer; default the asker's.
        """
        options = {"max_request": max_request, "max_concurrent": max_concurrent, "timeout_ms": duration("timeout", timeout)}
        return self._core.decorate(handler, partial(self._core.serve_requests, protocol, options))

    # Pubsub.

    @property
    def pubsub(self) -> Pubsub:
        """Who is heard, what a peer is worth, what goes on."""
        return Pubsub(self._core, self._core.here)

    def join(
        self,
        name: str,
        *,
        validator: Validator | None = None,
        validate_timeout: float | None = None,
        validate_default: str | None = None,
        validate_capacity: int | None = None,
        max_size: int | None = None,
        signers: Iterable[str] | None = None,
        rate: float | None = None,
        burst: int | None = None,
        relay: bool | None = None,
        fanout_only: bool | None = None,
        message_id: str | None = None,
        score: TopicScoreOptions | None = None,
    ) -> Topic:
        """Join a topic, once per name: later :meth:`subscribe` and :meth:`publish` by that name use it. Raises AlreadyExists.

        Args:
            validator: called with each Message of others before delivery and passing on; returns True, False or a Verdict, or awaits one.
                What it raises goes to the logger ``libp2pgo``, and the message is ignored.
            validate_timeout: seconds after which ``validate_default`` ("ignore", "reject", "accept") holds; default 1.
            validate_capacity: verdicts pending at a time; beyond it the default holds.
            max_size: bytes of the largest message.
            signers: peer ids that may author.
            rate: messages per second and author, in bursts of ``burst``.
            relay: pass messages on without a subscription, too.
            fanout_only: only publish, never become a member of the mesh.
            message_id: what makes two messages the same: "author", "content", "topic_content", or "node" for the node's choice.
            score: what counts for and against peers here; needs ``pubsub.score.enabled``.
        """
        options = {
            "validate_timeout_ms": duration("validate_timeout", validate_timeout),
            "validate_default": validate_default,
            "validate_capacity": validate_capacity,
            "max_size": max_size,
            "signers": None if signers is None else list(signers),
            "rate": rate,
            "burst": burst,
            "relay": relay,
            "fanout_only": fanout_only,
            "message_id": message_id,
            "score": score,
        }
        return self._core.join(self._core.here(), name, options, validator)

    def topic(self, name: str) -> Topic:
        """Return a joined topic, joining it first if need be."""
        return self._core.topic(self._core.here(), name)

    def subscribe(self, topic: str, *, capacity: int = 16384, capacity_bytes: int = 64 << 20, overflow: Overflow = BLOCK) -> Subscription:
        """Subscribe to a topic, joining it first if need be; see :meth:`Topic.subscribe`."""
        return self.topic(topic).subscribe(capacity=capacity, capacity_bytes=capacity_bytes, overflow=overflow)

    async def publish(self, topic: str, data: BytesLike, *, min_peers: int = 0, timeout: float | None = 30.0) -> int:
        """Publish to a topic, joining it first if need be; see :meth:`Topic.publish`."""
        return await self.topic(topic).publish(data, min_peers=min_peers, timeout=timeout)


def _request_options(max_response: int | None, allow_limited: bool) -> bytes | None:
    if max_response is None and not allow_limited:
        return None
    return _options({"max_response": max_response, "allow_limited": allow_limited})


def _options(options: dict[str, Any]) -> bytes:
    return json.dumps({name: value for name, value in options.items() if value is not None}).encode()


class Core:
    """What the faces share of a node: its handle, its pumps, its services and topics."""

    def __init__(self) -> None:
        self.handle = 0
        self.ended = False
        self._starting = False  # guarded by _lock
        self._closing = 0  # the handle from the first close to the end
        self.id: PeerId | None = None
        self.here: Callable[[], Pump] = self._here
        """The pump to use on this thread. The sync face has one of its own."""
        self._lib: Library | None = None
        self._hub: EventHub | None = None
        self._later: list[Callable[[], Any]] = []
        self._lock = threading.RLock()
        self._pumps: weakref.WeakSet[Pump] = weakref.WeakSet()
        self._services: list[Service] = []
        self._topics: dict[str, Topic] = {}
        self._flows: weakref.WeakSet[Flow[Any]] = weakref.WeakSet()
        self._streams: weakref.WeakSet[_State] = weakref.WeakSet()
        self._end: Finalizer | None = None

    @property
    def lib(self) -> Library:
        if self._lib is None:
            raise NodeClosed("the node is not started")
        return self._lib

    def _here(self) -> Pump:
        pump = loop_pump()
        if pump.used_by(self.open()):
            return pump
        self._pumps.add(pump)
        pump.use(self.handle)
        return pump

    def open(self) -> int:
        if not self.handle:
            raise NodeClosed("the node is closed" if self.ended else "the node is not started")
        return self.handle

    def check(self, name: str, *args: Any) -> None:
        self.lib.check(getattr(self.lib, name)(self.open(), *args))

    async def start(self, document: Document, pump: Pump) -> None:
        with self._lock:
            if self._starting:
                raise StateError("the node is being started already")
            if self.handle or self.ended:
                raise StateError("a node is started once; make another one")
            self._starting = True
        try:
            await self._make(document, pump)
        finally:
            self._starting = False
        try:
            if self.ended:
                raise NodeClosed("the node was closed while it started")
            later, self._later = self._later, []
            for register in later:
                register()
        except BaseException:
            await self.close(pump)
            raise

    async def _make(self, document: Document, pump: Pump) -> None:
        lib = self._lib = pump.lib
        token = next_tag()
        pump.use(token)  # another node that ends meanwhile must not take the pump along
        config = hub = None
        try:
            config = document.make(lib)
            hub = EventHub(lib)
            result = await pump.call(lib.p2p_node_new, config, hub.queue, next_tag(), None, timeout=None)
        except BaseException:
            if hub is not None:
                hub.close()
            pump.release(token)
            raise
        finally:
            if config is not None:
                lib.p2p_close(config)
        handle = result[1]
        self._hub = hub
        self.id = PeerId(lib.text(lib.p2p_node_id, handle))
        self._end = finalizer(self, _forgotten, lib, handle, self.id, hub.queue, self._pumps)
        self._pumps.add(pump)
        pump.use(handle)
        pump.release(token)
        self.handle = handle

    async def close(self, pump: Pump | None = None) -> None:
        """End the node, waiting on the pump of the running loop unless another is given."""
        with self._lock:
            handle = self.handle
            closing = self._closing = handle or self._closing
            self.handle, self.ended = 0, True
        if not closing:
            return
        if pump is None:
            pump = loop_pump()
        if pump.blocking and not handle:
            # The first closer's wait may have been interrupted, or be on this very thread, below a signal's handler: wait without the pump.
            pump.lib.p2p_close(closing)
            self._closing = 0
            return
        token = next_tag()
        pump.use(token)  # the first closer to be done, or cancelled, must not take the pump along
        try:
            if handle:
                self._stop(None if pump.blocking else asyncio.current_task())
            if pump.busy():  # on the sync face, a signal's handler or a validator: wait without the pump
                pump.lib.p2p_close(closing)
            else:
                with contextlib.suppress(ClosedError):  # another closer was faster
                    await pump.call(pump.lib.p2p_node_close, closing, timeout=None)
            self._closing = 0
        finally:
            if handle:
                self._finish(handle)
            pump.release(token)

    def _stop(self, me: asyncio.Task[Any] | None) -> None:
        if self._end is not None:
            self._end.detach()
        for service in self._services:
            for work in list(service.at_work.values()):
                if work is not me:
                    service._pump.soon(work.cancel)

    def _finish(self, handle: int) -> None:
        assert self._hub is not None
        with contextlib.ExitStack() as last:  # whatever fails before it
            for used in list(self._pumps):
                last.callback(used.release, handle)
            last.callback(self._hub.close)
            with self._lock:
                topics = list(self._topics.values())
            for service in self._services:
                service.finish()
            for topic in topics:
                topic.finish()
            for flow in tuple(self._flows):
                flow.finish()
            for stream in tuple(self._streams):
                stream.pump.soon(stream.close)

    def events(self, pump: Pump, types: tuple[type[Any], ...], capacity: int) -> Events[Any]:
        assert self._hub is not None
        return Events(self._hub, pump, types, capacity)

    # Services.

    def decorate(self, handler: Any, register: Callable[[Any], Any]) -> Any:
        if handler is not None:
            return register(handler)

        def decorator(function: Any) -> Any:
            if self.handle or self.ended:
                register(function)
            else:
                self._later.append(partial(register, function))
            return function

        return decorator

    def serve_streams(self, protocols: Protocols, max_streams: int | None, handler: Callable[[Stream], Awaitable[Any]]) -> Service:
        pump = self.here()
        lines = address_lines(protocols, "protocols")
        names = tuple(lines.decode("utf-8", "surrogateescape").split("\n"))
        at_work: dict[int, Work] = {}

        def arrived(type_: int, status: int, subject: int, object_: int, value: int, flags: int, text: bytes, data: bytes) -> None:
            if type_ != _abi.EVENT_STREAM:
                return
            peer, _, protocol = text.decode("utf-8", "replace").partition("\n")
            stream = self.stream(pump, object_, PeerId(peer), protocol, flags)

            async def work() -> None:
                try:
                    await serve_stream(stream, handler, lambda: self.ended)
                finally:
                    at_work.pop(object_, None)

            task = at_work[object_] = pump.spawn(work(), f"{protocol} from {peer}")
            if task.done():
                at_work.pop(object_, None)

        return self._serve(pump, arrived, at_work, names, self.lib.p2p_stream_serve, lines, _options({"max_streams": max_streams}))

    def serve_requests(self, protocol: str, options: dict[str, Any], handler: RequestHandler) -> Service:
        pump = self.here()
        server = RequestServer(pump, protocol, handler, lambda: self.ended)
        return self._serve(
            pump,
            server.arrived,
            server.at_work,
            (protocol,),
            self.lib.p2p_request_serve,
            encode(protocol, "protocol"),
            _options(options),
            requests=server,
        )

    def stream(self, pump: Pump, handle: int, peer: PeerId, protocol: str, flags: int = 0) -> Stream:
        """Make a stream that ends with the node."""
        stream = Stream(pump, handle, peer, protocol, flags)
        self._streams.add(stream._state)
        return stream

    def _serve(
        self,
        pump: Pump,
        target: Target,
        at_work: dict[int, Work],
        names: tuple[str, ...],
        function: Callable[..., int],
        *args: bytes,
        requests: RequestServer | None = None,
    ) -> Service:
        tag = next_tag()
        pump.targets[tag] = target
        try:
            handle = self.lib.handle(function, self.open(), *args, pump.queue, tag)
        except BaseException:
            del pump.targets[tag]
            raise
        pump.serve()
        service = Service(pump, handle, tag, at_work, names, requests)
        self._services = [s for s in self._services if s.at_work or not s.closed]
        self._services.append(service)
        return service

    def unhandle(self, protocol: str) -> None:
        for service in self._services:
            if protocol in service.protocols and not service.closed:
                service.close()
                return
        raise NotFound(f"{protocol} is not served")

    # Topics.

    def join(self, pump: Pump, name: str, options: dict[str, Any], validator: Validator | None) -> Topic:
        given = {key: value for key, value in options.items() if value is not None}
        with self._lock:
            topic = Topic(pump, self.here, self.open(), name, given, validator, self._left)
            self._topics[name] = topic
        return topic

    def topic(self, pump: Pump, name: str) -> Topic:
        with self._lock:
            return self._topics.get(name) or self.join(pump, name, {}, None)

    def follow(self, flow: F) -> F:
        """Have a flow end with the node."""
        self._flows.add(flow)
        return flow

    def _left(self, topic: Topic) -> None:
        with self._lock:
            if self._topics.get(topic.name) is topic:
                del self._topics[topic.name]


def _forgotten(lib: Library, handle: int, peer: PeerId, events: int, pumps: weakref.WeakSet[Pump]) -> None:
    warnings.warn(f"unclosed <Node {peer}>", ResourceWarning, stacklevel=2)

    def close() -> None:
        lib.p2p_close(handle)
        lib.p2p_close(events)
        for pump in list(pumps):
            pump.release(handle)

    # Closing takes a moment, and a finalizer runs wherever the garbage collector happens to be.
    threading.Thread(target=close, name="libp2pgo-close", daemon=True).start()
