"""mDNS: nodes of all languages find each other on a local network in under five seconds, and not beyond it."""

import time

from .actor import SLOW
from .case import LabCase

OPTIONS = {"listen": ["/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1"], "mdns": {"enabled": True}}
LIMIT = 5


class MDNS(LabCase):
    def test_finds_a_peer_in_under_five_seconds(self) -> None:
        for here, there in (("python", "node"), ("node", "c"), ("c", "python")):
            with self.subTest(f"{here} and {there}"):
                local = self.net.switch(f"local-{here}")
                a, b = local.host(f"a-{here}").actor(here), local.host(f"b-{there}").actor(there)
                [first] = a.start(**OPTIONS)
                begun = time.monotonic()
                [second] = b.start(**OPTIONS)
                seen = [
                    a.event("peer_found", peer=second["id"], limit=LIMIT * SLOW),
                    b.event("peer_found", peer=first["id"], limit=LIMIT * SLOW),
                ]
                took = max(event["at"] for event in seen) - begun
                print(f"mdns, {here} and {there}: {took:.2f} s")
                self.assertLess(took, LIMIT * SLOW)
                self.assertEqual(a.do("connect", node=0, to=second["id"]), second["id"])
                self.assertEqual(a.do("ask", node=0, peer=second["id"], text="hello"), "hello")

    def test_does_not_reach_another_network(self) -> None:
        a = self.net.switch("one").host("a").actor("python")
        b = self.net.switch("two").host("b").actor("python")
        a.start(**OPTIONS)
        b.start(**OPTIONS)
        with self.assertRaisesRegex(AssertionError, "without an event peer_found"):
            a.event("peer_found", limit=2)
