"""One of three: the meeting place. It introduces a Node.js and a C program to each other, publishes and verifies messages, asks both a
question whose answer comes as a stream, and passes a file on from one to the other. README.md tells the whole story.

    python demo.py MESSAGES FOLDER

Lines that begin with @ are for the program that started this one.
"""

import asyncio
import hashlib
import os
import signal
import sys
import time

from libp2pgo import Node, NodeClosed, PeerDisconnected

NAME = "python"
FRIENDS = ("node", "c")
PRIMES = 10_000
COUNT = 500

MESSAGES = int(sys.argv[1])
FOLDER = sys.argv[2]


def say(*words):
    print(*words, flush=True)


def result(who, what, how_many, how_fast):
    say(f"@result {who}\t{what}\t{how_many}\t{how_fast}")


def short(peer):
    return f"{peer[:8]}...{peer[-6:]}"


class Meeting:
    """Who is here. Everyone who comes is told of the others, those who are here and those who come later."""

    def __init__(self, node):
        self.node = node
        self.here = {}
        self.addresses = {}
        self.changed = asyncio.Condition()
        node.on_request("/demo/meet/1.0.0", self.meet)

    async def meet(self, request):
        name, *addresses = request.data.decode().splitlines()
        if name not in FRIENDS:
            raise ValueError(f"{name} was not invited")
        # Whom the name belongs to is what the connection proved, not what somebody says.
        async with self.changed:
            self.here[name] = request.peer
            self.addresses[name] = addresses
            self.changed.notify_all()
        say(f"met {name}, {short(request.peer)}")
        yield "\n".join([f"{NAME} {self.node.id}", *self.node.addresses]).encode()
        for other in FRIENDS:
            if other != name:
                await self.wait_for(other)
                yield "\n".join([f"{other} {self.here[other]}", *self.addresses[other]]).encode()
                say(f"told {name} of {other}")

    async def wait_for(self, name):
        async with self.changed:
            await self.changed.wait_for(lambda: name in self.here)


def text(name, i):
    return f"{name} says {i + 1} of {MESSAGES}".encode()


async def hear(subscription, meeting):
    """Verify every message of the others: who signed it, and what it says. Each must come exactly once."""
    missing = {(name, text(name, i)) for name in FRIENDS for i in range(MESSAGES)}
    start = time.monotonic()
    async for message in subscription:
        if message.local:
            continue
        if not message.signed:
            sys.exit("a message without a signature")
        name = next((name for name, peer in meeting.here.items() if peer == message.author), "a stranger")
        if (name, message.data) not in missing:
            sys.exit(f"{name} says what was not to be said: {message.data!r}")
        missing.remove((name, message.data))
        if not any(who == name for who, _ in missing):
            say(f"heard all {MESSAGES} messages of {name}, each signed by {name}")
        if not missing:
            break
    many = len(FRIENDS) * MESSAGES
    result(NAME, "signed messages, author and words verified", f"{many} of {many}", f"in {(time.monotonic() - start) * 1e3:.0f} ms")


async def publish(topic):
    for i in range(MESSAGES):
        await topic.publish(text(NAME, i), min_peers=len(FRIENDS))
    say(f"published {MESSAGES} signed messages")


async def ask(node, meeting, name, protocol, question, right):
    """Ask for a streamed answer and compare it, part by part, with what it has to be."""
    await meeting.wait_for(name)
    start = time.monotonic()
    parts = []
    async for part in node.request_stream(meeting.here[name], protocol, str(question).encode()):
        parts.append(part.decode())
    spent = time.monotonic() - start
    if parts != right:
        sys.exit(f"{name} gave a wrong answer: {parts[:10]}")
    say(f"{name} answered: {' '.join(parts[:6])} ... {parts[-1]}, {len(parts)} parts, all right")
    return len(parts), f"{len(parts) / spent:,.0f} parts/s"


async def ask_for_primes(node, meeting):
    composite = {m for n in range(2, 101) for m in range(2 * n, PRIMES + 1, n)}
    primes = [str(n) for n in range(2, PRIMES + 1) if n not in composite]
    parts, fast = await ask(node, meeting, "c", "/demo/primes/1.0.0", PRIMES, primes)
    result("c -> python", f"primes up to {PRIMES:,}, streamed, verified", f"{parts:,} parts", fast)


def in_words(n):
    small = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
    tens = "twenty thirty forty fifty sixty seventy eighty ninety"
    if n < 20:
        return small.split()[n]
    if n < 100:
        return tens.split()[n // 10 - 2] + ("-" + in_words(n % 10) if n % 10 else "")
    return in_words(n // 100) + " hundred" + (" " + in_words(n % 100) if n % 100 else "")


async def ask_to_count(node, meeting):
    words = " ".join(in_words(n) for n in range(1, COUNT + 1)).split()
    parts, fast = await ask(node, meeting, "node", "/demo/count/1.0.0", COUNT, words)
    result("node -> python", f"counting to {COUNT} word by word, streamed, verified", f"{parts:,} parts", fast)


class Progress:
    """Tells how far a transfer is, a hundred times at most."""

    def __init__(self, label, size):
        self.label, self.size, self.done, self.told = label, size, 0, 0

    def add(self, n):
        self.done += n
        if self.done - self.told > self.size / 100 or self.done == self.size:
            say(f"@progress {self.label}\t{self.done}\t{self.size}")
            self.told = self.done


async def receive_file(stream, path):
    """Take a file: its size in eight bytes, then its bytes. Answers with their SHA-256, which is also returned."""
    size = int.from_bytes(await stream.readexactly(8), "big")
    progress = Progress("node -> python", size)
    sha = hashlib.sha256()
    with open(path, "wb") as out:
        async for chunk in stream:
            out.write(chunk)
            sha.update(chunk)
            progress.add(len(chunk))
    if progress.done != size:
        sys.exit(f"{progress.done} of {size} bytes came")
    await stream.write(sha.digest())
    say(f"@sha256 {sha.hexdigest()}")
    say("received the file from node")
    return sha.digest()


async def send_file(node, peer, path, digest):
    size = os.path.getsize(path)
    start = time.monotonic()
    async with node.open_stream(peer, "/demo/file/1.0.0") as stream:
        await stream.write(size.to_bytes(8, "big"))
        with open(path, "rb") as file:
            while chunk := file.read(256 << 10):
                await stream.write(chunk)
        await stream.close_write()
        there = await stream.read()
    spent = time.monotonic() - start
    if there != digest:
        sys.exit(f"the file at c differs: SHA-256 {there.hex()}, not {digest.hex()}")
    result("python -> c", "file with random content, SHA-256 equal", f"{size / 2**20:.1f} MiB", f"{size / 2**20 / spent:,.0f} MiB/s")


async def pass_file_on(node, meeting, arrived):
    digest, path = await arrived
    await meeting.wait_for("c")
    await send_file(node, meeting.here["c"], path, digest)


async def main():
    loop = asyncio.get_running_loop()
    node = Node(listen=["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"])
    arrived = loop.create_future()
    finished = {name: asyncio.Event() for name in FRIENDS}
    ours = asyncio.Event()

    @node.handle("/demo/file/1.0.0")
    async def file(stream):
        path = os.path.join(FOLDER, "file-of-python")
        try:
            arrived.set_result((await receive_file(stream, path), path))
        except (Exception, SystemExit) as error:
            arrived.set_exception(RuntimeError(f"the file from node: {error}"))

    @node.on_request("/demo/done/1.0.0")
    async def done(request):
        finished[request.data.decode()].set()
        for event in (*finished.values(), ours):  # nobody leaves while somebody may still need him
            await event.wait()
        return b"goodbye"

    async with node:
        meeting = Meeting(node)
        topic = node.join("demo/news")
        with_events = node.events(PeerDisconnected)
        subscription = topic.subscribe()
        say(f"listening, {short(node.id)}")
        say(f"@address {node.addresses[0]}")
        await asyncio.gather(
            hear(subscription, meeting),
            publish(topic),
            ask_for_primes(node, meeting),
            ask_to_count(node, meeting),
            pass_file_on(node, meeting, arrived),
        )
        subscription.close()
        ours.set()
        for event in finished.values():
            await event.wait()
        while node.peers():  # they leave once they have our goodbye
            try:
                await asyncio.wait_for(with_events.__anext__(), 5)
            except (asyncio.TimeoutError, StopAsyncIteration, NodeClosed):
                break
        say("everybody is done")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        sys.exit(130)
