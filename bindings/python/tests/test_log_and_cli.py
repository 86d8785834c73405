"""The library's log in Python's, and the command line."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

import libp2pgo
from helpers import NOBODY, sync_node
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
    assert [type(handler) for handler in logger.handlers] == [logging.NullHandler]
    assert logger.propagate
    assert logger.level == logging.NOTSET


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
