"""What all that can be waited for has in common: several may wait, and a timeout is one for the whole call."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Callable

import pytest

import libp2pgo
from helpers import node, pair, sync_node

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
