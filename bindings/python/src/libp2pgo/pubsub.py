"""Pubsub: a Topic is a name under which peers publish to all who subscribed; a Subscription iterates over what they say."""

from __future__ import annotations

import asyncio
import inspect
import json
import weakref
from array import array
from ctypes import byref
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Iterable, Union, overload

from . import _abi
from ._engine import Future, Headers, LoopPump, Pump, logger, next_tag
from ._flow import Flow, Other
from ._library import INT32, Library, encode, integer, pointer
from .errors import Error, NodeClosed, from_code
from .events import PeerJoined, PeerLeft, TopicEvents
from .peer import PeerId

if TYPE_CHECKING:
    from typing_extensions import Buffer as BytesLike
    from typing_extensions import Literal, Unpack

    from .config import TopicScoreOptions

    Overflow = Literal["block", "drop_oldest", "drop_newest"]

__all__ = ["Message", "Subscription", "Topic", "Verdict"]

BLOCK: Overflow = "block"

TOGETHER = 256
"""Messages of one turn of the loop that go into the library in one call, and how large each may be."""
TOGETHER_BYTES = 16 * 1024


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


def _plain(data: Any) -> bytes:
    if type(data) is bytes:
        return data
    if isinstance(data, str):
        raise TypeError("expected a bytes-like object, got str: encode it first")
    return memoryview(data).tobytes()


@lru_cache(4096)
def _frame(length: int) -> bytes:
    """The length of a message as an unsigned varint."""
    frame = bytearray()
    while length >= 0x80:
        frame.append(length & 0x7F | 0x80)
        length >>= 7
    frame.append(length)
    return bytes(frame)


Validator = Callable[[Message], Union[Judgement, Awaitable[Judgement]]]


class Subscription(Flow[Message]):
    """The messages of a topic, as an async iterator. Up to ``capacity`` wait in the library; beyond that its ``overflow`` holds.

    Close it with ``async with`` or :meth:`aclose`; the iteration then ends, as it does when the topic or the node closes. Each gap shows in
    the next message's ``missed``, and all together in ``dropped``.
    """

    def __init__(self, pump: Pump, topic: int, name: str, capacity: int, capacity_bytes: int, overflow: str) -> None:
        self.topic = name
        self._gap = 0
        options = json.dumps({"capacity": capacity, "capacity_bytes": capacity_bytes, "overflow": overflow}).encode()
        lib = pump.lib

        def begin(queue: int) -> int:
            return lib.handle(lib.p2p_topic_subscribe, topic, options, queue, next_tag())

        super().__init__(pump, begin, f"Subscription to {name}", f"no message on {name}")

    def __aiter__(self) -> Subscription:
        return self

    async def __aenter__(self) -> Subscription:
        return self

    def _make(self, headers: Headers, block: bytes | memoryview, others: list[Other]) -> list[Message]:
        messages: list[Message] = []
        add, gap = messages.append, self._gap
        whole = isinstance(block, bytes)
        for type_, status, _, _, _, value, flags, text, text_n, data, data_n, _ in headers:
            if type_ == _abi.EVENT_MESSAGE:
                words, content = block[text : text + text_n], block[data : data + data_n]
                add(Message(content if whole else bytes(content), words if whole else bytes(words), value, flags, gap))  # type: ignore[arg-type]
                gap = 0
            else:
                if type_ == _abi.EVENT_DROPPED:
                    gap += value
                others.append((type_, status, value, bytes(block[text : text + text_n])))
        self._gap = gap
        return messages


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
                self._lib.p2p_topic_join, node, encode(name, "name"), json.dumps(options).encode(), pump.queue, self._tag
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

        With ``min_peers`` it first waits until so many are subscribed, and raises NotEnoughPeers when time is up. It waits, too, while the
        queue to a slow subscriber (``pubsub.outbound_queue``) is full; Timeout then means that nothing was sent. Small messages that are
        published in the same turn of the loop travel into the library together; cancelling one later does not take it back.
        """
        self._check()
        min_peers = integer("min_peers", min_peers, 0, INT32)
        pump = self._here()
        if min_peers == 0 and timeout == 30.0 and isinstance(pump, LoopPump):
            plain = data if type(data) is bytes else _plain(data)
            if len(plain) <= TOGETHER_BYTES:
                peers: int = await self._together(pump, plain)
                return peers
        self._send(pump)
        address, size = pointer(data)
        result = await pump.call(self._lib.p2p_topic_publish, self._handle, address, size, min_peers, timeout=timeout)
        return result[2]

    def _together(self, pump: LoopPump, data: bytes) -> Future:
        """Add a message to those of this turn of the loop."""
        batch = pump.outgoing.get(self._handle)
        if batch is None:
            batch = pump.outgoing[self._handle] = []
            pump.loop.call_soon(self._send, pump, batch)
        future = pump.future()
        batch.append((future, data))
        if len(batch) >= TOGETHER:
            self._send(pump)
        return future

    def _send(self, pump: Pump, only: list[tuple[Future, bytes]] | None = None) -> None:
        """Hand over what waits for the end of the turn; with ``only``, if it is still that."""
        batch = pump.outgoing.get(self._handle)
        if not batch or (only is not None and batch is not only):
            return
        del pump.outgoing[self._handle]
        waiting = [item for item in batch if not item[0].cancelled()]
        parts: list[bytes] = []
        for _, data in waiting:
            parts += (_frame(len(data)), data)
        frames = b"".join(parts)
        tag = next_tag()

        def complete(type_: int, status: int, subject: int, object_: int, value: int, flags: int, text: bytes, data: bytes) -> None:
            pump.targets.pop(tag, None)
            if status < 0:
                fail(from_code(status, text.decode("utf-8", "replace"), value))
                return
            codes = array("i", data)
            words = dict(line.split(": ", 1) for line in text.decode("utf-8", "replace").splitlines()) if text else {}
            for index, (future, _) in enumerate(waiting):
                if future.done():
                    continue
                if codes[index] < 0:
                    future.set_exception(from_code(codes[index], words.get(str(index), ""), 0))
                else:
                    future.set_result(codes[index])

        def fail(error: Error) -> None:
            for future, _ in waiting:
                if not future.done():
                    future.set_exception(error)

        pump.targets[tag] = complete
        code = self._lib.p2p_topic_publish_batch(
            self._handle, frames, len(frames), 0, None, byref(_abi.Call(_abi.CALL_SIZE, 30000, pump.queue, tag))
        )
        if code != _abi.PENDING:
            pump.targets.pop(tag, None)
            fail(self._lib.error(code))

    @overload
    async def publish_many(
        self, messages: Iterable[BytesLike], *, min_peers: int = 0, timeout: float | None = 30.0, return_exceptions: Literal[False] = False
    ) -> list[int]: ...
    @overload
    async def publish_many(
        self, messages: Iterable[BytesLike], *, min_peers: int = 0, timeout: float | None = 30.0, return_exceptions: bool
    ) -> list[int | Error]: ...
    async def publish_many(
        self, messages: Iterable[BytesLike], *, min_peers: int = 0, timeout: float | None = 30.0, return_exceptions: bool = False
    ) -> Any:
        """Send messages in their order, in one call, and return for each to how many peers it went. Several times as fast as one by one.

        One that fails does not keep the others back: the first failure is raised when all is done, or, with ``return_exceptions``, stands
        in its message's place.
        """
        self._check()
        min_peers = integer("min_peers", min_peers, 0, INT32)
        parts: list[bytes] = []
        for message in messages:
            plain = _plain(message)
            parts += (_frame(len(plain)), plain)
        data = b"".join(parts)
        pump = self._here()
        self._send(pump)
        results = await pump.call(self._lib.p2p_topic_publish_batch, self._handle, data, len(data), min_peers, None, timeout=timeout)
        codes = array("i", results[4])
        peers: list[int | Error] = list(codes)
        for line in results[3].decode("utf-8", "replace").splitlines():
            index, _, words = line.partition(": ")
            error = from_code(codes[int(index)], words, 0)
            if not return_exceptions:
                raise error
            peers[int(index)] = error
        return peers

    def set_score(self, **options: Unpack[TopicScoreOptions]) -> None:
        """Replace what counts for and against peers in the topic. Raises StateError where ``pubsub.score.enabled`` is off."""
        self._check()
        self._lib.check(self._lib.p2p_topic_score_set(self._handle, json.dumps(options).encode()))

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
        self._pump.targets.pop(self._tag, None)
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
