"""A hash table of 24 processes, eight in each language: what each puts, sets and provides every other finds, also when a third was killed, and what a
process has stored is there again when it starts once more.

    python3 -m unittest -v tests/network/test_dht.py
    PROCESSES=6 python3 -m unittest ...                 fewer
"""

import os
import pathlib
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = pathlib.Path(__file__).resolve().parent / "programs"
LANGUAGES = ("c", "python", "node")
PROCESSES = int(os.environ.get("PROCESSES", "24"))
LIMIT = 120.0
ENVIRONMENT = {
    **os.environ,
    "LIBP2PGO_LIBRARY": str(ROOT / "build" / "libp2pgo.so"),
    "LD_LIBRARY_PATH": str(ROOT / "build"),
    "PKG_CONFIG_PATH": str(ROOT / "build"),
    "PYTHONPATH": str(ROOT / "bindings" / "python" / "src"),
}


class Programs:
    """The three programs, ready to run from a folder."""

    def __init__(self, folder):
        self.folder = folder
        modules = folder / "node_modules"
        modules.mkdir()
        (modules / "libp2pgo").symlink_to(ROOT / "bindings" / "node", target_is_directory=True)
        (folder / "node.mjs").write_text((PROGRAMS / "node.mjs").read_text())
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libp2pgo"], env=ENVIRONMENT, check=True, capture_output=True, text=True).stdout
        compiler = [*shlex.split(os.environ.get("CC", "cc")), "-std=gnu11", "-Wall", "-Wextra", "-Werror"]
        subprocess.run([*compiler, str(PROGRAMS / "node.c"), *shlex.split(flags), "-o", str(folder / "node")], env=ENVIRONMENT, check=True)

    def command(self, language):
        return {
            "c": [str(self.folder / "node")],
            "python": [sys.executable, str(PROGRAMS / "node.py")],
            "node": ["node", str(self.folder / "node.mjs")],
        }[language]


class Process:
    """One node in a process of its own, with its key and store in a folder."""

    def __init__(self, programs, language, name):
        self.programs, self.language, self.name = programs, language, name
        self.lock = threading.Lock()
        self.start()

    def start(self):
        paths = [str(self.programs.folder / f"{self.name}.{kind}") for kind in ("key", "dht")]
        self.process = subprocess.Popen(
            [*self.programs.command(self.language), *paths], env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.id, self.address = self.answer().split()

    def answer(self):
        watchdog = threading.Timer(LIMIT, self.process.kill)
        watchdog.start()
        line = self.process.stdout.readline().strip()
        watchdog.cancel()
        word, _, rest = line.partition(" ")
        if word != "ok":
            raise AssertionError(f"{self.name}: {line or 'gone, or silent'}")
        return rest.strip()

    def ask(self, *words):
        with self.lock:
            self.process.stdin.write(" ".join(words) + "\n")
            return self.answer()

    def end(self):
        self.process.stdin.close()
        code = self.process.wait(LIMIT)
        self.process.stdout.close()
        if code != 0:
            raise AssertionError(f"{self.name}: exit code {code}")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(LIMIT)
        self.process.stdin.close()
        self.process.stdout.close()


class Dht(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.programs = Programs(pathlib.Path(folder.name))
        self.pool = ThreadPoolExecutor(PROCESSES)
        self.addCleanup(self.pool.shutdown)
        self.nodes = []
        self.addCleanup(self.end_all)

    def end_all(self):
        for node in self.nodes:
            if node.process.poll() is None:
                node.kill()

    def all(self, nodes, do):
        """Runs do for every node, all nodes at the same time."""
        return list(self.pool.map(do, nodes))

    def start(self):
        kinds = [(LANGUAGES[i % len(LANGUAGES)], i) for i in range(PROCESSES)]
        self.nodes = list(self.pool.map(lambda kind: Process(self.programs, kind[0], f"{kind[0]}{kind[1]}"), kinds))
        first = self.nodes[0]
        self.all(self.nodes[1:], lambda node: node.ask("connect", first.address))
        self.all(self.nodes, lambda node: node.ask("bootstrap", "3"))

    def everybody_finds_everything(self, askers, owners):
        def check(asker):
            for owner in owners:
                self.assertEqual(asker.ask("get", f"/app/{owner.name}"), f"put-by-{owner.name}", f"{asker.name} asks for {owner.name}")
                self.assertEqual(asker.ask("get", f"{owner.id}/name"), f"set-by-{owner.name}", f"{asker.name} asks for {owner.name}")
                self.assertIn(owner.id, asker.ask("providers", f"/data/{owner.name}").split(), f"{asker.name} asks for {owner.name}")
            for other in askers:
                self.assertTrue(asker.ask("peer", other.id).endswith(other.id), f"{asker.name} looks for {other.name}")

        self.all(askers, check)

    def test_values_names_providers_and_peers_are_found_from_every_process(self):
        self.start()

        def give(node):
            self.assertGreaterEqual(int(node.ask("put", f"/app/{node.name}", f"put-by-{node.name}")), min(3, PROCESSES - 1))
            self.assertGreaterEqual(int(node.ask("set", "name", f"set-by-{node.name}")), min(3, PROCESSES - 1))
            self.assertGreaterEqual(int(node.ask("provide", f"/data/{node.name}")), min(3, PROCESSES - 1))

        self.all(self.nodes, give)
        self.everybody_finds_everything(self.nodes, self.nodes)

        # A third of each language.
        chosen = random.Random(1)
        killed = [node for language in LANGUAGES for node in chosen.sample([n for n in self.nodes if n.language == language], PROCESSES // 9)]
        alive = [node for node in self.nodes if node not in killed]
        self.all(killed, Process.kill)
        self.everybody_finds_everything(alive, self.nodes)

        # One of each language starts once more, alone: the values that it was killed with are there.
        for node in {node.language: node for node in killed}.values():
            node.start()
            self.assertEqual(node.ask("get", f"/app/{node.name}"), f"put-by-{node.name}")
            self.assertEqual(node.ask("get", "name"), f"set-by-{node.name}")
            alive.append(node)
        # Who ends in order has its providers too; those are written in batches.
        for node in {node.language: node for node in reversed(alive[: -len(LANGUAGES)])}.values():
            node.end()
            node.start()
            self.assertEqual(node.ask("get", "name"), f"set-by-{node.name}")
            self.assertIn(node.id, node.ask("providers", f"/data/{node.name}").split())
        self.all(alive, Process.end)


if __name__ == "__main__":
    unittest.main()
