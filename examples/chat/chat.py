"""Everybody on the topic reads what anybody types.

python chat.py [--listen ADDRESS] [ADDRESS...]      prints its addresses, then what the others say; lines typed here go to all
"""

import argparse
import asyncio
import sys
import threading

import libp2pgo

TOPIC = "examples-chat"
LISTEN = ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"]


def read_lines(loop, lines):
    """Pass the terminal's lines to the loop, from a thread: files and pipes have no other way in that works for both."""
    for line in sys.stdin:
        loop.call_soon_threadsafe(lines.put_nowait, line.rstrip("\n"))
    loop.call_soon_threadsafe(lines.put_nowait, None)


async def hear(subscription):
    async for message in subscription:
        if not message.local:
            print(f"{message.author[-6:]}: {message.data.decode(errors='replace')}", flush=True)


async def watch(topic):
    async for event in topic.events():
        print(f"* {event.peer[-6:]} {'joined' if isinstance(event, libp2pgo.PeerJoined) else 'left'}", flush=True)


async def chat(listen, addresses):
    async with libp2pgo.Node(listen=listen) as node:
        print(*node.addresses, "", sep="\n", flush=True)
        topic = node.join(TOPIC)
        tasks = [asyncio.ensure_future(hear(topic.subscribe())), asyncio.ensure_future(watch(topic))]
        for address in addresses:
            node.keep(address)

        lines = asyncio.Queue()
        threading.Thread(target=read_lines, args=(asyncio.get_running_loop(), lines), daemon=True).start()
        while (line := await lines.get()) is not None:
            await topic.publish(line.encode())
    await asyncio.gather(*tasks)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", action="append", metavar="ADDRESS")
    parser.add_argument("addresses", nargs="*", metavar="ADDRESS")
    options = parser.parse_args()
    try:
        asyncio.run(chat(options.listen or LISTEN, options.addresses))
    except libp2pgo.Error as error:
        sys.exit(f"chat: {error}")
    except KeyboardInterrupt:
        pass
