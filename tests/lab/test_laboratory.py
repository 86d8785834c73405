"""The laboratory itself: what its routers and faults do, and that nothing of it stays."""

from __future__ import annotations

import os
import pathlib
import socket
import subprocess
import sys
import time

from . import NAT, Host, Lab
from .actor import SLOW, until
from .case import LabCase

PORT = 4001
ROOT = pathlib.Path(__file__).resolve().parents[2]


def said(sock: socket.socket, seconds: float = 0.3) -> tuple[bytes, tuple[str, int]] | None:
    """The next datagram and its sender, or None."""
    sock.settimeout(seconds)
    try:
        return sock.recvfrom(2048)
    except socket.timeout:
        return None


class Routers(LabCase):
    """Each NAT type by what it is defined by (RFC 4787): which outside port an inside one gets, and whom it lets in."""

    def observe(self, nat: str) -> dict[str, bool]:
        net = self.net
        inside = net.router(f"r-{nat}", nat=nat).host(f"i-{nat}")
        spoken_to, stranger = net.host(f"s-{nat}"), net.host(f"t-{nat}")
        alice, bob, bobs_other, carol = inside.socket(port=PORT), spoken_to.socket(port=PORT), spoken_to.socket(port=PORT + 1), stranger.socket(port=PORT)
        for sock in (alice, bob, bobs_other, carol):
            self.addCleanup(sock.close)
        outside = net[f"r-{nat}"].address
        carol.sendto(b"unasked", (outside, PORT))
        unasked = said(alice)
        alice.sendto(b"hello", (spoken_to.address, PORT))
        heard = said(bob, 2 * SLOW if nat != "udp_blocked" else 0.3)
        if heard is None:
            return {"udp": False}
        bob.sendto(b"answer", heard[1])
        self.assertEqual(said(alice, 2 * SLOW), (b"answer", (spoken_to.address, PORT)))
        self.assertEqual(heard[1][0], outside)
        seen = {"udp": True, "unasked": bool(unasked), "keeps_port": heard[1][1] == PORT}
        bobs_other.sendto(b"from another port", heard[1])
        seen["port"] = bool(said(alice))
        carol.sendto(b"from another host", heard[1])
        seen["host"] = bool(said(alice))
        alice.sendto(b"hello", (stranger.address, PORT))
        seen["same_for_all"] = said(carol, 2 * SLOW)[1] == heard[1]
        return seen

    def test_each_type_maps_and_filters_as_its_name_says(self) -> None:
        cone = {"udp": True, "unasked": False, "keeps_port": True, "same_for_all": True}
        wanted = {
            "full_cone": {**cone, "port": True, "host": True},
            "restricted_cone": {**cone, "port": True, "host": False},
            "port_restricted_cone": {**cone, "port": False, "host": False},
            "symmetric": {"udp": True, "unasked": False, "keeps_port": False, "same_for_all": False, "port": False, "host": False},
            "udp_blocked": {"udp": False},
        }
        self.assertEqual(set(wanted), set(NAT))
        for nat in NAT:
            with self.subTest(nat):
                self.assertEqual(self.observe(nat), wanted[nat])

    def test_tcp_goes_out_through_every_router_and_comes_in_through_none(self) -> None:
        outside = self.net.host("outside")
        for nat in NAT:
            with self.subTest(nat):
                router = self.net.router(f"r-{nat}", nat=nat)
                inside = router.host(f"i-{nat}")
                server, knocker, listener = outside.socket(socket.SOCK_STREAM), outside.socket(socket.SOCK_STREAM), inside.socket(socket.SOCK_STREAM, PORT)
                client = inside.socket(socket.SOCK_STREAM, PORT)
                with server, knocker, listener, client:
                    listener.listen()
                    knocker.settimeout(0.3)
                    with self.assertRaises(socket.timeout):  # dropped, not refused
                        knocker.connect((router.address, PORT))
                    server.listen()
                    client.connect((outside.address, server.getsockname()[1]))
                    connection, (seen, _) = server.accept()
                    connection.close()
                    self.assertEqual(seen, router.address)

    def test_two_peers_behind_cones_open_a_tcp_connection_at_the_same_time(self) -> None:
        a = self.net.router("home-a").host("alice").socket(socket.SOCK_STREAM, PORT)
        b = self.net.router("home-b").host("bob").socket(socket.SOCK_STREAM, PORT)
        with a, b:
            for sock in (a, b):
                sock.setblocking(False)
            a.connect_ex((self.net["home-b"].address, PORT))
            time.sleep(0.05)  # the first packet is at the other router before that one knows of it
            b.connect_ex((self.net["home-a"].address, PORT))
            for sock in (a, b):
                until(lambda sock=sock: peer_of(sock), "the connection", 5 * SLOW)

    def test_a_router_that_forgets_lets_nobody_in(self) -> None:
        router = self.net.router("home", nat="full_cone")
        alice, bob = router.host("alice").socket(port=PORT), self.net.host("bob").socket(port=PORT)
        with alice, bob:
            alice.sendto(b"hello", (self.net["bob"].address, PORT))
            self.assertIsNotNone(said(bob, 2 * SLOW))
            bob.sendto(b"before", (router.address, PORT))
            self.assertIsNotNone(said(alice, 2 * SLOW))
            router.forget()
            bob.sendto(b"after", (router.address, PORT))
            self.assertIsNone(said(alice))


def peer_of(sock: socket.socket) -> object:
    try:
        return sock.getpeername()
    except OSError:
        return None


class Faults(LabCase):
    def pair(self) -> tuple[Host, Host, socket.socket, socket.socket]:
        a, b = self.net.host("a"), self.net.host("b")
        sockets = a.socket(port=PORT), b.socket(port=PORT)
        for sock in sockets:
            self.addCleanup(sock.close)
        sockets[0].sendto(b"", (b.address, PORT))  # who has this address is asked before anything is measured
        self.assertIsNotNone(said(sockets[1], 2 * SLOW))
        return a, b, *sockets

    def count(self, to: socket.socket) -> int:
        n = 0
        while said(to, 0.5):
            n += 1
        return n

    def test_loss(self) -> None:
        a, b, from_a, at_b = self.pair()
        a.link.set(loss=10)
        for _ in range(1000):
            from_a.sendto(b"x", (b.address, PORT))
        self.assertTrue(830 <= (n := self.count(at_b)) <= 960, n)
        a.link.set(loss=0)
        for _ in range(1000):
            from_a.sendto(b"x", (b.address, PORT))
        self.assertEqual(self.count(at_b), 1000)

    def test_loss_holds_behind_a_delay_too(self) -> None:
        a, b, from_a, at_b = self.pair()
        a.link.set(loss=10, delay_ms=5)
        for _ in range(1000):
            from_a.sendto(b"x", (b.address, PORT))
        self.assertTrue(830 <= (n := self.count(at_b)) <= 960, n)

    def round_trip(self, a: socket.socket, b: socket.socket, times: int = 20) -> float:
        """The shortest in milliseconds: a busy machine makes some of them longer, and none shorter than the links do."""
        taken = []
        for _ in range(times):
            begun = time.monotonic()
            a.sendto(b"ping", (self.net["b"].address, PORT))
            self.assertIsNotNone(said(b, 2 * SLOW))
            b.sendto(b"pong", (self.net["a"].address, PORT))
            self.assertIsNotNone(said(a, 2 * SLOW))
            taken.append((time.monotonic() - begun) * 1000)
        return min(taken)

    def test_delay(self) -> None:
        a, b, from_a, from_b = self.pair()
        self.assertLess(self.round_trip(from_a, from_b), 5 * SLOW)
        a.link.set(delay_ms=15)
        b.link.set(delay_ms=10)
        self.assertTrue(50 <= (ms := self.round_trip(from_a, from_b)) < 50 + 10 * SLOW, ms)
        a.link.set(delay_ms=0)
        self.assertTrue(20 <= (ms := self.round_trip(from_a, from_b)) < 20 + 10 * SLOW, ms)

    def test_jitter_keeps_the_order_reorder_does_not_and_duplicate_doubles(self) -> None:
        a, b, from_a, at_b = self.pair()

        def burst() -> list[int]:
            for n in range(500):
                from_a.sendto(b"%d" % n, (b.address, PORT))
            got = []
            while heard := said(at_b, 0.5):
                got.append(int(heard[0]))
            return got

        a.link.set(delay_ms=5, jitter_ms=10)
        self.assertEqual(burst(), list(range(500)))
        a.link.set(reorder=5)
        got = burst()
        self.assertEqual(sorted(got), list(range(500)))
        self.assertNotEqual(got, sorted(got))
        a.link.set(reorder=0, duplicate=10)
        self.assertTrue(520 <= len(got := burst()) <= 590, len(got))
        self.assertEqual(set(got), set(range(500)))

    def test_rate(self) -> None:
        a, b, from_a, at_b = self.pair()
        a.link.set(rate_kbit=1000)
        with a.socket(socket.SOCK_STREAM) as client, b.socket(socket.SOCK_STREAM) as server:
            server.listen()
            client.connect((b.address, server.getsockname()[1]))
            connection, _ = server.accept()
            with connection:
                begun = time.monotonic()
                client.settimeout(10)
                client.sendall(b"x" * 125_000)  # one second's worth
                client.shutdown(socket.SHUT_WR)
                connection.settimeout(10)
                while connection.recv(65536):
                    pass
                taken = time.monotonic() - begun
        self.assertTrue(0.7 < taken < 1.5 * SLOW + 0.5, taken)

    def test_partition_and_heal(self) -> None:
        a, b, from_a, at_b = self.pair()
        c = self.net.host("c")
        at_c = c.socket(port=PORT)
        self.addCleanup(at_c.close)
        self.net.partition([a, c], [b])
        from_a.sendto(b"x", (b.address, PORT))
        from_a.sendto(b"x", (c.address, PORT))
        self.assertIsNotNone(said(at_c, 2 * SLOW))
        self.assertIsNone(said(at_b))
        self.net.heal()
        from_a.sendto(b"x", (b.address, PORT))
        self.assertIsNotNone(said(at_b, 2 * SLOW))

    def test_down_and_up(self) -> None:
        for cut in ("down", "interface_down"):
            with self.subTest(cut):
                router = self.net.router(f"home-{cut}")
                alice, bob = router.host(f"alice-{cut}"), self.net.host(f"bob-{cut}")
                from_a, at_b = alice.socket(port=PORT), bob.socket(port=PORT)
                with from_a, at_b:
                    getattr(alice.link, cut)()
                    try:
                        from_a.sendto(b"x", (bob.address, PORT))
                    except OSError:
                        pass
                    self.assertIsNone(said(at_b))
                    alice.link.up()
                    until(lambda: from_a.sendto(b"x", (bob.address, PORT)) and said(at_b), "a packet to come through", 5 * SLOW)


class Life(LabCase):
    def test_nothing_stays_when_its_process_is_killed(self) -> None:
        program = (
            "import time\n"
            "from tests import lab\n"
            "net = lab.Lab()\n"
            "net.host('a').link.set(delay_ms=5)\n"
            "print(net['a'].spawn(['sleep', '1000']).inner, flush=True)\n"
            "time.sleep(1000)\n"
        )
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        with process:
            try:
                inner = int(process.stdout.readline())
                # A process that is just becoming another program has no words for a moment.
                until(lambda: "sleep" in pathlib.Path(f"/proc/{inner}/cmdline").read_text(), "the program inside", 5 * SLOW)
                self.assertNotEqual(os.readlink(f"/proc/{inner}/ns/net"), os.readlink("/proc/self/ns/net"))
            finally:
                process.kill()
            process.wait()
            until(lambda: not pathlib.Path(f"/proc/{inner}/root").exists(), "the processes inside to end", 5 * SLOW)

    def test_two_at_once_do_not_meet_and_leave_the_machine_alone(self) -> None:
        machine = os.listdir("/sys/class/net"), os.listdir("/run/netns") if os.path.isdir("/run/netns") else []
        with Lab() as other:
            a, b = self.net.host("same"), other.host("same")
            self.assertEqual(a.address, b.address)
            mine, others = a.socket(port=PORT), b.socket(port=PORT)
            with mine, others:
                mine.sendto(b"to myself", (a.address, PORT))
                self.assertIsNotNone(said(mine, 2 * SLOW))
                self.assertIsNone(said(others))
            self.assertEqual((os.listdir("/sys/class/net"), os.listdir("/run/netns") if os.path.isdir("/run/netns") else []), machine)

    def test_a_command_runs_in_a_topology(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "tests.lab", "run", "cone-cone", "--", "sh", "-c", "ip netns exec alice ip -brief addr show eth0; echo $LAB_HOSTS; exit 7"],
            stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )
        self.assertEqual(done.returncode, 7)
        self.assertIn("192.168.1.10/24", done.stdout)
        self.assertIn('"relay": "203.0.96.1"', done.stdout)

    def test_who_is_not_root_is_told_why(self) -> None:
        done = subprocess.run(
            ["setpriv", "--reuid=65534", "--clear-groups", sys.executable, "-m", "tests.lab", "check"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        )
        if "No module" in done.stderr or "Permission" in done.stderr:
            self.skipTest("another user cannot read this folder")
        self.assertEqual((done.returncode, done.stdout), (3, "the laboratory makes network namespaces, for which one has to be root\n"))
