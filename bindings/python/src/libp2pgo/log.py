"""The library's log: in Python's logging, as ``libp2pgo.<subsystem>``, after :func:`forward`; or written to a descriptor or a file.

The latter two need no thread of Python's, and go on while the interpreter is busy: ``log.to_file("node.log"); log.set_level("info")``.
"""

from __future__ import annotations

import json
import logging
import os
import select
import threading
from typing import Union

from . import _abi
from ._engine import Batch, next_tag, poll, queue_fd
from ._library import Library, encode, library
from .errors import Error

__all__ = ["forward", "set_level", "stop", "to_fd", "to_file"]

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
    name = _level_name(level)
    with _lock:
        if _forwarder is None:
            _forwarder = _Forwarder(lib)
        lib.check(lib.p2p_log_level(encode(subsystem), name))


def _level_name(level: Level) -> bytes:
    number = logging.getLevelName(level.upper()) if isinstance(level, str) else level
    if not isinstance(number, int):
        raise ValueError(f"unknown level {level!r}")
    return next((name for limit, name in _NAMES if number >= limit), "debug").encode()


def set_level(level: Level | None, subsystem: str = "*") -> None:
    """Set how much ``subsystem`` ("dht", "swarm2", "pubsub", ...; "*" for all, also later ones) logs, wherever that goes; None: nothing."""
    lib = library()
    lib.check(lib.p2p_log_level(encode(subsystem), b"off" if level is None else _level_name(level)))


def to_fd(fd: int | None, *, format: str = "text") -> None:
    """Write the log to a file descriptor, such as 2; None ends that.

    Nothing waits for who reads it: what it does not take at once is lost, counted, and told in the log. ``format`` is "text" or "json".
    """
    lib = library()
    lib.check(lib.p2p_log_fd(-1 if fd is None else fd, json.dumps({"format": format}).encode()))


def to_file(path: str | os.PathLike[str] | None, *, format: str = "text", max_bytes: int | None = None, keep: int | None = None) -> None:
    """Write the log to the end of a file; None ends that when all is written.

    Args:
        format: "text", or "json" for an object per line.
        max_bytes: beyond this size, by default 16 MiB, the file is renamed to ``path.1`` and a new one is begun.
        keep: such older files that are kept; default 1.
    """
    lib = library()
    options = {"format": format, "max_bytes": max_bytes, "keep": keep}
    given = {name: value for name, value in options.items() if value is not None}
    lib.check(lib.p2p_log_file(None if path is None else encode(os.fspath(path)), json.dumps(given).encode()))


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
                    batches: list[Batch] = []
                    if not poll(self._lib, self._queue, batches):
                        break
                    headers, block = batches[0]
                    for type_, _, _, _, _, value, _, text, text_n, _, _, _ in _abi.EVENT.iter_unpack(headers):
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
