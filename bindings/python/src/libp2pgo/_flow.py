"""A bounded flow out of the library: a source with a queue of its own, read only when somebody waits for it, so that the source's
capacity and policy hold to the last stage."""

from __future__ import annotations

import asyncio
import threading
import warnings
import weakref
from collections import deque
from typing import Any, Callable, Generic, TypeVar

from . import _abi
from ._engine import Batch, Bell, Headers, Pump, deadline, keep, poll, reader
from ._library import Library, finalizer
from .errors import Error, ForkedProcessError, Timeout, from_code

T = TypeVar("T")
Other = tuple[int, int, int, bytes]
"""An event that is no item: type, status, value, text."""


class Flow(Generic[T]):
    """An async iterator over a source of the library. ``begin`` starts it on the queue that it is given and returns its handle."""

    def __init__(self, pump: Pump, begin: Callable[[int], int], what: str, item: str) -> None:
        self.dropped = 0
        """How many were lost so far because they were not fetched in time."""
        self._what = what
        self._item = item
        self._pump = pump
        self._lib: Library = pump.lib
        self._ready: deque[T] = deque()
        self._backlog: list[Batch] = []
        self._closed = False
        self._error: Error | None = None
        self._lock = threading.RLock()
        self._pulling = False  # guarded by _lock, as is _finishing
        self._finishing = False
        self._queue = self._lib.handle(self._lib.p2p_queue_new, 0)
        try:
            self._bell = Bell(pump, self._queue, _Weak(self))  # first, as it may find no descriptor: what has begun holds its source back
            try:
                self._handle = begin(self._queue)
            except BaseException:
                self._bell.close()
                raise
        except BaseException:
            self._lib.p2p_close(self._queue)
            raise
        self._end = finalizer(self, _end, self._lib, self._handle, self._queue, what)

    def __repr__(self) -> str:
        return f"<{self._what}, {'closed' if self._closed else 'open'}>"

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> T:
        if self._ready:
            return self._ready.popleft()
        item = await self.next()
        if item is None:
            raise StopAsyncIteration
        return item

    async def next(self, *, timeout: float | None = None) -> T | None:
        """Return the next one, or None when it is closed. Cancelling loses nothing."""
        waited = False
        until = deadline(timeout)
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
                await self._bell.wait(until)
            except Timeout:
                raise Timeout(f"{self._item} within {timeout} s") from None

    def _make(self, headers: Headers, block: bytes | memoryview, others: list[Other]) -> list[T]:
        """Make the items of a batch; what is none goes to ``others``. Interrupted, it is called again with the same batch."""
        raise NotImplementedError

    def _pull(self) -> bool:
        """Fetch a batch. Returns whether any came."""
        with self._lock:
            if self._pulling:
                return False  # by a signal's handler, below the very pull that it interrupts
            try:
                self._pulling = True
                return self._fetch()
            finally:
                self._pulling = False
                if self._finishing:
                    self._finishing = False
                    self.finish()

    @reader
    def _fetch(self) -> bool:
        backlog = self._backlog
        others: list[Other] = []
        dropped, closed, error = 0, self._closed, self._error
        try:
            if not backlog and (closed or not poll(self._lib, self._queue, backlog)):
                return False
            headers, block = backlog[0]
            items = self._make(_abi.EVENT.iter_unpack(headers), block, others)
            for type_, status, value, text in others:
                if type_ == _abi.EVENT_DROPPED:
                    dropped += value
                elif type_ == _abi.EVENT_CLOSED:
                    closed = True
                    if status < 0:
                        error = from_code(status, text.decode("utf-8", "replace"), value)
        except ForkedProcessError:
            raise  # it is no end
        except Error:
            self._closed = True
            return False
        except BaseException:  # Ctrl-C: the whole batch is made again
            keep(self._lib, self._queue, backlog)
            raise
        # Without a call, no signal is handled in between (as of Python 3.10): all of this is done, or nothing.
        self._ready += items
        self.dropped += dropped
        self._error = error
        self._closed = closed or self._closed  # a signal's handler may have closed it
        backlog[:] = ()
        return bool(self._ready)

    def _arrived(self) -> None:
        if self._pull() or self._closed:
            self._bell.ring()

    async def aclose(self) -> None:
        """End it. What was not fetched yet is gone."""
        self.close()

    def close(self) -> None:
        """End it. What was not fetched yet is gone."""
        self._error = None
        self._release()
        self._ready.clear()

    def finish(self) -> None:
        """Its node has closed: what arrived before can still be iterated over."""
        with self._lock:
            if self._pulling:  # a signal's handler closes the node: the pull that it interrupts comes here when it is through
                self._finishing = True
                return
        while self._pull():
            pass
        self._release()

    def _release(self) -> None:
        self._closed = True
        if self._end.detach():
            self._lib.p2p_close(self._handle)
            self._lib.p2p_close(self._queue)
        self._bell.close()

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def info(self) -> dict[str, Any]:
        """Counters: delivered, dropped, waiting."""
        result: dict[str, Any] = self._lib.json(self._lib.p2p_info, self._handle)
        return result


class _Weak:
    """Calls a flow's _arrived without keeping it alive."""

    def __init__(self, flow: Flow[Any]) -> None:
        self._ref = weakref.ref(flow)

    def __call__(self) -> None:
        flow = self._ref()
        if flow is not None:
            flow._arrived()


def _end(lib: Library, handle: int, queue: int, what: str) -> None:
    warnings.warn(f"unclosed <{what}>", ResourceWarning, stacklevel=2)
    lib.p2p_close(handle)
    lib.p2p_close(queue)
