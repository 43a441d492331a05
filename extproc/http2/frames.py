"""HTTP/2's frames, error codes and settings identifiers as bytes and numbers (RFC 9113 §4, §6, §7)."""

from __future__ import annotations

from struct import Struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""The first bytes of every client (§3.4)."""
HEADER_SIZE: Final = 9
"""Bytes of a frame's header."""
MAX_FRAME_SIZE: Final = 1 << 14
"""Bytes of payload that every peer must take, and all that we take (the smallest SETTINGS_MAX_FRAME_SIZE)."""
DEFAULT_WINDOW: Final = (1 << 16) - 1
"""Bytes of every flow-control window at first (§6.9.2)."""
MAX_WINDOW: Final = (1 << 31) - 1
MAX_STREAM_ID: Final = (1 << 31) - 1

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
"""Types of frames."""

END_STREAM = ACK = 0x1
END_HEADERS, PADDED, PRIORITY_FLAG = 0x4, 0x8, 0x20
"""Flags of frames."""

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = range(1, 5)
SETTINGS_MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 5, 6
"""Identifiers of settings (§6.5.2)."""

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0x0, 0x1, 0x2, 0x3
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = 0x5, 0x6, 0x7, 0x8, 0x9
ENHANCE_YOUR_CALM = 0xB
"""Error codes (§7)."""

_MAX_DEBUG_TEXT: Final = 200
"""Bytes of a GOAWAY's debug data."""
frame_head = Struct(">IBI").pack
"""``frame_head(length << 8 | type, flags, stream)``: a frame's header."""
_U32 = Struct(">I")
_U16_U32 = Struct(">HI")
_PAIR = Struct(">II")
_RESET = Struct(">IBII")
u32 = _U32.pack
read_u32 = _U32.unpack_from
read_setting = _U16_U32.unpack_from


class Http2ConnectionError(Exception):
    """A connection error (§5.4.1): the connection ends with a GOAWAY of this code and text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def preface_size(data: bytes) -> int:
    """Bytes of the client's preface (§3.4); 0 where more must come to know. Raises ``Http2ConnectionError``."""
    size = len(PREFACE)
    if data[:size] != PREFACE[: len(data)]:
        raise Http2ConnectionError(PROTOCOL_ERROR, "this port speaks gRPC, by HTTP/2 with prior knowledge")
    if len(data) < size + HEADER_SIZE:
        return 0
    if data[size + 3] != SETTINGS:
        raise Http2ConnectionError(PROTOCOL_ERROR, "a connection begins with SETTINGS")
    return size


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame. ``payload``: at most ``MAX_FRAME_SIZE`` bytes."""
    return frame_head(len(payload) << 8 | kind, flags, stream) + payload


def settings(values: dict[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_U16_U32.pack(*pair) for pair in values.items()))


def window_update(stream: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream, u32(increment))


def rst_stream(stream: int, code: int) -> bytes:
    """A RST_STREAM frame."""
    return _RESET.pack(4 << 8 | RST_STREAM, 0, stream, code)


def goaway(last_stream_id: int, code: int, text: str = "") -> bytes:
    """A GOAWAY frame; streams above ``last_stream_id`` were not processed and will not be."""
    return frame(GOAWAY, 0, 0, _PAIR.pack(last_stream_id, code) + text.encode()[:_MAX_DEBUG_TEXT])


def without_padding(payload: bytes, flags: int) -> bytes:
    """The content of a DATA or HEADERS frame (§6.1). Raises ``Http2ConnectionError`` for padding that is too long."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise Http2ConnectionError(PROTOCOL_ERROR, "more padding than payload")
    return payload[1 : len(payload) - payload[0]]


def check_priority(stream: int, priority: bytes) -> None:
    """Raises ``Http2ConnectionError`` where the first bytes of ``priority`` are no priority of that stream (§6.3)."""
    if len(priority) < 5:
        raise Http2ConnectionError(FRAME_SIZE_ERROR, "a priority is cut off")
    if read_u32(priority)[0] & MAX_STREAM_ID == stream:
        raise Http2ConnectionError(PROTOCOL_ERROR, "a stream that depends on itself")
