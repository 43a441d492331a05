"""Content codings undone: every one of them whole, stacked, broken, and as a bomb."""

from __future__ import annotations

import gzip
import time
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from extproc.bodies import content_coding
from extproc.bodies.content_coding import TooLarge, decoded
from extproc.errors import Unreadable

TEXT = b'{"model":"m","x":"' + bytes(range(32, 127)) * 40 + b'"}'
LIMIT = 1 << 20


def bare(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def streamed_zstd(data: bytes) -> bytes:
    """A frame that says nothing of its size."""
    packer = zstandard.ZstdCompressor(write_checksum=True, write_content_size=False).compressobj()
    return packer.compress(data) + packer.flush()


PACKED: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", bare),
    ("zstd", zstandard.compress),
    ("zstd", streamed_zstd),
    ("br", brotli.compress),
]
IDS = ["gzip", "x-gzip", "zlib", "bare deflate", "zstd", "zstd without size", "br"]
every = pytest.mark.parametrize(("name", "pack"), PACKED, ids=IDS)


def refused(body: bytes, codings: str, limit: int = LIMIT) -> str:
    with pytest.raises(Unreadable) as caught:
        decoded(body, codings, limit)
    return caught.value.reason


@every
@given(data=st.binary(max_size=300))
def test_there_and_back(name: str, pack: Callable[[bytes], bytes], data: bytes) -> None:
    assert decoded(pack(data), name, LIMIT) == data
    assert decoded(pack(data), f"identity, {name.upper()} ,", LIMIT) == data


@every
def test_the_limit_is_to_the_byte(name: str, pack: Callable[[bytes], bytes]) -> None:
    assert decoded(pack(TEXT), name, len(TEXT)) == TEXT
    with pytest.raises(TooLarge):
        decoded(pack(TEXT), name, len(TEXT) - 1)


@every
def test_cut_short_anywhere(name: str, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(TEXT[:300])
    for end in range(1, len(packed)):
        assert refused(packed[:end], name) == "content_encoding"


@every
@pytest.mark.parametrize("behind", [b"x", b"\0\0\0\0", b"rubbish of some length", b'{"model":"n"}'])
def test_followed_by_something_else(name: str, pack: Callable[[bytes], bytes], behind: bytes) -> None:
    assert refused(pack(TEXT) + behind, name) == "content_encoding"


@every
def test_not_of_the_coding_at_all(name: str, pack: Callable[[bytes], bytes]) -> None:
    assert refused(TEXT, name) == "content_encoding"


@pytest.mark.parametrize("name", sorted(content_coding.KNOWN))
@given(data=st.binary(max_size=60))
def test_any_bytes_are_unpacked_or_refused(name: str, data: bytes) -> None:
    with suppress(Unreadable, TooLarge):
        assert len(decoded(data, name, 1000)) <= 1000


@every
def test_nothing_stays_nothing(name: str, pack: Callable[[bytes], bytes]) -> None:
    assert decoded(b"", name, LIMIT) == b""
    assert decoded(pack(b""), name, LIMIT) == b""


def test_two_codings_are_undone_in_turn_and_three_are_too_many() -> None:
    assert decoded(brotli.compress(gzip.compress(TEXT)), "gzip, br", LIMIT) == TEXT
    assert decoded(gzip.compress(zstandard.compress(TEXT)), "zstd,gzip", LIMIT) == TEXT
    assert refused(gzip.compress(brotli.compress(TEXT)), "gzip, br") == "content_encoding"
    assert refused(gzip.compress(gzip.compress(gzip.compress(TEXT))), "gzip, gzip, gzip") == "content_encoding"


@pytest.mark.parametrize("name", ["compress", "lzma", "gzip;q=1", "snappy", "gzip br", "é"])
def test_an_unknown_coding(name: str) -> None:
    assert refused(TEXT, name) == "content_encoding"


def test_what_may_follow_itself() -> None:
    assert decoded(gzip.compress(TEXT[:9]) + gzip.compress(TEXT[9:]), "gzip", LIMIT) == TEXT
    skipped = b"\x50\x2a\x4d\x18\x03\0\0\0abc"
    frames = zstandard.compress(TEXT[:9]) + skipped + streamed_zstd(TEXT[9:]) + skipped
    assert decoded(frames, "zstd", LIMIT) == TEXT
    # To a server that stops at the first end there would be another body here than to one that goes on.
    assert refused(zlib.compress(TEXT) + zlib.compress(b" "), "deflate") == "content_encoding"
    assert refused(bare(TEXT) + bare(b" "), "deflate") == "content_encoding"
    assert refused(brotli.compress(TEXT) * 2, "br") == "content_encoding"


def test_a_window_beyond_what_the_coding_allows_on_the_web() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    assert refused(packer.compress(TEXT) + packer.flush(), "zstd") == "content_encoding"


def _gigabyte(name: str) -> bytes:
    """1 GiB of zeros."""
    block = bytes(1 << 20)
    packer: Any
    match name:
        case "gzip":
            packer = zlib.compressobj(1, wbits=31)
        case "deflate":
            packer = zlib.compressobj(1)
        case "zstd":
            packer = zstandard.ZstdCompressor().compressobj()
        case _:
            packer = brotli.Compressor(quality=1)
    compress = packer.process if name == "br" else packer.compress
    finish = packer.finish if name == "br" else packer.flush
    return b"".join([*(compress(block) for _ in range(1024)), finish()])


@pytest.mark.parametrize("name", ["gzip", "deflate", "zstd", "br"])
def test_a_bomb_is_stopped_in_time_and_within_its_bound(name: str) -> None:
    bomb, limit = _gigabyte(name), 8 << 20
    for body, codings in ((bomb, name), (gzip.compress(bomb, 1), f"{name}, gzip")):
        tracemalloc.start()
        started = time.process_time()
        with pytest.raises(TooLarge):
            decoded(body, codings, limit)
        took = time.process_time() - started
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 3 * limit + (2 << 20)
        assert took < 2  # 10 to 30 ms where nothing else runs


@pytest.mark.parametrize(
    ("name", "piece"),
    [
        ("gzip", gzip.compress(b"")),
        ("zstd", b"\x28\xb5\x2f\xfd\x00\x00\x01\x00\x00"),
        ("zstd", b"\x50\x2a\x4d\x18\0\0\0\0"),
    ],
    ids=["gzip members", "zstd frames", "zstd skippable"],
)
def test_a_great_many_empty_pieces_take_no_time(name: str, piece: bytes) -> None:
    body = piece * ((8 << 20) // len(piece))
    started = time.process_time()
    with pytest.raises(Unreadable):
        decoded(body, name, 8 << 20)
    assert time.process_time() - started < 2


def test_a_great_many_empty_zstd_blocks_take_no_time() -> None:
    body = b"\x28\xb5\x2f\xfd\x00\x00" + bytes(8 << 20) + b"\x01\0\0"
    started = time.process_time()
    with pytest.raises(Unreadable):
        decoded(body, "zstd", 8 << 20)
    assert time.process_time() - started < 2
