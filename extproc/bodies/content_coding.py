"""Decodes the content codings of request bodies, with bounds on output and work.

Source: RFC 9110 §8.4.1, RFC 1950 to 1952, RFC 8878 (zstd), RFC 7932 (br).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import brotli
import zstandard

from extproc.errors import Unreadable

MAX_PACKED = {"gzip": 4 << 20, "x-gzip": 4 << 20, "deflate": 4 << 20, "br": 1 << 20}
"""Bytes on the wire, by coding; zstd has no bound but that on its blocks. Every block of DEFLATE and brotli can have
codes of its own (RFC 1951 §3.2.7, RFC 7932 §9.2): to build their tables takes as long as to unpack kilobytes, whatever
the block holds, and no library says how many blocks there are. So they are estimated (``_Sampling``).
"""
FREE_BYTES, FREE_PACKED, MAX_RATIO = 448 << 10, 64 << 10, 16
"""Bytes that any body may unpack to, and one that is larger than ``FREE_PACKED`` bytes ``MAX_RATIO`` times what it is
larger. To unpack a byte and read it takes 3 ns in a long string, 10 ns in white space: 448 KiB take 1.5 to 4.5 ms.
Prompts are compressed 3 times, tools in JSON 5 times, log files 9 times.
"""
FREE_FRAGMENTS = 20_000
"""Bytes at which a parser begins something new (``_STRUCTURAL``) that any body may unpack to, if it has not itself more
bytes on the wire: one that is not compressed could be of nothing else.
"""
MAX_MEMBERS = 100
"""Members of one gzip body; each costs as much as a small body."""
FREE_BLOCKS, BYTES_PER_BLOCK = 256, 1024
"""Frames and blocks that any zstd body may have, and the bytes for which it may have one more: they can be empty."""
FREE_DEFICIT = 65_536
"""Bytes by which DEFLATE or brotli may unpack to less than 9/10 of its own size; an encoder makes nothing so much
longer.
"""
SMALL = 8192
"""Bytes of DEFLATE or brotli that may be blocks and nothing else: 1 to 2.5 ms. Larger bodies are sampled."""
SMALL_OUTPUT = 16_384
"""Bytes for which room is made at first, where a small body of zstd is unpacked: room for all that it may unpack to
takes longer than the rest.
"""
RUNS, SHORTEST_STEP = 32, 2048
"""Steps of a body that is sampled, and bytes that one has at least."""
PROBES, PROBE = 16, 4
"""Of each step so many pieces in a row of so many bytes are unpacked one by one, at a place that no client can foresee.
"""
FREE_SILENT, SILENT_SHARE = 32, 6
"""Such pieces that may give no byte, and of how many further ones one may. Four bytes of data nearly always give some;
within the codes of a block (11 bytes at least, 50 to 300 as encoders write them for blocks of many KB) none does.
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
    return unpack(body, coding_names(codings), limit)


def coding_names(codings: str) -> list[str]:
    """Those in the value of ``content-encoding``. Raises ``Unreadable("content_encoding")`` as ``decode`` does."""
    if len(codings) > _MAX_HEADER_LENGTH:
        raise Unreadable("content_encoding")
    names = [name for part in codings.lower().split(",") if (name := part.strip()) not in ("", "identity")]
    if len(names) > 2 or not all(name in _DECODERS for name in names):
        raise Unreadable("content_encoding")
    return names


def unpack(body: bytes, names: Sequence[str], limit: int) -> bytes:
    """As ``decode``, by the names of its codings."""
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
    allowed = max(FREE_FRAGMENTS, packed)
    return len(data) > allowed and len(data) - len(data.translate(None, _STRUCTURAL)) > allowed


def unpacked_limit(packed: int, limit: int) -> int:
    """Bytes that ``packed`` bytes may unpack to, where bodies of ``limit`` bytes are allowed."""
    return min(limit, FREE_BYTES + MAX_RATIO * max(0, packed - FREE_PACKED))


class _Sampling:
    """Refuses DEFLATE and brotli that spend themselves on blocks rather than on data."""

    def __init__(self, body: bytes) -> None:
        size = len(body)
        self._step = max(SHORTEST_STEP, -(-size // RUNS)) if size > SMALL else 0
        self._seed = hash(body)  # keyed anew in every process
        self._at = self._output = self._probes = self._silent = 0
        self._probing = False

    def piece(self, at: int) -> int:
        """Bytes to unpack next, from ``at``: one probe, or all up to the next probe or the end of the step."""
        self._at = at
        if not self._step:
            return SMALL
        step, offset = divmod(at, self._step)
        start = hash((self._seed, step)) % (self._step - PROBES * PROBE)
        self._probing = start <= offset < start + PROBES * PROBE
        return PROBE if self._probing else (start if offset < start else self._step) - offset

    def add(self, size: int, output: int) -> None:
        """Counts the piece, of which ``size`` bytes were unpacked, to ``output`` bytes. Raises ``TooLarge``."""
        self._output += output
        if self._probing:
            self._probes += 1
            self._silent += not output
        allowed = FREE_SILENT + self._probes // SILENT_SHARE
        if self._output < (self._at + size) * 9 // 10 - FREE_DEFICIT or self._silent > allowed:
            raise TooLarge


def _inflate(body: bytes, limit: int, window: int, members: int = 1) -> bytes:
    """Unpacks DEFLATE, in as many wrappings as ``members``; gives ``limit`` + 1 bytes where there are more."""
    output: list[bytes] = []
    left, at = limit + 1, 0
    if len(body) <= SMALL:  # it is not sampled, and nearly always one member
        unpacker = zlib.decompressobj(window)
        found = unpacker.decompress(body, left)
        if not unpacker.unused_data:
            if len(found) < left and not unpacker.eof:
                raise EOFError
            return found
        output.append(found)
        members, left, at = members - 1, left - len(found), len(body) - len(unpacker.unused_data)
    view, sampling = memoryview(body), _Sampling(body)
    while members and at < len(body):
        unpacker = zlib.decompressobj(window)
        while left and not unpacker.eof:
            if at >= len(body):
                raise EOFError
            # A member hands back what follows it: small pieces keep that cheap where there are many.
            piece = view[at : at + sampling.piece(at)]
            output.append(unpacker.decompress(piece, left))
            taken = len(piece) - len(unpacker.unused_data)
            sampling.add(taken, len(output[-1]))
            at += taken
            left -= len(output[-1])
        members -= 1
    if left and at < len(body):
        raise EOFError
    return b"".join(output)


def _gzip(body: bytes, limit: int) -> bytes:
    return _inflate(body, limit, 31, MAX_MEMBERS)


def _deflate(body: bytes, limit: int) -> bytes:
    # "deflate" means the zlib format; some clients send the bare one.
    wrapped = body[0] & 0x0F == 8 and int.from_bytes(body[:2]) % 31 == 0  # RFC 1950 §2.2
    return _inflate(body, limit, 15 if wrapped else -15)


def _zstd(body: bytes, limit: int) -> bytes:
    if not _ends_with_frame(body):
        raise EOFError
    # Frames may say nothing of their size; a window beyond 8 MiB is refused (RFC 8878 §3.1.1.1.2).
    unpacker = zstandard.ZstdDecompressor(max_window_size=8 << 20).stream_reader(body, read_across_frames=True)
    if len(body) > SMALL or limit < SMALL_OUTPUT:
        return unpacker.read(limit + 1)
    found = unpacker.read(SMALL_OUTPUT)
    return found if len(found) < SMALL_OUTPUT else found + unpacker.read(limit + 1 - SMALL_OUTPUT)


def _ends_with_frame(body: bytes) -> bool:
    """Whether zstd data ends where a frame ends, provided that it is valid: the library does not say.

    Raises ``TooLarge`` where it has too many frames and blocks for its size.
    """
    at, trailer, last = 0, 0, True
    for _ in range(FREE_BLOCKS + len(body) // BYTES_PER_BLOCK):
        if at >= len(body):
            break
        if not last:
            block = int.from_bytes(body[at : at + 3], "little")  # §3.1.1.2: last, type, size
            last = bool(block & 1)
            at += (4 if block >> 1 & 3 == 1 else 3 + (block >> 3)) + last * trailer
        elif body[at + 1 : at + 4] == b"\x2a\x4d\x18":  # to be skipped (RFC 8878 §3.1.2)
            at += 8 + int.from_bytes(body[at + 4 : at + 8], "little")
        else:
            head = body[at : at + 18]
            trailer = 4 * zstandard.get_frame_parameters(head).has_checksum
            at += zstandard.frame_header_size(head)
            last = False
    if at < len(body):
        raise TooLarge
    return last and at == len(body)


def brotli_window(body: bytes) -> int:
    """The base-2 logarithm of the window of brotli data (RFC 7932 §9.1) where it is from 18 to 24, else 0."""
    return 17 + (body[0] >> 1 & 7) if body[0] & 1 and body[0] & 0x0E else 0


def _with_narrow_window(body: bytes, limit: int) -> bytes:
    """Brotli data with no larger window than ``limit`` bytes need.

    One copy can fill the window before the decoder looks at any limit: 26 bytes would take 9 ms with the encoder's
    default of 4 MiB (``BROTLI_DEFAULT_WINDOW``). Within the first bytes that are fewer than the window's, its size is
    of no account: a copy reaches as far back as there is something (RFC 7932 §4).
    """
    needed = max(18, (limit + 16).bit_length())  # 16 bytes of a window are never reached (§9.1)
    if brotli_window(body) <= needed:
        return body
    return bytes((body[0] & 0xF1 | needed - 17 << 1,)) + body[1:]


def _brotli(body: bytes, limit: int) -> bytes:
    unpacker = brotli.Decompressor()
    output: list[bytes] = []
    left, at, view, sampling = limit + 1, 0, memoryview(_with_narrow_window(body, limit)), _Sampling(body)
    while left > 0 and at < len(body):
        piece = view[at : at + sampling.piece(at)]
        output.append(unpacker.process(piece, output_buffer_limit=left))
        sampling.add(len(piece), len(output[-1]))
        at += len(piece)
        left -= len(output[-1])
    if left > 0 and not unpacker.is_finished():
        raise EOFError
    return b"".join(output)


_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "zstd": _zstd,
    "br": _brotli,
}

KNOWN = frozenset(_DECODERS)
