"""The distributed hash table: values, providers and peers, found through peers that nobody has to know beforehand."""

from __future__ import annotations

import inspect
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Generic, Iterable, TypeVar, Union

from . import _abi
from ._engine import Pump, logger, next_tag
from ._inbox import Inbox
from ._library import INT32, duration, encode, finalizer, integer, pointer
from .errors import Error, from_code
from .events import CAPACITY, DHTValidate
from .peer import Multiaddr, PeerId, address_lines
from .pubsub import Judgement, Verdict

if TYPE_CHECKING:
    from typing_extensions import Buffer as BytesLike

    from ._library import Finalizer
    from .node import Core

__all__ = ["DHT", "DHTValue", "Provider", "Search"]

_DAY = 86_400_000
T = TypeVar("T")
ValueValidator = Callable[[str, bytes], Union[Judgement, Awaitable[Judgement]]]


@dataclass(frozen=True)
class DHTValue:
    """What a search found under a key: better than everything it found before."""

    key: str
    data: bytes
    sequence: int
    """The running number of a signed record, else 0."""
    withdrawn: bool
    """Whether its owner took the record back; ``data`` is empty then."""


@dataclass(frozen=True)
class Provider:
    """A peer that provides a key."""

    peer: PeerId
    addresses: tuple[Multiaddr, ...]


class Search(Generic[T]):
    """The results of a running query: an async iterator, which ends with it. Leave it early with ``async with`` or :meth:`close`."""

    def __init__(self, pump: Pump, make: Callable[[int, int, bytes, bytes], T], function: Callable[..., int], *args: Any) -> None:
        self._pump = pump
        self._make = make
        self._inbox: Inbox[T] = Inbox(pump, "no result")
        self._end: Finalizer | None = None
        self._tag = next_tag()
        pump.targets[self._tag] = self._arrived
        try:
            self._handle = pump.lib.handle(function, *args, pump.queue, self._tag)
        except BaseException:
            pump.targets.pop(self._tag, None)
            raise
        self._end = finalizer(self, pump.lib.p2p_close, self._handle)
        if self._inbox.ended:  # on the thread that serves the sync face
            self._end()

    def _arrived(self, type_: int, status: int, subject: int, object_: int, value: int, flags: int, text: bytes, data: bytes) -> None:
        if type_ in (_abi.EVENT_DHT_VALUE, _abi.EVENT_DHT_PROVIDER):
            self._inbox.put(self._make(status, value, text, data))
        elif type_ == _abi.EVENT_CLOSED:
            self._over(from_code(status, text.decode("utf-8", "replace"), value) if status < 0 else None)

    def _over(self, error: Error | None = None) -> None:
        self._inbox.end(error)
        self._pump.targets.pop(self._tag, None)
        if self._end is not None:
            self._end()

    def __aiter__(self) -> Search[T]:
        return self

    async def __anext__(self) -> T:
        result = await self.next()
        if result is None:
            raise StopAsyncIteration
        return result

    async def next(self, *, timeout: float | None = None) -> T | None:
        """Return the next result, or None at the end. Cancelling loses nothing. Raises NotEnoughPeers if there was nobody to ask."""
        return await self._inbox.next(timeout)

    async def aclose(self) -> None:
        """End it."""
        self.close()

    def close(self) -> None:
        """End it; what was found and not fetched can still be."""
        self._over()

    async def __aenter__(self) -> Search[T]:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


def _value(status: int, value: int, text: bytes, data: bytes) -> DHTValue:
    return DHTValue(text.decode("utf-8", "replace"), data, value, status == _abi.E_NOT_FOUND)


def _provider(status: int, value: int, text: bytes, data: bytes) -> Provider:
    peer, *addresses = text.decode("utf-8", "replace").split("\n")
    return Provider(PeerId(peer), tuple(map(Multiaddr, addresses)))


def _options(**options: Any) -> bytes:
    return json.dumps({name: value for name, value in options.items() if value is not None}).encode()


def _longest(timeout: float | None) -> int | None:
    # A search has no timeout of a call: its time is an option, which knows no "without limit".
    return _DAY if timeout is None or timeout == math.inf else duration("timeout", timeout)


class DHT:
    """A node's part in the hash table, as ``node.dht``. The option ``dht={"mode": "server"}``, or "client", turns it on.

    Keys of values are ``/<namespace>/<rest>``, under the rule that the option ``validators`` gives the namespace. A name without a slash
    in front is a signed record of this node's own, which only it can :meth:`set`; others read it as ``get(name, owner=its_id)``.
    Keys of providers are a CID, a multihash in base58, a SHA2-256 in hex, or a name that begins with a slash.
    """

    def __init__(self, core: Core) -> None:
        self._core = core

    async def _call(self, name: str, *args: Any, timeout: float | None) -> Any:
        core = self._core
        return await core.here().call(getattr(core.lib, name), core.open(), *args, timeout=timeout)

    async def bootstrap(self, min_peers: int = 1, *, timeout: float | None = 30.0) -> int:
        """Wait until at least ``min_peers`` are in the routing table and return how many are. Raises NotEnoughPeers when time is up."""
        return int((await self._call("p2p_dht_bootstrap", integer("min_peers", min_peers, 0, INT32), timeout=timeout))[2])

    # Values.

    async def put(self, key: str, value: BytesLike, *, min_peers: int = 1, timeout: float | None = 30.0) -> int:
        """Store a value under ``/<namespace>/<rest>`` at the peers closest to it and return how many took it.

        Raises NotEnoughPeers if fewer did (it is kept here); Rejected if it breaks the namespace's rule; InvalidArgument if the namespace
        has none; TooBig.
        """
        address, size = pointer(value)
        options = _options(min_peers=min_peers)
        return int((await self._call("p2p_dht_put", encode(key, "key"), address, size, options, timeout=timeout))[2])

    async def get(self, key: str, *, owner: str | None = None, quorum: int = 0, raw: bool = False, timeout: float | None = 30.0) -> bytes:
        """Return the best value for a key, or of a name that this node, or ``owner``, has set. Raises NotFound.

        Args:
            quorum: answers that are enough; 0 asks all peers closest to the key.
            raw: a signed record as it is, with its signature, as :meth:`put` passes it on.
        """
        options = _options(quorum=quorum, raw=raw)
        result = await self._call("p2p_dht_get", encode(_named(key, owner), "key"), options, None, None, timeout=timeout)
        return bytes(result[4])

    def search(
        self, key: str, *, owner: str | None = None, quorum: int = 0, raw: bool = False, timeout: float | None = 60.0
    ) -> Search[DHTValue]:
        """Iterate over better and better values for a key, as they are found, for at most ``timeout``; None is a day."""
        core, options = self._core, _options(quorum=quorum, raw=raw, timeout_ms=_longest(timeout))
        return Search(core.here(), _value, core.lib.p2p_dht_search, core.open(), encode(_named(key, owner), "key"), options)

    async def set(
        self,
        name: str,
        value: BytesLike,
        *,
        expiry: float | None = None,
        republish: bool = True,
        min_peers: int = 1,
        timeout: float | None = 30.0,
    ) -> int:
        """Set the value of a name of this node's own and return how many peers took it. It is published again until it expires.

        Args:
            expiry: seconds that it holds; default one day.
            republish: False publishes it once.

        Raises NotEnoughPeers if fewer took it; it is set all the same, and goes out when there are some.
        """
        address, size = pointer(value)
        options = _options(expiry_ms=duration("expiry", expiry), republish=republish, min_peers=min_peers)
        return int((await self._call("p2p_dht_set", encode(name, "name"), address, size, options, timeout=timeout))[2])

    async def unset(self, name: str, *, timeout: float | None = 30.0) -> None:
        """Withdraw what :meth:`set` has set. Raises NotFound if this node has not."""
        await self._call("p2p_dht_unset", encode(name, "name"), timeout=timeout)

    def validator(self, function: ValueValidator) -> ValueValidator:
        """Judge values of namespaces with the rule "ask": called with key and value, it returns True or False, or awaits it. A decorator.

        Without an answer within ``validate_timeout_ms`` the option ``validate_default`` holds. What it raises goes to the logger
        ``libp2pgo``, and the value is refused.
        """

        def register(function: ValueValidator) -> None:
            core = self._core
            pump = core.here()
            pump.serve()
            pump.spawn(self._judge(pump, function), "validator of the DHT")

        self._core.decorate(None, register)(function)
        return function

    async def _judge(self, pump: Pump, function: ValueValidator) -> None:
        async def answer(event: DHTValidate) -> None:
            try:
                verdict = function(event.key, event.data)
                event.answer(await verdict if inspect.isawaitable(verdict) else verdict)
            except Exception:
                logger.exception("the validator of the DHT failed")
                event.answer(Verdict.REJECT)

        async for event in self._core.events(pump, (DHTValidate,), CAPACITY):
            if pump.blocking:
                await answer(event)
            else:
                pump.spawn(answer(event), "validator of the DHT")

    # Providers.

    async def provide(self, key: str, *, timeout: float | None = 30.0) -> int:
        """Tell the peers closest to a key, once, that this node provides it, and return how many took note. Raises NotEnoughPeers."""
        return int((await self._call("p2p_dht_provide", encode(key, "key"), timeout=timeout))[2])

    async def start_providing(self, keys: str | Iterable[str], *, timeout: float | None = 30.0) -> None:
        """Keep telling that this node provides keys, until :meth:`stop_providing`. Good for many keys."""
        await self._call("p2p_dht_provide_start", address_lines(keys, "keys"), timeout=timeout)

    async def stop_providing(self, keys: str | Iterable[str], *, timeout: float | None = 30.0) -> None:
        """End :meth:`start_providing`; others forget the keys in time."""
        await self._call("p2p_dht_provide_stop", address_lines(keys, "keys"), timeout=timeout)

    def find_providers(self, key: str, *, count: int = 0, timeout: float | None = 60.0) -> Search[Provider]:
        """Iterate over who provides a key, as they are found; ``count`` of them are enough, 0 is all. ``timeout`` as for :meth:`search`."""
        core, options = self._core, _options(count=count, timeout_ms=_longest(timeout))
        return Search(core.here(), _provider, core.lib.p2p_dht_find_providers, core.open(), encode(key, "key"), options)

    # Peers.

    async def find_peer(self, peer: str, *, timeout: float | None = 30.0) -> tuple[Multiaddr, ...]:
        """Return a peer's addresses, as :meth:`Node.connect` takes them. Raises NotFound."""
        result = await self._call("p2p_dht_find_peer", encode(peer, "peer"), None, timeout=timeout)
        return tuple(map(Multiaddr, result[3].decode().splitlines()))

    async def closest_peers(self, key: str, *, timeout: float | None = 30.0) -> list[PeerId]:
        """Return the peers closest to the key of a value, a CID or a peer id. Raises NotEnoughPeers if there is nobody to ask."""
        result = await self._call("p2p_dht_closest_peers", encode(key, "key"), None, timeout=timeout)
        return list(map(PeerId, result[3].decode().splitlines()))

    async def refresh(self, *, timeout: float | None = 30.0) -> int:
        """Look for peers all over the routing table and return how many are there."""
        return int((await self._call("p2p_dht_refresh", timeout=timeout))[2])

    # About itself.

    @property
    def mode(self) -> str:
        """``client``, ``server`` or ``auto``. Setting it changes it while the node runs; what is stored and known stays."""
        return str(self.info()["mode"])

    @mode.setter
    def mode(self, mode: str) -> None:
        self._core.check("p2p_dht_mode", encode(mode, "mode"))

    def peers(self) -> list[PeerId]:
        """Who is in the routing table, those closest to this node first."""
        tables = self.info()["routing_tables"]
        return list(dict.fromkeys(PeerId(peer["id"]) for table in tables for peer in table["peers"]))

    def info(self) -> dict[str, Any]:
        """Mode, routing tables, and what is stored and provided."""
        core = self._core
        result: dict[str, Any] = core.lib.json(core.lib.p2p_dht_info, core.open())
        return result

    def __repr__(self) -> str:
        return f"<DHT of {self._core.id or '(not started)'}>"


def _named(key: str, owner: str | None) -> str:
    return key if owner is None else f"{owner}/{key}"
