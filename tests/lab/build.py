"""The programs of the laboratory that are built first: the forwarder (Go) and the actor in C."""

from __future__ import annotations

import os
import pathlib
import subprocess
import threading

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = pathlib.Path(os.environ.get("LIBP2PGO_BUILD", ROOT / "build"))
PROGRAMS = HERE / "programs"

_building = threading.Lock()  # several laboratories start at once


def environment() -> dict[str, str]:
    extra = {
        "PKG_CONFIG_PATH": str(BUILD),
        "LD_LIBRARY_PATH": str(BUILD),
        "LIBP2PGO_LIBRARY": str(BUILD / "libp2pgo.so"),
        "PYTHONPATH": str(ROOT / "bindings" / "python" / "src"),
        "PYTHONUNBUFFERED": "1",
    }
    return {**os.environ, **extra}


def forwarder() -> pathlib.Path:
    output = BUILD / "lab" / "delay"
    if _stale(output, HERE / "delay" / "main.go"):
        subprocess.run(["go", "build", "-o", str(output), "./tests/lab/delay"], cwd=ROOT, check=True, env={**os.environ, "CGO_ENABLED": "0"})
    return output


def actor(language: str) -> list[str]:
    """The words that start an actor."""
    with _building:
        return _actor(language)


def _actor(language: str) -> list[str]:
    if language == "python":
        import sys

        return [sys.executable, str(PROGRAMS / "actor.py")]
    if language == "node":
        return ["node", str(PROGRAMS / "actor.mjs")]
    if language == "c":
        output = BUILD / "lab" / "actor"
        if _stale(output, PROGRAMS / "actor.c", BUILD / "libp2pgo.so"):
            output.parent.mkdir(parents=True, exist_ok=True)
            flags = "-std=gnu11 -Wall -Wextra -Wshadow -Werror -O1 -g"
            command = f"{os.environ.get('CC', 'cc')} {flags} {PROGRAMS / 'actor.c'} $(pkg-config --cflags --libs libp2pgo) -o {output}"
            subprocess.run(["sh", "-ec", command], check=True, env=environment())
        return [str(output)]
    if language == "go":
        output = BUILD / "lab" / "goactor"
        if _stale(output, PROGRAMS / "goactor" / "main.go", *(ROOT / "core").glob("*.go")):
            subprocess.run(["go", "build", "-o", str(output), "./tests/lab/programs/goactor"], cwd=ROOT, check=True, env={**os.environ, "CGO_ENABLED": "0"})
        return [str(output)]
    raise ValueError(f"no actor in {language}")


def _stale(output: pathlib.Path, *sources: pathlib.Path) -> bool:
    return not output.exists() or any(source.stat().st_mtime > output.stat().st_mtime for source in sources)
