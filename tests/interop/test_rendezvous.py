"""Rendezvous with rust-libp2p: our point with its client, its point with ours."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import unittest
from typing import Any, Callable

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rust_peer import LIMIT, RustPeer, build  # noqa: E402

import libp2pgo  # noqa: E402
from libp2pgo import sync  # noqa: E402

def until(condition: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, f"not within {LIMIT} s: {what}"
        time.sleep(0.01)


class Rendezvous(unittest.TestCase):
    def setUp(self) -> None:
        self.program = build()
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)

    def node(self, **options: Any) -> sync.Node:
        return self.stack.enter_context(sync.Node(listen="/ip4/127.0.0.1/tcp/0", **options))

    def rust(self, min_ttl: int = 7200) -> RustPeer:
        peer = RustPeer(self.program, min_ttl)
        self.stack.callback(peer.close)
        return peer

    def test_its_client_at_our_point(self) -> None:
        point, other, rust = self.node(rendezvous={"server": True}), self.node(), self.rust()
        rust.do("dial", point.addresses[0])
        rust.expect("connected", point.id)
        rust.do("register", point.id, "books", 7200)
        self.assertEqual(rust.expect("registered", "books")[2], "7200")
        (found,) = other.discovery.discover(point.addresses, "books").peers
        self.assertEqual((found.peer, [f"{a}/p2p/{found.peer}" for a in found.addresses]), (rust.id, [rust.address]))
        # It finds ours, and with the cookie of that nothing more, until there is more.
        other.discovery.register(point.addresses, "books")
        rust.do("discover", point.id, "books")
        rust.expect("discovered", 2)
        words = rust.expect("found", other.id)
        self.assertEqual({f"{a}/p2p/{other.id}" for a in words[4].split(",")}, set(other.addresses))
        rust.do("discover", point.id, "books", "more")
        rust.expect("discovered", 0)
        late = self.node()
        late.discovery.register(point.addresses, "books", ttl=3600)
        rust.do("discover", point.id, "books", "more")
        rust.expect("discovered", 1)
        self.assertIn(rust.expect("found", late.id)[3], ("3599", "3600"))
        # Refusals, in the protocol's terms.
        rust.do("register", point.id, "books", 1)
        rust.expect("unregistered", "books", "InvalidTtl")
        rust.do("register", point.id, "x" * 255)  # the longest name, and the time that the point chooses
        rust.expect("registered", "x" * 255, 7200)
        rust.do("unregister", point.id, "books")
        until(lambda: len(other.discovery.discover(point.addresses, "books").peers) == 2, "the registration to go")

    def test_our_client_at_its_point(self) -> None:
        rust, a, b = self.rust(), self.node(), self.node()
        registration = a.discovery.register(rust.address, "books")
        self.assertEqual(registration.granted, 7200)
        rust.expect("took", a.id, "books", 7200)
        answer = b.discovery.discover(rust.address, "books")
        (found,) = answer.peers
        self.assertEqual((found.peer, found.namespace, {f"{x}/p2p/{a.id}" for x in found.addresses}), (a.id, "books", set(a.addresses)))
        self.assertEqual(b.discovery.discover(rust.address, "books", cookie=answer.cookie).peers, ())
        with self.assertRaises(libp2pgo.InvalidArgument):
            b.discovery.discover(rust.address, "films", cookie=answer.cookie)
        with self.assertRaisesRegex(libp2pgo.InvalidArgument, "time to live"):
            a.discovery.register(rust.address, "films", ttl=60)
        rust.expect("refused", a.id, "films", "InvalidTtl")
        registration.close()
        rust.expect("removed", a.id, "books")
        a.discovery.unregister(rust.address, "films")
        rust.expect("removed", a.id, "films")

    def test_our_renewals_at_its_point(self) -> None:
        rust, a = self.rust(min_ttl=1), self.node()
        with a.discovery.register(rust.address, "n", ttl=2):
            for _ in range(3):
                rust.expect("took", a.id, "n", 2)
        rust.expect("removed", a.id, "n")

    def test_meeting_at_its_point(self) -> None:
        rust, third = self.rust(), self.rust()
        third.do("dial", rust.address)
        third.expect("connected", rust.id)
        third.do("register", rust.id, "club", 7200)
        third.expect("registered", "club")
        points = {"points": [rust.address]}
        a, b = self.node(rendezvous=points), self.node(rendezvous=points)
        quick = {"interval": 0.5, "retry_min": 0.1}
        with a.discovery.join("club", **quick) as one, b.discovery.join("club", **quick) as two:
            self.assertEqual({one.next(timeout=LIMIT), one.next(timeout=LIMIT)}, {b.id, third.id})
            self.assertEqual({two.next(timeout=LIMIT), two.next(timeout=LIMIT)}, {a.id, third.id})
            self.assertNotIn(rust.id, one.peers())
        until(lambda: {f.peer for f in a.discovery.find("club")} == {third.id}, "the point knows only the third, for the others have left")


if __name__ == "__main__":
    unittest.main()
