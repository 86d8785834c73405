"""Requests: one question to a service of a peer, by protocol name, and one answer or a stream of them."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections import deque
from ctypes import byref, c_uint64
from time import monotonic
from typing import TYPE_CHECKING, Any, AsyncIterator, Awaitable, Callable, Coroutine, Union

from . import _abi
from ._engine import Future, Pump, Work, logger
from ._library import encode, finalizer, pointer
from .errors import Cancelled, ClosedError, Error, RequestError, Timeout
from .peer import PeerId

if TYPE_CHECKING:
    from typing_extensions import Buffer as BytesLike

    from ._library import Finalizer

__all__ = ["Request", "RequestStream"]

FAILED = 1
"""The number that the asker sees when a handler raised something else than RequestError, or one without a number to send."""

LARGEST = 0x7FFFFFFF
"""The largest number that a handler can answer with."""


class Request:
    """A question that a handler answers."""

    __slots__ = ("_expires", "data", "handle", "peer", "protocol")

    def __init__(self, handle: int, peer: PeerId, protocol: str, data: bytes, deadline_ms: int) -> None:
        self.handle = handle
        self.peer = peer
        """Who asks."""
        self.protocol = protocol
        self.data = data
        """The question."""
        self._expires = None if deadline_ms < 0 else monotonic() + deadline_ms / 1000

    @property
    def deadline(self) -> float | None:
        """Seconds left for the answer, None without limit."""
        return None if self._expires is None else max(0.0, self._expires - monotonic())

    def __repr__(self) -> str:
        return f"<Request {self.protocol} of {self.peer}, {len(self.data)} bytes>"


if TYPE_CHECKING:
    Answer = Union[Awaitable[BytesLike], AsyncIterator[BytesLike], BytesLike]
    RequestHandler = Callable[[Request], Answer]


class _Unheard(Exception):
    """An answer reaches nobody any more."""


class RequestServer:
    """Runs the handlers of one protocol's requests. That the node has ``ended`` is no failure of theirs."""

    def __init__(self, pump: Pump, protocol: str, handler: RequestHandler, ended: Callable[[], bool]) -> None:
        self._pump = pump
        self._protocol = protocol
        self._handler = handler
        self._ended = ended
        self.at_work: dict[int, Work] = {}
        self._idle: Callable[[], Any] | None = None

    def close(self, idle: Callable[[], Any]) -> None:
        """Take no more requests. ``idle`` is called when those at work are done."""
        self._idle = idle
        self._done(0)

    def _done(self, request: int) -> None:
        self.at_work.pop(request, None)
        if self._idle is not None and not self.at_work:
            self._idle()

    def arrived(self, type_: int, status: int, subject: int, object_: int, value: int, flags: int, text: bytes, data: bytes) -> None:
        if type_ == _abi.EVENT_REQUEST and self._idle is not None:
            self._pump.lib.p2p_close(object_)  # it came when the service closed
        elif type_ == _abi.EVENT_REQUEST:
            peer, _, protocol = text.decode("utf-8", "replace").partition("\n")
            request = Request(object_, PeerId(peer), protocol, data, value)
            work = self._pump.spawn(self._answer(request), f"{protocol} for {peer}")
            self.at_work[object_] = work
            if work.done():  # on a thread of the sync face it may be faster than this line
                self._done(object_)
        elif type_ == _abi.EVENT_REQUEST_CANCELLED:
            task = self.at_work.get(subject)
            if task is not None:
                task.cancel()
            self._pump.lib.p2p_close(subject)
            if isinstance(task, asyncio.Task):
                self._done(subject)  # which a task that had no turn yet does not do itself

    async def _answer(self, request: Request) -> None:
        lib = self._pump.lib
        try:
            answer = self._handler(request)
            if isinstance(answer, AsyncIterator):
                async with contextlib.AsyncExitStack() as stack:
                    if inspect.isasyncgen(answer):
                        stack.push_async_callback(answer.aclose)
                    async for part in answer:
                        await self._respond(request, part, 1)
                await self._respond(request, b"", 0)
            else:
                await self._respond(request, await answer if inspect.isawaitable(answer) else answer, 0)
        except asyncio.CancelledError:
            raise
        except RequestError as error:
            reason = error.reason
            if not isinstance(reason, int) or not 0 <= reason <= LARGEST:
                logger.error(
                    "the handler of %s raised a RequestError whose reason is not a number of 0 to %d: %r", self._protocol, LARGEST, reason
                )
                reason = FAILED
            # What the handler says may have been the asker's words: nothing in them may keep it from its answer.
            words = str(error.words).replace("\0", "\ufffd").encode("utf-8", "replace")
            lib.p2p_request_fail(request.handle, reason, words)
        except Exception as error:
            if isinstance(error, _Unheard) or (isinstance(error, ClosedError) and self._ended()):
                logger.debug("%r: nobody waits for the answer: %s", request, error)
            else:
                logger.exception("the handler of %s failed", self._protocol)
            lib.p2p_request_fail(request.handle, FAILED, encode(type(error).__name__))
        finally:
            lib.p2p_close(request.handle)
            self._done(request.handle)

    async def _respond(self, request: Request, data: Any, more: int) -> None:
        address, size = pointer(data)
        try:
            await self._pump.call(self._pump.lib.p2p_request_respond, request.handle, address, size, more, timeout=None)
        except (Cancelled, ClosedError, Timeout) as error:
            raise _Unheard(str(error)) from error


class RequestStream:
    """The parts of a streamed answer: an async iterator, which ``async with`` closes. It asks when the first part is awaited.

    Cancelling an await loses no part; closing early cancels the remote handler.
    """

    def __init__(self, pump: Callable[[], Pump], open_: Callable[[Pump], Coroutine[Any, Any, int]]) -> None:
        self._pump = pump
        self._open = open_
        self._exchange = 0
        self._ended = False
        self._kept: deque[tuple[int, bytes]] = deque()  # parts whose await was cancelled
        self._asking = False  # a call for the next part is under way, perhaps one that was cancelled and has yet to end
        self._turns: list[tuple[Pump, Future]] = []  # who waits for the end of that call
        self._end: Finalizer | None = None

    def __aiter__(self) -> RequestStream:
        return self

    async def __aenter__(self) -> RequestStream:
        await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _start(self) -> Pump:
        pump = self._pump()
        if not self._exchange and not self._ended:
            self._exchange = await self._open(pump)
            self._end = finalizer(self, pump.lib.p2p_close, self._exchange)
        return pump

    async def __anext__(self) -> bytes:
        pump = await self._start()
        # One call at a time: what a cancelled one takes in its last moment comes before what the next one would take.
        while self._asking and not self._kept:
            turn = pump.future()
            self._turns.append((pump, turn))
            if self._asking:
                await turn
        if self._kept:
            more, part = self._kept.popleft()
        elif self._ended:
            raise StopAsyncIteration
        else:
            self._asking = True
            try:
                result = await pump.call(pump.lib.p2p_request_next, self._exchange, None, None, timeout=None, late=self._keep)
            except Error:
                self._asked()
                await self.aclose()
                raise
            self._asked()
            more, part = result[2], result[4]
        if not more:
            await self.aclose()
            raise StopAsyncIteration
        return part

    def _keep(self, status: int, object_: int, value: int, text: bytes, data: bytes) -> None:
        if status >= 0:
            self._kept.append((value, data))
        self._asked()

    def _asked(self) -> None:
        self._asking = False
        turns, self._turns = self._turns, []
        for pump, turn in turns:
            pump.wake(turn)

    async def aclose(self) -> None:
        """End it; the remote handler is cancelled unless it was done."""
        self._ended = True
        self._kept.clear()
        if self._end is not None:
            self._end()


async def ask(pump: Pump, node: int, peer: str, protocol: str, data: Any, options: bytes | None, timeout: float | None) -> bytes:
    """Send a request and return the answer."""
    address, size = pointer(data)
    lib = pump.lib
    result = await pump.call(
        lib.p2p_request_send, node, encode(peer, "peer"), encode(protocol, "protocol"), address, size, options, None, None, timeout=timeout
    )
    return result[4]


async def open_exchange(pump: Pump, node: int, peer: str, protocol: str, data: Any, options: bytes | None, timeout: float | None) -> int:
    """Ask for a streamed answer and return the exchange's handle."""
    address, size = pointer(data)
    out = c_uint64()
    lib = pump.lib
    result = await pump.call(
        lib.p2p_request_open, node, encode(peer, "peer"), encode(protocol, "protocol"), address, size, options, byref(out), timeout=timeout
    )
    return result[1]
