"""Gossip over sixty nodes in three languages, six programs of ten nodes each, each program in a host of its own.

Nodes of one program are not connected with each other: every hop crosses the network and its faults. NODES and MESSAGES set other numbers.
"""

import os
import random
import signal
import time
from collections.abc import Iterable

from . import Lab
from .actor import SLOW, ActorError, until
from .case import LabCase

LANGUAGES = ("python", "c", "node") * 2
NODES = int(os.environ.get("NODES", "60")) // len(LANGUAGES)
MESSAGES = int(os.environ.get("MESSAGES", "1000"))
ROUND = 200
"""Messages that are under way at a time: with every neighbour's copy they fit a node's queue of messages to verify, however slow its program is."""
NEIGHBOURS = 6
TOPIC = "lab"
OPTIONS = {
    "limits": {"preset": "unlimited"},  # ten nodes share an address
    "keep": {"retry_min_ms": 200, "retry_max_ms": 1000},
    "yamux": {"keepalive_ms": 2000},
}


class Gossip(LabCase):
    def gather(self, transport: str, **link: float) -> None:
        """Start all nodes and connect each with NEIGHBOURS of other programs, at random, and with the same of the next, so that all hang together."""
        self.actors = [self.net.host(f"host{i}", **link).actor(language) for i, language in enumerate(LANGUAGES)]
        started = [actor.begin("start", nodes=NODES, options={**OPTIONS, "listen": [transport]}) for actor in self.actors]
        self.nodes = [(i, n, node) for i, future in enumerate(started) for n, node in enumerate(future.result(60 * SLOW))]
        chance = random.Random(1)
        kept = []
        self.neighbours = {(i, n): set() for i, n, _ in self.nodes}
        for i, n, _ in self.nodes:
            others = [node for node in self.nodes if node[0] != i]
            for j, m, node in [*chance.sample(others, NEIGHBOURS // 2), self.nodes[(i + 1) % len(LANGUAGES) * NODES + n]]:
                self.neighbours[i, n].add((j, m))
                self.neighbours[j, m].add((i, n))
                address = next(a for a in node["addresses"] if "/127.0.0.1/" not in a)
                kept.append(self.actors[i].begin("keep", node=n, to=address))
        for actor in self.actors:
            kept.append(actor.begin("subscribe", topic=TOPIC))
        for order in kept:
            order.result(60 * SLOW)
        self.settle(range(len(LANGUAGES)))

    def settle(self, *groups: Iterable[int]) -> None:
        """Wait until each node has all its neighbours in its group, and none else, in the topic, and for the meshes to form."""
        wanted = [[len([j for j, _ in self.neighbours[i, n] if j in group]) for n in range(NODES)] for group in groups for i in group]
        try:
            until(lambda: [actor.do("members", topic=TOPIC) for actor in self.actors] == wanted, "the neighbours to be in the topic", 90 * SLOW, 0.5)
        except AssertionError as late:
            raise AssertionError(f"{late}; members, neighbours not connected:\n{self.who_misses(wanted)}") from None
        time.sleep(3)  # three heartbeats

    def who_misses(self, wanted: list[list[int]]) -> str:
        """Each node that has not the members it should have, and what it lacks for that."""
        ids = {(i, n): node["id"] for i, n, node in self.nodes}
        lines = []
        for i, (actor, numbers) in enumerate(zip(self.actors, wanted)):
            for n, (has, number) in enumerate(zip(actor.do("members", topic=TOPIC), numbers)):
                if has != number:
                    connected = actor.do("peers", node=n)
                    away = [f"{self.actors[j].name} {m}" for j, m in self.neighbours[i, n] if ids[j, m] not in connected]
                    lines.append(f"{actor.name}, node {n}: {has} of {number}, {away or 'all connected'}; {actor.do('counters', topic=TOPIC)[n]}")
        return "\n".join(lines)

    def publish(self, label: str, count: int, actors=None) -> None:
        """Every program publishes its share at the same time, its nodes in turn."""
        actors = actors or self.actors
        share = -(-count // len(actors))
        shares = [(i * share, min(share, count - i * share)) for i in range(len(actors))]
        orders = [
            actor.begin("publish", topic=TOPIC, label=label, first=first, count=number, pause_ms=15 * SLOW)
            for actor, (first, number) in zip(actors, shares)
        ]
        for order in orders:
            order.result(120 * SLOW)

    def heard(self, label: str, actors=None) -> list[list[int]]:
        """Of each node: how many different messages, and how many in all."""
        return [counts for actor in actors or self.actors for counts in actor.do("heard", label=label)]

    def await_all_heard(self, label: str, count: int, limit: float, actors=None) -> None:
        """Every node has every message."""
        try:
            until(lambda: all(distinct >= count for distinct, _ in self.heard(label, actors)), f"{count} messages at every node", limit * SLOW, 0.5)
        except AssertionError as late:
            told = "\n".join(
                f"{actor.name}, node {n}: {heard} {counters}"
                for actor in actors or self.actors
                for n, (heard, counters) in enumerate(zip(actor.do("heard", label=label), actor.do("counters", topic=TOPIC)))
            )
            raise AssertionError(f"{late}; of {label}, every node:\n{told}") from None

    def assert_heard_once(self, label: str, count: int, actors=None) -> None:
        self.assertEqual(set(map(tuple, self.heard(label, actors))), {(count, count)})

    def assert_all_heard(self, label: str, count: int, limit: float, actors=None) -> None:
        """Every node has every message, and has it once."""
        self.await_all_heard(label, count, limit, actors)
        time.sleep(1)  # for those that come twice
        self.assert_heard_once(label, count, actors)

    def run_messages(self, name: str, transport: str, **link: float) -> None:
        begun = time.monotonic()
        self.gather(transport, **link)
        ready = time.monotonic()
        rounds = [(f"m{first}", min(ROUND, MESSAGES - first)) for first in range(0, MESSAGES, ROUND)]
        for label, count in rounds:
            self.publish(label, count)
            self.await_all_heard(label, count, 60)
        print(
            f"gossip, {name}: {len(self.nodes)} nodes ready in {ready - begun:.1f} s, {MESSAGES} messages in {len(rounds)} rounds published and "
            f"heard by all in {time.monotonic() - ready:.1f} s"
        )
        time.sleep(1)  # for those that come twice
        for label, count in rounds:
            self.assert_heard_once(label, count)

    def test_every_node_hears_every_message_once(self) -> None:
        self.run_messages("plain", "/ip4/0.0.0.0/tcp/0")

    def test_under_loss_and_delay_over_tcp(self) -> None:
        """Two links make a path: 50 ms and 2 percent loss each way."""
        self.run_messages("2 % loss and 50 ms, TCP", "/ip4/0.0.0.0/tcp/0", loss=1, delay_ms=25)

    def test_under_loss_and_delay_over_quic(self) -> None:
        self.run_messages("2 % loss and 50 ms, QUIC", "/ip4/0.0.0.0/udp/0/quic-v1", loss=1, delay_ms=25)

    def test_partition_and_heal(self) -> None:
        """The halves go on by themselves, and are one again afterwards without anybody's doing."""
        self.gather("/ip4/0.0.0.0/tcp/0")
        halves = [self.actors[:3], self.actors[3:]]
        self.publish("before", 60)
        self.assert_all_heard("before", 60, 30)
        cut = time.monotonic()
        self.net.partition(*([actor.host for actor in half] for half in halves))
        self.settle(range(3), range(3, 6))  # connections over the cut have broken
        print(f"gossip, partition: noticed by every node after {time.monotonic() - cut - 3:.1f} s")
        for i, half in enumerate(halves):
            self.publish(f"half{i}", 60, half)
            self.assert_all_heard(f"half{i}", 60, 30, half)
            self.assertEqual(max(self.heard(f"half{i}", halves[1 - i])), [0, 0])
        healed = time.monotonic()
        self.net.heal()
        self.settle(range(6))
        print(f"gossip, partition: whole again {time.monotonic() - healed - 3:.1f} s after it healed")
        self.publish("after", 60)
        self.assert_all_heard("after", 60, 60)


class Kept(LabCase):
    def test_a_kept_peer_comes_back_after_its_link_was_down(self) -> None:
        options = {**OPTIONS, "listen": ["/ip4/0.0.0.0/tcp/4001", "/ip4/0.0.0.0/udp/4001/quic-v1"]}
        router = self.net.router("home")
        server = self.net.host("server").actor("c")
        [there] = server.start(**options)
        addresses = {kind: next(a for a in there["addresses"] if kind in a and "/203." in a) for kind in ("tcp", "quic-v1")}
        for language, kind, cut in (("python", "tcp", "down"), ("node", "quic-v1", "interface_down"), ("c", "tcp", "interface_down")):
            with self.subTest(f"{language}, {kind}, {cut}"):
                host = router.host(f"client-{language}")
                client = host.actor(language)
                client.start(**options)
                client.do("keep", node=0, to=addresses[kind])
                client.event("peer_connected", peer=there["id"])
                self.assertEqual(client.do("ask", node=0, peer=there["id"], text="before"), "before")
                down = time.monotonic()
                getattr(host.link, cut)()
                client.event("peer_disconnected", peer=there["id"], since=down, limit=60 * SLOW)
                client.event("peer_unreachable", since=down, limit=60 * SLOW)
                up = time.monotonic()
                host.link.up()
                back = client.event("peer_connected", peer=there["id"], since=up, limit=30 * SLOW)
                print(f"kept peer, {language}, {kind}, {cut}: lost after {up - down:.1f} s, back {back['at'] - up:.1f} s after the link")
                self.assertEqual(client.do("ask", node=0, peer=there["id"], text="after"), "after")


class Faults(LabCase):
    """Peers that die, stand still or lose their router's memory, and what those that keep them see."""

    def meet(self, language: str, kind: str) -> None:
        options = {**OPTIONS, "listen": ["/ip4/0.0.0.0/tcp/4001", "/ip4/0.0.0.0/udp/4001/quic-v1"]}
        self.router = self.net.router("home")
        self.server = self.net.host("server").actor("c")
        [there] = self.server.start(**options)
        self.client = self.router.host("client").actor(language)
        self.client.start(**options)
        self.client.do("keep", node=0, to=next(a for a in there["addresses"] if kind in a and "/203." in a))
        self.client.event("peer_connected", peer=there["id"])
        self.ask("before")

    def ask(self, text: str) -> None:
        self.assertEqual(self.client.do("ask", node=0, peer=self.server.id, text=text), text)

    def test_a_peer_that_is_killed_is_missed_at_once(self) -> None:
        self.meet("node", "tcp")
        killed = time.monotonic()
        self.server.kill()
        self.client.event("peer_disconnected", peer=self.server.id, since=killed, limit=5 * SLOW)

    def test_a_peer_that_stands_still_goes_on(self) -> None:
        """Requests to it wait until their time is up; when it goes on, so does all else, over the old connection or a new one."""
        self.meet("python", "quic-v1")
        self.server.signal(signal.SIGSTOP)
        with self.assertRaisesRegex(ActorError, "P2P_E_TIMEOUT"):
            self.client.do("ask", node=0, peer=self.server.id, text="hello", timeout_ms=2000)
        self.server.signal(signal.SIGCONT)
        until(lambda: self.answers(), "an answer", 30 * SLOW)

    def answers(self) -> bool:
        try:
            self.ask("after")
        except ActorError:
            return False
        return True

    def test_a_router_that_forgets_costs_no_more_than_a_new_connection(self) -> None:
        for language, kind in (("python", "quic-v1"), ("node", "tcp")):
            with self.subTest(f"{language}, {kind}"), Lab() as self.net:
                self.meet(language, kind)
                self.router.forget()
                begun = time.monotonic()
                until(lambda: self.answers(), "an answer", 30 * SLOW)
                print(f"router forgets, {language}, {kind}: answered after {time.monotonic() - begun:.1f} s")
