"""Reachability, reservations with relays, and the relay service."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

import libp2pgo
from helpers import node, sync_node, until
from libp2pgo import HolePunch, PathChanged, ReachabilityChanged, ReservationChanged

SERVICE: dict[str, Any] = {"service": {"enabled": True, "when": "always"}}


def relayed(n: libp2pgo.Node) -> list[str]:
    return [a for a in n.addresses if "/p2p-circuit" in a]


async def test_reservation_makes_a_node_reachable() -> None:
    """Its addresses are the node's while it is held, and lead to it."""
    async with node(relay=SERVICE) as relay, node() as a, node() as b:
        events = b.events(ReservationChanged)
        async with await b.relay.reserve(relay.addresses) as place:
            assert place.relay == relay.id
            assert len(place.addresses) == 1
            assert place.addresses[0].endswith(f"/p2p-circuit/p2p/{b.id}")
            assert relayed(b) == list(place.addresses)
            made = await events.next(timeout=10)
            assert made is not None
            assert made.state == "made"
            assert made.error is None
            assert made.relay == relay.id
            assert made.addresses == place.addresses
            assert made.expires is not None
            assert await b.nat.wait("relayed") == "unknown"
            assert b.nat.info()["relayed"] == [place.addresses[0].removesuffix(f"/p2p/{b.id}")]

            @b.on_request("/echo/1")
            async def echo(request: libp2pgo.Request) -> bytes:
                return request.data

            assert await a.connect(place.addresses) == b.id
            with pytest.raises(libp2pgo.LimitedConnection):
                await a.request(b.id, "/echo/1", b"hello")
            assert await a.request(b.id, "/echo/1", b"hello", allow_limited=True) == b"hello"
            service = relay.relay.info()["service"]
            assert service["running"]
            assert [r["peer"] for r in service["reservations"]] == [b.id]
            assert service["circuits"] == 1
            assert sorted(service["circuit_peers"]) == sorted([a.id, b.id])
            assert place.info()["state"] == "held"
            assert b.relay.info()["client"]["reservations"][0]["explicit"]
        assert relayed(b) == []


async def test_reservation_comes_back_with_its_relay(tmp_path: Any) -> None:
    """A restart of the relay loses the place, and makes it again."""
    identity = str(tmp_path / "relay.key")
    options: Any = {"client": {"retry_min_ms": 50, "retry_max_ms": 100}}
    async with node(relay=options) as b:
        async with node(relay=SERVICE, identity=identity) as relay:
            port = relay.addresses[0].split("/")[4]
            place = await b.relay.reserve(relay.addresses)
            events = b.events(ReservationChanged)
        states = []
        while "lost" not in states:
            change = await events.next(timeout=20)
            assert change is not None
            states.append(change.state)
        assert change is not None
        assert change.error is not None
        assert change.retry_in is not None
        assert place.addresses == ()
        async with node(relay=SERVICE, identity=identity, listen=[f"/ip4/127.0.0.1/tcp/{port}"]):
            while states[-1] != "made":
                change = await events.next(timeout=20)
                assert change is not None
                states.append(change.state)
            assert relayed(b) == list(place.addresses) != []


async def test_relays_are_found_by_option() -> None:
    """A node that is private holds places with the relays of its options; a public one does not."""
    async with node(relay=SERVICE) as relay:
        client: Any = {"client": {"relays": [relay.addresses[0]]}}
        async with node(relay=client, nat={"reachability": "private"}) as b:
            assert await b.nat.wait() == "private"
            assert len(relayed(b)) == 1
        async with node(relay=client, nat={"reachability": "public"}) as c:
            event = await c.events(ReachabilityChanged).next(timeout=10)
            assert event == ReachabilityChanged("public", "option")
            assert await c.nat.wait("public") == c.nat.reachability == "public"
            assert c.relay.info()["client"]["reservations"] == []


async def test_relay_rules_change_at_run_time() -> None:
    """Allow, deny, forget."""
    async with node(relay=SERVICE) as relay, node() as b:
        relay.relay.deny([b.id, "10.0.0.0/8"])
        with pytest.raises(libp2pgo.Refused, match="rules"):
            await b.relay.reserve(relay.addresses)
        relay.relay.forget(b.id)
        relay.relay.allow("127.0.0.0/8")
        (await b.relay.reserve(relay.addresses)).close()
        service = relay.relay.info()["service"]
        assert service["allow"] == ["127.0.0.0/8"]
        assert service["deny"] == ["10.0.0.0/8"]
        refused = {"reservation_permission_denied": 1}  # the relay counts when it has answered
        await until(lambda: relay.relay.info()["service"]["refused"] == refused, "the refusal to be counted")
        with pytest.raises(libp2pgo.NotFound):
            relay.relay.forget("127.0.0.1")
        with pytest.raises(libp2pgo.StateError):
            b.relay.allow("127.0.0.1")


async def test_waiting_ends_with_its_task_and_its_node() -> None:
    """Cancelling, time and close end waiting calls; what a cancelled reservation made is given up."""
    async with node(relay=SERVICE) as relay, node() as b:
        with pytest.raises(libp2pgo.Timeout, match="unknown"):
            await b.nat.wait("public", timeout=0.05)
        with pytest.raises(libp2pgo.InvalidArgument):
            await b.nat.wait("tomorrow")  # type: ignore[arg-type]
        for delay in (0, 0.001, 0.005, 0.02):
            task = asyncio.ensure_future(b.relay.reserve(relay.addresses))
            await asyncio.sleep(delay)
            if task.cancel():
                with pytest.raises(asyncio.CancelledError):
                    await task
            else:
                task.result().close()
            await until(lambda: not b.relay.info()["client"]["reservations"], "nothing to be reserved")
        waiting = asyncio.ensure_future(b.nat.wait("public", timeout=None))
        await asyncio.sleep(0)
    with pytest.raises(libp2pgo.ClosedError):
        await waiting


def test_sync_face(tmp_path: Any) -> None:
    """The same without asyncio."""
    with sync_node(relay=SERVICE) as relay, sync_node() as b:
        with b.relay.reserve(relay.addresses) as place:
            assert b.nat.wait("relayed") == b.nat.reachability == "unknown"
            assert place.addresses
            assert place.addresses[0] in b.addresses
            assert relay.relay.info()["service"]["reservations"][0]["peer"] == b.id
        relay.relay.deny(b.id)
        with pytest.raises(libp2pgo.Refused):
            b.relay.reserve(relay.addresses)


async def test_reservations_leave_nothing_behind() -> None:
    """Made and closed again and again, also by the node."""
    lib = libp2pgo._library.library()

    def goroutines() -> int:
        found: int = lib.json(lib.p2p_runtime_info)["goroutines"]
        return found

    async with node(relay=SERVICE) as relay:
        before = 0
        for cycle in range(int(os.environ.get("CYCLES", "8"))):
            async with node() as b:
                for _ in range(3):
                    (await b.relay.reserve(relay.addresses)).close()
                await b.relay.reserve(relay.addresses)
            if cycle == 2:
                before = goroutines()
        await until(lambda: goroutines() <= before + 4, "the goroutines to end", 20)


def test_events_name_what_they_bring() -> None:
    """The types of the events are public."""
    assert {HolePunch, PathChanged} <= set(libp2pgo.events.EVENTS)
