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

MAX_UNPACKED = 4 << 20
"""Bytes that one piece may unpack to; more is no answer of a model."""
_STEP = 256
"""Bytes given to zstd at once, as it has no bound of its own: even these can become 8 MiB."""

Decompressor: TypeAlias = Callable[[bytes], bytes]
"""The next piece, unpacked as far as it goes. Raises ``Broken``."""


def decompressor(coding: str) -> Decompressor | None:
    """For an answer with this ``content-encoding``; None where it is not known, or is more than one."""
    make = _MAKERS.get(coding.strip().lower())
    if make is None:
        return None
    step = make()

    def unpack(data: bytes) -> bytes:
        try:
            return step(data)
        except (zlib.error, brotli.error, zstandard.ZstdError, EOFError):
            raise Broken("a content coding that can't be undone") from None

    return unpack


def _identity() -> Decompressor:
    return lambda data: data


def _zlib(window: int) -> Decompressor:
    unpacking = zlib.decompressobj(window)

    def step(data: bytes) -> bytes:
        found = unpacking.decompress(data, MAX_UNPACKED)
        if unpacking.unconsumed_tail or unpacking.unused_data:
            raise EOFError
        return found

    return step


def _brotli() -> Decompressor:
    unpacking: Any = brotli.Decompressor()

    def step(data: bytes) -> bytes:
        found: bytes = unpacking.process(data, output_buffer_limit=MAX_UNPACKED)
        if not unpacking.can_accept_more_data() and not unpacking.is_finished():
            raise EOFError
        return found

    return step


def _zstd() -> Decompressor:
    unpacking = zstandard.ZstdDecompressor(max_window_size=8 << 20).decompressobj()

    def step(data: bytes) -> bytes:
        found: list[bytes] = []
        for at in range(0, len(data), _STEP):
            found.append(unpacking.decompress(data[at : at + _STEP]))
            if sum(map(len, found)) > MAX_UNPACKED:
                raise EOFError
        return b"".join(found)

    return step


_MAKERS: dict[str, Callable[[], Decompressor]] = {
    "": _identity,
    "identity": _identity,
    "gzip": lambda: _zlib(31),
    "x-gzip": lambda: _zlib(31),
    "deflate": lambda: _zlib(15),
    "br": _brotli,
    "zstd": _zstd,
}

KNOWN = tuple(_MAKERS)
