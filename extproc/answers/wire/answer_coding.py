"""Undoes content codings of answers piece by piece, within a bound; ``bodies.content_coding`` those of whole requests.

Source: RFC 9110 §8.4.1, RFC 1950 to 1952, RFC 8878 (zstd), RFC 7932 (br).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, TypeAlias

import brotli
import zstandard

from extproc.answers.wire.decoder import MalformedAnswer
from extproc.bodies.content_coding import FREE_DEFICIT, brotli_window, too_fragmented

MAX_PIECE = 1 << 20
"""Bytes of one piece as it comes; no proxy reads more at once."""
MAX_UNPACKED = 4 << 20
"""Bytes that one piece may unpack to; no model's answer has more."""
_MAX_BROTLI_WINDOW = 22
"""Base-2 logarithm of the largest window of brotli: 4 MiB, the default of its encoder (``BROTLI_DEFAULT_WINDOW``) and
so of what is built on it. One copy can fill it at once, which takes 9 ms, once in an answer. Of requests it is narrowed
(``content_coding``); of answers it can't be, since their length has no bound.
"""
FREE, RATIO = 128 << 10, 32
"""A piece may unpack to ``FREE`` bytes and, beyond them, to ``RATIO`` times its compressed size. Events of a token each
are compressed 16 times where each is flushed alone, 40 times where twenty are."""
FREE_IN_ALL = 1 << 20
"""Bytes to which all pieces of a compressed answer may unpack beyond ``RATIO`` times their size. There is no such bound
for sessions: silence in their audio is compressed a thousand times, for minutes. What bounds both by time is
``exchange.observe.MAX_RATE``."""
_SUBPIECE = 16_384
"""Bytes after which it is looked whether they were blocks of DEFLATE or brotli rather than data (``FREE_DEFICIT``).
Zstd has none that take long, and gives no byte of a block before it has all of it.
"""
_STEP = 256
"""Bytes given to zstd at once, which has no bound on its output: they can unpack to 8 MiB."""

Decompressor: TypeAlias = Callable[[bytes], bytes]
"""Takes the next piece, gives what it unpacks to. Raises ``MalformedAnswer``."""
_Step: TypeAlias = Callable[[bytes, int], bytes]
"""The same for one coding, with the greatest number of bytes to give. Raises its library's errors, and ``EOFError``."""


def decompressor(coding: str) -> Decompressor | None:
    """For an answer with this ``content-encoding``; None for an unknown one, and for more than one."""
    name = coding.strip().lower()
    make = _MAKERS.get(name)
    if make is None:
        return None
    step = make()
    left, deficit, has_blocks = FREE_IN_ALL, 0, name in ("gzip", "x-gzip", "deflate", "br")

    def unpack(data: bytes) -> bytes:
        nonlocal left, deficit
        if len(data) > MAX_PIECE:
            raise MalformedAnswer("a piece that is too large")
        most = max_unpacked(len(data))
        output: list[bytes] = []
        room = most
        try:
            for at in range(0, len(data), _SUBPIECE):
                part = data[at : at + _SUBPIECE]
                output.append(step(part, room + 1))
                given = len(output[-1])
                room -= given
                deficit = max(0, deficit + len(part) * 9 // 10 - given) if has_blocks else 0
                if room < 0 or deficit > FREE_DEFICIT:
                    break
        except (zlib.error, brotli.error, zstandard.ZstdError, EOFError):
            raise MalformedAnswer("a broken content coding") from None
        found = output[0] if len(output) == 1 else b"".join(output)
        left = min(FREE_IN_ALL, left + RATIO * len(data) - len(found))
        if room < 0 or deficit > FREE_DEFICIT or left < 0 or too_fragmented(found, len(data)):
            raise MalformedAnswer("unpacks to too much, or to too little")
        return found

    return unpack


def max_unpacked(packed: int) -> int:
    """Bytes that a piece of ``packed`` bytes may unpack to."""
    return min(MAX_UNPACKED, FREE + RATIO * packed)


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
            if brotli_window(data) > _MAX_BROTLI_WINDOW:
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
