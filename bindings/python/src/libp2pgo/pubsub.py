"""Pubsub: a Topic is a name under which peers publish to all who subscribed; a Subscription iterates over what they say."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
import warnings
import weakref
from collections import deque
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Union

from . import _abi
from ._engine import Bell, Pump, logger, next_tag, poll
from ._library import Library, encode, finalizer, pointer
from .errors import Error, NodeClosed, Timeout, from_code
from .events import PeerJoined, PeerLeft, TopicEvents
from .peer import PeerId

if TYPE_CHECKING:
    from typing_extensions import Buffer as BytesLike
    from typing_extensions import Literal

    Overflow = Literal["block", "drop_oldest", "drop_newest"]

__all__ = ["Message", "Subscription", "Topic", "Verdict"]

BLOCK: Overflow = "block"


class Verdict(IntEnum):
    """What a validator says of a message."""

    ACCEPT = _abi.VERDICT_ACCEPT
    REJECT = _abi.VERDICT_REJECT
    """Refuse it, and hold it against the sender."""
    IGNORE = _abi.VERDICT_IGNORE
    """Refuse it without blame."""


Judgement = Union[bool, Verdict]


class Message:
    """One message of a topic. ``data`` is its content; who sent it is looked up when asked for."""

    __slots__ = ("_flags", "_text", "data", "missed", "seq")

    def __init__(self, data: bytes, text: bytes, seq: int, flags: int, missed: int = 0) -> None:
        self.data = data
        self.seq = seq
        """The author's running number."""
        self.missed = missed
        """How many messages the subscription lost just before this one."""
        self._text = text
        self._flags = flags

    def _field(self, n: int) -> str:
        return self._text.decode("utf-8", "replace").split("\n", 3)[n]

    @property
    def peer(self) -> PeerId:
        """Who published it."""
        return PeerId(self._field(0))

    author = peer

    @property
    def received_from(self) -> PeerId:
        """Which neighbour passed it on."""
        return PeerId(self._field(1))

    @property
    def id(self) -> bytes:
        """Its name in the network."""
        return bytes.fromhex(self._field(2))

    @property
    def topic(self) -> str:
        return self._field(3)

    @property
    def signed(self) -> bool:
        """Whether it carries its author's signature, which was checked."""
        return bool(self._flags & _abi.FLAG_SIGNED)

    @property
    def local(self) -> bool:
        """Whether this node published it."""
        return bool(self._flags & _abi.FLAG_LOCAL)

    def __repr__(self) -> str:
        return f"<Message of {self.peer} on {self.topic}, {len(self.data)} bytes>"


Validator = Callable[[Message], Union[Judgement, Awaitable[Judgement]]]


class Subscription:
    """The messages of a topic, as an async iterator. Up to ``capacity`` wait in the library; beyond that its ``overflow`` holds.

    Close it with ``async with`` or :meth:`aclose`; the iteration then ends, as it does when the topic or the node closes.
    """

    def __init__(self, pump: Pump, topic: int, name: str, capacity: int, capacity_bytes: int, overflow: str) -> None:
        self.topic = name
        self.dropped = 0
        """Messages lost so far because they were not fetched in time. Each gap also shows in the next message's ``missed``."""
        self._pump = pump
        self._lib: Library = pump.lib
        self._ready: deque[Message] = deque()
        self._gap = 0
        self._closed = False
        self._error: Error | None = None
        self._lock = threading.Lock()
        self._queue = self._lib.handle(self._lib.p2p_queue_new, 0)
        options = {"capacity": capacity, "capacity_bytes": capacity_bytes, "overflow": overflow}
        try:
            self._handle = self._lib.handle(self._lib.p2p_topic_subscribe, topic, json.dumps(options).encode(), self._queue, next_tag())
        except BaseException:
            self._lib.p2p_close(self._queue)
            raise
        self._bell = Bell(pump, self._queue, _Weak(self))
        self._end = finalizer(self, _end_subscription, self._lib, self._handle, self._queue, name)

    def __repr__(self) -> str:
        return f"<Subscription to {self.topic}, {'closed' if self._closed else 'open'}>"

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Message:
        if self._ready:
            return self._ready.popleft()
        message = await self.next()
        if message is None:
            raise StopAsyncIteration
        return message

    async def next(self, *, timeout: float | None = None) -> Message | None:
        """Return the next message, or None when the subscription is closed. Cancelling loses nothing."""
        waited = False
        while True:
            try:
                return self._ready.popleft()
            except IndexError:
                pass
            if self._closed:
                if self._error is not None:
                    error, self._error = self._error, None
                    raise error
                return None
            if self._pull():
                if not (waited or self._pump.blocking):
                    await asyncio.sleep(0)  # under a flood the iteration would otherwise never let the loop run
                continue
            if self._closed:
                continue
            waited = True
            try:
                await self._bell.wait(timeout)
            except Timeout:
                raise Timeout(f"no message on {self.topic} within {timeout} s") from None

    def _pull(self) -> bool:
        """Fetch a batch of messages. Returns whether any came."""
        with self._lock:
            try:
                batch = None if self._closed else poll(self._lib, self._queue)
            except Error:
                self._closed = True
                return False
            if batch is None:
                return False
            headers, block = batch
            add = self._ready.append
            whole = isinstance(block, bytes)
            for type_, status, _, _, _, value, flags, text, text_n, data, data_n, _ in headers:
                if type_ == _abi.EVENT_MESSAGE:
                    words, content = block[text : text + text_n], block[data : data + data_n]
                    add(Message(content if whole else bytes(content), words if whole else bytes(words), value, flags, self._gap))  # type: ignore[arg-type]
                    self._gap = 0
                elif type_ == _abi.EVENT_DROPPED:
                    self.dropped += value
                    self._gap += value
                elif type_ == _abi.EVENT_CLOSED:
                    self._closed = True
                    if status < 0:
                        self._error = from_code(status, bytes(block[text : text + text_n]).decode("utf-8", "replace"), value)
            return bool(self._ready)

    def _arrived(self) -> None:
        if self._pull() or self._closed:
            self._bell.ring()

    async def aclose(self) -> None:
        """End it. Messages not fetched yet are gone."""
        self.close()

    def close(self) -> None:
        """End it. Messages not fetched yet are gone."""
        self._error = None
        self._release()
        self._ready.clear()

    def finish(self) -> None:
        """Its node has closed: what arrived before can still be iterated over."""
        while self._pull():
            pass
        self._release()

    def _release(self) -> None:
        self._closed = True
        if self._end.detach():
            self._lib.p2p_close(self._handle)
            self._lib.p2p_close(self._queue)
        self._bell.close()

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def info(self) -> dict[str, Any]:
        """Counters: delivered, dropped, waiting."""
        result: dict[str, Any] = self._lib.json(self._lib.p2p_info, self._handle)
        return result


class _Weak:
    """Calls a subscription's _arrived without keeping it alive."""

    def __init__(self, subscription: Subscription) -> None:
        self._ref = weakref.ref(subscription)

    def __call__(self) -> None:
        subscription = self._ref()
        if subscription is not None:
            subscription._arrived()


def _end_subscription(lib: Library, handle: int, queue: int, name: str) -> None:
    warnings.warn(f"unclosed <Subscription to {name}>", ResourceWarning, stacklevel=2)
    lib.p2p_close(handle)
    lib.p2p_close(queue)


class Topic:
    """A topic this node has joined. Leave it with :meth:`close` or ``async with``; it closes with its node."""

    def __init__(
        self,
        pump: Pump,
        here: Callable[[], Pump],
        node: int,
        name: str,
        options: dict[str, Any],
        validator: Validator | None,
        left: Callable[[Topic], None],
    ) -> None:
        self.name = name
        self._here = here
        self._pump = pump
        self._lib: Library = pump.lib
        self._validator = validator
        self._left = left
        self._judging: set[Any] = set()
        self._closed = False
        if validator is not None:
            options = {**options, "validate": True}
            pump.serve()
        self._tag = next_tag()
        self._watchers: weakref.WeakSet[TopicEvents] = weakref.WeakSet()
        pump.targets[self._tag] = self._arrived
        try:
            self._handle = self._lib.handle(
                self._lib.p2p_topic_join, node, encode(name), json.dumps(options).encode(), pump.queue, self._tag
            )
        except BaseException:
            pump.targets.pop(self._tag, None)
            raise
        self.subscriptions: weakref.WeakSet[Subscription] = weakref.WeakSet()

    def __repr__(self) -> str:
        return f"<Topic {self.name}, {'left' if self._closed else 'joined'}>"

    def subscribe(self, *, capacity: int = 16384, capacity_bytes: int = 64 << 20, overflow: Overflow = BLOCK) -> Subscription:
        """Subscribe. ``overflow`` says what happens when ``capacity`` messages wait: ``block`` holds the peers back, ``drop_oldest`` and
        ``drop_newest`` lose and count."""
        return self._subscribe(self._here(), capacity, capacity_bytes, overflow)

    def _subscribe(self, pump: Pump, capacity: int, capacity_bytes: int, overflow: str) -> Subscription:
        self._check()
        subscription = Subscription(pump, self._handle, self.name, capacity, capacity_bytes, overflow)
        self.subscriptions.add(subscription)
        return subscription

    async def publish(self, data: BytesLike, *, min_peers: int = 0, timeout: float | None = 30.0) -> int:
        """Send ``data`` to the topic and return to how many peers it went.

        With ``min_peers`` it first waits until so many are subscribed, and raises NotEnoughPeers when time is up.
        """
        self._check()
        pump = self._here()
        address, size = pointer(data)
        result = await pump.call(self._lib.p2p_topic_publish, self._handle, address, size, min_peers, timeout=timeout)
        return result[2]

    def events(self) -> TopicEvents:
        """Iterate over who joins and leaves from now on."""
        self._check()
        events = TopicEvents(self._here())
        self._watchers.add(events)
        return events

    def peers(self) -> list[PeerId]:
        """Who is subscribed, as far as this node knows."""
        self._check()
        return list(map(PeerId, self._lib.lines(self._lib.p2p_topic_peers, self._handle)))

    def info(self) -> dict[str, Any]:
        """Counters of every place where messages pass or are dropped."""
        self._check()
        result: dict[str, Any] = self._lib.json(self._lib.p2p_info, self._handle)
        return result

    def close(self) -> None:
        """Leave the topic; its subscriptions end."""
        if not self._closed:
            self._closed = True
            self._pump.targets.pop(self._tag, None)
            for subscription in list(self.subscriptions):
                subscription.close()
            for watcher in tuple(self._watchers):
                watcher.close()
            self._lib.p2p_close(self._handle)
            self._left(self)

    def finish(self) -> None:
        """Its node has closed."""
        self._closed = True
        for subscription in list(self.subscriptions):
            subscription.finish()
        for watcher in tuple(self._watchers):
            watcher.close()

    async def aclose(self) -> None:
        """As :meth:`close`."""
        self.close()

    async def __aenter__(self) -> Topic:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def _check(self) -> None:
        if self._closed:
            raise NodeClosed(f"topic {self.name} was left")

    # Validation.

    def _arrived(self, type_: int, status: int, subject: int, object_: int, value: int, flags: int, text: bytes, data: bytes) -> None:
        if type_ in (_abi.EVENT_TOPIC_JOINED, _abi.EVENT_TOPIC_LEFT):
            kind = PeerJoined if type_ == _abi.EVENT_TOPIC_JOINED else PeerLeft
            for watcher in tuple(self._watchers):
                watcher.put(kind(PeerId(text.decode("utf-8", "replace"))))
        elif type_ == _abi.EVENT_CLOSED:
            for watcher in tuple(self._watchers):
                watcher.close()
        if type_ != _abi.EVENT_VALIDATE or self._validator is None:
            return
        try:
            verdict = self._validator(Message(data, text, value, flags))
        except Exception:
            self._failed()
            verdict = Verdict.IGNORE
        if inspect.isawaitable(verdict):
            task = self._pump.spawn(self._judge(object_, verdict), f"validator of {self.name}")
            self._judging.add(task)
            if isinstance(task, asyncio.Task):
                task.add_done_callback(self._judging.discard)
        else:
            self._answer(object_, verdict)

    async def _judge(self, token: int, judgement: Awaitable[Judgement]) -> None:
        try:
            verdict = await judgement
        except Exception:
            self._failed()
            verdict = Verdict.IGNORE
        self._answer(token, verdict)

    def _answer(self, token: int, judgement: Judgement) -> None:
        if isinstance(judgement, bool):
            verdict = Verdict.ACCEPT if judgement else Verdict.REJECT
        elif isinstance(judgement, Verdict):
            verdict = judgement
        else:
            logger.error("the validator of %s returned %r, not a bool or Verdict", self.name, judgement)
            verdict = Verdict.IGNORE
        self._lib.p2p_answer(token, int(verdict))  # P2P_E_HANDLE: too late, the topic's default took its place

    def _failed(self) -> None:
        logger.exception("the validator of %s failed", self.name)
