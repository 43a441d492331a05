"""Decodes the content codings of request bodies, with bounds on output and work.

Source: RFC 9110 §8.4.1, RFC 1950 to 1952, RFC 8878 (zstd), RFC 7932 (br).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import brotli
import zstandard

from extproc.errors import Unreadable

MAX_PACKED = {"gzip": 4 << 20, "x-gzip": 4 << 20, "deflate": 4 << 20, "br": 1 << 20}
"""Bytes on the wire, by coding; zstd has no bound but that on its blocks. Every block of DEFLATE and brotli can have
codes of its own (RFC 1951 §3.2.7): to build their tables takes as long as to unpack kilobytes, whatever the block
holds, and no library says how many blocks there are. Of DEFLATE they are estimated (``_inflate``), of brotli they are
not: 1 MiB of the smallest blocks takes 0.1 s.
"""
FREE_BYTES, MAX_RATIO = 256 << 10, 8
"""Bytes that any body may unpack to, and times its own size that it may unpack to beyond them."""
FREE_FRAGMENTS = 20_000
"""Bytes at which a parser begins something new (``_STRUCTURAL``) that any body may unpack to; beyond them as many as it
has bytes on the wire, since a body that is not compressed could have no more.
"""
MAX_MEMBERS = 100
"""Members of one gzip body; each costs as much as a small body."""
FREE_BLOCKS, BYTES_PER_BLOCK = 256, 1024
"""Frames and blocks that any zstd body may have, and the bytes for which it may have one more: they can be empty."""
STEP = 65_536
"""Bytes of DEFLATE that are unpacked at once."""
FREE_DEFICIT = 65_536
"""Bytes by which DEFLATE may unpack to less than 9/10 of its own size; an encoder makes nothing so much longer."""
PROBES, PROBE = 128, 4
"""Of each ``STEP`` bytes of a DEFLATE body that is larger, so many pieces in a row of so many bytes are unpacked one by
one, at a place that no client can foresee.
"""
FREE_SILENT, SILENT_SHARE = 64, 8
"""Such pieces that may give no byte, and of how many further ones one may. Four bytes of data nearly always give some;
within the codes of a block (11 bytes at least, 50 to 100 as encoders write them for blocks of many KB) none does.
"""

_MAX_HEADER_LENGTH = 256
"""Characters of ``content-encoding``."""
_STRUCTURAL = b"[{,:\\\r\n"
"""Where JSON and forms begin something new, or something that does not stand for itself."""


class TooLarge(Exception):  # noqa: N818
    """The body is larger than allowed once it is unpacked, or more work than a body of its size may be."""


def decode(body: bytes, codings: str, limit: int) -> bytes:
    """``body`` without its ``codings`` (the value of ``content-encoding``). An empty body stays empty.

    Raises ``TooLarge`` as soon as the work or the output is more than the bounds of this module allow where bodies of
    ``limit`` bytes are allowed, ``Unreadable("content_encoding")`` for a coding that is not known, more than two of
    them, or data that is broken, cut short or followed by something else.
    """
    if len(codings) > _MAX_HEADER_LENGTH:
        raise Unreadable("content_encoding")
    names = [name for part in codings.lower().split(",") if (name := part.strip()) not in ("", "identity")]
    if len(names) > 2 or not all(name in _DECODERS for name in names):
        raise Unreadable("content_encoding")
    packed = len(body)
    limit = unpacked_limit(packed, limit)
    for name in reversed(names):
        if len(body) > MAX_PACKED.get(name, limit):
            raise TooLarge
        try:
            body = _DECODERS[name](body, limit) if body else body
        except (zlib.error, zstandard.ZstdError, brotli.error, EOFError):
            raise Unreadable("content_encoding") from None
        if len(body) > limit:
            raise TooLarge
    if too_fragmented(body, packed):
        raise TooLarge
    return body


def too_fragmented(data: bytes, packed: int) -> bool:
    """Whether ``data`` has more structural bytes than what ``packed`` bytes unpack to may have. One pass, linear."""
    allowed = FREE_FRAGMENTS + packed
    return len(data) > allowed and len(data) - len(data.translate(None, _STRUCTURAL)) > allowed


def unpacked_limit(packed: int, limit: int) -> int:
    """Bytes that ``packed`` bytes may unpack to, where bodies of ``limit`` bytes are allowed."""
    return min(limit, FREE_BYTES + MAX_RATIO * packed)


class _BlockEstimate:
    """Refuses DEFLATE that spends itself on blocks rather than on data."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._large = len(body) > STEP
        self._seed = hash(body) if self._large else 0  # keyed anew in every process
        self._output = self._probes = self._silent = 0

    def piece(self, at: int) -> int:
        """Bytes to unpack next, from ``at``: up to the next probe or the end of the step, or one probe."""
        offset = at % STEP
        if not self._large:
            return STEP
        start = (self._seed + at // STEP * 40_503) % (STEP - PROBES * PROBE)  # spread over the steps
        if offset < start:
            return start - offset
        return PROBE if offset < start + PROBES * PROBE else STEP - offset

    def add(self, at: int, size: int, output: int) -> None:
        """Counts a piece of ``size`` bytes up to ``at`` that gave ``output`` bytes. Raises ``TooLarge``."""
        self._output += output
        if size == PROBE:
            self._probes += 1
            self._silent += not output
        if self._output < at * 9 // 10 - FREE_DEFICIT or self._silent > FREE_SILENT + self._probes // SILENT_SHARE:
            raise TooLarge


def _inflate(body: bytes, limit: int, window: int, members: int = 1) -> bytes:
    """Unpacks DEFLATE, in as many wrappings as ``members``; gives ``limit`` + 1 bytes where there are more."""
    output: list[bytes] = []
    left, at, view, estimate = limit + 1, 0, memoryview(body), _BlockEstimate(body)
    while members and at < len(body):
        unpacker = zlib.decompressobj(window)
        while left and not unpacker.eof:
            if at >= len(body):
                raise EOFError
            # A member hands back what follows it: small pieces keep that cheap where there are many.
            piece = view[at : at + estimate.piece(at)]
            output.append(unpacker.decompress(piece, left))
            at += len(piece) - len(unpacker.unused_data)
            left -= len(output[-1])
            if left:
                estimate.add(at, len(piece), len(output[-1]))
        members -= 1
    if left and at < len(body):
        raise EOFError
    return b"".join(output)


def _gzip(body: bytes, limit: int) -> bytes:
    return _inflate(body, limit, 31, MAX_MEMBERS)


def _deflate(body: bytes, limit: int) -> bytes:
    # "deflate" means the zlib format; some clients send the bare one.
    wrapped = len(body) > 1 and body[0] & 0x0F == 8 and int.from_bytes(body[:2]) % 31 == 0  # RFC 1950 §2.2
    return _inflate(body, limit, 15 if wrapped else -15)


def _zstd(body: bytes, limit: int) -> bytes:
    if not _ends_with_frame(body):
        raise EOFError
    # Frames may say nothing of their size; a window beyond 8 MiB is refused (RFC 8878 §3.1.1.1.2).
    unpacker = zstandard.ZstdDecompressor(max_window_size=8 << 20).stream_reader(body, read_across_frames=True)
    return unpacker.read(limit + 1)


def _ends_with_frame(body: bytes) -> bool:
    """Whether zstd data ends where a frame ends, provided that it is valid: the library does not say.

    Raises ``TooLarge`` where it has too many frames and blocks for its size.
    """
    at, left, last = 0, FREE_BLOCKS + len(body) // BYTES_PER_BLOCK, True
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


def has_wide_window(body: bytes) -> bool:
    """Whether brotli data has a window of more than 4 MiB (RFC 7932 §9.1). One copy can fill the window before the
    decoder looks at any limit: 26 bytes take 9 ms with 4 MiB, 20 ms and more with 16 MiB. 4 MiB (``lgwin`` 22) stay
    allowed, because that is the default of the encoder (``BROTLI_DEFAULT_WINDOW``) and so of what is built on it.
    """
    return body[0] & 1 == 1 and body[0] >> 1 & 7 > 5


def _brotli(body: bytes, limit: int) -> bytes:
    if has_wide_window(body):
        raise EOFError
    unpacker = brotli.Decompressor()
    output: bytes = unpacker.process(body, output_buffer_limit=limit + 1)
    while len(output) <= limit and not unpacker.is_finished():
        more = unpacker.process(b"", output_buffer_limit=limit + 1 - len(output))
        if not more:
            raise EOFError
        output += more
    return output


_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "zstd": _zstd,
    "br": _brotli,
}

KNOWN = frozenset(_DECODERS)
