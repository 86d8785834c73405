"""Loops come and go, loops without add_reader, several loops at once."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
import threading
import time
import weakref
from typing import Any

import pytest

import libp2pgo
from helpers import node, pair, sync_node, until
from libp2pgo import _engine, _library
from libp2pgo._wait import watch


class NoReaders(asyncio.SelectorEventLoop):
    """A loop as Windows' Proactor: it cannot watch a descriptor."""

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:  # type: ignore[override]
        raise NotImplementedError

    def remove_reader(self, fd: Any) -> bool:
        raise NotImplementedError


async def everything() -> None:
    async with node() as a, node() as b:
        b.on_request("/same/1", lambda request: request.data)
        assert await a.request(b.addresses[0], "/same/1", b"x") == b"x"
        events = a.events(libp2pgo.PeerDisconnected)
        async with b.subscribe("news") as sub:
            await a.publish("news", b"hello", min_peers=1)
            message = await sub.next(timeout=5)
            assert message is not None
            assert message.data == b"hello"
        a.disconnect(b.id)
        assert await events.next(timeout=5) == libp2pgo.PeerDisconnected(b.id)


def run_on(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(None)
    try:
        loop.run_until_complete(asyncio.wait_for(everything(), 20))
    finally:
        loop.close()


def wait_for_threads(count: int) -> None:
    end = time.monotonic() + 5
    while threading.active_count() > count and time.monotonic() < end:
        time.sleep(0.01)
    assert threading.active_count() == count


def test_a_loop_without_add_reader() -> None:
    before = threading.active_count()
    loop = NoReaders()
    # asyncio itself needs its self-pipe watched: the base class adds it by another name
    run_on(loop)
    wait_for_threads(before)


class Reader:
    def readable(self) -> None:
        pass


@pytest.mark.parametrize("end", ["stop", "the loop"])
def test_a_watch_without_add_reader_ends_while_its_descriptor_becomes_readable(end: str) -> None:
    gc.collect()  # what other tests left
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        reader = Reader()
        for _ in range(1000):
            loop = NoReaders()
            read, write = os.pipe()
            stop = watch(loop, read, weakref.WeakMethod(reader.readable))
            if end == "the loop":
                loop.close()
            os.write(write, b"x")
            stop()
            loop.close()
            os.close(read)
            os.close(write)
        wait_for_threads(threads)
    finally:
        sys.setswitchinterval(interval)
    assert len(os.listdir("/proc/self/fd")) <= descriptors  # what other tests left may go meanwhile


def test_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop")
    run_on(uvloop.new_event_loop())


def test_a_node_outlives_its_loop() -> None:
    n = node()

    async def start() -> None:
        await n.start()
        n.on_request("/old/1", lambda request: b"old")

    async def later() -> None:
        async with node() as other:
            assert n.id in repr(n)
            await n.connect(other.addresses)
            n.on_request("/new/1", lambda request: b"new")
            assert await other.request(n.id, "/new/1") == b"new"
            async with n.subscribe("x") as sub:
                await n.publish("x", b"1")
                assert await sub.next(timeout=5) is not None
        await n.close()

    asyncio.run(start())
    asyncio.run(later())


@pytest.mark.parametrize("kept", [False, True])
async def test_a_stream_that_is_dropped_after_its_loop_is_closed(kept: bool) -> None:
    async with pair() as (a, b):
        ended = asyncio.Event()
        got: list[bytes] = []

        @b.handle("/x/1")
        async def read(stream: libp2pgo.Stream) -> None:
            got.append(await stream.read())
            ended.set()

        left: list[Any] = []

        def elsewhere() -> None:
            async def open_() -> None:
                stream = await a.open_stream(b.id, "/x/1")
                await stream.write(b"x")
                left.append(stream)

            loop = asyncio.new_event_loop()
            loop.run_until_complete(open_())
            loop.close()
            if kept:
                left.append(loop)

        await asyncio.get_running_loop().run_in_executor(None, elsewhere)
        gc.collect()

        def drop() -> None:
            del left[0]
            gc.collect()

        with pytest.warns(ResourceWarning, match="unclosed <Stream /x/1"):
            drop()
        await asyncio.wait_for(ended.wait(), 5)
        assert got == [b"x"]


async def test_several_loops_use_one_node() -> None:
    async with node() as a, node() as b:
        b.on_request("/same/1", lambda request: request.data)
        await a.connect(b.addresses)
        failures: list[BaseException] = []

        def elsewhere(name: int) -> None:
            async def ask() -> None:
                for i in range(50):
                    assert await a.request(b.id, "/same/1", b"%d/%d" % (name, i)) == b"%d/%d" % (name, i)

            try:
                asyncio.run(ask())
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=elsewhere, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for i in range(50):
            assert await a.request(b.id, "/same/1", b"%d" % i) == b"%d" % i
        await until(lambda: not any(thread.is_alive() for thread in threads), "the other loops")
        assert failures == []


async def test_closing_on_one_loop_ends_waits_on_another() -> None:
    a = await node().start()
    ended: list[object] = []
    waiting = threading.Event()

    def elsewhere() -> None:
        async def wait() -> None:
            asyncio.get_running_loop().call_later(0.05, waiting.set)
            with contextlib.closing(a.subscribe("news")) as sub:
                ended.extend(await asyncio.gather(a.publish("news", b"x", min_peers=9), sub.next(), return_exceptions=True))

        asyncio.run(wait())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    await until(waiting.is_set, "the other loop to wait")
    await a.close()
    await until(lambda: not thread.is_alive(), "the other loop to end")
    assert isinstance(ended[0], libp2pgo.ClosedError)
    assert ended[1] is None


def test_nothing_is_left_of_a_pump() -> None:
    asyncio.run(everything())
    lib = _library.library()
    assert lib.p2p_live_handles(0) == 0
    assert not [pump for pump in _engine._pumps.values() if not pump.closed]


def test_an_event_larger_than_the_buffer() -> None:
    with sync_node() as a, sync_node() as b:
        b.on_request("/same/1", lambda request: request.data)
        a.connect(b.addresses)
        data = bytes(3_000_000)
        assert a.request(b.id, "/same/1", data) == data


def test_ctrl_c_in_a_batch_loses_no_event() -> None:
    """An exception between two events of a batch leaves the rest for the next turn."""
    from libp2pgo._blocking import BlockingPump

    lib = _library.library()
    pump = BlockingPump(lib)
    seen: list[int] = []

    def target(type_: int, status: int, subject: int, object_: int, value: int, flags: int, text: bytes, data: bytes) -> None:
        seen.append(value)
        if value == 3:
            raise KeyboardInterrupt

    pump.targets[1] = target
    for i in range(10):
        lib.check(lib.p2p_queue_post(pump.queue, 1, i, b"x" * 5000, 5000))
    with pytest.raises(KeyboardInterrupt):
        pump.drain()
    while pump.drain():
        pass
    assert seen == list(range(10))
    pump.targets.clear()
    pump.close()
