from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
from typing import Any, AsyncIterator

import pytest

import libp2pgo
from helpers import NOBODY, node, sync_node
from libp2pgo import DHTModeChanged, errors


@contextlib.asynccontextmanager
async def network(count: int = 4, **options: Any) -> AsyncIterator[list[libp2pgo.Node]]:
    """Servers that know each other through the first."""
    async with contextlib.AsyncExitStack() as stack:
        nodes: list[libp2pgo.Node] = []
        for _ in range(count):
            n = await stack.enter_async_context(node(dht={"mode": "server", **options}))
            if nodes:
                await n.connect(nodes[0].addresses)
            nodes.append(n)
        await asyncio.gather(*(n.dht.bootstrap(min(count - 1, 2)) for n in nodes))
        yield nodes


async def test_values_are_found_from_every_node() -> None:
    """What is put by one node the others get, and a search ends with the best value."""
    async with network(validators=["app=accept"]) as nodes:
        assert await nodes[1].dht.put("/app/motd", b"hello") >= 2
        for n in nodes:
            assert await n.dht.get("/app/motd") == b"hello"
            assert await n.dht.get("/app/motd", quorum=1) == b"hello"
        found = [value async for value in nodes[3].dht.search("/app/motd")]
        assert found[-1].data == b"hello"
        assert found[-1].key == "/app/motd"
        with pytest.raises(libp2pgo.NotFound):
            await nodes[0].dht.get("/app/nothing")


async def test_set_and_get() -> None:
    """A name belongs to its owner; a later value takes the place of the earlier one; unset takes it back."""
    async with network() as (a, b, *_):
        await a.dht.set("color", b"red")
        await a.dht.set("color", b"green", expiry=3600)
        assert await a.dht.get("color") == b"green"
        assert await b.dht.get("color", owner=a.id) == b"green"
        assert await b.dht.get(f"{a.id}/color") == b"green"
        (found,) = [value async for value in b.dht.search("color", owner=a.id)][-1:]
        assert found.data == b"green"
        assert found.sequence > 0
        raw = await b.dht.get("color", owner=a.id, raw=True)
        assert await b.dht.put(f"/record/{a.id}/color", raw) > 0
        with pytest.raises(libp2pgo.InvalidArgument, match="another peer"):
            await b.dht.set(f"{a.id}/color", b"mine")
        await a.dht.unset("color")
        with pytest.raises(libp2pgo.NotFound, match="withdrawn"):
            await b.dht.get("color", owner=a.id)
        assert [value.withdrawn async for value in b.dht.search("color", owner=a.id)][-1]


async def test_providers_come_as_they_are_found() -> None:
    async with network() as nodes:
        for n in nodes[:2]:
            assert await n.dht.provide("/model/7") > 0
        for n in nodes:
            found = [provider async for provider in n.dht.find_providers("/model/7")]
            assert {p.peer for p in found} == {nodes[0].id, nodes[1].id}
            assert all(p.addresses for p in found)
        assert len([p async for p in nodes[3].dht.find_providers("/model/7", count=1)]) == 1
        async with nodes[3].dht.find_providers("/model/7") as early:
            assert await early.next(timeout=10)
        assert [p async for p in nodes[3].dht.find_providers("/nobody")] == []


async def test_many_keys_are_kept_provided() -> None:
    keys = [hashlib.sha256(bytes([i])).hexdigest() for i in range(20)]
    async with network() as (a, b, *_):
        await a.dht.start_providing(keys)
        assert a.dht.info()["providing"] == 20
        for key in keys:
            for _ in range(200):
                if [p.peer async for p in b.dht.find_providers(key)] == [a.id]:
                    break
                await asyncio.sleep(0.05)
            else:
                raise AssertionError(f"{key} is not provided")
        await a.dht.stop_providing(keys[:19])
        assert a.dht.info()["providing"] == 1


async def test_peers_are_found_by_id() -> None:
    """find_peer, closest_peers, and connecting by a bare id."""
    async with network() as nodes, node(dht={"mode": "client"}) as client:
        await client.connect(nodes[0].addresses)
        await client.dht.bootstrap()
        target = nodes[-1]
        addresses = await client.dht.find_peer(target.id)
        assert set(addresses) & set(target.addresses)
        assert target.id in await client.dht.closest_peers(target.id)
        assert await client.connect(target.id) == target.id
        assert client.dht.peers()
        assert await client.dht.refresh() >= 1
        with pytest.raises(libp2pgo.NotFound):
            await client.dht.find_peer(NOBODY)
        with pytest.raises(libp2pgo.PeerNotFound, match="DHT"):
            await client.connect(NOBODY)


async def test_the_program_judges_values() -> None:
    """Values of others in a namespace with the rule "ask" are what the validator says."""
    asked = []

    async def judge(key: str, data: bytes) -> bool:
        asked.append(key)
        await asyncio.sleep(0)
        return data.startswith(b"good")

    async with network(3, validators=["ask=ask"], validate_timeout_ms=5000) as (a, b, c):
        for n in (b, c):
            n.dht.validator(judge)
        assert await a.dht.put("/ask/x", b"good") == 2
        with pytest.raises(libp2pgo.NotEnoughPeers, match="0 of 1"):
            await a.dht.put("/ask/y", b"bad")
        assert set(asked) == {"/ask/x", "/ask/y"}


async def test_the_mode_changes_at_run_time() -> None:
    async with network(2) as (_, b), b.events(DHTModeChanged) as events:
        b.dht.mode = "client"
        changed = await events.next(timeout=10)
        assert changed is not None
        assert not changed.serving
        assert b.dht.mode == "client"
        assert not b.dht.info()["serving"]
        with pytest.raises(libp2pgo.InvalidArgument, match="off"):
            b.dht.mode = "off"


async def test_off_and_alone() -> None:
    """Without the option every call says so; alone a node keeps what it puts and sets."""
    async with node() as off, node(dht={"mode": "server", "validators": ["app=accept"]}) as alone:
        with pytest.raises(libp2pgo.StateError, match=r"dht\.mode"):
            await off.dht.get("x")
        with pytest.raises(libp2pgo.StateError):
            off.dht.info()
        with pytest.raises(libp2pgo.NotEnoughPeers):
            await alone.dht.put("/app/x", b"1")
        assert await alone.dht.put("/app/x", b"2", min_peers=0) == 0
        assert await alone.dht.get("/app/x") == b"2"
        with pytest.raises(libp2pgo.NotEnoughPeers):
            await alone.dht.bootstrap(timeout=0.05)
        with pytest.raises(libp2pgo.NotEnoughPeers):
            await alone.dht.find_providers("/x").next()
        with pytest.raises(errors.InvalidArgument, match="no rule"):
            await alone.dht.put("/other/x", b"1")


async def test_closing_while_busy() -> None:
    """Waiting calls and searches end with the node."""
    n = await node(dht={"mode": "server"}).start()
    waiting = asyncio.ensure_future(n.dht.bootstrap(timeout=60))
    search = n.dht.find_providers("/x")
    await asyncio.sleep(0)
    await n.close()
    with pytest.raises(libp2pgo.ClosedError):
        await waiting
    with contextlib.suppress(libp2pgo.Error):
        await search.next(timeout=10)
    assert await search.next() is None


async def test_what_is_set_survives_a_restart(tmp_path: Any) -> None:
    """With a store, a restarted node publishes again what it has set, and has what it kept for others."""
    options: Any = {"identity": tmp_path / "key", "dht": {"mode": "server", "store": str(tmp_path / "dht"), "validators": ["app=accept"]}}
    async with node(**options) as first:
        await first.dht.set("name", b"kept", min_peers=0)
        await first.dht.put("/app/x", b"stored", min_peers=0)
        owner = first.id
    async with node(**options) as again, node(dht={"mode": "server"}) as other:
        assert again.id == owner
        assert await again.dht.get("/app/x") == b"stored"
        await other.connect(again.addresses)
        await other.dht.bootstrap()
        for _ in range(200):
            with contextlib.suppress(libp2pgo.NotFound):
                assert await other.dht.get("name", owner=owner) == b"kept"
                if other.dht.info()["routing_tables"][0]["records"] == 1:
                    break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError("the record was not published again")


def test_sync() -> None:
    with (
        sync_node(dht={"mode": "server", "validators": ["ask=ask"]}) as a,
        sync_node(dht={"mode": "server", "validators": ["ask=ask"]}) as b,
    ):

        @b.dht.validator
        def judge(key: str, data: bytes) -> bool:
            return data == b"good"

        a.connect(b.addresses)
        a.dht.bootstrap()
        b.dht.bootstrap()
        assert a.dht.put("/ask/x", b"good") == 1
        a.dht.set("color", b"red")
        assert b.dht.get("color", owner=a.id) == b"red"
        a.dht.provide("/x")
        with b.dht.find_providers("/x") as search:
            assert [provider.peer for provider in search] == [a.id]
        assert b.dht.find_peer(a.id)
        assert a.dht.mode == "server"
        assert b.dht.peers() == [a.id]


async def test_the_validator_outlives_a_collection_of_garbage() -> None:
    async with network(2, validators=["ask=ask"], validate_timeout_ms=5000) as (a, b):
        b.dht.validator(lambda key, data: data == b"good")
        a.dht.validator(lambda key, data: True)
        await asyncio.sleep(0.05)  # both wait
        gc.collect()
        with pytest.raises(libp2pgo.NotEnoughPeers):
            await a.dht.put("/ask/x", b"bad")
        assert await a.dht.put("/ask/x", b"good") == 1
