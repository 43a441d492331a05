"""What an answer may bring at once, and over all its pieces: each wire's bound, just within it and just beyond."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable
from random import Random

import brotli
import pytest
import zstandard

from extproc.answers.wire.answer_coding import (
    FREE,
    FREE_IN_ALL,
    MAX_PIECE,
    MAX_UNPACKED,
    RATIO,
    Decompressor,
    decompressor,
    max_unpacked,
)
from extproc.answers.wire.decoder import MalformedAnswer
from extproc.bodies.content_coding import FREE_DEFICIT
from tests.fuzz.slow_requests import meta_blocks, wasteful


def test_the_bounds() -> None:
    assert (MAX_PIECE, MAX_UNPACKED) == (1_048_576, 4_194_304)
    assert (FREE, RATIO, FREE_IN_ALL) == (131_072, 32, 1_048_576)


def undone(coding: str) -> Decompressor:
    found = decompressor(coding)
    assert found is not None
    return found


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


@pytest.mark.parametrize(("coding", "waste"), [("deflate", wasteful), ("br", meta_blocks)])
def test_what_is_blocks_and_no_data(coding: str, waste: Callable[[int], bytes]) -> None:
    """Beyond 9/10 of what has come, no more than 64 KiB may be lacking."""
    packed = (b"\x78\1" if coding == "deflate" else b"") + waste(1_000_000)
    undo, at = undone(coding), 0
    while at < FREE_DEFICIT:
        assert len(undo(packed[at : at + 4096])) < 4096 // 8
        at += 4096
    for lacking, rest in ((undo, packed[at : at + 16_384]), (undone(coding), packed)):
        with pytest.raises(MalformedAnswer):
            lacking(rest)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_data_that_cannot_be_compressed_is_unpacked_to_its_end(coding: str) -> None:
    pack = {"gzip": gzip.compress, "br": brotli.compress, "zstd": zstandard.compress, "deflate": zlib.compress}[coding]
    undo, text = undone(coding), Random(1).randbytes(500_000)
    packed = pack(text)
    assert b"".join(undo(packed[at : at + 1000]) for at in range(0, len(packed), 1000)) == text


@pytest.mark.parametrize("coding", ["gzip", "br"])
def test_room_is_kept_where_a_large_piece_is_read_in_parts(coding: str) -> None:
    text, pack = Random(1).randbytes(40_000) + bytes(FREE), {"gzip": gzip.compress, "br": brotli.compress}[coding]
    packed = pack(text)
    assert undone(coding)(packed) == text
    bomb = pack(Random(1).randbytes(16_384) + bytes(FREE + RATIO * 20_000))
    with pytest.raises(MalformedAnswer):
        undone(coding)(bomb)


def test_what_unpacks_to_too_many_pieces() -> None:
    undo = decompressor("gzip")
    assert undo is not None
    with pytest.raises(MalformedAnswer):
        undo(gzip.compress(b"[]," * (FREE // 3)))


@pytest.mark.parametrize(("window", "fits"), [(10, True), (16, True), (22, True), (23, False), (24, False)])
def test_a_window_of_brotli(window: int, *, fits: bool) -> None:
    undo, packed = undone("br"), brotli.compress(b"x" * 100, lgwin=window)
    assert undo(b"") == b""
    if fits:
        assert undo(packed) == b"x" * 100
    else:
        with pytest.raises(MalformedAnswer):
            undo(packed)


@pytest.mark.parametrize(("window", "fits"), [(0x60, True), (0x68, True), (0x69, False), (0x70, False)])
def test_a_window_of_zstd(window: int, *, fits: bool) -> None:
    """RFC 8878 §3.1.1.1.2: 4, 8, 9 and 16 MiB. The frame has one block, with one byte as it is."""
    undo, packed = undone("zstd"), bytes.fromhex("28b52ffd00") + bytes([window]) + b"\x09\0\0x"
    if fits:
        assert undo(packed) == b"x"
    else:
        with pytest.raises(MalformedAnswer):
            undo(packed)


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate"])
def test_windows_and_forms_of_deflate(coding: str) -> None:
    """A window has 32 KiB (RFC 1951 §2); the header of one form is not that of the other."""
    pack, other = (zlib.compress, gzip.compress) if coding == "deflate" else (gzip.compress, zlib.compress)
    text = Random(1).randbytes(30_000) * 2
    assert undone(coding)(pack(text)) == text
    for wrong in (other(b"one"), pack(b"one") + b"x", pack(b"one")[2:]):
        with pytest.raises(MalformedAnswer):
            undone(coding)(wrong)


def test_a_piece_of_1_mib() -> None:
    text = bytes(1_048_576)
    assert undone("")(text) == text
    for size in (1_048_577, 2_097_152):
        with pytest.raises(MalformedAnswer):
            undone("")(bytes(size))


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_a_piece_may_unpack_to_its_limit(coding: str) -> None:
    pack = {"gzip": gzip.compress, "br": brotli.compress, "zstd": zstandard.compress}[coding]
    size = FREE
    while size != (limit := max_unpacked(len(pack(bytes(size))))):
        size = limit
    assert len(undone(coding)(pack(bytes(size)))) == size
    with pytest.raises(MalformedAnswer):
        undone(coding)(pack(bytes(size + 1)))


@pytest.mark.parametrize(("more", "fits"), [(0, True), (1, False)])
@pytest.mark.parametrize("saved", [0, 500])
def test_all_pieces_may_unpack_to_a_limit(saved: int, more: int, *, fits: bool) -> None:
    """What pieces before have not used up (``saved``: their number) is not kept for those that follow."""
    undo, packer, left = undone("gzip"), zlib.compressobj(wbits=31), 1_048_576

    def packed(text: bytes) -> bytes:
        return packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH)

    for _ in range(saved):
        undo(packed(b"x"))
    while left > 65_536:
        piece = packed(bytes(65_536))
        left -= len(undo(piece)) - 32 * len(piece)
    size = left
    while True:
        trial = packer.copy()
        piece = trial.compress(bytes(size)) + trial.flush(zlib.Z_SYNC_FLUSH)
        if size >= left + 32 * len(piece) + more:
            break
        size += 1
    assert size == left + 32 * len(piece) + more
    if fits:
        assert undo(piece) == bytes(size)
    else:
        with pytest.raises(MalformedAnswer):
            undo(piece)


def test_what_is_unpacked_of_zstd_in_steps_is_summed() -> None:
    packer, parts = zstandard.ZstdCompressor().compressobj(), (bytes(100_000), Random(1).randbytes(3000))
    packed = [packer.compress(part) + packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) for part in parts]
    assert undone("zstd")(b"".join(packed)) == b"".join(parts)


def test_more_of_zstd_than_its_limit_is_not_unpacked() -> None:
    bomb, undo = zstandard.compress(bytes(64 << 20)), undone("zstd")
    tracemalloc.start()
    with pytest.raises(MalformedAnswer):
        undo(bomb)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 24 << 20


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
