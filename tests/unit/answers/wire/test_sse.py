"""Server-sent events: every form that the standard allows, however the bytes are split."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.answers.wire.bounded_buffer import HEAD_SIZE, MAX_WHOLE, TAIL_SIZE
from extproc.answers.wire.decoder import Event
from extproc.answers.wire.sse import SseEvents


def read(*pieces: bytes) -> list[Event]:
    decoder = SseEvents()
    found = [event for piece in pieces for event in decoder.feed(piece)]
    return [*found, *decoder.end()]


@pytest.mark.parametrize(
    ("text", "events"),
    [
        (b"data: one\n\n", [("", b"one")]),
        (b"data:one\n\ndata: two\n\n", [("", b"one"), ("", b"two")]),
        (b"data:  one\n\n", [("", b" one")]),
        (b"data: one\r\rdata: two\r\r", [("", b"one"), ("", b"two")]),
        (b"data: one\r\n\r\n", [("", b"one")]),
        (b"data: one\ndata: more\r\n\r", [("", b"one\nmore")]),
        (b"data: 1\ndata: 2\ndata: 3\n\n", [("", b"1\n2\n3")]),
        (b"event: ping\ndata: {}\n\n", [("ping", b"{}")]),
        (b"event:ping\ndata: {}\nevent: pong\n\n", [("pong", b"{}")]),
        (b"event: lost\n\ndata: {}\n\n", [("", b"{}")]),
        (b"\xef\xbb\xbfdata: one\n\n", [("", b"one")]),
        (b"data: \xef\xbb\xbfone\n\n", [("", b"\xef\xbb\xbfone")]),
        (b": comment\n\n:\n\ndata: one\n\n", [("", b"one")]),
        (b"id: 7\nretry: 10\ndata: one\nother: field\nfield\n\n", [("", b"one")]),
        (b"data\n\n", [("", b"")]),
        (b"data:\ndata\n\n", [("", b"\n")]),
        (b"database: no\nData: no\ndata : no\n\n", []),
        (b"data: one\n", [("", b"one")]),
        (b"data: one", [("", b"one")]),
        (b"event: \xff\ndata: one\n\n", [("�", b"one")]),
        (b'data: {"a":1}\ndata: {"b":2}\ndata: [DONE]\n', [("", b'{"a":1}'), ("", b'{"b":2}'), ("", b"[DONE]")]),
        (b'event: a\ndata: {}\nevent: b\ndata: {"b":2}\n\ndata: {}\n', [("a", b"{}"), ("b", b'{"b":2}'), ("", b"{}")]),
        (b'data: {"a":{}\ndata: }\n\n', [("", b'{"a":{}\n}')]),
        (b'data: [{"a":1}\ndata: ,{"b":2}]\n\n', [("", b'[{"a":1}\n,{"b":2}]')]),
        (b"data: one\r\n\ndata: two\n\n", [("", b"one"), ("", b"two")]),
        (b"data: one\r\tdata: no\r\r", [("", b"one")]),
        (b"data:\tone\n\n", [("", b"\tone")]),
        (b"event:\tping\ndata:\n\n", [("\tping", b"")]),
        (b"data: one\n\xef\xbb\xbfdata: no\n\n", [("", b"one")]),
        (b"\n\xef\xbb\xbfdata: no\n\n", []),
        (b'data: one\ndata: {"a":1}\n\n', [("", b'one\n{"a":1}')]),
        (b"data: {}\ndata: x\n\n", [("", b"{}\nx")]),
        (b'data: {"a":{}\ndata: ,"b":\ndata: {}}\n\n', [("", b'{"a":{}\n,"b":\n{}}')]),
        (b"event: b\ndata: {}\nevent: a\ndata: {}\n\n", [("b", b"{}"), ("a", b"{}")]),
        (b"event: a\ndata: {}\ndata: {}\n\n", [("a", b"{}"), ("", b"{}")]),
        (b"", []),
        (b"\n\r\n\r\n\n", []),
    ],
)
def test_forms(text: bytes, events: list[tuple[str, bytes]]) -> None:
    wanted = [(kind, data, True) for kind, data in events]
    assert read(text) == wanted
    assert read(*(text[at : at + 1] for at in range(len(text)))) == wanted


def test_the_next_event_without_a_blank_line_counts_at_once() -> None:
    decoder = SseEvents()
    assert decoder.feed(b'data: {"a":1}\n') == []
    assert [data for _, data, _ in decoder.feed(b'data: {"b":2}\n')] == [b'{"a":1}', b'{"b":2}']
    assert [data for _, data, _ in decoder.feed(b'data: {"c":3}\n')] == [b'{"c":3}']
    assert [data for _, data, _ in decoder.feed(b"data: [DONE]\n")] == [b"[DONE]"]
    assert decoder.end() == []


LINES = st.sampled_from(
    [b"data: {}", b"data:x", b"data", b"event: a", b": c", b"", b"id: 1", b"\xef\xbb\xbfdata: y", b"dat", b" data: z"]
)
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])


@given(st.lists(st.tuples(LINES, ENDS)), st.lists(st.integers(0, 80)))
def test_any_split_gives_the_same_events(lines: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    text = b"".join(line + end for line, end in lines)
    ends = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    assert read(*(text[a:b] for a, b in pairwise(ends))) == read(text)


@pytest.mark.parametrize("step", [10_000, MAX_WHOLE, 1 << 30])
def test_of_what_is_too_long_both_ends_are_kept(step: int) -> None:
    usage = b'"usage":{"prompt_tokens":1}}'
    text = b"event: image\ndata: {" + b"x" * MAX_WHOLE + usage + b"\n\ndata: next\n\n"
    (kind, data, whole), after = read(*(text[at : at + step] for at in range(0, len(text), step)))
    assert (kind, whole) == ("image", False)
    assert data == b"{" + b"x" * (HEAD_SIZE - len(b"data: {")) + b"x" * (TAIL_SIZE - len(usage)) + usage
    assert after == ("", b"next", True)


@pytest.mark.parametrize("step", [10_000, 1 << 30])
def test_a_comment_and_a_name_that_are_too_long_say_nothing(step: int) -> None:
    text = b": " + b"data: x" * MAX_WHOLE + b"\nevent: " + b"e" * MAX_WHOLE + b"\ndata: one\n\n"
    assert read(*(text[at : at + step] for at in range(0, len(text), step))) == [("", b"one", True)]


def test_many_lines_of_one_event_are_bounded() -> None:
    decoder = SseEvents()
    line = b"data: " + b"x" * 1000 + b"\n"
    for _ in range(2000):
        assert decoder.feed(line) == []
    assert sum(map(len, decoder._more)) <= MAX_WHOLE
    ((_, data, whole),) = decoder.feed(b"data: end\n\n")
    assert data.endswith(b"\nend")
    assert not whole


@pytest.mark.parametrize(("piece", "count"), [(b"xy", 140_000), (b"data: xy\n", 90_000)])
def test_small_pieces_take_no_more_memory_than_large_ones(piece: bytes, count: int) -> None:
    """So many that they come to more than an event may have."""
    decoder = SseEvents()
    tracemalloc.start()
    for _ in range(count):
        decoder.feed(bytes(bytearray(piece)))  # each a text of its own, as they come from the wire
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 3 * MAX_WHOLE


def test_a_line_that_never_ends_is_bounded() -> None:
    decoder = SseEvents()
    for _ in range(500):
        decoder.feed(b"x" * 10_000)
    assert len(decoder._line._data) <= MAX_WHOLE


LINE = b"data: " + b"x" * 23 + b"\n"
"""4096 of its kind take 256 KiB: 41 bytes each beside their own."""


@pytest.mark.parametrize(("more", "whole"), [(4096, True), (4097, False)])
def test_an_event_of_many_lines_is_kept_whole_up_to_256_kib(more: int, *, whole: bool) -> None:
    decoder = SseEvents()
    assert decoder.feed(b"data: first\n") == []
    for _ in range(more):
        decoder.feed(LINE)
    ((_, data, found),) = decoder.feed(b"\n")
    assert found is whole
    assert data.startswith(b"first") is whole


def test_behind_a_cut_as_many_lines_are_kept_again() -> None:
    decoder = SseEvents()
    for line in (b"data: first\n", *[LINE] * 4096, b"data: cut\n", *[LINE] * 4096, b"\n"):
        found = decoder.feed(line)
    ((_, data, whole),) = found
    assert (data.startswith(b"cut\nx"), data.count(b"\n"), whole) == (True, 4096, False)


@pytest.mark.parametrize("before", [[], [b"data: a\n", b"data: b\n", b"\n"], [b"data: first\n", *[LINE] * 4097]])
def test_one_byte_more_than_256_kib_is_cut(before: list[bytes]) -> None:
    decoder = SseEvents()
    for line in before:
        decoder.feed(line)
    for line in (b"data: kept\n", *[LINE] * 4095, b"data: y" + LINE[6:], b"\n"):
        found = decoder.feed(line)
    ((_, data, whole),) = found
    assert (data.startswith(b"y"), whole) == (True, False)


@pytest.mark.parametrize("before", [b"", b"data: before\n\n"])
@pytest.mark.parametrize("size", [262_144, 262_145])
def test_a_line_of_256_kib_is_kept_whole_in_any_piece(before: bytes, size: int) -> None:
    decoder = SseEvents()
    decoder.feed(before)
    line = b"data: ".ljust(size, b"x")
    kept = line[6:] if size == 262_144 else line[6:4096] + line[-8192:]
    assert decoder.feed(line + b"\n\n") == [("", kept, size == 262_144)]


@pytest.mark.parametrize("size", [100, MAX_WHOLE])
@pytest.mark.parametrize("before", [b"", b"\n"])
def test_a_byte_order_mark_is_one_at_the_beginning_only(before: bytes, size: int) -> None:
    found = read(before + b"\xef\xbb\xbfdata: " + b"x" * size + b"\n\ndata: next\n\n")
    assert [data[:3] for _, data, _ in found] == ([b"nex"] if before else [b"xxx", b"nex"])
    decoder = SseEvents()
    decoder.feed(b"data: one\n\n")
    assert decoder.feed(b"\xef\xbb\xbfdata: no\n\n") == []


@pytest.mark.parametrize(
    ("held", "event"),
    [
        (b"event: a\n", ("a", b"{}", True)),
        (b"data: x\n", ("", b"x\n{}", True)),
        (b"data: x", ("", b"xdata: {}", True)),
        (b"data\n", ("", b"\n{}", True)),
        (b": x\r", ("", b"{}", True)),
    ],
)
def test_a_piece_that_looks_like_one_event_belongs_to_what_came_before(held: bytes, event: Event) -> None:
    for before in ([], [b"data: before\n\n"]):
        decoder = SseEvents()
        for piece in (*before, held):
            decoder.feed(piece)
        assert decoder.feed(b"data: {}\n\n") == [event]


@pytest.mark.parametrize(
    ("pieces", "data"),
    [
        ([b"data: one\r", b"", b"\ndata: two\n\n"], b"one\ntwo"),
        ([b"data: one\r", b"data: two\n\n"], b"one\ntwo"),
        ([b"data: one\n", b"\n"], b"one"),
    ],
)
def test_a_line_feed_after_a_carriage_return_ends_no_other_line(pieces: list[bytes], data: bytes) -> None:
    assert read(*pieces) == [("", data, True)]


@pytest.mark.parametrize("ends", [b"\n:\n", b"\nx\n", b"\n\r", b"\r\n", b"\n", b"\r\n\n"])
def test_a_piece_that_is_nearly_one_event_is_read_line_by_line(ends: bytes) -> None:
    text = b"data: one" + ends
    decoder = SseEvents()
    decoder.feed(b"data: before\n\n")
    wanted = [("", b"one", True)] if ends in (b"\n\r", b"\r\n\n") else []
    assert decoder.feed(text) == wanted
    assert [*wanted, *decoder.feed(b"\ndata: two\n\n")] == [("", b"one", True), ("", b"two", True)]


@pytest.mark.parametrize("byte", [b"x", b"\t", b"\x0b"])
def test_a_byte_in_the_place_of_the_last_line_end_begins_a_line(byte: bytes) -> None:
    decoder = SseEvents()
    decoder.feed(b"data: before\n\n")
    assert decoder.feed(b"data: one\n" + byte) == []
    assert decoder.feed(b"\n\n") == [("", b"one", True)]


def test_one_event_in_each_piece() -> None:
    decoder = SseEvents()
    for text in (b"one", b"two", b"", b" three"):
        assert decoder.feed(b"data: " + text + b"\n\n") == [("", text, True)]


def test_lines_of_an_event_are_not_those_of_the_next() -> None:
    decoder = SseEvents()
    events = decoder.feed(b"data: a\ndata: b\n\ndata: c\n\ndata: d\ndata: e\n\n")
    assert [data for _, data, _ in events] == [b"a\nb", b"c", b"d\ne"]
