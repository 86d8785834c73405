"""Peers that know a name, and not each other, meet."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
from typing import Any, AsyncIterator

import pytest

import libp2pgo
from helpers import NOBODY, node, pair, sync_node, until
from libp2pgo import Advertised, FoundPeer, PeerGone, PeerMet, PeerUnanswering, SourceFailed

QUICK: dict[str, Any] = {"retry_min": 0.05, "retry_max": 0.2, "interval": 0.2}


def point(**options: Any) -> libp2pgo.Node:
    return node(rendezvous={"server": True, "ttl_min_ms": 1000, **options})


@contextlib.asynccontextmanager
async def world(guests: int = 2) -> AsyncIterator[list[libp2pgo.Node]]:
    """A rendezvous point and nodes that use it."""
    async with contextlib.AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(point())]
        for _ in range(guests):
            nodes.append(await stack.enter_async_context(node(rendezvous={"points": list(nodes[0].addresses)})))
        yield nodes


def registrations(n: libp2pgo.Node) -> int:
    found: int = n.info()["rendezvous"]["registrations"]
    return found


async def test_register_and_discover() -> None:
    async with world() as (at, a, b):
        registration = await a.discovery.register(at.addresses, "books", ttl=3600)
        assert registration.granted == 3600
        answer = await b.discovery.discover(at.addresses, "books", limit=3)
        (found,) = answer.peers
        assert (found.peer, found.namespace, answer.refused) == (a.id, "books", 0)
        assert 3590 < found.ttl <= 3600
        assert {f"{x}/p2p/{a.id}" for x in found.addresses} == set(a.addresses)
        assert (await b.discovery.discover(at.addresses, "books", cookie=answer.cookie)).peers == ()
        with pytest.raises(libp2pgo.InvalidArgument, match="cookie"):
            await b.discovery.discover(at.addresses, "films", cookie=answer.cookie)
        registration.close()
        await until(lambda: registrations(at) == 0, "the registration to be taken back")
        await a.discovery.register(at.addresses, "books")
        await a.discovery.unregister(at.addresses, "books")
        await until(lambda: registrations(at) == 0, "the other one too")


async def test_a_point_refuses() -> None:
    async with point(max_per_peer=1, max_namespace=4) as at, node() as a:
        with pytest.raises(libp2pgo.InvalidArgument, match="too long"):
            await a.discovery.register(at.addresses, "longer")
        await a.discovery.register(at.addresses, "one")
        with pytest.raises(libp2pgo.Busy, match="too many"):
            await a.discovery.register(at.addresses, "two")
        with pytest.raises(libp2pgo.ProtocolNotSupported):
            await at.discovery.discover(a.addresses)
        with pytest.raises(libp2pgo.StateError, match="rendezvous.points"):
            a.discovery.find("x")
        with pytest.raises(libp2pgo.ConfigError, match=r"sources\[0\]"):
            a.discovery.advertise("x", sources=["tracker"])
        assert "open" in repr(a.discovery.join("x"))


async def test_renewal_and_the_end_of_a_point() -> None:
    async with point() as at, node() as a:
        registration = await a.discovery.register(at.addresses, "n", ttl=1, retry_min=0.02)
        events = registration.events()
        renewed = await events.next(timeout=10)
        assert isinstance(renewed, Advertised)
        assert renewed.source == f"rendezvous {at.id}"
        assert 0 < renewed.renewed_in <= 1
        await at.close()
        async for event in events:
            if isinstance(event, SourceFailed):
                assert event.source == f"rendezvous {at.id}"
                assert isinstance(event.error, libp2pgo.Error)
                assert event.retry_in >= 0.02
                break


async def test_advertise_and_find() -> None:
    async with world() as (_, a, b):
        advertisement = a.discovery.advertise("t")
        assert isinstance(await advertisement.events().next(timeout=10), Advertised)
        found = [peer async for peer in b.discovery.find("t")]
        assert [(f.peer, f.source.split()[0]) for f in found] == [(a.id, "rendezvous")]
        async with b.discovery.find("t", follow=True, limit=1) as search:
            assert (await search.next(timeout=10)) == found[0]
            assert await search.next(timeout=10) is None
        search = b.discovery.find("nothing", follow=True)
        with pytest.raises(libp2pgo.Timeout):
            await search.next(timeout=0.01)
        search.close()
        assert await search.next() is None
        with pytest.raises(libp2pgo.DialError):
            await b.discovery.find("t", points=[f"/ip4/127.0.0.1/tcp/1/p2p/{NOBODY}"]).next(timeout=10)


async def test_join() -> None:
    async with world(3) as (_, *nodes):
        async with contextlib.AsyncExitStack() as stack:
            meetings = [await stack.enter_async_context(n.discovery.join("book club", **QUICK)) for n in nodes]
            for n, meeting in zip(nodes, meetings):
                met = set()
                async for peer in meeting:
                    met.add(peer)
                    if len(met) == 2:
                        break
                assert met == {other.id for other in nodes} - {n.id}
                assert set(meeting.peers()) == met
            with pytest.raises(TypeError, match="types: 'PeerGone' is none of the event classes FoundPeer, .*, PeerGone"):
                meetings[0].events("PeerGone")  # type: ignore[call-overload]
            gone = meetings[0].events(PeerGone)
            meetings[1].close()
            assert await gone.next(timeout=10) == PeerGone(nodes[1].id)
            assert nodes[1].id in nodes[0].peers()
            await nodes[2].close()
            assert await gone.next(timeout=10) == PeerGone(nodes[2].id)
            assert meetings[0].peers() == []
            assert await meetings[2].next(timeout=10) is None
        assert await meetings[0].next() is None


async def test_join_among_connected_peers() -> None:
    async with pair() as (a, b):
        first, second = a.discovery.join("t"), b.discovery.join("t")
        events = first.events(PeerMet, FoundPeer)
        assert await second.next(timeout=10) == a.id
        assert await first.next(timeout=10) == b.id
        a.disconnect(b.id)
        async for met in events:
            if met.source == "peers" and met.peer == b.id:
                break
        with pytest.raises(libp2pgo.AlreadyExists):
            a.discovery.join("t")


async def test_a_peer_that_does_not_answer() -> None:
    async with world(1) as (at, a), node(addresses={"announce": ["/ip4/127.0.0.1/tcp/1"]}) as h:
        await h.discovery.register(at.addresses, "t")
        meeting = a.discovery.join("t", retry_limit=2, **QUICK)
        async with meeting.events(PeerUnanswering) as events:
            first = await events.next(timeout=10)
            assert first is not None
            assert (first.peer, type(first.error)) == (h.id, libp2pgo.DialError)
            assert first.retry_in > 0
            second = await events.next(timeout=10)
            assert second is not None
            assert second.retry_in == 0  # forgotten, until it is found again


async def test_a_node_that_closes_takes_its_registrations_back() -> None:
    async with world(1) as (at, a):
        await a.discovery.register(at.addresses, "t")
        a.discovery.advertise("u")
        await until(lambda: registrations(at) == 2)
        await a.close()
        await until(lambda: registrations(at) == 0)


async def test_cancelling_and_closing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        nowhere = f"/ip4/127.0.0.1/tcp/{hanging.getsockname()[1]}/p2p/{NOBODY}"
        async with node() as a:
            task = asyncio.ensure_future(a.discovery.register(nowhere, "n"))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises(libp2pgo.Timeout):
                await a.discovery.discover(nowhere, timeout=0.05)
            meeting = a.discovery.join("t", points=nowhere)
            waiting = [asyncio.ensure_future(a.discovery.discover(nowhere)), asyncio.ensure_future(meeting.next())]
            await asyncio.sleep(0.05)
        with pytest.raises(libp2pgo.ClosedError):
            await waiting[0]
        assert await waiting[1] is None
        assert meeting.closed
        with pytest.raises(libp2pgo.NodeClosed):
            a.discovery.join("t")


async def test_cycles_leave_nothing() -> None:
    async with world(1) as (at, a):
        for _ in range(20):
            meeting = a.discovery.join("t")
            search = a.discovery.find("t", follow=True)
            registration = await a.discovery.register(at.addresses, "u")
            for running in (meeting, search, registration):
                running.close()
                running.close()
        gc.collect()
        assert a._core.lib.p2p_live_handles(12) + a._core.lib.p2p_live_handles(11) == 0
        await until(lambda: registrations(at) == 0)


def test_sync() -> None:
    with contextlib.ExitStack() as stack:
        at = stack.enter_context(sync_node(rendezvous={"server": True}))
        a, b = (stack.enter_context(sync_node(rendezvous={"points": list(at.addresses)})) for _ in range(2))
        with a.discovery.join("t", **QUICK) as one, b.discovery.join("t", **QUICK) as two:
            assert next(one) == b.id
            assert two.next(timeout=10) == a.id
            assert one.peers() == [b.id]
            events = one.events(PeerGone)
            two.close()
            assert events.next(timeout=10) == PeerGone(b.id)
        with a.discovery.register(at.addresses, "x") as registration:
            assert registration.granted == 7200
            assert [f.peer for f in b.discovery.find("x")] == [a.id]
            assert [p.peer for p in b.discovery.discover(at.addresses, "x").peers] == [a.id]
        a.discovery.unregister(at.addresses, "x")
        with a.discovery.advertise("y") as advertisement:
            assert isinstance(advertisement.events().next(timeout=10), Advertised)
