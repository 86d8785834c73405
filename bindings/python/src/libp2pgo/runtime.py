"""The library as a whole: what it is, what it has open, and how the Go runtime inside it behaves. All of it is the process', not a node's.

::

    libp2pgo.runtime.tune(threads=2, heap_bytes=256 << 20)
    print(libp2pgo.runtime.version(), libp2pgo.runtime.live_handles("stream"))
"""

from __future__ import annotations

import os
from typing import TypedDict, cast

from . import _abi
from ._library import encode, integer, library, unfit
from .errors import InvalidArgument

__all__ = ["BuildInfo", "RuntimeInfo", "build_info", "crash_file", "info", "live_handles", "tune", "version"]

_KINDS = {name[5:].lower(): value for name, value in vars(_abi).items() if name.startswith("KIND_")}


class BuildInfo(TypedDict):
    """What :func:`build_info` returns."""

    version: str
    abi: int
    """The number of the interface; it equals this package's, or the library would not load."""
    go: str
    """Go's version."""
    modules: dict[str, str]
    """Each module that is linked in, and its version."""
    transports: list[str]


class RuntimeInfo(TypedDict):
    """What :func:`info` returns."""

    goroutines: int
    heap_bytes: int
    """Of the Go heap, in objects."""
    threads: int
    """Of the whole process, as are the descriptors."""
    file_descriptors: int
    file_descriptor_limit: int
    handles: dict[str, int]
    """Kind of handle to how many are open."""
    panics: int
    """Bugs in the library that ended a call and not the process."""
    log_records: int
    log_dropped: int
    """Records that were lost because nobody took them in time."""


def version() -> str:
    """Return the library's version, "major.minor.patch"; ``libp2pgo.__version__`` is the package's."""
    return str(library().p2p_version().decode())


def build_info() -> BuildInfo:
    """Return what the library was built from."""
    lib = library()
    return cast(BuildInfo, lib.json(lib.p2p_build_info))


def info() -> RuntimeInfo:
    """Return what the process has at present, as the library sees it."""
    lib = library()
    return cast(RuntimeInfo, lib.json(lib.p2p_runtime_info))


def live_handles(kind: str | None = None) -> int:
    """Return how many handles of a kind, a key of ``info()["handles"]``, are open, or of all kinds. What only grows is never closed.

    An event loop has a queue while it uses a node, and a node one for its events.
    """
    if kind is not None and kind not in _KINDS:
        raise InvalidArgument(f"kind: {kind!r} is none of {', '.join(_KINDS)}")
    lib = library()
    return lib.check(lib.p2p_live_handles(0 if kind is None else _KINDS[kind]))


def tune(*, threads: int | None = None, heap_bytes: int | None = None) -> None:
    """Set how many threads run Go code at a time, and the soft limit of the Go heap: what is None stays, and -1 is the default.

    By default there is a thread for each core, and no limit. Close to the limit memory is collected ever more often, which costs time; it
    can be exceeded. Go sees the variables GOMAXPROCS and GOMEMLIMIT only if they were set before the process started.
    """
    lib = library()
    lib.check(lib.p2p_runtime_tune(_limit("threads", threads, 1 << 16), _limit("heap_bytes", heap_bytes)))


def _limit(name: str, value: int | None, most: int = (1 << 63) - 1) -> int:
    if value is None:
        return 0
    if integer(name, value, -1, most) == 0:
        raise unfit(name, value, "a number of 1 or more, or -1")
    return value


def crash_file(path: str | os.PathLike[str] | None) -> None:
    """Have the Go runtime write its last words to the end of a file too, should the process die of a bug in it; None ends that.

    They also go to stderr. A file that is not there is made, with mode 0600. Raises SystemFailure if it cannot be opened.
    """
    lib = library()
    lib.check(lib.p2p_crash_file(None if path is None else encode(os.fspath(path), "path")))
