"""The ways a process ends, forks and is interrupted: each in a child."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

import libp2pgo
from helpers import SOURCE, child, finish, sync_node

START = """
import asyncio, faulthandler, multiprocessing, os, signal, socket, sys, time, threading
import libp2pgo
from libp2pgo import sync
from helpers import TCP, NOBODY, node, sync_node
"""


def run(code: str, limit: float = 20, **options: Any) -> tuple[int, str, str]:
    return finish(child(START + code, **options), limit)


def test_a_forked_child_is_told_at_once() -> None:
    code = """
n = sync_node().start()
pid = os.fork()
if pid == 0:
    begin = time.monotonic()
    for call in (lambda: n.ping(NOBODY), lambda: n.peers(), lambda: sync_node().start(), lambda: libp2pgo.PrivateKey.generate()):
        try:
            call()
            os._exit(1)
        except libp2pgo.ForkedProcessError:
            pass
    os._exit(0 if time.monotonic() - begin < 2 else 2)
assert os.waitpid(pid, 0)[1] == 0
n.close()
print("parent lives")
"""
    status, out, err = run(code)
    assert (status, out) == (0, "parent lives\n"), err


def test_an_iteration_in_a_forked_child_is_told() -> None:
    code = """
n = sync_node().start()
events, subscription = n.events(), n.subscribe("news")
started = [n.events(libp2pgo.PeerGraylisted), n.subscribe("other")]
for each in started:
    try:
        each.next(timeout=0)
    except libp2pgo.Timeout:
        pass
pid = os.fork()
if pid == 0:
    for each in (events, subscription, *started):
        for again in range(2):
            try:
                for _ in each:
                    pass
                os._exit(1)
            except libp2pgo.ForkedProcessError:
                pass
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
n.close()
print("parent lives")
"""
    status, out, err = run(code)
    assert (status, out) == (0, "parent lives\n"), err


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method: str) -> None:
    code = """
def work(_):
    try:
        with sync_node() as n:
            return str(n.id)[:8]
    except libp2pgo.ForkedProcessError:
        return "forked"

if __name__ == "__main__":
    with sync_node(), multiprocessing.get_context(METHOD).Pool(1) as pool:
        print(pool.map(work, [0])[0])
"""
    with tempfile.TemporaryDirectory() as folder:
        script = os.path.join(folder, "script.py")
        with open(script, "w") as file:
            file.write(START + code.replace("METHOD", repr(method)))
        environment = {**os.environ, "PYTHONPATH": f"{SOURCE}{os.pathsep}{Path(__file__).parent}"}
        pipe = subprocess.PIPE
        status, out, err = finish(subprocess.Popen([sys.executable, script], env=environment, stdout=pipe, stderr=pipe, text=True))
    assert status == 0, err
    assert out == ("forked\n" if method == "fork" else "12D3KooW\n"), err


def test_a_child_forked_before_the_load_is_free() -> None:
    code = """
pid = os.fork()
with sync_node() as n:
    assert n.addresses
if pid == 0:
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
"""
    status, _, err = run(code)
    assert status == 0, err


def test_subprocesses_are_no_forks() -> None:
    code = """
import subprocess
with sync_node() as n:
    for _ in range(5):
        assert subprocess.run([sys.executable, "-c", "print(1)"], stdout=subprocess.PIPE, preexec_fn=lambda: None).stdout == b"1\\n"
    assert n.addresses
"""
    status, _, err = run(code)
    assert status == 0, err


BUSY = """
a, b = sync_node().start(), sync_node().start()
a.connect(b.addresses)
b.on_request("/same/1", lambda request: request.data)
sub = b.subscribe("news")
def work():
    while True:
        a.request(b.id, "/same/1", bytes(1000))
        a.publish("news", b"x")
for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.3)
print("busy", flush=True)
"""


@pytest.mark.parametrize("end", ["", "sys.exit(0)", "os._exit(0)", "os.kill(os.getpid(), signal.SIGTERM)"])
def test_exit_while_busy(end: str) -> None:
    begin = time.monotonic()
    status, out, err = run(BUSY + end)
    assert status == (-signal.SIGTERM if "SIGTERM" in end else 0), err
    assert out == "busy\n"
    assert "Fatal" not in err
    assert time.monotonic() - begin < 10


def test_exit_takes_no_memory_from_threads_that_poll() -> None:
    # What a thread polls into is written to until the process is gone. A mistake shows in one exit of fifteen.
    children = [child(START + BUSY) for _ in range(3)]
    for _ in range(8):
        for i, each in enumerate(children):
            status, out, err = finish(each, 30)
            assert (status, out) == (0, "busy\n"), err
            children[i] = child(START + BUSY)
    for each in children:
        finish(each, 30)


WAITS = {
    "request": "n.request(other.id, '/held/1', timeout=None)",
    "read": "n.open_stream(other.id, '/silent/1').read()",
    "subscription": "next(n.subscribe('news'))",
    "events": "next(n.events(libp2pgo.ListenFailed))",
    "publish": "n.publish('news', b'x', min_peers=9, timeout=None)",
    "dial": "n.connect(f'/ip4/127.0.0.1/tcp/{silent.getsockname()[1]}/p2p/{NOBODY}')",
}


@pytest.mark.parametrize("wait", sorted(WAITS))
def test_ctrl_c_ends_a_wait_of_the_sync_face_at_once(wait: str) -> None:
    code = f"""
silent = socket.create_server(("127.0.0.1", 0))
with sync_node() as n, sync_node() as other:
    other.on_request("/held/1", lambda request: time.sleep(60) or b"")
    other.handle("/silent/1", lambda stream: stream.read())
    n.connect(other.addresses)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    begin = time.monotonic()
    try:
        {WAITS[wait]}
    except KeyboardInterrupt:
        print(time.monotonic() - begin < 2)
    print(n.ping(other.id) > 0)
os._exit(0)
"""
    status, out, err = run(code)
    assert (status, out) == (0, "True\nTrue\n"), err


# Where a signal's handler closes the node, with the signal sent at that very moment, and what comes then.
MOMENTS = {
    "messages are made of what was just fetched": (
        """
patch(libp2pgo.pubsub, "Message")
n.publish("news", b"1")
n.publish("news", b"2")
print([m.data for m in subscription])
""",
        "[b'1', b'2']",
    ),
    "events are made of what was just fetched": (
        """
patch(libp2pgo.events, "make")
print(any(isinstance(e, libp2pgo.PeerConnected) for e in events))
""",
        "True",
    ),
    "an answer is waited for": ("ask('/kill/1')", "closed"),
    "an answer is handed out": ("patch(BlockingFuture, 'set_result'); ask('/echo/1')", "b''"),
    "a waiter is woken": ("patch(BlockingPump, 'completed', lambda pump: pump._mutex); ask('/echo/1')", "b''"),
    "a waiter finds another thread at the queue": (
        """
n.handle("/x/1", print)
while n._blocking._leader is None:
    time.sleep(0.001)
patch(threading, "Lock")
ask("/held/1")
""",
        "closed",
    ),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_handler_may_close_a_node_of_the_sync_face(moment: str) -> None:
    action, outcome = MOMENTS[moment]
    code = f"""
import contextlib
from libp2pgo._blocking import BlockingFuture, BlockingPump

def patch(owner, name, held=lambda *_: contextlib.nullcontext()):
    original = getattr(owner, name)

    def patched(*args, **options):
        if threading.current_thread() is threading.main_thread():
            setattr(owner, name, original)
            with held(*args[:1]):
                signal.raise_signal(signal.SIGTERM)
        return original(*args, **options)

    setattr(owner, name, patched)

def ask(protocol):
    try:
        print(n.request(other.id, protocol))
    except libp2pgo.ClosedError:
        print("closed")

with sync_node() as n, sync_node() as other:
    def close(*_):
        n.close()
        print("handled")

    signal.signal(signal.SIGTERM, close)
    other.on_request("/echo/1", lambda request: b"")
    other.on_request("/held/1", lambda request: time.sleep(60) or b"")
    other.on_request("/kill/1", lambda request: os.kill(os.getpid(), signal.SIGTERM) or time.sleep(60) or b"")
    events = n.events()
    n.connect(other.addresses)
    subscription = n.subscribe("news")
    exec({action!r})
    sys.stdout.flush()
    os._exit(0)
"""
    status, out, err = run(code)
    assert (status, out) == (0, f"handled\n{outcome}\n"), err


def test_a_signal_handler_may_ask_below_a_wait() -> None:
    """What the wait is for may come while the handler dispatches."""
    code = """
from libp2pgo import _blocking

class Poller:
    def __init__(self):
        self.real = real()
        self.register = self.real.register

    def poll(self, ms):
        _blocking.select.poll = real
        signal.raise_signal(signal.SIGTERM)
        return self.real.poll(ms)

with sync_node() as n, sync_node() as other:
    asked = threading.Event()
    other.on_request("/first/1", lambda request: b"first" if asked.wait(10) else b"nobody asked")
    other.on_request("/echo/1", lambda request: request.data)
    n.connect(other.addresses)

    def ask(*_):
        asked.set()
        below = n._blocking._leading
        while not below._done:
            print(n.request(other.id, "/echo/1", b"second", timeout=10))

    signal.signal(signal.SIGTERM, ask)
    real, _blocking.select.poll = _blocking.select.poll, Poller
    print(n.request(other.id, "/first/1"))
    sys.stdout.flush()
    os._exit(0)
"""
    status, out, err = run(code)
    assert status == 0, err
    assert set(out.splitlines()) == {"b'second'", "b'first'"}


@pytest.mark.parametrize("wait", ["await n.request(other.id, '/held/1')", "await asyncio.Event().wait()", "await n.subscribe('x').next()"])
def test_ctrl_c_ends_asyncio_run(wait: str) -> None:
    code = f"""
async def main():
    async with node() as n, node() as other:
        @other.on_request("/held/1")
        async def held(request):
            await asyncio.sleep(60)
        await n.connect(other.addresses)
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        {wait}
begin = time.monotonic()
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print(time.monotonic() - begin < 5)
"""
    status, out, err = run(code)
    assert (status, out) == (0, "True\n"), err


def test_a_pipe_without_a_reader_does_not_kill() -> None:
    code = """
with sync_node() as n, sync_node() as other:
    other.handle("/end/1", lambda stream: stream.reset())
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    n.connect(other.addresses)
    for _ in range(20):
        stream = n.open_stream(other.id, "/end/1")
        try:
            for _ in range(20):
                stream.write(bytes(1000))
        except libp2pgo.Error:
            pass
        stream.close()
    fd = n.open_socket(other.id, "/end/1")
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    fd.close()
print("alive")
"""
    status, out, err = run(code)
    assert (status, out) == (0, "alive\n"), err


@pytest.mark.parametrize("flags", [(), ("-X", "faulthandler")])
def test_faulthandler_before_and_after_the_load(flags: tuple[str, ...]) -> None:
    code = """
with sync_node() as n, sync_node() as other:
    faulthandler.enable()
    n.connect(other.addresses)
    other.on_request("/same/1", lambda request: request.data)
    for _ in range(50):
        n.request(other.id, "/same/1", b"x")
print("alive")
"""
    status, out, err = run(code, flags=flags)
    assert (status, out) == (0, "alive\n"), err


def test_the_remote_process_killed_is_told() -> None:
    serving = child(
        START
        + """
n = sync_node().start()
n.handle("/silent/1", lambda stream: stream.read())
print(n.addresses[0], flush=True)
time.sleep(60)
"""
    )
    assert serving.stdout is not None
    address = serving.stdout.readline().strip()

    with sync_node() as n:
        stream = n.open_stream(address, "/silent/1")
        stream.write(b"x")
        n.ping(stream.peer)
        serving.kill()
        with pytest.raises(libp2pgo.Error):
            stream.readexactly(1, timeout=10)
        stream.close()
    finish(serving)
