"""What is measured: the command lines of every contender, how a result is read, and what the project promises."""

from dataclasses import dataclass, field

MIB = 1 << 20

CONTENDERS = ("native", "c", "python", "node")


@dataclass(frozen=True)
class Scenario:
    """One row of the table: an exchange between two processes."""

    key: str
    title: str
    unit: str
    value: str
    """Names the function in VALUES that reads a result."""
    args: dict
    quick: dict
    """What differs in a quick run."""
    targets: dict = field(default_factory=dict)
    """Contender to the ratio against native that it has to reach (or, where lower is better, may have)."""
    lower: bool = False
    """Whether a smaller value is better."""
    absolute: bool = False
    """Whether a target is a value, not a ratio."""


def rate(result):
    return result["count"] / result["seconds"]


def throughput(result):
    return result["bytes"] / result["seconds"] / MIB


def delivered(result):
    # The receiver's clock runs from the first message to the last.
    return (result["received"] - 1) / result["seconds"] if result["received"] > 1 else 0.0


def lost(result):
    return result["sent"] - result["received"]


def p50(result):
    return result["p50_us"]


def p99(result):
    return result["p99_us"]


VALUES = {f.__name__: f for f in (rate, throughput, delivered, lost, p50, p99)}

_BULK = dict(scenario="bulk", size=64 << 10, bytes=1 << 30, seconds=3)
_BULK_QUICK = dict(bytes=16 << 20)
_BULK_TARGETS = dict(c=0.95, python=0.75, node=0.75)
_TRIP = dict(scenario="roundtrip", size=32, count=10000, seconds=3)
_TRIP_QUICK = dict(count=200)

SCENARIOS = (
    Scenario("bulk-tls", "bulk, TCP + TLS", "MiB/s", "throughput", {**_BULK, "security": "tls"}, _BULK_QUICK, _BULK_TARGETS),
    Scenario("bulk-noise", "bulk, TCP + Noise", "MiB/s", "throughput", {**_BULK, "security": "noise"}, _BULK_QUICK, _BULK_TARGETS),
    Scenario("bulk-quic", "bulk, QUIC", "MiB/s", "throughput", {**_BULK, "transport": "quic"}, _BULK_QUICK, _BULK_TARGETS),
    Scenario("trip-p50", "32 B round trip, median", "us", "p50", _TRIP, _TRIP_QUICK, dict(c=1.2, python=4, node=4), lower=True),
    Scenario("trip-p99", "32 B round trip, 99 %", "us", "p99", _TRIP, _TRIP_QUICK, lower=True),
    Scenario("request", "100 B request, in turn", "/s", "rate", dict(scenario="request", size=100, count=10000, seconds=3), dict(count=100)),
    Scenario(
        "request-32", "100 B request, 32 in flight", "/s", "rate",
        dict(scenario="request", size=100, count=40000, inflight=32, seconds=3), dict(count=300), dict(c=0.9, python=0.6, node=0.6),
    ),
    Scenario(
        "pubsub-signed", "pubsub, 256 B, signed", "/s", "delivered",
        dict(scenario="pubsub", size=256, count=20000, signing="sign"), dict(count=300), dict(c=0.9, python=0.9, node=0.9),
    ),
    Scenario(
        "pubsub-unsigned", "pubsub, 256 B, unsigned", "/s", "delivered",
        dict(scenario="pubsub", size=256, count=100000, signing="none"), dict(count=1000), dict(c=0.9, python=0.7, node=0.7),
    ),
    Scenario(
        "burst", "burst of 10,000, signed", "lost", "lost",
        dict(scenario="pubsub", size=100, count=10000, signing="sign"), dict(count=1000), dict(c=0, python=0, node=0), lower=True, absolute=True,
    ),
    Scenario(
        "burst-unsigned", "burst of 10,000, unsigned", "lost", "lost",
        dict(scenario="pubsub", size=100, count=10000, signing="none"), dict(count=1000), dict(c=0, python=0, node=0), lower=True, absolute=True,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """One row of the second table: what the library costs one process by itself."""

    key: str
    title: str
    unit: str
    scale: float = 1.0
    targets: dict = field(default_factory=dict)
    """Contender to the largest allowed value, in the row's unit."""


COSTS = (
    Cost("event_ns", "event delivered, 100 B", "us", 1e-3, dict(python=2.0, node=1.0)),
    Cost("noop_c_ns", "call that stays in C", "us", 1e-3),
    Cost("noop_go_ns", "call that enters Go", "us", 1e-3, dict(node=5.0)),
    Cost("import_ms", "import of the package", "ms", 1.0, dict(python=50.0)),
    Cost("load_ms", "load of the library", "ms"),
    Cost("first_node_ms", "first node", "ms"),
    Cost("rss_mib", "memory with one node", "MiB"),
)
