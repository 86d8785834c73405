"""Compares the two ways a stream's bytes can reach Python: records on the queue under credit, and a socket pair (p2p_stream_fd).

    python bench/python/delivery.py

Two processes on loopback, TCP with Noise, interleaved rounds. Prints one line for each way: 32 B round trip, bulk with 64 KiB writes,
processor time of both processes for each MiB, and what an open, idle stream costs in resident memory and descriptors of one process.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time

from libp2pgo import Node

TRIPS, BULK, STREAMS, ROUNDS = 2000, 128 << 20, 500, 5
ECHO, SINK, IDLE, USAGE = "/delivery/echo/1", "/delivery/sink/1", "/delivery/idle/1", "/delivery/usage/1"
now = time.perf_counter


def usage():
    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {"cpu": time.process_time(), "rss": resident, "fds": len(os.listdir("/proc/self/fd"))}


class Watched:
    """The stream as the package gives it."""

    def __init__(self, stream):
        self.stream = stream
        self.write, self.readexactly, self.finish, self.close = stream.write, stream.readexactly, stream.close_write, stream.close

    async def read(self):
        return await self.stream.read(65536)


class Paired:
    """The stream behind a socket."""

    def __init__(self, stream):
        self.loop = asyncio.get_running_loop()
        self.sock = stream.detach_socket()

    async def write(self, data):
        await self.loop.sock_sendall(self.sock, data)

    async def read(self):
        return await self.loop.sock_recv(self.sock, 65536)

    async def readexactly(self, n):
        data = b""
        while len(data) < n:
            data += await self.loop.sock_recv(self.sock, n - len(data))
        return data

    async def finish(self):
        self.sock.shutdown(1)

    async def close(self):
        self.sock.close()


WAYS = {"records": Watched, "socket": Paired}


async def listen(way):
    async with Node(listen=["/ip4/127.0.0.1/tcp/0"], security=["noise"]) as node:

        async def echo(stream):
            end = WAYS[way](stream)
            while data := await end.read():
                await end.write(data)
            await end.close()

        async def sink(stream):
            end = WAYS[way](stream)
            total = 0
            while data := await end.read():
                total += len(data)
            await end.write(total.to_bytes(8, "big"))
            await end.finish()
            await end.close()

        node.handle(ECHO, echo)
        node.handle(SINK, sink)
        node.handle(IDLE, echo, max_streams=0)
        node.on_request(USAGE, lambda request: json.dumps(usage()).encode())
        print(node.addresses[0], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def dial(way, address):
    async with Node(listen=[], security=["noise"]) as node:
        peer = await node.connect(address)

        async def both():
            return [usage(), json.loads(await node.request(peer, USAGE))]

        def spent(before, after, field):
            return sum(b[field] - a[field] for a, b in zip(before, after))

        end = WAYS[way](await node.open_stream(peer, ECHO))
        trips = []
        for _ in range(TRIPS):
            start = now()
            await end.write(bytes(32))
            await end.readexactly(32)
            trips.append(now() - start)
        await end.close()

        before, start = await both(), now()
        end = WAYS[way](await node.open_stream(peer, SINK))
        block = bytes(65536)
        for _ in range(BULK // len(block)):
            await end.write(block)
        await end.finish()
        assert int.from_bytes(await end.readexactly(8), "big") == BULK
        seconds = now() - start
        cpu = spent(before, await both(), "cpu")
        await end.close()

        before = await both()
        ends = []
        for _ in range(STREAMS):
            end = WAYS[way](await node.open_stream(peer, IDLE))
            await end.write(b"x")
            await end.readexactly(1)
            ends.append(end)
        after = await both()
        result = {
            "trip_us": statistics.median(trips) * 1e6,
            "mib_s": BULK / seconds / 2**20,
            "cpu_ms_mib": cpu * 1e3 / (BULK >> 20),
            "kib_stream": spent(before, after, "rss") / 2 / STREAMS / 1024,
            "fds_stream": spent(before, after, "fds") / 2 / STREAMS,
        }
        for end in ends:
            await end.close()
        print(json.dumps(result))


def measure(way):
    command = [sys.executable, __file__]
    server = subprocess.Popen([*command, "listen", way], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    address = server.stdout.readline().strip()
    found = subprocess.run([*command, "dial", way, address], stdout=subprocess.PIPE, text=True, check=True).stdout
    server.communicate()
    return json.loads(found)


def main():
    if sys.argv[1:2] == ["listen"]:
        asyncio.run(listen(sys.argv[2]))
    elif sys.argv[1:2] == ["dial"]:
        asyncio.run(dial(*sys.argv[2:]))
    else:
        found = {way: [] for way in WAYS}
        for _ in range(ROUNDS):
            for way, results in found.items():
                results.append(measure(way))
        print(f"{'':10}{'round trip us':>15}{'bulk MiB/s':>13}{'CPU ms/MiB':>13}{'KiB/stream':>13}{'fds/stream':>13}")
        for way, results in found.items():
            cells = [statistics.median(r[key] for r in results) for key in ("trip_us", "mib_s", "cpu_ms_mib", "kib_stream", "fds_stream")]
            print(f"{way:10}{cells[0]:15.0f}{cells[1]:13.0f}{cells[2]:13.2f}{cells[3]:13.1f}{cells[4]:13.2f}")


if __name__ == "__main__":
    main()
