"""One header field of a request, checked (RFC 9113 §8.2, §8.3).

A field is checked once, when it is decoded: it stays in HPACK's tables, and most requests are made of fields there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

METHOD, SCHEME, PATH, AUTHORITY, LENGTH, REGULAR, ANY = (1 << n for n in range(7))
"""Kinds of fields as bits: pseudo-headers, content-length, regular fields. ``ANY`` is part of every request."""
REQUIRED: Final = METHOD | SCHEME | PATH
PSEUDO: Final = REQUIRED | AUTHORITY
_PSEUDO_KINDS: Final = {b":method": METHOD, b":scheme": SCHEME, b":path": PATH, b":authority": AUTHORITY}
_CONNECTION_SPECIFIC: Final = frozenset(
    (b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade")
)
_NAME_BYTES: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
_OVERHEAD: Final = 32


class Field:
    """Its ``kinds``, and those after which it must not come (``not_after``; ``ANY``: nowhere)."""

    __slots__ = ("kinds", "name", "not_after", "size", "value")

    def __init__(self, name: bytes, value: bytes) -> None:
        self.name, self.value = name, value
        self.size = len(name) + len(value) + _OVERHEAD
        """Bytes as tables and lists of fields count them (RFC 7541 §4.1, RFC 9113 §6.5.2)."""
        if name[:1] == b":":
            self.kinds = _PSEUDO_KINDS.get(name, 0)
            self.not_after = self.kinds | REGULAR
            valid = self.kinds and (value or self.kinds == AUTHORITY)
        elif name == b"content-length":
            self.kinds = LENGTH | REGULAR
            self.not_after = LENGTH
            valid = value.isdigit() and len(value) < 19
        else:
            self.kinds, self.not_after = REGULAR, 0
            valid = name and not name.translate(None, _NAME_BYTES)
            valid = valid and name not in _CONNECTION_SPECIFIC and (name != b"te" or value == b"trailers")
        if not valid or b"\n" in value or b"\r" in value or b"\0" in value:
            self.not_after = ANY


def kinds_of(fields: Iterable[Field]) -> int:
    """The kinds of all fields; 0 where one is malformed, repeated or out of order."""
    kinds = ANY
    for field in fields:
        if kinds & field.not_after:
            return 0
        kinds |= field.kinds
    return kinds
