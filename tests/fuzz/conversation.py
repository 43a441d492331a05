"""The other thing that is fuzzed: what a client says on an HTTP/2 connection, byte for byte a file; and what must hold.

Nothing raises, the connection's books are right, and any split of the bytes gives the same answer.
"""

from __future__ import annotations

import zlib
from random import Random

from extproc.http2.memory_budget import MAX_QUEUED
from tests.http2.served import Served

PREFACE = b"PRI * HTTP/2.0\r\n"
"""What marks such a file."""


def check(data: bytes) -> None:
    """See above."""
    random = Random(zlib.crc32(data))
    whole = _answered([data])
    pieces = []
    rest = data
    while rest:
        size = random.choice([1, 5, 9, 100, 1000])
        pieces.append(rest[:size])
        rest = rest[size:]
    assert len(whole) >= MAX_QUEUED or _answered(pieces) == whole


def _answered(pieces: list[bytes]) -> bytes:
    served = Served()
    answer = b""
    for piece in pieces:
        answer += served.say(piece)
        served.check()
    served.connection.terminate()
    served.check()
    assert all(handler.closed == 1 for handler in served.handlers)
    return answer
