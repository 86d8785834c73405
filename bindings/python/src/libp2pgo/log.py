"""The library's log in Python's logging: records go to ``libp2pgo.<subsystem>``, once :func:`forward` was called."""

from __future__ import annotations

import logging
import os
import select
import threading
from typing import Union

from . import _abi
from ._engine import next_tag, poll, queue_fd
from ._library import Library, encode, library
from .errors import Error

__all__ = ["forward", "stop"]

Level = Union[int, str]
_SLOG = ((8, logging.ERROR), (4, logging.WARNING), (0, logging.INFO))
_NAMES = ((logging.ERROR, "error"), (logging.WARNING, "warn"), (logging.INFO, "info"))
_lock = threading.Lock()
_forwarder: _Forwarder | None = None


def forward(level: Level = logging.WARNING, subsystem: str = "*") -> None:
    """Pass the library's log records of ``subsystem`` ("swarm2", "pubsub", ...; "*" for all) from ``level`` on to logging.

    The record's fields are in ``record.fields``. Call it again for other subsystems.
    """
    global _forwarder
    lib = library()
    number = logging.getLevelName(level.upper()) if isinstance(level, str) else level
    if not isinstance(number, int):
        raise ValueError(f"unknown level {level!r}")
    name = next((name for limit, name in _NAMES if number >= limit), "debug")
    with _lock:
        if _forwarder is None:
            _forwarder = _Forwarder(lib)
        lib.check(lib.p2p_log_level(encode(subsystem), name.encode()))


def stop() -> None:
    """End :func:`forward` for all subsystems."""
    global _forwarder
    with _lock:
        forwarder, _forwarder = _forwarder, None
    if forwarder is not None:
        forwarder.stop()


class _Forwarder:
    def __init__(self, lib: Library) -> None:
        self._lib = lib
        self._queue = lib.handle(lib.p2p_queue_new, 0)
        self._fd = queue_fd(lib, self._queue)
        lib.check(lib.p2p_log_queue(self._queue, next_tag()))
        self._thread = threading.Thread(target=self._run, name="libp2pgo-log", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._lib.p2p_log_level(b"*", b"off")
        self._lib.p2p_log_queue(0, 0)
        self._lib.p2p_close(self._queue)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        try:
            while True:
                poller.poll()
                while True:
                    batch = poll(self._lib, self._queue)
                    if batch is None:
                        break
                    headers, block = batch
                    for type_, _, _, _, _, value, _, text, text_n, _, _, _ in headers:
                        if type_ == _abi.EVENT_LOG:
                            emit(value, bytes(block[text : text + text_n]).decode("utf-8", "replace"))
                        elif type_ == _abi.EVENT_DROPPED:
                            logging.getLogger("libp2pgo").warning("%d log records were lost", value)
        except Error:
            pass  # the queue is closed
        finally:
            os.close(self._fd)


def emit(value: int, text: str) -> None:
    """Hand one record of the library to logging."""
    level = next((number for limit, number in _SLOG if value >= limit), logging.DEBUG)
    _, time, subsystem, message, *fields = [*text.split("\n"), "", "", ""][: max(4, text.count("\n") + 1)]
    logger = logging.getLogger(f"libp2pgo.{subsystem}" if subsystem else "libp2pgo")
    if logger.isEnabledFor(level):
        pairs = {name: value for name, _, value in (field.partition("=") for field in fields if field)}
        words = " ".join([message, *filter(None, fields)])
        logger.log(level, "%s", words, extra={"fields": pairs, "library_time": time})
