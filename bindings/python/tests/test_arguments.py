"""Arguments that make no sense are refused in words that name the parameter and what was given."""

from __future__ import annotations

import inspect
import math
from typing import Any, Callable

import pytest

import libp2pgo
from helpers import NOBODY, TCP, node, pair, sync_node
from libp2pgo import InvalidArgument, _engine

Call = Callable[[libp2pgo.Node, Any], Any]

DURATIONS: dict[str, Call] = {
    "on_request(timeout)": lambda n, t: n.on_request("/n/1", lambda request: b"", timeout=t),
    "join(validate_timeout)": lambda n, t: n.join("v", validate_timeout=t),
    "dht.set(expiry)": lambda n, t: n.dht.set("n", b"x", expiry=t),
    "discovery.join(ttl)": lambda n, t: n.discovery.join("d", ttl=t),
    "discovery.join(connect_timeout)": lambda n, t: n.discovery.join("d", connect_timeout=t),
    "discovery.advertise(retry_min)": lambda n, t: n.discovery.advertise("d", retry_min=t),
    "discovery.find(interval)": lambda n, t: n.discovery.find("d", interval=t),
    "discovery.register(ttl)": lambda n, t: n.discovery.register(NOBODY, "d", ttl=t),
    "explain(attempt)": lambda n, t: n.explain(f"{TCP}/p2p/{NOBODY}", attempt=t),
    "gater.ask(timeout)": lambda n, t: n.gater.ask(lambda request: True, timeout=t),
    "perf.serve(timeout)": lambda n, t: n.perf.serve(timeout=t),
}


async def outcome(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


@pytest.mark.parametrize("name", DURATIONS)
async def test_a_duration_is_above_zero(name: str) -> None:
    parameter = name.partition("(")[2][:-1]
    async with node(dht={"mode": "server"}) as n:
        for wrong in (-5, 0, math.nan, math.inf):
            with pytest.raises(InvalidArgument, match=rf"^{parameter}: {wrong} is not a number of seconds above 0$"):
                await outcome(DURATIONS[name](n, wrong))
        with pytest.raises(TypeError, match=rf"^{parameter}: '3' is not a number of seconds above 0$"):
            await outcome(DURATIONS[name](n, "3"))


async def test_zero_seconds_where_they_mean_something() -> None:
    async with pair() as (a, b):
        a.connections.set_watermarks(grace=0)
        with pytest.raises(InvalidArgument, match="grace: -1 is not a number of seconds$"):
            a.connections.set_watermarks(grace=-1)
        b.handle("/x/1", lambda stream: stream.read())
        async with a.open_stream(b.id, "/x/1") as stream:
            stream.set_deadlines(read=1e9, write=0)
            with pytest.raises(InvalidArgument, match="write: -0.5 is not"):
                stream.set_deadlines(write=-0.5)


async def test_a_time_to_live_is_named_as_such() -> None:
    async with node() as n:
        with pytest.raises(InvalidArgument, match="^ttl: -1 is not"):
            n.peerstore.add(f"/ip4/127.0.0.1/tcp/1/p2p/{NOBODY}", ttl=-1)


async def test_a_search_without_limit() -> None:
    async with node(dht={"mode": "server"}) as n:
        for timeout in (None, math.inf):
            n.dht.find_providers("/x", timeout=timeout).close()
        for search in (n.dht.search, n.dht.find_providers):
            with pytest.raises(InvalidArgument, match="^timeout: -1 is not a number of seconds above 0$"):
                search("/x", timeout=-1)


@pytest.mark.parametrize("wrong", ["3", b"3", [3], object])
async def test_a_timeout_is_a_number(wrong: Any) -> None:
    async with pair() as (a, b):
        with pytest.raises(TypeError, match="^timeout: .* is not a number of seconds, or None$"):
            await a.connect(b.addresses, timeout=wrong)
        with pytest.raises(TypeError, match="^timeout: .* is not a number of seconds, or None$"):
            await a.events().next(timeout=wrong)


WHOM: dict[str, Call] = {
    "peer of request": lambda n, whom: n.request(whom, "/x/1"),
    "peer of open_stream": lambda n, whom: n.open_stream(whom, "/x/1"),
    "peer of ping": lambda n, whom: n.ping(whom),
    "peer of perf": lambda n, whom: n.perf.run(whom),
    "addresses of connect": lambda n, whom: n.connect(whom),
    "addresses of explain": lambda n, whom: n.explain(whom),
    "addresses of keep": lambda n, whom: n.keep(whom),
    "protocols of handle": lambda n, whom: n.handle(whom, print),  # type: ignore[arg-type]
    "protocols of open_stream": lambda n, whom: n.open_stream(n.id, whom),
    "point of discover": lambda n, whom: n.discovery.discover(whom),
    "keys of start_providing": lambda n, whom: n.dht.start_providing(whom),
}


@pytest.mark.parametrize("name", WHOM)
async def test_addresses_are_a_text_or_several(name: str) -> None:
    parameter = name.partition(" ")[0]
    async with node() as n:
        for wrong in (None, 5, n, b"/ip4", [None], [b"/ip4"]):
            with pytest.raises(TypeError, match=f"^{parameter}: .* is neither a text nor several$"):
                await outcome(WHOM[name](n, wrong))


async def test_a_text_is_no_other_thing() -> None:
    async with node() as n:
        wrong: Any
        for wrong in (None, 5, b"x", ["x"]):
            with pytest.raises(TypeError, match="^peer: .* is not a text$"):
                n.disconnect(wrong)
            with pytest.raises(TypeError, match="^protocol: .* is not a text$"):
                await n.request(NOBODY, wrong)
            with pytest.raises(TypeError, match="^name: .* is not a text$"):
                n.join(wrong)


async def test_a_peer_may_be_named_by_its_addresses() -> None:
    async with node(listen=[TCP, TCP]) as a, node(listen=[]) as b:

        @a.on_request("/echo/1")
        async def echo(request: libp2pgo.Request) -> bytes:
            return request.data

        a.handle("/x/1", lambda stream: stream.write(b"x"))
        assert await b.request(a.addresses, "/echo/1", b"x") == b"x"
        b.disconnect(a.id)
        async with b.open_stream(list(a.addresses), "/x/1") as stream:
            assert (stream.peer, await stream.read()) == (a.id, b"x")
        b.disconnect(a.id)
        assert await b.ping(a.addresses) > 0
        assert [part async for part in b.request_stream(a.addresses, "/echo/1", b"y")] == [b"y"]


@pytest.mark.parametrize("what", ["open_stream", "open_socket", "ping", "perf", "request", "request_stream"])
async def test_one_timeout_holds_for_the_dial_and_what_follows(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with node() as a, node(listen=[]) as b:
        a.handle("/x/1", lambda stream: stream.read())
        a.on_request("/echo/1", lambda request: request.data)
        a.perf.serve()
        timeouts: list[float] = []
        call = _engine.Pump.call

        async def noted(*args: Any, timeout: float, **options: Any) -> Any:
            timeouts.append(timeout)
            return await call(*args, timeout=timeout, **options)

        monkeypatch.setattr(_engine.Pump, "call", noted)
        if what == "open_stream":
            (await b.open_stream(a.addresses, "/x/1", timeout=20)).reset()
        elif what == "open_socket":
            (await b.open_socket(a.addresses, "/x/1", timeout=20)).close()
        elif what == "ping":
            await b.ping(a.addresses, timeout=20)
        elif what == "perf":
            await b.perf.run(a.addresses, timeout=20)
        elif what == "request":
            await b.request(a.addresses, "/echo/1", timeout=20)
        else:
            async with b.request_stream(a.addresses, "/echo/1", timeout=20):
                pass
        monkeypatch.undo()
        assert timeouts[0] == 20
        assert 0 < timeouts[1] < 20


def test_the_same_without_asyncio() -> None:
    with sync_node() as a, sync_node() as b:
        a.on_request("/echo/1", lambda request: request.data)
        assert b.request(a.addresses, "/echo/1", b"x") == b"x"
        assert b.ping(a.addresses) > 0
        wrong: Any = None
        with pytest.raises(TypeError, match="^peer: None is neither a text nor several$"):
            b.request(wrong, "/echo/1")
    with pytest.raises(InvalidArgument, match="^timeout: -5 is not a number of seconds above 0$"):
        sync_node().on_request("/n/1", timeout=-5)  # not at the start, where nobody would look for it


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"listen": 4001}, "listen: expected a list of texts, got 4001"),
        ({"listen": b"/ip4"}, "listen: Object of type bytes is not JSON serializable"),
        ({"listen": {"a": 1}}, "listen: "),
        ({"bootstrap": 5}, "bootstrap.peers: "),
        ({"identity": 5}, "identity: "),
        ({"pubsub": {"topics": {"a"}}}, "pubsub: Object of type set is not JSON serializable"),
        ({"limits": {"connection_rate": math.nan}}, "limits: Out of range float values"),
        ({"config": {"listen": b"/ip4"}}, "listen: Object of type bytes"),
        ({"config": 5}, "config: expected options by name, or one JSON text, got 5"),
    ],
)
async def test_an_option_of_a_wrong_type_is_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(libp2pgo.ConfigError) as caught:
        async with libp2pgo.Node(**options):
            pass
    assert str(caught.value).startswith(words)
    assert caught.value.path == words.partition(":")[0]


async def test_sizes_of_a_stream() -> None:
    async with pair() as (a, b):
        b.handle("/x/1", lambda stream: stream.write(b"abc"))
        async with a.open_stream(b.id, "/x/1") as stream:
            wrong: Any = "x"
            with pytest.raises(TypeError, match="^n: 'x' is not a whole number$"):
                await stream.read(wrong)
            with pytest.raises(InvalidArgument, match="^n: -1 is not a number of 0 or more$"):
                await stream.readexactly(-1)
            with pytest.raises(TypeError, match="^limit: 'x' is not a whole number$"):
                await stream.readline(limit=wrong)
            with pytest.raises(TypeError, match="^max: 'x' is not a whole number$"):
                await stream.read_message(max=wrong)
            assert await stream.read() == b"abc"


INT32, UINT32, INT64 = (-(1 << 31), (1 << 31) - 1), (0, (1 << 32) - 1), (-(1 << 63) + 1, (1 << 63) - 1)
NUMBERS: dict[str, tuple[tuple[int, int], Call]] = {
    "value of tag": (INT32, lambda n, v: n.connections.tag(NOBODY, "x", v)),
    "left of trim": ((0, INT32[1]), lambda n, v: n.connections.trim(v)),
    "low of set_watermarks": ((0, INT32[1]), lambda n, v: n.connections.set_watermarks(low=v)),
    "high of set_watermarks": ((0, INT32[1]), lambda n, v: n.connections.set_watermarks(high=v)),
    "min_peers of publish": ((0, INT32[1]), lambda n, v: n.publish("t", b"x", min_peers=v)),
    "min_peers of publish_many": ((0, INT32[1]), lambda n, v: n.topic("t").publish_many([b"x"], min_peers=v)),
    "min_peers of bootstrap": ((0, INT32[1]), lambda n, v: n.dht.bootstrap(v)),
    "upload of perf": ((0, INT64[1]), lambda n, v: n.perf.run(NOBODY, upload=v)),
    "download of perf": ((0, INT64[1]), lambda n, v: n.perf.run(NOBODY, download=v)),
    "score of pubsub": (INT64, lambda n, v: n.pubsub.set_score(NOBODY, v)),
}


@pytest.mark.parametrize("name", NUMBERS)
async def test_a_number_that_does_not_fit_is_not_cut_off(name: str) -> None:
    parameter = name.partition(" ")[0]
    (least, most), call = NUMBERS[name]
    async with node(dht={"mode": "server"}) as n:
        for wrong in (least - 1, most + 1):
            with pytest.raises(InvalidArgument, match=f"^{parameter}: {wrong} is not a number"):
                await outcome(call(n, wrong))
        with pytest.raises(TypeError, match=f"^{parameter}: '3' is not a whole number$"):
            await outcome(call(n, "3"))


async def test_a_reason_that_does_not_fit_is_not_cut_off() -> None:
    async with pair() as (a, b):
        b.handle("/x/1", lambda stream: stream.read())
        async with a.open_stream(b.id, "/x/1") as stream:
            for wrong in (-1, 1 << 32):
                with pytest.raises(InvalidArgument, match=f"^code: {wrong} is not a number"):
                    stream.reset(wrong)
            assert not stream.closed
            stream.reset((1 << 32) - 1)
            assert stream.closed


async def test_a_buffer_that_is_not_in_order_is_sent_in_order() -> None:
    testbuffer = pytest.importorskip("_testbuffer")  # numpy's arrays in Fortran's order are such
    flags = testbuffer.ND_FORTRAN | testbuffer.ND_WRITABLE
    matrix = testbuffer.ndarray(list(b"adbecf"), shape=[2, 3], format="B", flags=flags)
    assert memoryview(matrix).tolist() == [list(b"abc"), list(b"def")]
    async with pair() as (a, b):

        @b.handle("/echo/1")
        async def echo(stream: libp2pgo.Stream) -> None:
            await stream.write(await stream.read())

        async with a.open_stream(b.id, "/echo/1") as stream:
            await stream.write(matrix)
            await stream.write_eof()
            assert await stream.read() == b"abcdef"
