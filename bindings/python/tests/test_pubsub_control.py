"""Pubsub beyond topics: batches, scores, blocked and direct peers, traces, and the choices of a node and a topic."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import libp2pgo
from helpers import pair, sync_node, until
from libp2pgo import config

FAST: config.PubsubOptions = {"heartbeat_ms": 100}
SCORED: config.PubsubOptions = {"heartbeat_ms": 100, "score": {"enabled": True, "inspect_ms": 100}}


async def test_many_in_one_call() -> None:
    async with pair() as (a, b), b.subscribe("news") as sub:
        topic = a.topic("news")
        messages = [b"%d" % i for i in range(1000)] + [b"", b"x" * 300]
        assert await topic.publish_many(messages, min_peers=1) == [1] * len(messages)
        got = {(await sub.next(timeout=5)).data for _ in messages}  # type: ignore[union-attr]
        assert got == set(messages)
        assert await topic.publish_many([]) == []


async def test_one_of_many_that_fails_keeps_the_others_not_back() -> None:
    async with pair(pubsub={"max_message_size": 1000}) as (a, b), b.subscribe("news") as sub:
        topic = a.topic("news")
        results = await topic.publish_many([b"one", bytes(2000), bytearray(b"two")], min_peers=1, return_exceptions=True)
        assert results[0] == results[2] == 1
        assert isinstance(results[1], libp2pgo.TooBig)
        assert {(await sub.next(timeout=5)).data for _ in range(2)} == {b"one", b"two"}  # type: ignore[union-attr]
        with pytest.raises(libp2pgo.TooBig):
            await topic.publish_many([b"three", bytes(2000)])
        with pytest.raises(TypeError):
            await topic.publish_many(["text"])  # type: ignore[list-item]


async def test_many_wait_for_peers_and_are_cancelled() -> None:
    async with pair() as (a, _):
        topic = a.topic("news")
        results = await topic.publish_many([b"x", b"y"], min_peers=1, timeout=0.1, return_exceptions=True)
        assert all(isinstance(result, libp2pgo.NotEnoughPeers) for result in results)
        task = asyncio.ensure_future(topic.publish_many([b"x"], min_peers=1))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await topic.publish(b"after") == 0


async def test_those_of_one_turn_keep_their_order_and_each_its_own_fate() -> None:
    async with pair(pubsub={"signing": "none", "max_message_size": 100_000}) as (a, b), b.subscribe("news") as sub:
        topic = a.topic("news")
        await topic.publish(b"first", min_peers=1)
        calls = [topic.publish(b"%d" % i) for i in range(300)]
        calls += [topic.publish(bytes(200_000)), topic.publish(bytes(50_000)), topic.publish(bytearray(b"last"), min_peers=1)]
        tasks = [asyncio.ensure_future(call) for call in calls]
        taken_back = asyncio.ensure_future(topic.publish(b"taken back"))
        asyncio.get_running_loop().call_soon(taken_back.cancel)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(results[300], libp2pgo.TooBig)
        assert results[:300] + results[301:] == [1] * 302
        assert [(await sub.next(timeout=5)).data for _ in range(303)] == [  # type: ignore[union-attr]
            b"first", *(b"%d" % i for i in range(300)), bytes(50_000), b"last"
        ]  # fmt: skip
        with pytest.raises(asyncio.CancelledError):
            await taken_back
        await topic.publish(b"after")
        message = await sub.next(timeout=5)
        assert message is not None
        assert message.data == b"after"
        closing = asyncio.ensure_future(topic.publish(b"never"))
        await asyncio.sleep(0)
        topic.close()
        with pytest.raises(libp2pgo.Error):
            await closing


@pytest.mark.parametrize("router", ["gossipsub", "floodsub", "randomsub"])
async def test_routers(router: str) -> None:
    options: config.PubsubOptions = {"router": router, "protocol_prefix": "/own"}
    async with pair(pubsub=options) as (a, b), b.subscribe("news") as sub:
        assert await a.publish("news", b"x", min_peers=1) == 1
        message = await sub.next(timeout=5)
        assert message is not None
        assert message.data == b"x"
        info = a.pubsub.info()
        assert info["router"] == router
        assert list(info["peers"]) == [b.id]
        assert info["protocols"][0].startswith("/own/")


async def test_the_mesh_is_told() -> None:
    async with pair(pubsub=FAST) as (a, b), a.subscribe("news"), b.subscribe("news"):
        await until(lambda: a.pubsub.info()["mesh"] == {"news": [b.id]}, "the mesh")
        assert a.topic("news").info()["mesh"] == [b.id]


async def test_a_flood_of_invalid_messages_is_cut_off() -> None:
    async with pair(pubsub=SCORED) as (a, b), a.events(libp2pgo.PeerGraylisted, libp2pgo.PeerPardoned) as events:
        topic = a.join("news", max_size=10)
        async with topic.subscribe() as sub:
            await b.publish("news", b"well", min_peers=1)
            assert await sub.next(timeout=5)
            await b.topic("news").publish_many([b"%011d" % i for i in range(50)])
            event = await events.next(timeout=10)
            assert event is not None
            assert event.peer == b.id
            assert event.score < -100
            score = a.pubsub.info()["scores"][b.id]
            assert score["graylisted"]
            assert score["topics"]["news"]["invalid_messages"] > 10
            await b.publish("news", b"not heard")
            with pytest.raises(libp2pgo.Timeout):
                await sub.next(timeout=0.3)
            topic.set_score(invalid_messages_weight=0)
            assert isinstance(await events.next(timeout=10), libp2pgo.PeerPardoned)
            await b.publish("news", b"heard")
            message = await sub.next(timeout=5)
            assert message is not None
            assert message.data == b"heard"


async def test_the_programs_own_score() -> None:
    async with pair(pubsub=SCORED) as (a, b):
        a.pubsub.set_score(b.id, -7)
        await until(lambda: a.pubsub.info()["scores"].get(b.id, {}).get("app") == -7, "the score")
    async with pair() as (a, b):
        with pytest.raises(libp2pgo.StateError, match=r"pubsub\.score\.enabled"):
            a.pubsub.set_score(b.id, 1)
        with pytest.raises(libp2pgo.StateError):
            a.topic("news").set_score(weight=2)
        with pytest.raises(libp2pgo.ConfigError, match="score"):
            a.join("other", score={"weight": 2})
        with pytest.raises(libp2pgo.ParseError):
            a.pubsub.set_score("nobody", 1)


async def test_block_and_unblock() -> None:
    async with pair(pubsub=FAST) as (a, b), a.subscribe("news") as sub:
        await b.publish("news", b"one", min_peers=1)
        assert await sub.next(timeout=5)
        async with b.subscribe("news"):
            await until(lambda: a.topic("news").peers() == [b.id], "the peer")
            a.pubsub.block(b.id)
            assert a.pubsub.info()["blocked"] == [b.id]
            await until(lambda: not a.topic("news").peers(), "the peer to be gone")
            a.pubsub.unblock(b.id)
            await until(lambda: a.topic("news").peers() == [b.id] and b.topic("news").peers() == [a.id], "the peer to be back")
            await b.publish("news", b"two", min_peers=1)
            message = await sub.next(timeout=5)
            assert message is not None
            assert message.data == b"two"
        with pytest.raises(libp2pgo.NotFound):
            a.pubsub.unblock(b.id)


async def test_direct_peers() -> None:
    async with pair(pubsub=FAST) as (a, b), b.subscribe("news") as sub:
        a.pubsub.add_direct(b.addresses)
        b.pubsub.add_direct(a.id)
        assert a.pubsub.info()["direct"] == [b.id]
        assert await a.publish("news", b"x", min_peers=1) == 1
        assert await sub.next(timeout=5)
        a.pubsub.remove_direct(b.id)
        with pytest.raises(libp2pgo.NotFound):
            a.pubsub.remove_direct(b.id)


async def test_relay_fanout_only_and_message_id() -> None:
    async with pair(pubsub=FAST) as (a, b):
        b.join("news", relay=True, message_id="content")
        topic = a.join("news", fanout_only=True, message_id="content")
        assert await topic.publish(b"same", min_peers=1) == 1
        assert await topic.publish(b"same") == 0
        assert b.topic("news").info()["subscriptions"] == 0
        await until(lambda: b.topic("news").info()["delivered"] == 1, "the relay to have it")
        with pytest.raises(libp2pgo.ConfigError, match="relay"):
            a.join("both", relay=True, fanout_only=True)


async def test_a_trace_as_events_and_as_a_file(tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    async with pair(pubsub=FAST) as (a, b), b.subscribe("news"):
        async with a.pubsub.trace(events=["publish"], topics=["news"]) as trace, b.pubsub.trace(file) as filed:
            await a.publish("news", b"traced", min_peers=1)
            event = await trace.next(timeout=5)
            assert event is not None
            assert (event["type"], event["topic"], event["size"], event["peers"]) == ("publish", "news", 6, 1)

            def lines() -> list[dict[str, Any]]:
                return [json.loads(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]

            await until(lambda: any(line["type"] == "deliver" and line["id"] == event["id"] for line in lines()), "the file")
            assert filed.info()["file"] == str(file)
        assert await trace.next() is None
        with pytest.raises(libp2pgo.ConfigError, match="events"):
            a.pubsub.trace(events=["everything"])
        with pytest.raises(libp2pgo.PermissionDenied, match="file"):
            a.pubsub.trace(tmp_path)
        unended = a.pubsub.trace()
    assert [event["type"] for event in [event async for event in unended] if event["type"] == "publish"] == []


async def test_options_that_do_not_go_together() -> None:
    for options, words in [
        ({"router": "floodsub", "score": {"enabled": True}}, r"pubsub\.score\.enabled.*pubsub\.router"),
        ({"signing": "sign", "author": "none"}, r"pubsub\.author.*pubsub\.signing"),
        ({"d_out": 5}, r"pubsub\.d_out.*pubsub\.d_low"),
    ]:
        node = libp2pgo.Node(listen=[], pubsub=options)  # type: ignore[arg-type]
        with pytest.raises(libp2pgo.ConfigError, match=words):
            await node.start()


def test_the_sync_face() -> None:
    with sync_node(pubsub=SCORED) as a, sync_node(pubsub=SCORED) as b:
        a.connect(b.addresses)
        with b.subscribe("news") as sub, a.pubsub.trace(events=["publish"]) as trace:
            topic = a.join("news", score={"weight": 2})
            assert topic.publish_many([b"one", b"two"], min_peers=1) == [1, 1]
            assert {sub.next(timeout=5).data for _ in range(2)} == {b"one", b"two"}  # type: ignore[union-attr]
            event = trace.next(timeout=5)
            assert event is not None
            assert event["type"] == "publish"
            topic.set_score(weight=0)
        a.pubsub.set_score(b.id, 3)
        a.pubsub.block(b.id)
        a.pubsub.unblock(b.id)
        a.pubsub.add_direct(b.addresses)
        a.pubsub.remove_direct(b.id)
        assert a.pubsub.info()["router"] == "gossipsub"
