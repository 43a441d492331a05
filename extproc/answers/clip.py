"""A buffer that never grows beyond a bound: of what is longer it keeps the end. Floor 2.

Usage stands at the end of an answer, where the answer itself is too long to be kept.
"""

from __future__ import annotations

LIMIT = 256 << 10
"""Bytes that are kept whole: of one event, or of an answer that is one document."""
TAIL = 8 << 10
"""Bytes that are kept of something longer: the last ones."""
_HEAD = 8


class Clip:
    """Pieces on their way to be one."""

    __slots__ = ("_parts", "_size", "head", "whole")

    def __init__(self) -> None:
        self.head = b""
        """The first eight bytes, which stay."""
        self.whole = True
        """Nothing was dropped."""
        self._parts: list[bytes] = []
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._parts)

    def add(self, piece: bytes) -> None:
        """One more."""
        if not piece:
            return
        if len(self.head) < _HEAD:
            self.head += piece[: _HEAD - len(self.head)]
        self._parts.append(piece)
        self._size += len(piece)
        if self._size > LIMIT or not self.whole:
            self._drop()

    def take(self) -> bytes:
        """All of it, or its last ``TAIL`` bytes; what comes next is something new. Ask ``whole`` before."""
        data = b"".join(self._parts)
        if not self.whole:
            data = data[-TAIL:]
        self.head, self.whole, self._size = b"", True, 0
        self._parts.clear()
        return data

    def _drop(self) -> None:
        self.whole = False
        if self._size > 2 * TAIL or len(self._parts) > TAIL:
            tail = b"".join(self._parts)[-TAIL:]
            self._parts[:] = [tail]
            self._size = len(tail)
