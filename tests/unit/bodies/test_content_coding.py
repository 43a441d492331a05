"""Content codings undone: every one of them whole, stacked, broken, and as a bomb."""

from __future__ import annotations

import base64
import gzip
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import nullcontext, suppress
from random import Random

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from extproc.bodies import content_coding
from extproc.bodies.content_coding import TooLarge, decode
from extproc.errors import Unreadable
from tests.unit.bodies.packed import IDS, PACKED, Taken, bare, packed_zeros, stored, streamed_zstd
from tests.unit.bodies.small_blocks import BLOCKS, fixed_blocks

TEXT = b'{"model":"m","x":"' + bytes(range(32, 127)) * 40 + b'"}'
LIMIT = 1 << 20


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


def test_the_limit_where_brotli_keeps_more_back() -> None:
    """Its library gives no more than its buffer holds, 32,752 bytes at first."""
    for data in (bytes(300_000), bytes(300_000) + Random(1).randbytes(20_000)):
        with pytest.raises(TooLarge):
            decode(brotli.compress(data), "br", 32_751)


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


@every
def test_a_copy_from_as_far_back_as_can_be(name: str, pack: Callable[[bytes], bytes]) -> None:
    noise = Random(1).randbytes((32 << 10) - 300)
    assert decode(pack(noise * 2), name, LIMIT) == noise * 2


@every
def test_all_of_the_output_without_the_end(name: str, pack: Callable[[bytes], bytes]) -> None:
    """As a client that flushes and never finishes."""
    if name == "br":
        packer = brotli.Compressor()
        packed = packer.process(TEXT) + packer.flush()
    else:
        packed = pack(TEXT)[:-1]
    assert refused(packed, name, len(TEXT)) == "content_encoding"


def test_one_wrapping_is_not_another() -> None:
    for name, data in (("gzip", zlib.compress(TEXT)), ("deflate", gzip.compress(TEXT)), ("x-gzip", bare(TEXT))):
        assert refused(data, name) == "content_encoding"
    # Bare blocks of which a half of the wrapping's first two bytes might be (RFC 1950 §2.2): CM, and FCHECK.
    assert decode(b"\x08\5\0\xfa\xffhello\3\0", "deflate", LIMIT) == b"hello"
    assert decode(b"\x09\x15\0\xea\xff" + b"x" * 21, "deflate", LIMIT) == b"x" * 21
    for level in (0, 1, 6, 9):
        assert decode(zlib.compress(TEXT, level), "deflate", LIMIT) == TEXT


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
    frames = zstandard.compress(TEXT[:9]) + skipped(11) + streamed_zstd(TEXT[9:]) + skipped(11)
    assert decode(frames, "zstd", LIMIT) == TEXT
    # To a server that stops at the first end there would be another body here than to one that goes on.
    assert refused(zlib.compress(TEXT) + zlib.compress(b" "), "deflate") == "content_encoding"
    assert refused(bare(TEXT) + bare(b" "), "deflate") == "content_encoding"
    assert refused(brotli.compress(TEXT) * 2, "br") == "content_encoding"


def test_a_window_of_zstd_has_8_mebibytes_at_most() -> None:
    frame = b"\x28\xb5\x2f\xfd\0%b\x01\0\0"  # RFC 8878 §3.1.1.1.2: an exponent, and three bits of a mantissa
    assert decode(frame % b"\x68", "zstd", LIMIT) == b""
    assert refused(frame % b"\x69", "zstd") == "content_encoding"


def test_the_window_that_brotli_begins_with() -> None:
    """RFC 7932 §9.1: three bits after a set one; all of them zero stand for other sizes."""
    windows = {0x3: 18, 0x5: 19, 0x7: 20, 0x9: 21, 0xB: 22, 0xD: 23, 0xF: 24}
    for first in range(256):
        assert content_coding.brotli_window(bytes((first, ~first & 0xFF))) == windows.get(first & 0x0F, 0)


@pytest.mark.parametrize("window", range(10, 25))
def test_the_window_of_brotli_is_of_no_account(window: int) -> None:
    """Copies from as far back as can be, to as much as is allowed, which other decoders give too."""
    noise = Random(window).randbytes(229_376)
    for data in (noise * 2, TEXT * 60, bytes(458_752)):
        packed = brotli.compress(data, quality=9, lgwin=window)
        assert content_coding.brotli_window(packed) == (window if window > 17 else 0)
        assert decode(packed, "br", 8 << 20) == data


@pytest.mark.parametrize(
    ("window", "limit", "narrowed"),
    [
        (24, 8 << 20, 19),
        (24, (1 << 18) - 17, 18),
        (24, (1 << 18) - 16, 19),
        (24, 1000, 18),
        (18, 8 << 20, 18),
        (16, 1000, 0),
    ],
)
def test_a_body_of_few_bytes_fills_no_large_window(
    window: int, limit: int, narrowed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 2^n bytes a window gives 16 fewer (§9.1): the narrowest that has the limit and one more."""
    monkeypatch.setattr(content_coding, "brotli", taken := Taken(brotli, "Decompressor"))
    with pytest.raises(TooLarge):
        decode(brotli.compress(bytes(1 << 20), lgwin=window), "br", limit)
    assert [content_coding.brotli_window(piece) for piece in taken.given] == [narrowed]


@pytest.mark.parametrize("name", ["gzip", "deflate", "zstd", "br"])
def test_a_bomb_is_stopped_within_its_bound(name: str) -> None:
    bomb, limit = packed_zeros(name), 8 << 20
    for body, codings in ((bomb, name), (gzip.compress(bomb, 1), f"{name}, gzip")):
        tracemalloc.start()
        with pytest.raises(TooLarge):
            decode(body, codings, limit)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 3 * limit + (2 << 20)


def test_gzip_has_100_members_at_most() -> None:
    for piece in (gzip.compress(b""), gzip.compress(b"x", 0)):
        assert decode(piece * 100, "gzip", LIMIT) == gzip.decompress(piece) * 100
        assert refused(piece * 101, "gzip") == "content_encoding"


FRAME, EMPTY, LAST = b"\x28\xb5\x2f\xfd\0\0", b"\0\0\0", b"\x01\0\0"


def skipped(size: int) -> bytes:
    """A frame of so many bytes that is to be skipped (RFC 8878 §3.1.2)."""
    return b"\x50\x2a\x4d\x18" + (size - 8).to_bytes(4, "little") + bytes(size - 8)


@pytest.mark.parametrize(
    ("most", "more"),
    [
        (skipped(8) * 258, skipped(8) * 259),
        (FRAME + EMPTY * 254 + LAST, FRAME + EMPTY * 255 + LAST),
        (FRAME + EMPTY * 254 + LAST, FRAME + EMPTY * 254 + LAST + skipped(8)),
        ((FRAME + LAST) * 128, (FRAME + LAST) * 129),
        (skipped(8) * 259 + skipped(4096 - 2072), skipped(8) * 259 + skipped(4095 - 2072)),
    ],
    ids=["frames", "blocks", "blocks and a frame", "blocks in frames", "one more for each KiB"],
)
def test_frames_and_blocks_of_zstd_are_in_proportion_to_its_size(most: bytes, more: bytes) -> None:
    """256 of them, and one for each KiB."""
    assert decode(most, "zstd", LIMIT) == b""
    with pytest.raises(TooLarge):
        decode(more, "zstd", LIMIT)


def test_every_kind_of_block_and_header_of_zstd() -> None:
    """RFC 8878 §3.1.1: raw blocks, those of one byte repeated, and the longest header (18 bytes)."""
    repeated = (1000 << 3 | 1 << 1).to_bytes(3, "little") + b"x"
    raw = (3 << 3 | 1).to_bytes(3, "little") + b"abc"
    assert decode(FRAME + repeated + raw, "zstd", LIMIT) == b"x" * 1000 + b"abc"
    longest = b"\x28\xb5\x2f\xfd\xc3\0\0\0\0\0\3\0\0\0\0\0\0\0"
    assert decode(longest + raw, "zstd", LIMIT) == b"abc"
    assert decode(skipped(8 + (1 << 24)) + FRAME + raw, "zstd", 24 << 20) == b"abc"


@pytest.mark.parametrize("size", [40_000, 65_536, 200_000, 1 << 20])
@pytest.mark.parametrize("blocks", BLOCKS)
def test_small_blocks_are_refused_after_few_of_them(blocks: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    coding, make = BLOCKS[blocks]
    packed, library = make(size - 100), {"deflate": "zlib", "br": "brotli"}[coding]
    unpacked = zlib.decompress(packed, -15) if coding == "deflate" else brotli.decompress(packed)
    assert unpacked[:1] in (b"", b"A")
    taken = Taken(getattr(content_coding, library), "decompressobj" if coding == "deflate" else "Decompressor")
    monkeypatch.setattr(content_coding, library, taken)
    if blocks == "fixed" and size < 2 * 65_536:
        assert decode(packed, coding, 8 << 20) == unpacked  # without codes of their own they cost little
        return
    with pytest.raises(TooLarge):
        decode(packed, coding, 8 << 20)
    step = max(2048, size // 32)
    assert sum(taken.pieces) <= (8 * step if blocks != "fixed" else 3 * 65_536)


@pytest.mark.parametrize("blocks", BLOCKS)
def test_small_blocks_pass_in_a_small_body(blocks: str) -> None:
    coding, make = BLOCKS[blocks]
    packed = make(8192 - 100)
    unpacked = zlib.decompress(packed, -15) if coding == "deflate" else brotli.decompress(packed)
    assert decode(packed, coding, LIMIT) == unpacked


@pytest.mark.parametrize("coding", ["deflate", "br"])
@pytest.mark.parametrize(("size", "step"), [(8193, 2048), (65_536, 2048), (65_537, 2049), (320_001, 10_001)])
@pytest.mark.parametrize("place", [0, -1, 700, None])
def test_what_is_unpacked_in_small_pieces(
    coding: str, size: int, step: int, place: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each of 32 steps, 16 pieces of 4 bytes in a row, and what is before and behind them: that bounds the calls."""
    if place is not None:
        monkeypatch.setattr(content_coding, "hash", lambda _: place, raising=False)
    library = {"deflate": "zlib", "br": "brotli"}[coding]
    taken = Taken(getattr(content_coding, library), "decompressobj" if coding == "deflate" else "Decompressor")
    monkeypatch.setattr(content_coding, library, taken)
    packed = (bare if coding == "deflate" else brotli.compress)(Random(1).randbytes(size))[:size]
    assert refused(packed, coding, 8 << 20) == "content_encoding"
    pieces = taken.pieces
    for _ in range(size // step):
        one = [pieces.pop(0)]
        while sum(one) < step:
            one.append(pieces.pop(0))
        assert one[-17:] == [4] * 16 + [step - sum(one[:-17]) - 64]
        assert sum(one[:-17]) in (range(step - 64) if place is None else [place % (step - 64)])
        assert len(one) <= 18
    assert sum(pieces) == size % step


def test_small_bodies_are_unpacked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_coding, "zlib", taken := Taken(zlib, "decompressobj"))
    assert decode(zlib.compress(bytes(8181), 0), "deflate", LIMIT) == bytes(8181)
    assert taken.pieces == [8192]


@pytest.mark.parametrize(("silent", "passes"), [(38, True), (39, False)])
def test_pieces_that_give_nothing(silent: int, passes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """32 of them, and one for every 6 pieces: 38 in a row, which have 6 for themselves."""
    monkeypatch.setattr(content_coding, "hash", lambda _: 0, raising=False)
    body = b""
    for step in range(8):
        empty = min(16, silent - 16 * step) if 16 * step < silent else 0
        body += stored(b"") * (empty * 4 // 5)
        body += stored(b"x" * (2048 * (step + 1) - len(body) - 5))
    body += b"\3\0"
    with nullcontext() if passes else pytest.raises(TooLarge):
        assert decode(body, "deflate", LIMIT) == zlib.decompress(body, -15)


def test_what_a_body_unpacks_to_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    """9/10 of itself, less 64 KiB; to the byte, and where it gives as much as is allowed."""
    monkeypatch.setattr(content_coding, "hash", lambda _: 0, raising=False)
    missing: list[int] = []
    for more in range(70, 90):
        body = fixed_blocks(143_856)[:-2] + stored(b"x" * more) + b"\3\0"
        output = zlib.decompress(body, -15)
        missing.append(len(body) * 9 // 10 - 65_536 - len(output))
        if missing[-1] > 0:
            with pytest.raises(TooLarge):
                decode(body, "deflate", len(output))
        else:
            assert decode(body, "deflate", len(output)) == output
    assert {0, 1} <= set(missing)


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
    for name, bound in {"gzip": 4 << 20, "x-gzip": 4 << 20, "deflate": 4 << 20, "br": 1 << 20}.items():
        with pytest.raises(TooLarge):
            decode(b"\xff" * (bound + 1), name, 8 << 20)
        assert refused(b"\xff" * bound, name, 8 << 20) == "content_encoding"
    noise = Random(1).randbytes(5 << 20)
    assert decode(zstandard.compress(noise), "zstd", 8 << 20) == noise


@every
def test_what_a_body_unpacks_to_is_in_proportion_to_its_size(name: str, pack: Callable[[bytes], bytes]) -> None:
    for size in (458_752, 8 << 20):
        packed = pack(bytes(size))
        if size <= content_coding.unpacked_limit(len(packed), 8 << 20):
            assert decode(packed, name, 8 << 20) == bytes(size)
        else:
            with pytest.raises(TooLarge):
                decode(packed, name, 8 << 20)
    for least in (0, 65_535, 65_536):
        assert content_coding.unpacked_limit(least, 8 << 20) == 458_752
    assert content_coding.unpacked_limit(65_537, 8 << 20) == 458_768
    assert content_coding.unpacked_limit(1 << 20, 8 << 20) == 8 << 20
    assert content_coding.unpacked_limit(0, 1000) == 1000


@every
@pytest.mark.parametrize("unit", [b"[],", b'{"":0},', b"\r\n"])
def test_so_are_the_pieces_of_it(name: str, pack: Callable[[bytes], bytes], unit: bytes) -> None:
    few = unit * 5000
    assert decode(pack(few), name, LIMIT) == few
    with pytest.raises(TooLarge):
        decode(pack(unit * (458_752 // len(unit))), name, LIMIT)


def test_pieces_are_counted_to_the_last() -> None:
    for packed, allowed in ((0, 20_000), (20_000, 20_000), (30_000, 30_000)):
        text = b"x" * 99_000
        assert not content_coding.too_fragmented(text + b"[" * allowed, packed)
        assert content_coding.too_fragmented(text + b"[" * (allowed + 1), packed)
        assert content_coding.too_fragmented(b"[" * (allowed + 1), packed)


def test_the_list_of_codings_has_a_bound() -> None:
    assert decode(gzip.compress(TEXT), "gzip" + ",identity" * 20, LIMIT) == TEXT
    assert decode(gzip.compress(TEXT), "gzip".ljust(256, ","), LIMIT) == TEXT
    assert refused(gzip.compress(TEXT), "gzip".ljust(257, ",")) == "content_encoding"


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
