"""What can go wrong, as exceptions.

::

    Error                           .code, the library's number for it; .code_name, that number's name
     ├── InvalidArgument            also ValueError
     ├── ClosedError                also RuntimeError: used after, or closed during, the call
     │    ├── NodeClosed
     │    └── StreamClosed          also EOFError
     ├── ConfigError                also ValueError; .path of the option
     ├── ParseError                 also ValueError: malformed address, peer id or key
     ├── StateError                 also RuntimeError
     ├── AlreadyExists              also ValueError
     ├── Busy, Cancelled, QueueFull
     ├── ForkedProcessError         also RuntimeError
     ├── Timeout                    also TimeoutError
     ├── DialError                  also ConnectionError; .attempts (of every Error), each address and why it failed
     ├── PeerNotFound, NotFound     also LookupError
     ├── Refused                    also ConnectionRefusedError
     ├── ProtocolNotSupported
     ├── StreamReset                also ConnectionResetError; .reason, the peer's number
     ├── RequestError               .reason, .words of the remote handler; raise it in a handler to answer so
     ├── SecurityError              also ConnectionError
     ├── ListenError                also OSError
     ├── ResourceLimitExceeded, NotEnoughPeers
     ├── Rejected, TooBig           also ValueError
     ├── PermissionDenied           also PermissionError
     ├── OutOfMemory                also MemoryError
     ├── SystemFailure              also OSError
     ├── Unsupported                also NotImplementedError
     ├── LimitedConnection          also ConnectionError
     ├── InternalError              also RuntimeError
     └── LibraryError               also ImportError: libp2pgo.so missing, or not for this system
"""

from __future__ import annotations

import re
import sys
from typing import Any, NamedTuple

from . import _abi

__all__ = [
    "AlreadyExists",
    "Attempt",
    "Busy",
    "Cancelled",
    "ClosedError",
    "ConfigError",
    "DialError",
    "Error",
    "ForkedProcessError",
    "InternalError",
    "InvalidArgument",
    "LibraryError",
    "LimitedConnection",
    "ListenError",
    "NodeClosed",
    "NotEnoughPeers",
    "NotFound",
    "OutOfMemory",
    "ParseError",
    "PeerNotFound",
    "PermissionDenied",
    "ProtocolNotSupported",
    "QueueFull",
    "Refused",
    "Rejected",
    "RequestError",
    "ResourceLimitExceeded",
    "SecurityError",
    "StateError",
    "StreamClosed",
    "StreamReset",
    "SystemFailure",
    "Timeout",
    "TooBig",
    "Unsupported",
]

_NAMES = {value: f"P2P_{name}" for name, value in vars(_abi).items() if name.startswith("E_")}


class Attempt(NamedTuple):
    """One address that was tried, and why it failed."""

    address: str
    reason: str


class Error(Exception):
    """The root of all exceptions of this package."""

    code: int = 0
    """The library's number, one of the ``P2P_E_`` codes of libp2p.h."""

    words: str
    """What happened to which thing, in the library's words."""

    detail: int
    """A number that belongs to the error: the peer's reset code, the size needed; else 0."""

    def __init__(self, words: str = "", *, code: int | None = None, detail: int = 0) -> None:
        super().__init__(words)
        self.words = words
        self.detail = detail
        if code is not None:
            self.code = code

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The addresses tried and why each failed, when dialling a peer failed in whatever way; else empty."""
        listed = re.search(r"(?:addresses answered|did not answer): (?=/)(.*)", self.words, re.DOTALL)
        if listed is None:
            return ()
        parts = (part.partition(" ") for part in re.split(r"; (?=/)", listed[1]))
        return tuple(Attempt(address, reason) for address, _, reason in parts)

    @property
    def code_name(self) -> str:
        """The code's name in libp2p.h, ``"P2P_E_DIAL"``."""
        return _NAMES.get(self.code, "P2P_E_UNKNOWN")

    def __str__(self) -> str:
        return self.words or self.code_name

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.words, self.code, self.detail)


class InvalidArgument(Error, ValueError):
    """An argument is not allowed here."""

    code = _abi.E_INVALID


class ClosedError(Error, RuntimeError):
    """What the call was made on is closed, or was closed while the call waited."""

    code = _abi.E_CLOSED


class NodeClosed(ClosedError):
    """The node is closed, or not started yet."""


class StreamClosed(ClosedError, EOFError):
    """The stream was closed on this side, or ended before all that was asked for had arrived (``.partial``)."""

    partial: bytes = b""
    """What did arrive."""


class ConfigError(Error, ValueError):
    """An option is unknown, mistyped, out of range or in conflict with another one."""

    code = _abi.E_CONFIG

    @property
    def path(self) -> str:
        """Where the option stands, ``"pubsub.d"``."""
        return self.words.split(":", 1)[0].strip()


class ParseError(Error, ValueError):
    """An address, a peer id or a key is malformed."""

    code = _abi.E_PARSE


class StateError(Error, RuntimeError):
    """Not possible in the present state."""

    code = _abi.E_STATE


class AlreadyExists(Error, ValueError):
    """The protocol is served, or the topic joined, already."""

    code = _abi.E_EXISTS


class Busy(Error):
    """The service has too many requests, or somebody else is doing this."""

    code = _abi.E_BUSY


class ForkedProcessError(Error, RuntimeError):
    """This process was forked from one that had loaded the library: start it with spawn or forkserver, or load in the child only."""

    code = _abi.E_FORKED


if sys.version_info >= (3, 11):

    class Timeout(Error, TimeoutError):
        """Time is up."""

        code = _abi.E_TIMEOUT

else:
    import asyncio

    class Timeout(Error, asyncio.TimeoutError, TimeoutError):
        """Time is up."""

        code = _abi.E_TIMEOUT


class Cancelled(Error):
    """Ended by the remote. (Cancelling a task raises asyncio.CancelledError as always.)"""

    code = _abi.E_CANCELLED


class QueueFull(Error):
    """Nothing fits at the moment; try later."""

    code = _abi.E_AGAIN


class DialError(Error, ConnectionError):
    """No address of the peer answered; ``.attempts`` has each of them, and why it failed."""

    code = _abi.E_DIAL


class PeerNotFound(Error, LookupError):
    """No address is known for the peer."""

    code = _abi.E_NO_ADDRESS


class NotFound(Error, LookupError):
    """Nothing by that name."""

    code = _abi.E_NOT_FOUND


class Refused(Error, ConnectionRefusedError):
    """The peer turned it away."""

    code = _abi.E_REFUSED


class ProtocolNotSupported(Error):
    """The peer speaks none of the protocols."""

    code = _abi.E_PROTOCOL


class StreamReset(Error, ConnectionResetError):
    """The stream was given up before its end."""

    code = _abi.E_RESET

    @property
    def reason(self) -> int:
        """The number the peer gave, 0 for none."""
        return self.detail


class RequestError(Error):
    """The remote handler answered with an error. A handler raises it to answer so: ``raise RequestError(404, "no such file")``."""

    code = _abi.E_REMOTE

    def __init__(self, reason: int = 0, words: str = "") -> None:
        super().__init__(words, detail=reason)

    @property
    def reason(self) -> int:
        """The handler's number."""
        return self.detail

    def __str__(self) -> str:
        return f"{self.words} ({self.reason})" if self.words else str(self.reason)


class SecurityError(Error, ConnectionError):
    """Another peer answered than the one asked for, the handshake failed, or a signature is wrong."""

    code = _abi.E_SECURITY


class ListenError(Error, OSError):
    """An address is taken or cannot be bound."""

    code = _abi.E_LISTEN


class ResourceLimitExceeded(Error):
    """A limit is reached; the words name it."""

    code = _abi.E_LIMIT


class Rejected(Error, ValueError):
    """The message breaks a rule of its topic."""

    code = _abi.E_REJECTED


class TooBig(Error, ValueError):
    """Larger than allowed."""

    code = _abi.E_TOO_BIG


class PermissionDenied(Error, PermissionError):
    """The key file cannot be read, or others can read it."""

    code = _abi.E_PERMISSION


class NotEnoughPeers(Error):
    """Fewer peers than asked for are subscribed."""

    code = _abi.E_PEERS


class OutOfMemory(Error, MemoryError):
    """The library found no memory."""

    code = _abi.E_NOMEM


class SystemFailure(Error, OSError):
    """The operating system refused."""

    code = _abi.E_SYSTEM


class Unsupported(Error, NotImplementedError):
    """Not available in this build, or here."""

    code = _abi.E_UNSUPPORTED


class InternalError(Error, RuntimeError):
    """A bug in the library; its stack is in the log."""

    code = _abi.E_INTERNAL


class LimitedConnection(Error, ConnectionError):
    """Only a limited relayed connection to the peer exists."""

    code = _abi.E_LIMITED


class LibraryError(Error, ImportError):
    """The shared library was not found, does not load on this system, or has another ABI."""


for _class in list(vars().values()):
    # A traceback names the public place, libp2pgo.DialError, not this module.
    if isinstance(_class, type) and issubclass(_class, Error):
        _class.__module__ = "libp2pgo"

_BY_CODE: dict[int, type[Error]] = {
    cls.code: cls
    for cls in (
        InvalidArgument,
        ClosedError,
        ConfigError,
        ParseError,
        StateError,
        AlreadyExists,
        Busy,
        ForkedProcessError,
        Timeout,
        Cancelled,
        QueueFull,
        DialError,
        PeerNotFound,
        NotFound,
        Refused,
        ProtocolNotSupported,
        StreamReset,
        RequestError,
        SecurityError,
        ListenError,
        ResourceLimitExceeded,
        Rejected,
        TooBig,
        PermissionDenied,
        NotEnoughPeers,
        OutOfMemory,
        SystemFailure,
        Unsupported,
        InternalError,
        LimitedConnection,
    )
}
_BY_CODE[_abi.E_HANDLE] = ClosedError
_BY_CODE[_abi.E_KIND] = InvalidArgument


def _rebuild(cls: type[Error], words: str, code: int, detail: int) -> Error:
    if issubclass(cls, RequestError):
        return cls(detail, words)
    return cls(words, code=code, detail=detail)


def from_code(code: int, words: str, detail: int = 0) -> Error:
    """Make the exception for a library code."""
    return _rebuild(_BY_CODE.get(code, Error), words, code, detail)
