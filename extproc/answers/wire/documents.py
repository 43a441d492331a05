"""Answers that are one document, raw output or not read; and which format an answer has, by its first bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from extproc.answers.wire.bounded_buffer import HEAD_SIZE, BoundedBuffer
from extproc.answers.wire.decoder import RAW_OUTPUT, Decoder, Event
from extproc.answers.wire.json_array import JsonArrayElements
from extproc.answers.wire.lenient_json import loads
from extproc.answers.wire.ndjson import JsonLines
from extproc.answers.wire.sse import SseEvents

MAX_FIRST_LINE = 64 << 10
"""Bytes within which the first of several JSON lines must end."""
_BOM = b"\xef\xbb\xbf"
_FIELDS = (b":", b"data:", b"event:", b"id:", b"retry:")
"""With one of these a line of server-sent events begins."""


class JsonDocument:
    """See ``Decoder``. An answer that is one JSON document: its only event comes at the end."""

    __slots__ = ("_text",)

    def __init__(self) -> None:
        self._text = BoundedBuffer(HEAD_SIZE)

    def feed(self, data: bytes) -> Sequence[Event]:
        """See ``Decoder``."""
        self._text.add(data)
        return ()

    def end(self) -> Sequence[Event]:
        """See ``Decoder``. Of a document that is too long, its beginning and its end are given, joined."""
        whole, head = self._text.whole, self._text.head
        text = self._text.take()
        return [("", text if whole else head + text, whole)] if text else []


class ObjectOrLines:
    """See ``Decoder``. JSON that begins with an object: one document, or JSON lines, which the first line decides."""

    __slots__ = ("_begun", "_inner", "chosen", "several")

    def __init__(self, *, several: bool = False) -> None:
        """``several``: the content type is that of JSON lines."""
        self.several = several
        """It is JSON lines: by its content type, or since a second line has come."""
        self._begun = bytearray()  # the beginning of the first line
        self._inner: JsonLines | None = None
        self.chosen: JsonLines | JsonDocument | None = None
        """The decoder of the format that it has; None while that is not sure."""

    def feed(self, data: bytes) -> Sequence[Event]:
        """See ``Decoder``."""
        if self.chosen is not None:
            return self.chosen.feed(data)
        inner = self._inner
        if inner is not None:
            return self._more(inner, inner.feed(data))
        searched = len(self._begun)
        self._begun += data
        end = self._begun.find(b"\n", searched)
        if end < 0 and len(self._begun) <= MAX_FIRST_LINE:
            return ()
        text, several = bytes(self._begun), self.several
        self._begun.clear()
        if not 0 <= end <= MAX_FIRST_LINE or type(loads(text[:end])) is not dict:
            self.chosen, self.several = JsonDocument(), False
            return self.chosen.feed(text)
        self._inner = JsonLines()
        events = self._inner.feed(text)
        return self._more(self._inner, events) if several or len(events) > 1 else events

    def _more(self, inner: JsonLines, events: Sequence[Event]) -> Sequence[Event]:
        """Decides for JSON lines where a line after the first gives events."""
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


class UnreadBody:
    """See ``Decoder``. An answer of a format that is not read: it has no events."""

    def feed(self, data: bytes) -> Sequence[Event]:  # noqa: ARG002 - as ``Decoder`` has it
        """See ``Decoder``."""
        return ()

    def end(self) -> Sequence[Event]:
        """See ``Decoder``."""
        return ()


class RawOutput:
    """See ``Decoder``. Every piece is output (sound, for example)."""

    def feed(self, data: bytes) -> Sequence[Event]:
        """See ``Decoder``."""
        return [(RAW_OUTPUT, b"", True)] if data else []

    def end(self) -> Sequence[Event]:
        """See ``Decoder``."""
        return []


class SniffingDecoder:
    """See ``Decoder``. The first bytes decide which format it has, since content types are often wrong."""

    __slots__ = ("_arrays", "_begun", "_objects", "chosen", "declared")

    def __init__(
        self,
        objects: Callable[[], Decoder] = JsonLines,
        arrays: Callable[[], Decoder] = JsonArrayElements,
        declared: Callable[[], Decoder] = SseEvents,
    ) -> None:
        """Decoders of what begins with an object, with an array, and with neither these nor a field of an event."""
        self._objects = objects
        self._arrays = arrays
        self.declared = declared
        self._begun = b""  # too few bytes to decide
        self.chosen: Decoder | None = None
        """The decoder of the format that it has; None while its first bytes do not decide."""

    def feed(self, data: bytes) -> Sequence[Event]:
        """See ``Decoder``."""
        if self.chosen is None:
            data, self._begun = self._begun + data, b""
            text = data.removeprefix(_BOM).lstrip()
            if not text:
                return ()
            if text[:1] in (b"{", b"["):
                self.chosen, data = self._objects() if text[:1] == b"{" else self._arrays(), text
            elif _BOM.startswith(text) or (
                self.declared is not SseEvents and any(field.startswith(text) for field in _FIELDS)
            ):
                self._begun = text
                return ()
            elif text.startswith(_FIELDS):
                self.chosen = SseEvents()
            else:
                self.chosen = self.declared()
        return self.chosen.feed(data)

    def end(self) -> Sequence[Event]:
        """See ``Decoder``."""
        return self.chosen.end() if self.chosen is not None else ()
