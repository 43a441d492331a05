"""The elements of a JSON array as they come: how Gemini and Vertex AI stream without ``alt=sse``.

May import ``clip`` and ``wire``. Only objects and arrays count as elements. What stands in them is not judged here:
of brackets, only their number. Source: RFC 8259.
"""

from __future__ import annotations

import re

from extproc.answers.wire.bounded_buffer import BoundedBuffer
from extproc.answers.wire.decoder import Broken, Event

_MARK = re.compile(rb'["{}\[\]]')
_TEXT = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_MARKS = 12_000
"""Strings and brackets of one piece of an answer; see ``wire.EVENTS``."""


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
        start, at = 0, int(self._escaped and bool(data))
        self._escaped = self._escaped and not data
        for _ in range(_MARKS):
            if self._text:
                at = _TEXT.match(data, at).end()  # type: ignore[union-attr] - nothing matches, too
                if at == len(data):
                    break
                if data[at] == 0x5C:  # a backslash at the very end escapes what comes first in the next piece
                    self._escaped = True
                    break
                self._text = False
                at += 1
            mark = _MARK.search(data, at)
            if mark is None:
                break
            at = mark.end()
            what = data[at - 1]
            if what == 0x22:
                self._text = True
            elif what in b"{[":
                self._depth += 1
                if self._depth == 2:
                    start = at - 1
            else:
                self._depth -= 1
                if self._depth == 1:
                    self._element.add(data[start:at])
                    whole = self._element.whole
                    found.append(("", self._element.take(), whole))
        else:
            raise Broken("a flood of brackets")
        if self._depth > 1:
            self._element.add(data[start:])
        return found

    def end(self) -> list[Event]:
        """See ``Decoder``. An element that does not end is none."""
        return []
