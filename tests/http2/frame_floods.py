"""Frames that a client may send only so often: how many at once, and the one of each number."""

from __future__ import annotations

from collections.abc import Callable

from extproc.http2.flood_limits import MAX_LATE_RESETS, PER_STREAM
from tests.http2.wire import (
    block,
    data,
    headers,
    message,
    raw,
    reset,
    window,
)
from tests.http2.wire import settings as setting

DATA, HEADERS, PRIORITY, _, SETTINGS, _, PING, GOAWAY, _, CONTINUATION = range(10)

FLOODS: dict[str, tuple[int, Callable[[int], bytes]]] = {
    "PING": (1_000, lambda n: raw(PING, 0, 0, n.to_bytes(8))),
    "answers to pings": (1_000, lambda n: raw(PING, 1, 0, n.to_bytes(8))),
    "SETTINGS": (1_000, lambda n: setting({4: n})),
    "SETTINGS acknowledged": (1_000, lambda _: raw(SETTINGS, 1, 0)),
    "PRIORITY": (1_000, lambda n: raw(PRIORITY, 0, 2 * n + 3, bytes(5))),
    "GOAWAY": (100, lambda _: raw(GOAWAY, 0, 0, bytes(8))),
    "unknown frames": (1_000, lambda n: raw(200, 0, n, b"?")),
    "WINDOW_UPDATE": (10_000, lambda _: window(0, 1)),
    "empty CONTINUATION": (1_000, lambda n: raw(CONTINUATION, 0, 1) if n else raw(HEADERS, 0, 1, block())),
    "empty DATA": (1_000, lambda n: data(1, b"") if n else headers(1)),
    "DATA of padding": (1_000, lambda n: raw(DATA, 8, 1, b"\x02\0\0") if n else headers(1)),
    "rapid resets": (1_000, lambda n: headers(2 * n + 1) + reset(2 * n + 1)),
    "resets of what waits": (
        1_000,
        lambda n: (
            (setting({4: 0}) if n == 0 else b"")
            + headers(2 * n + 1)
            + data(2 * n + 1, message(b"a"))
            + reset(2 * n + 1)
        ),
    ),
    "resets of one stream": (MAX_LATE_RESETS, lambda n: reset(1) if n else headers(1) + data(1, message(b"end:"))),
    "malformed requests": (1_000, lambda n: headers(2 * n + 1, [("a", "b")])),
    "windows that make us reset": (1_000, lambda n: headers(2 * n + 1) + window(2 * n + 1, (1 << 31) - 1)),
}
ROOM = PER_STREAM + 2
"""What a flood's one stream makes room for."""
