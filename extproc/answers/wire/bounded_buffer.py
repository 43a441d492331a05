"""A buffer that never grows beyond a bound: of what is longer it keeps both ends.

Usage stands at the end of an answer, or at its beginning, where the answer itself is too long to be kept.
"""

from __future__ import annotations

LIMIT = 256 << 10
"""Bytes that are kept whole: of one event, or of an answer that is one document."""
TAIL = 8 << 10
"""Bytes that are kept of something longer: the last ones."""
HEAD = 4 << 10
"""Bytes that are kept of its beginning, where that may tell something."""


class BoundedBuffer:
    """Pieces on their way to be one."""

    __slots__ = ("_data", "_head", "_stay", "whole")

    def __init__(self, stay: int = 8) -> None:
        """``stay``: so many of the first bytes are never dropped."""
        self._stay = stay
        self._head = b""  # once something was dropped
        self.whole = True
        """Nothing was dropped."""
        self._data = bytearray()  # a list of pieces would take many times their size where they are small

    @property
    def head(self) -> bytes:
        """The first bytes, which stay."""
        return bytes(self._data[: self._stay]) if self.whole else self._head

    def __bool__(self) -> bool:
        return bool(self._data)

    def add(self, piece: bytes) -> None:
        """One more."""
        if not piece:
            return
        self._data += piece
        if len(self._data) > LIMIT or not self.whole:
            if self.whole:
                self._head = bytes(self._data[: self._stay])
            self.whole = False
            if len(self._data) > 2 * TAIL:
                del self._data[:-TAIL]

    def take(self) -> bytes:
        """All of it, or its last ``TAIL`` bytes; what comes next is something new. Ask ``whole`` before."""
        data = bytes(self._data if self.whole else self._data[-TAIL:])
        self._head, self.whole = b"", True
        self._data.clear()
        return data
