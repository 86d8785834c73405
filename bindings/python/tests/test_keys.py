"""Keys, what they sign, addresses and CIDs, against what others wrote (tests/vectors)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
import threading
import time
from pathlib import Path
from typing import Any, Iterator

import pytest

import libp2pgo
from helpers import NOBODY, ROOT, node
from libp2pgo import CID, Envelope, Multiaddr, NetworkKey, PeerId, PeerRecord, PrivateKey, PublicKey, _library, sync

VECTORS: dict[str, Any] = json.loads((ROOT / "tests" / "vectors" / "keys.json").read_text())
KEYS = {key["type"]: key for key in VECTORS["keys"]}
MESSAGE = bytes.fromhex(VECTORS["message"])
every_type = pytest.mark.parametrize("vector", KEYS.values(), ids=list(KEYS))


def forms(vector: dict[str, Any]) -> dict[str, bytes]:
    """A key in every format."""
    return {
        "protobuf": bytes.fromhex(vector["private"]),
        "base64": vector["base64"].encode(),
        "pem": vector["pem"].encode(),
        "raw": bytes.fromhex(vector["raw"]),
    }


@every_type
def test_a_key_is_read_and_written_in_every_format(vector: dict[str, Any]) -> None:
    for format, data in forms(vector).items():
        key = PrivateKey.parse(data, format=format, type=vector["type"])
        assert (key.type, key.peer_id, key.peer_id.cid) == (vector["type"], vector["peer"], vector["cid"])
        assert PrivateKey.parse(key.export(format), format=format, type=vector["type"]) == key
        if format != "raw":
            assert PrivateKey.parse(data) == key
    assert bytes(key.public_key) == bytes.fromhex(vector["public"])


@every_type
def test_a_public_key_is_read_and_written_in_every_format(vector: dict[str, Any]) -> None:
    key = PublicKey(bytes.fromhex(vector["public"]))
    assert (key.type, key.peer_id) == (vector["type"], vector["peer"])
    assert key.export("pem").decode() == vector["public_pem"]
    assert key.export("raw").hex() == vector["public_raw"]
    for format in ("protobuf", "base64", "pem", "raw"):
        assert PublicKey.parse(key.export(format), format=format, type=vector["type"]) == key
    assert len({key, PublicKey.parse(vector["public_pem"])}) == 1


@every_type
def test_signatures(vector: dict[str, Any]) -> None:
    key = PrivateKey.parse(vector["pem"])
    signature = key.sign(memoryview(MESSAGE))
    for good in (signature, bytes.fromhex(vector["signature"])):
        assert key.public_key.verify(MESSAGE, good)
        assert not key.public_key.verify(MESSAGE + b"!", good)
        assert not key.public_key.verify(MESSAGE, good[:-1])
    assert not key.public_key.verify(MESSAGE, b"")
    assert not PrivateKey.generate().public_key.verify(MESSAGE, signature)


@every_type
def test_peer_ids_in_all_forms(vector: dict[str, Any]) -> None:
    for form in (PeerId.parse(vector["peer"]), PeerId.parse(vector["cid"]), PeerId.from_bytes(bytes.fromhex(vector["id"]))):
        assert form == vector["peer"]
        assert form.cid == vector["cid"]
        assert form.to_bytes().hex() == vector["id"]
    if vector["inline"]:
        assert bytes(PeerId(vector["peer"]).public_key).hex() == vector["public"]
    else:
        with pytest.raises(libp2pgo.NotFound, match=vector["peer"]):
            _ = PeerId(vector["peer"]).public_key
    with pytest.raises(libp2pgo.ParseError, match="nobody"):
        PeerId.parse("nobody")


def test_a_key_shows_in_no_repr_and_no_error() -> None:
    key = PrivateKey.generate("secp256k1")
    secret = key.export("raw")
    assert repr(key) == f"<PrivateKey of {key.peer_id}>"
    with pytest.raises(libp2pgo.ParseError) as caught:
        PrivateKey.parse(secret + b"x", format="raw", type="secp256k1")
    assert secret.hex() not in str(caught.value)
    assert repr(secret)[2:-1] not in str(caught.value)
    network = NetworkKey.generate()
    assert bytes(network).hex() not in repr(network)


def test_wrong_formats_and_types_are_named() -> None:
    key = PrivateKey.generate()
    with pytest.raises(libp2pgo.InvalidArgument, match="jwk"):
        key.export("jwk")
    with pytest.raises(libp2pgo.InvalidArgument, match="type"):
        PrivateKey.parse(key.export("raw"), format="raw")
    with pytest.raises(libp2pgo.ParseError, match="is of type ed25519, not rsa"):
        PrivateKey.parse(bytes(key), type="rsa")
    with pytest.raises(libp2pgo.Unsupported, match="encrypted"):
        PrivateKey.parse("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGj\n-----END ENCRYPTED PRIVATE KEY-----\n")


def test_key_files(tmp_path: Path) -> None:
    key = PrivateKey.generate()
    for format in ("protobuf", "base64", "pem"):
        file = tmp_path / format
        key.save(file, format=format)
        assert os.stat(file).st_mode & 0o777 == 0o600
        assert PrivateKey.load(file) == key
        with pytest.raises(FileExistsError):
            key.save(file)
    network = NetworkKey.generate()
    network.save(tmp_path / "swarm.key")
    assert NetworkKey.load(tmp_path / "swarm.key") == network


async def test_a_node_takes_its_key_from_any_file(tmp_path: Path) -> None:
    vector = KEYS["secp256k1"]
    for format in ("base64", "pem"):
        file = tmp_path / format
        PrivateKey.parse(vector["pem"]).save(file, format=format)
        async with node(identity=file, listen=[]) as n:
            assert n.id == vector["peer"]


def test_network_keys() -> None:
    vector = VECTORS["network_key"]
    for form in (vector["text"], vector["base64"], vector["key"], bytes.fromhex(vector["key"])):
        key = NetworkKey(form)
        assert (bytes(key).hex(), key.text, key.fingerprint) == (vector["key"], vector["text"], vector["fingerprint"])
    assert NetworkKey.generate() != NetworkKey.generate()


async def test_nodes_with_one_network_key_meet_and_others_do_not() -> None:
    key = NetworkKey.generate()
    async with node(private_network=key) as a, node(private_network=NetworkKey(key.text)) as b:
        assert await b.connect(a.addresses) == a.id
        async with node(private_network=NetworkKey.generate()) as stranger:
            with pytest.raises(libp2pgo.Error):
                await stranger.connect(a.addresses, timeout=1)


def test_envelopes() -> None:
    vector = VECTORS["envelope"]
    opened = Envelope.open(bytes.fromhex(vector["envelope"]), vector["domain"])
    assert (opened.payload.hex(), opened.payload_type.hex(), opened.peer_id) == (vector["payload"], vector["payload_type"], vector["peer"])
    key = PrivateKey.generate("ecdsa")
    for payload in (b"", b"\0" * 100_000):
        sealed = Envelope.seal(key, "a domain", b"\x07", payload)
        assert Envelope.open(sealed, "a domain") == Envelope(payload, b"\x07", key.public_key)
    with pytest.raises(libp2pgo.SecurityError, match="another"):
        Envelope.open(sealed, "another")
    with pytest.raises(libp2pgo.ParseError):
        Envelope.open(b"nonsense", "a domain")
    with pytest.raises(libp2pgo.InvalidArgument, match="domain"):
        Envelope.seal(key, "", b"\x07", b"")
    with pytest.raises(libp2pgo.InvalidArgument, match="payload_type"):
        Envelope.seal(key, "d", b"", b"")


def test_peer_records() -> None:
    vector = VECTORS["record"]
    record = PeerRecord.open(bytes.fromhex(vector["record"]))
    assert record == PeerRecord(vector["peer"], int(vector["sequence"]), tuple(vector["addresses"]))
    key = PrivateKey.parse(KEYS["ed25519"]["pem"])
    own = [vector["addresses"][0] + "/p2p/" + key.peer_id, vector["addresses"][1]]
    assert PeerRecord.seal(key, own, sequence=record.sequence).hex() == vector["record"]
    before = time.time_ns()
    assert PeerRecord.open(PeerRecord.seal(key, [])).sequence >= before
    with pytest.raises(libp2pgo.InvalidArgument, match=NOBODY):
        PeerRecord.seal(key, ["/ip4/1.2.3.4/tcp/1/p2p/" + NOBODY])
    with pytest.raises(ValueError, match="sequence"):
        PeerRecord.seal(key, [], sequence=-1)
    with pytest.raises(libp2pgo.SecurityError):
        PeerRecord.open(bytes.fromhex(VECTORS["envelope"]["envelope"]))


def test_addresses() -> None:
    for vector in VECTORS["addresses"]:
        address = Multiaddr.parse(vector["text"])
        assert address.to_bytes().hex() == vector["bytes"]
        assert Multiaddr.from_bytes(bytes.fromhex(vector["bytes"])) == address == vector["text"]
        parts = address.split_components()
        assert parts[0].encapsulate(*parts[1:]) == address
    relayed = Multiaddr(VECTORS["addresses"][4]["text"])
    assert relayed.relayed
    assert not relayed.dns
    assert relayed.peer_id == KEYS["ecdsa"]["peer"]
    assert [(c.protocol, c.value) for c in relayed.components][1:4:2] == [("tcp", "4001"), ("p2p-circuit", "")]
    assert relayed.decapsulate("/p2p-circuit").peer_id == KEYS["ed25519"]["peer"]
    assert Multiaddr("/ip4/1.2.3.4/tcp/1").decapsulate("/ip4/1.2.3.4") == ""
    with pytest.raises(libp2pgo.NotFound, match="/tcp/40"):
        Multiaddr("/ip4/1.2.3.4/tcp/4001").decapsulate("/tcp/40")
    for bad in ("", "/ip4/1.2.3", "/tcp", "localhost:80"):
        with pytest.raises(libp2pgo.ParseError):
            Multiaddr.parse(bad)


@contextlib.contextmanager
def name_server(*, silent: bool = False) -> Iterator[str]:
    """A name server on loopback that knows node.test and the dnsaddr of boot.test."""
    texts = (f"dnsaddr=/dns4/node.test/tcp/4001/p2p/{NOBODY}", "other")
    records = {
        ("node.test", 1): [socket.inet_aton("192.0.2.7")],
        ("_dnsaddr.boot.test", 16): [bytes([len(t)]) + t.encode() for t in texts],
    }
    names = {name for name, _ in records}

    def answer(query: bytes) -> bytes:
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode().lower())
            at += 1 + query[at]
        name, kind = ".".join(labels), struct.unpack_from("!H", query, at + 1)[0]
        found = records.get((name, kind), [])
        head = query[:2] + struct.pack("!5H", 0x8180 if name in names else 0x8183, 1, len(found), 0, 0)
        return head + query[12 : at + 5] + b"".join(b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(r)) + r for r in found)

    def serve() -> None:
        while True:
            try:
                query, peer = server.recvfrom(4096)
            except OSError:
                return
            if not query:
                return
            if not silent:
                server.sendto(answer(query), peer)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield "{}:{}".format(*server.getsockname())
        finally:
            server.sendto(b"", server.getsockname())
            thread.join()


async def test_resolving_names() -> None:
    with name_server() as server:
        boot = Multiaddr("/dnsaddr/boot.test")
        assert await boot.resolve(server=server) == (f"/ip4/192.0.2.7/tcp/4001/p2p/{NOBODY}",)
        assert await Multiaddr("/ip4/1.2.3.4/tcp/1").resolve() == ("/ip4/1.2.3.4/tcp/1",)
        async with node():  # with a node's queue in use
            assert await Multiaddr("/dns4/node.test/udp/1/quic-v1").resolve(server=server) == ("/ip4/192.0.2.7/udp/1/quic-v1",)
        with pytest.raises(libp2pgo.NotFound, match="missing.test"):
            await Multiaddr("/dns4/missing.test/tcp/1").resolve(server=server)
        assert sync.resolve("/dns/node.test/tcp/1", server=server) == (Multiaddr("/ip4/192.0.2.7/tcp/1"),)
    with pytest.raises(libp2pgo.ConfigError, match="server"):
        await boot.resolve(server="nonsense")
    assert "/ip4/127.0.0.1/tcp/1" in sync.resolve("/dns4/localhost/tcp/1")


async def test_resolving_ends_by_its_time_and_by_cancellation() -> None:
    with name_server(silent=True) as server:
        name = Multiaddr("/dns4/node.test/tcp/1")
        begin = time.monotonic()
        with pytest.raises(libp2pgo.Timeout):
            await name.resolve(server=server, timeout=0.05)
        with pytest.raises(libp2pgo.Timeout):
            sync.resolve(name, server=server, timeout=0.05)
        tasks = [asyncio.ensure_future(name.resolve(server=server, timeout=None)) for _ in range(10)]
        await asyncio.sleep(0.02)
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(ended, asyncio.CancelledError)
        assert time.monotonic() - begin < 5


def test_cids() -> None:
    for vector in VECTORS["cids"]:
        data = bytes.fromhex(vector["data"])
        cid = CID.make(data, codec=vector["codec"], hash=vector["hash"])
        assert cid == vector["cid"] == CID.from_bytes(bytes.fromhex(vector["bytes"])) == CID.parse(vector["base58btc"])
        assert (cid.version, cid.codec, cid.hash, cid.digest.hex()) == (1, vector["codec"], vector["hash"], vector["digest"])
        assert cid.to_bytes().hex() == vector["bytes"]
        assert cid.to_v1("base58btc") == vector["base58btc"]
        assert cid.verify(data)
        assert not cid.verify(data + b"!")
        if vector["v0"]:
            assert cid.to_v0() == vector["v0"] == CID.make(data, codec="dag-pb", version=0)
            assert CID(vector["v0"]).to_v1() == cid
        else:
            with pytest.raises(libp2pgo.InvalidArgument, match="version 0"):
                cid.to_v0()
    with pytest.raises(libp2pgo.Unsupported):
        CID("f01552208" + "00" * 8).verify(b"")
    with pytest.raises(libp2pgo.ConfigError, match="codec"):
        CID.make(b"", codec="soup")
    with pytest.raises(libp2pgo.ParseError, match="nothing"):
        CID.parse("nothing")


def test_errors_and_results_leave_nothing_behind() -> None:
    lib = _library.library()
    key = PrivateKey.generate()
    sealed = Envelope.seal(key, "d", b"t", bytes(100_000))

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def use() -> None:
        for _ in range(500):
            Envelope.open(sealed, "d")
            CID.parse(CID.make(sealed))
            with pytest.raises(libp2pgo.SecurityError):
                Envelope.open(sealed, "e")

    use()
    before = resident()
    use()
    assert resident() - before < 30 << 20  # 50 MB went through
    runtime = lib.json(lib.p2p_runtime_info)
    assert sum(runtime["handles"].values()) == 0
    assert runtime["panics"] == 0
