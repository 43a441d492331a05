"""gRPC messages: prefixes, compression, and what is refused."""

from __future__ import annotations

import gzip
import zlib

import brotli
import pytest
import zstandard

from extproc.answers.wire.bounded_buffer import MAX_WHOLE
from extproc.answers.wire.decoder import BYTES_PER_MESSAGE, EVENTS_PER_PIECE, MalformedAnswer
from extproc.answers.wire.grpc_messages import GrpcMessages
from tests.unit.answers.wire.framing import bytewise, grpc, read

PACKED = gzip.compress(bytes(200_000))


def test_a_packed_message_after_another() -> None:
    frames = GrpcMessages("gzip")
    with pytest.raises(MalformedAnswer):
        frames.feed((b"\1" + len(PACKED).to_bytes(4) + PACKED) * 20)


def test_messages_however_they_are_split() -> None:
    text = grpc(b"one") + grpc(b"") + grpc(b"two") + grpc(b"cut")[:-1]
    wanted = [("", b"one", True), ("", b"", True), ("", b"two", True)]
    assert read(GrpcMessages, text) == read(GrpcMessages, *bytewise(text)) == wanted


@pytest.mark.parametrize("size", [MAX_WHOLE, MAX_WHOLE + 1])
@pytest.mark.parametrize("step", [1000, 1 << 30])
def test_a_long_message_is_skipped(size: int, step: int) -> None:
    text = grpc(bytes(size)) + grpc(b"next")
    first, following = read(GrpcMessages, *(text[at : at + step] for at in range(0, len(text), step)))
    assert first == (("", bytes(size), True) if size <= MAX_WHOLE else ("", b"", False))
    assert following == ("", b"next", True)


@pytest.mark.parametrize(("coding", "known"), [("gzip", True), (" gzip ", True), ("", False), ("identity", False)])
def test_compressed_messages_need_a_coding(coding: str, known: bool) -> None:
    packed = grpc(gzip.compress(b"one"), 1)
    if known:
        assert GrpcMessages(coding).feed(packed) == [("", b"one", True)]
    else:
        with pytest.raises(MalformedAnswer):
            GrpcMessages(coding).feed(packed)
    assert GrpcMessages(coding).feed(grpc(b"plain")) == [("", b"plain", True)]


def test_flags_that_grpc_does_not_have() -> None:
    with pytest.raises(MalformedAnswer):
        GrpcMessages("gzip").feed(grpc(gzip.compress(b"one"), 2))
    with pytest.raises(MalformedAnswer):
        GrpcMessages("gzip").feed(grpc(gzip.compress(b"one"), 255))


def test_a_message_is_given_with_its_last_byte() -> None:
    decoder = GrpcMessages()
    assert decoder.feed(grpc(b"")) == [("", b"", True)]
    assert decoder.feed(grpc(b"one")[:-1]) == []
    assert decoder.feed(b"e" + grpc(b"two")[:4]) == [("", b"one", True)]
    assert decoder.feed(grpc(b"two")[4:]) == [("", b"two", True)]


def test_what_was_compressed_is_counted_without_its_compression() -> None:
    decoder = GrpcMessages("gzip")
    assert decoder.expanded == 0
    decoder.feed(grpc(gzip.compress(b"one"), 1) + grpc(b"plain") + grpc(gzip.compress(b"three"), 1))
    assert decoder.expanded == len(b"one" + b"three")
    decoder.feed(grpc(gzip.compress(b"four"), 1))
    assert decoder.expanded == len(b"one" + b"three" + b"four")


def test_compressed_messages_of_one_piece_share_what_they_may_unpack_to() -> None:
    size = 100_000
    one = grpc(gzip.compress(bytes(size)), 1)
    decoder = GrpcMessages("gzip")
    for _ in range(3):
        assert decoder.feed(one) == [("", bytes(size), True)]
    with pytest.raises(MalformedAnswer):
        decoder.feed(one * 2)


ONE = {
    "": b"x",
    "gzip": gzip.compress(b"x"),
    "x-gzip": gzip.compress(b"x"),
    "deflate": zlib.compress(b"x"),
    "gzip, gzip": gzip.compress(gzip.compress(b"x")),
    "zstd": zstandard.ZstdCompressor().compress(b"x"),
    "br": brotli.compress(b"x"),
}


@pytest.mark.parametrize(
    ("coding", "most"),
    [("", 1000), ("gzip", 500), ("x-gzip", 500), ("deflate", 500), ("gzip, gzip", 250), ("zstd", 125), ("br", 125)],
)
def test_messages_at_once(coding: str, most: int) -> None:
    one = grpc(ONE[coding], int(bool(coding)))
    assert GrpcMessages(coding).feed(one * most) == [("", b"x", True)] * most
    with pytest.raises(MalformedAnswer):
        GrpcMessages(coding).feed(one * (most + 1))


def test_messages_have_their_bytes() -> None:
    decoder, one = GrpcMessages("gzip"), grpc(gzip.compress(b"a token"), 1)
    assert len(one) >= 2 * BYTES_PER_MESSAGE
    for _ in range(100):
        assert len(decoder.feed(one * 400)) == 400
    decoder = GrpcMessages()
    for _ in range(100):
        assert len(decoder.feed(grpc(b"") * EVENTS_PER_PIECE)) == EVENTS_PER_PIECE
    with pytest.raises(MalformedAnswer):
        read(GrpcMessages, *[grpc(b"") * 100] * 100)


@pytest.mark.parametrize("behind", [0, 1, 2, 12])
def test_what_comes_after_a_long_message_is_read_from_its_first_byte(behind: int) -> None:
    text = grpc(bytes(MAX_WHOLE + 1)) + grpc(b"next") + grpc(b"last")
    cut = len(text) - len(grpc(b"next") + grpc(b"last")) + behind
    assert read(GrpcMessages, text[:cut], text[cut:]) == [("", b"", False), ("", b"next", True), ("", b"last", True)]
