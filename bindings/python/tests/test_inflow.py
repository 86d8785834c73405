"""What a stream has brought and nobody has read: plain rules, no network."""

from __future__ import annotations

import pytest

from libp2pgo._inflow import UNBOUNDED, Inflow, uvarint


def filled(*chunks: bytes, window: int = 100) -> Inflow:
    inflow = Inflow(window)
    for chunk in chunks:
        inflow.feed(chunk)
    return inflow


@pytest.mark.parametrize(
    ("limit", "taken", "left"),
    [(1, b"a", 5), (2, b"ab", 4), (3, b"abc", 3), (4, b"abcd", 2), (6, b"abcdef", 0), (99, b"abcdef", 0), (0, b"", 6)],
)
def test_take_gives_up_to_the_limit_over_chunks(limit: int, taken: bytes, left: int) -> None:
    inflow = filled(b"ab", b"cd", b"ef")
    assert inflow.take(limit) == taken
    assert inflow.size == left
    assert inflow.take(99) == b"abcdef"[len(taken) :]


def test_a_large_chunk_comes_as_it_is_unless_exactness_counts() -> None:
    large = b"x" * 20_000
    assert filled(large, b"y").take(30_000, exact=False) is large
    assert filled(large, b"y").take(30_000) == large + b"y"
    assert filled(b"small", b"y").take(30_000, exact=False) == b"smally"


def test_take_into_fills_and_continues_inside_a_chunk() -> None:
    inflow = filled(b"abc", b"def")
    out = bytearray(4)
    assert inflow.take_into(memoryview(out)) == 4
    assert out == b"abcd"
    assert inflow.take(9) == b"ef"


def test_find_sees_a_separator_over_a_seam_and_counts_from_the_head() -> None:
    inflow = filled(b"xa\r", b"\nb")
    assert inflow.take(1) == b"x"
    assert inflow.find(b"\r\n") == 3
    assert inflow.take(3) == b"a\r\n"
    assert inflow.find(b"\r\n") == -1


def test_peek_takes_nothing() -> None:
    inflow = filled(b"ab", b"cd")
    inflow.take(1)
    assert inflow.peek(2) == b"bc"
    assert inflow.size == 3


def test_credit_is_returned_by_halves_of_the_window_as_bytes_are_taken() -> None:
    inflow = filled(b"x" * 100)
    assert inflow.due() == 0
    inflow.take(49)
    assert inflow.due() == 0
    inflow.take(1)
    assert inflow.due() == 50
    assert inflow.due() == 0
    inflow.take(50)
    assert inflow.due() == 50


def test_credit_never_exceeds_what_arrived_and_never_stalls_a_large_want() -> None:
    """A reader of more than the window gets it, and the account is even at the end."""
    inflow = Inflow(100)
    inflow.wanted = 1000
    outstanding, arrived, returned = 100, 0, 0
    while arrived < 1000:
        assert outstanding > 0, "the peer is held back for ever"
        n = min(outstanding, 40)
        inflow.feed(b"y" * n)
        arrived += n
        outstanding -= n
        due = inflow.due()
        outstanding += due
        returned += due
        assert outstanding <= 100
    inflow.wanted = 0
    assert len(inflow.take(1000)) == 1000
    returned += inflow.due()
    assert returned > arrived - 50


def test_a_cancelled_large_want_keeps_the_bytes_and_the_account() -> None:
    inflow = Inflow(100)
    inflow.wanted = UNBOUNDED
    for _ in range(10):
        inflow.feed(b"z" * 60)
        inflow.due()
    inflow.wanted = 0
    assert inflow.due() == 0
    assert inflow.take(UNBOUNDED) == b"z" * 600


def test_feed_says_when_the_reader_has_enough() -> None:
    inflow = Inflow(100)
    inflow.wanted = 3
    assert not inflow.feed(b"ab")
    assert inflow.feed(b"c")


def test_the_first_end_counts() -> None:
    inflow = Inflow(100)
    inflow.end()
    inflow.end(ValueError())
    assert inflow.ended
    assert inflow.error is None


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"\x00", (0, 1)),
        (b"\x7fx", (127, 1)),
        (b"\x80\x01", (128, 2)),
        (b"\xff" * 9 + b"\x01", (2**64 - 1, 10)),
        (b"", None),
        (b"\x80", None),
    ],
)
def test_uvarint_reads(data: bytes, value: tuple[int, int] | None) -> None:
    assert uvarint(data) == value


@pytest.mark.parametrize("data", [b"\x80\x00", b"\xff" * 9 + b"\x02", b"\xff" * 10])
def test_uvarint_refuses(data: bytes) -> None:
    with pytest.raises(ValueError, match="varint"):
        uvarint(data)
