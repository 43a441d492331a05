"""What an answer may bring at once, and over all its pieces: each wire's bound, just within it and just beyond."""

from __future__ import annotations

import gzip
import zlib
from zlib import crc32

import brotli
import pytest
import zstandard

from extproc.answers import answer_reader
from extproc.answers.wire.aws_event_stream import EventStream
from extproc.answers.wire.decoder import EVENTS, LINES, Allowance, Broken, Decoder
from extproc.answers.wire.grpc_messages import GrpcMessages
from extproc.answers.wire.json_array import JsonArrayElements
from extproc.answers.wire.lenient_json import NOTHING, loads
from extproc.answers.wire.ndjson import JsonLines
from extproc.answers.wire.nested_streams import Raw
from extproc.answers.wire.response_coding import FREE, MAX_PIECE, MAX_UNPACKED, RATIO, decompressor, room
from extproc.answers.wire.sse import Sse
from extproc.answers.wire.websocket import WebSocket
from extproc.bodies.content_coding import FREE_FRAGMENTS
from extproc.headers import Headers


def message(payload: bytes, headers: bytes = b"") -> bytes:
    prelude = (16 + len(headers) + len(payload)).to_bytes(4) + len(headers).to_bytes(4)
    whole = prelude + crc32(prelude).to_bytes(4) + headers + payload
    return whole + crc32(whole).to_bytes(4)


PACKED = gzip.compress(bytes(200_000))


@pytest.mark.parametrize(
    ("decoder", "unit", "most"),
    [
        (Sse(), b"\n", LINES),
        (Sse(), b"\r", LINES),
        (Sse(), b"data:{}\n\n", LINES // 2),
        (JsonLines(), b"\n", LINES),
        (JsonLines(), b"{}\n", LINES),
        (EventStream(), message(b""), 500),
        (GrpcMessages(), b"\0\0\0\0\0", 250),
        (WebSocket(), b"\x81\0", 500),
        (WebSocket(), b"\x89\0", 500),
        (Raw(), message(b":\n" * 100), LINES // 100),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "feed") else None,
)
def test_at_once(decoder: Decoder, unit: bytes, most: int) -> None:
    decoder.feed(unit * most)
    fresh = type(decoder)()
    with pytest.raises(Broken):
        fresh.feed(unit * (most + 1))


@pytest.mark.parametrize("unit", [b"[]", b'"",', b'"\\"",', b"]"])
def test_brackets_and_strings(unit: bytes) -> None:
    JsonArrayElements().feed(b"[" + unit * 900)
    with pytest.raises(Broken):
        JsonArrayElements().feed(b"[" + unit * 9000)


def test_headers_of_a_message() -> None:
    assert EventStream().feed(message(b"x", b"\0\0" * 8)) == [("", b"x", True)]
    with pytest.raises(Broken):
        EventStream().feed(message(b"x", b"\0\0" * 9))


def test_an_allowance_grows_with_what_comes_but_never_beyond_what_may_come_at_once() -> None:
    allowance = Allowance(10, 4)
    allowance.take(0, 10)
    allowance.take(40, 10)
    allowance.take(4000, 0)
    allowance.take(0, 10)
    with pytest.raises(Broken):
        allowance.take(3, 1)


@pytest.mark.parametrize(
    ("decoder", "piece"), [(Sse(), b"\n" * 50), (WebSocket(), b"\x89\0" * 50), (JsonArrayElements(), b"]" * 50)]
)
def test_small_pieces_without_end(decoder: Decoder, piece: bytes) -> None:
    def feed() -> None:
        for _ in range(500):
            decoder.feed(piece)

    with pytest.raises(Broken):
        feed()


def test_a_stream_of_the_smallest_events_that_servers_write_is_read() -> None:
    sse, event = Sse(), b'data: {"t":"a"}\n\n'
    for _ in range(500):
        assert len(sse.feed(event * 64)) == 64


def test_events_are_counted_by_the_bytes_on_the_wire() -> None:
    headers = Headers.of([("content-type", "application/x-ndjson"), ("content-encoding", "gzip")])
    found = answer_reader("ollama", "chat", headers)
    assert found is not None
    packer = zlib.compressobj(wbits=31)
    for _ in range(200):
        found.feed(packer.compress(b"{}\n" * 100) + packer.flush(zlib.Z_SYNC_FLUSH))
    assert found.broken
    plain = answer_reader("ollama", "chat", Headers.of([("content-type", "application/x-ndjson")]))
    assert plain is not None
    plain.feed(b"{}\n" * (EVENTS + 1))
    assert plain.broken


def test_room() -> None:
    assert room(FREE, 10) == FREE + 10 * RATIO
    assert room(10 * FREE, 10) == FREE + 10 * RATIO
    assert room(5, 1) == 5 + RATIO
    assert room(FREE, 1 << 20) == MAX_UNPACKED


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate"])
def test_what_unpacks_to_too_much_for_its_size(coding: str) -> None:
    pack = {"gzip": gzip.compress, "br": brotli.compress, "zstd": zstandard.compress, "deflate": zlib.compress}[coding]
    undo = decompressor(coding)
    assert undo is not None
    assert undo(pack(bytes(FREE // 2))) == bytes(FREE // 2)
    undo = decompressor(coding)
    assert undo is not None
    with pytest.raises(Broken):
        undo(pack(bytes(4 * FREE)))
    undo = decompressor(coding)
    assert undo is not None
    with pytest.raises(Broken):
        undo(bytes(MAX_PIECE + 1))


def test_what_unpacks_to_too_many_pieces() -> None:
    undo = decompressor("gzip")
    assert undo is not None
    with pytest.raises(Broken):
        undo(gzip.compress(b"[]," * (FREE // 3)))


def test_a_packed_message_after_another() -> None:
    frames = GrpcMessages("gzip")
    with pytest.raises(Broken):
        frames.feed((b"\1" + len(PACKED).to_bytes(4) + PACKED) * 20)


def test_a_window_of_brotli() -> None:
    undo = decompressor("br")
    assert undo is not None
    with pytest.raises(Broken):
        undo(brotli.compress(b"x" * 100, lgwin=24))


def test_a_document_of_more_pieces_than_are_built() -> None:
    assert loads(b"[" + b"1," * (FREE_FRAGMENTS - 2) + b"1]") is not NOTHING
    assert loads(b"[" + b"[]," * FREE_FRAGMENTS + b"1]") is NOTHING
