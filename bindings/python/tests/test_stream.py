"""Streams: reading, writing, the ends, and what cancelling must not lose."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import os
import re
import socket
import warnings
from typing import Any, AsyncIterator, Awaitable, Callable, Coroutine

import pytest

import libp2pgo
from helpers import QUIC, TCP, node, pair, until
from libp2pgo import Stream

ECHO = "/test/echo/1"


async def echo(stream: Stream) -> None:
    async for data in stream:
        await stream.write(data)


@contextlib.asynccontextmanager
async def ends(**options: Any) -> AsyncIterator[tuple[Stream, Stream]]:
    """Both ends of a stream, in the hands of the test."""
    got: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()
    done = asyncio.Event()

    async def take(stream: Stream) -> None:
        got.set_result(stream)
        await done.wait()

    async with pair(**options) as (a, b):
        b.handle("/test/ends/1", take)
        near = await a.open_stream(b.id, "/test/ends/1")
        await near.write(b"?")  # yamux and QUIC announce a stream with its first bytes
        far = await asyncio.wait_for(got, 10)
        assert await far.readexactly(1) == b"?"
        try:
            yield near, far
        finally:
            await near.close()
            done.set()


@pytest.mark.parametrize("listen", [TCP, QUIC])
async def test_echo(listen: str) -> None:
    async with pair(listen=[listen]) as (a, b):
        b.handle(ECHO, echo)
        async with a.open_stream(b.id, ECHO) as stream:
            assert (stream.peer, stream.protocol) == (b.id, ECHO)
            await stream.write(b"hello ")
            await stream.write(bytearray(b"there"))
            await stream.write(memoryview(b"!xx")[:1])
            await stream.write_eof()
            assert await stream.read() == b"hello there!"
            assert await stream.read() == b""
            assert stream.at_eof()
        assert stream.closed


async def test_open_by_await_by_address_and_by_preference() -> None:
    async with node() as a, node() as b:
        b.handle(ECHO, echo)
        stream = await a.open_stream(b.addresses[0], ["/test/unknown/1", ECHO])
        assert stream.protocol == ECHO
        assert stream.peer == b.id
        await stream.close()
        await stream.close()


async def test_a_protocol_nobody_speaks() -> None:
    async with pair() as (a, b):
        with pytest.raises(libp2pgo.ProtocolNotSupported, match="/test/nothing/1"):
            await a.open_stream(b.id, "/test/nothing/1")


async def test_no_dial_needs_a_connection() -> None:
    async with node() as a, node() as b:
        b.handle(ECHO, echo)
        address = b.addresses[0]
        for peer in (b.id, address, [address, b.id]):
            with pytest.raises(libp2pgo.StateError, match="not connected"):
                await a.open_stream(peer, ECHO, no_dial=True)
        assert a.peers() == []
        await a.connect(address)
        for peer in (address, [address, b.id]):
            async with a.open_stream(peer, ECHO, no_dial=True) as stream:
                assert stream.peer == b.id
                await stream.write(b"x")
                await stream.close_write()
                assert await stream.read() == b"x"
        nameless = address.partition("/p2p/")[0]
        for wrong in (nameless, "/ip4/here"):
            with pytest.raises(libp2pgo.ParseError, match=re.escape(wrong)):
                await a.open_stream(wrong, ECHO, no_dial=True)
        with pytest.raises(libp2pgo.InvalidArgument, match="two peers"):
            await a.open_stream([address, a.id], ECHO, no_dial=True)
        with pytest.raises(libp2pgo.InvalidArgument, match="no address"):
            await a.open_stream([], ECHO, no_dial=True)


async def test_handlers_by_decorator_prefix_and_before_the_start() -> None:
    b = node()

    @b.handle("/early/*")
    async def early(stream: Stream) -> None:
        await stream.write(stream.protocol.encode())

    async with b, node() as a:
        async with a.open_stream(b.addresses[0], "/early/bird") as stream:
            assert await stream.read() == b"/early/bird"
        b.unhandle("/early/*")
        with pytest.raises(libp2pgo.NotFound):
            b.unhandle("/early/*")
        await until_refused(a, b.id, "/early/bird")


async def until_refused(a: libp2pgo.Node, peer: str, protocol: str) -> None:
    with pytest.raises((libp2pgo.ProtocolNotSupported, libp2pgo.StreamReset)):
        async with a.open_stream(peer, protocol) as stream:
            await stream.read()


async def test_a_protocol_is_served_once() -> None:
    async with node() as a:
        a.handle(ECHO, echo)
        with pytest.raises(libp2pgo.AlreadyExists, match=ECHO):
            a.handle(ECHO, echo)


async def test_a_service_that_is_closed_serves_no_more() -> None:
    async with pair() as (a, b):
        service = b.handle(ECHO, echo)
        async with a.open_stream(b.id, ECHO) as stream:
            await stream.write(b"x")
            assert await stream.readexactly(1) == b"x"
            service.close()
            await stream.write(b"y")
            assert await stream.readexactly(1) == b"y"
        await until_refused(a, b.id, ECHO)


async def test_reads_of_every_kind() -> None:
    async with ends() as (near, far):
        await far.write(b"line one\nline two\r\nrest")
        assert await near.readline() == b"line one\n"
        assert await near.readexactly(4) == b"line"
        assert await near.readline() == b" two\r\n"
        buffer = bytearray(10)
        assert await near.readinto(buffer) == 4
        assert buffer[:4] == b"rest"
        await far.write(b"tail")
        await far.close_write()
        assert await near.readline() == b"tail"
        assert await near.readline() == b""
        assert await near.readinto(buffer) == 0
        assert await near.read(10) == b""


async def test_readexactly_tells_what_there_was() -> None:
    async with ends() as (near, far):
        await far.write(b"abc")
        await far.close_write()
        with pytest.raises(EOFError) as caught:
            await near.readexactly(10)
        assert isinstance(caught.value, libp2pgo.StreamClosed)
        assert caught.value.partial == b"abc"


async def test_a_line_over_the_limit_is_refused_and_stays() -> None:
    async with ends() as (near, far):
        await far.write(b"x" * 100 + b"\n")
        with pytest.raises(libp2pgo.TooBig):
            await near.readline(limit=50)
        assert len(await near.readline()) == 101


async def test_half_close_leaves_the_other_direction() -> None:
    async with ends() as (near, far):
        await near.write_eof()
        assert await far.read() == b""
        await far.write(b"still here")
        assert await near.readexactly(10) == b"still here"
        with pytest.raises(libp2pgo.Error):
            await near.write(b"x")


@pytest.mark.parametrize("listen", [TCP, QUIC])
async def test_a_reset_is_not_an_end(listen: str) -> None:
    async with ends(listen=[listen]) as (near, far):
        far.reset(7)
        with pytest.raises(ConnectionResetError) as caught:
            await near.read()
        assert isinstance(caught.value, libp2pgo.StreamReset)
        assert caught.value.reason == 7
        with pytest.raises(libp2pgo.StreamReset):
            await near.read(10)


async def test_an_exception_in_the_body_resets() -> None:
    async with pair() as (a, b):
        seen: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

        @b.handle(ECHO)
        async def reader(stream: Stream) -> None:
            await stream.write(await stream.read(1))
            try:
                await stream.read()
            except Exception as error:
                seen.set_result(error)

        with pytest.raises(KeyError):
            async with a.open_stream(b.id, ECHO) as stream:
                await stream.write(b"x")
                await stream.read(1)
                raise KeyError
        assert isinstance(await asyncio.wait_for(seen, 5), libp2pgo.StreamReset)


async def test_a_handler_that_fails_is_logged_and_resets(caplog: pytest.LogCaptureFixture) -> None:
    async with pair() as (a, b):

        @b.handle(ECHO)
        async def bad(stream: Stream) -> None:
            await stream.read(1)
            raise ZeroDivisionError

        async with a.open_stream(b.id, ECHO) as stream:
            await stream.write(b"x")
            with pytest.raises(libp2pgo.StreamReset):
                await stream.read()
    assert "ZeroDivisionError" in caplog.text


async def test_bulk_in_both_directions_at_once() -> None:
    """16 MiB each way, through a window of 256 KiB."""
    chunk = os.urandom(65536)
    async with pair() as (a, b):
        b.handle(ECHO, echo)
        async with a.open_stream(b.id, ECHO) as stream:

            async def send() -> None:
                for _ in range(256):
                    await stream.write(chunk)
                await stream.close_write()

            sending = asyncio.ensure_future(send())
            digest = hashlib.sha256()
            async for data in stream:
                digest.update(data)
            await sending
        assert digest.digest() == hashlib.sha256(chunk * 256).digest()


async def test_read_to_the_end_of_more_than_the_window() -> None:
    async with ends() as (near, far):
        data = os.urandom(3_000_000)

        async def send() -> None:
            await far.write(data)
            await far.close_write()

        sending = asyncio.ensure_future(send())
        assert await near.read() == data
        await sending


async def test_readexactly_of_more_than_the_window() -> None:
    async with ends() as (near, far):
        data = os.urandom(1_000_000)
        await far.write(data)
        assert await near.readexactly(900_000) == data[:900_000]
        assert await near.readexactly(100_000) == data[900_000:]


async def test_a_slow_reader_holds_the_writer_back() -> None:
    async with ends() as (near, far):
        with pytest.raises(libp2pgo.Timeout):
            await near.read(1, timeout=0.01)
        written = 0
        with pytest.raises(libp2pgo.Timeout):
            for _ in range(1000):
                await far.write(bytes(100_000), timeout=0.3)
                written += 100_000
        assert written < 40_000_000
        total = 0
        while total < written:
            total += len(await near.read(1 << 20, timeout=5))


async def test_cancelled_reads_lose_nothing() -> None:
    async with ends() as (near, far):
        kinds: list[Callable[[], Coroutine[Any, Any, Any]]] = [near.read, lambda: near.readexactly(100), near.readline, near.read_message]
        for read in kinds:
            task: asyncio.Future[Any] = asyncio.ensure_future(read())
            await asyncio.sleep(0.01)
            await far.write(b"x")
            await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        got = b""
        while len(got) < 3:  # read_message saw "xx" as a length and more; nothing was taken
            got += await near.read(10, timeout=5)
        assert got in (b"xxx", b"xxxx")


async def test_a_read_that_times_out_loses_nothing() -> None:
    async with ends() as (near, far):
        with pytest.raises(TimeoutError):
            await near.readexactly(4, timeout=0.02)
        await far.write(b"ab")
        with pytest.raises(libp2pgo.Timeout):
            await near.readexactly(4, timeout=0.05)
        await far.write(b"cd")
        assert await near.readexactly(4, timeout=5) == b"abcd"


async def test_a_stream_that_opens_after_its_cancellation_is_closed() -> None:
    async with pair() as (a, b):
        b.handle(ECHO, echo)
        for turns in range(40):

            async def open_() -> Stream:
                return await a.open_stream(b.id, ECHO)

            task = asyncio.ensure_future(open_())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            [result] = await asyncio.gather(task, return_exceptions=True)
            if isinstance(result, Stream):
                await result.close()
        lib = a._core.lib
        await until(lambda: lib.p2p_live_handles(5) == 0, "all streams to be closed")


async def test_one_reader_at_a_time() -> None:
    async with ends() as (near, _):
        task = asyncio.ensure_future(near.read(1))
        await asyncio.sleep(0.01)
        with pytest.raises(libp2pgo.StateError, match="another task"):
            await near.read(1)
        task.cancel()


async def test_closing_ends_a_read() -> None:
    async with ends() as (near, _):
        task = asyncio.ensure_future(near.read())
        await asyncio.sleep(0.01)
        await near.close()
        with pytest.raises(libp2pgo.StreamClosed):
            await task
        with pytest.raises(libp2pgo.StreamClosed):
            await near.write(b"x")


async def test_messages_of_all_sizes_and_bytes_between_them() -> None:
    sizes = [0, 1, 127, 128, 300_000, 5]
    async with ends() as (near, far):

        async def send() -> None:
            for size in sizes:
                await far.write_message(b"m" * size)
            await far.write(b"raw")
            await far.close_write()

        sending = asyncio.ensure_future(send())
        for size in sizes:
            assert await near.read_message() == b"m" * size
        assert await near.read(3) == b"raw"
        assert await near.read_message() is None
        await sending


async def test_waiting_for_a_message_that_never_comes_ends_with_none() -> None:
    """The end of the stream reaches a reader that waits, as it reaches one that comes later."""
    async with ends() as (near, far):
        waiting = asyncio.ensure_future(near.read_message())
        await near.write(b"!")
        assert await far.readexactly(1) == b"!"  # the reader waits by now
        await far.close_write()
        assert await waiting is None


async def test_a_message_over_the_limit_costs_the_stream_not_the_connection() -> None:
    async with pair() as (a, b):

        @b.handle(ECHO)
        async def big(stream: Stream) -> None:
            await stream.write_message(bytes(1000))
            with contextlib.suppress(libp2pgo.StreamReset):
                await stream.read()

        async with a.open_stream(b.id, ECHO) as stream:
            await stream.write(b"x")
            with pytest.raises(libp2pgo.TooBig) as caught:
                await stream.read_message(max=999)
            assert caught.value.detail == 1000
        assert await a.ping(b.id) > 0


async def test_deadlines_end_a_watched_stream() -> None:
    async with ends() as (near, _):
        near.set_deadlines(read=0.05)
        with pytest.raises(libp2pgo.Timeout):
            await near.read()


async def test_close_read_ends_reading_only() -> None:
    async with ends() as (near, far):
        await near.close_read()
        with pytest.raises(libp2pgo.StreamClosed):
            await near.read()
        await near.write(b"x")
        assert await far.readexactly(1) == b"x"


async def test_text_is_not_bytes() -> None:
    async with ends() as (near, _):
        with pytest.raises(TypeError, match="encode"):
            await near.write("text")  # type: ignore[arg-type]


async def test_asyncio_reader_and_writer() -> None:
    async with pair() as (a, b):
        b.handle(ECHO, echo)
        reader, writer = await a.open_connection(b.id, ECHO)
        writer.write(b"over asyncio")
        writer.write_eof()
        assert await reader.read() == b"over asyncio"
        writer.close()
        await writer.wait_closed()
        del reader, writer
        gc.collect()


async def test_a_real_socket() -> None:
    async with pair() as (a, b):
        b.handle(ECHO, echo)
        sock = await a.open_socket(b.id, ECHO)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, b"hi")
        assert await loop.sock_recv(sock, 10) == b"hi"
        sock.close()
        del sock
        gc.collect()


@pytest.mark.parametrize("by", ["descriptor", "socket", "socket in async with"])
async def test_a_detached_descriptor_outlives_every_object(by: str) -> None:
    heard, go = asyncio.Event(), asyncio.Event()

    async def answer_late(stream: libp2pgo.Stream) -> None:
        assert await stream.read() == b"question"
        heard.set()
        await go.wait()
        await stream.write(b"answer")

    async with pair() as (a, b):
        b.handle("/late/1", answer_late)
        first: Any
        if by == "socket":
            first = await a.open_socket(b.id, "/late/1")
        elif by == "descriptor":
            first = socket.socket(fileno=(await a.open_stream(b.id, "/late/1")).detach_fd())
        else:
            async with a.open_stream(b.id, "/late/1") as stream:
                first = stream.detach_socket()
            del stream
        first.sendall(b"question")
        first.shutdown(socket.SHUT_WR)
        await heard.wait()
        second = socket.socket(fileno=first.detach())
        second.setblocking(False)
        del first
        gc.collect()
        lib = a._core.lib
        await until(lambda: lib.p2p_live_handles(5) == 1, "the handle of this side to be given back")
        go.set()
        loop = asyncio.get_running_loop()
        assert await loop.sock_recv(second, 100) == b"answer"
        assert await loop.sock_recv(second, 100) == b""
        second.close()


async def test_a_stream_that_is_read_cannot_be_detached() -> None:
    async with ends() as (near, far):
        await far.write(b"x")
        await near.read(1)
        with pytest.raises(libp2pgo.StateError):
            near.detach_fd()


async def test_a_forgotten_stream_warns_and_is_closed() -> None:
    async with pair() as (a, b):
        b.handle(ECHO, echo)
        stream: Any = await a.open_stream(b.id, ECHO)
        await stream.write(b"x")
        await stream.read(1)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del stream
            gc.collect()
        assert ["unclosed <Stream" in str(w.message) for w in caught] == [True]
        lib = a._core.lib
        await until(lambda: lib.p2p_live_handles(5) == 0, "both ends to be closed")


async def test_the_remote_node_going_away_resets() -> None:
    async with node() as a:
        b = await node().start()
        b.handle(ECHO, echo)
        stream = await a.open_stream(b.addresses[0], ECHO)
        await stream.write(b"x")
        await stream.readexactly(1)
        closing = asyncio.ensure_future(b.close())
        with pytest.raises(libp2pgo.Error):
            await stream.readexactly(1)
        await closing
        await stream.close()


async def test_max_streams() -> None:
    async with pair() as (a, b):
        b.handle(ECHO, echo, max_streams=1)
        async with a.open_stream(b.id, ECHO) as first:
            await first.write(b"x")
            await first.readexactly(1)
            async with a.open_stream(b.id, ECHO) as second:
                with pytest.raises(libp2pgo.StreamReset) as caught:
                    await second.write(b"x")
                    await second.readexactly(1)
                assert caught.value.reason == 0x1002


Handler = Callable[[Stream], Awaitable[None]]


async def test_many_streams_at_once() -> None:
    async with pair() as (a, b):
        b.handle(ECHO, echo)

        async def one(n: int) -> None:
            async with a.open_stream(b.id, ECHO) as stream:
                text = b"%d" % n * 100
                await stream.write(text)
                await stream.write_eof()
                assert await stream.read() == text

        await asyncio.gather(*(one(n) for n in range(200)))


@pytest.mark.parametrize("serving", [False, True])
async def test_closing_a_node_ends_reads_while_another_shares_the_loop(serving: bool) -> None:
    async with pair() as (a, b):
        came: asyncio.Future[libp2pgo.Stream] = asyncio.get_running_loop().create_future()

        @b.handle("/held/1")
        async def held(stream: libp2pgo.Stream) -> None:
            came.set_result(stream)
            await asyncio.Event().wait()

        opened = await a.open_stream(b.id, "/held/1")
        await opened.write(b"x")
        far = await came
        assert await far.read(1) == b"x"
        near = far if serving else opened
        reading = [asyncio.ensure_future(near.read())]
        await asyncio.sleep(0)
        await (b if serving else a).close()
        with pytest.raises(libp2pgo.ClosedError):
            await asyncio.wait_for(reading[0], 5)
        with pytest.raises(libp2pgo.ClosedError):
            await near.read()
