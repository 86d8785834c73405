"""Requests: one question, one answer (upper), or one question and a stream of answers (count).

python request.py serve
python request.py ask ADDRESS upper TEXT
python request.py ask ADDRESS count N
"""

import asyncio
import sys

import libp2pgo

UPPER = "/examples/request/upper/1.0.0"
COUNT = "/examples/request/count/1.0.0"
LISTEN = ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"]


async def serve():
    async with libp2pgo.Node(listen=LISTEN) as node:

        @node.on_request(UPPER)
        async def upper(request):
            return request.data.decode().upper().encode()

        @node.on_request(COUNT)
        async def count(request):
            text = request.data.decode()
            if not text.isdecimal() or int(text) < 1:
                raise libp2pgo.RequestError(1, f"count: want a number above 0, not {text!r}")
            for i in range(1, int(text) + 1):
                yield str(i).encode()

        print(*node.addresses, "", sep="\n", flush=True)
        await asyncio.Event().wait()


async def ask(address, kind, argument):
    async with libp2pgo.Node(listen=[]) as node:
        peer = await node.connect(address)
        if kind == "upper":
            print((await node.request(peer, UPPER, argument.encode())).decode())
        else:
            async for part in node.request_stream(peer, COUNT, argument.encode()):
                print(part.decode())


if __name__ == "__main__":
    try:
        if sys.argv[1:] == ["serve"]:
            asyncio.run(serve())
        elif len(sys.argv) == 5 and sys.argv[1] == "ask" and sys.argv[3] in ("upper", "count"):
            asyncio.run(ask(*sys.argv[2:]))
        else:
            print("usage: request serve | request ask ADDRESS upper TEXT | request ask ADDRESS count N", file=sys.stderr)
            sys.exit(2)
    except libp2pgo.Error as error:
        sys.exit(f"request: {error}")
    except KeyboardInterrupt:
        pass
