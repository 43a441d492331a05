"""A buffer of bounded size: of what is longer it keeps the beginning and the end, where usage is."""

from __future__ import annotations

MAX_WHOLE = 256 << 10
"""Bytes of one event, or of an answer that is one document, that are kept whole."""
TAIL_SIZE = 8 << 10
"""Of something longer: its last bytes that are kept."""
HEAD_SIZE = 4 << 10
"""Of something longer: its first bytes that are kept, where they can matter."""


class BoundedBuffer:
    """Joins pieces to one text."""

    __slots__ = ("_data", "_head", "_head_size", "whole")

    def __init__(self, head_size: int = 8) -> None:
        """``head_size``: so many of the first bytes are never dropped."""
        self._head_size = head_size
        self._head = b""  # the first bytes, once some were dropped
        self.whole = True
        """Nothing was dropped."""
        self._data = bytearray()  # not a list: small pieces take many times their size in memory

    @property
    def head(self) -> bytes:
        """The first bytes, which are never dropped."""
        return bytes(self._data[: self._head_size]) if self.whole else self._head

    def __bool__(self) -> bool:
        return bool(self._data)

    def add(self, piece: bytes) -> None:
        """Appends ``piece``."""
        if not piece:
            return
        self._data += piece
        if len(self._data) > MAX_WHOLE or not self.whole:
            if self.whole:
                self._head = bytes(self._data[: self._head_size])
            self.whole = False
            if len(self._data) > 2 * TAIL_SIZE:
                del self._data[:-TAIL_SIZE]

    def take(self) -> bytes:
        """The text, or its last ``TAIL_SIZE`` bytes where it is not ``whole``; empties the buffer."""
        data = bytes(self._data if self.whole else self._data[-TAIL_SIZE:])
        self._head, self.whole = b"", True
        self._data.clear()
        return data
