"""The third thing that is fuzzed: what one client packs into header blocks, each with a byte for its length before it.

The library ``hpack`` reads the same, or refuses it as well, and has the same table after it.
"""

from __future__ import annotations

from tests.http2.unpacked import Both

MARK = b"HPACK\n"
"""What such a file begins with."""


def check(data: bytes) -> None:
    """See above."""
    both, at = Both(), len(MARK)
    while at < len(data):
        start = at + 1
        at = start + data[at]
        if not isinstance(both.read(data[start:at]), list):
            break
