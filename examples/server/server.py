"""Infrastructure for a network of one's own: bootstrap peer, DHT server, relay, rendezvous point and AutoNAT server in one program.

python server.py CONFIG       prints its addresses, an empty line and the URL of its metrics; runs until SIGTERM or SIGINT

CONFIG is a JSON file: "node" holds the options of docs/config.md, "metrics" the host:port of the HTTP endpoint (null: none), "status_s" the
seconds between two lines of status, "log" the level of the library's log. Exit codes: 0 stopped, 1 failed, 2 wrong use, 78 CONFIG is wrong.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import threading

import libp2pgo

DEFAULTS = {"node": {}, "metrics": None, "status_s": 60, "log": "warn"}
GRACE_S = 10  # for a stop; systemd's own limit is in the unit
log = logging.getLogger("server")


def read_config(path):
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    if not isinstance(config, dict):
        raise ValueError("expected an object")
    for key in config:
        if key not in DEFAULTS:
            raise ValueError(f"{key}: unknown; there are {', '.join(DEFAULTS)}")
    config = {**DEFAULTS, **config}
    if not (isinstance(config["status_s"], (int, float)) and config["status_s"] > 0):
        raise ValueError("status_s: expected a number of seconds")
    return config


def say(text):
    """Print at once and in one piece, so that no line of the log gets in between."""
    sys.stdout.write(text)
    sys.stdout.flush()


def tell_systemd(state):
    """What sd_notify does: one datagram to the service manager, if there is one."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)


def status(node):
    info = node.info()
    relay = node.relay.info()["service"]
    parts = [f"{len(node.peers())} peers"]
    with contextlib.suppress(libp2pgo.StateError):  # dht.mode is off
        parts.append(f"{len(node.dht.peers())} in the DHT's table")
    if relay["enabled"]:
        parts.append(f"{len(relay['reservations'])} places with the relay, {relay['circuits']} relayed connections")
    if "rendezvous" in info:
        parts.append(f"{info['rendezvous']['registrations']} registrations")
    return ", ".join(parts)


async def report(node, seconds, stopped):
    """Say now and then how it goes, and feed systemd's watchdog as long as the loop turns, until it is stopped."""
    loop = asyncio.get_running_loop()
    watchdog = int(os.environ.get("WATCHDOG_USEC", 0)) / 2e6 or seconds
    due = loop.time()
    while not stopped.is_set():
        if loop.time() >= due:
            line, due = status(node), loop.time() + seconds
            log.info(line)
            tell_systemd(f"STATUS={line}")
        tell_systemd("WATCHDOG=1")
        try:
            await asyncio.wait_for(stopped.wait(), min(watchdog, max(0.01, due - loop.time())))
        except asyncio.TimeoutError:
            pass


async def serve(config):
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with libp2pgo.Node(config=config["node"]) as node:
        say("".join(f"{address}\n" for address in node.addresses) + "\n")
        if config["metrics"] is not None:
            say(f"metrics {node.metrics.serve(config['metrics']).url}\n")
        tell_systemd("READY=1")
        await report(node, config["status_s"], stopped)
        log.info("stopping")
        tell_systemd("STOPPING=1")
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, os._exit, 1)  # who asks twice is in a hurry
        overdue = threading.Timer(GRACE_S, os._exit, (1,))
        overdue.daemon = True
        overdue.start()
    overdue.cancel()
    log.info("stopped")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", metavar="CONFIG")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    try:
        config = read_config(options.config)
        libp2pgo.log.forward(config["log"])
        asyncio.run(serve(config))
    except (libp2pgo.ConfigError, ValueError) as error:
        print(f"{options.config}: {error}", file=sys.stderr)
        return 78  # EX_CONFIG: starting again does not help
    except (libp2pgo.Error, OSError) as error:
        print(f"server: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
