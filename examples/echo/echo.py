"""A stream server and its client: every byte that a peer sends comes back, and the end of the flow too.

python echo.py serve                  prints its addresses, then echoes what it is sent
python echo.py dial ADDRESS TEXT      sends TEXT, prints what comes back
"""

import asyncio
import sys

import libp2pgo

PROTOCOL = "/examples/echo/1.0.0"
LISTEN = ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"]  # this machine only; name another address to be reached from others


async def serve():
    async with libp2pgo.Node(listen=LISTEN) as node:

        @node.handle(PROTOCOL)
        async def echo(stream):
            async for data in stream:
                await stream.write(data)

        print(*node.addresses, "", sep="\n", flush=True)
        await asyncio.Event().wait()


async def dial(address, text):
    async with libp2pgo.Node(listen=[]) as node, node.open_stream(address, PROTOCOL) as stream:
        await stream.write(text.encode())
        await stream.write_eof()
        async for data in stream:
            sys.stdout.buffer.write(data)
        print(flush=True)


if __name__ == "__main__":
    try:
        if sys.argv[1:] == ["serve"]:
            asyncio.run(serve())
        elif len(sys.argv) == 4 and sys.argv[1] == "dial":
            asyncio.run(dial(sys.argv[2], sys.argv[3]))
        else:
            print("usage: echo serve | echo dial ADDRESS TEXT", file=sys.stderr)
            sys.exit(2)
    except libp2pgo.Error as error:
        sys.exit(f"echo: {error}")
    except KeyboardInterrupt:
        pass
