"""Numbers: what a node has and what it did, for people, programs and Prometheus; and how fast it is to a peer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._library import duration, encode, integer
from .peer import Addresses, Multiaddr, PeerId

if TYPE_CHECKING:
    from .node import Core, Node

__all__ = ["Bandwidth", "BandwidthInfo", "Metrics", "MetricsServer", "Perf", "PerfResult", "PerfServer"]


@dataclass(frozen=True)
class Bandwidth:
    """Bytes of streams; what encryption and multiplexing add is not in it."""

    bytes_in: int
    bytes_out: int
    rate_in: float
    """Bytes per second at present, smoothed over some seconds."""
    rate_out: float


@dataclass(frozen=True)
class BandwidthInfo:
    """The bytes of a node, those with the most first."""

    total: Bandwidth
    peers: dict[PeerId, Bandwidth]
    protocols: dict[str, Bandwidth]


class Metrics:
    """The numbers of a node, each its own: other nodes of the process do not show."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def text(self) -> str:
        """Return them in Prometheus' text format."""
        core = self._core
        return core.lib.text(core.lib.p2p_metrics, core.open(), b"prometheus")

    def json(self) -> dict[str, Any]:
        """Return them as ``{"node", "time_ms", "metrics": {name: {"type", "help", "samples": [{"labels", "value"}]}}}``."""
        core = self._core
        result: dict[str, Any] = core.lib.json(core.lib.p2p_metrics, core.open(), b"json")
        return result

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of one metric's samples that have these labels; of a histogram, their number.

        Raises KeyError for an unknown name.
        """
        samples = self.json()["metrics"][name]["samples"]
        matching = (s for s in samples if labels.items() <= s["labels"].items())
        return float(sum(s["value"] if "value" in s else s["count"] for s in matching))

    def bandwidth(self) -> BandwidthInfo:
        """Return how much went where. Raises StateError if the option ``metrics.bandwidth`` is off."""
        core = self._core
        info = core.lib.json(core.lib.p2p_bandwidth_info, core.open())
        return BandwidthInfo(
            total=_bandwidth(info["total"]),
            peers={PeerId(p["peer"]): _bandwidth(p) for p in info["peers"]},
            protocols={p["protocol"]: _bandwidth(p) for p in info["protocols"]},
        )

    def serve(self, address: str = "", *, max_connections: int | None = None) -> MetricsServer:
        """Serve them over HTTP, as ``/metrics`` and ``/metrics.json``, until closed.

        Args:
            address: ``host:port``; without a host at this machine's loopback, with port 0 at a free one.
            max_connections: connections at a time; default 16.

        Raises ListenError, with the address, if it is in use or cannot be bound; ParseError.
        """
        core = self._core
        options = {} if max_connections is None else {"max_connections": max_connections}
        handle = core.lib.handle(core.lib.p2p_metrics_serve, core.open(), encode(address, "address"), json.dumps(options).encode())
        return MetricsServer(core, handle)


def _bandwidth(known: dict[str, Any]) -> Bandwidth:
    return Bandwidth(int(known["in"]), int(known["out"]), float(known["rate_in"]), float(known["rate_out"]))


class _Server:
    """What runs on a node until closed, without events."""

    def __init__(self, core: Core, handle: int) -> None:
        self._lib = core.lib
        self._handle = handle

    def close(self) -> None:
        """End it."""
        self._lib.p2p_close(self._handle)

    def info(self) -> dict[str, Any]:
        """What the library knows of it."""
        result: dict[str, Any] = self._lib.json(self._lib.p2p_info, self._handle)
        return result

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


class MetricsServer(_Server):
    """An HTTP endpoint with a node's numbers, until :meth:`close`."""

    def __init__(self, core: Core, handle: int) -> None:
        super().__init__(core, handle)
        info = self.info()
        self.address: str = info["address"]
        """``host:port`` that it serves at."""
        self.url: str = info["url"]
        """Of the text that Prometheus scrapes."""

    def __repr__(self) -> str:
        return f"<MetricsServer {self.url}>"


class PerfServer(_Server):
    """Answers runs of the perf protocol, until :meth:`close`."""


@dataclass(frozen=True)
class PerfResult:
    """What a run took; times are seconds, rates bytes per second."""

    peer: PeerId
    address: Multiaddr
    transport: str
    security: str
    muxer: str
    relayed: bool
    upload_bytes: int
    download_bytes: int
    open_time: float
    """Until the stream was open, with the dial if there was one."""
    upload_time: float
    """From there until the first byte of the answer, or its end."""
    download_time: float
    """From there until its end."""
    upload_rate: float
    download_rate: float


class Perf:
    """The perf protocol, ``/perf/1.0.0``: how fast bytes travel between two nodes."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._core = node._core

    def serve(self, *, max_bytes: int | None = None, max_streams: int | None = None, timeout: float | None = None) -> PerfServer:
        """Swallow and send bytes for whoever asks, until closed. Raises AlreadyExists if the node does so already.

        Args:
            max_bytes: in each direction of a run; default 16 GiB.
            max_streams: runs at a time; default 16.
            timeout: seconds that a run may take; default 300.
        """
        core = self._core
        options = {
            "max_bytes": max_bytes,
            "max_streams": max_streams,
            "timeout_ms": duration("timeout", timeout),
        }
        given = {name: value for name, value in options.items() if value is not None}
        return PerfServer(core, core.lib.handle(core.lib.p2p_perf_serve, core.open(), json.dumps(given).encode()))

    async def run(
        self, peer: Addresses, *, upload: int = 0, download: int = 0, allow_limited: bool = False, timeout: float | None = 30.0
    ) -> PerfResult:
        """Send ``upload`` bytes to a peer, by id or addresses, that serves perf, fetch ``download`` bytes, and tell how long that took.

        Raises ProtocolNotSupported if the peer does not serve it; StreamReset if it will not transfer so much, or is busy.
        """
        core = self._core
        upload, download = integer("upload", upload, 0), integer("download", download, 0)
        named, timeout = await self._node._resolve(peer, timeout)
        options = b'{"allow_limited": true}' if allow_limited else None
        result = await core.here().call(core.lib.p2p_perf_run, core.open(), encode(named), upload, download, options, None, timeout=timeout)
        known = json.loads(result[3])
        return PerfResult(
            peer=PeerId(known["peer"]),
            address=Multiaddr(known["address"]),
            transport=known["transport"],
            security=known["security"],
            muxer=known["muxer"],
            relayed=known["relayed"],
            upload_bytes=known["upload_bytes"],
            download_bytes=known["download_bytes"],
            open_time=known["open_ms"] / 1000,
            upload_time=known["upload_ms"] / 1000,
            download_time=known["download_ms"] / 1000,
            upload_rate=known["upload_bytes_per_second"],
            download_rate=known["download_bytes_per_second"],
        )
