"""Gating: rules for peers and networks, and a doorman that is asked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import libp2pgo
from helpers import node, pair, sync_node, until
from libp2pgo import GateRequest


async def test_blocking_a_peer() -> None:
    async with pair() as (a, b):
        a.gater.block(b.id)
        await until(lambda: not a.peers() and not b.peers(), "the connection to be closed")
        with pytest.raises(libp2pgo.Refused, match=f"blocked by the rule {b.id}"):
            await a.connect(b.addresses)
        with pytest.raises(libp2pgo.Refused, match=a.id):
            await b.connect(a.addresses)
        rules = a.gater.list()
        assert rules["block"][0]["rule"] == b.id
        assert rules["dials_refused"] >= 1
        assert rules["connections_refused"] >= 1
        a.gater.remove(b.id)
        await a.connect(b.addresses)


async def test_the_most_exact_rule_holds() -> None:
    async with node() as a, node() as b:
        a.gater.block("127.0.0.0/8", "10.0.0.1")
        with pytest.raises(libp2pgo.Refused, match=r"127\.0\.0\.0/8"):
            await a.connect(b.addresses)
        a.gater.allow("127.0.0.1")
        await a.connect(b.addresses)
        assert [rule["rule"] for rule in a.gater.list()["block"]] == ["10.0.0.1", "127.0.0.0/8"]
        with pytest.raises(libp2pgo.NotFound, match=r"192\.0\.2\.1"):
            a.gater.remove("127.0.0.1", "192.0.2.1")
        with pytest.raises(libp2pgo.ParseError, match="nonsense"):
            a.gater.block("192.0.2.1", "nonsense")


async def test_the_default() -> None:
    async with node(gating={"default": "block"}) as a, node() as b:
        with pytest.raises(libp2pgo.Refused, match="default"):
            await a.connect(b.addresses)
        a.gater.set_default("allow")
        await a.connect(b.addresses)


@pytest.mark.parametrize("slow", [False, True], ids=["at once", "later"])
async def test_a_doorman_decides(slow: bool) -> None:
    asked: list[GateRequest] = []
    guests: set[str] = set()

    def doorman(request: GateRequest) -> Any:
        asked.append(request)
        verdict = request.peer in guests
        return asyncio.sleep(0.01, verdict) if slow else verdict

    async with node() as a, node() as b, node() as c:
        with a.gater.ask(doorman, timeout=5) as keeper:
            for other in (b, c):
                with pytest.raises(libp2pgo.Refused, match="verdict"):
                    await a.connect(other.addresses)
                with pytest.raises(libp2pgo.Refused):
                    await other.connect(a.addresses)
            assert [(r.peer, r.stage, r.inbound) for r in asked[:2]] == [(b.id, "dial", False), (b.id, "connection", True)]
            assert asked[0].address is None
            assert asked[1].address is not None
            assert asked[1].address.peer_id == b.id
            guests.update((b.id, c.id))
            await a.connect(b.addresses)
            await c.connect(a.addresses)
            assert keeper.info()["asked"] == len(asked) == 6
            with pytest.raises(libp2pgo.AlreadyExists):
                a.gater.ask(doorman)
        a.disconnect(b.id)
        await until(lambda: not b.peers(), "the end")
        guests.clear()
        await a.connect(b.addresses)
        assert len(asked) == 6


async def test_a_doorman_that_fails_or_sleeps_lets_nobody_in() -> None:
    def broken(_: GateRequest) -> bool:
        raise RuntimeError("broken")

    async with node() as a, node() as b:
        with a.gater.ask(broken), pytest.raises(libp2pgo.Refused):
            await a.connect(b.addresses)
        with a.gater.ask(lambda _: asyncio.sleep(60, True), timeout=0.02), pytest.raises(libp2pgo.Refused, match="no verdict within 20ms"):
            await a.connect(b.addresses)
        with a.gater.ask(lambda _: asyncio.sleep(60, False), timeout=0.02, default="allow"):
            await a.connect(b.addresses)


async def test_a_doorman_ends_with_its_node() -> None:
    async with node() as a, node() as b:
        a.gater.ask(lambda _: asyncio.sleep(60, True), timeout=10)
        dial = asyncio.ensure_future(a.connect(b.addresses))
        await asyncio.sleep(0.02)
        await a.close()
        with pytest.raises(libp2pgo.Error):
            await dial
        with pytest.raises(libp2pgo.NodeClosed):
            a.gater.list()


def test_sync() -> None:
    asked = []

    def doorman(request: GateRequest) -> bool:
        asked.append(request.peer)
        return len(asked) > 1

    with sync_node() as a, sync_node() as b:
        a.gater.block("127.0.0.1")
        with pytest.raises(libp2pgo.Refused):
            a.connect(b.addresses)
        a.gater.remove("127.0.0.1")
        with a.gater.ask(doorman, timeout=5):
            with pytest.raises(libp2pgo.Refused):
                a.connect(b.addresses)
            a.connect(b.addresses)
        assert asked == [b.id, b.id]
