"""Requests: one answer or many, errors, deadlines and cancellation."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from typing import Any, AsyncIterator

import pytest

import libp2pgo
from helpers import node, pair, sync_node, until
from libp2pgo import Request, RequestError

SUM, COUNT = "/test/sum/1", "/test/count/1"


async def count(request: Request) -> AsyncIterator[bytes]:
    for i in range(int(request.data)):
        yield b"%d" % i


async def test_one_answer() -> None:
    async with pair() as (a, b):

        @b.on_request(SUM)
        async def total(request: Request) -> bytes:
            assert request.peer == a.id
            assert request.protocol == SUM
            return b"%d" % sum(map(int, request.data.split()))

        assert await a.request(b.id, SUM, b"1 2 3") == b"6"
        assert await a.request(b.addresses[0], SUM, bytearray(b"4")) == b"4"


async def test_a_plain_function_may_answer() -> None:
    async with pair() as (a, b):
        b.on_request(SUM, lambda request: request.data.upper())
        assert await a.request(b.id, SUM, b"abc") == b"ABC"


async def test_many_answers() -> None:
    async with pair() as (a, b):
        b.on_request(COUNT, count)
        assert [part async for part in a.request_stream(b.id, COUNT, b"1000")] == [b"%d" % i for i in range(1000)]
        assert [part async for part in a.request_stream(b.id, COUNT, b"0")] == []
        assert [part async for part in a.request_stream(b.id, COUNT, b"1")] == [b"0"]


async def test_leaving_a_stream_of_answers_cancels_the_handler() -> None:
    async with pair() as (a, b):
        ended = asyncio.Event()

        @b.on_request(COUNT)
        async def endless(request: Request) -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x" * 1000
            finally:
                ended.set()

        async with a.request_stream(b.id, COUNT) as parts:
            assert await parts.__anext__() == b"x" * 1000
        await asyncio.wait_for(ended.wait(), 5)


async def test_a_cancelled_await_loses_no_part() -> None:
    async with pair() as (a, b):
        go = asyncio.Event()

        @b.on_request(COUNT)
        async def slow(request: Request) -> AsyncIterator[bytes]:
            for i in range(3):
                await go.wait()
                yield b"%d" % i

        async with a.request_stream(b.id, COUNT) as parts:
            for _ in range(3):
                task = asyncio.ensure_future(parts.__anext__())
                await asyncio.sleep(0.01)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            go.set()
            assert [part async for part in parts] == [b"0", b"1", b"2"]


async def test_parts_keep_their_order_when_awaits_are_cancelled_as_they_come() -> None:
    async with pair() as (a, b):

        @b.on_request(COUNT)
        async def count(request: Request) -> AsyncIterator[bytes]:
            for i in range(300):
                yield b"%d" % i

        got: list[bytes] = []

        async def take() -> bool:
            async for part in parts:
                got.append(part)
                return True
            return False

        async with a.request_stream(b.id, COUNT) as parts:
            for pause in itertools.cycle(range(4)):
                cancelled = asyncio.ensure_future(take())
                for _ in range(pause):
                    await asyncio.sleep(0)
                cancelled.cancel()
                await asyncio.gather(cancelled, return_exceptions=True)
                if not await take():
                    break
        assert got == [b"%d" % i for i in range(300)]


async def test_an_error_answer_has_number_and_words() -> None:
    async with pair() as (a, b):

        @b.on_request(SUM)
        async def refuse(request: Request) -> bytes:
            raise RequestError(404, "no such thing")

        with pytest.raises(RequestError) as caught:
            await a.request(b.id, SUM)
        assert (caught.value.reason, caught.value.words) == (404, "no such thing")


@pytest.mark.parametrize(
    ("words", "told"),
    [("no he\0llo", "no he\ufffdllo"), ("no \ud800", "no ?"), ("not \udc80", "not ?"), ("grüß \U0001f600", "grüß \U0001f600")],
)
async def test_words_of_any_kind_reach_the_asker(words: str, told: str) -> None:
    """They are often made of the question: a peer must not choose how its error ends."""
    async with pair() as (a, b):

        @b.on_request(SUM)
        async def refuse(request: Request) -> bytes:
            raise RequestError(404, words)

        with pytest.raises(RequestError) as caught:
            await a.request(b.id, SUM)
        assert (caught.value.reason, caught.value.words) == (404, told)


@pytest.mark.parametrize("reason", [-1, 1 << 31, "no such thing", None])
async def test_a_reason_that_cannot_be_told_is_logged(reason: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with pair() as (a, b):

        @b.on_request(SUM)
        async def refuse(request: Request) -> bytes:
            raise RequestError(reason, "words")

        with pytest.raises(RequestError) as caught:
            await a.request(b.id, SUM)
        assert (caught.value.reason, caught.value.words) == (1, "words")
    assert repr(reason) in caplog.text


async def test_an_error_after_parts() -> None:
    async with pair() as (a, b):

        @b.on_request(COUNT)
        async def half(request: Request) -> AsyncIterator[bytes]:
            yield b"first"
            raise RequestError(5, "out of luck")

        got = []
        with pytest.raises(RequestError) as caught:
            async for part in a.request_stream(b.id, COUNT):
                got.append(part)
        assert got == [b"first"]
        assert caught.value.reason == 5


async def test_an_exception_is_logged_and_told_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    async with pair() as (a, b):

        @b.on_request(SUM)
        async def bad(request: Request) -> bytes:
            raise ValueError("a secret path")

        with pytest.raises(RequestError) as caught:
            await a.request(b.id, SUM)
        assert "secret" not in str(caught.value)
    assert "a secret path" in caplog.text


async def test_the_deadline_travels_along_and_cancels_the_handler() -> None:
    async with pair() as (a, b):
        cancelled = asyncio.Event()
        deadline: list[float | None] = []

        @b.on_request(SUM)
        async def slow(request: Request) -> bytes:
            deadline.append(request.deadline)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.set()
                raise
            return b""

        with pytest.raises(TimeoutError):
            await a.request(b.id, SUM, timeout=0.3)
        await asyncio.wait_for(cancelled.wait(), 5)
        assert deadline[0] is not None
        assert 0 < deadline[0] <= 0.3


async def test_cancelling_reaches_the_handler() -> None:
    async with pair() as (a, b):
        at_work, cancelled = asyncio.Event(), asyncio.Event()

        @b.on_request(SUM)
        async def slow(request: Request) -> bytes:
            at_work.set()
            try:
                await asyncio.sleep(60)
            finally:
                cancelled.set()
            return b""

        task = asyncio.ensure_future(a.request(b.id, SUM, timeout=None))
        await asyncio.wait_for(at_work.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(cancelled.wait(), 5)


async def test_limits_are_told() -> None:
    async with pair() as (a, b):
        release = asyncio.Event()

        @b.on_request(SUM, max_request=10, max_concurrent=1)
        async def held(request: Request) -> bytes:
            await release.wait()
            return bytes(100)

        with pytest.raises(libp2pgo.TooBig):
            await a.request(b.id, SUM, bytes(11))
        first = asyncio.ensure_future(a.request(b.id, SUM))
        service = b._core._services[0]
        await until(lambda: service.at_work, "the first request to arrive")
        with pytest.raises(libp2pgo.Busy):
            await a.request(b.id, SUM)
        release.set()
        assert len(await first) == 100
        with pytest.raises(libp2pgo.TooBig):
            await a.request(b.id, SUM, max_response=99)
        with pytest.raises(libp2pgo.ProtocolNotSupported):
            await a.request(b.id, "/test/unknown/1")


async def test_many_in_flight() -> None:
    async with pair() as (a, b):
        b.on_request(SUM, lambda request: request.data)
        answers = await asyncio.gather(*(a.request(b.id, SUM, b"%d" % i) for i in range(300)))
        assert answers == [b"%d" % i for i in range(300)]


async def test_closing_the_node_ends_handlers() -> None:
    async with node() as a:
        b = await node().start()
        at_work = asyncio.Event()
        ended: list[bool] = []

        @b.on_request(SUM)
        async def slow(request: Request) -> bytes:
            at_work.set()
            try:
                await asyncio.sleep(60)
            finally:
                ended.append(True)
            return b""

        task = asyncio.ensure_future(a.request(b.addresses[0], SUM))
        await asyncio.wait_for(at_work.wait(), 5)
        await b.close()
        assert ended == [True]
        with pytest.raises(libp2pgo.Error):
            await task


async def test_a_handler_of_a_closed_service_is_still_cancelled() -> None:
    async with pair() as (a, b):
        begun, ended = asyncio.Event(), asyncio.Event()

        @b.on_request(SUM)
        async def held(request: Request) -> bytes:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return b""

        asking = asyncio.ensure_future(a.request(b.id, SUM))
        await begun.wait()
        b.unhandle(SUM)
        asking.cancel()
        await asyncio.wait_for(ended.wait(), 5)


async def test_requests_cancelled_before_their_handlers_first_step_leave_nothing() -> None:
    async with pair() as (c, b):
        service = b.on_request(SUM, lambda request: request.data)

        def ask() -> None:
            with sync_node() as a:
                a.connect(b.addresses)
                for _ in range(5):
                    with contextlib.suppress(libp2pgo.Timeout):
                        a.request(b.id, SUM, timeout=0.05)

        asker = threading.Thread(target=ask)
        asker.start()
        while asker.is_alive():
            time.sleep(0.3)  # the loop is busy: requests and their ends come in one batch
            await asyncio.sleep(0)
        assert await c.request(b.id, SUM, b"the last one") == b"the last one"
        await until(lambda: not service.at_work, "nothing to be at work")
