"""The library as a whole. Settings of the process are tried in one of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import libp2pgo
from helpers import child, finish, node
from libp2pgo import InvalidArgument, runtime


def test_what_it_is() -> None:
    built = runtime.build_info()
    assert runtime.version() == built["version"] == libp2pgo.__version__
    assert built["go"].startswith("go1.")
    assert built["abi"] >= 1
    assert "github.com/libp2p/go-libp2p" in built["modules"]
    assert "quic-v1" in built["transports"]


async def test_what_is_open() -> None:
    assert runtime.live_handles("node") == 0
    async with node() as n, n.subscribe("t"):
        info = runtime.info()
        assert {name: runtime.live_handles(name) for name in ("node", "topic", "subscription")} == {
            "node": 1,
            "topic": 1,
            "subscription": 1,
        }
        assert info["handles"]["node"] == 1
        assert runtime.live_handles() == sum(info["handles"].values())
        assert info["panics"] == 0
        assert 0 < info["file_descriptors"] < info["file_descriptor_limit"]
        assert min(info["goroutines"], info["heap_bytes"], info["threads"]) > 0
    assert runtime.live_handles("node") == 0


def test_the_types_have_the_keys_of_the_library() -> None:
    assert set(runtime.build_info()) == set(runtime.BuildInfo.__annotations__)
    assert set(runtime.info()) == set(runtime.RuntimeInfo.__annotations__)
    assert {kind: runtime.live_handles(kind) for kind in runtime.info()["handles"]}.keys() == set(runtime._KINDS)


def test_an_unknown_kind_is_refused() -> None:
    wrong: Any = "strem"
    with pytest.raises(InvalidArgument, match="kind: 'strem' is none of queue, .*stream"):
        runtime.live_handles(wrong)


def test_a_node_runs_on_one_thread_under_a_heap_limit_and_the_defaults_come_back() -> None:
    """Under a limit that cannot be kept Go collects all the time, as far as it lets that cost."""
    code = """
import json
from helpers import sync_node
from libp2pgo import runtime

def collections():
    before = a.metrics.value("go_gc_cycles_total")
    for _ in range(20):
        b.ping(a.id)
    return a.metrics.value("go_gc_cycles_total") - before

with sync_node() as a, sync_node() as b:
    b.connect(a.addresses)
    seen = [collections()]
    runtime.tune(threads=1, heap_bytes=1)
    seen.append(collections())
    runtime.tune()
    seen.append(collections())
    runtime.tune(threads=-1, heap_bytes=-1)
    collections()  # one may have been under way
    seen.append(collections())
print(json.dumps(seen))
"""
    status, out, err = finish(child(code))
    assert (status, err) == (0, "")
    default, tuned, untouched, again = json.loads(out)
    assert min(tuned, untouched) > 5 > max(default, again), out


@pytest.mark.parametrize("name", ["threads", "heap_bytes"])
def test_a_limit_that_makes_no_sense_is_refused(name: str) -> None:
    wrong: Any
    for wrong in (0, -2, 1 << 64, 0.5):
        with pytest.raises(InvalidArgument, match=f"^{name}: {wrong} is not a "):
            runtime.tune(**{name: wrong})
    wrong = "64M"
    with pytest.raises(TypeError, match=f"^{name}: '64M' is not a whole number$"):
        runtime.tune(**{name: wrong})


@pytest.mark.parametrize("ended", [False, True], ids=["named", "ended"])
def test_the_last_words_go_to_the_crash_file(ended: bool, tmp_path: Path) -> None:
    code = """
import ctypes, resource, sys
from libp2pgo import _library, runtime

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
runtime.crash_file(sys.argv[1])
if len(sys.argv) > 2:
    runtime.crash_file(None)
lib = _library.library()
nowhere, out = 1 << 20, ctypes.c_void_p()
lib.p2p_address_text(nowhere, 8, ctypes.byref(out))
"""
    path = tmp_path / "crash"
    status, _, err = finish(child(code, str(path), *["end"] * ended))
    assert status != 0
    assert "unexpected fault address" in err
    assert ("goroutine" in path.read_text()) is not ended
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_crash_file_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(libp2pgo.SystemFailure, match="no_such"):
        runtime.crash_file(tmp_path / "no_such" / "crash")
    wrong: Any = b"crash"
    with pytest.raises(TypeError, match="^path: b'crash' is not a text$"):
        runtime.crash_file(wrong)
