"""JSON lines."""

from __future__ import annotations

import pytest

from extproc.answers.wire.bounded_buffer import MAX_WHOLE, TAIL_SIZE
from extproc.answers.wire.decoder import MAX_LINES, MalformedAnswer
from extproc.answers.wire.ndjson import JsonLines
from tests.unit.answers.wire.framing import bytewise, read


def test_lines_however_they_are_split() -> None:
    text = b'{"a":1}\n\n \t{"b":2} \r\n{"c":3}'
    wanted = [("", b'{"a":1}', True), ("", b'{"b":2}', True), ("", b'{"c":3}', True)]
    assert read(JsonLines, text) == read(JsonLines, *bytewise(text)) == wanted


def test_a_line_is_given_with_its_end() -> None:
    decoder = JsonLines()
    assert decoder.feed(b'{"a":1}') == []
    assert decoder.feed(b"\n{") == [("", b'{"a":1}', True)]
    assert decoder.end() == [("", b"{", True)]
    assert decoder.end() == []


@pytest.mark.parametrize("size", [MAX_WHOLE, MAX_WHOLE + 1])
def test_of_a_long_line_the_end_is_kept(size: int) -> None:
    line = b"x" * (size - 1) + b"y"
    for pieces in ([line + b"\nz"], [line, b"\nz"]):
        first, last = read(JsonLines, *pieces)
        assert first == (("", line, True) if size <= MAX_WHOLE else ("", line[-TAIL_SIZE:], False))
        assert last == ("", b"z", True)


def test_lines_at_once_and_over_time() -> None:
    assert len(JsonLines().feed(b"1\n" * MAX_LINES)) == MAX_LINES
    with pytest.raises(MalformedAnswer):
        JsonLines().feed(b"1\n" * (MAX_LINES + 1))
    decoder = JsonLines()
    for _ in range(3):
        decoder.feed(b"1234567\n" * MAX_LINES)
    with pytest.raises(MalformedAnswer):
        decoder.feed(b"\n" * MAX_LINES + b"\n")


@pytest.mark.parametrize("piece", [b"\n", b"{}\n"])
def test_a_line_in_a_piece_of_its_own_counts_against_nothing(piece: bytes) -> None:
    """As servers write them: a blank line now and then keeps a connection open."""
    decoder = JsonLines()
    for _ in range(5 * MAX_LINES):
        assert len(decoder.feed(piece)) == (piece != b"\n")


@pytest.mark.parametrize("size", [262_143, 262_144, 262_145])
def test_a_line_of_256_kib_is_kept_whole(size: int) -> None:
    line = b"x" * size
    kept = line if size <= 262_144 else line[-8192:]
    assert JsonLines().feed(line + b"\n") == [("", kept, size <= 262_144)]
    assert JsonLines().feed(b"1\n" + line + b"\n") == [("", b"1", True), ("", kept, size <= 262_144)]


def test_what_is_behind_the_last_line_end_is_held() -> None:
    decoder = JsonLines()
    assert decoder.feed(b'{"a":1}\n{') == [("", b'{"a":1}', True)]
    assert decoder.feed(b"}\n") == [("", b"{}", True)]
    assert decoder.feed(b"") == []
    assert decoder.feed(b"7") == []
    assert decoder.end() == [("", b"7", True)]
