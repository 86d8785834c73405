"""Async tests run on a loop of their own, within a time limit; no test may leave a handle behind."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import time
from typing import Any, Iterator

import pytest

from libp2pgo import _engine, _library

LIMIT = 30.0 * float(os.environ.get("LIBP2PGO_TEST_PATIENCE", "1"))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine function with asyncio.run."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}

    async def run() -> None:
        await asyncio.wait_for(pyfuncitem.obj(**arguments), LIMIT)

    asyncio.run(run())
    return True


def live() -> dict[str, Any]:
    lib = _library.library()
    found: dict[str, Any] = lib.json(lib.p2p_runtime_info)["handles"]
    return found


@pytest.fixture(autouse=True)
def _no_handles_left() -> Iterator[None]:
    yield
    if not _library.loaded():
        return
    gc.collect()
    gc.collect()  # a loop's pump becomes garbage when the loop has been collected
    _engine._sweep()  # what the next use of the package on another loop would do
    lib = _library.library()
    until = time.monotonic() + 5  # a forgotten object is closed by a thread
    while lib.p2p_live_handles(0) and time.monotonic() < until:
        time.sleep(0.01)
    assert lib.p2p_live_handles(0) == 0, live()
