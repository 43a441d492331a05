"""Answers on a connection that is kept: as a careful reader reads them, however they are cut."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.fetch import kept_answers
from extproc.fetch.answer_reader import FREE_PIECES, MAX_HEAD, MIN_PIECE, AnswerReader, BadAnswerError
from extproc.fetch.kept_answers import KeptAnswers
from extproc.fetch.steps import Answer
from extproc.fetch.url import Url

URL = Url("h", 80, "/metrics", authority="h:80")
MAX_BODY = 4096
PLAIN = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc"
ONE_CHUNK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"


def read(reader: KeptAnswers, pieces: Sequence[bytes]) -> list[Answer]:
    return [answer for piece in pieces if (answer := reader.feed(piece)) is not None]


def test_the_request_asks_to_keep_the_connection() -> None:
    assert (
        KeptAnswers(URL, MAX_BODY).request
        == b"GET /metrics HTTP/1.1\r\nhost: h:80\r\naccept-encoding: identity\r\n\r\n"
    )


@pytest.mark.parametrize(
    "answer", [PLAIN, ONE_CHUNK, PLAIN.replace(b"\r\n\r\n", b"\r\nConnection: Keep-Alive\r\n\r\n")]
)
def test_plain_answers_need_no_other_reader(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = KeptAnswers(URL, MAX_BODY)
    monkeypatch.delattr(kept_answers, "AnswerReader")
    assert read(reader, [answer, answer, answer[:-2], answer[-2:-1], answer[-1:]]) == [Answer(200, b"abc")] * 3
    assert reader.reusable
    assert not reader.begun


@pytest.mark.parametrize(
    ("answer", "status", "body", "reusable"),
    [
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 1\r\n\r\nx", 404, b"x", True),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\n\r\n", 200, b"abc", True),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 200, b"", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc", 200, b"abc", False),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nabc", 200, b"abc", False),
        (PLAIN + b"HTTP", 200, b"abc", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 03\r\nx: \xff\r\n\r\nabc", 200, b"abc", True),
    ],
)
def test_other_answers(answer: bytes, status: int, body: bytes, reusable: bool) -> None:
    reader = KeptAnswers(URL, MAX_BODY)
    assert read(reader, [answer]) == [Answer(status, body)]
    assert reader.reusable is reusable


@pytest.mark.parametrize(
    ("pieces", "why"),
    [
        ([b""], "without an answer"),
        ([PLAIN[:-1], b""], "breaks off"),
        ([ONE_CHUNK[:-1], b""], "breaks off"),
        ([PLAIN.replace(b": 3", b": 4097")], "more than 4 KiB"),
        ([ONE_CHUNK.replace(b"\r\n3\r\n", b"\r\n1001\r\n"), b"x" * 4096], "more than 4 KiB"),
        ([PLAIN.replace(b": 3", b": -3")], "no HTTP"),
        ([PLAIN.replace(b": 3", b": 3\r\ncontent-length: 4")], "no HTTP"),
        ([ONE_CHUNK.replace(b"abc\r\n", b"abcde")], "no HTTP"),
        ([b"x" * (MAX_HEAD + 1)], "more than 16 KiB"),
        ([b"SSH-2.0-x\r\n\r\n"], "no HTTP/1.1, but b'SSH-2.0-x"),
    ],
)
def test_what_is_no_answer(pieces: list[bytes], why: str) -> None:
    with pytest.raises(BadAnswerError, match=why):
        read(KeptAnswers(URL, MAX_BODY), pieces)


def test_a_trickle_is_bounded() -> None:
    reader = KeptAnswers(URL, MAX_BODY)
    reader.feed(PLAIN.replace(b": 3", b": 4096"))
    with pytest.raises(BadAnswerError, match="pieces"):
        read(reader, [b"x"] * 2 * (MAX_BODY // MIN_PIECE + FREE_PIECES))


LINES = st.sampled_from(
    [
        *(b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"HTTP/1.1 204 x", b"HTTP/1.1 100 x", b"HTTP/1.1 200"),
        *(
            b"content-length: 3",
            b"Content-Length:3 ",
            b"content-length: 0",
            b"content-length: 9999",
            b"content-length: +3",
        ),
        *(b"transfer-encoding: chunked", b"transfer-encoding: gzip", b"connection: close", b"connection: keep-alive"),
        *(b"", b"", b"3", b"0", b"abc", b"a b: c", b"x: \x00", b"x: \xff", b"server: u", b"\n", b" y"),
    ]
)


@given(st.lists(LINES, max_size=12), st.booleans(), st.lists(st.integers(0, 200), max_size=5))
def test_it_reads_as_the_careful_reader_reads(lines: list[bytes], plain: bool, cuts: list[int]) -> None:
    """Whatever comes, in whatever pieces: the same status and body, or an error too."""
    data = (b"HTTP/1.1 200 OK\r\n" if plain else b"") + b"\r\n".join(lines)
    pieces = [data[a:b] for a, b in pairwise(sorted({0, len(data), *(cut for cut in cuts if cut < len(data))}))]

    def careful() -> tuple[int, bytes, bool] | None:
        reader, body = AnswerReader(URL, MAX_BODY, keep=True), b""
        try:
            for piece in [*pieces, b""]:
                body += reader.feed(piece)
                if reader.ended:
                    return reader.status, body, reader.reusable
        except BadAnswerError:
            pass
        return None

    def kept() -> tuple[int, bytes, bool] | None:
        reader = KeptAnswers(URL, MAX_BODY)
        try:
            for piece in [*pieces, b""]:
                if (answer := reader.feed(piece)) is not None:
                    return (*answer, reader.reusable)
        except BadAnswerError:
            pass
        return None

    assert kept() == careful()


def test_a_head_that_differs_from_the_last_one_is_read_anew() -> None:
    """Whatever of it is as it was: a longer one, another length, another framing."""
    longer = PLAIN.replace(b"\r\n\r\n", b"\r\nx-more: 1\r\n\r\n")
    other = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabcde"
    two_chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n"
    larger = ONE_CHUNK.replace(b"3\r\nabc", b"4\r\nabcd")
    said = [PLAIN, longer, PLAIN, other, ONE_CHUNK, larger, two_chunks, ONE_CHUNK, PLAIN, PLAIN]
    bodies = [b"abc", b"abc", b"abc", b"abcde", b"abc", b"abcd", b"ab", b"abc", b"abc", b"abc"]
    assert [answer.body for answer in read(KeptAnswers(URL, MAX_BODY), said)] == bodies
