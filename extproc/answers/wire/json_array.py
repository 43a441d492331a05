"""The elements of a JSON array as they come: how Gemini and Vertex AI stream without ``alt=sse``.

Only objects and arrays count as elements. Their syntax is not checked: brackets are only counted. Source: RFC 8259.
"""

from __future__ import annotations

import re

from extproc.answers.wire.bounded_buffer import BoundedBuffer
from extproc.answers.wire.decoder import BYTES_PER_LINE, MAX_EVENTS, Allowance, Event, MalformedAnswer

_MARK = re.compile(rb'"(?:[^"\\]++|\\.)*+("?)|[{}\[\]]', re.DOTALL)
_TEXT = re.compile(rb'(?:[^"\\]++|\\.)*+("?)', re.DOTALL)
_MAX_MARKS = 8000
"""Strings and brackets in one piece of an answer; see ``MAX_EVENTS``."""


class JsonArrayElements:
    """See ``Decoder``. Events have no kind."""

    __slots__ = ("_allowance", "_depth", "_element", "_escaped", "_text")

    def __init__(self) -> None:
        self._allowance = Allowance(_MAX_MARKS, BYTES_PER_LINE)
        self._depth = 0
        self._text = False  # within a string
        self._escaped = False  # within a string, and the last piece ended in a backslash
        self._element = BoundedBuffer()

    def feed(self, data: bytes) -> list[Event]:
        """See ``Decoder``."""
        found: list[Event] = []
        if not data:
            return found  # what stands last before it is still last
        start, at = 0, int(self._escaped)
        self._escaped = False
        if self._text:
            text = _TEXT.match(data, at)
            at = text.end() if text else at  # it matches always, and may match nothing
            self._text = not (text and text[1])
            self._escaped = self._text and at < len(data)
        seen = 0
        for mark in _MARK.finditer(data, at):
            seen += 1
            what = data[mark.start()]
            if what == 0x22:
                if not mark[1]:
                    # A backslash at the end escapes the first byte of the next piece.
                    self._text, self._escaped = True, mark.end() < len(data)
            elif what in b"{[":
                self._depth += 1
                if self._depth == 2:
                    start = mark.start()
            else:
                self._depth -= 1
                if self._depth == 1:
                    self._element.add(data[start : mark.end()])
                    whole = self._element.whole
                    found.append(("", self._element.take(), whole))
            if seen > _MAX_MARKS or len(found) > MAX_EVENTS:
                raise MalformedAnswer("too many brackets")
        self._allowance.take(len(data), seen)
        if self._depth > 1:
            self._element.add(data[start:])
        return found

    def end(self) -> list[Event]:
        """See ``Decoder``. An element without an end is dropped."""
        return []
