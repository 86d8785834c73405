"""What a node tells about itself."""

from __future__ import annotations

import asyncio
import re
import threading
from typing import Any

import pytest

import libp2pgo
from helpers import NOBODY, TCP, node, sync_node, until
from libp2pgo import ListenFailed, PeerConnected, PeerDisconnected, PeerUnreachable
from libp2pgo.events import EventHub


async def test_coming_and_going_in_order() -> None:
    async with node() as a, node() as b, a.events(PeerConnected, PeerDisconnected) as events:
        await b.connect(a.addresses)
        up = await events.next(timeout=5)
        assert isinstance(up, PeerConnected)
        assert (up.peer, up.inbound, up.relayed) == (b.id, True, False)
        b.disconnect(a.id)
        assert await events.next(timeout=5) == PeerDisconnected(b.id)


async def test_the_first_iterator_begins_with_the_start() -> None:
    async with node() as other:
        taken = other.addresses[0].rpartition("/p2p/")[0]
        async with node(listen=[TCP, taken], listen_require="any") as a:
            event = await a.events(ListenFailed).next(timeout=5)
            assert event is not None
            assert event.address == taken
            assert event.reason


async def test_every_iterator_gets_every_event() -> None:
    async with node() as a, node() as b:
        first, second = a.events(PeerConnected), a.events()
        waiting = asyncio.ensure_future(second.next(timeout=5))
        await asyncio.sleep(0)
        await b.connect(a.addresses)
        event = await first.next(timeout=5)
        assert event is not None
        assert event.peer == b.id
        assert await waiting is not None


async def test_what_nobody_fetches_is_counted() -> None:
    async with node() as a, node() as b:
        events = a.events(PeerConnected, PeerDisconnected, capacity=1)
        watcher = a.events(PeerConnected, PeerDisconnected)
        for _ in range(2):
            await b.connect(a.addresses)
            assert isinstance(await watcher.next(timeout=5), PeerConnected)
            b.disconnect(a.id)
            assert isinstance(await watcher.next(timeout=5), PeerDisconnected)
        assert events.missed == 3
        assert await events.next(timeout=5) == PeerDisconnected(b.id)


async def test_an_unreachable_kept_peer_is_told() -> None:
    async with node(keep={"retry_min_ms": 10, "retry_max_ms": 20}) as a:
        events = a.events(PeerUnreachable)
        a.keep(f"/ip4/127.0.0.1/tcp/1/p2p/{NOBODY}")
        event = await events.next(timeout=10)
        assert event is not None
        assert event.peer == NOBODY
        assert isinstance(event.error, libp2pgo.DialError)
        assert event.retry_in > 0


async def test_cancelling_loses_no_event() -> None:
    async with node() as a, node() as b:
        events = a.events(PeerConnected)
        task = asyncio.ensure_future(events.next())
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await b.connect(a.addresses)
        event = await events.next(timeout=5)
        assert event is not None
        assert event.peer == b.id


async def test_a_timeout_is_the_builtin() -> None:
    async with node() as a:
        with pytest.raises(TimeoutError, match="no event"):
            await a.events(PeerConnected).next(timeout=0.01)


async def test_two_loops_hear_the_same() -> None:
    async with node() as a, node() as b:
        heard: list[object] = []
        ready = threading.Event()

        def elsewhere() -> None:
            async def listen() -> None:
                events = a.events(PeerConnected)
                asyncio.get_running_loop().call_later(0.01, ready.set)
                heard.append(await events.next(timeout=10))
                events.close()

            asyncio.run(listen())

        thread = threading.Thread(target=elsewhere)
        thread.start()
        events = a.events(PeerConnected)
        await until(ready.is_set, "the other loop")
        await b.connect(a.addresses)
        event = await events.next(timeout=5)
        await until(lambda: not thread.is_alive(), "the other loop to end")
        assert heard == [event]


async def test_the_iteration_ends_with_the_node() -> None:
    n = await node().start()
    seen = []

    async def listen() -> None:
        async for event in n.events(PeerConnected):
            seen.append(event)

    task = asyncio.ensure_future(listen())
    await asyncio.sleep(0.01)
    await n.close()
    await asyncio.wait_for(task, 5)
    assert seen == []


@pytest.mark.parametrize("wrong", ["PeerConnected", int, (PeerConnected, PeerDisconnected), libp2pgo.PeerJoined, None])
async def test_a_type_that_is_no_event_is_refused_and_harms_nobody(wrong: Any) -> None:
    async with node() as a, node() as b:
        events = a.events(PeerConnected)
        with pytest.raises(TypeError, match=f"types: {re.escape(repr(wrong))} is none of the event classes PeerConnected"):
            a.events(PeerDisconnected, wrong)
        await b.connect(a.addresses)
        assert isinstance(await events.next(timeout=5), PeerConnected)
    with sync_node() as c, pytest.raises(TypeError, match="is none of the event classes"):
        c.events(wrong)


@pytest.mark.parametrize(("capacity", "error"), [(0, ValueError), (-1, ValueError), ("8", TypeError), (None, TypeError)])
async def test_a_capacity_without_room_is_refused(capacity: Any, error: type[Exception]) -> None:
    async with node() as a:
        with pytest.raises(error, match="capacity: "):
            a.events(capacity=capacity)


async def test_a_node_ends_whatever_its_events_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    """And leaves no handle, which the fixture checks."""
    n = await node().start()
    events = n.events()

    def fail(self: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(EventHub, "pull", fail)
        with pytest.raises(ZeroDivisionError):
            await n.close()
    assert n.closed
    assert await events.next(timeout=5) is None
