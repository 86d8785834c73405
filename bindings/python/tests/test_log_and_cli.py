"""The library's log in Python's, and the command line."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import libp2pgo
from helpers import NOBODY, child, finish, sync_node
from libp2pgo import __main__ as cli
from libp2pgo import log

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])}


def test_records_become_logging_records(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "libp2pgo")
    log.emit(4, "WARN\n2026-01-01T00:00:00Z\nswarm2\ndial failed\npeer=12D3\nreason=no = way")
    record = caplog.records[0]
    assert (record.name, record.levelno) == ("libp2pgo.swarm2", logging.WARNING)
    assert record.getMessage() == "dial failed peer=12D3 reason=no = way"
    assert record.fields == {"peer": "12D3", "reason": "no = way"}  # type: ignore[attr-defined]


def test_forward_and_stop(caplog: pytest.LogCaptureFixture) -> None:
    import time

    caplog.set_level(logging.DEBUG, "libp2pgo")
    log.forward("debug")
    try:
        with sync_node() as a:
            with pytest.raises(libp2pgo.DialError):
                a.connect(f"/ip4/127.0.0.1/tcp/1/p2p/{NOBODY}")
            end = time.monotonic() + 5
            while not any(r.name.startswith("libp2pgo.") for r in caplog.records) and time.monotonic() < end:
                time.sleep(0.01)
    finally:
        log.stop()
    assert any(r.name.startswith("libp2pgo.") for r in caplog.records)


def test_the_log_goes_to_a_descriptor_and_a_file(tmp_path: Path) -> None:
    """Both get every record; the file has them all when it is ended."""
    path = tmp_path / "node.log"
    reading, writing = os.pipe()
    log.to_fd(writing)
    os.close(writing)
    log.to_file(path, format="json", max_bytes=1 << 20, keep=0)
    log.set_level("debug", "swarm2")
    try:
        with sync_node() as a, pytest.raises(libp2pgo.DialError):
            a.connect(f"/ip4/127.0.0.1/tcp/1/p2p/{NOBODY}")
    finally:
        log.set_level(None)
        log.to_fd(None)
        log.to_file(None)
    with os.fdopen(reading) as pipe:
        lines = pipe.read().splitlines()
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines
    assert len(lines) == len(records)
    assert all(" debug swarm2 " in line for line in lines)
    assert {record["subsystem"] for record in records} == {"swarm2"}
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(libp2pgo.InvalidArgument):
        log.to_fd(987654)
    with pytest.raises(libp2pgo.SystemFailure, match="no_such"):
        log.to_file(tmp_path / "no_such" / "node.log")


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="loud"):
        log.forward("loud")


def test_logging_configuration_is_not_touched() -> None:
    logger = logging.getLogger("libp2pgo")
    assert logger.handlers == []
    assert logger.propagate
    assert logger.level == logging.NOTSET


FAILING = """
import asyncio
from helpers import node
import libp2pgo

async def main():
    async with node() as a, node() as b:
        def judge(message):
            raise ArithmeticError("in the validator")

        @a.handle("/stream/1")
        async def handle(stream):
            raise ArithmeticError("in the handler")

        @a.on_request("/request/1")
        async def answer(request):
            raise TimeoutError("in the answer")

        @a.on_request("/own/1")
        async def ask(request):
            raise libp2pgo.Timeout("in a call of the answer's own")

        await b.connect(a.addresses)
        try:
            async with b.open_stream(a.id, "/stream/1") as stream:
                await stream.read()
        except libp2pgo.StreamReset:
            pass
        for name in "/request/1", "/own/1":
            try:
                await b.request(a.id, name)
            except libp2pgo.RequestError:
                pass
        async with b.join("t") as there, a.join("t", validator=judge) as here, here.subscribe():
            await there.publish(b"x", min_peers=1)
            while not a.metrics.value("libp2pgo_pubsub_rejected_total"):
                await asyncio.sleep(0.01)

asyncio.run(main())
"""

FAILING_SYNC = """
from helpers import sync_node
import libp2pgo

with sync_node() as a, sync_node() as b:
    def fail(_):
        raise ArithmeticError("in the handler")

    a.handle("/stream/1", fail)
    a.on_request("/request/1", fail)
    b.connect(a.addresses)
    try:
        b.open_stream(a.id, "/stream/1").read()
    except libp2pgo.StreamReset:
        pass
    try:
        b.request(a.id, "/request/1")
    except libp2pgo.RequestError:
        pass
"""


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (FAILING, ["in the handler", "in the answer", "in a call of the answer's own", "in the validator"]),
        (FAILING_SYNC, ["in the handler", "in the handler"]),
    ],
    ids=["asyncio", "sync"],
)
def test_what_handlers_and_validators_fail_with_is_printed(code: str, words: list[str]) -> None:
    status, _, err = finish(child(code))
    assert status == 0, err
    assert re.findall(r"^\S*(?:Error|Timeout): (.*)$", err, re.MULTILINE) == words
    assert err.count("Traceback") == len(words)


QUIET = """
import threading
from helpers import sync_node
import libp2pgo

with sync_node() as a, sync_node() as b:
    begun, ended = threading.Semaphore(0), threading.Semaphore(0)

    def wait(stream):
        stream.write(b"begun")
        try:
            stream.read()
        finally:
            ended.release()

    def answer(request):
        begun.release()
        try:
            b.request(a.id, "/held/1")
        finally:
            ended.release()

    def hold(request):
        begun.release()
        held.wait()
        return b""

    held = threading.Event()
    a.handle("/wait/1", wait)
    a.on_request("/held/1", hold)
    b.handle("/wait/1", wait)
    b.on_request("/ask/1", answer)
    b.connect(a.addresses)
    there = b.open_stream(a.id, "/wait/1")
    there.readexactly(5)
    there.reset(7)                                # the peer gives up
    ended.acquire()
    here = a.open_stream(b.id, "/wait/1")
    here.readexactly(5)
    try:
        a.request(b.id, "/ask/1", timeout=0.2)    # the asker gives up
    except libp2pgo.Timeout:
        pass
    begun.acquire(), begun.acquire()
    b.close()                                     # while handlers wait
    ended.acquire(), ended.acquire()
    held.set()
for thread in threading.enumerate():
    if thread is not threading.current_thread():
        thread.join(5)
"""


def test_peers_that_give_up_and_nodes_that_end_print_nothing() -> None:
    status, out, err = finish(child(QUIET))
    assert (status, out, err) == (0, "", "")


def test_version_and_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["libp2pgo"] == libp2pgo.__version__
    assert cli.main(["doctor"]) == 0
    assert "go" in capsys.readouterr().out


def test_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(tmp_path / "key")
    assert cli.main(["key", "new", file, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert cli.main(["id", file, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == made["id"]
    assert cli.main(["key", "new", file]) == 1
    assert "key" in capsys.readouterr().err


def test_key_files_of_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> dict[str, str]:
        assert cli.main([*words, "--json"]) == 0
        result: dict[str, str] = json.loads(capsys.readouterr().out)
        return result

    pem, raw, kept = (str(tmp_path / name) for name in ("key.pem", "key.raw", "key"))
    made = run("key", "new", pem, "--type", "secp256k1", "--format", "pem")
    shown = run("key", "show", pem)
    assert (shown["id"], shown["type"]) == (made["id"], "secp256k1")
    assert shown["cid"].startswith("bafz")
    run("key", "convert", pem, raw, "--format", "raw")
    assert run("key", "convert", raw, kept, "--raw", "secp256k1")["id"] == made["id"]
    assert libp2pgo.PrivateKey.load(kept).peer_id == made["id"]
    assert cli.main(["key", "convert", pem, kept]) == 1
    capsys.readouterr()


def test_network_key_resolve_and_cid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    swarm = str(tmp_path / "swarm.key")
    assert cli.main(["network-key", swarm]) == 0
    first = capsys.readouterr().out
    assert cli.main(["network-key", swarm]) == 0
    assert capsys.readouterr().out == first
    assert cli.main(["resolve", "/ip4/127.0.0.1/tcp/1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"addresses": ["/ip4/127.0.0.1/tcp/1"]}
    file = tmp_path / "data"
    file.write_bytes(b"hello world")
    assert cli.main(["cid", str(file), "--json"]) == 0
    cid = json.loads(capsys.readouterr().out)["cid"]
    assert cli.main(["cid", str(file), "--verify", cid]) == 0
    assert cli.main(["cid", str(file), "--verify", libp2pgo.CID.make(b"other")]) == 1
    assert "does not name" in capsys.readouterr().err


def test_ping(capsys: pytest.CaptureFixture[str]) -> None:
    with sync_node() as n:
        assert cli.main(["ping", n.addresses[0], "--count", "2", "--json"]) == 0
        result = json.loads(capsys.readouterr().out)
        assert result["peer"] == n.id
        assert len(result["rtt_ms"]) == 2
    assert cli.main(["ping", f"/ip4/127.0.0.1/tcp/1/p2p/{NOBODY}", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"] == "P2P_E_DIAL"


def test_json_stands_before_or_behind_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(tmp_path / "key")
    for words in (["key", "new", file, "--json"], ["--json", "id", file], ["id", "--json", file], ["--json", "key", "show", file]):
        assert cli.main(words) == 0
        assert "id" in json.loads(capsys.readouterr().out)
    assert cli.main(["id", file]) == 0
    assert capsys.readouterr().out.startswith("id: 12D3KooW")
    assert cli.main(["--json", "id", file + ".not"]) == 1
    assert "error" in json.loads(capsys.readouterr().out)


def test_help_is_plain_text() -> None:
    for words in (["--help"], ["key", "--help"], ["ping", "--help"]):
        done = subprocess.run([sys.executable, "-m", "libp2pgo", *words], capture_output=True, text=True, env=ENVIRONMENT)
        assert done.returncode == 0
        assert "`" not in done.stdout


def test_wrong_use_is_two() -> None:
    done = subprocess.run([sys.executable, "-m", "libp2pgo", "nonsense"], capture_output=True, env=ENVIRONMENT)
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ping", "/x", "--count", "-1"], "--count: '-1' is not a number of 1 or more"),
        (["ping", "/x", "--count", "many"], "--count: 'many'"),
        (["ping", "/x", "--timeout", "inf"], "--timeout: 'inf' is not a number of seconds"),
        (["resolve", "/x", "--timeout", "0"], "--timeout: '0'"),
        (["explain", "/x", "--attempt", "nan"], "--attempt: 'nan'"),
        (["explain", "/x", "--attempt", "1e308"], "--attempt: '1e308'"),
        (["explain", "/x", "--attempt", "soon"], "--attempt: 'soon'"),
    ],
)
def test_a_number_that_makes_no_sense_is_wrong_use(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("words", [["doctor"], ["doctor", "--json"], ["cid", "/no/such/file", "--json"]])
def test_a_reader_that_left_is_no_accident(words: list[str]) -> None:
    """As in ``libp2pgo doctor | true``."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb", buffering=0) as out:
        done = subprocess.run([sys.executable, "-m", "libp2pgo", *words], stdout=out, stderr=subprocess.PIPE, env=ENVIRONMENT)
    assert (done.returncode, done.stderr) == (1, b"")
