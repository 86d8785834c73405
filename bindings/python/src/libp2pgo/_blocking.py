"""The sync face's pump: threads that wait take turns at draining the queue, in Python, so that Ctrl-C ends any wait at once."""

from __future__ import annotations

import logging
import select
import threading
from typing import Any, Callable, Coroutine, Generator, TypeVar

from ._engine import Deadline, Future, Pump, Work, _end_queue, poll_ms, queue_fd
from ._library import Library, finalizer
from .errors import Error, StateError, Timeout

T = TypeVar("T")
logger = logging.getLogger("libp2pgo")


class BlockingFuture:
    """A future whose await blocks the thread."""

    __slots__ = ("_done", "_error", "_event", "_pump", "_result", "until")

    def __init__(self, pump: BlockingPump) -> None:
        self._pump = pump
        self._done = False
        self._error: BaseException | None = None
        self._result: Any = None
        self._event: Any = None
        self.until: Deadline | None = None

    def done(self) -> bool:
        return self._done

    def cancelled(self) -> bool:
        return False

    def exception(self) -> BaseException | None:
        return self._error

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._result

    def set_result(self, result: Any, /) -> None:
        self._result = result
        self._done = True
        self._pump.completed(self)

    def set_exception(self, exception: Any, /) -> None:
        self._error = exception
        self._done = True
        self._pump.completed(self)

    def __await__(self) -> Generator[Any, None, Any]:
        self._pump.block(self)
        return self.result()
        yield  # makes this a generator, which never yields: the thread waited above


class BlockingPump(Pump):
    """Threads that wait drain the queue in turns; once something is served, a thread of its own does so all the time."""

    blocking = True

    def __init__(self, lib: Library) -> None:
        super().__init__(lib)
        self._fd = queue_fd(lib, self.queue)
        self._end = finalizer(self, _end_queue, lib, self.queue, self._fd)
        self._mutex = threading.RLock()
        self._draining = False
        self._leader: int | None = None  # guarded by _mutex: the thread that polls
        self._leading: BlockingFuture | None = None  # what it waits for
        self._followers: list[BlockingFuture] = []  # guarded by _mutex
        self._server: threading.Thread | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of this pump to its end on this thread."""
        try:
            work.send(None)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        work.close()
        raise RuntimeError("a coroutine of the sync face awaited something foreign")

    def future(self) -> BlockingFuture:
        return BlockingFuture(self)

    async def wait(self, future: Future, until: Deadline | None) -> Any:
        assert isinstance(future, BlockingFuture)
        future.until = until
        return await future

    def wake(self, future: Future) -> None:
        if not future.done():
            future.set_result(None)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> Work:
        return _Worker(self, work, name)

    def soon(self, function: Callable[..., Any], *args: Any) -> None:
        function(*args)

    def serve(self) -> None:
        with self._mutex:
            if self._server is None:
                self._server = threading.Thread(target=self._serve, name="libp2pgo-events", daemon=True)
                self._server.start()

    def _serve(self) -> None:
        try:
            self.block(BlockingFuture(self))
        except Error:
            if not self.closed:
                logger.exception("the event queue failed")

    def block(self, future: BlockingFuture) -> None:
        """Return when ``future`` is done, draining the queue meanwhile unless another thread does."""
        me = threading.get_ident()
        while not future._done:
            if self.busy():
                raise StateError("nothing can wait where the sync face dispatches events: in a validator, or a signal's handler in between")
            with self._mutex:
                if future._done:
                    return
                # Below a wait of this very thread, which a signal's handler interrupts: it leads in its place.
                below = self._leading if self._leader == me else None
                lead = self._leader is None or below is not None
                if lead:
                    self._leader, self._leading = me, future
                else:
                    future._event = threading.Lock()
                    future._event.acquire()
                    self._followers.append(future)
            try:
                if lead:
                    self._lead(future)
                elif not future._done:  # a signal's handler may have seen to that before it was a follower
                    left = -1.0 if future.until is None else future.until.left()
                    future._event.acquire(True, min(left, threading.TIMEOUT_MAX))
                    _expire(future)
            finally:
                with self._mutex:
                    if below is not None:
                        self._leading = below
                        self.lib.p2p_queue_wake(self.queue)  # what it polls for may have come here
                    elif lead:
                        self._leader = self._leading = None
                        if self.closed:
                            self._end()
                        if self._followers:
                            self._followers.pop()._event.release()
                    elif future in self._followers:
                        self._followers.remove(future)
                    elif self._leader is None and self._followers:
                        # This thread was told to lead next and leaves instead, done or interrupted: pass it on.
                        self._followers.pop()._event.release()

    def _lead(self, future: BlockingFuture) -> None:
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        while not future._done:
            if self.drain() or future._done:  # again: the poll may have taken the wake-up of who has just completed it
                continue
            poller.poll(poll_ms(future.until))
            _expire(future)

    def drain(self) -> bool:
        if self._draining:
            return False  # below itself, or on another thread as it closes
        try:
            self._draining = True
            return super().drain()
        finally:
            self._draining = False

    def busy(self) -> bool:
        # A signal's handler may come while events are dispatched, or while it is settled who dispatches them.
        return self._mutex._is_owned() or (self._draining and self._leader == threading.get_ident())  # type: ignore[attr-defined]

    def completed(self, future: BlockingFuture) -> None:
        """Wake the thread that waits for ``future``."""
        with self._mutex:
            if future in self._followers:
                self._followers.remove(future)
                future._event.release()
            elif self._leading is future and self._leader != threading.get_ident() and not self.closed:
                self.lib.p2p_queue_wake(self.queue)

    def close(self) -> None:
        inside = self._mutex._is_owned()  # type: ignore[attr-defined]  # by a signal's handler: nobody else can go on meanwhile
        with self._mutex:
            if self.closed:
                return
            self.closed = True
            server, leader = self._server, self._leader
        if leader is not None and leader != threading.get_ident():
            # The queue's end wakes whoever polls; they find their futures failed below.
            self.lib.p2p_close(self.queue)
            if server is not None and server.ident == leader and not inside:
                server.join()
        self._leftovers()
        if inside or leader == threading.get_ident():
            self.lib.p2p_close(self.queue)  # wakes the poll that a signal's handler interrupts, and which still needs the descriptor
        else:
            self._end()


def _expire(future: BlockingFuture) -> None:
    if future.until is not None and not future._done and not future.until.left():
        future._error = Timeout("time is up")
        future._done = True


class _Worker:
    """A handler of the sync face on a thread of its own."""

    def __init__(self, pump: BlockingPump, work: Coroutine[Any, Any, None], name: str) -> None:
        self._thread = threading.Thread(target=pump.run, args=(work,), name=f"libp2pgo {name}", daemon=True)
        self._thread.start()

    def cancel(self) -> bool:
        return False  # a thread cannot be ended; its stream or request is, and so its next call raises

    def done(self) -> bool:
        return not self._thread.is_alive()
