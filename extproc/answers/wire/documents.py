"""Answers whose bytes alone do not tell where an event ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from extproc.answers.wire.bounded_buffer import BoundedBuffer
from extproc.answers.wire.decoder import BARE, Decoder, Event
from extproc.answers.wire.json_array import JsonArrayElements
from extproc.answers.wire.ndjson import JsonLines
from extproc.answers.wire.sse import Sse


class Document:
    """See ``Decoder``. An answer that is one document: its only event comes at the end."""

    __slots__ = ("_text",)

    def __init__(self) -> None:
        self._text = BoundedBuffer()

    def feed(self, data: bytes) -> Sequence[Event]:
        """See ``Decoder``."""
        self._text.add(data)
        return ()

    def end(self) -> Sequence[Event]:
        """See ``Decoder``."""
        whole = self._text.whole
        text = self._text.take()
        return [("", text, whole)] if text else []


class Bare:
    """See ``Decoder``. Every piece is output."""

    def feed(self, data: bytes) -> Sequence[Event]:
        """See ``Decoder``."""
        return [(BARE, b"", True)] if data else []

    def end(self) -> Sequence[Event]:
        """See ``Decoder``."""
        return []


class Sniffed:
    """See ``Decoder``. The first byte tells what it is: an array, an object, or server-sent events."""

    __slots__ = ("_objects", "chosen")

    def __init__(self, objects: Callable[[], Decoder] = JsonLines) -> None:
        """``objects``: what takes apart what begins with an object."""
        self._objects = objects
        self.chosen: Decoder | None = None
        """What it turned out to be; None before the first byte."""

    def feed(self, data: bytes) -> Sequence[Event]:
        """See ``Decoder``."""
        if self.chosen is None:
            data = data.lstrip()
            if not data:
                return ()
            self.chosen = JsonArrayElements() if data[:1] == b"[" else self._objects() if data[:1] == b"{" else Sse()
        return self.chosen.feed(data)

    def end(self) -> Sequence[Event]:
        """See ``Decoder``."""
        return self.chosen.end() if self.chosen is not None else ()
