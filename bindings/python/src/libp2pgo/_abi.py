"""The ABI of ``include/libp2p.h`` in ctypes: constants, layouts and the function table. Nothing is loaded here.

The tests compare every name, number and signature below with the header, so a change there fails here first.
"""

from __future__ import annotations

import ctypes
import struct
from ctypes import POINTER, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any

ABI = 1
PENDING = 1

E_INVALID = -1
E_HANDLE = -2
E_KIND = -3
E_CONFIG = -4
E_PARSE = -5
E_CLOSED = -6
E_STATE = -7
E_EXISTS = -8
E_BUSY = -9
E_FORKED = -10
E_TIMEOUT = -11
E_CANCELLED = -12
E_AGAIN = -13
E_DIAL = -14
E_NO_ADDRESS = -15
E_NOT_FOUND = -16
E_REFUSED = -17
E_PROTOCOL = -18
E_RESET = -19
E_REMOTE = -20
E_SECURITY = -21
E_LISTEN = -22
E_LIMIT = -23
E_REJECTED = -24
E_TOO_BIG = -25
E_PERMISSION = -26
E_PEERS = -27
E_NOMEM = -28
E_SYSTEM = -29
E_UNSUPPORTED = -30
E_INTERNAL = -31
E_LIMITED = -32

KIND_QUEUE = 1
KIND_CONFIG = 2
KIND_NODE = 3
KIND_SERVICE = 4
KIND_STREAM = 5
KIND_EXCHANGE = 6
KIND_REQUEST = 7
KIND_TOPIC = 8
KIND_SUBSCRIPTION = 9
KIND_TOKEN = 10
KIND_SEARCH = 11
KIND_DISCOVERY = 12
KIND_RESERVATION = 13

EVENT_DONE = 1
EVENT_POST = 2
EVENT_DROPPED = 3
EVENT_CLOSED = 4
EVENT_LOG = 5
EVENT_PEER_CONNECTED = 10
EVENT_PEER_DISCONNECTED = 11
EVENT_PEER_PATH = 12
EVENT_PEER_FOUND = 13
EVENT_PEER_UNREACHABLE = 14
EVENT_ADDRESSES = 15
EVENT_LISTEN_FAILED = 16
EVENT_STREAM = 20
EVENT_STREAM_DATA = 21
EVENT_STREAM_END = 22
EVENT_STREAM_RESET = 23
EVENT_REQUEST = 30
EVENT_REQUEST_CANCELLED = 31
EVENT_MESSAGE = 40
EVENT_VALIDATE = 41
EVENT_TOPIC_JOINED = 42
EVENT_TOPIC_LEFT = 43
EVENT_PUBSUB_TRACE = 44
EVENT_PEER_GRAYLISTED = 45
EVENT_PEER_PARDONED = 46
EVENT_DISCOVERY_FOUND = 60
EVENT_DISCOVERY_ADVERTISED = 61
EVENT_DISCOVERY_FAILED = 62
EVENT_DISCOVERY_CONNECTED = 63
EVENT_DISCOVERY_LEFT = 64
EVENT_DISCOVERY_UNREACHABLE = 65
EVENT_GATE = 80
EVENT_REACHABILITY = 70
EVENT_ADDRESS_REACHABILITY = 71
EVENT_NAT_TYPE = 72
EVENT_HOLE_PUNCH = 73
EVENT_RESERVATION = 74
EVENT_PORT_MAPPING = 75
EVENT_DHT_VALIDATE = 50
EVENT_DHT_VALUE = 51
EVENT_DHT_PROVIDER = 52
EVENT_DHT_MODE = 53

FLAG_INBOUND = 1
FLAG_RELAYED = 2
FLAG_LIMITED = 4
FLAG_SIGNED = 8
FLAG_LOCAL = 16

VERDICT_ACCEPT = 0
VERDICT_REJECT = 1
VERDICT_IGNORE = 2


class Call(ctypes.Structure):
    """``p2p_call``: how a waiting function waits."""

    _fields_ = [("size", c_uint32), ("timeout_ms", c_int32), ("queue", c_uint64), ("tag", c_uint64)]


class Event(ctypes.Structure):
    """``p2p_event``. The pump unpacks arrays of it with :data:`EVENT` instead; this is the layout for checks."""

    _fields_ = [
        ("type", c_int32),
        ("status", c_int32),
        ("tag", c_uint64),
        ("subject", c_uint64),
        ("object", c_uint64),
        ("value", c_int64),
        ("flags", c_uint32),
        ("text_offset", c_uint32),
        ("text_length", c_uint32),
        ("data_offset", c_uint32),
        ("data_length", c_uint32),
        ("reserved", c_uint32),
    ]


EVENT = struct.Struct("=iiQQQqIIIIII")
"""One ``p2p_event``, in the order of the fields of :class:`Event`."""

CALL_SIZE = ctypes.sizeof(Call)

_handle = c_uint64
_handle_out = POINTER(c_uint64)
_text = c_char_p
_text_out = POINTER(c_void_p)
_bytes = c_void_p  # takes bytes, ctypes arrays and integer addresses without a copy
_bytes_out = POINTER(c_void_p)
_size_out = POINTER(c_size_t)
_call = POINTER(Call)

FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    # Library
    "p2p_abi": (c_int, ()),
    "p2p_version": (c_char_p, ()),
    "p2p_build_info": (c_int, (_text_out,)),
    "p2p_error_name": (c_char_p, (c_int,)),
    "p2p_last_error": (c_char_p, ()),
    "p2p_last_detail": (c_int64, ()),
    "p2p_free": (None, (c_void_p,)),
    "p2p_log_level": (c_int, (_text, _text)),
    "p2p_log_queue": (c_int, (_handle, c_uint64)),
    "p2p_log_fd": (c_int, (c_int, _text)),
    "p2p_log_file": (c_int, (_text, _text)),
    "p2p_crash_file": (c_int, (_text,)),
    "p2p_runtime_tune": (c_int, (c_int32, c_int64)),
    "p2p_runtime_info": (c_int, (_text_out,)),
    "p2p_live_handles": (c_int64, (c_int,)),
    # Handles
    "p2p_close": (c_int, (_handle,)),
    "p2p_kind": (c_int, (_handle,)),
    "p2p_parent": (c_int, (_handle, _handle_out)),
    "p2p_info": (c_int, (_handle, _text_out)),
    "p2p_cancel": (c_int, (_handle, c_uint64)),
    "p2p_answer": (c_int, (_handle, c_int)),
    # Queue
    "p2p_queue_new": (c_int, (c_size_t, _handle_out)),
    "p2p_queue_poll": (c_int, (_handle, c_void_p, c_int32, _bytes, c_size_t, c_int32)),
    "p2p_queue_fd": (c_int, (_handle, POINTER(c_int))),
    "p2p_queue_wake": (c_int, (_handle,)),
    "p2p_queue_post": (c_int, (_handle, c_uint64, c_int64, _bytes, c_size_t)),
    # Config
    "p2p_config_new": (c_int, (_text, _handle_out)),
    "p2p_config_set": (c_int, (_handle, _text, _text)),
    "p2p_config_set_secret": (c_int, (_handle, _text, _bytes, c_size_t)),
    "p2p_config_get": (c_int, (_handle, _text, _text_out)),
    "p2p_config_schema": (c_int, (_text_out,)),
    # Identity
    "p2p_key_new": (c_int, (_text, _bytes_out, _size_out)),
    "p2p_key_peer_id": (c_int, (_bytes, c_size_t, _text_out)),
    # Node
    "p2p_node_new": (c_int, (_handle, _handle, c_uint64, _handle_out, _call)),
    "p2p_node_close": (c_int, (_handle, _call)),
    "p2p_node_id": (c_int, (_handle, _text_out)),
    "p2p_node_addresses": (c_int, (_handle, _text_out)),
    # Peers
    "p2p_peer_connect": (c_int, (_handle, _text, _text_out, _call)),
    "p2p_peer_disconnect": (c_int, (_handle, _text)),
    "p2p_peer_list": (c_int, (_handle, _text_out)),
    "p2p_peer_info": (c_int, (_handle, _text, _text_out)),
    "p2p_peer_ping": (c_int, (_handle, _text, POINTER(c_int64), _call)),
    "p2p_peer_keep": (c_int, (_handle, _text)),
    "p2p_peer_release": (c_int, (_handle, _text)),
    # Streams
    "p2p_stream_serve": (c_int, (_handle, _text, _text, _handle, c_uint64, _handle_out)),
    "p2p_stream_open": (c_int, (_handle, _text, _text, _text, _handle_out, _call)),
    "p2p_stream_read": (c_int64, (_handle, _bytes, c_size_t, _call)),
    "p2p_stream_write": (c_int64, (_handle, _bytes, c_size_t, _call)),
    "p2p_stream_read_message": (c_int, (_handle, c_size_t, _bytes_out, _size_out, _call)),
    "p2p_stream_write_message": (c_int64, (_handle, _bytes, c_size_t, _call)),
    "p2p_stream_close_write": (c_int, (_handle, _call)),
    "p2p_stream_close_read": (c_int, (_handle,)),
    "p2p_stream_reset": (c_int, (_handle, c_uint32)),
    "p2p_stream_deadline": (c_int, (_handle, c_int32, c_int32)),
    "p2p_stream_watch": (c_int, (_handle, _handle, c_uint64, c_size_t, c_size_t)),
    "p2p_stream_credit": (c_int, (_handle, c_size_t)),
    "p2p_stream_fd": (c_int, (_handle, POINTER(c_int))),
    # Requests
    "p2p_request_send": (c_int, (_handle, _text, _text, _bytes, c_size_t, _text, _bytes_out, _size_out, _call)),
    "p2p_request_open": (c_int, (_handle, _text, _text, _bytes, c_size_t, _text, _handle_out, _call)),
    "p2p_request_next": (c_int, (_handle, _bytes_out, _size_out, _call)),
    "p2p_request_serve": (c_int, (_handle, _text, _text, _handle, c_uint64, _handle_out)),
    "p2p_request_respond": (c_int, (_handle, _bytes, c_size_t, c_int, _call)),
    "p2p_request_fail": (c_int, (_handle, c_int32, _text)),
    # Pubsub
    "p2p_topic_join": (c_int, (_handle, _text, _text, _handle, c_uint64, _handle_out)),
    "p2p_topic_publish": (c_int, (_handle, _bytes, c_size_t, c_int32, _call)),
    "p2p_topic_subscribe": (c_int, (_handle, _text, _handle, c_uint64, _handle_out)),
    "p2p_topic_peers": (c_int, (_handle, _text_out)),
    # Pubsub control
    "p2p_topic_publish_batch": (c_int, (_handle, _bytes, c_size_t, c_int32, POINTER(c_int), _call)),
    "p2p_topic_score_set": (c_int, (_handle, _text)),
    "p2p_pubsub_info": (c_int, (_handle, _text_out)),
    "p2p_pubsub_score_set": (c_int, (_handle, _text, c_int64)),
    "p2p_pubsub_block": (c_int, (_handle, _text)),
    "p2p_pubsub_unblock": (c_int, (_handle, _text)),
    "p2p_pubsub_direct_add": (c_int, (_handle, _text)),
    "p2p_pubsub_direct_remove": (c_int, (_handle, _text)),
    "p2p_pubsub_trace": (c_int, (_handle, _text, _handle, c_uint64, _handle_out)),
    # NAT
    "p2p_nat_info": (c_int, (_handle, _text_out)),
    "p2p_nat_wait": (c_int, (_handle, _text, _text_out, _call)),
    # Relay
    "p2p_relay_reserve": (c_int, (_handle, _text, _handle, c_uint64, _handle_out, _text_out, _call)),
    "p2p_relay_info": (c_int, (_handle, _text_out)),
    "p2p_relay_allow": (c_int, (_handle, _text)),
    "p2p_relay_deny": (c_int, (_handle, _text)),
    "p2p_relay_forget": (c_int, (_handle, _text)),
    # Listening
    "p2p_node_listen": (c_int, (_handle, _text, _text_out)),
    "p2p_node_unlisten": (c_int, (_handle, _text)),
    "p2p_node_announce": (c_int, (_handle, _text)),
    # Gating
    "p2p_gate_block": (c_int, (_handle, _text)),
    "p2p_gate_allow": (c_int, (_handle, _text)),
    "p2p_gate_remove": (c_int, (_handle, _text)),
    "p2p_gate_default": (c_int, (_handle, _text)),
    "p2p_gate_list": (c_int, (_handle, _text_out)),
    "p2p_gate_ask": (c_int, (_handle, _text, _handle, c_uint64, _handle_out)),
    # Numbers
    "p2p_metrics": (c_int, (_handle, _text, _text_out)),
    "p2p_metrics_serve": (c_int, (_handle, _text, _text, _handle_out)),
    "p2p_bandwidth_info": (c_int, (_handle, _text_out)),
    "p2p_perf_serve": (c_int, (_handle, _text, _handle_out)),
    "p2p_perf_run": (c_int, (_handle, _text, c_int64, c_int64, _text, _text_out, _call)),
    # Keys
    "p2p_key_import": (c_int, (_bytes, c_size_t, _text, _text, _bytes_out, _size_out)),
    "p2p_key_export": (c_int, (_bytes, c_size_t, _text, _bytes_out, _size_out)),
    "p2p_key_public": (c_int, (_bytes, c_size_t, _bytes_out, _size_out)),
    "p2p_key_sign": (c_int, (_bytes, c_size_t, _bytes, c_size_t, _bytes_out, _size_out)),
    "p2p_pubkey_import": (c_int, (_bytes, c_size_t, _text, _text, _bytes_out, _size_out)),
    "p2p_pubkey_export": (c_int, (_bytes, c_size_t, _text, _bytes_out, _size_out)),
    "p2p_pubkey_info": (c_int, (_bytes, c_size_t, _text_out)),
    "p2p_pubkey_verify": (c_int, (_bytes, c_size_t, _bytes, c_size_t, _bytes, c_size_t)),
    "p2p_id_info": (c_int, (_text, _text_out)),
    "p2p_id_bytes": (c_int, (_text, _bytes_out, _size_out)),
    "p2p_id_text": (c_int, (_bytes, c_size_t, _text_out)),
    "p2p_id_public_key": (c_int, (_text, _bytes_out, _size_out)),
    "p2p_envelope_seal": (c_int, (_bytes, c_size_t, _text, _bytes, c_size_t, _bytes, c_size_t, _bytes_out, _size_out)),
    "p2p_envelope_open": (c_int, (_bytes, c_size_t, _text, _bytes_out, _size_out, _text_out)),
    "p2p_record_seal": (c_int, (_bytes, c_size_t, _text, c_uint64, _bytes_out, _size_out)),
    "p2p_record_open": (c_int, (_bytes, c_size_t, _text_out)),
    "p2p_network_key_new": (c_int, (_text_out,)),
    "p2p_network_key_parse": (c_int, (_bytes, c_size_t, _bytes_out, _size_out)),
    "p2p_network_key_text": (c_int, (_bytes, c_size_t, _text_out)),
    "p2p_network_key_fingerprint": (c_int, (_bytes, c_size_t, _text_out)),
    # Addresses
    "p2p_address_info": (c_int, (_text, _text_out)),
    "p2p_address_bytes": (c_int, (_text, _bytes_out, _size_out)),
    "p2p_address_text": (c_int, (_bytes, c_size_t, _text_out)),
    "p2p_address_join": (c_int, (_text, _text_out)),
    "p2p_address_decapsulate": (c_int, (_text, _text, _text_out)),
    "p2p_address_split": (c_int, (_text, _text_out)),
    "p2p_address_resolve": (c_int, (_text, _text, _text_out, _call)),
    # CIDs
    "p2p_cid_make": (c_int, (_bytes, c_size_t, _text, _text_out)),
    "p2p_cid_info": (c_int, (_text, _text_out)),
    "p2p_cid_text": (c_int, (_text, _text, _text_out)),
    "p2p_cid_bytes": (c_int, (_text, _bytes_out, _size_out)),
    "p2p_cid_parse": (c_int, (_bytes, c_size_t, _text_out)),
    "p2p_cid_verify": (c_int, (_text, _bytes, c_size_t)),
    # Discovery
    "p2p_discovery_join": (c_int, (_handle, _text, _text, _handle, c_uint64, _handle_out)),
    "p2p_discovery_peers": (c_int, (_handle, _text_out)),
    "p2p_discovery_advertise": (c_int, (_handle, _text, _text, _handle, c_uint64, _handle_out)),
    "p2p_discovery_find": (c_int, (_handle, _text, _text, _handle, c_uint64, _handle_out)),
    "p2p_rendezvous_register": (c_int, (_handle, _text, _text, _text, _handle, c_uint64, _handle_out, _call)),
    "p2p_rendezvous_unregister": (c_int, (_handle, _text, _text, _call)),
    "p2p_rendezvous_discover": (c_int, (_handle, _text, _text, _text, _text_out, _call)),
    # Trimming
    "p2p_peer_tag": (c_int, (_handle, _text, _text, c_int32)),
    "p2p_peer_untag": (c_int, (_handle, _text, _text)),
    "p2p_peer_protect": (c_int, (_handle, _text, _text)),
    "p2p_peer_unprotect": (c_int, (_handle, _text, _text)),
    "p2p_peer_trim": (c_int, (_handle, c_int32, _call)),
    "p2p_node_watermarks": (c_int, (_handle, c_int32, c_int32, c_int32)),
    # Limits
    "p2p_limits_info": (c_int, (_handle, _text_out)),
    # Diagnosis
    "p2p_peer_explain": (c_int, (_handle, _text, _text, _text_out, _call)),
    # DHT
    "p2p_dht_bootstrap": (c_int, (_handle, c_int32, _call)),
    "p2p_dht_put": (c_int, (_handle, _text, _bytes, c_size_t, _text, _call)),
    "p2p_dht_get": (c_int, (_handle, _text, _text, _bytes_out, _size_out, _call)),
    "p2p_dht_search": (c_int, (_handle, _text, _text, _handle, c_uint64, _handle_out)),
    "p2p_dht_set": (c_int, (_handle, _text, _bytes, c_size_t, _text, _call)),
    "p2p_dht_unset": (c_int, (_handle, _text, _call)),
    "p2p_dht_provide": (c_int, (_handle, _text, _call)),
    "p2p_dht_provide_start": (c_int, (_handle, _text, _call)),
    "p2p_dht_provide_stop": (c_int, (_handle, _text, _call)),
    "p2p_dht_find_providers": (c_int, (_handle, _text, _text, _handle, c_uint64, _handle_out)),
    "p2p_dht_find_peer": (c_int, (_handle, _text, _text_out, _call)),
    "p2p_dht_closest_peers": (c_int, (_handle, _text, _text_out, _call)),
    "p2p_dht_refresh": (c_int, (_handle, _call)),
    "p2p_dht_mode": (c_int, (_handle, _text)),
    "p2p_dht_info": (c_int, (_handle, _text_out)),
    # Peerstore
    "p2p_peer_add": (c_int, (_handle, _text, c_int64, _text_out)),
    "p2p_peer_forget": (c_int, (_handle, _text)),
    "p2p_peer_known": (c_int, (_handle, _text_out)),
    "p2p_peer_put": (c_int, (_handle, _text, _text, _bytes, c_size_t)),
    "p2p_peer_get": (c_int, (_handle, _text, _text, _bytes_out, _size_out)),
    "p2p_peer_record": (c_int, (_handle, _text, _bytes_out, _size_out)),
    "p2p_peer_add_record": (c_int, (_handle, _bytes, c_size_t, c_int64, _text_out)),
}
"""Every function of the header: name to (result, parameters)."""
