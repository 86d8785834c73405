"""Nodes on loopback, and waiting for a state with a limit."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, AsyncIterator, Callable

import libp2pgo
from libp2pgo import sync

TCP = "/ip4/127.0.0.1/tcp/0"
QUIC = "/ip4/127.0.0.1/udp/0/quic-v1"
NOBODY = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"
ROOT = Path(__file__).resolve().parents[3]
SOURCE = ROOT / "bindings" / "python" / "src"


def node(**options: Any) -> libp2pgo.Node:
    return libp2pgo.Node(**{"listen": [TCP], **options})


def sync_node(**options: Any) -> sync.Node:
    return sync.Node(**{"listen": [TCP], **options})


@contextlib.asynccontextmanager
async def pair(**options: Any) -> AsyncIterator[tuple[libp2pgo.Node, libp2pgo.Node]]:
    """Two nodes, connected when this returns."""
    async with node(**options) as a, node(**options) as b:
        await a.connect(b.addresses)
        await until(lambda: a.id in b.peers(), "the listener to see the connection")
        yield a, b


async def until(condition: Callable[[], Any], what: str = "the condition", limit: float = 10.0) -> Any:
    """Wait for a state."""
    end = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"waited {limit} s for {what}; it is {value!r}"
        await asyncio.sleep(0.005)


async def forever(*_: Any) -> None:
    await asyncio.Event().wait()


def child(code: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Start Python code in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": f"{SOURCE}{os.pathsep}{Path(__file__).parent}", **options.pop("env", {})}
    return subprocess.Popen(
        [sys.executable, *options.pop("flags", ()), "-c", code, *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finish(process: subprocess.Popen[str], limit: float = 20.0) -> tuple[int, str, str]:
    """Wait for a child's end and return its exit code and what it wrote."""
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"the child did not end within {limit} s\n{out}\n{err}") from None
    return process.returncode, out, err
