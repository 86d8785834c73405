"""``python -m libp2pgo``: a few things one wants to know or do without writing a program."""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
from typing import Any

import libp2pgo

from ._library import library

OK, FAILED, USAGE = 0, 1, 2


def _version(args: argparse.Namespace) -> dict[str, Any]:
    return {"libp2pgo": libp2pgo.__version__, "library": library().p2p_version().decode()}


def _id(args: argparse.Namespace) -> dict[str, Any]:
    return {"id": libp2pgo.PrivateKey.load(args.file).peer_id}


def _key_new(args: argparse.Namespace) -> dict[str, Any]:
    key = libp2pgo.PrivateKey.generate(args.type)
    key.save(args.file)
    return {"id": key.peer_id, "file": args.file}


def _ping(args: argparse.Namespace) -> dict[str, Any]:
    async def ping() -> dict[str, Any]:
        async with libp2pgo.Node(listen=[]) as node:
            peer = await node.connect(args.address, timeout=args.timeout)
            times = [await node.ping(peer, timeout=args.timeout) for _ in range(args.count)]
            return {"peer": peer, "rtt_ms": [round(time * 1000, 3) for time in times]}

    return asyncio.run(ping())


def _doctor(args: argparse.Namespace) -> dict[str, Any]:
    lib = library()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "package": libp2pgo.__version__,
        "library": lib.path,
        "build": lib.json(lib.p2p_build_info),
        "runtime": lib.json(lib.p2p_runtime_info),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m libp2pgo", description=__doc__, epilog="exit codes: 0 done, 1 failed, 2 wrong use")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print the result as one JSON object")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, run: Any, words: str) -> argparse.ArgumentParser:
        found = commands.add_parser(name, parents=[common], help=words, description=words)
        found.set_defaults(run=run)
        return found

    command("version", _version, "print the versions of package and library")
    command("id", _id, "print the peer id of a key file").add_argument("file")
    key = commands.add_parser("key", help="make keys").add_subparsers(dest="key", required=True)
    new = key.add_parser("new", parents=[common], help="write a new private key to a file that does not exist yet")
    new.add_argument("file")
    new.add_argument("--type", default="ed25519", choices=("ed25519", "secp256k1", "ecdsa", "rsa"))
    new.set_defaults(run=_key_new)
    ping = command("ping", _ping, "connect to an address and measure round trips")
    ping.add_argument("address")
    ping.add_argument("--count", type=int, default=3)
    ping.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS")
    command("doctor", _doctor, "print what this installation is made of")
    return parser


def main(arguments: list[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    try:
        result = args.run(args)
    except (libp2pgo.Error, OSError) as error:
        if args.json:
            print(json.dumps({"error": getattr(error, "code_name", type(error).__name__), "words": str(error)}))
        else:
            print(f"{args.command}: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 130
    if args.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name}: {value if isinstance(value, str) else json.dumps(value, indent=2 if isinstance(value, dict) else None)}")
    return OK


if __name__ == "__main__":
    sys.exit(main())
