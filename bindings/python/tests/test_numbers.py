"""Numbers: metrics, their HTTP endpoint, the dashboard made of them, bandwidth, and the perf protocol."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.error
import urllib.request
from typing import Any

import pytest

import libp2pgo
from helpers import ROOT, node, pair, sync_node, until
from libp2pgo import Metrics, sync


async def get(url: str) -> bytes:
    def fetch() -> bytes:
        with urllib.request.urlopen(url, timeout=10) as answer:
            found: bytes = answer.read()
            return found

    return await asyncio.get_running_loop().run_in_executor(None, fetch)


async def test_metrics_are_the_nodes_own() -> None:
    """A node that is not connected shows nothing of others in the process."""
    async with pair() as (a, b), node() as idle:
        assert a.metrics.value("libp2pgo_connections", transport="tcp", direction="outbound") == 1
        assert b.metrics.value("libp2pgo_connections", transport="tcp", direction="inbound") == 1
        assert b.metrics.value("libp2pgo_connections", direction="outbound") == 0
        assert idle.metrics.value("libp2pgo_connections_opened_total") == 0
        await until(lambda: a.metrics.value("libp2pgo_dial_seconds") == 1, "the dial to be counted")
        assert a.metrics.json()["node"] == a.id
        with pytest.raises(KeyError):
            a.metrics.value("libp2pgo_nothing")


async def test_metrics_follow_pubsub_and_handles() -> None:
    async with pair() as (a, b), b.subscribe("news"):
        await a.publish("news", b"one", min_peers=1)
        await until(lambda: b.metrics.value("libp2pgo_subscription_delivered_total", topic="news") == 1, "the message to be counted")
        assert a.metrics.value("libp2pgo_pubsub_published_total", topic="news") == 1
        assert b.metrics.value("libp2pgo_handles", kind="subscription") == 1
        assert a.metrics.value("libp2pgo_handles", kind="subscription") == 0


async def test_the_endpoint_serves_both_forms() -> None:
    async with node() as a:
        server = a.metrics.serve()
        assert server.address.startswith("127.0.0.1:")
        assert b"# TYPE libp2pgo_peers gauge" in await get(server.url)
        assert json.loads(await get(server.url + ".json"))["node"] == a.id
        with pytest.raises(libp2pgo.ListenError, match=re.escape(server.address)):
            a.metrics.serve(server.address)
        assert server.info()["accepted"] == 2
        server.close()
        with a.metrics.serve(server.address, max_connections=1):
            assert await get(server.url)
        with pytest.raises(urllib.error.URLError):
            await get(server.url)
        with pytest.raises(libp2pgo.ParseError):
            a.metrics.serve("somewhere")


async def test_bandwidth_by_peer_and_protocol() -> None:
    async with pair() as (a, b):
        b.on_request("/echo/1", lambda request: request.data)
        await a.request(b.id, "/echo/1", bytes(100_000))
        info = a.metrics.bandwidth()
        assert 100_000 <= info.protocols["/echo/1"].bytes_out < 101_000
        assert 100_000 <= info.peers[b.id].bytes_in <= info.total.bytes_in
    async with node(metrics={"bandwidth": False}) as quiet:
        with pytest.raises(libp2pgo.StateError, match=r"metrics\.bandwidth"):
            quiet.metrics.bandwidth()


async def test_perf_tells_how_long_bytes_take() -> None:
    async with pair() as (a, b):
        with b.perf.serve(max_streams=4, timeout=60) as server:
            result = await a.perf.run(b.addresses[0], upload=200_000, download=400_000)
            assert (result.upload_bytes, result.download_bytes) == (200_000, 400_000)
            assert result.transport == "tcp"
            assert result.upload_time > 0
            assert result.download_rate > 0
            assert server.info()["accepted"] == 1
            with pytest.raises(libp2pgo.AlreadyExists):
                b.perf.serve()
        with pytest.raises(libp2pgo.ProtocolNotSupported):
            await b.perf.run(a.id, upload=1)


async def test_cancelling_perf_ends_it_at_the_server() -> None:
    async with pair() as (a, b):
        server = b.perf.serve()
        run = asyncio.ensure_future(a.perf.run(b.id, download=8 << 30))
        await until(lambda: server.info()["open"] == 1, "the run to begin")
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        await until(lambda: server.info()["open"] == 0, "the run to end")


def test_numbers_without_asyncio() -> None:
    with sync_node() as a, sync_node() as b:
        b.connect(a.addresses)
        assert isinstance(a, sync.Node)
        assert b.metrics.value("libp2pgo_peers") == 1
        with a.perf.serve():
            assert b.perf.run(a.id, upload=1000, download=1000).download_bytes == 1000
        assert "libp2pgo_peers 1" in b.metrics.text()


def test_the_dashboard_uses_metrics_that_exist() -> None:
    """Every name in a panel is one that a node shows, and counters are shown as rates."""

    def family(metrics: Metrics, name: str) -> dict[str, Any] | None:
        found = metrics.json()["metrics"]
        known: dict[str, Any] | None = found.get(name) or found.get(re.sub(r"_(bucket|sum|count)$", "", name))
        return known

    dashboard = json.loads((ROOT / "docs" / "grafana" / "libp2pgo.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    assert len(expressions) > 40
    with sync_node() as a:
        used = set()
        for expression in expressions:
            for name in re.findall(r"\b(?:libp2pgo|go|process)_[a-z0-9_]+", expression):
                known = family(a.metrics, name)
                assert known is not None, f"{name} does not exist: {expression}"
                if known["type"] != "gauge" and "panics" not in name:  # the mere number of those tells enough
                    assert f"rate({name}" in expression, expression
                used.add(name)
        assert len(used) > 30
