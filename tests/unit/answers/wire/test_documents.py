"""Content types lie: the first bytes tell what an answer is."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.answers import AnswerReader, answer_reader
from extproc.answers.wire.bounded_buffer import MAX_WHOLE
from extproc.answers.wire.decoder import RAW_OUTPUT
from extproc.answers.wire.documents import (
    MAX_FIRST_LINE,
    JsonDocument,
    ObjectOrLines,
    RawOutput,
    SniffingDecoder,
    UnreadBody,
)
from extproc.answers.wire.ndjson import JsonLines
from extproc.answers.wire.sse import SseEvents
from extproc.headers import Headers

USAGE = b'"usage":{"prompt_tokens":9,"completion_tokens":12}'
EVENTS = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\ndata: {"choices":[],%b}\n\ndata: [DONE]\n\n' % USAGE
DOCUMENT = b'{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}],%b}' % USAGE
PRETTY = json.dumps(json.loads(DOCUMENT), indent=2).encode()
OLLAMA = (
    b'{"message":{"content":"x"},"done":false}\n'
    b'{"message":{"content":""},"done":true,"prompt_eval_count":9,"eval_count":12}\n'
)

STREAMS, JSON, NDJSON = "text/event-stream", "application/json", "application/x-ndjson"
KINDS = (STREAMS, JSON, NDJSON, "", "text/plain; charset=utf-8", "application/octet-stream", "text/html")


def read(kind: str, *pieces: bytes, api: str = "openai", operation: str = "chat.completions") -> AnswerReader:
    found = answer_reader(api, operation, Headers.of([("content-type", kind)] if kind else []))
    assert found is not None
    for piece in pieces:
        found.feed(piece)
    found.end()
    assert not found.malformed
    return found


def bytewise(text: bytes) -> list[bytes]:
    return [text[at : at + 1] for at in range(len(text))]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "before", [b"", b": keep-alive\n\n", b"\n", b"\xef\xbb\xbf", b"event: x\n", b"retry: 5\n", b"id: 1\n"]
)
def test_events_are_events_under_any_type(kind: str, before: bytes) -> None:
    for pieces in ([before + EVENTS], [before, EVENTS], bytewise(before + EVENTS)):
        found = read(kind, *pieces)
        assert (found.counts(), found.streamed, found.has_end_mark, found.state.output_events) == (
            (9, 12, None),
            True,
            True,
            1,
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", [DOCUMENT, DOCUMENT + b"\n", b" \n" + DOCUMENT, PRETTY, PRETTY + b"\r\n"])
def test_a_document_is_one_under_any_type(kind: str, text: bytes) -> None:
    for pieces in ([text], [text[:40], text[40:]], bytewise(text)):
        found = read(kind, *pieces)
        assert (found.counts(), found.state.failed) == ((9, 12, None), False)
        # Only where it is said to be lines can one line be a stream.
        assert found.streamed is (kind == NDJSON and b"\n" not in text.strip())


@pytest.mark.parametrize("kind", KINDS)
def test_lines_are_lines_under_any_type(kind: str) -> None:
    for pieces in ([OLLAMA], OLLAMA.splitlines(keepends=True), bytewise(OLLAMA), [OLLAMA.rstrip()]):
        found = read(kind, *pieces, api="ollama", operation="chat")
        assert (found.counts(), found.streamed, found.state.complete) == ((9, 12, None), True, True)


def test_the_first_of_several_lines_counts_when_it_comes() -> None:
    found = answer_reader("ollama", "chat", Headers.of([("content-type", JSON)]))
    assert found is not None
    first, last = OLLAMA.splitlines(keepends=True)
    assert found.feed(first)
    assert not found.feed(last)
    assert found.streamed


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_that_is_a_document_is_a_failure_under_any_type(kind: str) -> None:
    assert read(kind, b'{"error":{"message":"no"}}').state.failed


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_one_under_any_type(kind: str) -> None:
    text = b'[{"meta_info":{"prompt_tokens":4}},{"meta_info":{"prompt_tokens":5}}]'
    found = read(kind, *bytewise(text), api="generate", operation="generate")
    assert (found.counts(), found.streamed) == ((9, None, None), False)


@pytest.mark.parametrize("kind", ["", "text/html", "image/png", "text/plain"])
@pytest.mark.parametrize("text", [b"<html>", b"\x89PNG\r\n", b"dat", b"database: no\n", b"e", b"", b" ", b"no"])
def test_what_is_nothing_of_all_that_tells_nothing(kind: str, text: bytes) -> None:
    found = read(kind, *bytewise(text), b"data: [DONE]\n\n" if len(text) > 5 else b"")
    assert (found.streamed, found.has_end_mark, found.state.complete, found.counts()) == (
        False,
        False,
        False,
        (None, None, None),
    )


def test_what_cannot_be_read_is_not_unpacked() -> None:
    headers = Headers.of([("content-type", "text/html"), ("content-encoding", "identity")])
    found = answer_reader("openai", "chat.completions", headers)
    assert found is not None
    found.feed(b"<html>")
    assert found._coding is None


def test_a_first_line_that_is_long_is_a_document() -> None:
    text = b'{"a":"' + b"x" * MAX_FIRST_LINE + b'"}\n{"usage":{"prompt_tokens":9}}'
    for pieces in ([text], [text[at : at + 1000] for at in range(0, len(text), 1000)]):
        decoder = ObjectOrLines()
        assert [event for piece in pieces for event in decoder.feed(piece)] == []
        assert decoder.end() == [("", text, True)]
        assert not decoder.several


@pytest.mark.parametrize(("size", "several"), [(65_536, True), (65_537, False)])
def test_a_first_line_of_64_kib_is_a_line(size: int, several: bool) -> None:
    decoder = ObjectOrLines()
    line = b'{"a":"'.ljust(size - 2, b"x") + b'"}'
    assert len(decoder.feed(line + b"\n{}\n")) == (2 if several else 0)
    assert decoder.several is several


def test_a_long_document_need_not_end_with_its_last_byte() -> None:
    decoder = ObjectOrLines()
    assert decoder.feed(b'{"a":"'.ljust(MAX_FIRST_LINE, b"x") + b'"} ') == ()
    assert isinstance(decoder.chosen, JsonDocument)


def test_a_line_that_is_an_object_and_blanks_without_end_is_a_document() -> None:
    decoder = ObjectOrLines()
    for piece in (b'{"a":1}'.ljust(MAX_FIRST_LINE), b" " * 100):
        assert decoder.feed(piece) == ()
    assert isinstance(decoder.chosen, JsonDocument)


def test_the_first_line_ends_with_a_piece_of_its_own() -> None:
    decoder = ObjectOrLines()
    line = b'{"a":"'.ljust(MAX_FIRST_LINE - 2, b"x") + b'"}'
    assert (decoder.feed(line), decoder.chosen) == ((), None)
    assert decoder.feed(b"\n") == [("", line, True)]
    assert (decoder.chosen, decoder.several) == (None, False), "it can still be a document, with blanks behind it"
    assert decoder.feed(b"{}\n") == [("", b"{}", True)]
    assert (type(decoder.chosen), decoder.several) == (JsonLines, True)


def test_an_object_without_a_line_end_is_whole() -> None:
    decoder = ObjectOrLines()
    assert decoder.end() == []
    assert decoder.feed(b'{"a":1}') == ()
    assert decoder.end() == [("", b'{"a":1}', True)]


def test_of_a_long_document_4_kib_of_the_beginning_and_8_of_the_end_are_kept() -> None:
    decoder = JsonDocument()
    text = b"a" * 4096 + b"x" * MAX_WHOLE + b"z" * 8192
    assert decoder.feed(text) == ()
    assert decoder.end() == [("", b"a" * 4096 + b"z" * 8192, False)]
    assert decoder.end() == []


def test_pieces_of_sound_are_output_and_what_is_not_read_tells_nothing() -> None:
    assert [RawOutput().feed(b"a"), RawOutput().feed(b""), RawOutput().end()] == [[(RAW_OUTPUT, b"", True)], [], []]
    assert [UnreadBody().feed(b"a"), UnreadBody().end()] == [(), ()]


@pytest.mark.parametrize("declared", [SseEvents, JsonDocument])
@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        (b"{", ObjectOrLines),
        (b"[", JsonDocument),
        (b"\xef\xbb\xbf[", JsonDocument),
        (b"\xef\xbb", None),
        (b" \r\n\t", None),
        (b"data: ", SseEvents),
        (b":x", SseEvents),
    ],
)
def test_what_the_first_bytes_decide(text: bytes, chosen: type | None, declared: type) -> None:
    decoder = SniffingDecoder(ObjectOrLines, JsonDocument, declared)
    assert (list(decoder.feed(text)), type(decoder.chosen)) == ([], chosen or type(None))


@pytest.mark.parametrize(("declared", "chosen"), [(SseEvents, SseEvents), (UnreadBody, type(None))])
def test_the_beginning_of_a_field_decides_where_events_are_declared(declared: type, chosen: type) -> None:
    decoder = SniffingDecoder(declared=declared)
    decoder.feed(b"dat")
    assert type(decoder.chosen) is chosen
    decoder.feed(b"e: 1")
    assert type(decoder.chosen) is declared


@pytest.mark.parametrize("piece", [b"x", b'{"a":1}\n'])
def test_what_never_ends_is_bounded(piece: bytes) -> None:
    decoder = ObjectOrLines()
    decoder.feed(b"{")
    for _ in range(2 * MAX_WHOLE // len(piece)):
        decoder.feed(piece)
    assert isinstance(decoder.chosen, JsonDocument)
    assert len(decoder._begun) == 0
    assert len(decoder.chosen._text._data) <= MAX_WHOLE


TEXTS = st.sampled_from([EVENTS, DOCUMENT, PRETTY, OLLAMA, b'[{"a":1}]', b"<html>", b"\n\n{}\n{}\n", b"dat: a"])


@given(TEXTS, st.sampled_from(KINDS), st.lists(st.integers(0, 250)))
def test_any_split_tells_the_same(text: bytes, kind: str, cuts: list[int]) -> None:
    ends = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    whole, split = read(kind, text), read(kind, *(text[a:b] for a, b in pairwise(ends)))
    assert (split.counts(), split.streamed, split.has_end_mark) == (whole.counts(), whole.streamed, whole.has_end_mark)
    assert (split.state.output_events, split.state.complete) == (whole.state.output_events, whole.state.complete)
