"""Diagnosis: a verdict, each address with outcome and time, and advice."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import AsyncIterator

import pytest

import libp2pgo
from helpers import NOBODY, node, pair, sync_node
from libp2pgo import __main__ as cli


def put_in_place_of(address: str, peer: str) -> str:
    return address.split("/p2p/")[0] + "/p2p/" + peer


@contextlib.asynccontextmanager
async def listener(says: bytes) -> AsyncIterator[str]:
    """A TCP port that accepts, says something, and no more."""

    writers: list[asyncio.StreamWriter] = []

    async def accepted(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(says)
        with contextlib.suppress(ConnectionError):
            await writer.drain()

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    try:
        yield f"/ip4/127.0.0.1/tcp/{server.sockets[0].getsockname()[1]}/p2p/{NOBODY}"
    finally:
        server.close()
        for writer in writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def test_a_peer_that_can_be_reached() -> None:
    async with node() as a, node() as b:
        found = await a.explain(b.addresses)
        assert (found.verdict, found.advice, found.reachable) == ("reachable", (), True)
        assert [(x.outcome, x.source, x.scope) for x in found.attempts] == [("ok", "given", "loopback")]
        assert found.attempts[0].time > 0
        assert "[reachable]" in str(found)
        assert found.self["id"] == a.id
        await a.connect(b.addresses)
        assert (await a.explain(b.id)).known.connected
        assert (await a.explain(a.id)).verdict == "self"
        with pytest.raises(libp2pgo.ParseError):
            await a.explain("here")


async def test_each_reason_has_its_own_verdict() -> None:
    async with pair() as (a, b):
        address = b.addresses[0]

        async def verdict(of: libp2pgo.Node, where: str, protocol: str | None = None) -> str:
            found = await of.explain(where, attempt=1.0, protocol=protocol)
            assert found.reachable or found.advice
            return found.verdict

        assert await verdict(a, NOBODY) == "no_address"
        assert await verdict(a, f"/ip4/127.0.0.1/tcp/1/p2p/{NOBODY}") == "nobody_listens"
        assert await verdict(a, put_in_place_of(address, NOBODY)) == "wrong_peer"
        assert await verdict(a, address, "/nothing/1") == "protocol_missing"
        async with listener(b"") as silent, listener(b"220 mail.example ESMTP\r\n") as mail:
            assert await verdict(a, silent) == "stuck"
            assert await verdict(a, mail) == "not_libp2p"
        async with node(listen=[], transports={"tcp": False, "websocket": False}) as deaf:
            assert await verdict(deaf, address) == "transport_off"
        async with node(private_network=bytes([7]) * 32) as secret:
            assert await verdict(secret, address) == "private_network"
            assert await verdict(a, secret.addresses[0]) == "private_network"


async def test_an_explanation_is_cancelled() -> None:
    async with node() as a, listener(b"") as silent:
        explained = asyncio.ensure_future(a.explain(silent, attempt=60.0))
        await asyncio.sleep(0.05)
        explained.cancel()
        with pytest.raises(asyncio.CancelledError):
            await explained


def test_without_asyncio_and_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with sync_node() as a, sync_node() as b:
        assert b.explain(a.addresses).verdict == "reachable"
        assert cli.main(["explain", *a.addresses]) == 0
        assert "[reachable]" in capsys.readouterr().out
        assert cli.main(["explain", "--json", put_in_place_of(a.addresses[0], NOBODY)]) == 1
        assert json.loads(capsys.readouterr().out)["verdict"] == "wrong_peer"
