"""The actor in Python; README.md lists what it does."""

import asyncio
import dataclasses
import json
import re
import sys
from collections import Counter

import libp2pgo
from libp2pgo import Node

ECHO = "/lab/echo/1"
TYPES = {
    "AddressesChanged": "addresses",
    "PathChanged": "peer_path",
    "ReachabilityChanged": "reachability",
    "NATTypeChanged": "nat_type",
    "ReservationChanged": "reservation",
}
"""Where a class is not named as the header names the event."""


class Actor:
    def __init__(self):
        self.nodes = []
        self.subscriptions = []
        self.heard_by = []
        self.tasks = set()

    def spawn(self, work):
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def start(self, nodes, options):
        for _ in range(nodes):
            node = await Node(config=options).start()
            node.on_request(ECHO, echo)
            self.spawn(self.tell(len(self.nodes), node))
            self.nodes.append(node)
            self.heard_by.append(Counter())
        return [{"id": node.id, "addresses": node.addresses} for node in self.nodes[-nodes:]]

    async def tell(self, number, node):
        async for event in node.events():
            name = type(event).__name__
            say({"event": {"node": number, "type": TYPES.get(name) or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower(), **fields(event)}})

    async def addresses(self, node):
        return self.nodes[node].addresses

    async def connect(self, node, to):
        return await self.nodes[node].connect(to)

    async def keep(self, node, to):
        self.nodes[node].keep(to)

    async def disconnect(self, node, peer):
        self.nodes[node].disconnect(peer)

    async def peers(self, node):
        return self.nodes[node].peers()

    async def peer(self, node, peer):
        return dataclasses.asdict(self.nodes[node].peer_info(peer))

    async def info(self, node):
        return self.nodes[node].info()

    async def nat(self, node):
        return self.nodes[node].nat.info()

    async def relay(self, node):
        return self.nodes[node].relay.info()

    async def ask(self, node, peer, text, allow_limited=False, timeout_ms=30000):
        answer = await self.nodes[node].request(peer, ECHO, text.encode(), allow_limited=allow_limited, timeout=timeout_ms / 1000)
        return answer.decode()

    async def subscribe(self, topic):
        for node, heard in zip(self.nodes, self.heard_by):
            self.spawn(listen(node.subscribe(topic), heard))

    async def members(self, topic):
        return [len(node.topic(topic).peers()) for node in self.nodes]

    async def counters(self, topic):
        return [node.topic(topic).info() for node in self.nodes]

    async def publish(self, topic, label, first, count, pause_ms):
        for n in range(first, first + count):
            await self.nodes[n % len(self.nodes)].publish(topic, f"{label} {n}".encode())
            await asyncio.sleep(pause_ms / 1000)

    async def heard(self, label):
        counts = [[n for what, n in heard.items() if what.startswith(f"{label} ".encode())] for heard in self.heard_by]
        return [[len(numbers), sum(numbers)] for numbers in counts]

    async def close(self, node):
        await self.nodes[node].close()


async def echo(request):
    return request.data


async def listen(subscription, heard):
    async for message in subscription:
        heard[message.data] += 1


def fields(event):
    return {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}


def say(what):
    print(json.dumps(what, default=str), flush=True)


async def obey(actor, order):
    number, verb = order.pop("id"), order.pop("do")
    try:
        say({"id": number, "ok": await getattr(actor, verb)(**order)})
    except libp2pgo.Error as error:
        say({"id": number, "error": {"code": error.code_name, "words": str(error)}})
    except Exception as error:
        say({"id": number, "error": {"code": type(error).__name__, "words": str(error)}})


async def main():
    actor = Actor()
    lines = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        actor.spawn(obey(actor, json.loads(line)))
    await asyncio.gather(*(node.close() for node in actor.nodes))


asyncio.run(main())
