"""Finding and loading the shared library, and the small calls around it that need no event loop.

Nothing is loaded before the first call of :func:`library`, so that importing the package is free of side effects and a process may
fork before its first node.
"""

from __future__ import annotations

import ctypes
import json
import math
import operator
import os
import sys
import sysconfig
import threading
import weakref
from ctypes import byref, c_size_t, c_uint64, c_void_p
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from . import _abi
from .errors import Error, ForkedProcessError, LibraryError, from_code

VARIABLE = "LIBP2PGO_LIBRARY"
_SUFFIX = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")
NAME = "libp2pgo" + _SUFFIX


class Library:
    """The loaded library: one attribute per function of the header."""

    path: str

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._loaded = loaded = ctypes.CDLL(path)
            for name, (result, parameters) in _abi.FUNCTIONS.items():
                function = getattr(loaded, name)
                function.restype = result
                function.argtypes = parameters
                setattr(self, name, function)
        except OSError as error:
            raise LibraryError(f"{path}: {error}{_musl_words()}") from error
        except AttributeError as error:
            raise LibraryError(f"{path}: {error}; the library is older than this package") from error
        number = self.p2p_abi()
        if number != _abi.ABI:
            raise LibraryError(f"{path}: its ABI is {number}, this package needs {_abi.ABI}")

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Callable[..., Any]: ...

    def function(self, name: str, result: Callable[[int], Any]) -> Callable[..., Any]:
        """Return a function of the header that gives what it returns to ``result`` before any signal can be handled."""
        function = self._loaded[name]
        function.restype = result
        function.argtypes = _abi.FUNCTIONS[name][1]
        return function

    def error(self, code: int) -> Error:
        """Make the exception for this thread's last failed call, which returned ``code``."""
        return from_code(code, _decode(self.p2p_last_error()), self.p2p_last_detail())

    def check(self, code: int) -> int:
        """Return ``code``, or raise what it stands for."""
        if code < 0:
            raise self.error(code)
        return code

    def text(self, function: Callable[..., int], *args: Any) -> str:
        """Call a function whose last parameter is a ``char **`` and return the text."""
        out = c_void_p()
        self.check(function(*args, byref(out)))
        try:
            return _decode(ctypes.string_at(out.value or 0))
        finally:
            self.p2p_free(out)

    def lines(self, function: Callable[..., int], *args: Any) -> list[str]:
        """As :meth:`text`, for a list of one item per line."""
        return self.text(function, *args).splitlines()

    def json(self, function: Callable[..., int], *args: Any) -> Any:
        """As :meth:`text`, for JSON."""
        return json.loads(self.text(function, *args))

    def block(self, function: Callable[..., int], *args: Any) -> bytes:
        """Call a function whose last parameters are a ``uint8_t **`` and a ``size_t *`` and return the bytes."""
        out, size = c_void_p(), c_size_t()
        self.check(function(*args, byref(out), byref(size)))
        try:
            return ctypes.string_at(out.value or 0, size.value) if size.value else b""
        finally:
            self.p2p_free(out)

    def handle(self, function: Callable[..., int], *args: Any) -> int:
        """Call a function whose last parameter is a ``p2p_handle *`` and return the handle."""
        out = c_uint64()
        self.check(function(*args, byref(out)))
        return out.value


_library: Library | None = None
_lock = threading.Lock()
_forked = False


def _in_child() -> None:
    global _forked, _lock
    # Go's threads did not come along. A child of a parent that had not loaded the library is free to load it itself.
    _forked = _library is not None
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def library() -> Library:
    """Return the library, loading it first if need be. Raises ForkedProcessError in a child forked after the load."""
    global _library
    if _forked:
        raise ForkedProcessError(
            f"process {os.getpid()} was forked after libp2pgo was loaded: use the spawn or forkserver method of multiprocessing, "
            "or create the first Node in the child"
        )
    if _library is None:
        with _lock:
            if _library is None:
                _library = Library(find())
    return _library


def loaded() -> bool:
    """Whether the library is loaded in this process."""
    return _library is not None


def find() -> str:
    """Return the library's path: the variable's, the one inside the package, a development build's, or the system's."""
    named = os.environ.get(VARIABLE)
    if named:
        if not os.path.exists(named):
            raise LibraryError(f"{VARIABLE} names {named}, which does not exist")
        return named
    here = Path(__file__).resolve().parent
    packaged = here / "_lib" / NAME
    if packaged.exists():
        return str(packaged)
    for folder in here.parents:
        if (folder / "include" / "libp2p.h").exists() and (folder / "build" / NAME).exists():
            return str(folder / "build" / NAME)
    return NAME + ".1" if _SUFFIX == ".so" else NAME


def _musl_words() -> str:
    if "musl" in str(sysconfig.get_config_var("HOST_GNU_TYPE")) or os.path.exists("/etc/alpine-release"):
        return " (this Python runs on musl, which cannot load a Go library: golang/go#54805; use an image with glibc)"
    return ""


def _decode(text: bytes | None) -> str:
    return (text or b"").decode("utf-8", "replace")


def encode(text: str, name: str = "text") -> bytes:
    """The parameter ``name`` on its way into the library, which takes it up to a NUL: one inside would silently cut it off."""
    if not isinstance(text, str):
        raise TypeError(f"{name}: {text!r} is not a text")
    raw = text.encode("utf-8", "surrogateescape")
    if b"\0" in raw:
        raise from_code(_abi.E_INVALID, f"{text!r}: a NUL is not allowed in a text")
    return raw


INT32 = (1 << 31) - 1
UINT32 = (1 << 32) - 1
INT64 = (1 << 63) - 1


def unfit(name: str, value: object, wanted: str) -> Exception:
    """Make the exception for what the parameter ``name``, a number, does not take: one out of range, or something else altogether."""
    words = f"{name}: {value!r} is not {wanted}"
    return from_code(_abi.E_INVALID, words) if isinstance(value, Real) else TypeError(words)


def milliseconds(timeout: float | None, name: str = "timeout", most: int = INT32) -> int:
    """A timeout in seconds as ``timeout_ms``: None or infinity is without limit, and a tiny one is not the library's default."""
    if timeout is None:
        return -1
    try:
        if timeout >= 0:
            return -1 if timeout == math.inf else max(1, round(min(timeout * 1000, most)))
    except TypeError:
        pass
    raise unfit(name, timeout, "a number of seconds, or None")


def duration(name: str, seconds: float | None, *, zero: bool = False, most: int = 1 << 53) -> int | None:
    """A time in seconds as an option in milliseconds. None is the option's default; 0 is a time only where it means something."""
    if seconds is None:
        return None
    try:
        if zero and seconds == 0:
            return 0
        if 0 < seconds < math.inf:
            return max(1, round(min(seconds * 1000, most)))
    except TypeError:
        pass
    raise unfit(name, seconds, "a number of seconds" + ("" if zero else " above 0"))


def integer(name: str, value: int, least: int = -INT64, most: int = INT64) -> int:
    """Check the parameter ``name``, a whole number: ctypes would silently cut off what does not fit."""
    try:
        number = operator.index(value)
    except TypeError:
        raise unfit(name, value, "a whole number") from None
    if number < least:
        raise unfit(name, number, f"a number of {least} or more")
    if number > most:
        raise unfit(name, number, f"a number up to {most}")
    return number


if TYPE_CHECKING:
    Finalizer = weakref.finalize[..., Any]


def finalizer(owner: object, function: Callable[..., Any], *args: Any) -> Finalizer:
    """Call a function when ``owner`` is garbage; not at the exit of the process, which ends everything faster by itself."""
    end = weakref.finalize(owner, function, *args)
    end.atexit = False  # type: ignore[misc]
    return end


def pointer(data: Any) -> tuple[Any, int]:
    """Return what ctypes takes as the address of a bytes-like object, and its length; without a copy where Python allows."""
    if type(data) is bytes:
        return data, len(data)
    if isinstance(data, str):
        raise TypeError("expected a bytes-like object, got str: encode it first")
    view = memoryview(data)
    if not view.c_contiguous or view.readonly:
        copy = view.tobytes()
        return copy, len(copy)
    if not view.nbytes:
        return None, 0
    return (ctypes.c_char * view.nbytes).from_buffer(view.cast("B") if view.format != "B" or view.ndim != 1 else view), view.nbytes
