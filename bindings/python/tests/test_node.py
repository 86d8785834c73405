"""Starting, ending and configuring a node."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import stat
import warnings
import weakref
from pathlib import Path
from typing import Any

import pytest

import libp2pgo
from helpers import QUIC, TCP, child, finish, node, until
from libp2pgo import Node, _library


async def test_a_node_has_a_name_and_addresses() -> None:
    async with node(listen=[TCP, QUIC]) as n:
        assert n.id.startswith("12D3KooW")
        assert isinstance(n.id, libp2pgo.PeerId)
        assert len(n.addresses) >= 2
        assert all(address.peer_id == n.id for address in n.addresses)
        assert n.info()["id"] == n.id
        assert n.id in repr(n)


async def test_close_gives_the_ports_back_and_is_idempotent() -> None:
    n = await node().start()
    port = int(n.addresses[0].split("/")[4])
    await n.close()
    await n.close()
    assert n.closed
    bind(port)


def bind(port: int) -> None:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))


@pytest.mark.parametrize("end", ["waits", "is cancelled"])
@pytest.mark.parametrize("where", ["here", "on another loop"])
async def test_every_closer_waits_for_the_end(end: str, where: str) -> None:
    """As a signal's handler closes a node that an ``async with`` is about to close."""
    n = await node().start()
    port = int(n.addresses[0].split("/")[4])
    first = asyncio.ensure_future(n.close())
    await asyncio.sleep(0)  # it waits now
    assert n.closed
    if end == "is cancelled":
        first.cancel()

    async def second() -> None:
        await n.close()
        bind(port)

    if where == "here":
        await second()
    else:
        await asyncio.get_running_loop().run_in_executor(None, asyncio.run, second())
    await asyncio.gather(first, return_exceptions=True)
    assert first.cancelled() == (end == "is cancelled")
    await n.close()


async def test_a_registration_that_fails_as_it_starts_ends_it() -> None:
    n = node()
    for _ in range(2):

        @n.handle("/x/1")
        async def handler(stream: libp2pgo.Stream) -> None: ...

    with pytest.raises(libp2pgo.AlreadyExists):
        await n.start()
    assert n.closed
    assert _library.library().p2p_live_handles(3) == 0
    with pytest.raises(libp2pgo.StateError, match="once"):
        await n.start()


async def test_closing_as_it_starts_ends_it() -> None:
    n = node()
    starting = asyncio.ensure_future(n.start())
    await asyncio.sleep(0)  # it waits now
    await n.close()
    with pytest.raises(libp2pgo.NodeClosed, match="while it started"):
        await starting
    assert n.closed
    assert _library.library().p2p_live_handles(3) == 0
    await n.close()


async def test_starting_twice_at_once_makes_one_node() -> None:
    n = node()
    first, second = await asyncio.gather(n.start(), n.start(), return_exceptions=True)
    assert first is n
    assert isinstance(second, libp2pgo.StateError)
    assert "being started" in str(second)
    assert _library.library().p2p_live_handles(3) == 1
    await n.close()


async def test_a_start_that_failed_may_be_tried_again(tmp_path: Path) -> None:
    file = tmp_path / "node.key"
    file.write_bytes(b"no key")
    file.chmod(0o600)
    n = node(identity=file)
    with pytest.raises(libp2pgo.ParseError):
        await n.start()
    file.unlink()
    async with n:
        assert n.addresses


async def test_a_closed_node_and_one_not_started_say_so() -> None:
    n = node()
    with pytest.raises(libp2pgo.NodeClosed, match="not started"):
        _ = n.addresses
    await n.close()
    async with node() as n:
        pass
    for call in (lambda: n.addresses, n.peers, n.info, lambda: n.join("x")):
        with pytest.raises(libp2pgo.NodeClosed):
            call()
    with pytest.raises(libp2pgo.NodeClosed):
        await n.connect("/ip4/127.0.0.1/tcp/1/p2p/" + n.id)
    with pytest.raises(libp2pgo.StateError, match="once"):
        await n.start()


async def test_the_key_file_is_made_private_and_used_again(tmp_path: Path) -> None:
    file = tmp_path / "node.key"
    async with node(identity=file) as n:
        first = n.id
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    async with node(identity=str(file)) as n:
        assert n.id == first
    assert libp2pgo.PrivateKey.load(file).peer_id == first


async def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "node.key"
    libp2pgo.PrivateKey.generate().save(file)
    file.chmod(0o644)
    with pytest.raises(PermissionError, match="node.key"):
        await node(identity=file).start()


async def test_a_key_file_that_is_no_key_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "node.key"
    file.write_bytes(b"nonsense")
    file.chmod(0o600)
    with pytest.raises(libp2pgo.Error, match="node.key"):
        await node(identity=file).start()
    assert file.read_bytes() == b"nonsense"


@pytest.mark.parametrize("kind", ["ed25519", "secp256k1", "ecdsa", "rsa"])
async def test_an_identity_from_memory(kind: str) -> None:
    key = libp2pgo.PrivateKey.generate(kind)
    async with node(identity=key) as n:
        assert n.id == key.peer_id
    assert libp2pgo.PrivateKey(bytes(key)) == key
    assert repr(key) == f"<PrivateKey of {key.peer_id}>"


def test_a_malformed_key_is_refused_without_repeating_it() -> None:
    with pytest.raises(libp2pgo.ParseError) as caught:
        libp2pgo.PrivateKey(b"super secret bytes")
    assert "super" not in str(caught.value)


def test_saving_a_key_replaces_nothing(tmp_path: Path) -> None:
    file = tmp_path / "key"
    libp2pgo.PrivateKey.generate().save(file)
    with pytest.raises(FileExistsError):
        libp2pgo.PrivateKey.generate().save(file)


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"config": {"nonsense": 1}}, "nonsense"),
        ({"pubsub": {"d": "eight"}}, "pubsub.d"),
        ({"pubsub": {"d": 0}}, "pubsub.d"),
        ({"limits": {"preset": "huge"}}, "limits.preset"),
        ({"listen": ["not an address"]}, "listen"),
        ({"config": '{"pubsub": {"degree": 8}}'}, "pubsub.degree"),
        ({"security": ["plaintext"]}, "security"),
        ({"connections": {"low": 10, "high": 5}}, "connections"),
    ],
)
async def test_a_bad_option_is_named(options: dict[str, Any], path: str) -> None:
    with pytest.raises(libp2pgo.ConfigError, match=path):
        await Node(**options).start()


async def test_malformed_json_is_refused() -> None:
    with pytest.raises(libp2pgo.ConfigError):
        await Node(config="{").start()


def test_json_and_names_do_not_mix() -> None:
    with pytest.raises(ValueError, match="not both"):
        Node(config="{}", listen=[])


async def test_a_private_network_excludes_quic() -> None:
    with pytest.raises(libp2pgo.ConfigError, match="private_network"):
        await Node(listen=[QUIC], private_network=bytes(32)).start()


async def test_a_private_network_keeps_others_out() -> None:
    secret = os.urandom(32)
    async with node(private_network=secret) as a, node(private_network=secret) as b, node() as stranger:
        await a.connect(b.addresses)
        with pytest.raises(libp2pgo.Error):
            await stranger.connect(b.addresses, timeout=5)


async def test_a_taken_port_is_named() -> None:
    async with node() as n:
        address = n.addresses[0].rpartition("/p2p/")[0]
        with pytest.raises(libp2pgo.ListenError, match=address.split("/")[4]):
            await node(listen=[address]).start()


async def test_options_as_a_document() -> None:
    async with Node(config={"listen": [TCP], "identify": {"agent": "tester/1"}}) as n:
        assert n.info()["agent"] == "tester/1"
    async with Node(config=json.dumps({"listen": [TCP]})) as n:
        assert n.addresses


async def test_many_nodes_start_at_once_and_one_bad_among_them() -> None:
    nodes = [node() for _ in range(4)]
    results = await asyncio.gather(*(n.start() for n in nodes), node(pubsub={"d": 0}).start(), return_exceptions=True)
    assert [type(result) for result in results] == [Node, Node, Node, Node, libp2pgo.ConfigError]
    await asyncio.gather(*(n.close() for n in nodes))


async def test_cancelling_the_start_leaves_nothing() -> None:
    task = asyncio.ensure_future(node().start())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_forgotten_node_warns_and_is_closed() -> None:
    n: Any = await node().start()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        name = n.id
        del n
        import gc

        gc.collect()
    assert [str(w.message) for w in caught if issubclass(w.category, ResourceWarning)] == [f"unclosed <Node {name}>"]
    lib = _library.library()
    await until(lambda: lib.p2p_live_handles(3) == 0, "the node to be closed")


async def test_closing_ends_whatever_waits() -> None:
    async with node() as other:
        n = await node().start()
        await n.connect(other.addresses)

        @other.on_request("/never")
        async def never(request: libp2pgo.Request) -> bytes:
            await asyncio.Event().wait()
            return b""

        waiting = [
            asyncio.ensure_future(n.request(other.id, "/never")),
            asyncio.ensure_future(n.publish("t", b"x", min_peers=5)),
        ]
        sub = n.subscribe("t")
        events = n.events(libp2pgo.ListenFailed)
        iterating = [asyncio.ensure_future(sub.next()), asyncio.ensure_future(events.next())]
        await asyncio.sleep(0.05)
        await n.close()
        for result in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(result, libp2pgo.ClosedError), result
        assert await asyncio.gather(*iterating) == [None, None]


def test_several_nodes_close_with_asyncio_run() -> None:
    """A program that forgets to close ends all the same, in time."""
    code = """
import asyncio, libp2pgo
async def main():
    global nodes
    nodes = [await libp2pgo.Node(listen=["/ip4/127.0.0.1/tcp/0"]).start() for _ in range(3)]
    print("up")
asyncio.run(main())
"""
    status, out, err = finish(child(code))
    assert (status, out) == (0, "up\n"), err


async def test_nothing_is_left_of_a_closed_node_while_another_shares_the_loop() -> None:
    async with node() as other:

        async def life() -> list[weakref.ref[Any]]:
            async def answer(request: libp2pgo.Request) -> bytes:
                return request.data

            def validator(message: libp2pgo.Message) -> bool:
                return True

            async with node() as n:

                async def handler(stream: libp2pgo.Stream) -> None:
                    await stream.write(n.id.encode())

                n.handle("/x/1", handler)
                n.on_request("/y/1", answer)
                n.join("joined")
                topic = n.join("judged", validator=validator)
                n.gater.ask(lambda request: True)
                n.discovery.join("met", sources=["peers"])
                async with other.open_stream(n.addresses, "/x/1") as stream:
                    assert await stream.read() == n.id.encode()
                assert await other.request(n.id, "/y/1", b"?") == b"?"
                return [weakref.ref(each) for each in (n, n._core, handler, answer, validator, topic)]

        left = await life()
        await asyncio.sleep(0)  # what ended in the last turn
        gc.collect()
        assert [ref() for ref in left if ref() is not None] == []
