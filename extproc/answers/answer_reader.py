"""Reads the answer of one exchange as it passes by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from extproc.answers.event_inspector import AnswerFacts, EventInspector, MessageInspector
from extproc.answers.shape import Shape
from extproc.answers.shapes import SHAPES
from extproc.answers.wire.aws_event_stream import EventStream
from extproc.answers.wire.decoder import EACH_EVENT, EVENTS, Allowance, Broken, Decoder, Event
from extproc.answers.wire.documents import Bare, Document, Objects, Opaque, Sniffed
from extproc.answers.wire.grpc_messages import GrpcMessages
from extproc.answers.wire.json_array import JsonArrayElements
from extproc.answers.wire.ndjson import JsonLines
from extproc.answers.wire.nested_streams import Base64, Raw
from extproc.answers.wire.response_coding import Decompressor, decompressor
from extproc.answers.wire.sse import Sse
from extproc.headers import Headers

_WIRES: dict[str, Callable[[], Decoder]] = {
    "text/event-stream": Sse,
    "application/x-ndjson": JsonLines,
    "application/ndjson": JsonLines,
    "application/jsonl": JsonLines,
    "application/x-jsonlines": JsonLines,
    "application/stream+json": JsonLines,
    "application/x-json-stream": JsonLines,
    "application/vnd.amazon.eventstream": EventStream,
}
_LINES = partial(Objects, several=True)
_INNER: dict[str, Callable[[], Decoder]] = {"base64": Base64, "raw": Raw}
_LOOKS: dict[tuple[str, str], EventInspector | MessageInspector] = {
    key: EventInspector(shape) if isinstance(shape, Shape) else MessageInspector(shape) for key, shape in SHAPES.items()
}
_ANY = EventInspector(Shape(token_kinds=("\0",), error_kinds=(), errors=(), marked=False, counted=False))
"""Sees no output and no error in anything."""


EventListener: TypeAlias = Callable[[bytes], None]


class AnswerReader:
    """One answer. ``told`` is what it has told so far."""

    __slots__ = ("_allowance", "_decoder", "_each", "_headers", "_look", "_sniffed", "_unpack", "broken", "told")

    def __init__(
        self,
        look: EventInspector | MessageInspector,
        decoder: Decoder,
        headers: Headers,
        unpack: Decompressor | None = None,
        each: EventListener | None = None,
    ) -> None:
        """``each`` is shown every document of the answer: all of it, or an event of a stream."""
        self.told = AnswerFacts()
        self._allowance = Allowance(EVENTS, EACH_EVENT)  # by bytes on the wire, packed or not
        self.broken = False
        """It can't be read on: a format that is none, or bytes that are not what they should be."""
        self._each = each
        self._look = look
        self._decoder = decoder
        self._sniffed: Sniffed | Objects | None = decoder if isinstance(decoder, Sniffed) else None
        self._unpack = unpack
        self._headers = headers

    @property
    def streamed(self) -> bool:
        """It comes in events, or in pieces that are output: as it is said to, until its first bytes tell."""
        decoder = self._decoder
        if isinstance(decoder, Objects):
            return decoder.several
        if isinstance(decoder, Sniffed):
            return decoder.said not in (Document, Opaque)
        return type(decoder) not in (Document, Opaque)

    @property
    def marked(self) -> bool:
        """A complete answer says that it is complete."""
        return (
            self.streamed
            and isinstance(self._look, EventInspector)
            and self._look.shape.marked
            and type(self._decoder) is not Bare
        )

    @property
    def counted(self) -> bool:
        """A piece of the answer is a token or so."""
        return isinstance(self._look, MessageInspector) or self._look.shape.counted

    def feed(self, data: bytes) -> bool:
        """Whether the next bytes of the answer bring output."""
        if self.broken:
            return False
        size = len(data)
        try:
            if self._unpack is not None:
                data = self._unpack(data)
            events = self._decoder.feed(data)
            self._allowance.take(size, len(events))
        except Broken:
            self.broken = True
            return False
        if self._sniffed is not None:
            self._settle(self._sniffed.chosen)
        return self._see(events) if events else False

    def end(self) -> bool:
        """The answer is over: whether output stood in what was left."""
        if self.broken:
            return False
        try:
            return self._see(self._decoder.end())
        except Broken:
            self.broken = True
            return False

    def counts(self) -> tuple[int | None, int | None, int | None]:
        """Tokens of input, output, and those of the input that were cached, as far as the answer told them."""
        found = self._look.counts(self.told)
        if (
            isinstance(self._look, EventInspector)
            and self._look.shape.headers
            and found[0] is None
            and found[1] is None
        ):
            asked, answered = self._look.shape.headers
            return _number(self._headers.text(asked)), _number(self._headers.text(answered)), found[2]
        return found

    def _settle(self, chosen: Decoder | None) -> None:
        """Goes on with what the first bytes have told."""
        if chosen is not None:
            self._decoder, self._sniffed = chosen, chosen if isinstance(chosen, Objects) else None
            if type(chosen) is Opaque:
                self._unpack = None

    def _see(self, events: Sequence[Event]) -> bool:
        output = False
        look, told = self._look.event, self.told
        for kind, data, whole in events:
            if look(told, kind, data, whole):
                output = True
        if self._each is not None:
            for _, data, whole in events:
                if whole:
                    self._each(data)
        return output


def answer_reader(api: str, operation: str, headers: Headers, each: EventListener | None = None) -> AnswerReader | None:
    """For the answer to this operation that has these headers; None where it can tell nothing.

    ``each`` is shown every document of it, also where no shape is known.
    """
    look = _LOOKS.get((api, operation), _ANY if each else None)
    if look is None:
        return None
    kind = headers.text("content-type").partition(";")[0].strip().lower()
    if isinstance(look, MessageInspector):
        if not kind.startswith("application/grpc"):
            return None
        return AnswerReader(look, GrpcMessages(headers.text("grpc-encoding")), headers)
    decoder = _decoder(kind, look.shape, headers)
    coding = headers.text("content-encoding")
    unpack = decompressor(coding)
    found = AnswerReader(look, decoder, headers, unpack if coding else None, each)
    found.broken = unpack is None
    return found


def _decoder(kind: str, shape: Shape, headers: Headers) -> Decoder:
    said = _WIRES.get(kind)
    if said is EventStream and shape.inner:
        said = _INNER[shape.inner]
    if said is None and kind == "application/json":
        said = Document
    if said is None:
        said = Bare if shape.bare and "content-length" not in headers else Opaque
    objects = _LINES if said is JsonLines else Objects
    return Sniffed(objects, Document if shape.marked or shape is _ANY.shape else JsonArrayElements, said)


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 16 else None
