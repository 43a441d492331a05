"""A buffer that never grows beyond a bound: of what is longer it keeps the end.

Usage stands at the end of an answer, where the answer itself is too long to be kept.
"""

from __future__ import annotations

LIMIT = 256 << 10
"""Bytes that are kept whole: of one event, or of an answer that is one document."""
TAIL = 8 << 10
"""Bytes that are kept of something longer: the last ones."""


class BoundedBuffer:
    """Pieces on their way to be one."""

    __slots__ = ("_data", "_stay", "head", "whole")

    def __init__(self, stay: int = 8) -> None:
        """``stay``: so many of the first bytes are never dropped."""
        self._stay = stay
        self.head = b""
        """The first bytes, which stay."""
        self.whole = True
        """Nothing was dropped."""
        self._data = bytearray()  # a list of pieces would take many times their size where they are small

    def __bool__(self) -> bool:
        return bool(self._data)

    def add(self, piece: bytes) -> None:
        """One more."""
        if not piece:
            return
        if len(self.head) < self._stay:
            self.head += piece[: self._stay - len(self.head)]
        self._data += piece
        if len(self._data) > LIMIT or not self.whole:
            self.whole = False
            if len(self._data) > 2 * TAIL:
                del self._data[:-TAIL]

    def take(self) -> bytes:
        """All of it, or its last ``TAIL`` bytes; what comes next is something new. Ask ``whole`` before."""
        data = bytes(self._data if self.whole else self._data[-TAIL:])
        self.head, self.whole = b"", True
        self._data.clear()
        return data
