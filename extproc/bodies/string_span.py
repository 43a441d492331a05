"""Where in a JSON body a string value stands, to write another in its place."""

from __future__ import annotations

from extproc.bodies.ambiguous_keys import may_have_duplicates
from extproc.bodies.json_scan import members

_BACKSLASH = 0x5C  # compared as a number


def string_span(body: bytes, key: str) -> tuple[int, int]:
    """Offsets of the string value of the top-level ``key``, of a body that a reader has accepted."""
    if may_have_duplicates(body, key):
        return next((start, end) for name, start, end in members(body) if name == key)
    quoted = b'"%b"' % key.encode()
    start = body.index(b'"', body.index(quoted) + len(quoted))
    return start, _string_end(body, start)


def _string_end(body: bytes, start: int) -> int:
    """Offset after the closing quote of the JSON string that opens at ``start``."""
    at = start
    while True:
        at = body.index(b'"', at + 1)
        before = at
        while body[before - 1] == _BACKSLASH:
            before -= 1
        if (at - before) % 2 == 0:
            return at + 1
