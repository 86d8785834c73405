"""The rust-libp2p peer of the interop tests: built once, driven over its stdin and stdout."""

from __future__ import annotations

import functools
import os
import pathlib
import queue
import shutil
import subprocess
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCE = ROOT / "tests" / "interop" / "rust"
TARGET = ROOT / "build" / "interop" / "rust"
LIMIT = 30.0


def build() -> pathlib.Path:
    """Build the peer, once, and return its program; skip the tests, with the reason, where there is no cargo or no registry."""
    program, why_not = _built()
    if program is None:
        raise unittest.SkipTest(why_not)
    return program


@functools.lru_cache(maxsize=1)
def _built() -> tuple[pathlib.Path | None, str]:
    cargo = shutil.which("cargo")
    if cargo is None:
        return None, "no cargo here"
    manifest = ["--manifest-path", str(SOURCE / "Cargo.toml")]
    host = subprocess.run(["rustc", "-vV"], capture_output=True, text=True).stdout.partition("host: ")[2].split("\n")[0]
    begun = time.monotonic()
    fetched = subprocess.run([cargo, "fetch", "--target", host, *manifest], capture_output=True, text=True)
    if fetched.returncode != 0:
        return None, f"rust-libp2p cannot be fetched: {fetched.stderr.strip().splitlines()[-1:]}"
    built = subprocess.run(
        [cargo, "build", "--release", "--offline", *manifest, "--target-dir", str(TARGET)],
        capture_output=True,
        text=True,
    )
    if built.returncode != 0:
        raise AssertionError(f"the rust-libp2p peer does not build:\n{built.stderr[-4000:]}")
    print(f"# rust-libp2p peer built in {time.monotonic() - begun:.0f} s", flush=True)
    return TARGET / "release" / "interop-peer", ""


class RustPeer:
    """One process. Lines that it prints are words: what happened, and to whom."""

    def __init__(self, program: pathlib.Path, min_ttl: int = 7200) -> None:
        self._process = subprocess.Popen(
            [str(program), str(min_ttl)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=os.environ
        )
        self._lines: queue.Queue[list[str] | None] = queue.Queue()
        self._seen: list[list[str]] = []
        threading.Thread(target=self._read, daemon=True).start()
        self.address = self.expect("listening")[1]
        self.id = self.address.rpartition("/")[2]

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.put(line.split())
        self._lines.put(None)

    def do(self, *words: object) -> None:
        """Give it a command."""
        assert self._process.stdin
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()

    def expect(self, *start: object) -> list[str]:
        """Wait for a line that begins with some words, and pass over those before it."""
        wanted = list(map(str, start))
        seen = []
        until = time.monotonic() + LIMIT
        while True:
            try:
                words = self._lines.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"the rust peer never said {' '.join(wanted)}; it said {seen}") from None
            if words is None:
                raise AssertionError(f"the rust peer ended; it said {seen}")
            if words[: len(wanted)] == wanted:
                return words
            if words[0] != "pinged":
                seen.append(" ".join(words))

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
