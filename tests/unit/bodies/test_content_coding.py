"""Content codings undone: every one of them whole, stacked, broken, and as a bomb."""

from __future__ import annotations

import base64
import gzip
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from random import Random
from types import SimpleNamespace
from typing import Any

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from extproc.bodies import content_coding
from extproc.bodies.content_coding import TooLarge, decode
from extproc.errors import Unreadable
from tests.unit.bodies.small_blocks import BLOCKS

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
        decode(body, codings, limit)
    return caught.value.reason


@every
@given(data=st.binary(max_size=300))
def test_there_and_back(name: str, pack: Callable[[bytes], bytes], data: bytes) -> None:
    assert decode(pack(data), name, LIMIT) == data
    assert decode(pack(data), f"identity, {name.upper()} ,", LIMIT) == data


@every
def test_the_limit_is_to_the_byte(name: str, pack: Callable[[bytes], bytes]) -> None:
    assert decode(pack(TEXT), name, len(TEXT)) == TEXT
    with pytest.raises(TooLarge):
        decode(pack(TEXT), name, len(TEXT) - 1)


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
        assert len(decode(data, name, 1000)) <= 1000


@every
def test_nothing_stays_nothing(name: str, pack: Callable[[bytes], bytes]) -> None:
    assert decode(b"", name, LIMIT) == b""
    assert decode(pack(b""), name, LIMIT) == b""


def test_two_codings_are_undone_in_turn_and_three_are_too_many() -> None:
    assert decode(brotli.compress(gzip.compress(TEXT)), "gzip, br", LIMIT) == TEXT
    assert decode(gzip.compress(zstandard.compress(TEXT)), "zstd,gzip", LIMIT) == TEXT
    assert refused(gzip.compress(brotli.compress(TEXT)), "gzip, br") == "content_encoding"
    assert refused(gzip.compress(gzip.compress(gzip.compress(TEXT))), "gzip, gzip, gzip") == "content_encoding"


@pytest.mark.parametrize("name", ["compress", "lzma", "gzip;q=1", "snappy", "gzip br", "é"])
def test_an_unknown_coding(name: str) -> None:
    assert refused(TEXT, name) == "content_encoding"


def test_what_may_follow_itself() -> None:
    assert decode(gzip.compress(TEXT[:9]) + gzip.compress(TEXT[9:]), "gzip", LIMIT) == TEXT
    skipped = b"\x50\x2a\x4d\x18\x03\0\0\0abc"
    frames = zstandard.compress(TEXT[:9]) + skipped + streamed_zstd(TEXT[9:]) + skipped
    assert decode(frames, "zstd", LIMIT) == TEXT
    # To a server that stops at the first end there would be another body here than to one that goes on.
    assert refused(zlib.compress(TEXT) + zlib.compress(b" "), "deflate") == "content_encoding"
    assert refused(bare(TEXT) + bare(b" "), "deflate") == "content_encoding"
    assert refused(brotli.compress(TEXT) * 2, "br") == "content_encoding"


def test_a_window_beyond_what_the_coding_allows_on_the_web() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    assert refused(packer.compress(TEXT) + packer.flush(), "zstd") == "content_encoding"


@pytest.mark.parametrize("window", range(10, 25))
def test_the_window_of_brotli_is_of_no_account(window: int) -> None:
    """Copies from as far back as can be, to as much as is allowed, which other decoders give too."""
    noise = Random(window).randbytes(content_coding.FREE_BYTES // 2)
    for data in (noise * 2, TEXT * 60, bytes(content_coding.FREE_BYTES)):
        packed = brotli.compress(data, lgwin=window)
        assert content_coding.brotli_window(packed) == (window if window > 17 else 0)
        assert decode(packed, "br", 8 << 20) == data


def test_a_body_of_few_bytes_fills_no_large_window(monkeypatch: pytest.MonkeyPatch) -> None:
    packed, given = brotli.compress(bytes(8 << 20), lgwin=24), []

    class Unpacker:
        def __init__(self) -> None:
            self._unpacker = brotli.Decompressor()

        def process(self, data: bytes, output_buffer_limit: int) -> bytes:
            given.append(bytes(data))
            return bytes(self._unpacker.process(data, output_buffer_limit=output_buffer_limit))

    monkeypatch.setattr(content_coding, "brotli", SimpleNamespace(Decompressor=Unpacker, error=brotli.error))
    with pytest.raises(TooLarge):
        decode(packed, "br", 8 << 20)
    assert [content_coding.brotli_window(piece) for piece in given] == [19]


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
def test_a_bomb_is_stopped_within_its_bound(name: str) -> None:
    bomb, limit = _gigabyte(name), 8 << 20
    for body, codings in ((bomb, name), (gzip.compress(bomb, 1), f"{name}, gzip")):
        tracemalloc.start()
        with pytest.raises(TooLarge):
            decode(body, codings, limit)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 3 * limit + (2 << 20)


@pytest.mark.parametrize(
    ("name", "piece"),
    [
        ("gzip", gzip.compress(b"")),
        ("zstd", b"\x28\xb5\x2f\xfd\x00\x00\x01\x00\x00"),
        ("zstd", b"\x50\x2a\x4d\x18\0\0\0\0"),
    ],
    ids=["gzip members", "zstd frames", "zstd skippable"],
)
def test_empty_pieces_are_few(name: str, piece: bytes) -> None:
    assert decode(piece * 99, name, LIMIT) == b""
    for size in (65_536, 1 << 20):
        with pytest.raises((Unreadable, TooLarge)):
            decode(piece * (size // len(piece)), name, 8 << 20)


def test_blocks_of_zstd_are_in_proportion_to_its_size() -> None:
    start, end = b"\x28\xb5\x2f\xfd\x00\x00", b"\x01\0\0"
    assert decode(start + b"\0\0\0" * 200 + end, "zstd", LIMIT) == b""
    with pytest.raises(TooLarge):
        decode(start + b"\0\0\0" * 300 + end, "zstd", LIMIT)


class Taken:
    """Stands in for a library whose unpackers it counts the bytes of."""

    def __init__(self, library: Any, *names: str) -> None:
        self.bytes = 0
        self.error = library.error
        for name in names:
            setattr(self, name, partial(self._unpacker, getattr(library, name)))

    def _unpacker(self, make: Callable[..., Any], *arguments: Any) -> Any:
        unpacker = make(*arguments)
        taken = self

        class Unpacker:
            def __getattr__(self, name: str) -> Any:
                return getattr(unpacker, name)

            def decompress(self, data: bytes, limit: int) -> bytes:
                taken.bytes += len(data)
                return bytes(unpacker.decompress(data, limit))

            def process(self, data: bytes, output_buffer_limit: int) -> bytes:
                taken.bytes += len(data)
                return bytes(unpacker.process(data, output_buffer_limit=output_buffer_limit))

        return Unpacker()


@pytest.mark.parametrize("size", [40_000, 65_536, 200_000, 1 << 20])
@pytest.mark.parametrize("blocks", BLOCKS)
def test_small_blocks_are_refused_after_few_of_them(blocks: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    coding, make = BLOCKS[blocks]
    packed, library = make(size - 100), {"deflate": "zlib", "br": "brotli"}[coding]
    unpacked = zlib.decompress(packed, -15) if coding == "deflate" else brotli.decompress(packed)
    assert unpacked[:1] in (b"", b"A")
    taken = Taken(getattr(content_coding, library), "decompressobj" if coding == "deflate" else "Decompressor")
    monkeypatch.setattr(content_coding, library, taken)
    if blocks == "fixed" and size < 2 * content_coding.FREE_DEFICIT:
        assert decode(packed, coding, 8 << 20) == unpacked  # without codes of their own they cost little
        return
    with pytest.raises(TooLarge):
        decode(packed, coding, 8 << 20)
    step = max(content_coding.SHORTEST_STEP, size // content_coding.RUNS)
    assert taken.bytes <= (8 * step if blocks != "fixed" else 3 * content_coding.FREE_DEFICIT)


@pytest.mark.parametrize("blocks", BLOCKS)
def test_small_blocks_pass_in_a_small_body(blocks: str) -> None:
    coding, make = BLOCKS[blocks]
    packed = make(content_coding.SMALL - 100)
    unpacked = zlib.decompress(packed, -15) if coding == "deflate" else brotli.decompress(packed)
    assert decode(packed, coding, LIMIT) == unpacked


def test_a_client_that_flushes_what_it_writes_is_understood() -> None:
    """Every flush ends a block (zlib's ``Z_SYNC_FLUSH``)."""
    text = base64.b64encode(Random(1).randbytes(1 << 20))
    packer = zlib.compressobj(6, wbits=31)
    pieces = [packer.compress(text[n : n + 1024]) + packer.flush(zlib.Z_SYNC_FLUSH) for n in range(0, len(text), 1024)]
    assert decode(b"".join(pieces) + packer.flush(), "gzip", 8 << 20) == text


@pytest.mark.parametrize("level", [0, 1, 6, 9])
@pytest.mark.parametrize("name", ["gzip", "deflate"])
def test_images_of_megabytes_pass(name: str, level: int) -> None:
    noise = Random(1).randbytes((3 << 20) - 10_000)
    for image in (noise, base64.b64encode(noise)[:4_190_000]):
        packer = zlib.compressobj(level, wbits=31 if name == "gzip" else 15)
        assert decode(packer.compress(image) + packer.flush(), name, 8 << 20) == image


def test_the_bound_on_the_wire() -> None:
    for name, bound in content_coding.MAX_PACKED.items():
        with pytest.raises(TooLarge):
            decode(bytes(bound + 1), name, 8 << 20)
        assert refused(bytes(bound), name, 8 << 20) == "content_encoding"
    noise = Random(1).randbytes(5 << 20)
    assert decode(zstandard.compress(noise), "zstd", 8 << 20) == noise


@every
def test_what_a_body_unpacks_to_is_in_proportion_to_its_size(name: str, pack: Callable[[bytes], bytes]) -> None:
    for size in (content_coding.FREE_BYTES, 8 << 20):
        packed = pack(bytes(size))
        if size <= content_coding.unpacked_limit(len(packed), 8 << 20):
            assert decode(packed, name, 8 << 20) == bytes(size)
        else:
            with pytest.raises(TooLarge):
                decode(packed, name, 8 << 20)
    for least in (0, content_coding.FREE_PACKED):
        assert content_coding.unpacked_limit(least, 8 << 20) == content_coding.FREE_BYTES
    more = content_coding.FREE_PACKED + 1
    assert content_coding.unpacked_limit(more, 8 << 20) == content_coding.FREE_BYTES + content_coding.MAX_RATIO
    assert content_coding.unpacked_limit(1 << 20, 8 << 20) == 8 << 20
    assert content_coding.unpacked_limit(0, 1000) == 1000


@every
@pytest.mark.parametrize("unit", [b"[],", b'{"":0},', b"\r\n"])
def test_so_are_the_pieces_of_it(name: str, pack: Callable[[bytes], bytes], unit: bytes) -> None:
    few = unit * (content_coding.FREE_FRAGMENTS // 4)
    assert decode(pack(few), name, LIMIT) == few
    with pytest.raises(TooLarge):
        decode(pack(unit * (content_coding.FREE_BYTES // len(unit))), name, LIMIT)


def test_the_list_of_codings_has_a_bound() -> None:
    assert decode(gzip.compress(TEXT), "gzip" + ",identity" * 20, LIMIT) == TEXT
    assert refused(gzip.compress(TEXT), "gzip" + "," * 300) == "content_encoding"


@pytest.mark.parametrize("size", [96, 258, 1805])
def test_what_was_seen_to_cost_most_for_its_size(size: int) -> None:
    """Zeros in brotli, gzip in gzip, and zstd in gzip: so few bytes held the engine for 67 to 5,350 ms."""
    block = bytes(8 << 20)
    body, names = {
        96: (brotli.compress(block), "br"),
        258: (gzip.compress(gzip.compress(block)), "gzip, gzip"),
        1805: (gzip.compress(zstandard.compress(block)), "zstd, gzip"),
    }[size]
    assert len(body) <= size
    with pytest.raises(TooLarge):
        decode(body, names, 24 << 20)
