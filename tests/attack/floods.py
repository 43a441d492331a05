"""The catalogue: what a hostile client sends on one connection, as pieces of some 64 KiB, beginning with its hello."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, repeat
from typing import NamedTuple

from benchmarks.requests import headers_message
from extproc.envoy.codec import PROCESS
from extproc.serve.grpc_health import WATCH
from tests.http2.wire import HELLO, REQUEST, Fields, block, message, raw, settings, window

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
PIECE = 1 << 16
"""Bytes of a piece, about."""
FRAMES = 200_000
"""Of a kind at most on one connection; one that has sent them all begins anew."""


class Flood(NamedTuple):
    """One kind."""

    frames: Callable[[], Iterator[bytes]]
    """What is sent after the hello."""
    ends: bool = True
    """The server ends the connection for it."""


def fields(path: str, *more: tuple[str, str]) -> Fields:
    """A gRPC request's."""
    return [(name, path if name == ":path" else value) for name, value in REQUEST] + list(more)


ROUTE = block(fields(PROCESS))
WATCHING = block(fields(WATCH))
ASK = message(headers_message({":method": "GET", ":path": "/v1/models", ":authority": "a"}))
"""A request whose path alone decides."""
HALF = [bytes((0, 3, 0, 0, 0)) + bytes(16_379), *repeat(bytes(16_384), 63)]
"""A mebibyte, all that a stream's window takes, of a message that goes on."""


def opened(number: int, head: bytes = ROUTE) -> bytes:
    """A stream."""
    return raw(HEADERS, 4, number, head)


def streams(frame: Callable[[int], bytes], most: int = FRAMES) -> Callable[[], Iterator[bytes]]:
    """One after the other, by their numbers."""
    return lambda: map(frame, range(1, 2 * most, 2))


def same(frame: bytes, before: bytes = b"") -> Callable[[], Iterator[bytes]]:
    """Again and again, after something else."""
    return lambda: chain((before,), repeat(frame, FRAMES))


def _watchers_without_a_window() -> Iterator[bytes]:
    yield settings({4: 0})
    yield from (opened(n, WATCHING) + raw(DATA, 0, n, message(b"")) for n in range(1, 1_800, 2))
    yield from repeat(window(0, 1), FRAMES)


def _blocks() -> Iterator[bytes]:
    for n in range(1, 2_000, 2):
        head = block(fields(PROCESS, *((f"x{n}-{m}", "v" * 90) for m in range(30))))
        yield raw(HEADERS, 4, n, head) + raw(DATA, 0, n, ASK)


def _literals() -> Iterator[bytes]:
    """Almost as many header fields as a block may have, each of which must be decoded anew."""
    for n in range(1, 8_000, 2):
        yield opened(n, ROUTE + b"".join(b"\0\6" + f"{n + m:06d}".encode() + b"\0" for m in range(120)))


def _requests() -> Iterator[bytes]:
    """As an Envoy asks, but as many as the server takes."""
    yield settings({4: 1 << 30}) + window(0, 1 << 30)
    yield from (opened(n) + raw(DATA, 0, n, ASK) + raw(RST, 0, n, bytes(4)) for n in range(1, 2 * FRAMES, 2))


FLOODS: dict[str, Flood] = {
    "rapid resets": Flood(streams(lambda n: opened(n) + raw(RST, 0, n, b"\0\0\0\x08"))),
    "malformed requests": Flood(streams(lambda n: raw(HEADERS, 4, n, b"\x83"))),
    "PING": Flood(same(raw(PING, 0, 0, bytes(8)))),
    "SETTINGS": Flood(lambda: (settings({4: n % 60_000}) for n in range(FRAMES))),
    "SETTINGS over 4,096 streams": Flood(
        lambda: chain(map(opened, range(1, 8_192, 2)), (settings({4: n % 60_000}) for n in range(FRAMES)))
    ),
    "PRIORITY": Flood(streams(lambda n: raw(PRIORITY, 0, n, bytes(5)))),
    "GOAWAY": Flood(same(raw(GOAWAY, 0, 0, bytes(8)))),
    "WINDOW_UPDATE": Flood(same(window(0, 1))),
    "WINDOW_UPDATE, 900 streams wait": Flood(_watchers_without_a_window),
    "empty CONTINUATION": Flood(same(raw(CONTINUATION, 0, 1), raw(HEADERS, 0, 1, ROUTE))),
    "empty DATA": Flood(same(raw(DATA, 0, 1), opened(1))),
    "unknown frames": Flood(same(raw(200, 0, 0, b"?"))),
    "DATA, byte by byte": Flood(
        same(raw(DATA, 0, 1, b"\0"), opened(1) + raw(DATA, 0, 1, bytes((0, 3, 0, 0, 0)))), ends=False
    ),
    "unfinished messages": Flood(
        lambda: chain.from_iterable([opened(n), *(raw(DATA, 0, n, part) for part in HALF)] for n in range(1, 201, 2)),
        ends=False,
    ),
    "header blocks to remember": Flood(_blocks, ends=False),
    "header blocks of 120 fields": Flood(_literals, ends=False),
    "idle Health/Watch": Flood(
        streams(lambda n: opened(n, WATCHING) + raw(DATA, 0, n, message(b"")), 4_000), ends=False
    ),
    "requests": Flood(_requests, ends=False),
}


def pieces(flood: Flood, most: int = 1 << 25) -> list[bytes]:
    """What one connection sends, ``most`` bytes of it."""
    found, size, gathered = [HELLO], 0, list[bytes]()
    for frame in flood.frames():
        gathered.append(frame)
        size += len(frame)
        if size >= PIECE:
            found.append(b"".join(gathered))
            most -= size
            size, gathered = 0, []
            if most <= 0:
                break
    return [*found, b"".join(gathered)]
