"""The elements of a JSON array as they come: how Gemini and Vertex AI stream without ``alt=sse``.

May import ``clip`` and ``wire``. Only objects and arrays count as elements. What stands in them is not judged here:
of brackets, only their number. Source: RFC 8259.
"""

from __future__ import annotations

import re

from extproc.answers.wire.bounded_buffer import BoundedBuffer
from extproc.answers.wire.decoder import Event

_MARKS = re.compile(rb'\\.?|["{}\[\]]', re.DOTALL)


class JsonArrayElements:
    """See ``Decoder``. The wire names no kinds."""

    __slots__ = ("_depth", "_element", "_escaped", "_text")

    def __init__(self) -> None:
        self._depth = 0
        self._text = False  # within a string
        self._escaped = False  # the last piece ended in a backslash
        self._element = BoundedBuffer()

    def feed(self, data: bytes) -> list[Event]:
        """See ``Decoder``."""
        found: list[Event] = []
        start, skip = 0, int(self._escaped and bool(data))
        self._escaped = self._escaped and not data
        for mark in _MARKS.finditer(data, skip):
            what = data[mark.start()]
            if what == 0x22:
                self._text = not self._text
            elif self._text:
                # A backslash at the very end escapes what comes first in the next piece.
                self._escaped = what == 0x5C and mark.end() - mark.start() == 1
            elif what in b"{[":
                self._depth += 1
                if self._depth == 2:
                    start = mark.start()
            elif what in b"}]":
                self._depth -= 1
                if self._depth == 1:
                    self._element.add(data[start : mark.end()])
                    whole = self._element.whole
                    found.append(("", self._element.take(), whole))
        if self._depth > 1:
            self._element.add(data[start:])
        return found

    def end(self) -> list[Event]:
        """See ``Decoder``. An element that does not end is none."""
        return []
