"""Content codings of answers: undone piece by piece, within a bound.

Source: RFC 9110 §8.4.1, RFC 1950 to 1952, RFC 8878 (zstd), RFC 7932 (br).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, TypeAlias

import brotli
import zstandard

from extproc.answers.wire.decoder import Broken
from extproc.bodies.content_coding import has_wide_window, too_fragmented

MAX_PIECE = 1 << 20
"""Bytes of one piece as it comes; no proxy reads more at once."""
MAX_UNPACKED = 4 << 20
"""Bytes that one piece may unpack to; more is no answer of a model."""
FREE, RATIO = 64 << 10, 32
"""Bytes that an answer may unpack to, and times its own size that it may unpack to beyond them, at any time."""
_STEP = 256
"""Bytes given to zstd at once, as it has no bound of its own: even these can become 8 MiB."""

Decompressor: TypeAlias = Callable[[bytes], bytes]
"""The next piece, unpacked as far as it goes. Raises ``Broken``."""
_Step: TypeAlias = Callable[[bytes, int], bytes]
"""The same of a coding, within so many bytes. Raises its library's errors, and ``EOFError``."""


def decompressor(coding: str) -> Decompressor | None:
    """For an answer with this ``content-encoding``; None where it is not known, or is more than one."""
    make = _MAKERS.get(coding.strip().lower())
    if make is None:
        return None
    step = make()
    left = FREE

    def unpack(data: bytes) -> bytes:
        nonlocal left
        if len(data) > MAX_PIECE:
            raise Broken("more than any proxy reads at once")
        most = room(left, len(data))
        try:
            found = step(data, most)
        except (zlib.error, brotli.error, zstandard.ZstdError, EOFError):
            raise Broken("a content coding that can't be undone") from None
        left = most - len(found)
        if left < 0 or too_fragmented(found, len(data)):
            raise Broken("a flood of pieces")
        return found

    return unpack


def room(left: int, packed: int) -> int:
    """Bytes that a piece of ``packed`` bytes may unpack to, where the one before it left so many unused."""
    return min(MAX_UNPACKED, min(FREE, left) + RATIO * packed)


def _identity() -> _Step:
    return lambda data, _: data


def _zlib(window: int) -> _Step:
    unpacking = zlib.decompressobj(window)

    def step(data: bytes, most: int) -> bytes:
        found = unpacking.decompress(data, most)
        if unpacking.unconsumed_tail or unpacking.unused_data:
            raise EOFError
        return found

    return step


def _brotli() -> _Step:
    unpacking: Any = brotli.Decompressor()
    begun = False

    def step(data: bytes, most: int) -> bytes:
        nonlocal begun
        if data and not begun:
            begun = True
            if has_wide_window(data):
                raise EOFError
        found: bytes = unpacking.process(data, output_buffer_limit=most)
        if not unpacking.can_accept_more_data() and not unpacking.is_finished():
            raise EOFError
        return found

    return step


def _zstd() -> _Step:
    unpacking = zstandard.ZstdDecompressor(max_window_size=8 << 20).decompressobj()

    def step(data: bytes, most: int) -> bytes:
        found: list[bytes] = []
        for at in range(0, len(data), _STEP):
            found.append(unpacking.decompress(data[at : at + _STEP]))
            most -= len(found[-1])
            if most < 0:
                raise EOFError
        return b"".join(found)

    return step


_MAKERS: dict[str, Callable[[], _Step]] = {
    "": _identity,
    "identity": _identity,
    "gzip": lambda: _zlib(31),
    "x-gzip": lambda: _zlib(31),
    "deflate": lambda: _zlib(15),
    "br": _brotli,
    "zstd": _zstd,
}

KNOWN = tuple(_MAKERS)
