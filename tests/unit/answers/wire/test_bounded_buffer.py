"""A buffer keeps all of a text, or its two ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.answers.wire.bounded_buffer import HEAD_SIZE, MAX_WHOLE, TAIL_SIZE, BoundedBuffer


@given(st.lists(st.binary(max_size=3 * TAIL_SIZE), max_size=60))
def test_the_buffer_keeps_the_whole_or_the_end(pieces: list[bytes]) -> None:
    buffer, text = BoundedBuffer(), b"".join(pieces)
    for piece in pieces:
        buffer.add(piece)
        assert len(buffer._data) <= MAX_WHOLE
    assert buffer.head == text[:8]
    whole = buffer.whole
    assert whole == (len(text) <= MAX_WHOLE)
    assert buffer.take() == (text if whole else text[-TAIL_SIZE:])
    buffer.add(b"new")
    assert (buffer.take(), buffer.head) == (b"new", b"")


@pytest.mark.parametrize(("size", "whole"), [(MAX_WHOLE, True), (MAX_WHOLE + 1, False)])
def test_the_bound_is_exact(size: int, whole: bool) -> None:
    buffer = BoundedBuffer(2)
    buffer.add(b"ab" + bytes(size - 2))
    assert (buffer.whole, buffer.head, bool(buffer)) == (whole, b"ab", True)
    assert len(buffer.take()) == (size if whole else TAIL_SIZE)
    assert (buffer.whole, bool(buffer)) == (True, False)


def test_of_what_is_dropped_little_is_held() -> None:
    buffer = BoundedBuffer(0)
    buffer.add(bytes(MAX_WHOLE + 1))
    for _ in range(3):
        buffer.add(bytes(TAIL_SIZE))
        assert TAIL_SIZE <= len(buffer._data) <= 2 * TAIL_SIZE
    buffer.add(b"x")
    buffer.add(b"x" * 100)
    assert len(buffer._data) == TAIL_SIZE + 100, "to cut it with every small piece would copy all of it each time"
    buffer.add(b"")
    assert buffer.head == b""


def test_256_kib_are_kept_and_of_more_4_at_the_beginning_and_8_at_the_end() -> None:
    buffer = BoundedBuffer(HEAD_SIZE)
    buffer.add(b"x" * 262_144)
    assert buffer.whole
    buffer.add(b"y")
    assert (buffer.whole, buffer.head, buffer.take()) == (False, b"x" * 4096, b"x" * 8191 + b"y")
