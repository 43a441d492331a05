"""Answers piece by piece: what they are, and where they go beyond bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.fetch.answer_reader import (
    FREE_PIECES,
    MAX_HEAD,
    MAX_INTERIM_ANSWERS,
    MIN_PIECE,
    AnswerReader,
    BadAnswerError,
)
from extproc.fetch.url import Url
from tests.hostile_server import CHUNKED, OK

MAX_BODY = 4096


def read(*pieces: bytes, max_body: int | None = MAX_BODY) -> tuple[int, bytes, bool]:
    reader = AnswerReader(Url("h", 80), max_body=max_body)
    body = b"".join(reader.feed(piece) for piece in pieces if not reader.ended)
    return reader.status, body, reader.ended


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


WHOLE = [
    (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", 200, b"abc"),
    (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", 404, b""),
    (b"HTTP/1.1 302 Found\r\nlocation: http://b/\r\ncontent-length: 0\r\n\r\n", 302, b""),
    (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    (CHUNKED + chunk(b"ab") + b"1;x=y\r\nc\r\n0\r\nt: 1\r\n\r\n", 200, b"abc"),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\na: b\r\n\r\n" + CHUNKED + b"0\r\n\r\n", 200, b""),
]


@pytest.mark.parametrize(("answer", "status", "body"), WHOLE)
def test_whole_answers_by_bytes_and_at_once(answer: bytes, status: int, body: bytes) -> None:
    assert read(answer) == (status, body, True)
    assert read(*(answer[n : n + 1] for n in range(len(answer))), max_body=None) == (status, body, True)


def test_the_end_of_the_connection_ends_what_has_no_length() -> None:
    assert read(b"HTTP/1.0 200 OK\r\n\r\nab", b"c") == (200, b"abc", False)
    assert read(b"HTTP/1.0 200 OK\r\n\r\nab", b"c", b"") == (200, b"abc", True)


@pytest.mark.parametrize(
    ("pieces", "why"),
    [
        *(
            ([CHUNKED + size + b"\r\nx\r\n"], "no HTTP")
            for size in (b"-1", b"+1", b"0x1", b"1_0", b"", b"g", b"1" * 21)
        ),
        ([CHUNKED + b"f" * 20 + b"\r\n", b"x" * MAX_BODY, b"x"], "more than 4 KiB"),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"], "no HTTP"),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: " + b"9" * 5000 + b"\r\n\r\n"], "no HTTP"),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (MAX_BODY + 1)], "more than 4 KiB"),
        ([OK, b"x" * MAX_BODY, b"x"], "more than 4 KiB"),
        ([b"HTTP/1.1 200 OK\r\n", *[b"a: b\r\n" * 1000] * 3], "more than 16 KiB"),
        ([b"HTTP/1.1 200 OK\r\na: ", *[b"b" * 6000] * 3], "more than 16 KiB"),
        ([b"x" * (MAX_HEAD + 1)], "more than 16 KiB"),
        ([CHUNKED, b"0\r\n", *[b"a: b\r\n" * 1000] * 3], "more than 16 KiB"),
        ([CHUNKED, b"1;" + b"x" * MAX_HEAD], "more than 16 KiB"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_INTERIM_ANSWERS + 1)], "interim"),
        ([b"HTTP/1.1 101 Switching Protocols\r\n\r\n"], "no HTTP"),
        ([CHUNKED + chunk(b"x") * (MAX_BODY // MIN_PIECE + FREE_PIECES + 1)], "too many pieces"),
        ([OK, *[b"x"] * (MAX_BODY // MIN_PIECE + FREE_PIECES + 1)], "too many pieces"),
        ([b"SSH-2.0-x\r\n\r\n"], "no HTTP/1.1, but b'SSH-2.0-x"),
        ([b"HTTP/1.1 200", b""], "breaks off"),
        ([b""], "without an answer"),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx", b""], "breaks off"),
        ([CHUNKED + b"5\r\nx", b""], "breaks off"),
    ],
)
def test_bounds(pieces: list[bytes], why: str) -> None:
    with pytest.raises(BadAnswerError, match=why):
        read(*pieces)


def test_what_is_just_within_bounds() -> None:
    body = b"x" * MAX_BODY
    assert read(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % MAX_BODY, body) == (200, body, True)
    chunks = [chunk(b"x" * MIN_PIECE)] * (MAX_BODY // MIN_PIECE)
    assert read(CHUNKED, *chunks, b"0\r\n\r\n") == (200, body, True)


@given(st.lists(st.binary(min_size=1, max_size=40)), st.sampled_from([b"", OK, CHUNKED]))
def test_whatever_comes_it_reads_or_raises_its_own_error(pieces: list[bytes], head: bytes) -> None:
    reader = AnswerReader(Url("h", 80), max_body=64)
    size = 0
    try:
        for piece in (head, *pieces, b""):
            if not reader.ended:
                size += len(reader.feed(piece))
    except BadAnswerError:
        pass
    assert size <= 64


def test_the_request() -> None:
    asked = AnswerReader(Url("h", 80, "/x?y", authority="h:1")).request
    assert asked == (b"GET /x?y HTTP/1.1\r\nhost: h:1\r\naccept-encoding: identity\r\nconnection: close\r\n\r\n")
