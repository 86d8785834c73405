"""The command line, ``python -m libp2pgo``."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import platform
import sys
from typing import Any

import libp2pgo

from . import runtime
from ._library import library

WORDS = "A few things one wants to know or do without writing a program."
OK, FAILED = 0, 1  # and argparse exits with 2


def _version(args: argparse.Namespace) -> dict[str, Any]:
    return {"libp2pgo": libp2pgo.__version__, "library": runtime.version()}


def _id(args: argparse.Namespace) -> dict[str, Any]:
    return {"id": libp2pgo.PrivateKey.load(args.file).peer_id}


def _key_new(args: argparse.Namespace) -> dict[str, Any]:
    key = libp2pgo.PrivateKey.generate(args.type)
    key.save(args.file, format=args.format)
    return {"id": key.peer_id, "file": args.file}


def _key_show(args: argparse.Namespace) -> dict[str, Any]:
    public = libp2pgo.PrivateKey.load(args.file).public_key
    return {"type": public.type, "id": public.peer_id, "cid": public.peer_id.cid, "public": public.export("base64").decode()}


def _key_convert(args: argparse.Namespace) -> dict[str, Any]:
    key = libp2pgo.PrivateKey.load(args.file, format="raw" if args.raw else None, type=args.raw)
    key.save(args.to, format=args.format)
    return {"id": key.peer_id, "file": args.to}


def _network_key(args: argparse.Namespace) -> dict[str, Any]:
    if os.path.exists(args.file):
        key = libp2pgo.NetworkKey.load(args.file)
    else:
        key = libp2pgo.NetworkKey.generate()
        key.save(args.file)
    return {"fingerprint": key.fingerprint, "file": args.file}


def _resolve(args: argparse.Namespace) -> dict[str, Any]:
    return {"addresses": libp2pgo.sync.resolve(args.address, server=args.server, timeout=args.timeout)}


def _cid(args: argparse.Namespace) -> dict[str, Any]:
    with open(args.file, "rb") as file:
        data = file.read()
    if args.verify is not None:
        if not libp2pgo.CID(args.verify).verify(data):
            raise libp2pgo.SecurityError(f"{args.verify} does not name the bytes of {args.file}")
        return {"cid": args.verify}
    return {"cid": libp2pgo.CID.make(data, codec=args.codec)}


def _ping(args: argparse.Namespace) -> dict[str, Any]:
    async def ping() -> dict[str, Any]:
        async with libp2pgo.Node(listen=[]) as node:
            peer = await node.connect(args.address, timeout=args.timeout)
            times = [await node.ping(peer, timeout=args.timeout) for _ in range(args.count)]
            return {"peer": peer, "rtt_ms": [round(time * 1000, 3) for time in times]}

    return asyncio.run(ping())


def _explain(args: argparse.Namespace) -> dict[str, Any]:
    async def explain() -> libp2pgo.Explanation:
        async with libp2pgo.Node(listen=[], private_network=args.private_network) as node:
            return await node.explain(args.address, protocol=args.protocol, attempt=args.attempt, timeout=None)

    found = asyncio.run(explain())
    args.status = OK if found.reachable else FAILED
    args.text = str(found)
    return dataclasses.asdict(found)


def _doctor(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "package": libp2pgo.__version__,
        "library": library().path,
        "build": runtime.build_info(),
        "runtime": runtime.info(),
    }


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 1 or more")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:  # which NaN is not, either; the library counts milliseconds
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m libp2pgo", description=WORDS, epilog="exit codes: 0 done, 1 failed, 2 wrong use")
    # Before or behind the command: the latter must not undo the former with its default.
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    for each in (parser, common):
        each.add_argument("--json", action="store_true", help="print the result as one JSON object")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, run: Any, words: str) -> argparse.ArgumentParser:
        found = commands.add_parser(name, parents=[common], help=words, description=words)
        found.set_defaults(run=run)
        return found

    command("version", _version, "print the versions of package and library")
    command("id", _id, "print the peer id of a key file").add_argument("file")
    types, formats = ("ed25519", "secp256k1", "ecdsa", "rsa"), ("protobuf", "base64", "pem", "raw")
    key = commands.add_parser("key", help="make and read key files").add_subparsers(dest="key", required=True)
    new = key.add_parser("new", parents=[common], help="write a new private key to a file that does not exist yet")
    new.add_argument("file")
    new.add_argument("--type", default="ed25519", choices=types)
    new.add_argument("--format", default="protobuf", choices=formats)
    new.set_defaults(run=_key_new)
    show = key.add_parser("show", parents=[common], help="print what is public of a key file (libp2p, Kubo, PEM)")
    show.add_argument("file")
    show.set_defaults(run=_key_show)
    convert = key.add_parser(
        "convert", parents=[common], help="write a key file once more, in another format, to a file that does not exist yet"
    )
    convert.add_argument("file")
    convert.add_argument("to")
    convert.add_argument("--format", default="protobuf", choices=formats)
    convert.add_argument("--raw", metavar="TYPE", choices=types, help="the file holds the bare key of this type")
    convert.set_defaults(run=_key_convert)
    network = command(
        "network-key", _network_key, "print the fingerprint of a private network's swarm.key file, which is made if it does not exist"
    )
    network.add_argument("file")
    resolve = command("resolve", _resolve, "ask DNS what an address stands for")
    resolve.add_argument("address")
    resolve.add_argument("--server", metavar="IP:PORT")
    resolve.add_argument("--timeout", type=_seconds, default=10.0, metavar="SECONDS")
    cid = command("cid", _cid, "print the CID of a file's bytes, as one block")
    cid.add_argument("file")
    cid.add_argument("--codec", default="raw")
    cid.add_argument("--verify", metavar="CID", help="fail unless it is this one")
    ping = command("ping", _ping, "connect to an address and measure round trips")
    ping.add_argument("address")
    ping.add_argument("--count", type=_count, default=3)
    ping.add_argument("--timeout", type=_seconds, default=10.0, metavar="SECONDS")
    explain = command("explain", _explain, "find out why a peer can, or cannot, be reached")
    explain.add_argument("address", nargs="+", help="of one peer, ending in /p2p/<peer id>")
    explain.add_argument("--protocol", metavar="NAME", help="one that the peer should speak")
    explain.add_argument("--attempt", type=_seconds, default=5.0, metavar="SECONDS", help="for one address")
    explain.add_argument("--private-network", metavar="FILE", help="the swarm.key of the peer's private network")
    command("doctor", _doctor, "print what this installation is made of")
    return parser


def _main(arguments: list[str] | None) -> int:
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
    elif "text" in args:
        print(args.text, end="")
    else:
        for name, value in result.items():
            print(f"{name}: {value if isinstance(value, str) else json.dumps(value, indent=2 if isinstance(value, dict) else None)}")
    status: int = getattr(args, "status", OK)
    return status


def main(arguments: list[str] | None = None) -> int:
    try:
        try:
            return _main(arguments)
        finally:
            print(end="", flush=True)
    except BrokenPipeError:
        # Whoever read the output has enough of it. What is left must go somewhere, or Python complains of it at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
