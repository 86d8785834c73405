"""The Python contender of the benchmark: ``bench.py listen`` and ``bench.py dial`` are the two ends of one pair, ``bench.py local`` tells what
the library costs by itself. See README.md for the command line."""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time

from libp2pgo import Node

BULK = "/bench/bulk/1.0.0"
ECHO = "/bench/echo/1.0.0"
REQUEST = "/bench/request/1.0.0"
COUNT = "/bench/count/1.0.0"
TOPIC = "bench"

QUIET = 3.0
"""Seconds that nothing may arrive before the rest of the messages counts as lost."""
AHEAD = 256
"""Messages handed to publish() before the first of them is awaited."""

now = time.perf_counter


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["listen", "dial", "local"])
    for name, default in dict(scenario="bulk", transport="tcp", security="tls", peer="", signing="sign").items():
        parser.add_argument(f"--{name}", default=default)
    for name, default in dict(size=65536, bytes=256 << 20, count=1000, inflight=1).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seconds", type=float, default=5)
    return parser.parse_args()


def say(result):
    print(json.dumps(result), flush=True)


def percentiles(times):
    times.sort()
    return {"p50_us": times[(len(times) - 1) // 2] * 1e6, "p99_us": times[int((len(times) - 1) * 0.99)] * 1e6}


# Listening.


def serve(node):
    @node.handle(BULK)
    async def bulk(stream):
        total = 0
        async for chunk in stream:
            total += len(chunk)
        await stream.write(total.to_bytes(8, "big"))

    @node.handle(ECHO)
    async def echo(stream):
        async for chunk in stream:
            await stream.write(chunk)

    @node.on_request(REQUEST)
    async def answer(request):
        return request.data


class Counter:
    """Counts the messages of the topic and tells the dialler when it asks."""

    def __init__(self, node):
        self.received = 0
        self.first = self.last = 0.0
        self.subscription = node.subscribe(TOPIC)
        self.task = asyncio.ensure_future(self.consume())
        node.handle(COUNT, self.answer)

    async def consume(self):
        async for _ in self.subscription:
            self.last = now()
            if not self.received:
                self.first = self.last
            self.received += 1

    async def answer(self, stream):
        expected = int.from_bytes(await stream.readexactly(8), "big")
        asked = now()
        while self.received < expected and now() - max(self.last, asked) < QUIET:
            await asyncio.sleep(0.005)
        await stream.write(json.dumps({"received": self.received, "seconds": self.last - self.first}).encode())


# Dialling.


async def bulk(node, peer, o):
    block = bytes(o.size)
    async with node.open_stream(peer, BULK) as stream:
        start = now()
        end = start + o.seconds
        sent = 0
        while sent < o.bytes and now() < end:
            await stream.write(block)
            sent += o.size
        await stream.close_write()
        received = int.from_bytes(await stream.readexactly(8), "big")
        return {"bytes": received, "seconds": now() - start}


async def roundtrip(node, peer, o):
    message = bytes(o.size)
    times = []
    async with node.open_stream(peer, ECHO) as stream:
        end = now() + o.seconds
        while len(times) < o.count and now() < end:
            before = now()
            await stream.write(message)
            await stream.readexactly(o.size)
            times.append(now() - before)
    return {"count": len(times), **percentiles(times)}


async def request(node, peer, o):
    question = bytes(o.size)
    times = []

    async def ask():
        before = now()
        answer = await node.request(peer, REQUEST, question)
        if len(answer) != o.size:
            raise RuntimeError(f"an answer of {len(answer)} bytes")
        times.append(now() - before)

    await ask()  # identify and warm-up are not measured
    times.clear()
    left = iter(range(o.count))
    start = now()
    end = start + o.seconds

    async def worker():
        for _ in left:
            await ask()
            if now() > end:
                return

    await asyncio.gather(*(worker() for _ in range(o.inflight)))
    return {"count": len(times), "seconds": now() - start, **percentiles(times)}


async def publish(node, peer, o):
    topic = node.join(TOPIC)
    padding = bytes(o.size - 8)
    await topic.publish(bytes(o.size), min_peers=1)
    start = now()
    for i in range(1, o.count, AHEAD):
        ahead = range(i, min(o.count, i + AHEAD))
        await asyncio.gather(*(topic.publish(n.to_bytes(8, "big") + padding) for n in ahead))
    published = now() - start
    async with node.open_stream(peer, COUNT) as stream:
        await stream.write(o.count.to_bytes(8, "big"))
        await stream.close_write()
        return {"sent": o.count, "publish_seconds": published, **json.loads(await stream.read())}


# By itself.


def call_cost(call, *args):
    calls = range(100_000)
    for _ in calls:
        call(*args)
    start = now()
    for _ in calls:
        call(*args)
    return (now() - start) / len(calls) * 1e9


def event_cost(total):
    """Nanoseconds for one event to reach a function of this program, with its bytes: what waits is drained in one go."""
    # The package's own pump: events are measured where the package takes them.
    from libp2pgo._engine import loop_pump, next_tag

    pump = loop_pump()
    seen = 0

    def arrived(type_, status, subject, object_, value, flags, text, data):
        nonlocal seen
        seen += len(data)

    tag = next_tag()
    pump.targets[tag] = arrived
    payload = bytes(100)
    best = float("inf")
    for _ in range(3):
        seen = 0
        for i in range(total):
            pump.lib.p2p_queue_post(pump.queue, tag, i, payload, len(payload))
        start = now()
        while seen < 100 * total:
            pump.drain()
        best = min(best, now() - start)
    del pump.targets[tag]
    return best / total * 1e9


def import_cost():
    """Milliseconds for a fresh interpreter to import the package, which must not load the library."""
    code = "import time; t = time.perf_counter(); import libp2pgo; t = time.perf_counter() - t; from libp2pgo import _library; print(t * 1e3, _library.loaded())"
    times = []
    for _ in range(5):
        spent, loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        if loaded != "False":
            raise RuntimeError("importing the package loads the library")
        times.append(float(spent))
    return sorted(times)[2]


def resident_mib():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


async def local(o):
    from libp2pgo._library import library

    start = now()
    lib = library()
    config = lib.handle(lib.p2p_config_new, None)  # the first call that enters Go waits until its packages are initialised
    loaded = now()
    async with Node(listen=["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"]):
        up = now()
        rss = resident_mib()
        return {
            "import_ms": import_cost(),
            "load_ms": (loaded - start) * 1e3,
            "first_node_ms": (up - loaded) * 1e3,
            "rss_mib": rss,
            "noop_c_ns": call_cost(lib.p2p_abi),
            "noop_go_ns": call_cost(lib.p2p_kind, config),
            "event_ns": event_cost(o.count),
        }


async def main():
    o = parse()
    if o.role == "local":
        say(await local(o))
        return
    listen = "/ip4/127.0.0.1/udp/0/quic-v1" if o.transport == "quic" else "/ip4/127.0.0.1/tcp/0"
    async with Node(listen=[listen], security=[o.security], pubsub={"signing": o.signing}) as node:
        if o.role == "listen":
            serve(node)
            counter = Counter(node) if o.scenario == "pubsub" else None
            say({"address": node.addresses[0]})
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # the runner closes it when the dialler is done
            if counter is not None:
                counter.subscription.close()
        else:
            scenario = {"bulk": bulk, "roundtrip": roundtrip, "request": request, "pubsub": publish}[o.scenario]
            say(await scenario(node, await node.connect(o.peer), o))


asyncio.run(main())
