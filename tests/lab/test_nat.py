"""What NATs do to nodes, and what nodes do about it: holes, relays, and knowing whether one can be reached.

LANGUAGES names the languages of those at home, SERVER that of whoever stands on the internet.
"""

from __future__ import annotations

import concurrent.futures
import copy
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

from . import Actor, Host, Lab, topologies
from .actor import SLOW, until
from .case import LabCase

LANGUAGES = os.environ.get("LANGUAGES", "python node").split()
SERVER = os.environ.get("SERVER", "c")

LISTEN = {"tcp": "/ip4/0.0.0.0/tcp/4001", "quic": "/ip4/0.0.0.0/udp/4001/quic-v1"}
BOTH = ("tcp", "quic")

PUNCH_WITHIN = 2
"""Seconds from the dial through the relay to being connected directly."""
GIVE_UP_WITHIN = 25
"""Seconds until it is said that no hole can be made."""


def address(node: dict[str, Any], kind: str) -> str:
    """The public address of a node for TCP or QUIC."""
    return next(a for a in node["addresses"] if f"/{kind}" in a and "/203.0." in a)


class NATCase(LabCase):
    """A relay and four hosts that observe on the internet, alice and bob at home; they reach the internet in the ways of ``kinds``."""

    def start_servers(self, kinds: tuple[str, ...], autonat_v2: bool = False) -> None:
        self.kinds = kinds
        self.relay = self.net["relay"].actor(SERVER)
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.start_relay()
        options = {"listen": list(LISTEN.values()), "nat": {"reachability": "public", "autonat_v2": autonat_v2}}
        started = [self.net[f"observer{n}"].actor(SERVER).begin("start", nodes=1, options=options) for n in range(1, topologies.OBSERVERS + 1)]
        self.observers = [future.result(30 * SLOW)[0] for future in started]

    def start_relay(self) -> None:
        [self.relay_node] = self.relay.start(
            identity={"file": f"{self.folder.name}/relay.key"}, listen=list(LISTEN.values()), nat={"reachability": "public"},
            relay={"service": {"enabled": True}},
        )

    def start_client(self, host: Host, language: str, relays: tuple[str, ...] = (), **nat: Any) -> Actor:
        """A node that connects to the observers, and reserves a place with the relay if ``relays`` says in which ways to reach it."""
        actor = host.actor(language)
        client = {"relays": [address(self.relay_node, kind) for kind in relays], "linger_ms": 500, "retry_min_ms": 200, "retry_max_ms": 1000}
        actor.start(
            listen=[LISTEN[kind] for kind in self.kinds], nat={"reachability": "private", **nat}, relay={"client": client}, dial={"timeout_ms": 5000}
        )
        dials = [actor.begin("connect", node=0, to=address(observer, kind)) for observer in self.observers for kind in self.kinds]
        for dial in dials:
            dial.exception(30 * SLOW)  # where UDP is blocked half of them fail
        return actor

    def start_homes(self, language: str, nat_a: str, nat_b: str, kinds: tuple[str, ...]) -> None:
        topologies.homes(self.net, nat_a, nat_b)
        self.start_servers(kinds)
        self.alice = self.start_client(self.net["alice"], language, kinds)
        self.bob = self.start_client(self.net["bob"], language)

    def circuit(self) -> str:
        """The address of alice by way of the relay, once she has a place there."""
        return until(lambda: next((a for a in self.alice.do("addresses", node=0) if "/p2p-circuit" in a), None), "alice's place with the relay")

    def meet(self, one_port: bool) -> float:
        """bob connects to alice through the relay, when both can punch holes. Returns when he began.

        Where a NAT lets him, he knows his public address by then and tells it to alice, as a node that runs for a while does.
        """
        circuit = self.circuit()
        connected = [self.bob.begin("connect", node=0, to=address(self.relay_node, kind)) for kind in self.kinds]
        until(lambda: any(future.done() and not future.exception() for future in connected), "bob's connection to the relay")
        for actor in (self.alice, self.bob):
            # Once enough observers agreed on its address, a node tells so by speaking this.
            until(lambda actor=actor: "/libp2p/dcutr" in self.relay.do("peer", node=0, peer=actor.id)["protocols"], f"{actor.name} to be ready to punch")
        if one_port:
            until(lambda: all(any(f"/{kind}" in a and "/203.0." in a for a in self.bob.do("addresses", node=0)) for kind in self.kinds), "bob's public address")
        begun = time.monotonic()
        self.assertEqual(self.bob.do("connect", node=0, to=circuit), self.alice.id)
        self.assertTrue(self.bob.event("peer_connected", peer=self.alice.id)["relayed"])
        return begun

    def connections(self, actor: Actor, other: Actor) -> list[dict[str, Any]]:
        return actor.do("peer", node=0, peer=other.id)["connections"]

    def for_each_language(self, test: Callable[[Any, str], None]) -> None:
        """Run a test in each language at the same time, each in a laboratory of its own: most of it is waiting."""

        def run(language: str) -> None:
            own = copy.copy(self)
            with Lab() as own.net:
                test(own, language)

        with concurrent.futures.ThreadPoolExecutor() as threads:
            running = {language: threads.submit(run, language) for language in LANGUAGES}
            for language, future in running.items():
                with self.subTest(language):
                    future.result()


class HolePunching(NATCase):
    def punch(self, language: str, kind: str) -> None:
        self.start_homes(language, "port_restricted_cone", "port_restricted_cone", (kind,))
        begun = self.meet(one_port=True)
        for actor, other in ((self.bob, self.alice), (self.alice, self.bob)):
            took = actor.event("peer_path", peer=other.id, relayed=False)["at"] - begun
            print(f"hole punch, {language}, {kind}: {actor.name} has a direct path after {took:.2f} s")
            self.assertLess(took, PUNCH_WITHIN * SLOW)
            self.assertEqual(actor.do("ask", node=0, peer=other.id, text="hello"), "hello")  # which a limited connection does not allow
        punched = [event["outcome"] for actor in (self.alice, self.bob) for event in actor.events if event["type"] == "hole_punch"]
        self.assertIn("punched", punched)
        until(lambda: not [c for c in self.connections(self.bob, self.alice) if c["relayed"]], "the relayed connection to be closed")
        self.assertEqual({c["transport"] for c in self.connections(self.bob, self.alice)}, {kind})
        self.assertEqual(self.bob.do("ask", node=0, peer=self.alice.id, text="still"), "still")

    def test_cone_and_cone_over_quic(self) -> None:
        self.for_each_language(lambda own, language: own.punch(language, "quic"))

    def test_cone_and_cone_over_tcp(self) -> None:
        self.for_each_language(lambda own, language: own.punch(language, "tcp"))

    def give_up(self, language: str) -> None:
        self.start_homes(language, "symmetric", "symmetric", BOTH)
        begun = self.meet(one_port=False)
        told = self.alice.event("hole_punch", peer=self.bob.id, outcome="gave_up", limit=GIVE_UP_WITHIN * SLOW)
        print(f"hole punch, {language}, symmetric: given up after {told['at'] - begun:.1f} s: {told['error']}")
        self.assertTrue(told["error"])
        self.assertTrue(all(c["relayed"] for c in self.connections(self.bob, self.alice)))
        for actor, other in ((self.bob, self.alice), (self.alice, self.bob)):
            self.assertEqual(actor.do("ask", node=0, peer=other.id, text="by relay", allow_limited=True), "by relay")
            asked = time.monotonic()
            with self.assertRaisesRegex(Exception, "P2P_E_LIMITED"):
                actor.do("ask", node=0, peer=other.id, text="not allowed")
            self.assertLess(time.monotonic() - asked, 2 * SLOW)

    def test_symmetric_and_symmetric_stay_on_the_relay_and_say_why(self) -> None:
        self.for_each_language(HolePunching.give_up)


class Relays(NATCase):
    def blocked(self, language: str) -> None:
        self.start_homes(language, "udp_blocked", "symmetric", BOTH)
        self.bob.do("connect", node=0, to=self.circuit())
        self.assertEqual(self.bob.do("ask", node=0, peer=self.alice.id, text="by relay", allow_limited=True), "by relay")
        to_relay = self.alice.do("peer", node=0, peer=self.relay_node["id"])["connections"]
        self.assertEqual({c["transport"] for c in to_relay}, {"tcp"})

    def test_where_udp_is_blocked_the_relay_is_used_over_tcp(self) -> None:
        self.for_each_language(Relays.blocked)

    def restart(self, language: str, end: str, within: float) -> None:
        topologies.homes(self.net, "symmetric", "symmetric")
        self.start_servers(BOTH)
        self.alice = self.start_client(self.net["alice"], language, BOTH)
        self.bob = self.start_client(self.net["bob"], language)
        self.bob.do("connect", node=0, to=self.circuit())
        self.assertEqual(self.bob.do("ask", node=0, peer=self.alice.id, text="before", allow_limited=True), "before")
        ended = time.monotonic()
        getattr(self.relay, end)()
        self.relay = self.net["relay"].actor(SERVER)
        self.start_relay()
        up = time.monotonic()
        self.alice.event("reservation", state="lost", since=ended, limit=within * SLOW)
        back = self.alice.event("reservation", state="made", since=ended, limit=5 * SLOW)
        print(f"relay restart, {language}: a new place {max(0, back['at'] - up):.1f} s after the relay was back")
        self.bob.event("peer_disconnected", peer=self.alice.id, since=ended, limit=within * SLOW)
        self.bob.do("connect", node=0, to=self.circuit())
        self.assertEqual(self.bob.do("ask", node=0, peer=self.alice.id, text="after", allow_limited=True), "after")

    def test_a_relay_that_restarts_is_asked_for_a_new_place(self) -> None:
        self.for_each_language(lambda own, language: own.restart(language, "close", 5))

    def test_a_relay_that_was_killed_and_comes_back_is_asked_for_a_new_place(self) -> None:
        """Over QUIC a death is noticed when nothing was heard for 30 seconds."""
        self.restart(LANGUAGES[0], "kill", 40)


class AutoNAT(NATCase):
    def verdicts(self, language: str) -> None:
        """A node asks each server once in two minutes, and wants three to agree: each kind has a node of its own."""
        topologies.homes(self.net, "port_restricted_cone", "full_cone")
        self.net.host("carol")
        self.start_servers(BOTH, autonat_v2=True)
        begun = time.monotonic()
        asked = []
        for kind in BOTH:
            self.kinds = (kind,)
            for host, verdict in (("carol", "public"), ("alice", "private"), ("bob", "public")):
                asked.append((host, kind, verdict, self.start_client(self.net[host], language, reachability="auto", autonat_v2=True)))
        for host, kind, verdict, actor in asked:
            event = actor.event("address_reachability", where=lambda e: e["reachability"] != "unknown", limit=60 * SLOW)
            print(f"autonat v2, {language}: {host} by {kind}: {event['reachability']} after {event['at'] - begun:.1f} s")
            nat = actor.do("nat", node=0)
            self.assertEqual((host, kind, event["reachability"]), (host, kind, verdict))
            self.assertEqual((nat["reachability"], nat["source"]), (verdict, "autonat_v2"))
            self.assertEqual([a["reachability"] for a in nat["addresses"]], [verdict])

    def test_says_who_can_be_reached_and_who_cannot(self) -> None:
        self.for_each_language(AutoNAT.verdicts)
