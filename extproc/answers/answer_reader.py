"""Reads the answer of one exchange, piece by piece, as Envoy shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from extproc.answers.answer_state import AnswerState
from extproc.answers.event_inspector import EventInspector
from extproc.answers.message_inspector import MessageInspector
from extproc.answers.token_counts import TokenCounts
from extproc.answers.wire.answer_coding import Decompressor, decompressor
from extproc.answers.wire.aws_event_stream import AwsEventStream
from extproc.answers.wire.decoder import (
    BYTES_PER_EVENT,
    BYTES_PER_MESSAGE,
    BYTES_PER_PACKED_EVENT,
    EVENTS_PER_PIECE,
    MAX_EVENTS,
    Allowance,
    Decoder,
    Event,
    MalformedAnswer,
)
from extproc.answers.wire.documents import JsonDocument, ObjectOrLines, RawOutput, SniffingDecoder, UnreadBody
from extproc.answers.wire.grpc_messages import GrpcMessages
from extproc.answers.wire.json_array import JsonArrayElements
from extproc.answers.wire.ndjson import JsonLines
from extproc.answers.wire.nested_streams import Base64Payloads, HttpBodies, RawPayloads
from extproc.answers.wire.sse import SseEvents
from extproc.apis.answer_shape import AnswerShape
from extproc.apis.answer_table import SHAPES
from extproc.headers import Headers

DECODERS: dict[str, Callable[[], Decoder]] = {
    "text/event-stream": SseEvents,
    "application/x-ndjson": JsonLines,
    "application/ndjson": JsonLines,
    "application/jsonl": JsonLines,
    "application/x-jsonlines": JsonLines,
    "application/stream+json": JsonLines,
    "application/x-json-stream": JsonLines,
    "application/vnd.amazon.eventstream": AwsEventStream,
}
"""By the content type of a streamed answer."""
_JSON_LINES = partial(ObjectOrLines, several=True)
_PAYLOAD_DECODERS: dict[str, Callable[[], Decoder]] = {"base64": Base64Payloads, "raw": RawPayloads}
_GRPC = (GrpcMessages, HttpBodies)
_INSPECTORS: dict[tuple[str, str], EventInspector | MessageInspector] = {
    key: EventInspector(shape) if isinstance(shape, AnswerShape) else MessageInspector(shape)
    for key, shape in SHAPES.items()
}
_UNKNOWN_SHAPE = EventInspector(
    AnswerShape(output_kinds=("\0",), error_kinds=(), errors=(), has_end_mark=False, pieces_are_tokens=False)
)
"""Of an API whose answers are only shown to a listener: no event has output or is an error."""
_MAX_DIGITS = 15
"""Of a count in a header."""


DocumentListener: TypeAlias = Callable[[bytes], None]


class AnswerReader:
    """One answer."""

    __slots__ = (
        *("_allowance", "_coding", "_decoder", "_expanded", "_headers", "_inspector", "_on_document", "_undecided"),
        "malformed",
        "state",
    )

    def __init__(
        self,
        inspector: EventInspector | MessageInspector,
        decoder: Decoder,
        headers: Headers,
        coding: Decompressor | None = None,
        on_document: DocumentListener | None = None,
    ) -> None:
        """``coding``: undoes the content coding. ``on_document`` is called with every JSON document, or event."""
        self.state = AnswerState()
        """What the answer has said so far."""
        self.malformed = False
        """It cannot be read further: an unknown coding, bytes of another format than declared, or too many events."""
        size = BYTES_PER_MESSAGE if isinstance(decoder, _GRPC) else BYTES_PER_EVENT
        self._allowance = Allowance(MAX_EVENTS, size if coding is None else BYTES_PER_PACKED_EVENT, EVENTS_PER_PIECE)
        self._expanded = 0
        self._on_document = on_document
        self._inspector = inspector
        self._decoder = decoder
        self._undecided: SniffingDecoder | ObjectOrLines | None = (
            decoder if isinstance(decoder, SniffingDecoder) else None
        )
        self._coding = coding
        self._headers = headers

    @property
    def streamed(self) -> bool:
        """It comes in events, or in pieces that are output: as its content type says, until its first bytes decide."""
        decoder = self._decoder
        if isinstance(decoder, HttpBodies):
            decoder = decoder.body
        if isinstance(decoder, ObjectOrLines):
            return decoder.several
        if isinstance(decoder, SniffingDecoder):
            return decoder.declared not in (JsonDocument, UnreadBody)
        return type(decoder) not in (JsonDocument, UnreadBody)

    @property
    def has_end_mark(self) -> bool:
        """A complete answer says that it is complete. Over gRPC it is the status that says so."""
        marked = self._inspector.has_end_mark and type(self._decoder) not in (RawOutput, HttpBodies)
        return marked and self.streamed

    @property
    def pieces_are_tokens(self) -> bool:
        """See ``AnswerShape``."""
        return self._inspector.pieces_are_tokens

    @property
    def expanded(self) -> int:
        """Bytes of what came compressed, without its compression."""
        decoder = self._decoder
        return decoder.expanded if isinstance(decoder, _GRPC) else self._expanded

    @property
    def events(self) -> int:
        """Those that have come."""
        return self._allowance.taken

    def feed(self, data: bytes) -> bool:
        """Whether the next bytes of the answer bring output."""
        if self.malformed:
            return False
        size = len(data)
        try:
            if self._coding is not None:
                data = self._coding(data)
                self._expanded += len(data)
            events = self._decoder.feed(data)
            self._allowance.take(size, len(events))
        except MalformedAnswer:
            self.malformed = True
            return False
        if self._undecided is not None:
            self._take_decision(self._undecided.chosen)
        return self._inspect(events) if events else False

    def end(self) -> bool:
        """The answer has ended. Returns whether what was still held has output."""
        if self.malformed:
            return False
        try:
            return self._inspect(self._decoder.end())
        except MalformedAnswer:
            self.malformed = True
            return False

    def counts(self) -> TokenCounts:
        """Token counts: those in the body or, where it has none of input and output, those in the headers."""
        found = self._inspector.counts(self.state)
        if found[0] is None and found[1] is None and isinstance(self._inspector, EventInspector):
            names = self._inspector.shape.usage_headers
            if names is not None:
                given, output = (_count(self._headers.text(name)) for name in names)
                return given, output, found[2]
        return found

    def _take_decision(self, chosen: Decoder | None) -> None:
        """Goes on with the decoder that the first bytes have chosen, if they have."""
        if chosen is not None:
            self._decoder = chosen
            self._undecided = chosen if isinstance(chosen, ObjectOrLines) else None
            if type(chosen) is UnreadBody:
                self._coding = None

    def _inspect(self, events: Sequence[Event]) -> bool:
        output = False
        inspect, state = self._inspector.inspect, self.state
        for kind, data, whole in events:
            if inspect(state, kind, data, whole):
                output = True
            if state.over:
                break
        if self._on_document is not None:
            for _, data, whole in events:
                if whole:
                    self._on_document(data)
        return output


def answer_reader(
    api: str, operation: str, headers: Headers, on_document: DocumentListener | None = None
) -> AnswerReader | None:
    """A reader for the answer with these response headers to this operation; None where nothing of it is read.

    With ``on_document`` the answers of operations without a shape are read, too.
    """
    inspector = _INSPECTORS.get((api, operation), _UNKNOWN_SHAPE if on_document else None)
    if inspector is None:
        return None
    content_type = headers.text("content-type").partition(";")[0].strip().lower()
    if isinstance(inspector, MessageInspector):
        if not content_type.startswith("application/grpc"):
            return None
        return AnswerReader(inspector, GrpcMessages(headers.text("grpc-encoding")), headers)
    if content_type.startswith("application/grpc") and inspector is not _UNKNOWN_SHAPE:
        # What is JSON over HTTP comes as ``google.api.HttpBody``.
        return AnswerReader(inspector, HttpBodies(headers.text("grpc-encoding")), headers, None, on_document)
    decoder = _decoder(content_type, inspector.shape, headers)
    name = headers.text("content-encoding")
    coding = decompressor(name)
    reader = AnswerReader(inspector, decoder, headers, coding if name else None, on_document)
    reader.malformed = coding is None
    return reader


def _decoder(content_type: str, shape: AnswerShape, headers: Headers) -> Decoder:
    declared = DECODERS.get(content_type)
    if declared is AwsEventStream and shape.payload:
        declared = _PAYLOAD_DECODERS[shape.payload]
    if content_type == "application/json":
        declared = JsonDocument
    if declared is None:
        declared = RawOutput if shape.raw_output and "content-length" not in headers else UnreadBody
    objects = _JSON_LINES if declared is JsonLines else ObjectOrLines
    arrays = JsonDocument if shape.has_end_mark or shape is _UNKNOWN_SHAPE.shape else JsonArrayElements
    return SniffingDecoder(objects, arrays, declared)


def _count(text: str) -> int | None:
    return int(text) if text.isdecimal() and text.isascii() and len(text) <= _MAX_DIGITS else None
