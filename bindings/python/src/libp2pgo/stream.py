"""A Stream: an ordered, reliable pair of byte flows with one peer under one protocol name."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import warnings
from ctypes import byref, c_int
from typing import TYPE_CHECKING, Any, AsyncIterator, Awaitable, Callable, Generator

from . import _abi
from ._engine import Deadline, Future, Pump, deadline, logger, next_tag
from ._inflow import UNBOUNDED, Inflow, uvarint
from ._library import INT32, UINT32, Library, duration, finalizer, integer, pointer
from .errors import ClosedError, Error, StateError, StreamClosed, StreamReset, Timeout, TooBig, from_code
from .peer import PeerId

if TYPE_CHECKING:
    from typing_extensions import Buffer as BytesLike

__all__ = ["Stream"]

WINDOW = 256 * 1024
"""Bytes that may be under way to an unread stream before its peer is held back."""

MAX_MESSAGE = 1 << 20
MAX_LINE = 64 * 1024
_ITEM = 256 * 1024


class _State:
    """What the pump holds of a stream. It does not hold the Stream itself, so that a forgotten one is noticed."""

    def __init__(self, pump: Pump, handle: int) -> None:
        self.pump = pump
        self.handle = handle
        self.inflow = Inflow(WINDOW)
        self.reader: Future | None = None
        self.watch_tag = 0
        self.write_tag = 0  # of the write that told to wait, while it does
        self.writers: list[Future] = []
        self.write_error: Error | None = None
        self.closed = False

    def arrived(self, type_: int, status: int, subject: int, object_: int, value: int, flags: int, text: bytes, data: bytes) -> None:
        inflow = self.inflow
        if type_ == _abi.EVENT_STREAM_DATA:
            if inflow.feed(data):
                self.wake()
            elif inflow.wanted:
                self.give_back()
            return
        if type_ == _abi.EVENT_STREAM_END:
            inflow.end()
        elif type_ == _abi.EVENT_STREAM_RESET:
            inflow.end(from_code(status, text.decode("utf-8", "replace"), value))
        elif type_ == _abi.EVENT_CLOSED:
            inflow.end(StreamClosed(text.decode("utf-8", "replace") or "the stream is closed"))
        else:
            return
        self.pump.targets.pop(self.watch_tag, None)
        self.wake()

    def wake(self) -> None:
        reader = self.reader  # once: on the sync face it may just give up waiting
        if reader is not None and not reader.done():
            reader.set_result(None)

    def give_back(self) -> None:
        due = self.inflow.due()
        if due and not self.inflow.ended:
            self.pump.lib.p2p_stream_credit(self.handle, due)

    def drained(self, type_: int, status: int, subject: int, object_: int, value: int, flags: int, text: bytes, data: bytes) -> None:
        self.pump.targets.pop(self.write_tag, None)
        self.write_tag = 0
        if status < 0:
            self.write_error = from_code(status, text.decode("utf-8", "replace"), value)
        waiting, self.writers = self.writers, []
        for future in waiting:
            self.pump.wake(future)

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self.pump.targets.pop(self.watch_tag, None)
        self.inflow.end(StreamClosed("the stream is closed"))
        self.pump.lib.p2p_close(self.handle)
        reader = self.reader
        if reader is not None:
            self.pump.wake(reader)
        for future in self.writers:
            self.pump.wake(future)


def _forgotten(state: _State, words: str) -> None:
    if not state.closed:
        state.pump.soon(state.close)
        if not state.pump.closed:
            warnings.warn(f"unclosed {words}", ResourceWarning, stacklevel=2)


class Stream:
    """A stream, opened with :meth:`Node.open_stream` or given to a handler. It belongs to the event loop that got it.

    Leaving ``async with`` closes it, or resets it if an exception leaves. One task at a time may read and one may write.
    """

    def __init__(self, pump: Pump, handle: int, peer: PeerId, protocol: str, flags: int = 0) -> None:
        self.peer = peer
        """Who is at the other end."""
        self.protocol = protocol
        """The protocol that both sides agreed on."""
        self.inbound = bool(flags & _abi.FLAG_INBOUND)
        self.relayed = bool(flags & _abi.FLAG_RELAYED)
        self.limited = bool(flags & _abi.FLAG_LIMITED)
        self._pump = pump
        self._lib: Library = pump.lib
        self._handle = handle
        self._state = _State(pump, handle)
        self._inflow = self._state.inflow
        self._watched = False
        self._end = finalizer(self, _forgotten, self._state, f"<Stream {protocol} with {peer}>")

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<Stream {self.protocol} with {self.peer}, {state}>"

    @property
    def closed(self) -> bool:
        """Whether it is closed on this side."""
        return self._state.closed

    def at_eof(self) -> bool:
        """Whether all that the peer will ever send has been read."""
        return self._inflow.ended and not self._inflow.size

    # Reading.

    async def _arrival(self, wanted: int, until: Deadline | None) -> None:
        """Wait until ``wanted`` bytes are there, or the end is."""
        state, inflow = self._state, self._inflow
        if not self._watched:
            self._check_open()
            tag = next_tag()
            state.watch_tag = tag
            self._pump.targets[tag] = state.arrived
            code = self._lib.p2p_stream_watch(self._handle, self._pump.queue, tag, WINDOW, 0)
            if code < 0:
                del self._pump.targets[tag]
                raise self._lib.error(code)
            self._watched = True
        if state.reader is not None:
            raise StateError(f"{self!r}: another task is reading it")
        inflow.wanted = wanted
        state.give_back()
        future = state.reader = self._pump.future()
        try:
            if inflow.ended or inflow.size >= max(1, wanted):
                return  # it came between the look and the wait, on another thread
            if until is None:
                await future
            else:
                await self._pump.wait(future, until)
        except Timeout:
            raise Timeout(f"{self!r}: nothing to read within {until}") from None
        finally:
            state.reader = None
            inflow.wanted = 0

    async def read(self, n: int = -1, *, timeout: float | None = None) -> bytes:
        """Read up to ``n`` bytes, or everything up to the peer's end of stream if ``n`` is -1; ``b""`` means the end.

        Cancelling loses nothing: the next call returns the bytes. Raises StreamReset, with ``.reason``, if the peer gave up.
        """
        inflow = self._inflow
        n = integer("n", n)
        if n == 0:
            return b""
        if n < 0:
            until = deadline(timeout)
            while not inflow.ended:  # the sync face's other thread may still wake it for bytes that came before the wait
                await self._arrival(UNBOUNDED, until)
            if inflow.error is not None:
                raise self._failure()
            return inflow.take(inflow.size)
        if not await self._available(1, deadline(timeout)):
            return b""
        data = inflow.take(n, exact=False)
        self._state.give_back()
        return data

    async def readexactly(self, n: int, *, timeout: float | None = None) -> bytes:
        """Read ``n`` bytes. Raises StreamClosed, with what there was as ``.partial``, if the stream ends before."""
        await self._need(integer("n", n, 0), deadline(timeout))
        data = self._inflow.take(n)
        self._state.give_back()
        return data

    async def _available(self, n: int, until: Deadline | None) -> bool:
        """Wait for ``n`` bytes. False: the stream ended regularly with fewer. Raises what else it ended with."""
        inflow = self._inflow
        while True:
            ended = inflow.ended  # before the size: the sync face's other thread may feed and end between the two
            if inflow.size >= n:
                return True
            if ended:
                if inflow.error is not None:
                    raise self._failure()
                return False
            await self._arrival(n, until)

    async def _need(self, n: int, until: Deadline | None) -> None:
        if not await self._available(n, until):
            inflow = self._inflow
            error = StreamClosed(f"{self.peer} ended {self.protocol} after {inflow.size} of {n} bytes")
            error.partial = inflow.take(inflow.size)
            raise error

    async def readinto(self, buffer: Any, *, timeout: float | None = None) -> int:
        """Read into a writable buffer (bytearray, memoryview, numpy array ...) and return how many bytes; 0 means the end."""
        with memoryview(buffer) as view, view.cast("B") as target:
            if not len(target):
                return 0
            if not await self._available(1, deadline(timeout)):
                return 0
            n = self._inflow.take_into(target)
        self._state.give_back()
        return n

    async def readline(self, *, limit: int = MAX_LINE, timeout: float | None = None) -> bytes:
        """Read up to and with the next newline, or to the end. Raises TooBig, and takes nothing, if a line exceeds ``limit``."""
        inflow = self._inflow
        limit = integer("limit", limit, 1)
        searched = 0
        until = deadline(timeout)
        while True:
            ended, size = inflow.ended, inflow.size  # before the search, as in _available: what comes after it was not searched
            end = inflow.find(b"\n", searched)
            if end > limit or (end < 0 and size >= limit):
                raise TooBig(f"a line of {self.protocol} exceeds {limit} bytes", detail=max(end, size))
            if end < 0 and ended:
                if inflow.error is not None:
                    raise self._failure()
                end = inflow.size
            if end >= 0:
                data = inflow.take(end)
                self._state.give_back()
                return data
            searched = size
            await self._arrival(searched + 1, until)

    async def read_message(self, *, max: int = MAX_MESSAGE, timeout: float | None = None) -> bytes | None:
        """Read one message framed with an unsigned varint length; None at the end of the stream.

        One longer than ``max`` raises TooBig and resets the stream; the connection lives on. Cancelling loses nothing.
        """
        inflow = self._inflow
        max = integer("max", max, 0)
        until = deadline(timeout)
        while True:
            head = inflow.peek(10)
            try:
                prefix = uvarint(head)
            except ValueError as error:
                self.reset()
                raise from_code(_abi.E_PARSE, f"{self.peer} sent a malformed message: {error}") from None
            if prefix is not None:
                break
            if head:
                await self._need(len(head) + 1, until)
            elif not await self._available(1, until):
                return None
        size, length = prefix
        if size > max:
            self.reset()
            raise TooBig(f"{self.peer} sent a message of {size} bytes, {max} are allowed", detail=size)
        await self._need(length + size, until)
        inflow.take(length)
        data = inflow.take(size)
        self._state.give_back()
        return data

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        data = await self.read(_ITEM)
        if not data:
            raise StopAsyncIteration
        return data

    def _failure(self) -> Error:
        # Fresh each time: an exception that is raised twice collects the tracebacks of both.
        error = self._inflow.error
        assert isinstance(error, Error)
        return from_code(error.code, error.words, error.detail) if not isinstance(error, StreamClosed) else StreamClosed(error.words)

    # Writing.

    async def write(self, data: BytesLike, *, timeout: float | None = None) -> None:
        """Send bytes. They are accepted at once; above the high-water mark this waits until the peer has taken enough.

        Cancelled or timed out while it waits, the bytes are still sent. A failure shows in the next write or in close_write.
        """
        await self._send(self._lib.p2p_stream_write, data, timeout)

    async def write_message(self, data: BytesLike, *, timeout: float | None = None) -> None:
        """Send one message framed with an unsigned varint length; else as :meth:`write`."""
        await self._send(self._lib.p2p_stream_write_message, data, timeout)

    async def _send(self, function: Callable[..., int], data: BytesLike, timeout: float | None) -> None:
        state = self._state
        address, size = pointer(data)
        until = deadline(timeout)
        if state.write_tag:
            await self._drained(until)
        if state.write_error is not None:
            error, state.write_error = state.write_error, None
            raise error
        tag = next_tag()
        self._pump.targets[tag] = state.drained
        state.write_tag = tag
        code = function(self._handle, address, size, byref(_abi.Call(_abi.CALL_SIZE, -1, self._pump.queue, tag)))
        if code == _abi.PENDING:
            await self._drained(until)
            if state.write_error is not None:
                error, state.write_error = state.write_error, None
                raise error
            return
        self._pump.targets.pop(tag, None)
        state.write_tag = 0
        if code < 0:
            raise self._stream_error(code)

    async def _drained(self, until: Deadline | None) -> None:
        future = self._pump.future()
        self._state.writers.append(future)
        try:
            if not self._state.write_tag:
                return
            await self._pump.wait(future, until)
        except Timeout:
            raise Timeout(f"{self!r}: the peer did not take enough within {until}; the bytes are on their way") from None
        finally:
            if future in self._state.writers:
                self._state.writers.remove(future)
        self._check_open()

    async def close_write(self, *, timeout: float | None = 30.0) -> None:
        """Tell the peer that nothing more follows, and wait until all is sent; reading goes on. Raises what earlier writes met."""
        self._check_open()
        await self._pump.call(self._lib.p2p_stream_close_write, self._handle, timeout=timeout)

    async def write_eof(self) -> None:
        """As :meth:`close_write`."""
        await self.close_write()

    # Ending.

    async def close_read(self) -> None:
        """Give up reading; what the peer still sends is thrown away. Writing goes on."""
        self._lib.check(self._lib.p2p_stream_close_read(self._handle))
        self._inflow.end(StreamClosed("the stream is closed for reading"))
        self._state.wake()

    def reset(self, code: int = 0) -> None:
        """Give the stream up in both directions at once and tell the peer ``code``; it is closed then."""
        code = integer("code", code, 0, UINT32)
        if not self._state.closed:
            self._lib.p2p_stream_reset(self._handle, code)
            self._end.detach()
            self._state.close()

    async def close(self) -> None:
        """Close both directions. What was written is still sent, in the background."""
        self._end.detach()
        self._state.close()

    def set_deadlines(self, *, read: float | None = None, write: float | None = None) -> None:
        """Bound all reads and writes from now on, in seconds; 0 removes a bound, None leaves it. Past a read deadline the stream ends."""
        given = (duration(name, limit, zero=True, most=INT32) for name, limit in (("read", read), ("write", write)))
        self._lib.check(self._lib.p2p_stream_deadline(self._handle, *(-1 if ms is None else ms for ms in given)))

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is None:
            await self.close()
        else:
            self.reset()

    def info(self) -> dict[str, Any]:
        """What the library knows of it."""
        result: dict[str, Any] = self._lib.json(self._lib.p2p_info, self._handle)
        return result

    # As a socket.

    def detach_fd(self) -> int:
        """Detach the stream into one end of a socket pair and return its descriptor, which is yours to close.

        From then on the descriptor alone decides how long the stream lives: closing or dropping this object leaves it alone.
        Only for a stream that was not read from. A reset by the peer shows as an end of file there; ``info()["state"]`` tells them apart.
        """
        self._check_open()
        out = c_int(-1)
        self._lib.check(self._lib.p2p_stream_fd(self._handle, byref(out)))
        self._watched = True
        self._inflow.end(StateError(f"{self!r} is detached to a socket"))
        self._end.detach()
        self._end = finalizer(self, self._state.close)  # gives the handle back; nothing was forgotten
        return out.value

    def detach_socket(self) -> socket.socket:
        """As :meth:`detach_fd`, as a non-blocking socket object. Closing the socket closes the stream."""
        fd = self.detach_fd()
        try:
            return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=fd)
        except BaseException:
            os.close(fd)
            raise

    def _check_open(self) -> None:
        if self._state.closed:
            raise StreamClosed(f"{self!r}")

    def _stream_error(self, code: int) -> Error:
        error = self._lib.error(code)
        if code in (_abi.E_HANDLE, _abi.E_CLOSED):
            return StreamClosed(error.words)
        return error


class OpeningStream:
    """What :meth:`Node.open_stream` returns: await it for the Stream, or use it in ``async with``."""

    def __init__(self, open_: Callable[[], Awaitable[Stream]]) -> None:
        self._open = open_
        self._stream: Stream | None = None

    def __await__(self) -> Generator[Any, None, Stream]:
        return self._open().__await__()

    async def __aenter__(self) -> Stream:
        self._stream = await self._open()
        return self._stream

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        assert self._stream is not None
        await self._stream.__aexit__(kind, error, trace)


async def serve_stream(stream: Stream, handler: Callable[[Stream], Awaitable[Any]], ended: Callable[[], bool]) -> None:
    """Run a handler on an inbound stream: its end closes the stream, its exception resets it and is logged.

    That the peer gave up, or the node has ``ended``, is no failure of the handler: such words must not fill a log that nobody asked for.
    """
    try:
        await handler(stream)
    except asyncio.CancelledError:
        stream.reset()
        raise
    except Exception as error:
        stream.reset()
        if isinstance(error, StreamReset) or (isinstance(error, ClosedError) and ended()):
            logger.debug("%r: %s", stream, error)
        else:
            logger.exception("the handler of %s failed", stream.protocol)
    else:
        with contextlib.suppress(Error):
            await stream.close()
