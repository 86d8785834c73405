"""What a node knows of peers: addresses, signed records, data; in memory and over restarts."""

from __future__ import annotations

from pathlib import Path

import pytest

import libp2pgo
from helpers import NOBODY, node, pair, sync_node, until
from libp2pgo import PeerRecord


async def test_added_addresses_lead_to_the_peer() -> None:
    async with node() as a, node() as b:
        with pytest.raises(libp2pgo.PeerNotFound):
            await a.connect(b.id)
        assert a.peerstore.add(b.addresses) == b.id
        assert a.peerstore.known() == [b.id]
        await a.connect(b.id)
        a.peerstore.add(f"/ip4/203.0.113.7/tcp/1/p2p/{NOBODY}", ttl=0.001)
        await until(lambda: not a.peer_info(NOBODY).addresses, "the address to expire")
        with pytest.raises(libp2pgo.InvalidArgument):
            a.peerstore.add(NOBODY)


async def test_forget() -> None:
    async with pair() as (a, b):
        a.peerstore.put(b.id, "note", b"x")
        with pytest.raises(libp2pgo.StateError):
            a.peerstore.forget(b.id)
        a.disconnect(b.id)
        a.peerstore.forget(b.id)
        assert a.peerstore.known() == []
        with pytest.raises(libp2pgo.NotFound, match="note"):
            a.peerstore.get(b.id, "note")
        with pytest.raises(libp2pgo.PeerNotFound):
            await a.connect(b.id)


async def test_over_a_restart(tmp_path: Path) -> None:
    key = libp2pgo.PrivateKey.generate()
    options = {"peerstore": {"directory": str(tmp_path / "peers")}, "identity": key}
    async with node() as other:
        async with node(**options) as a:
            await a.connect(other.addresses)
            a.peerstore.put(other.id, "app/state", bytes(range(256)))
            with pytest.raises(libp2pgo.Busy, match=r"peerstore\.directory"):
                await node(**options).start()
        async with node(**options) as a:
            assert a.peerstore.known() == [other.id]
            await a.connect(other.id)
            assert a.peerstore.get(other.id, "app/state") == bytes(range(256))
            a.peerstore.put(other.id, "app/state", b"")
            with pytest.raises(libp2pgo.NotFound):
                a.peerstore.get(other.id, "app/state")
    written = b"".join(file.read_bytes() for file in (tmp_path / "peers").iterdir())
    assert b"/peers/" in written
    secret = bytes(key)[4:36]  # behind it is the public key
    assert secret not in written


async def test_records() -> None:
    async with pair() as (a, b), node() as c:
        await until(lambda: _has_record(a, b.id), "the record to come")
        record = a.peerstore.record(b.id)
        assert PeerRecord.open(record).peer_id == b.id
        assert c.peerstore.add_record(record) == b.id
        await c.connect(b.id)
        assert PeerRecord.open(a.peerstore.record()).peer_id == a.id
        key = libp2pgo.PrivateKey.generate()
        newer = PeerRecord.seal(key, ["/ip4/203.0.113.7/tcp/2"], sequence=2)
        older = PeerRecord.seal(key, ["/ip4/203.0.113.7/tcp/1"], sequence=1)
        assert c.peerstore.add_record(newer, ttl=None) == key.peer_id
        assert c.peerstore.add_record(older) is None
        assert c.peer_info(key.peer_id).addresses == ("/ip4/203.0.113.7/tcp/2",)
        with pytest.raises(libp2pgo.SecurityError):
            c.peerstore.add_record(record[:-1] + bytes([record[-1] ^ 1]))
        with pytest.raises(libp2pgo.ParseError):
            c.peerstore.add_record(b"nonsense")
        with pytest.raises(libp2pgo.NotFound):
            c.peerstore.record(NOBODY)


def _has_record(node: libp2pgo.Node, peer: str) -> bool:
    try:
        return bool(node.peerstore.record(peer))
    except libp2pgo.NotFound:
        return False


def test_sync() -> None:
    with sync_node() as a, sync_node() as b:
        a.peerstore.add(b.addresses)
        assert a.connect(b.id) == b.id
        a.peerstore.put(b.id, "note", b"x")
        assert a.peerstore.get(b.id, "note") == b"x"
