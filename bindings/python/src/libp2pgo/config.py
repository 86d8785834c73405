"""A node's options: the keys and types of the library's schema. :func:`schema` has ranges, defaults and a line on each."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, Iterable, List, Mapping, Sequence, TypedDict, Union, cast

from ._library import Library, encode, library, pointer
from .errors import ConfigError
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
    "HolePunchOptions",
    "MDNSOptions",
    "MetricsOptions",
    "NATOptions",
    "Options",
    "PrivateNetworkOptions",
    "PubsubGaterOptions",
    "PeerstoreOptions",
    "PubsubOptions",
    "PubsubScoreOptions",
    "RelayClientOptions",
    "RelayOptions",
    "RelayServiceOptions",
    "RendezvousOptions",
    "StreamOptions",
    "TopicScoreOptions",
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


class PeerstoreOptions(TypedDict, total=False):
    directory: str
    remember_ms: int


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
    store: str
    ttl_min_ms: int
    ttl_max_ms: int


class KeepOptions(TypedDict, total=False):
    retry_min_ms: int
    retry_max_ms: int


class PubsubScoreOptions(TypedDict, total=False):
    enabled: bool
    gossip_threshold: float
    publish_threshold: float
    graylist_threshold: float
    accept_px_threshold: float
    opportunistic_graft_threshold: float
    topic_cap: float
    app_weight: float
    ip_weight: float
    ip_threshold: int
    ip_whitelist: List[str]
    behaviour_weight: float
    behaviour_threshold: float
    behaviour_decay_ms: int
    decay_interval_ms: int
    decay_to_zero: float
    retain_ms: int
    inspect_ms: int


class PubsubGaterOptions(TypedDict, total=False):
    enabled: bool
    threshold: float
    global_decay_ms: int
    source_decay_ms: int
    quiet_ms: int
    retain_ms: int
    duplicate_weight: float
    ignore_weight: float
    reject_weight: float


class PubsubOptions(TypedDict, total=False):
    enabled: bool
    router: str
    random_size: int
    protocol_prefix: str
    signing: str
    author: str
    author_file: str
    message_id: str
    seen_ms: int
    seen_refresh: bool
    check_sequence: bool
    flood_publish: bool
    max_message_size: int
    max_control_size: int
    outbound_queue: int
    validate_queue: int
    validate_workers: int
    topics: List[str]
    max_subscriptions: int
    direct_peers: List[str]
    peer_exchange: bool
    d: int
    d_low: int
    d_high: int
    d_score: int
    d_out: int
    d_lazy: int
    gossip_factor: float
    heartbeat_ms: int
    heartbeat_delay_ms: int
    history_length: int
    history_gossip: int
    gossip_retransmission: int
    fanout_ms: int
    prune_peers: int
    prune_backoff_ms: int
    unsubscribe_backoff_ms: int
    graft_flood_ms: int
    connectors: int
    max_pending_connections: int
    connection_timeout_ms: int
    opportunistic_graft_ticks: int
    opportunistic_graft_peers: int
    max_ihave_length: int
    max_ihave_messages: int
    max_idontwant_length: int
    max_idontwant_messages: int
    idontwant_bytes: int
    idontwant_ttl: int
    iwant_followup_ms: int
    score: PubsubScoreOptions
    gater: PubsubGaterOptions


class TopicScoreOptions(TypedDict, total=False):
    """What counts for and against peers in a topic; not an option of a node."""

    weight: float
    time_in_mesh_weight: float
    time_in_mesh_quantum_ms: int
    time_in_mesh_cap: float
    first_deliveries_weight: float
    first_deliveries_decay_ms: int
    first_deliveries_cap: float
    mesh_deliveries_weight: float
    mesh_deliveries_decay_ms: int
    mesh_deliveries_cap: float
    mesh_deliveries_threshold: float
    mesh_deliveries_window_ms: int
    mesh_deliveries_activation_ms: int
    mesh_failure_weight: float
    mesh_failure_decay_ms: int
    invalid_messages_weight: float
    invalid_messages_decay_ms: int


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
    max_bytes: int
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


class HolePunchOptions(TypedDict, total=False):
    enabled: bool
    dial_timeout_ms: int
    history: int


class NATOptions(TypedDict, total=False):
    port_map: bool
    reachability: str
    autonat_service: bool
    autonat_service_rate: int
    autonat_service_peer_rate: int
    autonat_v2: bool
    hole_punch: HolePunchOptions


class RelayClientOptions(TypedDict, total=False):
    enabled: bool
    relays: List[str]
    from_peers: bool
    from_dht: bool
    when: str
    number: int
    boot_delay_ms: int
    interval_ms: int
    backoff_ms: int
    retry_min_ms: int
    retry_max_ms: int
    linger_ms: int


class RelayServiceOptions(TypedDict, total=False):
    enabled: bool
    when: str
    max_reservations: int
    max_reservations_per_ip: int
    max_reservations_per_asn: int
    max_circuits: int
    reservation_ms: int
    circuit_ms: int
    circuit_bytes: int
    buffer_bytes: int
    allow: List[str]
    deny: List[str]


class RelayOptions(TypedDict, total=False):
    client: RelayClientOptions
    service: RelayServiceOptions


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
    peerstore: PeerstoreOptions
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
    nat: NATOptions
    relay: RelayOptions


PathLike = Union[str, "os.PathLike[str]"]
Identity = Union[PathLike, PrivateKey, IdentityOptions, None]
PrivateNetwork = Union[PathLike, bytes, NetworkKey, PrivateNetworkOptions, None]
Bootstrap = Union[Sequence[str], BootstrapOptions, None]
MDNS = Union[bool, MDNSOptions, None]


class Document:
    """Options on their way to the library: a JSON document, and the secrets that must not stand in one."""

    def __init__(self, base: Options | str | None, given: Mapping[str, Any]) -> None:
        self.secrets: dict[str, bytes] = {}
        named = {name: self._plain(name, value) for name, value in given.items() if value is not None}
        if isinstance(base, str):
            if named:
                raise ValueError("give the options as one JSON text, or by name, not both")
            self.text = base
        elif base is None or isinstance(base, Mapping):
            options = {**(base or {}), **named}
            self.text = "{" + ", ".join(f"{json.dumps(name)}: {_json(name, value)}" for name, value in options.items()) + "}"
        else:
            raise ConfigError(f"config: expected options by name, or one JSON text, got {base!r}")

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
            return {"peers": _list(value)}
        elif name == "listen":
            return _list(value)
        return value

    def make(self, lib: Library) -> int:
        """Return the handle of a config. Raises ConfigError with the path of what is wrong."""
        config = lib.handle(lib.p2p_config_new, encode(self.text))
        try:
            for path, secret in self.secrets.items():
                lib.check(lib.p2p_config_set_secret(config, encode(path), *pointer(secret)))
        except BaseException:
            lib.p2p_close(config)
            raise
        return config


def _list(value: Any) -> Any:
    """One text or several as a list. The library has the words for what is neither."""
    if isinstance(value, str):
        return [value]
    return list(value) if isinstance(value, Iterable) and not isinstance(value, (bytes, bytearray, memoryview, Mapping)) else value


def _json(name: str, value: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name}: {error}") from None


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of all options."""
    lib = library()
    return cast("dict[str, Any]", lib.json(lib.p2p_config_schema))
