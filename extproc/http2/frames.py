"""HTTP/2's frames and error codes as bytes and numbers (RFC 9113 §4, §6, §7)."""

from __future__ import annotations

from struct import Struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What every client says first (§3.4)."""
HEADER: Final = 9
"""Bytes of a frame's header."""
MAX_FRAME: Final = 1 << 14
"""Bytes of payload that every peer must take, and all that we take (SETTINGS_MAX_FRAME_SIZE's smallest value)."""
WINDOW: Final = (1 << 16) - 1
"""Bytes of a flow-control window to begin with (§6.9.2)."""
MAX_WINDOW: Final = (1 << 31) - 1
LAST: Final = (1 << 31) - 1
"""The highest stream identifier."""

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM = ACK = 0x1
END_HEADERS, PADDED, PRIORITIZED = 0x4, 0x8, 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, INITIAL_WINDOW, FRAME_SIZE, HEADER_LIST = range(1, 7)
"""Names of settings."""

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0x0, 0x1, 0x2, 0x3
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = 0x5, 0x6, 0x7, 0x8, 0x9
ENHANCE_YOUR_CALM = 0xB

frame_head = Struct(">IBI").pack
"""``frame_head(length << 8 | type, flags, stream)``: a frame's header."""
_U32 = Struct(">I")
_U16_U32 = Struct(">HI")
_PAIR = Struct(">II")
_RESET = Struct(">IBII")
u32 = _U32.pack
read_u32 = _U32.unpack_from
read_setting = _U16_U32.unpack_from


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame. ``payload``: at most ``MAX_FRAME`` bytes."""
    return frame_head(len(payload) << 8 | kind, flags, stream) + payload


def settings(values: dict[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_U16_U32.pack(*pair) for pair in values.items()))


def window_update(stream: int, more: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream, u32(more))


def rst_stream(stream: int, code: int) -> bytes:
    """A RST_STREAM frame."""
    return _RESET.pack(4 << 8 | RST_STREAM, 0, stream, code)


def goaway(last: int, code: int, text: str = "") -> bytes:
    """A GOAWAY frame; streams above ``last`` were not and will not be looked at."""
    return frame(GOAWAY, 0, 0, _PAIR.pack(last, code) + text.encode()[:200])
