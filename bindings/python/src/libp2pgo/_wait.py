"""Watching a descriptor from an asyncio loop: with add_reader where the loop has it, with a thread where it has not."""

from __future__ import annotations

import asyncio
import os
import select
import threading
import weakref
from functools import partial
from typing import Any, Callable

Readable = weakref.WeakMethod[Callable[[], None]]


def watch(loop: asyncio.AbstractEventLoop, fd: int, method: Readable) -> Callable[[], None]:
    """Call ``method`` on the loop while ``fd`` is readable. Returns what ends that.

    The method is held weakly: a loop must not keep alive what nobody else uses.
    """

    def readable() -> None:
        function = method()
        if function is not None:
            function()
        else:
            stop()

    try:
        loop.add_reader(fd, readable)
    except NotImplementedError:
        stop: Callable[[], Any] = _Thread(loop, fd, readable).stop
    else:
        stop = partial(_remove, weakref.ref(loop), fd)
    return stop


def _remove(loop: weakref.ref[asyncio.AbstractEventLoop], fd: int) -> None:
    running = loop()
    if running is not None and not running.is_closed():
        running.remove_reader(fd)


class _Thread:
    """Polls for a loop without add_reader (Windows' Proactor): one wake of the loop per batch, and none while it is at work."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int, readable: Callable[[], None]) -> None:
        self._loop = loop
        self._readable = readable
        self._fd = os.dup(fd)
        self._turn = threading.Semaphore(0)
        self._stopped = False
        self._stopping = threading.Lock()  # taken once and for all by who stops
        self._stop_read, self._stop_write = os.pipe()
        threading.Thread(target=self._run, name="libp2pgo-watch", daemon=True).start()

    def stop(self) -> None:
        if self._stopping.acquire(blocking=False):
            self._stopped = True
            os.close(self._stop_write)  # which the thread sees; a byte could meet a pipe that it has closed
            self._turn.release()

    def _run(self) -> None:
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        poller.register(self._stop_read, select.POLLIN)
        try:
            while not self._stopped:
                poller.poll()
                if self._stopped:
                    break
                self._loop.call_soon_threadsafe(self._on_loop)
                self._turn.acquire()
        except RuntimeError:
            self.stop()  # the loop is closed
        finally:
            os.close(self._fd)
            os.close(self._stop_read)

    def _on_loop(self) -> None:
        try:
            if not self._stopped:
                self._readable()
        finally:
            self._turn.release()
