"""What an answer may bring at once, and over all its pieces: each wire's bound, just within it and just beyond."""

from __future__ import annotations

import gzip
import json
import zlib
from random import Random

import brotli
import pytest
import zstandard

from extproc.answers.wire.decoder import MalformedAnswer
from extproc.answers.wire.response_coding import (
    FREE,
    FREE_IN_ALL,
    MAX_PIECE,
    MAX_UNPACKED,
    RATIO,
    decompressor,
    max_unpacked,
)


def test_what_a_piece_may_unpack_to() -> None:
    assert max_unpacked(10) == FREE + 10 * RATIO
    assert max_unpacked(1 << 20) == MAX_UNPACKED


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate"])
def test_what_unpacks_to_too_much_for_its_size(coding: str) -> None:
    pack = {"gzip": gzip.compress, "br": brotli.compress, "zstd": zstandard.compress, "deflate": zlib.compress}[coding]
    undo = decompressor(coding)
    assert undo is not None
    assert undo(pack(bytes(FREE // 2))) == bytes(FREE // 2)
    undo = decompressor(coding)
    assert undo is not None
    with pytest.raises(MalformedAnswer):
        undo(pack(bytes(4 * FREE)))
    undo = decompressor(coding)
    assert undo is not None
    with pytest.raises(MalformedAnswer):
        undo(bytes(MAX_PIECE + 1))


def test_what_all_pieces_may_unpack_to() -> None:
    undo, packer, given, sent = decompressor("gzip"), zlib.compressobj(wbits=31), 0, 0
    assert undo is not None
    while given <= FREE_IN_ALL + RATIO * sent - FREE:
        piece = packer.compress(bytes(FREE)) + packer.flush(zlib.Z_SYNC_FLUSH)
        sent += len(piece)
        given += len(undo(piece))
    assert given > FREE_IN_ALL - FREE
    with pytest.raises(MalformedAnswer):
        undo(packer.compress(bytes(FREE)) + packer.flush(zlib.Z_SYNC_FLUSH))


@pytest.mark.parametrize("together", [1, 4, 20])
def test_a_long_answer_of_tokens_is_unpacked_to_its_end(together: int) -> None:
    undo, packer, random = decompressor("gzip"), zlib.compressobj(wbits=31), Random(1)
    assert undo is not None
    words = ["".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=random.randint(2, 7))) for _ in range(2000)]
    size = 0
    for _ in range(20_000 // together):
        events = b"".join(TOKEN % random.choice(words).encode() for _ in range(together))
        size += len(undo(packer.compress(events) + packer.flush(zlib.Z_SYNC_FLUSH)))
    assert size > 3 * FREE_IN_ALL


def test_what_unpacks_to_too_many_pieces() -> None:
    undo = decompressor("gzip")
    assert undo is not None
    with pytest.raises(MalformedAnswer):
        undo(gzip.compress(b"[]," * (FREE // 3)))


def test_a_window_of_brotli() -> None:
    undo = decompressor("br")
    assert undo is not None
    with pytest.raises(MalformedAnswer):
        undo(brotli.compress(b"x" * 100, lgwin=24))


TOKEN = (
    b'data: {"id": "chatcmpl-0123456789abcdef0123456789abcdef", "object": "chat.completion.chunk", "created": 175,'
    b' "model": "m", "choices": [{"index": 0, "delta": {"content": " %b"}, "finish_reason": null}]}\n\n'
)
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
