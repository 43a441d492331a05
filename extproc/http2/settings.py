"""SETTINGS of a connection: those that we announce, and the client's, read and checked (RFC 9113 §6.5)."""

from __future__ import annotations

from typing import Final

from extproc.http2 import frames as f
from extproc.http2.limits import MAX_BLOCK, MAX_STREAMS

STREAM_WINDOW: Final = 1 << 20
"""Bytes that a client may send on a stream before they have been processed."""

SERVER_SETTINGS: Final = f.settings(
    {
        f.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
        f.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
        f.MAX_HEADER_LIST_SIZE: MAX_BLOCK,
    }
)
"""The first frame that we send."""
SETTINGS_ACK: Final = f.frame(f.SETTINGS, f.ACK, 0, b"")


def read_settings(payload: bytes) -> dict[int, int]:
    """The values of a SETTINGS frame by their identifiers, unknown ones too; of several values the last one counts.

    Raises ``Http2ConnectionError`` for a value out of range.
    """
    values = {}
    for at in range(0, len(payload), 6):
        identifier, value = f.read_setting(payload, at)
        _check(identifier, value)
        values[identifier] = value
    return values


def _check(identifier: int, value: int) -> None:
    if identifier == f.INITIAL_WINDOW_SIZE and value > f.MAX_WINDOW:
        raise f.Http2ConnectionError(f.FLOW_CONTROL_ERROR, "an initial window that is too large")
    push = identifier == f.ENABLE_PUSH and value > 1
    size = identifier == f.SETTINGS_MAX_FRAME_SIZE and not f.MAX_FRAME_SIZE <= value < 1 << 24
    if push or size:
        raise f.Http2ConnectionError(f.PROTOCOL_ERROR, "a setting beyond its bounds")
