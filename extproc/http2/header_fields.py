"""One header of a request: its name, its value, and whether it may be there (RFC 9113 §8.2, §8.3).

It is looked at once, when it comes: fields stay in HPACK's tables, and most requests are made
of what is there already.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

METHOD, SCHEME, PATH, AUTHORITY, LENGTH, REGULAR, ANY = (1 << n for n in range(7))
"""What has been seen of a request, as bits. ``ANY`` always has."""
REQUIRED: Final = METHOD | SCHEME | PATH
PSEUDO: Final = REQUIRED | AUTHORITY
_BITS: Final = {b":method": METHOD, b":scheme": SCHEME, b":path": PATH, b":authority": AUTHORITY}
_CONNECTION: Final = frozenset((b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"))
_NAME: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
_OVERHEAD: Final = 32


class Field:
    """What is seen with it are ``bits``, and it must not come after any of ``bars``."""

    __slots__ = ("bars", "bits", "name", "size", "value")

    def __init__(self, name: bytes, value: bytes) -> None:
        self.name, self.value = name, value
        self.size = len(name) + len(value) + _OVERHEAD
        """As tables and lists of headers count it (RFC 7541 §4.1, RFC 9113 §6.5.2)."""
        if name[:1] == b":":
            self.bits = _BITS.get(name, 0)
            self.bars = self.bits | REGULAR
            sound = self.bits and (value or self.bits == AUTHORITY)
        elif name == b"content-length":
            self.bits = LENGTH | REGULAR
            self.bars = LENGTH
            sound = value.isdigit() and len(value) < 19
        else:
            self.bits, self.bars = REGULAR, 0
            sound = name and not name.translate(None, _NAME)
            sound = sound and name not in _CONNECTION and (name != b"te" or value == b"trailers")
        if not sound or b"\n" in value or b"\r" in value or b"\0" in value:
            self.bars = ANY


def seen(fields: Iterable[Field]) -> int:
    """The bits of all of them; none where together they are not in order."""
    found = ANY
    for field in fields:
        if found & field.bars:
            return 0
        found |= field.bits
    return found
