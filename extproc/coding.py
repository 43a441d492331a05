"""Content codings of request bodies: undone, within a bound. Floor 2: may import floors 0 and 1.

Source: RFC 9110 §8.4.1, RFC 8878 (zstd), RFC 7932 (br).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import brotli
import zstandard

from extproc.errors import Unreadable


class TooLarge(Exception):  # noqa: N818
    """The body is larger than allowed once it is unpacked."""


def decoded(body: bytes, codings: str, limit: int) -> bytes:
    """``body`` without its ``codings`` (the value of ``content-encoding``).

    Raises ``TooLarge`` as soon as more than ``limit`` bytes come out, ``Unreadable("content_encoding")`` for a coding
    that is not known, more than two of them, or data that is broken or cut short.
    """
    names = [name for part in codings.lower().split(",") if (name := part.strip()) not in ("", "identity")]
    if len(names) > 2 or not all(name in _DECODERS for name in names):
        raise Unreadable("content_encoding")
    for name in reversed(names):
        try:
            body = _DECODERS[name](body, limit)
        except (zlib.error, zstandard.ZstdError, brotli.error, EOFError):
            raise Unreadable("content_encoding") from None
        if len(body) > limit:
            raise TooLarge
    return body


def _zlib(body: bytes, limit: int, window: int) -> bytes:
    found = b""
    while body and len(found) <= limit:  # gzip allows several members in a row
        unpacker = zlib.decompressobj(window)
        found += unpacker.decompress(body, limit + 1 - len(found))
        if not unpacker.eof and len(found) <= limit:
            raise EOFError
        body = unpacker.unused_data
    return found


def _gzip(body: bytes, limit: int) -> bytes:
    return _zlib(body, limit, 31)


def _deflate(body: bytes, limit: int) -> bytes:
    # "deflate" means the zlib format; some clients send the bare one.
    wrapped = len(body) > 1 and body[0] & 0x0F == 8 and int.from_bytes(body[:2]) % 31 == 0  # RFC 1950 §2.2
    return _zlib(body, limit, 15 if wrapped else -15)


def _zstd(body: bytes, limit: int) -> bytes:
    # Frames may say nothing of their size; a window beyond 8 MiB is refused (RFC 8878 §3.1.1.1.2).
    unpacker = zstandard.ZstdDecompressor(max_window_size=8 << 20).stream_reader(body, read_across_frames=True)
    return unpacker.read(limit + 1)


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
