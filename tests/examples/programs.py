"""Start the examples as their users do, each in its language, and read what they print.

C examples are built with nothing but pkg-config, Python's run with the package on the path, Node's beside a node_modules that holds the package.
"""

import os
import pathlib
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("LIBP2PGO_BUILD", ROOT / "build"))
LANGUAGES = os.environ.get("LANGUAGES", "c python node").split()
LIMIT = 30 * float(os.environ.get("SLOW", "1"))
"""Seconds that anything awaited may take."""

_SUFFIX = {"c": ".c", "python": ".py", "node": ".mjs"}
_work = tempfile.TemporaryDirectory(prefix="libp2pgo-examples-")


def environment():
    extra = {
        "PKG_CONFIG_PATH": str(BUILD),
        "LD_LIBRARY_PATH": str(BUILD),
        "LIBP2PGO_LIBRARY": str(BUILD / "libp2pgo.so"),
        "PYTHONPATH": str(ROOT / "bindings" / "python" / "src"),
        "PYTHONUNBUFFERED": "1",
    }
    return {**os.environ, **extra}


def command(language, example):
    """The words that start an example, built first where need be."""
    source = ROOT / "examples" / example / (example + _SUFFIX[language])
    folder = pathlib.Path(_work.name, language, example)
    folder.mkdir(parents=True, exist_ok=True)
    if language == "python":
        return [sys.executable, str(source)]
    if language == "node":
        modules = folder / "node_modules"
        if not modules.exists():
            modules.mkdir()
            (modules / "libp2pgo").symlink_to(ROOT / "bindings" / "node", target_is_directory=True)
        return ["node", shutil.copy(source, folder)]
    program = folder / example
    if not program.exists():
        build = f"{os.environ.get('CC', 'cc')} {source} $(pkg-config --cflags --libs libp2pgo) -o {program}"
        subprocess.run(["sh", "-ec", build], check=True, env=environment())
    return [str(program)]


class Program:
    """A running example. Leaving its ``with`` block ends it."""

    def __init__(self, language, example, *arguments):
        self.name = f"{language} {example} {' '.join(arguments)}"
        self.process = subprocess.Popen(
            [*command(language, example), *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", env=environment(),
        )
        self.seen = []
        self._lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()

    def _fail(self, why):
        raise AssertionError(f"{self.name}: {why}; it printed:\n" + "\n".join(self.seen))

    def line(self, seconds=LIMIT):
        """The next line, or None when ``seconds`` passed without one."""
        try:
            line = self._lines.get(timeout=max(0, seconds))
        except queue.Empty:
            return None
        if line is None:
            self._lines.put(None)
            self._fail("it ended")
        self.seen.append(line)
        return line

    def address(self, transport):
        """The first of the addresses printed at the start that is on loopback and has ``transport`` in it."""
        found = None
        while True:
            line = self.line()
            if line is None:
                self._fail("no empty line after its addresses")
            if line == "":
                return found or self._fail(f"no {transport} address on loopback")
            if found is None and "/127.0.0.1/" in line and transport in line:
                found = line

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self, text, seconds):
        """Whether a line with ``text`` in it comes within ``seconds``."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            line = self.line(left)
            if line is not None and text in line:
                return True
        return False


def run(language, example, *arguments):
    """Run an example to its end; returns its exit code and its output."""
    done = subprocess.run(
        [*command(language, example), *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8", env=environment(), timeout=LIMIT,
    )
    return done.returncode, done.stdout, done.stderr
