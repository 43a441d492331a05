"""Content codings of request bodies: undone, within a bound.

Source: RFC 9110 §8.4.1, RFC 1950 to 1952, RFC 8878 (zstd), RFC 7932 (br).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import brotli
import zstandard

from extproc.errors import Unreadable

MOST_PACKED = 1 << 20
"""Bytes in gzip, deflate or br, as they come. A block of 11 bytes that unpacks to nothing costs its decoder as much as
one of kilobytes (the tables of RFC 1951 §3.2.7 are built anew), and no library tells how many blocks there are.
"""
FREE, RATIO = 256 << 10, 8
"""Bytes that any body may unpack to, and times its own size that it may unpack to beyond them."""
FREE_PIECES = 20_000
"""Places at which a reader has to begin anew (``_STRUCTURAL``) that any body may unpack to; beyond them as many as it
has bytes, since one that was not packed could have no more.
"""
MEMBERS = 100
"""Of one gzip body; each costs as much as a small body."""
FREE_BLOCKS, BLOCK = 256, 1024
"""Frames and blocks that any zstd body may have, and the bytes for which it may have one more: they need hold nothing.
"""
STEP = 65_536
"""Bytes."""

_LONGEST = 256
"""Characters of ``content-encoding``."""
_STRUCTURAL = b"[{,:\\\r\n"
"""Where JSON and forms begin something new, or something that is not as it stands."""


class TooLarge(Exception):  # noqa: N818
    """The body is larger than allowed once it is unpacked, or more work than a body of its size may be."""


def decoded(body: bytes, codings: str, limit: int) -> bytes:
    """``body`` without its ``codings`` (the value of ``content-encoding``); nothing stays nothing.

    Raises ``TooLarge`` as soon as more than ``room`` bytes come out, ``Unreadable("content_encoding")`` for a coding
    that is not known, more than two of them, or data that is broken, cut short or followed by something else.
    """
    if len(codings) > _LONGEST:
        raise Unreadable("content_encoding")
    names = [name for part in codings.lower().split(",") if (name := part.strip()) not in ("", "identity")]
    if len(names) > 2 or not all(name in _DECODERS for name in names):
        raise Unreadable("content_encoding")
    packed = len(body)
    limit = room(packed, limit)
    for name in reversed(names):
        if len(body) > MOST_PACKED and name != "zstd":
            raise TooLarge
        try:
            body = _DECODERS[name](body, limit) if body else body
        except (zlib.error, zstandard.ZstdError, brotli.error, EOFError):
            raise Unreadable("content_encoding") from None
        if len(body) > limit:
            raise TooLarge
    if crumbled(body, packed):
        raise TooLarge
    return body


def crumbled(data: bytes, packed: int) -> bool:
    """Whether ``data`` is in more pieces than what ``packed`` bytes unpack to may be. One pass, whatever the data."""
    most = FREE_PIECES + packed
    return len(data) > most and len(data) - len(data.translate(None, _STRUCTURAL)) > most


def room(packed: int, limit: int) -> int:
    """Bytes that ``packed`` bytes may unpack to, where bodies of ``limit`` bytes are allowed."""
    return min(limit, FREE + RATIO * packed)


def _zlib(body: bytes, limit: int, window: int, members: int = 1) -> bytes:
    found: list[bytes] = []
    left, at, whole = limit + 1, 0, memoryview(body)
    while members and at < len(body):
        unpacker = zlib.decompressobj(window)
        while left and not unpacker.eof:
            if at >= len(body):
                raise EOFError
            # A member hands back what follows it: small pieces keep that cheap where there are many.
            found.append(unpacker.decompress(whole[at : at + STEP], left))
            at += len(whole[at : at + STEP]) - len(unpacker.unused_data)
            left -= len(found[-1])
        members -= 1
    if left and at < len(body):
        raise EOFError
    return b"".join(found)


def _gzip(body: bytes, limit: int) -> bytes:
    return _zlib(body, limit, 31, MEMBERS)


def _deflate(body: bytes, limit: int) -> bytes:
    # "deflate" means the zlib format; some clients send the bare one.
    wrapped = len(body) > 1 and body[0] & 0x0F == 8 and int.from_bytes(body[:2]) % 31 == 0  # RFC 1950 §2.2
    return _zlib(body, limit, 15 if wrapped else -15)


def _zstd(body: bytes, limit: int) -> bytes:
    if not _whole_frames(body):
        raise EOFError
    # Frames may say nothing of their size; a window beyond 8 MiB is refused (RFC 8878 §3.1.1.1.2).
    unpacker = zstandard.ZstdDecompressor(max_window_size=8 << 20).stream_reader(body, read_across_frames=True)
    return unpacker.read(limit + 1)


def _whole_frames(body: bytes) -> bool:
    """Whether zstd data, if it is without fault, ends where a frame does: the library doesn't say.

    Raises ``TooLarge`` where its frames and blocks are too many for its size.
    """
    at, left, last = 0, FREE_BLOCKS + len(body) // BLOCK, True
    while at < len(body) and left > 0:
        left -= 1
        if body[at + 1 : at + 4] == b"\x2a\x4d\x18":  # to be skipped (RFC 8878 §3.1.2)
            at += 8 + int.from_bytes(body[at + 4 : at + 8], "little")
            continue
        head = body[at : at + 18]
        checksum = zstandard.get_frame_parameters(head).has_checksum
        at += zstandard.frame_header_size(head)
        last = False
        while not last and at < len(body) and left > 0:
            block = int.from_bytes(body[at : at + 3], "little")  # §3.1.1.2: last, type, size
            last = bool(block & 1)
            at += 4 if block >> 1 & 3 == 1 else 3 + (block >> 3)
            left -= 1
        at += 4 * checksum
        if not last:
            break
    if left <= 0:
        raise TooLarge
    return last and at == len(body)


def wide(body: bytes) -> bool:
    """Whether brotli data has a window beyond the 4 MiB that encoders take (RFC 7932 §9.1): one copy can fill all of it
    before the decoder looks at any limit, in 20 ms for 16 MiB.
    """
    return body[0] & 1 == 1 and body[0] >> 1 & 7 > 5


def _brotli(body: bytes, limit: int) -> bytes:
    if wide(body):
        raise EOFError
    unpacker = brotli.Decompressor()
    found: bytes = unpacker.process(body, output_buffer_limit=limit + 1)
    while len(found) <= limit and not unpacker.is_finished():
        more = unpacker.process(b"", output_buffer_limit=limit + 1 - len(found))
        if not more:
            raise EOFError
        found += more
    return found


_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "zstd": _zstd,
    "br": _brotli,
}

KNOWN = frozenset(_DECODERS)
