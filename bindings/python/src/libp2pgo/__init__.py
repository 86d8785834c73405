"""A complete libp2p node for Python: asyncio first, a plain face in :mod:`libp2pgo.sync`.

::

    async with libp2pgo.Node() as node:
        print(node.id, *node.addresses)
        reply = await node.request(peer, "/sum/1", b"1 2 3", timeout=2.0)

Importing the package is cheap: its modules come with the first use of a name, the shared library with the first node.
"""

from __future__ import annotations

import logging as _logging
from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_logging.getLogger("libp2pgo").addHandler(_logging.NullHandler())

_WHERE = {
    "address": ("Component", "Multiaddr"),
    "cid": ("CID",),
    "config": ("Options", "schema"),
    "envelope": ("Envelope", "PeerRecord"),
    "errors": (
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
    ),
    "events": (
        "AddressesChanged",
        "Event",
        "Events",
        "ListenFailed",
        "PathChanged",
        "PeerConnected",
        "PeerDisconnected",
        "PeerFound",
        "PeerJoined",
        "PeerLeft",
        "PeerUnreachable",
        "TopicEvents",
    ),
    "gater": ("GateRequest", "Gatekeeper", "Gater"),
    "keys": ("NetworkKey", "PeerId", "PrivateKey", "PublicKey"),
    "node": ("Node", "Service"),
    "numbers": ("Bandwidth", "BandwidthInfo", "Metrics", "MetricsServer", "Perf", "PerfResult", "PerfServer"),
    "peer": ("Connection", "PeerInfo"),
    "pubsub": ("Message", "Subscription", "Topic", "Verdict"),
    "request": ("Request", "RequestStream"),
    "stream": ("Stream",),
}
_MODULE_OF = {name: module for module, names in _WHERE.items() for name in names}
_MODULES = (
    "address",
    "cid",
    "config",
    "envelope",
    "errors",
    "events",
    "gater",
    "keys",
    "log",
    "node",
    "numbers",
    "peer",
    "pubsub",
    "request",
    "stream",
    "sync",
)

if TYPE_CHECKING:
    from . import address, cid, config, envelope, errors, events, gater, keys, log, node, numbers, peer, pubsub, request, stream, sync
    from .address import Component, Multiaddr
    from .cid import CID
    from .config import Options, schema
    from .envelope import Envelope, PeerRecord
    from .errors import (
        AlreadyExists,
        Attempt,
        Busy,
        Cancelled,
        ClosedError,
        ConfigError,
        DialError,
        Error,
        ForkedProcessError,
        InternalError,
        InvalidArgument,
        LibraryError,
        LimitedConnection,
        ListenError,
        NodeClosed,
        NotEnoughPeers,
        NotFound,
        OutOfMemory,
        ParseError,
        PeerNotFound,
        PermissionDenied,
        ProtocolNotSupported,
        QueueFull,
        Refused,
        Rejected,
        RequestError,
        ResourceLimitExceeded,
        SecurityError,
        StateError,
        StreamClosed,
        StreamReset,
        SystemFailure,
        Timeout,
        TooBig,
        Unsupported,
    )
    from .events import (
        AddressesChanged,
        Event,
        Events,
        ListenFailed,
        PathChanged,
        PeerConnected,
        PeerDisconnected,
        PeerFound,
        PeerJoined,
        PeerLeft,
        PeerUnreachable,
        TopicEvents,
    )
    from .gater import Gatekeeper, Gater, GateRequest
    from .keys import NetworkKey, PeerId, PrivateKey, PublicKey
    from .node import Node, Service
    from .numbers import Bandwidth, BandwidthInfo, Metrics, MetricsServer, Perf, PerfResult, PerfServer
    from .peer import Connection, PeerInfo
    from .pubsub import Message, Subscription, Topic, Verdict
    from .request import Request, RequestStream
    from .stream import Stream

__all__ = [
    "AddressesChanged",
    "AlreadyExists",
    "Attempt",
    "Bandwidth",
    "BandwidthInfo",
    "Busy",
    "CID",
    "Cancelled",
    "ClosedError",
    "Component",
    "ConfigError",
    "Connection",
    "DialError",
    "Envelope",
    "Error",
    "Event",
    "Events",
    "ForkedProcessError",
    "GateRequest",
    "Gatekeeper",
    "Gater",
    "InternalError",
    "InvalidArgument",
    "LibraryError",
    "LimitedConnection",
    "ListenError",
    "ListenFailed",
    "Message",
    "Metrics",
    "MetricsServer",
    "Multiaddr",
    "NetworkKey",
    "Node",
    "NodeClosed",
    "NotEnoughPeers",
    "NotFound",
    "Options",
    "OutOfMemory",
    "ParseError",
    "PathChanged",
    "PeerConnected",
    "PeerDisconnected",
    "PeerFound",
    "PeerId",
    "PeerInfo",
    "PeerJoined",
    "PeerLeft",
    "PeerNotFound",
    "PeerRecord",
    "PeerUnreachable",
    "Perf",
    "PerfResult",
    "PerfServer",
    "PermissionDenied",
    "PrivateKey",
    "ProtocolNotSupported",
    "PublicKey",
    "QueueFull",
    "Refused",
    "Rejected",
    "Request",
    "RequestError",
    "RequestStream",
    "ResourceLimitExceeded",
    "SecurityError",
    "Service",
    "StateError",
    "Stream",
    "StreamClosed",
    "StreamReset",
    "Subscription",
    "SystemFailure",
    "Timeout",
    "TooBig",
    "Topic",
    "TopicEvents",
    "Unsupported",
    "Verdict",
    "address",
    "cid",
    "config",
    "envelope",
    "errors",
    "events",
    "gater",
    "keys",
    "log",
    "node",
    "numbers",
    "peer",
    "pubsub",
    "request",
    "schema",
    "stream",
    "sync",
]


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        value = getattr(_import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    elif name in _MODULES:
        value = _import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
