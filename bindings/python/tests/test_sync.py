"""The face without asyncio, on the same engine."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Iterator

import pytest

import libp2pgo
from helpers import NOBODY, child, finish, node, sync_node
from libp2pgo import Message, Request, RequestError, Verdict, sync
from libp2pgo._inflow import Inflow

ECHO = "/test/echo/1"


def echo(stream: sync.Stream) -> None:
    for data in stream:
        stream.write(data)


@pytest.fixture
def ends() -> Iterator[tuple[sync.Node, sync.Node]]:
    with sync_node() as a, sync_node() as b:
        a.connect(b.addresses)
        yield a, b


Ends = "tuple[sync.Node, sync.Node]"


def test_life() -> None:
    n = sync_node()
    with pytest.raises(libp2pgo.NodeClosed):
        n.connect(NOBODY)
    with n:
        assert n.addresses[0].peer_id == n.id
    n.close()
    assert n.closed
    with pytest.raises(libp2pgo.NodeClosed):
        n.peers()


def test_every_closer_waits_for_the_end() -> None:
    n = sync_node().start()
    port = int(n.addresses[0].split("/")[4])
    together = threading.Barrier(4)

    def close() -> None:
        together.wait(10)
        n.close()
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", port))

    with ThreadPoolExecutor(4) as threads:
        for closed in [threads.submit(close) for _ in range(4)]:
            closed.result(10)
    n.close()


def test_a_start_that_fails_leaves_nothing() -> None:
    with pytest.raises(libp2pgo.ConfigError):
        sync.Node(pubsub={"d": 0}).start()


def test_a_start_that_failed_may_be_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        n = sync_node(listen=[f"/ip4/127.0.0.1/tcp/{taken.getsockname()[1]}"])
        with pytest.raises(libp2pgo.ListenError):
            n.start()
    with n, sync_node() as other:
        other.on_request("/echo/1", lambda request: request.data)
        assert n.request(other.addresses, "/echo/1", b"x") == b"x"


def test_peers(ends: tuple[sync.Node, sync.Node]) -> None:
    a, b = ends
    assert a.peers() == [b.id]
    assert a.ping(b.id) > 0
    assert a.peer_info(b.id).connected
    with pytest.raises(libp2pgo.PeerNotFound):
        a.connect(NOBODY)


def test_streams(ends: tuple[sync.Node, sync.Node]) -> None:
    a, b = ends
    b.handle(ECHO, echo)
    with a.open_stream(b.id, ECHO) as stream:
        stream.write(b"hello\n")
        assert stream.readline() == b"hello\n"
        stream.write_message(b"framed")
        assert stream.read_message() == b"framed"
        stream.write(bytes(1_000_000))
        stream.write_eof()
        assert len(stream.read()) == 1_000_000
    with a.open_stream(b.id, ECHO) as stream, pytest.raises(TimeoutError):
        stream.read(timeout=0.05)


@pytest.mark.parametrize("limit", [5, 100])
def test_a_newline_that_comes_just_after_the_search_ends_the_line(
    ends: tuple[sync.Node, sync.Node], monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    a, b = ends
    b.handle(ECHO, echo)
    a.handle("/test/other/1", echo)  # from now on a thread of its own brings what comes
    search = Inflow.find
    more = [b"e\nfour\n"]

    def find(inflow: Inflow, separator: bytes, start: int = 0) -> int:
        end = search(inflow, separator, start)
        if end < 0 and inflow.size and more:
            size = inflow.size
            stream.write(more.pop())
            until = time.monotonic() + 10
            while inflow.size < size + 7 and time.monotonic() < until:
                time.sleep(0.001)
        return end

    monkeypatch.setattr(Inflow, "find", find)
    with a.open_stream(b.id, ECHO) as stream:
        stream.write(b"on")
        assert stream.readline(limit=limit, timeout=10) == b"one\n"
        assert stream.readline(limit=limit, timeout=10) == b"four\n"
    assert not more


def test_streams_as_sockets(ends: tuple[sync.Node, sync.Node]) -> None:
    a, b = ends
    b.handle(ECHO, echo)
    with a.open_socket(b.id, ECHO) as sock:
        sock.sendall(b"hi")
        assert sock.recv(10) == b"hi"
    del sock


def test_requests(ends: tuple[sync.Node, sync.Node]) -> None:
    a, b = ends

    @b.on_request("/sum/1")
    def total(request: Request) -> bytes:
        if not request.data:
            raise RequestError(3, "nothing\0")
        return b"%d" % sum(map(int, request.data.split()))

    @b.on_request("/count/1")
    def count(request: Request) -> Iterator[bytes]:
        for i in range(int(request.data)):
            yield b"%d" % i

    assert a.request(b.id, "/sum/1", b"1 2") == b"3"
    assert list(a.request_stream(b.id, "/count/1", b"100")) == [b"%d" % i for i in range(100)]
    with pytest.raises(RequestError, match="nothing\ufffd"):
        a.request(b.id, "/sum/1")
    with pytest.raises(TypeError, match="speed"):
        b.on_request("/x", total, speed=1)


def test_a_handler_may_ask_others(ends: tuple[sync.Node, sync.Node]) -> None:
    a, b = ends
    a.on_request("/name/1", lambda request: b"a")
    b.on_request("/who/1", lambda request: b.request(request.peer, "/name/1"))
    assert a.request(b.id, "/who/1") == b"a"


def test_pubsub(ends: tuple[sync.Node, sync.Node]) -> None:
    a, b = ends
    with b.subscribe("news") as sub:
        for i in range(100):
            a.publish("news", b"%d" % i, min_peers=1)
        got = [sub.next(timeout=5) for _ in range(100)]
        assert sorted(int(m.data) for m in got if m) == list(range(100))
        with pytest.raises(TimeoutError):
            sub.next(timeout=0.01)


def test_validator(ends: tuple[sync.Node, sync.Node]) -> None:
    a, b = ends

    def judge(message: Message) -> Verdict:
        return Verdict.ACCEPT if message.data == b"good" else Verdict.REJECT

    with b.join("news", validator=judge).subscribe() as sub:
        a.publish("news", b"bad", min_peers=1)
        a.publish("news", b"good")
        message = sub.next(timeout=5)
        assert message is not None
        assert message.data == b"good"


def test_events() -> None:
    with sync_node() as a, sync_node() as b:
        events = a.events(libp2pgo.PeerConnected)
        b.connect(a.addresses)
        event = events.next(timeout=5)
        assert isinstance(event, libp2pgo.PeerConnected)
        assert event.peer == b.id
        events.close()


def test_from_several_threads(ends: tuple[sync.Node, sync.Node]) -> None:
    a, b = ends
    b.on_request("/same/1", lambda request: request.data)
    failures: list[BaseException] = []

    def ask(name: int) -> None:
        try:
            for i in range(50):
                text = b"%d/%d" % (name, i)
                assert a.request(b.id, "/same/1", text) == text
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert failures == []


def test_two_threads_on_one_stream(ends: tuple[sync.Node, sync.Node]) -> None:
    a, b = ends
    b.handle(ECHO, echo)
    with a.open_stream(b.id, ECHO) as stream:

        def send() -> None:
            for _ in range(64):
                stream.write(bytes(65536))
            stream.write_eof()

        thread = threading.Thread(target=send)
        thread.start()
        assert sum(map(len, stream)) == 64 * 65536
        thread.join(10)


@pytest.mark.parametrize("what", ["read", "request", "subscription", "events", "ping"])
def test_closing_on_another_thread_ends_every_wait(what: str) -> None:
    with sync_node() as b:
        b.handle(ECHO, lambda stream: stream.read())
        release = threading.Event()
        b.on_request("/held/1", lambda request: b"%d" % release.wait(10))
        a = sync_node().start()
        a.connect(b.addresses)
        stream = a.open_stream(b.id, ECHO)
        sub = a.subscribe("news")
        events = a.events(libp2pgo.ListenFailed)
        calls = {
            "read": stream.read,
            "request": lambda: a.request(b.id, "/held/1"),
            "subscription": sub.next,
            "events": events.next,
            "ping": lambda: [a.ping(b.id) for _ in range(10**6)],
        }
        result: list[object] = []

        def wait() -> None:
            try:
                result.append(calls[what]())  # type: ignore[operator]
            except Exception as error:
                result.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.05)
        a.close()
        thread.join(5)
        release.set()
        assert not thread.is_alive()
        assert result[0] is None or isinstance(result[0], libp2pgo.Error), result


async def test_both_faces_talk() -> None:
    async with node() as a:
        a.on_request("/upper/1", lambda request: request.data.upper())
        code = """
import sys
from libp2pgo import sync
with sync.Node(listen=[]) as node:
    print(node.request(sys.argv[1], "/upper/1", b"hello").decode())
"""
        import asyncio

        process = child(code, a.addresses[0])
        status, out, err = await asyncio.get_running_loop().run_in_executor(None, finish, process)
        assert (status, out) == (0, "HELLO\n"), err


def test_an_iterator_that_is_left_lying_blocks_nobody() -> None:
    with sync_node() as n:
        left, other = n.events(), n.events()
        with contextlib.suppress(libp2pgo.Timeout):
            left.next(timeout=0)
        with sync_node() as m:
            m.connect(n.addresses)  # an event that nobody takes off the first
            while not isinstance(other.next(timeout=5), libp2pgo.PeerConnected):
                pass
        for _ in range(70_000):  # each look rings at the first one, whose events wait
            with contextlib.suppress(libp2pgo.Timeout):
                other.next(timeout=0)


def test_closing_ends_the_waits_of_several_threads() -> None:
    with sync_node() as n:
        for _ in range(20):
            subscription = n.subscribe("x")
            threads = [threading.Thread(target=subscription.next) for _ in range(4)]
            for thread in threads:
                thread.start()
            time.sleep(0.005)  # most of them wait then, which they need not
            subscription.close()
            for thread in threads:
                thread.join(5)
                assert not thread.is_alive()
