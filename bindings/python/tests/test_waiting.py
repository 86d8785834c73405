"""What all that can be waited for has in common: several may wait, and a timeout is one for the whole call."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import signal
import threading
from time import monotonic
from typing import Any, Callable, Iterator

import pytest

import libp2pgo
from helpers import node, pair, sync_node
from libp2pgo import sync

ITERATORS: dict[str, Callable[[libp2pgo.Node], Any]] = {
    "Events": lambda n: n.events(libp2pgo.PeerGraylisted),
    "TopicEvents": lambda n: n.join("t").events(),
    "Subscription": lambda n: n.subscribe("t"),
    "Meeting": lambda n: n.discovery.join("t", sources=["peers"]),
    "PeerSearch": lambda n: n.discovery.find("t", follow=True),
    "DiscoveryEvents": lambda n: n.discovery.join("t", sources=["peers"]).events(libp2pgo.PeerGone),
}


@pytest.mark.parametrize("kind", ITERATORS)
async def test_all_that_wait_hear_of_the_end(kind: str) -> None:
    async with node(rendezvous={"server": True}) as point, node(rendezvous={"points": list(point.addresses)}) as n:
        items = ITERATORS[kind](n)
        waiting = [asyncio.ensure_future(items.next()) for _ in range(3)]
        await asyncio.sleep(0)  # all three wait
        items.close()
        assert await asyncio.wait_for(asyncio.gather(*waiting), 5) == [None] * 3


async def test_each_item_goes_to_one_that_waits() -> None:
    async with pair() as (a, b):
        events = a.join("t").events()
        waiting = [asyncio.ensure_future(events.next(timeout=10)) for _ in range(2)]
        await asyncio.sleep(0)
        topic = b.join("t")
        subscription = topic.subscribe()
        done, rest = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        subscription.close()
        topic.close()
        assert [task.result() for task in done] == [libp2pgo.PeerJoined(b.id)]
        assert [await task for task in rest] == [libp2pgo.PeerLeft(b.id)]


async def test_two_tasks_share_a_search() -> None:
    async with node(dht={"mode": "server"}) as a, node(dht={"mode": "server"}) as b:
        await b.connect(a.addresses)
        await asyncio.gather(a.dht.bootstrap(), b.dht.bootstrap())
        await a.dht.provide("/model/7")
        search = b.dht.find_providers("/model/7")

        async def read() -> list[Any]:
            return [found.peer async for found in search]

        one, two = await asyncio.wait_for(asyncio.gather(read(), read()), 10)
        assert one + two == [a.id]


def test_all_threads_that_wait_hear_of_the_end() -> None:
    with sync_node() as n:
        meeting = n.discovery.join("t", sources=["peers"])
        found: list[Any] = []
        threads = [threading.Thread(target=lambda: found.append(meeting.next(timeout=10)), daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        meeting.close()
        for thread in threads:
            thread.join(5)
        assert found == [None, None]


@contextlib.contextmanager
def meanwhile(step: Callable[[], object], pause: float) -> Iterator[threading.Event]:
    """Something that another thread repeats, for some seconds at most; the event tells that those are over."""
    over, enough = threading.Event(), threading.Event()

    def work() -> None:
        end = monotonic() + 5
        while monotonic() < end and not enough.wait(pause):
            step()
        over.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield over
    finally:
        enough.set()
        thread.join()


def test_what_comes_for_others_does_not_prolong_a_timeout() -> None:
    with sync_node() as a, sync_node() as b:
        events = a.events(libp2pgo.PeerGraylisted)

        def come_and_go() -> None:
            b.connect(a.addresses)
            b.disconnect(a.id)

        with meanwhile(come_and_go, 0.05) as over:
            with pytest.raises(libp2pgo.Timeout, match=r"within 0\.5 s"):
                events.next(timeout=0.5)
            assert not over.is_set()


@pytest.mark.parametrize(("read", "drop"), [("readline", b"x"), ("read_message", b"\x80")])
def test_a_peer_that_drips_does_not_prolong_a_timeout(read: str, drop: bytes) -> None:
    """One timeout holds for a whole line, and for the length of a message and the message together."""
    drops = threading.Semaphore(9)  # a tenth byte would make the length malformed
    with sync_node() as a, sync_node() as b, contextlib.ExitStack() as stack:

        @b.handle("/test/drip/1")
        def drip(stream: sync.Stream) -> None:
            def step() -> None:
                if drops.acquire(blocking=False):
                    stream.write(drop)

            with meanwhile(step, 0.15):
                stream.read()

        a.connect(b.addresses)
        stream = stack.enter_context(a.open_stream(b.id, "/test/drip/1"))
        stream.write(b"?")
        with pytest.raises(libp2pgo.Timeout):
            getattr(stream, read)(timeout=0.5)
        assert drops.acquire(blocking=False)
        stream.close_write()  # the handler stops dripping, and then ends the stream
        stream.read()


@pytest.mark.parametrize("timeout", [0, -0.1, -math.inf])
def test_a_timeout_below_zero_is_over_at_once(timeout: float) -> None:
    with sync_node() as n:
        results: list[object] = []

        def wait() -> None:
            for items in (n.subscribe("t"), n.events(libp2pgo.PeerGraylisted), n.discovery.join("t", sources=["peers"])):
                with items, pytest.raises(libp2pgo.Timeout) as caught:
                    items.next(timeout=timeout)
                results.append(caught.type)

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        thread.join(5)
        assert results == [libp2pgo.Timeout] * 3


async def test_infinity_is_no_limit_and_nan_is_refused() -> None:
    async with pair() as (a, b):
        assert await a.ping(b.id, timeout=math.inf) > 0
        with pytest.raises(libp2pgo.InvalidArgument, match="nan"):
            await a.ping(b.id, timeout=math.nan)
        async with a.subscribe("t") as items:
            waiting = asyncio.ensure_future(items.next(timeout=math.inf))
            await asyncio.sleep(0)
            await b.publish("t", b"x", min_peers=1)
            message = await waiting
            assert message is not None
            assert message.data == b"x"
            with pytest.raises(libp2pgo.InvalidArgument, match="nan"):
                await items.next(timeout=math.nan)


@pytest.mark.filterwarnings("ignore:.*was never awaited")  # a signal may come before the call has begun
def test_a_signal_loses_no_batch() -> None:
    """An exception from a signal handler, as Ctrl-C raises, can cost no more than the message that was just on its way to the caller."""
    count, signals, got = 20000, 0, [-1]

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with sync_node() as n, n.subscribe("t", capacity=count) as items:
        n.topic("t").publish_many([b"%d" % i for i in range(count)])
        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            while got[-1] < count - 1:
                try:
                    signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.002))
                    while True:
                        message = items.next(timeout=10)
                        assert message is not None
                        got.append(int(message.data))
                        if got[-1] == count - 1:
                            break
                except KeyboardInterrupt:
                    signals += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert signals
        assert got == sorted(set(got))
        assert count + 1 - len(got) <= signals
        assert items.dropped == 0
