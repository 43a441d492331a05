"""Reads the JSON events of an answer by an ``AnswerShape``: output, failures, token counts, the end.

A shape is compiled once; what one answer has said so far is in its ``AnswerState``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeAlias

from extproc.answers.answer_state import AnswerState
from extproc.answers.client_errors import is_client_error
from extproc.answers.json_pointers import (
    MAX_ELEMENTS,
    Keys,
    SplitPath,
    any_set,
    element_path,
    keys_of,
    parts_of,
    split_path,
    value_at,
    values_at,
)
from extproc.answers.token_counts import TokenCounts, UsageCounter, total_counts
from extproc.answers.wire.decoder import CLIENT_ERROR, ERROR, RAW_OUTPUT
from extproc.answers.wire.lenient_json import MAX_REFUSED, NOT_JSON, loads_leniently, loads_strictly
from extproc.apis.answer_shape import AnswerShape

_DONE = b"[DONE]"
"""The data of the event that ends a stream of OpenAI's API, and of all that are modelled on it."""
_MAX_DONE = 16
"""Bytes of such data with the blanks around it: longer data is not searched for it."""

# What an event is, as bits of one number.
_OUTPUT, _END, _FINISH, _ERROR, _FAILURE = 1, 2, 4, 8, 16

_TYPE = re.compile(rb'\s*\{\s*"type"\s*:\s*"([\w.-]*)"')
"""The kind of a truncated event, where that is its first member."""
_MIN_ELEMENT = 32
"""Bytes that an element of an array of documents is expected to have: of smaller ones not all are read."""
_MAX_CHOICES = 256
"""Elements of one array that are searched for output."""
_MANY_PLACES = 8
"""Groups of places of output from which on an event is first asked whether it has the beginning of any."""
_MAX_KINDS = 256
"""Kinds of event whose role is remembered."""

_Group: TypeAlias = tuple[tuple[Keys, ...], Keys]
"""Pointers that differ in their last key only: the parts of what they share (see ``parts_of``), and the last keys."""


class EventInspector:
    """A compiled ``AnswerShape``; serves any number of answers."""

    def __init__(self, shape: AnswerShape) -> None:
        self.shape = shape
        self.pieces_are_tokens = shape.pieces_are_tokens
        self.has_end_mark = shape.has_end_mark
        self._kind = [keys_of(pointer) for pointer in shape.kind]
        self._output = _grouped(shape.output)
        self._roots = _roots(self._output) if len(self._output) > _MANY_PLACES else None
        self._ends = [split_path(pointer) for pointer in shape.ends]
        self._finishes = [element_path(pointer) for pointer in shape.finishes]
        self._errors = [split_path(pointer) for pointer in shape.errors]
        self._failures = [_failure(text) for text in shape.failures]
        self._counters = [UsageCounter(number, usage) for number, usage in enumerate(shape.usage)]
        every_event: dict[SplitPath, list[UsageCounter]] = {}
        last_events: dict[str, list[UsageCounter]] = {}
        for counter in self._counters:
            for pointer in counter.usage.objects:
                if counter.usage.in_last_events or "*" in pointer:
                    last_events.setdefault(pointer, []).append(counter)
                else:
                    every_event.setdefault(split_path(pointer), []).append(counter)
        self._every_event = [(key, rest, counters) for (key, rest), counters in every_event.items()]
        self._last_events = [(parts_of(pointer), counters) for pointer, counters in last_events.items()]
        self._roles: dict[str, int] = {}

    def inspect(self, state: AnswerState, kind: str, data: bytes, whole: bool) -> bool:
        """Whether the event has output; the rest goes into ``state``.

        ``kind``: as the framing names it. ``whole``: ``data`` is all of the event, and not only its ends.
        """
        if kind and kind in (ERROR, CLIENT_ERROR, RAW_OUTPUT):
            state.failed, state.client_error = kind == ERROR, kind == CLIENT_ERROR
            state.over = kind != RAW_OUTPUT
            state.output_events += kind == RAW_OUTPUT
            return kind == RAW_OUTPUT
        if len(data) < _MAX_DONE:
            data = data.strip()
            if data == _DONE:
                state.complete = state.over = True
                return False
            if not data and whole:
                return self._apply(state, self._role_of(kind), False)
        if not whole:
            return self._inspect_truncated(state, kind, data)
        document = loads_strictly(data)
        if type(document) is dict:
            return self.inspect_document(state, kind, document)
        if document is NOT_JSON and state.refused < MAX_REFUSED:
            document = loads_leniently(data)
            if type(document) is dict:
                return self.inspect_document(state, kind, document)
            state.refused += document is NOT_JSON
        if type(document) is list:
            documents = document[: min(MAX_ELEMENTS, len(data) // _MIN_ELEMENT + 1)]
            found = [self.inspect_document(state, kind, d, n) for n, d in enumerate(documents) if type(d) is dict]
            return any(found)
        return document is NOT_JSON and self._apply(state, self._role_of(kind), False)

    def inspect_document(self, state: AnswerState, kind: str, document: dict[str, Any], part: int = 0) -> bool:
        """As ``inspect``, of an event that is decoded. ``part``: its index in a batch."""
        for keys in self._kind:
            found = value_at(document, keys)
            if type(found) is str:
                kind = found
                break
        role = self._roles.get(kind, -1)
        role = self._role_of(kind) if role < 0 else role
        for key, rest, counters in self._every_event:
            node = document.get(key) if key else document
            if node and type(found := value_at(node, rest) if rest else node) is dict:
                for counter in counters:
                    index = counter.part_of(document, part) if counter.part_index else part
                    counter.add(state.counts, index, found)
        for key, rest in self._errors:
            if (value := document.get(key)) and (not rest or value_at(value, rest)):
                role |= _ERROR
        for key, rest in self._ends:
            value = document.get(key)
            if value is not None and value is not False and (not rest or value_at(value, rest) not in (None, False)):
                role |= _END
        output = role & _OUTPUT != 0 and (not self._output or _any_output(document, self._output, self._roots))
        finished = any_set(document, self._finishes) if self._finishes else False
        if output and not finished and role == _OUTPUT and self._output and not state.complete:  # nearly all events
            state.output_events += 1
            return True
        if finished or not output or not self._output:
            role |= self._inspect_last(state, document, part) | (_FINISH if finished else 0)
        return self._apply(state, role, output, document)

    def counts(self, state: AnswerState) -> TokenCounts:
        """The answer's token counts so far."""
        return total_counts(self._counters, state.counts)

    def _inspect_last(self, state: AnswerState, document: dict[str, Any], part: int) -> int:
        """Reads what only an event without output, or the last one with output, can have. Returns its role's bits."""
        for parts, counters in self._last_events:
            if parts[0] and not document.get(parts[0][0]):
                continue
            nodes = values_at(document, parts)
            for counter in counters:
                for number, node in enumerate(nodes):
                    if node and type(node) is dict:
                        counter.add(state.counts, number if len(parts) > 1 else part, node)
        for parts, words in self._failures:
            if not document.get(parts[0][0]):
                continue
            for node in values_at(document, parts):
                if type(node) is str and node in words:
                    return _FAILURE
        return 0

    def _inspect_truncated(self, state: AnswerState, kind: str, text: bytes) -> bool:
        """Of an event that was too long to be kept: ``text`` is its end, or its beginning and its end.

        An array has no counts then: those of the last part alone would be wrong.
        """
        if not text.startswith(b"["):
            for counter in self._counters:
                counter.add_truncated(state.counts, text)
        if not kind and self._kind and (found := _TYPE.match(text)):
            kind = found[1].decode()
        role = self._role_of(kind)
        return self._apply(state, role, bool(self.shape.output_kinds) and (not kind or role & _OUTPUT != 0))

    def _apply(self, state: AnswerState, role: int, output: bool, document: dict[str, Any] | None = None) -> bool:
        """Puts an event's role into ``state``. Returns whether it has output: an error has none."""
        if role > _OUTPUT:
            if role & (_ERROR | _FAILURE):
                state.client_error = document is not None and is_client_error(document)
                state.failed = not state.client_error
            if role & _ERROR:
                state.over = True
                return False
            state.complete = True
            state.over = state.over or role & _END != 0
        elif output:
            state.complete = state.over  # what had finished was one choice, or one part of a batch
        if output:
            state.output_events += 1
        return output

    def _role_of(self, kind: str) -> int:
        role = self._roles.get(kind)
        if role is None:
            shape = self.shape
            role = (
                (_OUTPUT if not shape.output_kinds or _matches(kind, shape.output_kinds) else 0)
                | (_END if _matches(kind, shape.end_kinds) else 0)
                | (_FINISH if _matches(kind, shape.finish_kinds) else 0)
                | (_ERROR if _matches(kind, shape.error_kinds) else 0)
            )
            if len(self._roles) < _MAX_KINDS:
                self._roles[kind] = role
        return role


def _failure(text: str) -> tuple[tuple[Keys, ...], frozenset[str]]:
    pointer, _, words = text.partition("=")
    return parts_of(pointer), frozenset(words.split("|"))


def _grouped(pointers: Sequence[str]) -> list[_Group]:
    found: dict[str, Keys] = {}
    for pointer in pointers:
        parent, _, name = pointer.rpartition("/")
        found[parent] = (*found.get(parent, ()), name)
    return [(parts_of(parent), names) for parent, names in found.items()]


def _roots(groups: Sequence[_Group]) -> frozenset[str]:
    """The members of an event in which its output may be."""
    return frozenset(key for parts, names in groups for key in (parts[0][:1] or names))


def _any_output(document: dict[str, Any], groups: Sequence[_Group], roots: frozenset[str] | None) -> bool:
    """Whether a value at one of the pointers is not empty. ``roots``: where they begin, if those are asked first."""
    if roots is not None and roots.isdisjoint(document):
        return False
    for parts, names in groups:  # noqa: SIM110 - half the time of any(): this is done for every token
        if _has_output(document, parts, 0, names):
            return True
    return False


def _has_output(node: Any, parts: tuple[Keys, ...], depth: int, names: Keys) -> bool:
    for key in parts[depth]:
        if type(node) is not dict:
            return False
        node = node.get(key)
    depth += 1
    if depth < len(parts):
        if type(node) is list:
            for element in node if len(node) <= _MAX_CHOICES else node[:_MAX_CHOICES]:
                if _has_output(element, parts, depth, names):
                    return True
        return False
    if type(node) is not dict:
        return False
    for name in names:  # noqa: SIM110 - as above
        if node.get(name):
            return True
    return False


def _matches(kind: str, patterns: Sequence[str]) -> bool:
    for pattern in patterns:
        start, star, end = pattern.partition("*")
        if kind == pattern or (star and len(kind) >= len(pattern) and kind.startswith(start) and kind.endswith(end)):
            return True
    return False
