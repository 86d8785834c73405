"""What a pump's events brought for one iterator, until it is fetched."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from ._engine import Future, Pump, deadline
from .errors import Error, Timeout

T = TypeVar("T")


class Inbox(Generic[T]):
    """Items in order, at most ``capacity`` of them, then an end; what it had no room for is counted in ``missed``.

    Any number of tasks, or threads of the sync face, may wait for the next one. All are woken and look again: each item goes to one of
    them, the end to all.
    """

    def __init__(self, pump: Pump, nothing: str, capacity: int = 1 << 20) -> None:
        self.missed = 0
        self.ended = False
        self._pump = pump
        self._nothing = nothing
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._error: Error | None = None
        self._waiting: set[Future] = set()

    def put(self, item: T) -> None:
        if len(self._items) >= self._capacity:
            self._items.popleft()
            self.missed += 1
        self._items.append(item)
        self._wake()

    def end(self, error: Error | None = None) -> None:
        """End it. What is there can still be fetched, then the first end's ``error`` is raised, once; a second end takes it back."""
        self._error = None if self.ended else error
        self.ended = True
        self._wake()

    def _wake(self) -> None:
        for future in tuple(self._waiting):
            self._pump.wake(future)

    async def next(self, timeout: float | None) -> T | None:
        until = deadline(timeout)
        while True:
            future = self._pump.future()
            self._waiting.add(future)  # before the look: on the sync face, another thread may put between the look and the wait
            try:
                ended = self.ended  # before the items, as it may also put and end between the two
                try:
                    return self._items.popleft()
                except IndexError:
                    pass
                if ended:
                    error, self._error = self._error, None
                    if error is not None:
                        raise error
                    return None
                await self._pump.wait(future, until)
            except Timeout:
                raise Timeout(f"{self._nothing} within {timeout} s") from None
            finally:
                self._waiting.discard(future)
