"""Connecting to peers, and what is known of them."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

import libp2pgo
from helpers import NOBODY, QUIC, TCP, node, pair, until


@pytest.mark.parametrize("listen", [TCP, QUIC])
async def test_connect_ping_and_disconnect(listen: str) -> None:
    async with node(listen=[listen]) as a, node(listen=[listen]) as b:
        assert await a.connect(b.addresses) == b.id
        assert a.peers() == [b.id]
        assert a.peer_info(b.id).rtt_ms == 0
        assert 0 < await a.ping(b.id) < 5
        info = a.peer_info(b.id)
        assert info.rtt_ms > 0
        assert info.connected
        assert info.connections[0].direction == "outbound"
        assert not info.connections[0].relayed
        assert [peer.id for peer in a.peers_info()] == [b.id]
        a.disconnect(b.id)
        await until(lambda: not a.peers() and not b.peers(), "both sides to be apart")


async def test_connect_takes_one_address_several_or_a_known_id() -> None:
    async with node() as a, node() as b:
        await a.connect(b.addresses[0])
        a.disconnect(b.id)
        await a.connect(b.id)
        await a.connect(["/ip4/127.0.0.1/tcp/1/p2p/" + b.id, *b.addresses])


async def test_ping_by_address_connects_first() -> None:
    async with node() as a, node() as b:
        assert await a.ping(b.addresses[0]) > 0


async def test_a_dial_to_nobody_lists_each_address() -> None:
    wrong = [f"/ip4/127.0.0.1/tcp/1/p2p/{NOBODY}", f"/ip4/127.0.0.1/tcp/2/p2p/{NOBODY}"]
    async with node() as a:
        with pytest.raises(ConnectionError) as caught:
            await a.connect(wrong, timeout=10)
        error = caught.value
        assert isinstance(error, libp2pgo.DialError)
        assert sorted(attempt.address.rpartition("/p2p/")[0] or attempt.address for attempt in error.attempts) == [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/127.0.0.1/tcp/2",
        ]
        assert all(attempt.reason for attempt in error.attempts)


async def test_a_wrong_peer_id_is_a_security_error() -> None:
    async with node() as a, node() as b:
        address = b.addresses[0].replace(b.id, NOBODY)
        with pytest.raises(libp2pgo.SecurityError):
            await a.connect(address, timeout=10)


async def test_an_unknown_peer_has_no_address() -> None:
    async with node() as a:
        with pytest.raises(LookupError, match=NOBODY):
            await a.connect(NOBODY)


@pytest.mark.parametrize("address", ["nonsense", "/ip4/1.2.3.4", "/ip4/999.0.0.1/tcp/1", f"/ip4/127.0.0.1/tcp/1/p2p/{NOBODY[:-4]}"])
async def test_a_malformed_address_is_named(address: str) -> None:
    async with node() as a:
        with pytest.raises(libp2pgo.ParseError) as caught:
            await a.connect(address)
        assert address in str(caught.value)


async def test_a_peer_that_hangs_in_the_handshake_costs_the_timeout() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        async with node() as a:
            begin = time.monotonic()
            with pytest.raises(libp2pgo.Error) as caught:
                await a.connect(f"/ip4/127.0.0.1/tcp/{silent.getsockname()[1]}/p2p/{NOBODY}", timeout=0.5)
            assert isinstance(caught.value, (libp2pgo.Timeout, libp2pgo.DialError))
            assert time.monotonic() - begin < 5


async def test_cancelling_a_connect_returns_at_once() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        async with node() as a:
            task = asyncio.ensure_future(a.connect(f"/ip4/127.0.0.1/tcp/{silent.getsockname()[1]}/p2p/{NOBODY}"))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(asyncio.shield(task), 2)


async def test_a_kept_peer_is_connected_again() -> None:
    async with node(keep={"retry_min_ms": 10, "retry_max_ms": 50}) as a, node() as b:
        a.keep(b.addresses)
        await until(lambda: b.id in a.peers(), "the first connection")
        b.disconnect(a.id)
        await until(lambda: not a.peers() or a.peer_info(b.id).connections, "anything")
        await until(lambda: b.id in a.peers() and a.id in b.peers(), "the second connection")
        assert a.peer_info(b.id).kept
        a.release(b.id)
        with pytest.raises(libp2pgo.NotFound):
            a.release(b.id)


async def test_a_text_with_nul_is_refused() -> None:
    async with node() as a:
        with pytest.raises(libp2pgo.InvalidArgument, match="NUL"):
            await a.connect("/ip4/127.0.0.1\0")


async def test_timeouts_are_checked() -> None:
    async with pair() as (a, b):
        with pytest.raises(libp2pgo.InvalidArgument, match="timeout"):
            await a.ping(b.id, timeout=-1)
