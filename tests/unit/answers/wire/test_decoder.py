"""Every decoder of answers: any split gives the same events, nothing grows without bound, nonsense is refused."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from extproc.answers.wire.aws_event_stream import AwsEventStream
from extproc.answers.wire.bounded_buffer import HEAD_SIZE, MAX_WHOLE, TAIL_SIZE, BoundedBuffer
from extproc.answers.wire.decoder import ERROR, RAW_OUTPUT, Decoder, Event, MalformedAnswer
from extproc.answers.wire.documents import JsonDocument, RawOutput, SniffingDecoder
from extproc.answers.wire.grpc_messages import GrpcMessages
from extproc.answers.wire.json_array import JsonArrayElements
from extproc.answers.wire.ndjson import JsonLines
from extproc.answers.wire.nested_streams import Base64Payloads, RawPayloads
from extproc.answers.wire.response_coding import MAX_UNPACKED, decompressor


def read(make: Callable[[], Decoder], *pieces: bytes) -> list[Event]:
    decoder = make()
    found = [event for piece in pieces for event in decoder.feed(piece)]
    return [*found, *decoder.end()]


def bytewise(text: bytes) -> Sequence[bytes]:
    return [text[at : at + 1] for at in range(len(text))]


def grpc(message: bytes, compressed: int = 0) -> bytes:
    return bytes([compressed]) + struct.pack(">I", len(message)) + message


def aws(payload: bytes, headers: bytes = b"", **named: str) -> bytes:
    for name, value in named.items():
        key = b":" + name.replace("_", "-").encode()
        headers += bytes([len(key)]) + key + b"\7" + struct.pack(">H", len(value)) + value.encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack(">I", zlib.crc32(message))


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
    text += aws(b"2", exception_type="throttlingException", message_type="exception")
    text += aws(b"3", error_code="500", message_type="error")
    assert read(AwsEventStream, text) == [("chunk", b"1", True), (ERROR, b"2", True), (ERROR, b"3", True)]
    assert read(RawPayloads, text)[-2:] == [(ERROR, b"2", True), (ERROR, b"3", True)]
    assert read(Base64Payloads, text)[-2:] == [(ERROR, b"2", True), (ERROR, b"3", True)]


def test_bare_pieces_are_output() -> None:
    assert read(RawOutput, b"a", b"", b"b") == [(RAW_OUTPUT, b"", True)] * 2


def spoiled(message: bytes, at: int) -> bytes:
    return message[:at] + bytes([message[at] ^ 1]) + message[at + 1 :]


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


@given(st.lists(st.binary(max_size=3 * TAIL_SIZE), max_size=60))
def test_a_clip_keeps_the_whole_or_the_end(pieces: list[bytes]) -> None:
    clip, text = BoundedBuffer(), b"".join(pieces)
    for piece in pieces:
        clip.add(piece)
        assert len(clip._data) <= MAX_WHOLE
    assert clip.head == text[:8]
    whole = clip.whole
    assert whole == (len(text) <= MAX_WHOLE)
    assert clip.take() == (text if whole else text[-TAIL_SIZE:])
    clip.add(b"new")
    assert (clip.take(), clip.head) == (b"new", b"")


TEXT = json.dumps([{"n": n} for n in range(500)]).encode()
PACKED = {
    "gzip": gzip.compress(TEXT),
    "x-gzip": gzip.compress(TEXT),
    "deflate": zlib.compress(TEXT),
    "br": brotli.compress(TEXT),
    "zstd": zstandard.compress(TEXT),
    "": TEXT,
    "identity": TEXT,
}


@pytest.mark.parametrize("coding", PACKED)
@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_content_codings_are_undone_piece_by_piece(coding: str, step: int) -> None:
    unpack = decompressor(coding.upper() + " ")
    assert unpack is not None
    packed = PACKED[coding]
    assert b"".join(unpack(packed[at : at + step]) for at in range(0, len(packed), step)) == TEXT


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_coding_gives_what_is_flushed_at_once(coding: str) -> None:
    packer = {
        "gzip": lambda: zlib.compressobj(wbits=31),
        "deflate": zlib.compressobj,
        "br": brotli.Compressor,
        "zstd": lambda: zstandard.ZstdCompressor().compressobj(),
    }[coding]()
    pack = packer.process if coding == "br" else packer.compress
    flush = (
        (lambda: packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
        if coding == "zstd"
        else (lambda: packer.flush(zlib.Z_SYNC_FLUSH))
        if coding != "br"
        else packer.flush
    )
    unpack = decompressor(coding)
    assert unpack is not None
    for text in (b"data: one\n\n", b"data: two\n\n"):
        assert unpack(pack(text) + flush()) == text


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_broken_and_swollen_codings_are_refused(coding: str) -> None:
    pack = {"gzip": gzip.compress, "deflate": zlib.compress, "br": brotli.compress, "zstd": zstandard.compress}[coding]
    for text in (b"\x00\x01nonsense" * 9, pack(bytes(MAX_UNPACKED * 4))):
        unpack = decompressor(coding)
        assert unpack is not None
        with pytest.raises(MalformedAnswer):
            list(map(unpack, [text] * 9))  # some need more to be sure


def test_codings_that_are_not_known() -> None:
    assert decompressor("gzip, br") is None
    assert decompressor("new") is None
