"""What a type checker makes of the public face. mypy and pyright check it; running it only imports."""

from __future__ import annotations

from typing import TYPE_CHECKING, AsyncIterator

import libp2pgo
from libp2pgo import sync

if TYPE_CHECKING:
    from typing_extensions import assert_type

    async def faces(node: libp2pgo.Node, peer: libp2pgo.PeerId) -> None:
        assert_type(node.id, libp2pgo.PeerId)
        assert_type(node.addresses, "tuple[libp2pgo.Multiaddr, ...]")
        assert_type(await node.connect("/ip4/1.2.3.4/tcp/1"), libp2pgo.PeerId)
        assert_type(await node.ping(peer), float)
        assert_type(node.peer_info(peer).rtt_ms, float)
        assert_type(await node.request(peer, "/x"), bytes)
        assert_type(await node.open_stream(peer, "/x"), libp2pgo.Stream)
        async with node.open_stream(peer, ["/x", "/y"]) as stream:
            assert_type(stream, libp2pgo.Stream)
            assert_type(await stream.read(), bytes)
            assert_type(await stream.read_message(), "bytes | None")
            await stream.write(bytearray(3))
            await stream.write("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        async for part in node.request_stream(peer, "/x"):
            assert_type(part, bytes)
        async for event in node.events(libp2pgo.PeerConnected):
            assert_type(event, libp2pgo.PeerConnected)
        async for anything in node.events():
            assert_type(anything, libp2pgo.Event)
        async for message in node.subscribe("x", overflow="drop_oldest"):
            assert_type(message, libp2pgo.Message)
        async with node.discovery.join("x") as meeting:
            assert_type(meeting, libp2pgo.Meeting)
            assert_type(meeting.peers(), "list[libp2pgo.PeerId]")
            async for met in meeting:
                assert_type(met, libp2pgo.PeerId)
            async for gone in meeting.events(libp2pgo.PeerGone):
                assert_type(gone, libp2pgo.PeerGone)
            async for happening in meeting.events():
                assert_type(happening, libp2pgo.DiscoveryEvent)
        async for found in node.discovery.find("x"):
            assert_type(found, libp2pgo.FoundPeer)
        assert_type(await node.discovery.discover("/x"), libp2pgo.RendezvousAnswer)
        node.subscribe("x", overflow="drop_all")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        libp2pgo.Node(listen=["/x"], pubsub={"d": 8})
        libp2pgo.Node(pubsub={"degree": 8})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

        @node.handle("/x")
        async def handler(stream: libp2pgo.Stream) -> None: ...

        @node.on_request("/x")
        async def one(request: libp2pgo.Request) -> bytes:
            return request.data

        @node.on_request("/x")
        async def many(request: libp2pgo.Request) -> AsyncIterator[bytes]:
            yield request.data

        assert_type(await one(libp2pgo.Request(0, peer, "/x", b"", 0)), bytes)
        assert_type(node.handle("/y", handler), libp2pgo.Service)

    def plain(node: sync.Node, peer: libp2pgo.PeerId) -> None:
        assert_type(node.request(peer, "/x"), bytes)
        assert_type(node.open_stream(peer, "/x"), sync.Stream)
        for message in node.subscribe("x"):
            assert_type(message, libp2pgo.Message)


def test_the_package_says_that_it_is_typed() -> None:
    from pathlib import Path

    assert (Path(libp2pgo.__file__).parent / "py.typed").exists()
