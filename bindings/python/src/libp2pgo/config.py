"""A node's options: the keys and types of the library's schema. :func:`schema` has ranges, defaults and a line on each."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, List, Mapping, Sequence, TypedDict, Union, cast

from ._library import Library, encode, library, pointer
from .keys import NetworkKey, PrivateKey

__all__ = [
    "AddressesOptions",
    "BootstrapOptions",
    "ConnectionsOptions",
    "DHTOptions",
    "DialOptions",
    "EventsOptions",
    "GatingOptions",
    "IdentifyOptions",
    "IdentityOptions",
    "KeepOptions",
    "LimitsOptions",
    "MDNSOptions",
    "MetricsOptions",
    "Options",
    "PrivateNetworkOptions",
    "PubsubOptions",
    "RendezvousOptions",
    "StreamOptions",
    "TransportsOptions",
    "WebSocketOptions",
    "YamuxOptions",
    "schema",
]


class IdentityOptions(TypedDict, total=False):
    file: str
    type: str


class AddressesOptions(TypedDict, total=False):
    announce: List[str]
    append: List[str]
    hide: List[str]


class TransportsOptions(TypedDict, total=False):
    tcp: bool
    quic: bool
    websocket: bool
    webtransport: bool
    webrtc_direct: bool
    share_tcp: bool


class WebSocketOptions(TypedDict, total=False):
    cert_file: str
    key_file: str


class YamuxOptions(TypedDict, total=False):
    window_bytes: int
    keepalive_ms: int


class PrivateNetworkOptions(TypedDict, total=False):
    file: str


class LimitsOptions(TypedDict, total=False):
    preset: str
    streams_per_peer: int
    connections: int
    connections_per_ip: int
    connection_rate: float
    memory_bytes: int
    file_descriptors: int
    exact: Union[Dict[str, Any], None]


class GatingOptions(TypedDict, total=False):
    block: List[str]
    allow: List[str]
    default: str


class ConnectionsOptions(TypedDict, total=False):
    low: int
    high: int
    grace_ms: int


class DialOptions(TypedDict, total=False):
    timeout_ms: int


class MDNSOptions(TypedDict, total=False):
    enabled: bool
    service: str
    connect: bool


class BootstrapOptions(TypedDict, total=False):
    peers: List[str]
    retry_min_ms: int
    retry_max_ms: int


class RendezvousOptions(TypedDict, total=False):
    server: bool
    points: List[str]
    max_registrations: int
    max_per_peer: int
    max_namespace: int
    max_results: int
    max_streams: int
    ttl_min_ms: int
    ttl_max_ms: int


class KeepOptions(TypedDict, total=False):
    retry_min_ms: int
    retry_max_ms: int


class PubsubOptions(TypedDict, total=False):
    enabled: bool
    signing: str
    d: int
    d_low: int
    d_high: int
    d_lazy: int
    heartbeat_ms: int
    flood_publish: bool
    max_message_size: int
    outbound_queue: int
    validate_queue: int
    validate_workers: int


class DHTOptions(TypedDict, total=False):
    mode: str
    prefix: str
    network: str
    bucket_size: int
    concurrency: int
    resiliency: int
    refresh_ms: int
    refresh_timeout_ms: int
    record_age_ms: int
    provider_age_ms: int
    reprovide_ms: int
    republish_ms: int
    max_value_size: int
    store: str
    validators: List[str]
    validate_timeout_ms: int
    validate_default: str
    validate_capacity: int


class IdentifyOptions(TypedDict, total=False):
    agent: str


class EventsOptions(TypedDict, total=False):
    capacity: int


class StreamOptions(TypedDict, total=False):
    write_buffer: int


class MetricsOptions(TypedDict, total=False):
    bandwidth: bool
    peers: int
    protocols: int


class Options(TypedDict, total=False):
    """The whole document."""

    identity: IdentityOptions
    listen: Union[List[str], None]
    listen_require: str
    addresses: AddressesOptions
    transports: TransportsOptions
    websocket: WebSocketOptions
    security: List[str]
    yamux: YamuxOptions
    private_network: PrivateNetworkOptions
    limits: LimitsOptions
    gating: GatingOptions
    connections: ConnectionsOptions
    dial: DialOptions
    mdns: MDNSOptions
    bootstrap: BootstrapOptions
    rendezvous: RendezvousOptions
    keep: KeepOptions
    pubsub: PubsubOptions
    dht: DHTOptions
    identify: IdentifyOptions
    events: EventsOptions
    stream: StreamOptions
    metrics: MetricsOptions


PathLike = Union[str, "os.PathLike[str]"]
Identity = Union[PathLike, PrivateKey, IdentityOptions, None]
PrivateNetwork = Union[PathLike, bytes, NetworkKey, PrivateNetworkOptions, None]
Bootstrap = Union[Sequence[str], BootstrapOptions, None]
MDNS = Union[bool, MDNSOptions, None]


class Document:
    """Options on their way to the library: a JSON document, and the secrets that must not stand in one."""

    def __init__(self, base: Options | str | None, given: Mapping[str, Any]) -> None:
        self.secrets: dict[str, bytes] = {}
        self.text = base if isinstance(base, str) else None
        self.options: dict[str, Any] = {} if base is None or isinstance(base, str) else dict(base)
        for name, value in given.items():
            if value is not None:
                self.options[name] = self._plain(name, value)
        if self.text is not None and self.options:
            raise ValueError("give the options as one JSON text, or by name, not both")

    def _plain(self, name: str, value: Any) -> Any:
        if name == "identity":
            if isinstance(value, PrivateKey):
                self.secrets["identity.key"] = bytes(value)
                return {}
            if isinstance(value, (str, os.PathLike)):
                return {"file": os.fspath(value)}
        elif name == "private_network":
            if isinstance(value, (bytes, NetworkKey)):
                self.secrets["private_network.key"] = bytes(value)
                return {}
            if isinstance(value, (str, os.PathLike)):
                return {"file": os.fspath(value)}
        elif name == "mdns" and isinstance(value, bool):
            return {"enabled": value}
        elif name == "bootstrap" and not isinstance(value, Mapping):
            return {"peers": [value] if isinstance(value, str) else list(value)}
        elif name == "listen":
            return [value] if isinstance(value, str) else list(value)
        return value

    def make(self, lib: Library) -> int:
        """Return the handle of a config. Raises ConfigError with the path of what is wrong."""
        text = self.text if self.text is not None else json.dumps(self.options)
        config = lib.handle(lib.p2p_config_new, encode(text))
        try:
            for path, secret in self.secrets.items():
                lib.check(lib.p2p_config_set_secret(config, encode(path), *pointer(secret)))
        except BaseException:
            lib.p2p_close(config)
            raise
        return config


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of all options."""
    lib = library()
    return cast("dict[str, Any]", lib.json(lib.p2p_config_schema))
