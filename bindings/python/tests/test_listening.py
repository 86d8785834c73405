"""Where a running node listens, and which addresses it tells."""

from __future__ import annotations

import pytest

import libp2pgo
from helpers import QUIC, TCP, node, sync_node, until
from libp2pgo import AddressesChanged


async def test_listen_and_unlisten() -> None:
    async with node(listen=[]) as n, node(listen=[]) as other, n.events(AddressesChanged) as changes:
        bound = n.listen([TCP, QUIC])
        assert len(bound) == 2
        for address in bound:
            assert await other.connect(f"{address}/p2p/{n.id}") == n.id
            other.disconnect(n.id)
        change = await changes.next(timeout=10)
        assert change is not None
        assert set(bound) <= set(n.info()["listening"])
        n.unlisten(bound)
        await until(lambda: not n.addresses, "the addresses to go")
        with pytest.raises(libp2pgo.NotFound, match=bound[0]):
            n.unlisten(bound[0])


async def test_listen_is_all_or_nothing() -> None:
    async with node() as first, node(listen=[]) as n:
        taken = str(first.addresses[0]).partition("/p2p/")[0]
        with pytest.raises(libp2pgo.ListenError, match=taken):
            n.listen([TCP, taken])
        await until(lambda: not n.addresses, "the other address to go")


async def test_announce() -> None:
    async with node(addresses={"append": ["/ip4/203.0.113.7/tcp/1"]}) as n:
        assert any(a.startswith("/ip4/203.0.113.7/tcp/1/p2p/") for a in n.addresses)
        n.announce(hide=["127.0.0.0/8"])
        assert len(n.addresses) == 1
        n.announce(announce=["/dns4/a.example/tcp/443/wss"], append=[])
        assert n.addresses == (f"/dns4/a.example/tcp/443/wss/p2p/{n.id}",)
        assert n.info()["address_rules"] == {"announce": ["/dns4/a.example/tcp/443/wss"], "append": [], "hide": ["127.0.0.0/8"]}
        with pytest.raises(libp2pgo.ConfigError, match=r"hide\[0\]"):
            n.announce(hide="nonsense")


async def test_shared_tcp_port() -> None:
    async with node(transports={"share_tcp": True}) as n:
        tcp = str(n.addresses[0]).partition("/p2p/")[0]
        (shared,) = n.listen(tcp + "/ws")
        assert shared == tcp + "/ws"
        for address, transport in ((tcp, "tcp"), (shared, "websocket")):
            async with node(listen=[]) as other:
                await other.connect(f"{address}/p2p/{n.id}")
                assert other.peer_info(n.id).connections[0].transport == transport


def test_sync() -> None:
    with sync_node(listen=[]) as n:
        (bound,) = n.listen(TCP)
        n.announce(append=["/ip4/203.0.113.7/tcp/1"])
        assert {a.partition("/p2p/")[0] for a in n.addresses} == {bound, "/ip4/203.0.113.7/tcp/1"}
        n.unlisten(bound)
