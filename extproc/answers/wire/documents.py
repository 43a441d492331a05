"""Answers whose bytes alone do not tell where an event ends, or what they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from extproc.answers.wire.bounded_buffer import HEAD, BoundedBuffer
from extproc.answers.wire.decoder import BARE, Decoder, Event
from extproc.answers.wire.json_array import JsonArrayElements
from extproc.answers.wire.lenient_json import loads
from extproc.answers.wire.ndjson import JsonLines
from extproc.answers.wire.sse import Sse

FIRST = 64 << 10
"""Bytes within which a first line must end to be one of several."""
_BOM = b"\xef\xbb\xbf"
_FIELDS = (b":", b"data:", b"event:", b"id:", b"retry:")
"""What server-sent events begin with."""


class Document:
    """See ``Decoder``. An answer that is one document: its only event comes at the end."""

    __slots__ = ("_text",)

    def __init__(self) -> None:
        self._text = BoundedBuffer(HEAD)

    def feed(self, data: bytes) -> Sequence[Event]:
        """See ``Decoder``."""
        self._text.add(data)
        return ()

    def end(self) -> Sequence[Event]:
        """See ``Decoder``. Of one that is too long both ends are given, joined."""
        whole, head = self._text.whole, self._text.head
        text = self._text.take()
        return [("", text if whole else head + text, whole)] if text else []


class Objects:
    """See ``Decoder``. JSON that begins with an object: a document, or lines, as the first line tells."""

    __slots__ = ("_begun", "_inner", "chosen", "several")

    def __init__(self, *, several: bool = False) -> None:
        """``several``: it is said to be JSON lines."""
        self.several = several
        """It is no document: more than one line is an object, or it is said to have them."""
        self._begun = bytearray()  # the first line, as far as it is there
        self._inner: JsonLines | None = None
        self.chosen: JsonLines | Document | None = None
        """What it turned out to be; None before that is sure."""

    def feed(self, data: bytes) -> Sequence[Event]:
        """See ``Decoder``."""
        if self.chosen is not None:
            return self.chosen.feed(data)
        inner = self._inner
        if inner is not None:
            return self._more(inner, inner.feed(data))
        end = data.find(b"\n")
        self._begun += data
        if end < 0 and len(self._begun) <= FIRST:
            return ()
        end += len(self._begun) - len(data)
        text, several = bytes(self._begun), self.several
        self._begun.clear()
        if not 0 <= end <= FIRST or type(loads(text[:end])) is not dict:
            self.chosen, self.several = Document(), False
            return self.chosen.feed(text)
        self._inner = JsonLines()
        events = self._inner.feed(text)
        return self._more(self._inner, events) if several or len(events) > 1 else events

    def _more(self, inner: JsonLines, events: Sequence[Event]) -> Sequence[Event]:
        """Another line than the first, where there are events."""
        if events:
            self.chosen, self.several = inner, True
        return events

    def end(self) -> Sequence[Event]:
        """See ``Decoder``."""
        if self.chosen is not None:
            return self.chosen.end()
        if self._inner is not None:
            return self._more(self._inner, self._inner.end())
        return [("", bytes(self._begun), True)] if self._begun else []


class Opaque:
    """See ``Decoder``. Nothing that we can read."""

    def feed(self, data: bytes) -> Sequence[Event]:  # noqa: ARG002 - as ``Decoder`` has it
        """See ``Decoder``."""
        return ()

    def end(self) -> Sequence[Event]:
        """See ``Decoder``."""
        return ()


class Bare:
    """See ``Decoder``. Every piece is output."""

    def feed(self, data: bytes) -> Sequence[Event]:
        """See ``Decoder``."""
        return [(BARE, b"", True)] if data else []

    def end(self) -> Sequence[Event]:
        """See ``Decoder``."""
        return []


class Sniffed:
    """See ``Decoder``. The first bytes tell what it is, whatever it is said to be: content types lie."""

    __slots__ = ("_arrays", "_begun", "_objects", "chosen", "said")

    def __init__(
        self,
        objects: Callable[[], Decoder] = JsonLines,
        arrays: Callable[[], Decoder] = JsonArrayElements,
        said: Callable[[], Decoder] = Sse,
    ) -> None:
        """What takes apart what begins with an object, with an array, and with neither nor a field of an event."""
        self._objects = objects
        self._arrays = arrays
        self.said = said
        self._begun = b""  # what may become a field
        self.chosen: Decoder | None = None
        """What it turned out to be; None before its first bytes."""

    def feed(self, data: bytes) -> Sequence[Event]:
        """See ``Decoder``."""
        if self.chosen is None:
            data, self._begun = self._begun + data, b""
            text = data.removeprefix(_BOM).lstrip()
            if not text:
                return ()
            if text[:1] in (b"{", b"["):
                self.chosen, data = self._objects() if text[:1] == b"{" else self._arrays(), text
            elif _BOM.startswith(text) or (self.said is not Sse and any(field.startswith(text) for field in _FIELDS)):
                self._begun = text
                return ()
            elif self.said is Sse or text.startswith(_FIELDS):
                self.chosen = Sse()
            else:
                self.chosen = self.said()
        return self.chosen.feed(data)

    def end(self) -> Sequence[Event]:
        """See ``Decoder``."""
        return self.chosen.end() if self.chosen is not None else ()
