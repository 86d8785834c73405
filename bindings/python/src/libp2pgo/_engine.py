"""The pump: one library queue per event loop, drained in batches, and the calls that complete on it.

Everything public is written once, as coroutines that wait only through a :class:`Pump`. :class:`LoopPump` waits on the running asyncio
loop; ``_blocking.BlockingPump`` lets the same coroutines run to their end on a plain thread, which is the sync face.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import logging
import math
import os
import select
import threading
import weakref
from ctypes import byref, c_int
from itertools import count
from numbers import Real
from operator import length_hint
from time import monotonic
from typing import Any, Callable, Coroutine, Iterator, Protocol, TypeVar, Union

from . import _abi
from ._library import Library, finalizer, library, milliseconds, unfit
from ._wait import watch
from .errors import Error, NodeClosed, Timeout, from_code

logger = logging.getLogger("libp2pgo")

Target = Callable[[int, int, int, int, int, int, bytes, bytes], None]
"""Takes an event: type, status, subject, object, value, flags, text, data."""

Result = tuple[int, int, int, bytes, bytes]
"""What a call completed with: status, object, value, text, data."""

Late = Callable[[int, int, int, bytes, bytes], None]
"""Takes a completion that nobody waits for any more, with the fields of :data:`Result`."""

BATCH = 256
_DATA = 1 << 20
_SPREAD = 4096  # bytes per event above which slicing the poll's buffer itself is cheaper than copying it first

next_tag = count(1).__next__


class Future(Protocol):
    """What asyncio.Future and the sync face's future have in common, as far as it is needed."""

    def done(self) -> bool: ...
    def cancelled(self) -> bool: ...
    def exception(self) -> BaseException | None: ...
    def result(self) -> Any: ...
    def set_result(self, result: Any, /) -> None: ...
    def set_exception(self, exception: Any, /) -> None: ...
    def __await__(self) -> Any: ...


class Deadline:
    """When a timeout is up: made once per call, so that all its waits share it. As text it is the timeout."""

    __slots__ = ("_timeout", "at")

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self.at = monotonic() + timeout

    def left(self) -> float:
        """Seconds, which are never below 0: to those who poll that would be without limit."""
        return max(0.0, self.at - monotonic())

    def __str__(self) -> str:
        return f"{self._timeout} s"


def deadline(timeout: float | None) -> Deadline | None:
    """The end of a timeout in seconds; None or infinity is without limit."""
    if timeout is None or timeout == math.inf:
        return None
    if isinstance(timeout, Real) and timeout == timeout:
        return Deadline(timeout)
    raise unfit("timeout", timeout, "a number of seconds, or None")


def poll_ms(until: Deadline | None) -> float | None:
    """What is left, for ``poll()``, which takes no more than an int."""
    return None if until is None else min(until.left() * 1000, 0x7FFFFFFF)


class Work(Protocol):
    """A handler at work: an asyncio task, or a thread of the sync face."""

    def cancel(self) -> Any: ...
    def done(self) -> bool: ...


class _Buffers:
    """One thread's buffers for polling; what a poll brought is copied out before the next.

    A poll holds on to them by itself: when the interpreter ends while a daemon thread polls, it takes that thread's locals away, but never
    its frames.
    """

    def __init__(self, lib: Library) -> None:
        self.events = (ctypes.c_char * (BATCH * _abi.EVENT.size))()
        self.events_view = memoryview(self.events).cast("B")
        self.events_at = ctypes.addressof(self.events)
        self.data = bytearray(_DATA)
        self.data_view = memoryview(self.data)
        self.data_at = ctypes.addressof(ctypes.c_char.from_buffer(self.data))
        self.result: list[int] = []
        """What the poll returned. It puts it here itself: a signal that came meanwhile is handled before its caller could."""
        self.poll = lib.function("p2p_queue_poll", self.result.append)

    def batch(self, n: int, large: Any) -> Batch:
        """Copy out a poll's events. ``large`` is None, or the memory that was made for the one that came."""
        used = n * _abi.EVENT.size
        headers = self.events_view[:used].tobytes()
        if large is not None:
            return headers, memoryview(large).cast("B")
        block: bytes | memoryview = self.data_view
        end = 0
        while used and not end:  # the last event that has anything ends the block
            used -= _abi.EVENT.size
            event = _abi.EVENT.unpack_from(headers, used)
            end = event[9] + event[10] or (event[8] and event[7] + event[8])
        if end < n * _SPREAD:
            block = bytes(self.data_view[:end])
        return headers, block


class _Reading(threading.local):
    """How many readers of queues this thread is in, one below the other when a signal's handler reads too, and the buffers of each."""

    def __init__(self) -> None:
        self.depth = 0
        self.buffers: list[_Buffers] = []


_reading = _Reading()
R = TypeVar("R")


def reader(method: Callable[[R], bool]) -> Callable[[R], bool]:
    """Mark a method that polls a queue and works on what came: until it is through, others on its thread poll into other buffers."""

    @functools.wraps(method)
    def read(self: R) -> bool:
        _reading.depth += 1
        try:
            return method(self)
        finally:
            _reading.depth -= 1

    return read


Batch = tuple[bytes, Union[bytes, memoryview]]
Headers = Iterator[tuple[int, ...]]


def poll(lib: Library, queue: int, backlog: list[Batch]) -> bool:
    """Add a batch of events to an empty backlog: their headers, and the block their offsets point into. Returns whether any came.

    The caller takes the batch out when it is through with it. The block is bytes, or for bulk data a view that must be sliced up before
    this thread polls again, for which callers are a :func:`reader`. An exception in here, as a signal handler raises, loses nothing: what
    came is in the backlog.
    """
    depth = _reading.depth or 1
    while len(_reading.buffers) < depth:
        _reading.buffers.append(_Buffers(lib))
    buffers = _reading.buffers[depth - 1]
    result = buffers.result
    result.clear()
    large: Any = None
    try:
        buffers.poll(queue, buffers.events_at, BATCH, buffers.data_at, _DATA, 0)
        if result[0] == _abi.E_TOO_BIG:  # one event larger than the buffer: it gets one of its own
            size = lib.p2p_last_detail()
            large = (ctypes.c_char * size)()
            result.clear()
            buffers.poll(queue, buffers.events_at, 1, ctypes.addressof(large), size, 0)
        n = result[0]
        if n > 0:
            backlog.append(buffers.batch(n, large))
    except BaseException:
        if not backlog and result and result[0] > 0:
            backlog.append(buffers.batch(result[0], large))
        keep(lib, queue, backlog)
        raise
    if n < 0:
        raise lib.error(n)
    return n > 0


def keep(lib: Library, queue: int, backlog: list[Batch], events: Headers | None = None) -> None:
    """Keep what is left of a batch after ``events`` stopped, in memory of its own, and have its owner called again."""
    if backlog:
        headers, block = backlog[0]
        left = len(headers) if events is None else length_hint(events) * _abi.EVENT.size
        backlog[0] = headers[len(headers) - left :], bytes(block)
        lib.p2p_queue_wake(queue)


def queue_fd(lib: Library, queue: int) -> int:
    """Return a new descriptor that is readable while the queue has events."""
    out = c_int(-1)
    lib.check(lib.p2p_queue_fd(queue, byref(out)))
    return out.value


class Pump:
    """A queue and what its events are for. Subclasses say how to wait."""

    blocking = False

    def __init__(self, lib: Library) -> None:
        self.lib = lib
        self.targets: dict[int, Target] = {}
        self.queue = lib.handle(lib.p2p_queue_new, 0)
        self.closed = False
        self.outgoing: dict[int, list[tuple[Future, bytes]]] = {}
        """Messages that are published in this turn of the loop, by topic."""
        self.awaited: set[Any] = set()
        """What tasks wait for, and handlers at work. asyncio holds tasks weakly, and so do the descriptors they wait for."""
        self._users: set[int] = set()
        self._backlog: list[Batch] = []

    # Waiting: what subclasses provide.

    def future(self) -> Future:
        """Make a future that a coroutine of this pump may await."""
        raise NotImplementedError

    async def wait(self, future: Future, until: Deadline | None) -> Any:
        """Await a future, at most until then: it gets and raises Timeout."""
        raise NotImplementedError

    def wake(self, future: Future) -> None:
        """Complete a future that waits for a change of state, from any thread."""
        raise NotImplementedError

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> Work:
        """Start a handler."""
        raise NotImplementedError

    def soon(self, function: Callable[..., Any], *args: Any) -> None:
        """Run a function where this pump's events are dispatched, from any thread."""
        raise NotImplementedError

    def serve(self) -> None:
        """From now on events must be dispatched also while nobody waits."""

    def busy(self) -> bool:
        """Whether this thread cannot wait, as it is just at work for others that do."""
        return False

    # Calls.

    async def call(self, function: Callable[..., int], owner: int, *args: Any, timeout: float | None, late: Late | None = None) -> Result:
        """Make a call in queue mode and await its completion; raise what it failed with.

        Cancelling cancels it in the library. A completion that nobody awaits any more goes to ``late``; by default what it opened is
        closed.
        """
        tag = next_tag()
        future = self.future()
        targets = self.targets
        abandoned = False

        def complete(type_: int, status: int, subject: int, object_: int, value: int, flags: int, text: bytes, data: bytes) -> None:
            targets.pop(tag, None)
            if not (abandoned or future.done()):
                future.set_result((status, object_, value, text, data))
            else:
                (late or self.late)(status, object_, value, text, data)

        targets[tag] = complete
        try:
            code = function(owner, *args, byref(_abi.Call(_abi.CALL_SIZE, milliseconds(timeout), self.queue, tag)))
        except BaseException:
            targets.pop(tag, None)
            raise
        if code != _abi.PENDING:
            targets.pop(tag, None)
            if code < 0:
                raise self.lib.error(code)
            return code, 0, 0, b"", b""
        try:
            result: Result = await future
        except BaseException:
            if future.done() and not future.cancelled() and future.exception() is None:
                # It completed, and the cancellation came in the same turn of the loop.
                (late or self.late)(*future.result())
            else:
                abandoned = True
                self.lib.p2p_cancel(owner, tag)
            raise
        if result[0] < 0:
            raise from_code(result[0], result[3].decode("utf-8", "replace"), result[2])
        return result

    def late(self, status: int, object_: int, value: int, text: bytes, data: bytes) -> None:
        """Close what a call opened that nobody waits for any more."""
        if object_:
            self.lib.p2p_close(object_)

    # Events.

    @reader
    def drain(self) -> bool:
        """Dispatch one batch of events. Returns whether there were any."""
        backlog = self._backlog
        events: Headers | None = None
        targets = self.targets
        try:
            if not backlog and not poll(self.lib, self.queue, backlog):
                return False
            headers, block = backlog[0]
            events = _abi.EVENT.iter_unpack(headers)
            if isinstance(block, memoryview):
                for type_, status, tag, subject, object_, value, flags, text, text_n, data, data_n, _ in events:
                    target = targets.get(tag, self._stray)
                    target(
                        type_, status, subject, object_, value, flags,
                        block[text : text + text_n].tobytes(), block[data : data + data_n].tobytes(),
                    )  # fmt: skip
            else:
                for type_, status, tag, subject, object_, value, flags, text, text_n, data, data_n, _ in events:
                    target = targets.get(tag, self._stray)
                    target(
                        type_, status, subject, object_, value, flags, block[text : text + text_n], block[data : data + data_n]
                    )  # fmt: skip
        except BaseException as error:
            # Ctrl-C, or a bug: the rest of the batch must not be lost. The event under way may be, as its target may have had it.
            keep(self.lib, self.queue, backlog, events)
            if events is None or not isinstance(error, Exception):
                raise
            logger.exception("an event could not be dispatched")
        else:
            backlog.clear()
        return True

    def _stray(self, type_: int, status: int, subject: int, object_: int, value: int, flags: int, text: bytes, data: bytes) -> None:
        # An event that was under way when its consumer went. What it carries must be ended, or the peer waits for it.
        if type_ in (_abi.EVENT_VALIDATE, _abi.EVENT_GATE):
            self.lib.p2p_answer(object_, _abi.VERDICT_IGNORE)
        elif type_ in (_abi.EVENT_STREAM, _abi.EVENT_REQUEST, _abi.EVENT_DONE) and object_:
            self.lib.p2p_close(object_)

    # Life.

    def use(self, node: int) -> None:
        """Note that a node has something on this pump."""
        self._users.add(node)

    def used_by(self, node: int) -> bool:
        """Whether :meth:`use` was called for a node."""
        return node in self._users

    def release(self, node: int) -> None:
        """Undo :meth:`use`; the last one closes the pump."""
        self._users.discard(node)
        if not self._users:
            self.close()

    def close(self) -> None:
        """Give the queue back. What still waits on it fails with NodeClosed."""
        if self.closed:
            return
        self.closed = True
        self._leftovers()
        self.lib.p2p_close(self.queue)

    def _leftovers(self) -> None:
        try:
            while self.drain():
                pass
        except Error:
            pass
        words = b"the node is closed"
        for target in list(self.targets.values()):
            target(_abi.EVENT_CLOSED, _abi.E_CLOSED, 0, 0, 0, 0, words, b"")
        self.targets.clear()


class LoopPump(Pump):
    """The pump of one asyncio loop, drained by that loop."""

    def __init__(self, lib: Library, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(lib)
        self._loop = weakref.ref(loop)
        self.thread = threading.get_ident()
        self._fd = queue_fd(lib, self.queue)
        self._end = finalizer(self, _end_queue, lib, self.queue, self._fd)
        self._unwatch = watch(loop, self._fd, weakref.WeakMethod(self._readable))

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        loop = self._loop()
        if loop is None or loop.is_closed():
            raise NodeClosed("the event loop this belongs to is closed")
        return loop

    def _readable(self) -> None:
        # One batch per turn keeps the loop fair; the descriptor stays readable while there is more.
        try:
            self.drain()
        except Error:
            if not self.closed:
                self._unwatch()
                logger.exception("the event queue failed")

    def future(self) -> Future:
        return self.loop.create_future()

    async def wait(self, future: Future, until: Deadline | None) -> Any:
        if until is None:
            return await future
        timer = self.loop.call_later(until.left(), _expire, future)
        try:
            return await future
        finally:
            timer.cancel()

    def wake(self, future: Future) -> None:
        if threading.get_ident() == self.thread:
            _ring(future)
        else:
            self.soon(_ring, future)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> Work:
        task = self.loop.create_task(work)
        task.set_name(name)
        self.awaited.add(task)
        task.add_done_callback(self.awaited.discard)
        return task

    def soon(self, function: Callable[..., Any], *args: Any) -> None:
        loop = self._loop()
        if loop is not None and threading.get_ident() == self.thread:
            function(*args)
            return
        if loop is not None:
            try:
                loop.call_soon_threadsafe(function, *args)
                return
            except RuntimeError:
                pass
        # The loop is gone or closed: nobody waits there any more, but what is to be closed is closed here.
        with contextlib.suppress(RuntimeError):
            function(*args)

    def release(self, node: int) -> None:
        loop = self._loop()
        if threading.get_ident() == self.thread or loop is None or loop.is_closed():
            super().release(node)
        else:
            self.soon(super().release, node)

    def close(self) -> None:
        if not self.closed:
            self._unwatch()
            loop = self._loop()
            if loop is not None and loop.is_closed():
                self.targets.clear()
            super().close()
            self._end()


def _ring(future: Future) -> None:
    if not future.done():
        future.set_result(None)


def _expire(future: Future) -> None:
    if not future.done():
        future.set_exception(Timeout("time is up"))


def _end_queue(lib: Library, queue: int, fd: int) -> None:
    lib.p2p_close(queue)
    os.close(fd)


class Bell:
    """Tells one pump when a queue that is read on demand has something. The owner reads the queue in ``ready``, then calls :meth:`ring`.

    Use: look at what is there; if nothing, wait; look again. A ring between the look and the wait is not lost.
    """

    def __init__(self, pump: Pump, queue: int, ready: Callable[[], None]) -> None:
        self._pump = pump
        self._fd = queue_fd(pump.lib, queue)
        self._ready = ready
        self._rung = False
        self._pipe: tuple[int, ...] = ()
        if pump.blocking:  # what a thread of the sync face polls beside the descriptor
            try:
                self._pipe = os.pipe()
            except BaseException:
                os.close(self._fd)
                raise
        for end in self._pipe:
            os.set_blocking(end, False)
        self._ended = False
        self._watched: list[Callable[[], None]] = []  # what ends the watch, if there is one
        self._close = finalizer(self, _end_bell, pump, self._watched, (self._fd, *self._pipe))
        self._waiting: set[Future] = set()

    async def wait(self, until: Deadline | None) -> None:
        """Wait for a ring."""
        if self._pipe:
            self._block(until)
            return
        assert isinstance(self._pump, LoopPump)
        if not self._watched:
            self._watched.append(watch(self._pump.loop, self._fd, weakref.WeakMethod(self._readable)))
        future = self._pump.future()
        self._waiting.add(future)
        self._pump.awaited.add(self)
        try:
            if not self._rung:
                await self._pump.wait(future, until)
        finally:
            self._rung = False
            self._waiting.discard(future)
            if not self._waiting:
                self._pump.awaited.discard(self)

    def _block(self, until: Deadline | None) -> None:
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        poller.register(self._pipe[0], select.POLLIN)
        ready = poller.poll(poll_ms(until))
        if not ready and until is not None and not until.left():
            raise Timeout("time is up")
        if any(fd == self._pipe[0] for fd, _ in ready):
            with contextlib.suppress(BlockingIOError):  # another thread was faster
                os.read(self._pipe[0], 4096)
            if self._ended:
                self.ring()  # for the other threads

    def _readable(self) -> None:
        if self._waiting:
            self._ready()
        elif self._watched:
            # Nobody waits, so what came stays in the queue, where the library's limits and policy hold.
            self._watched.pop()()

    def ring(self) -> None:
        """End all waits, also one that is about to begin. From any thread."""
        self._rung = True
        if self._pipe and self._close.alive:
            with contextlib.suppress(BlockingIOError):  # it is full of rings that nobody has heard yet
                os.write(self._pipe[1], b"x")
        for future in tuple(self._waiting):
            self._pump.wake(future)

    def close(self) -> None:
        """End all waits and give the descriptor back."""
        self._ended = True
        self.ring()
        if not self._pipe:
            self._close()  # with a pipe, a thread may just be polling: the descriptors go with the last reference


def _end_bell(pump: Pump, watched: list[Callable[[], None]], fds: tuple[int, ...]) -> None:
    # A descriptor must leave its loop before it is closed, or the loop trips over the next one with its number.
    if watched:
        pump.soon(watched.pop())
        pump.soon(_close_all, fds)
    else:
        _close_all(fds)


def _close_all(fds: tuple[int, ...]) -> None:
    for fd in fds:
        os.close(fd)


_pumps: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopPump] = weakref.WeakKeyDictionary()
_pumps_lock = threading.Lock()


class _Latest(threading.local):
    """The pump that this thread used last, which it mostly uses again. Weak: a thread must not keep a pump alive."""

    def __init__(self) -> None:
        self.pump: Callable[[], LoopPump | None] = lambda: None


_latest = _Latest()


def loop_pump() -> LoopPump:
    """Return the pump of the running loop, which is made when the loop first needs one."""
    loop = asyncio.get_running_loop()
    lib = library()
    latest = _latest.pump()
    if latest is not None and not latest.closed and latest._loop() is loop:
        return latest
    with _pumps_lock:
        pump = _pumps.get(loop)
        if pump is None or pump.closed:
            _sweep()
            pump = _pumps[loop] = LoopPump(lib, loop)
        _latest.pump = weakref.ref(pump)
        return pump


def _sweep() -> None:
    """Close the pumps of loops that ended before their nodes did."""
    for loop, pump in list(_pumps.items()):
        if loop.is_closed():
            del _pumps[loop]
            pump.close()
