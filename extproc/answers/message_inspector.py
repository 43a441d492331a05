"""Reads the messages of a gRPC answer by a ``GrpcAnswerShape``."""

from __future__ import annotations

from typing import TypeAlias

from extproc.answers.answer_state import AnswerState
from extproc.answers.token_counts import CACHED, INPUT, OUTPUT, PartCounts, TokenCounts
from extproc.apis.answer_shape import GrpcAnswerShape
from extproc.bodies.grpc_message import fields_of
from extproc.errors import Unreadable

_MAX_FIELDS, _FREE_FIELDS = 1000, 24
"""Protobuf fields that are read in one message with those within it, and how many of each message before do not count
against that."""
_COUNTS = {"input_tokens": INPUT, "output_tokens": OUTPUT, "cached_tokens": CACHED}
_NO_COUNTS: TokenCounts = (None, None, None)


class _Field:
    """What a shape says of one field."""

    __slots__ = ("role", "within", "words")

    def __init__(self) -> None:
        self.role = ""
        self.words: tuple[bytes, ...] | None = None
        """Values that count; None: any."""
        self.within: _Fields = {}


_Fields: TypeAlias = dict[int, _Field]
"""By number."""


class MessageInspector:
    """A compiled ``GrpcAnswerShape``; serves any number of answers."""

    pieces_are_tokens = True
    """See ``AnswerShape``."""
    has_end_mark = False
    """See ``AnswerShape``: gRPC's status is the end, and is not in a message."""

    def __init__(self, shape: GrpcAnswerShape) -> None:
        self._fields: _Fields = {}
        for name in (*_COUNTS, "output", "ends", "errors"):
            for text in getattr(shape, name):
                dotted, _, words = text.partition("=")
                *parents, last = (int(number) for number in dotted.split("."))
                fields = self._fields
                for number in parents:
                    fields = fields.setdefault(number, _Field()).within
                field = fields.setdefault(last, _Field())
                field.role = name
                field.words = tuple(word.encode() for word in words.split("|")) if words else None

    def inspect(self, state: AnswerState, kind: str, data: bytes, whole: bool) -> bool:  # noqa: ARG002 - as EventInspector
        """Whether the message has output; the rest goes into ``state``."""
        found: dict[str, int] = {}
        seen = max(0, state.excess_fields - _FREE_FIELDS)
        if seen >= _MAX_FIELDS:
            return False
        try:
            state.excess_fields = _read_fields(data, 0, len(data), self._fields, found, seen)
        except Unreadable:
            state.excess_fields = _MAX_FIELDS + _FREE_FIELDS  # the next message is not even begun
            return False
        if "errors" in found:
            state.failed = state.over = True
            return False
        for name, value in found.items():
            if name in _COUNTS:
                state.counts.setdefault((0, 0), PartCounts()).raise_to(_COUNTS[name], value)
        if "ends" in found:
            state.complete = True  # not over: the status is still to come
        output = "output" in found
        state.output_events += output
        return output

    def counts(self, state: AnswerState) -> TokenCounts:
        """The answer's token counts so far."""
        if not state.counts:
            return _NO_COUNTS
        given, output, cached = state.counts[0, 0].totals
        return given, output, cached


def _read_fields(data: bytes, start: int, end: int, fields: _Fields, found: dict[str, int], seen: int) -> int:
    """Puts the fields that ``fields`` give a role into ``found``, by role; no deeper than these go.

    ``seen``: fields that were read before. Returns their number with those read here. Raises ``Unreadable`` for bytes
    that are no protobuf message, and for more than ``_MAX_FIELDS``.
    """
    for number, wire, _, value, after in fields_of(data, start, end):
        seen += 1
        if seen > _MAX_FIELDS:
            raise Unreadable("bad_grpc")
        field = fields.get(number)
        if field is None:
            continue
        role = field.role
        if role and (wire == 0 or after > value or role == "ends"):
            words = field.words
            if words is None or (wire == 2 and data[value:after] in words):
                found[role] = value if wire == 0 else 0
        if field.within and wire == 2:
            seen = _read_fields(data, value, after, field.within, found, seen)
    return seen
