"""Content codings of request bodies: undone, within a bound.

Source: RFC 9110 §8.4.1, RFC 1950 to 1952, RFC 8878 (zstd), RFC 7932 (br).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import brotli
import zstandard

from extproc.errors import Unreadable

MEMBERS = 1000
"""Of one gzip body; each costs as much as a small body."""
PIECES = 200_000
"""Frames and blocks of one zstd body: they need hold nothing."""
STEP = 65_536
"""Bytes."""


class TooLarge(Exception):  # noqa: N818
    """The body is larger than allowed once it is unpacked."""


def decoded(body: bytes, codings: str, limit: int) -> bytes:
    """``body`` without its ``codings`` (the value of ``content-encoding``); nothing stays nothing.

    Raises ``TooLarge`` as soon as more than ``limit`` bytes come out, ``Unreadable("content_encoding")`` for a coding
    that is not known, more than two of them, or data that is broken, cut short or followed by something else.
    """
    names = [name for part in codings.lower().split(",") if (name := part.strip()) not in ("", "identity")]
    if len(names) > 2 or not all(name in _DECODERS for name in names):
        raise Unreadable("content_encoding")
    for name in reversed(names):
        try:
            body = _DECODERS[name](body, limit) if body else body
        except (zlib.error, zstandard.ZstdError, brotli.error, EOFError):
            raise Unreadable("content_encoding") from None
        if len(body) > limit:
            raise TooLarge
    return body


def _zlib(body: bytes, limit: int, window: int, members: int = 1) -> bytes:
    found: list[bytes] = []
    room, at, whole = limit + 1, 0, memoryview(body)
    while members and at < len(body):
        unpacker = zlib.decompressobj(window)
        while room and not unpacker.eof:
            if at >= len(body):
                raise EOFError
            # A member hands back what follows it: small pieces keep that cheap where there are many.
            found.append(unpacker.decompress(whole[at : at + STEP], room))
            at += len(whole[at : at + STEP]) - len(unpacker.unused_data)
            room -= len(found[-1])
        members -= 1
    if room and at < len(body):
        raise EOFError
    return b"".join(found)


def _gzip(body: bytes, limit: int) -> bytes:
    return _zlib(body, limit, 31, MEMBERS)


def _deflate(body: bytes, limit: int) -> bytes:
    # "deflate" means the zlib format; some clients send the bare one.
    wrapped = len(body) > 1 and body[0] & 0x0F == 8 and int.from_bytes(body[:2]) % 31 == 0  # RFC 1950 §2.2
    return _zlib(body, limit, 15 if wrapped else -15)


def _zstd(body: bytes, limit: int) -> bytes:
    # Frames may say nothing of their size; a window beyond 8 MiB is refused (RFC 8878 §3.1.1.1.2).
    unpacker = zstandard.ZstdDecompressor(max_window_size=8 << 20).stream_reader(body, read_across_frames=True)
    found = unpacker.read(limit + 1)
    if len(found) <= limit and not _whole_frames(body):
        raise EOFError
    return found


def _whole_frames(body: bytes) -> bool:
    """Whether zstd data, as far as it goes without fault, ends where a frame does: the library doesn't say."""
    at = pieces = 0
    while at < len(body) and pieces <= PIECES:
        pieces += 1
        if body[at + 1 : at + 4] == b"\x2a\x4d\x18":  # to be skipped (RFC 8878 §3.1.2)
            at += 8 + int.from_bytes(body[at + 4 : at + 8], "little")
            continue
        head = body[at : at + 18]
        checksum = zstandard.get_frame_parameters(head).has_checksum
        at += zstandard.frame_header_size(head)
        last = False
        while not last and at < len(body) and pieces <= PIECES:
            block = int.from_bytes(body[at : at + 3], "little")  # §3.1.1.2: last, type, size
            last = bool(block & 1)
            at += 4 if block >> 1 & 3 == 1 else 3 + (block >> 3)
            pieces += 1
        at += 4 * checksum
        if not last:
            return False
    return at == len(body)


def _brotli(body: bytes, limit: int) -> bytes:
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
