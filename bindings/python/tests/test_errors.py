"""Exceptions: what they are, what they say, and that they survive pickling."""

from __future__ import annotations

import asyncio
import concurrent.futures
import pickle

import pytest

import libp2pgo
from libp2pgo import _abi, errors

CODES = {name: value for name, value in vars(_abi).items() if name.startswith("E_")}


@pytest.mark.parametrize("name", sorted(CODES))
def test_every_code_has_its_class(name: str) -> None:
    error = errors.from_code(CODES[name], "the words", 7)
    assert type(error) is not libp2pgo.Error
    assert error.code == CODES[name]
    assert error.code_name == f"P2P_{name}"
    assert error.detail == 7
    assert "the words" in str(error)


@pytest.mark.parametrize("name", sorted(CODES))
def test_every_error_survives_pickling(name: str) -> None:
    error = errors.from_code(CODES[name], "words", 3)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.code, again.detail) == (type(error), str(error), error.code, error.detail)


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (libp2pgo.DialError, ConnectionError),
        (libp2pgo.Timeout, TimeoutError),
        (libp2pgo.Timeout, asyncio.TimeoutError),
        (libp2pgo.StreamReset, ConnectionResetError),
        (libp2pgo.StreamClosed, EOFError),
        (libp2pgo.PeerNotFound, LookupError),
        (libp2pgo.ParseError, ValueError),
        (libp2pgo.ConfigError, ValueError),
        (libp2pgo.ForkedProcessError, RuntimeError),
        (libp2pgo.ListenError, OSError),
        (libp2pgo.PermissionDenied, PermissionError),
        (libp2pgo.LibraryError, ImportError),
    ],
)
def test_the_builtin_that_a_user_would_catch(cls: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(cls, builtin)
    assert issubclass(cls, libp2pgo.Error)


def test_concurrent_timeout_is_not_needed() -> None:
    """wait_for raises asyncio's; ours is caught by the same clause."""
    assert issubclass(libp2pgo.Timeout, asyncio.TimeoutError)
    assert concurrent.futures.TimeoutError is not None


def test_a_traceback_names_the_public_place() -> None:
    assert libp2pgo.DialError.__module__ == "libp2pgo"


def test_os_errors_show_their_words_only() -> None:
    assert str(errors.from_code(_abi.E_DIAL, "nobody there", 5)) == "nobody there"


def test_dial_attempts_are_read_from_the_words() -> None:
    words = "12D3Koo: none of 2 addresses answered: /ip4/10.0.0.7/tcp/4001 connect: refused; twice; /dns4/a.example/udp/1/quic-v1 late"
    error = errors.from_code(_abi.E_DIAL, words)
    assert error.attempts == (
        ("/ip4/10.0.0.7/tcp/4001", "connect: refused; twice"),
        ("/dns4/a.example/udp/1/quic-v1", "late"),
    )
    single = errors.from_code(_abi.E_DIAL, "12D3Koo: the only address did not answer: /ip4/10.0.0.7/tcp/4001 refused")
    assert [attempt.address for attempt in single.attempts] == ["/ip4/10.0.0.7/tcp/4001"]
    assert libp2pgo.Error("other").attempts == ()


def test_request_error_carries_number_and_words() -> None:
    error = libp2pgo.RequestError(404, "no such file")
    assert (error.reason, error.words, str(error)) == (404, "no such file", "no such file (404)")


def test_config_error_names_the_path() -> None:
    error = errors.from_code(_abi.E_CONFIG, "pubsub.d: 0 is less than 1")
    assert isinstance(error, libp2pgo.ConfigError)
    assert error.path == "pubsub.d"
