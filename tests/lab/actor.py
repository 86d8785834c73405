"""An Actor: a program of programs/ in a host, told what to do in lines of JSON.

It is sent ``{"id": 1, "do": "connect", "node": 0, ...}`` and answers ``{"id": 1, "ok": ...}`` or ``{"id": 1, "error": {"code": ..., "words": ...}}``; what its
nodes tell comes as ``{"event": {"node": 0, "type": "peer_connected", ...}}``. programs/README.md lists what it can do.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any, Callable

from . import build

if TYPE_CHECKING:
    from .network import Host

SLOW = float(os.environ.get("SLOW", "1"))
"""Slow machines stretch all limits by this factor."""

LIMIT = 30 * SLOW


class ActorError(Exception):
    """What a program was told to do failed; ``code`` is the name of the library's code, such as P2P_E_DIAL."""

    def __init__(self, actor: str, code: str, words: str) -> None:
        super().__init__(f"{actor}: {code}: {words}")
        self.code = code
        self.words = words


class Actor:
    def __init__(self, host: Host, language: str) -> None:
        self.host = host
        self.language = language
        self.name = f"{host.name} ({language})"
        self.id = ""
        """The peer id of its first node."""
        self.events: list[dict[str, Any]] = []
        """All that its nodes told so far; ``at`` is when, by time.monotonic."""
        self._changed = threading.Condition()
        self._pending: dict[int, concurrent.futures.Future[Any]] = {}
        self._next = 1
        self._ended = False
        self._errors = tempfile.TemporaryFile("w+", errors="replace")
        self._process = host.spawn(
            build.actor(language), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, encoding="utf-8", env=build.environment()
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            try:
                said = json.loads(line)
            except ValueError:
                self._errors.write(f"not JSON: {line}")
                continue
            with self._changed:
                if "event" in said:
                    self.events.append({**said["event"], "at": time.monotonic()})
                elif (future := self._pending.pop(said.get("id"), None)) is not None:
                    if "error" in said:
                        future.set_exception(ActorError(self.name, said["error"]["code"], said["error"]["words"]))
                    else:
                        future.set_result(said["ok"])
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            for future in self._pending.values():
                future.set_exception(ActorError(self.name, "ENDED", f"the program ended\n{self.stderr()}"))
            self._pending.clear()
            self._changed.notify_all()

    def stderr(self) -> str:
        """What it wrote to its standard error so far."""
        self._errors.flush()
        self._errors.seek(0)
        return self._errors.read()

    def begin(self, do: str, **what: Any) -> concurrent.futures.Future[Any]:
        """Tell it to do something, and do not wait."""
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        with self._changed:
            number, self._next = self._next, self._next + 1
            if self._ended:
                future.set_exception(ActorError(self.name, "ENDED", f"the program ended\n{self.stderr()}"))
                return future
            self._pending[number] = future
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps({"id": number, "do": do, **what}) + "\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            pass  # the reader says so
        return future

    def do(self, do: str, *, limit: float = LIMIT, **what: Any) -> Any:
        """Tell it to do something and return its answer. Raises ActorError."""
        try:
            return self.begin(do, **what).result(limit)
        except concurrent.futures.TimeoutError:
            raise AssertionError(f"{self.name}: no answer to {do} within {limit} s\n{self.stderr()}") from None

    def start(self, nodes: int = 1, **options: Any) -> list[dict[str, Any]]:
        """Start nodes with the same options; returns the id and the addresses of each."""
        started: list[dict[str, Any]] = self.do("start", nodes=nodes, options=options)
        self.id = self.id or started[0]["id"]
        return started

    def event(self, type: str, *, limit: float = LIMIT, since: float = 0, where: Callable[[dict[str, Any]], bool] = bool, **fields: Any) -> dict[str, Any]:
        """Wait for an event of a type, with these fields and true to ``where``, that came after ``since``; events before the call count."""
        end = time.monotonic() + limit
        seen = 0
        with self._changed:
            while True:
                for event in self.events[seen:]:
                    if event["type"] == type and event["at"] >= since and all(event.get(k) == v for k, v in fields.items()) and where(event):
                        return event
                seen = len(self.events)
                left = end - time.monotonic()
                if left <= 0 or self._ended:
                    raise AssertionError(
                        f"{self.name}: {'it ended' if self._ended else f'{limit} s passed'} without an event {type} with {fields}; its events:\n"
                        + "\n".join(map(str, self.events[-50:])) + f"\n{self.stderr()}"
                    )
                self._changed.wait(left)

    def signal(self, number: int) -> None:
        """Send a signal to the program."""
        self._process.signal(number)

    def kill(self) -> None:
        """End it by SIGKILL, and wait for that."""
        self.signal(signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """End it as a well-behaved program ends; if it does not, kill it."""
        process, self_in = self._process, self._process.stdin
        try:
            if self_in:
                self_in.close()
        except BrokenPipeError:
            pass
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            for number in (signal.SIGKILL, signal.SIGCONT):  # the second for one that stands still
                try:
                    process.signal(number)
                except ProcessLookupError:
                    pass
            process.wait(5)
        self._reader.join(5)
        if process.stdout:
            process.stdout.close()
        self._errors.close()

    def __enter__(self) -> Actor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def until(condition: Callable[[], Any], what: str, limit: float = LIMIT, pause: float = 0.1) -> Any:
    """Ask until the answer is true; the last one is in the error."""
    end = time.monotonic() + limit
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {limit} s for {what}; the last answer was {value!r}")
        time.sleep(pause)
    return value
