"""Every decoder of answers: any split gives the same events, nothing grows without bound, nonsense is refused."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.answers.wire.aws_event_stream import AwsEventStream
from extproc.answers.wire.bounded_buffer import HEAD_SIZE, MAX_WHOLE, TAIL_SIZE
from extproc.answers.wire.decoder import (
    BYTES_PER_EVENT,
    BYTES_PER_LINE,
    BYTES_PER_PACKED_EVENT,
    ERROR,
    EVENTS_PER_PIECE,
    MAX_EVENTS,
    MAX_LINES,
    RAW_OUTPUT,
    Allowance,
    Decoder,
    MalformedAnswer,
)
from extproc.answers.wire.documents import JsonDocument, RawOutput, SniffingDecoder
from extproc.answers.wire.grpc_messages import GrpcMessages
from extproc.answers.wire.json_array import JsonArrayElements
from extproc.answers.wire.ndjson import JsonLines
from extproc.answers.wire.nested_streams import Base64Payloads, RawPayloads
from extproc.answers.wire.sse import SseEvents
from extproc.answers.wire.websocket import WebSocketMessages
from tests.unit.answers.wire.framing import aws, bytewise, grpc, read, spoiled

OTHER_HEADERS = b"".join(
    bytes([1]) + b"h" + bytes([kind]) + value
    for kind, value in [(0, b""), (1, b""), (2, b"1"), (3, b"12"), (4, b"1234"), (5, b"8" * 8), (6, b"\0\2ab")]
) + bytes([1]) + b"u" + bytes([9]) + b"u" * 16  # fmt: skip

WHOLE = [
    (JsonLines, b'{"a":1}\n\n {"b":2} \r\n{"c":3}', [b'{"a":1}', b'{"b":2}', b'{"c":3}']),
    (JsonArrayElements, b'[{"a":"}]\\"{"}\n,\r\n{"b":[{}]},[1]]', [b'{"a":"}]\\"{"}', b'{"b":[{}]}', b"[1]"]),
    (JsonArrayElements, b'[{"a":"\\\\"},{"b":"\\\\\\""}]', [b'{"a":"\\\\"}', b'{"b":"\\\\\\""}']),
    (JsonArrayElements, b"[]", []),
    (JsonArrayElements, b'[1,"2",null]', []),
    (JsonArrayElements, b'[{"a":1},{"b"', [b'{"a":1}']),
    (GrpcMessages, grpc(b"one") + grpc(b"") + grpc(b"two") + b"\0\0", [b"one", b"", b"two"]),
    (lambda: GrpcMessages("gzip"), grpc(gzip.compress(b"one"), 1) + grpc(b"two"), [b"one", b"two"]),
    (AwsEventStream, aws(b"one", OTHER_HEADERS) + aws(b"two") + aws(b"cut")[:-1], [b"one", b"two"]),
    (Base64Payloads, aws(b'{"bytes":"eyJhIjoxfQ==","p":"ab"}') + aws(b"{}") + aws(b"no"), [b'{"a":1}', b"", b""]),
    (RawPayloads, aws(b"data: o") + aws(b"ne\n") + aws(b"\n"), [b"one"]),
    (RawPayloads, aws(b' {"a":1}\n{"b"') + aws(b":2}"), [b'{"a":1}', b'{"b":2}']),
    (SniffingDecoder, b' \n[{"a":1}]', [b'{"a":1}']),
    (SniffingDecoder, b": hello\n\ndata: one\n\n", [b"one"]),
    (lambda: SniffingDecoder(JsonDocument), b'{"a":1}\n{', [b'{"a":1}\n{']),
    (JsonDocument, b'{"a":\n1}', [b'{"a":\n1}']),
    (JsonDocument, b"", []),
]


@pytest.mark.parametrize(("make", "text", "events"), WHOLE, ids=map(str, range(len(WHOLE))))
def test_any_split_gives_the_same_events(make: Callable[[], Decoder], text: bytes, events: list[bytes]) -> None:
    assert [data for _, data, whole in read(make, text) if whole] == events
    assert read(make, *bytewise(text)) == read(make, text)

    @given(st.lists(st.integers(0, len(text))))
    def split(cuts: list[int]) -> None:
        ends = sorted({0, *cuts, len(text)})
        assert read(make, *(text[a:b] for a, b in pairwise(ends))) == read(make, text)

    split()


def test_kinds_and_exceptions_of_event_streams() -> None:
    text = aws(b"1", event_type="chunk", message_type="event")
    text += aws(b"2", exception_type="internalServerException", message_type="exception")
    text += aws(b"3", error_code="500", message_type="error")
    assert read(AwsEventStream, text) == [("chunk", b"1", True), (ERROR, b"2", True), (ERROR, b"3", True)]
    assert read(RawPayloads, text)[-2:] == [(ERROR, b"2", True), (ERROR, b"3", True)]
    assert read(Base64Payloads, text)[-2:] == [(ERROR, b"2", True), (ERROR, b"3", True)]


def test_bare_pieces_are_output() -> None:
    assert read(RawOutput, b"a", b"", b"b") == [(RAW_OUTPUT, b"", True)] * 2


@pytest.mark.parametrize(
    ("make", "text"),
    [
        *((AwsEventStream, spoiled(aws(b"payload", event_type="chunk"), at)) for at in (0, 3, 9, 13, 30, 38)),
        (AwsEventStream, aws(b"", b"\x09abc")),
        (AwsEventStream, aws(b"", b"\1a\x07\xff\xff")),
        (AwsEventStream, aws(b"", b"\1a\x63")),
        (AwsEventStream, b"HTTP/1.1 200 OK"),
        (GrpcMessages, b"data: one\n\n"),
        (GrpcMessages, grpc(b"packed", 1)),
        (lambda: GrpcMessages("gzip"), grpc(b"no gzip", 1)),
        (lambda: GrpcMessages("gzip"), grpc(gzip.compress(bytes(MAX_WHOLE + 1)), 1)),
        (lambda: GrpcMessages("new"), grpc(b"packed", 1)),
    ],
)
def test_what_is_not_what_it_claims_to_be_is_refused(make: Callable[[], Decoder], text: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        read(make, text)


@given(st.binary(max_size=300))
def test_noise_ends_in_events_or_in_a_refusal(text: bytes) -> None:
    for make in (
        JsonLines,
        JsonArrayElements,
        GrpcMessages,
        AwsEventStream,
        RawPayloads,
        Base64Payloads,
        SniffingDecoder,
        JsonDocument,
        RawOutput,
    ):
        try:
            assert isinstance(read(make, text), list)
        except MalformedAnswer:
            assert make in (GrpcMessages, AwsEventStream, RawPayloads, Base64Payloads)


@pytest.mark.parametrize("step", [9_999, 1 << 30])
def test_of_what_is_too_long_the_ends_are_kept(step: int) -> None:
    long = b'{"a":"' + b"x" * MAX_WHOLE + b'","usage":{"prompt_tokens":1}}'

    def split(text: bytes) -> list[bytes]:
        return [text[at : at + step] for at in range(0, len(text), step)]

    for make, text in ((JsonLines, long + b"\n"), (JsonArrayElements, b"[" + long + b"]"), (JsonDocument, long)):
        ((_, data, whole),) = read(make, *split(text))
        assert data == (long[:HEAD_SIZE] if make is JsonDocument else b"") + long[-TAIL_SIZE:]
        assert not whole
    assert read(GrpcMessages, *split(grpc(long) + grpc(b"next"))) == [("", b"", False), ("", b"next", True)]
    assert read(AwsEventStream, *split(aws(long) + aws(b"next"))) == [("", b"", False), ("", b"next", True)]


@pytest.mark.parametrize(
    ("decoder", "unit", "most"),
    [
        (SseEvents(), b"\n", 2000),
        (SseEvents(), b"\r", MAX_LINES),
        (SseEvents(), b"data:{}\n\n", MAX_LINES // 2),
        (JsonLines(), b"\n", MAX_LINES),
        (JsonLines(), b"{}\n", MAX_LINES),
        (AwsEventStream(), aws(b""), 500),
        (GrpcMessages(), b"\0\0\0\0\0", 1000),
        (WebSocketMessages(), b"\x81\0", 500),
        (WebSocketMessages(), b"\x89\0", 500),
        (RawPayloads(), aws(b":\n" * 100), MAX_LINES // 100),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "feed") else None,
)
def test_at_once(decoder: Decoder, unit: bytes, most: int) -> None:
    decoder.feed(unit * most)
    fresh = type(decoder)()
    with pytest.raises(MalformedAnswer):
        fresh.feed(unit * (most + 1))


def test_an_allowance_grows_with_what_comes_but_never_beyond_what_may_come_at_once() -> None:
    allowance = Allowance(10, 4)
    allowance.take(0, 10)
    allowance.take(40, 10)
    allowance.take(4000, 0)
    allowance.take(0, 10)
    with pytest.raises(MalformedAnswer):
        allowance.take(3, 1)


@pytest.mark.parametrize(
    ("burst", "bytes_each", "at_once", "paid"),
    [
        (MAX_EVENTS, BYTES_PER_EVENT, 1000, 64),
        (MAX_EVENTS, BYTES_PER_PACKED_EVENT, 1000, 8),
        (MAX_LINES, BYTES_PER_LINE, 2000, 8),
    ],
)
def test_1000_events_or_2000_lines_at_once_and_one_for_64_or_8_bytes(
    burst: int, bytes_each: int, at_once: int, paid: int
) -> None:
    allowance = Allowance(burst, bytes_each)
    allowance.take(0, at_once)
    allowance.take(paid, 1)
    with pytest.raises(MalformedAnswer):
        allowance.take(paid - 1, 1)


def test_each_piece_pays_for_some_events_and_all_are_counted() -> None:
    allowance = Allowance(10, 4, EVENTS_PER_PIECE)
    allowance.take(0, 10)
    for _ in range(100):
        allowance.take(0, EVENTS_PER_PIECE)
    assert allowance.taken == 10 + 100 * EVENTS_PER_PIECE
    with pytest.raises(MalformedAnswer):
        allowance.take(11, EVENTS_PER_PIECE + 3)


@pytest.mark.parametrize(
    ("decoder", "piece"),
    [(SseEvents(), b"\n" * 50), (WebSocketMessages(), b"\x89\0" * 50), (JsonArrayElements(), b"]" * 50)],
)
def test_small_pieces_without_end(decoder: Decoder, piece: bytes) -> None:
    def feed() -> None:
        for _ in range(500):
            decoder.feed(piece)

    with pytest.raises(MalformedAnswer):
        feed()


def test_a_stream_of_the_smallest_events_that_servers_write_is_read() -> None:
    sse, event = SseEvents(), b'data: {"t":"a"}\n\n'
    for _ in range(500):
        assert len(sse.feed(event * 64)) == 64
