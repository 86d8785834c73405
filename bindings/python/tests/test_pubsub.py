"""Pubsub: who hears what, what is lost and said so, and who may say it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import warnings
from typing import Any, Iterator

import pytest

import libp2pgo
from helpers import pair, sync_node, until
from libp2pgo import Message, Verdict


async def test_a_message_tells_who_and_what() -> None:
    async with pair() as (a, b), b.subscribe("news") as sub:
        assert await a.publish("news", b"hello", min_peers=1) == 1
        message = await sub.next(timeout=5)
        assert message is not None
        assert (message.data, message.peer, message.author, message.received_from) == (b"hello", a.id, a.id, a.id)
        assert (message.topic, message.signed, message.local, message.missed) == ("news", True, False, 0)
        assert message.id
        assert a.id in repr(message)


async def test_own_messages_come_too() -> None:
    async with pair() as (a, _), a.subscribe("news") as sub:
        await a.publish("news", b"to myself")
        message = await sub.next(timeout=5)
        assert message is not None
        assert message.local
        assert message.peer == a.id


async def test_unsigned() -> None:
    async with pair(pubsub={"signing": "none"}) as (a, b), b.subscribe("news") as sub:
        await a.publish("news", b"x", min_peers=1)
        message = await sub.next(timeout=5)
        assert message is not None
        assert not message.signed


async def test_a_burst_arrives_whole() -> None:
    count = 10_000
    async with pair() as (a, b), b.subscribe("news") as sub:
        topic = a.topic("news")
        await topic.publish(b"first", min_peers=1)
        await sub.next(timeout=5)
        sending = asyncio.gather(*(topic.publish(b"%d" % i) for i in range(count)))
        got = []
        async for message in sub:
            got.append(int(message.data))
            if len(got) == count:
                break
        await sending
        assert sorted(got) == list(range(count))
        assert sub.dropped == 0


async def test_min_peers_waits_or_fails() -> None:
    async with pair() as (a, b):
        with pytest.raises(libp2pgo.NotEnoughPeers):
            await a.publish("news", b"x", min_peers=1, timeout=0.1)
        waiting = asyncio.ensure_future(a.publish("news", b"x", min_peers=1))
        async with b.subscribe("news"):
            assert await waiting == 1
            assert a.topic("news").peers() == [b.id]


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
async def test_what_is_dropped_is_counted_and_announced(overflow: Any) -> None:
    async with pair() as (a, _):
        topic = a.join("news")
        with topic_subscription(topic.subscribe(capacity=10, overflow=overflow)) as sub:
            for i in range(200):
                await topic.publish(b"%d" % i)
            await until(lambda: sum(sub.info()[key] for key in ("delivered", "dropped", "waiting")) >= 200, "all to be dealt with")
            got: list[Message] = []
            while sub.info()["waiting"] or len(got) < sub.info()["delivered"]:
                message = await sub.next(timeout=5)
                assert message is not None
                got.append(message)
            await topic.publish(b"last")
            while not got or got[-1].data != b"last":
                message = await sub.next(timeout=5)
                assert message is not None
                got.append(message)
            assert 0 < len(got) < 200
            assert sub.dropped == 201 - len(got)
            assert sum(message.missed for message in got) == sub.dropped


class topic_subscription:
    """A plain with for a subscription."""

    def __init__(self, sub: libp2pgo.Subscription) -> None:
        self.sub = sub

    def __enter__(self) -> libp2pgo.Subscription:
        return self.sub

    def __exit__(self, *_: object) -> None:
        self.sub.close()


async def test_cancelling_loses_no_message() -> None:
    async with pair() as (a, b), b.subscribe("news") as sub:
        await a.publish("news", b"0", min_peers=1)
        got: list[int] = []
        i = 0
        while len(got) < 50:
            task = asyncio.ensure_future(sub.next(timeout=5))
            i += 1
            await a.publish("news", b"%d" % i)
            for _ in range(i % 7):
                await asyncio.sleep(0)
            task.cancel()
            [result] = await asyncio.gather(task, return_exceptions=True)
            if isinstance(result, Message):
                got.append(int(result.data))
            elif i % 3 == 0:
                message = await sub.next(timeout=5)
                assert message is not None
                got.append(int(message.data))
        assert len(set(got)) == len(got)
        while len(got) < i + 1:
            message = await sub.next(timeout=5)
            assert message is not None
            got.append(int(message.data))
        assert sorted(got) == list(range(i + 1))


async def test_closing_ends_the_iteration() -> None:
    async with pair() as (a, _):
        sub = a.subscribe("news")
        task = asyncio.ensure_future(sub.next())
        await asyncio.sleep(0.01)
        sub.close()
        assert await task is None
        assert [m async for m in sub] == []


async def test_leaving_the_topic_ends_its_subscriptions() -> None:
    async with pair() as (a, _):
        topic = a.join("news")
        sub = topic.subscribe()
        with pytest.raises(libp2pgo.AlreadyExists):
            a.join("news")
        topic.close()
        assert await sub.next(timeout=5) is None
        with pytest.raises(libp2pgo.ClosedError):
            await topic.publish(b"x")
        a.join("news")


async def test_who_joins_and_leaves() -> None:
    async with pair() as (a, b), a.join("news").events() as events:
        sub = b.subscribe("news")
        assert await events.next(timeout=5) == libp2pgo.PeerJoined(b.id)
        sub.close()
        b.topic("news").close()
        assert await events.next(timeout=5) == libp2pgo.PeerLeft(b.id)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_validator_decides(kind: str) -> None:
    def judge(message: Message) -> bool | Verdict:
        if message.data == b"ignore":
            return Verdict.IGNORE
        return message.data != b"bad"

    async def later(message: Message) -> bool | Verdict:
        await asyncio.sleep(0)
        return judge(message)

    async with pair() as (a, b):
        topic = b.join("news", validator=judge if kind == "sync" else later)
        async with topic.subscribe() as sub:
            await a.publish("news", b"bad", min_peers=1)
            await a.publish("news", b"ignore")
            await a.publish("news", b"good")
            message = await sub.next(timeout=5)
            assert message is not None
            assert message.data == b"good"


async def test_a_validator_that_fails_or_never_answers_leaves_the_default(caplog: pytest.LogCaptureFixture) -> None:
    async def judge(message: Message) -> bool:
        if message.data == b"fail":
            raise ZeroDivisionError
        if message.data == b"hang":
            await asyncio.Event().wait()
        return True

    async with pair() as (a, b):
        topic = b.join("news", validator=judge, validate_timeout=0.05, validate_default="ignore")
        async with topic.subscribe() as sub:
            for data in (b"fail", b"hang", b"good"):
                await a.publish("news", data, min_peers=1)
            message = await sub.next(timeout=5)
            assert message is not None
            assert message.data == b"good"
            await until(lambda: "ZeroDivisionError" in caplog.text, "the failure in the log")  # messages are judged side by side
            await until(lambda: topic.info()["verdicts_late"] == 1, "the late verdict")


async def test_rules() -> None:
    async with pair() as (a, b):
        topic = a.join("news", max_size=10)
        with pytest.raises(libp2pgo.Error):
            await topic.publish(bytes(11))
        strict = b.join("signed", signers=[b.id])
        async with strict.subscribe() as sub:
            await a.publish("signed", b"stranger", min_peers=1)
            await strict.publish(b"member")
            message = await sub.next(timeout=5)
            assert message is not None
            assert message.data == b"member"


async def test_a_message_over_the_limit() -> None:
    async with pair(pubsub={"max_message_size": 1000}) as (a, _):
        with pytest.raises(libp2pgo.TooBig):
            await a.publish("news", bytes(2000))


async def test_a_bad_option_is_named() -> None:
    async with pair() as (a, _):
        with pytest.raises(libp2pgo.ConfigError, match="overflow"):
            a.subscribe("news", overflow="sometimes")  # type: ignore[arg-type]
        with pytest.raises(libp2pgo.ConfigError, match="validate_default"):
            a.join("other", validate_default="maybe")


async def test_pubsub_off() -> None:
    async with pair(pubsub={"enabled": False}) as (a, _):
        with pytest.raises(libp2pgo.StateError):
            a.join("news")


async def test_a_forgotten_subscription_warns() -> None:
    async with pair() as (a, _):
        sub: Any = a.subscribe("news")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del sub
            gc.collect()
        assert [str(w.message) for w in caught] == ["unclosed <Subscription to news>"]


@contextlib.contextmanager
def descriptors(more: int) -> Iterator[None]:
    """There are so many left to open."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + more, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_subscription_that_finds_no_descriptor_leaves_nothing() -> None:
    with sync_node(listen=[]) as n:
        topic = n.join("news")

        def left() -> tuple[object, int]:
            gc.collect()
            info = libp2pgo.runtime.info()
            return info["handles"], info["file_descriptors"]

        before = left()
        failed = 0
        for more in range(256):  # it needs some of its queue, then a pipe: each of them may be the one that is missing
            try:
                with descriptors(more):
                    topic.subscribe().close()
            except (OSError, libp2pgo.Error):
                failed += 1
                assert left() == before
            else:
                break
        assert 3 <= failed < 256


async def test_the_same_with_asyncio() -> None:
    async with pair() as (a, _):
        topic = a.join("news")
        before = libp2pgo.runtime.info()["handles"]
        with descriptors(0), pytest.raises((OSError, libp2pgo.Error)):
            topic.subscribe()
        assert libp2pgo.runtime.info()["handles"] == before
