"""examples/server is all that it says: bootstrap peer, DHT server, relay, rendezvous point, AutoNAT server, with numbers and a clean end."""

import asyncio
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from programs import BUILD, LIMIT, ROOT, Program  # noqa: E402

sys.path.insert(0, str(ROOT / "bindings" / "python" / "src"))
os.environ.setdefault("LIBP2PGO_LIBRARY", str(BUILD / "libp2pgo.so"))
import libp2pgo  # noqa: E402

FOLDER = ROOT / "examples" / "server"
TCP = "/ip4/127.0.0.1/tcp/0"


def example_config(**changes):
    """The example's own configuration, on loopback and ports of the system's choice."""
    config = json.loads((FOLDER / "server.json").read_text())
    config["node"]["listen"] = [TCP, "/ip4/127.0.0.1/udp/0/quic-v1"]
    return {**config, "metrics": "127.0.0.1:0", "status_s": 0.2, **changes}


class Server(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        # Paths in the configuration are relative to the working directory, as in the unit.
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)

    def write(self, config):
        file = self.folder / "server.json"
        file.write_text(config if isinstance(config, str) else json.dumps(config))
        return str(file)

    def started(self, config):
        """A running server, its address and the URL of its metrics."""
        server = Program("python", "server", self.write(config))
        self.addCleanup(server.__exit__)
        address = server.address("/tcp/")
        while not (line := server.line()).startswith("metrics "):  # its log comes out at the same place
            pass
        return server, address, line.split()[1]

    def stopped(self, server, number=signal.SIGTERM):
        server.process.send_signal(number)
        self.assertEqual(server.process.wait(LIMIT), 0)

    def run_to_its_end(self, config):
        done = subprocess.run(
            [sys.executable, str(FOLDER / "server.py"), self.write(config)], capture_output=True, text=True, timeout=LIMIT,
            env={**os.environ, "PYTHONPATH": str(ROOT / "bindings" / "python" / "src")},
        )  # fmt: skip
        return done.returncode, done.stderr

    def test_serves_a_network_of_strangers(self):
        """Nodes that know nothing but the server's address find each other in each of its ways."""
        server, address, url = self.started(example_config())

        async def use():
            options = {"listen": [TCP], "bootstrap": [address], "dht": {"mode": "client"}}
            hidden = {**options, "listen": []}  # can be reached through the relay alone
            async with libp2pgo.Node(**hidden) as a, libp2pgo.Node(**options) as b:
                await a.connect(address)
                await b.connect(address)
                # Relay: b reaches a, which listens nowhere.
                async with await a.relay.reserve(address) as place:
                    self.assertIn("/p2p-circuit", place.addresses[0])
                    self.assertEqual(await b.connect(place.addresses), a.id)
                    self.assertTrue(b.peer_info(a.id).connections[0].relayed)
                    b.disconnect(a.id)
                # Rendezvous: a finds b by a name.
                async with await b.discovery.register(address, "examples"):
                    found = await a.discovery.discover(address, "examples")
                    self.assertEqual([peer.peer for peer in found.peers], [b.id])
                # DHT: what a has put, b gets from the server.
                await asyncio.gather(a.dht.bootstrap(), b.dht.bootstrap())
                await a.dht.set("greeting", b"hello", expiry=60)
                self.assertEqual(await b.dht.get("greeting", owner=a.id), b"hello")
                # What it says of itself.
                speaks = " ".join(b.peer_info(libp2pgo.Multiaddr(address).peer_id).protocols)
                for protocol in (
                    "/libp2p/circuit/relay/0.2.0/hop",
                    "/libp2p/autonat/1.0.0",
                    "/libp2p/autonat/2/dial-request",
                    "/rendezvous/1.0.0",
                    "/kad/1.0.0",
                ):
                    self.assertIn(protocol, speaks)

        asyncio.run(use())
        with urllib.request.urlopen(url, timeout=LIMIT) as answer:
            text = answer.read().decode()
        self.assertRegex(text, r"(?m)^libp2pgo_\w+(\{.*\})? \d")
        self.assertTrue(server.hear("peers", LIMIT))
        self.stopped(server)

    def test_comes_back_as_itself_and_remembers(self):
        config = example_config()
        server, address, _ = self.started(config)
        peer = libp2pgo.Multiaddr(address).peer_id
        self.assertEqual(os.stat("identity.key").st_mode & 0o777, 0o600)

        async def put():
            async with libp2pgo.Node(listen=[TCP], dht={"mode": "client"}) as node:
                await node.connect(address)
                await node.dht.bootstrap()
                await node.dht.set("kept", b"over a restart", expiry=60)
                return node.id

        owner = asyncio.run(put())
        self.stopped(server, signal.SIGINT)
        again, address, _ = self.started(config)
        self.assertEqual(libp2pgo.Multiaddr(address).peer_id, peer)

        async def get():
            async with libp2pgo.Node(listen=[TCP], dht={"mode": "client"}) as node:
                await node.connect(address)
                await node.dht.bootstrap()
                return await node.dht.get("kept", owner=owner)

        self.assertEqual(asyncio.run(get()), b"over a restart")
        self.stopped(again)

    def test_stops_in_time_while_busy(self):
        server, address, _ = self.started(example_config())

        async def use():
            async with libp2pgo.Node(listen=[]) as node:
                place = await node.relay.reserve(address)
                self.stopped(server)
                place.close()

        asyncio.run(use())

    def test_tells_systemd(self):
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.bind(str(self.folder / "notify"))
        manager.settimeout(LIMIT)
        os.environ.update(NOTIFY_SOCKET=str(self.folder / "notify"), WATCHDOG_USEC="200000")
        self.addCleanup(os.environ.pop, "NOTIFY_SOCKET")
        self.addCleanup(os.environ.pop, "WATCHDOG_USEC")
        server, _, _ = self.started(example_config())
        said = set()
        while not {"READY=1", "WATCHDOG=1"} <= said or not any(line.startswith("STATUS=0 peers") for line in said):
            said.add(manager.recv(4096).decode())
        self.stopped(server)
        while "STOPPING=1" not in said:
            said.add(manager.recv(4096).decode())

    def test_a_wrong_configuration_is_named_and_not_worth_a_restart(self):
        for config, words in (
            ("{", "server.json"),
            ({"nodes": {}}, "nodes: unknown"),
            (example_config(node={"relay": {"service": {"enabeld": True}}}), "relay.service.enabeld"),
            (example_config(log="loud"), "loud"),
            (example_config(status_s="often"), "status_s"),
        ):
            code, errors = self.run_to_its_end(config)
            self.assertEqual(code, 78, errors)
            self.assertIn(words, errors)

    def test_parts_can_be_left_out(self):
        server = Program("python", "server", self.write({"node": {"listen": [TCP]}, "status_s": 0.1}))
        self.addCleanup(server.__exit__)
        server.address("/tcp/")
        self.assertTrue(server.hear("server 0 peers", LIMIT))
        self.assertNotIn("relay", server.seen[-1])
        self.stopped(server)

    def test_the_options_for_everybody_else_are_right(self):
        (options,) = re.findall(r"^```json\n(.*?)^```$", (FOLDER / "README.md").read_text(), re.M | re.S)
        options = options.replace("12D3KooW...", "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA")

        async def use():
            async with libp2pgo.Node(config={**json.loads(options), "bootstrap": {"peers": []}, "listen": []}) as node:
                return node.dht.info()["mode"]

        self.assertIn("auto", asyncio.run(use()))

    def test_an_address_in_use_is_named(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            config = example_config()
            config["node"]["listen"] = [f"/ip4/127.0.0.1/tcp/{port}"]
            code, errors = self.run_to_its_end(config)
            self.assertEqual(code, 1, errors)
            self.assertIn(str(port), errors)
            code, errors = self.run_to_its_end(example_config(metrics=f"127.0.0.1:{port}"))
            self.assertEqual(code, 1, errors)
            self.assertIn(str(port), errors)

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not installed")
    def test_the_unit_is_one(self):
        unit = (FOLDER / "libp2pgo-server.service").read_text()
        program = re.search(r"ExecStart=(\S+)", unit)[1]
        copy = self.folder / "libp2pgo-server.service"
        copy.write_text(unit.replace(program, sys.executable))
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, timeout=LIMIT)
        about = [line for line in done.stderr.splitlines() if "libp2pgo-server" in line]
        self.assertEqual(about, [], done.stderr)


if __name__ == "__main__":
    unittest.main()
