"""Which connections stay when there are too many, and what limits there are."""

from __future__ import annotations

import contextlib
from typing import AsyncIterator

import pytest

import libp2pgo
from helpers import NOBODY, node, pair, sync_node, until


@contextlib.asynccontextmanager
async def hub(count: int, **options: object) -> AsyncIterator[tuple[libp2pgo.Node, list[libp2pgo.Node]]]:
    """A node that is connected to others."""
    async with contextlib.AsyncExitStack() as stack:
        center = await stack.enter_async_context(node(**options))
        others = [await stack.enter_async_context(node()) for _ in range(count)]
        for other in others:
            await center.connect(other.addresses)
        yield center, others


async def test_tags_and_protection() -> None:
    async with pair() as (a, b):
        a.connections.tag(b.id, "friend", 7)
        a.connections.protect(b.id, "mine")
        a.connections.protect(b.id, "yours")
        a.disconnect(b.id)
        known = a.peer_info(b.id)
        assert known.tags["friend"] == 7
        assert known.tag_value >= 7
        assert known.protected == ("mine", "yours")
        assert a.connections.unprotect(b.id, "mine") is True
        assert a.connections.unprotect(b.id, "yours") is False
        with pytest.raises(libp2pgo.NotFound):
            a.connections.unprotect(b.id, "yours")
        a.connections.untag(b.id, "friend")
        with pytest.raises(libp2pgo.NotFound, match="friend"):
            a.connections.untag(b.id, "friend")
        with pytest.raises(libp2pgo.InvalidArgument):
            a.connections.tag(b.id, "", 1)


async def test_trim_closes_the_least_useful() -> None:
    async with hub(4, connections={"grace_ms": 0}) as (center, others):
        for other, value in zip(others, (30, 10, 40, 20)):
            center.connections.tag(other.id, "value", value)
        center.connections.protect(others[1].id, "mine")
        assert await center.connections.trim() == 0
        assert await center.connections.trim(3) == 1
        await until(lambda: set(center.peers()) == {other.id for other in others[:3]})
        assert await center.connections.trim(1) == 2
        await until(lambda: center.peers() == [others[1].id])


async def test_watermarks() -> None:
    async with hub(4) as (center, others):
        center.connections.tag(others[2].id, "value", 1)
        center.connections.set_watermarks(low=1, high=2, grace=0)
        await until(lambda: center.peers() == [others[2].id])
        assert center.limits()["watermarks"] == {"low": 1, "high": 2, "grace_ms": 0}
        with pytest.raises(libp2pgo.InvalidArgument, match="low"):
            center.connections.set_watermarks(low=5)


async def test_limits() -> None:
    exact = {"System": {"Conns": 77}, "Peer": {NOBODY: {"Streams": 0}}}
    async with pair(limits={"exact": exact, "connection_rate": 3.5}) as (a, b):
        limits = a.limits()
        assert limits["limits"]["System"]["Conns"] == 77
        assert limits["limits"]["Peer"][NOBODY]["Streams"] == "blockAll"
        assert limits["per_ip"]["connection_rate"] == 3.5
        assert limits["usage"]["system"]["connections_outbound"] == 1
        assert b.id in limits["usage"]["peers"]
        assert limits["refused"]["stream"] == 0
        async with node(limits={"exact": limits["limits"]}) as again:
            assert again.limits()["limits"] == limits["limits"]
    with pytest.raises(libp2pgo.ConfigError, match=r"limits\.exact\.System\.Connections"):
        await node(limits={"exact": {"System": {"Connections": 5}}}).start()


def test_sync() -> None:
    with sync_node(connections={"grace_ms": 0}) as a, sync_node() as b:
        a.connect(b.addresses)
        a.connections.tag(b.id, "value", 3)
        assert a.peer_info(b.id).tags["value"] == 3
        assert a.limits()["preset"] == "default"
        assert a.connections.trim(0) == 1
