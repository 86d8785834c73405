"""Circuit relay v2 with rust-libp2p: our relay carries its connections, its relay carries ours."""

from __future__ import annotations

import contextlib
import os
import sys
import unittest
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rust_peer import LIMIT, RustPeer, build  # noqa: E402

from libp2pgo import sync  # noqa: E402


def echo(stream: sync.Stream) -> None:
    stream.write(stream.read(5))


class Relay(unittest.TestCase):
    def setUp(self) -> None:
        self.program = build()
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)

    def node(self, **options: Any) -> sync.Node:
        node = self.stack.enter_context(sync.Node(**{"listen": "/ip4/127.0.0.1/tcp/0", **options}))
        node.handle("/echo/1", echo)
        return node

    def rust(self) -> RustPeer:
        peer = RustPeer(self.program)
        self.stack.callback(peer.close)
        return peer

    def is_relayed(self, node: sync.Node, peer: str) -> bool:
        connections = node.peer_info(peer).connections
        return bool(connections) and all(c.relayed and c.limited for c in connections)

    def check_echo(self, node: sync.Node, peer: str) -> None:
        with node.open_stream(peer, "/echo/1", allow_limited=True) as stream:
            stream.write(b"hello")
            self.assertEqual(stream.read(5, timeout=LIMIT), b"hello")

    def test_our_relay(self) -> None:
        relay = self.node(relay={"service": {"enabled": True, "when": "always"}})
        held, dialler, ours = self.rust(), self.rust(), self.node()
        hidden = self.node(listen=[])
        # Its place with ours, dialled by its like and by us.
        held.do("reserve", relay.addresses[0])
        self.assertEqual(held.expect("reserved", relay.id)[2], "limited")
        address = held.expect("relayed")[1]
        self.assertEqual(address, f"{relay.addresses[0]}/p2p-circuit/p2p/{held.id}")
        dialler.do("dial", address)
        dialler.expect("connected", held.id, "relayed")
        held.expect("connected", dialler.id, "relayed")
        dialler.expect("pinged", held.id)
        ours.connect(address)
        held.expect("connected", ours.id, "relayed")
        held.expect("pinged", ours.id)
        self.assertTrue(self.is_relayed(ours, held.id))
        # Our place with ours, dialled by it.
        reservation = hidden.relay.reserve(relay.addresses)
        dialler.do("dial", reservation.addresses[0])
        dialler.expect("connected", hidden.id, "relayed")
        dialler.expect("pinged", hidden.id)
        self.assertTrue(self.is_relayed(hidden, dialler.id))
        self.assertEqual({r["peer"] for r in relay.relay.info()["service"]["reservations"]}, {held.id, hidden.id})

    def test_its_relay(self) -> None:
        relay, dialler, ours, hidden = self.rust(), self.rust(), self.node(), self.node(listen=[])
        reservation = hidden.relay.reserve(relay.address)
        relay.expect("granted", hidden.id)
        (address,) = reservation.addresses
        self.assertEqual(address, f"{relay.address}/p2p-circuit/p2p/{hidden.id}")
        self.assertIn(address, hidden.addresses)
        # We dial us through it, and it dials us through its like.
        ours.connect(address)
        relay.expect("circuit", ours.id, hidden.id)
        self.assertTrue(self.is_relayed(ours, hidden.id))
        self.check_echo(ours, hidden.id)
        dialler.do("dial", address)
        dialler.expect("connected", hidden.id, "relayed")
        dialler.expect("pinged", hidden.id)


if __name__ == "__main__":
    unittest.main()
