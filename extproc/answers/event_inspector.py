"""Looks at one event of an answer, as its shape says.

A shape is
compiled once; what an answer has told so far is kept in ``Told``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeAlias

from extproc.answers.json_pointers import (
    ELEMENTS,
    Keys,
    Place,
    any_flag,
    at,
    flag_of,
    keys_of,
    nodes,
    parts_of,
    place,
)
from extproc.answers.shape import Message, Shape
from extproc.answers.token_counts import Counting, Counts, Sums, Tokens, counts
from extproc.answers.wire.decoder import BARE, ERROR
from extproc.answers.wire.lenient_json import NOTHING, loads
from extproc.bodies.grpc_message import fields_of
from extproc.errors import Unreadable

DONE = b"[DONE]"
"""What ends OpenAI's streams, and those of all who took after them."""

_TOKEN, _END, _LAST, _ERROR, _FAILURE = 1, 2, 4, 8, 16
_SHORT = 16
"""Bytes: what is longer is no ``DONE``, with whatever blanks."""
_NONE = (None, None, None)
_COUNTS = {"input": 0, "output": 1, "cached": 2}
_TYPE = re.compile(rb'\s*\{\s*"type"\s*:\s*"([\w.-]*)"')
"""The kind of an event that is too long to be read, where it comes first."""
_ELEMENT = 32
"""Bytes that an element of a batch has at least: each is looked at, and smaller ones would make that slow."""
_CHOICES = 256
"""Choices that are looked at for output in one event."""
_KINDS = 256
"""Kinds of event that are kept in mind."""
_FIELDS, _EACH = 1000, 24
"""Fields that are looked at in one message and in those within it, and how many of those of all before do not count."""

_Group: TypeAlias = tuple[tuple[Keys, ...], Keys]
"""(what stands before, between and behind each ``*``; names there)."""


class AnswerFacts:
    """What an answer has told so far."""

    __slots__ = ("ended", "failed", "fields", "over", "pieces", "tokens")

    def __init__(self) -> None:
        self.pieces = 0
        """Events that held output."""
        self.tokens: Tokens = {}
        self.fields = 0
        """Of messages: how many more there were than ``_EACH`` for each."""
        self.ended = False
        """It said that it is complete."""
        self.failed = False
        """It said that it has failed."""
        self.over = False
        """Nothing that could follow is needed."""


class EventInspector:
    """A ``Shape`` at work."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self._kind = [keys_of(pointer) for pointer in shape.kind]
        self._tokens = _grouped(shape.tokens)
        self._ends = [place(pointer) for pointer in shape.ends]
        self._finishes = [flag_of(pointer) for pointer in shape.finishes]
        self._errors = [place(pointer) for pointer in shape.errors]
        self._failures = [_failure(text) for text in shape.failures]
        self._counting = [Counting(number, usage) for number, usage in enumerate(shape.usage)]
        self._usage: dict[Place, list[Counting]] = {}
        self._late: list[tuple[tuple[Keys, ...], Counting]] = []
        for one in self._counting:
            for pointer in one.usage.at:
                if one.usage.late or "*" in pointer:
                    self._late.append((parts_of(pointer), one))
                else:
                    self._usage.setdefault(place(pointer), []).append(one)
        self._places = [(key, rest, every) for (key, rest), every in self._usage.items()]
        self._roles: dict[str, int] = {}

    def event(self, told: AnswerFacts, kind: str, data: bytes, whole: bool) -> bool:
        """Whether the event holds output; ``told`` learns the rest."""
        if len(data) < _SHORT and data.strip() == DONE:
            told.ended = told.over = True
            return False
        if kind and kind in (ERROR, BARE):
            told.failed = told.over = kind == ERROR
            told.pieces += kind == BARE
            return kind == BARE
        if not whole:
            return self._ends_of(told, kind, data)
        document = loads(data)
        if type(document) is dict:
            return self.document(told, kind, document)
        if type(document) is list:
            some = document[: min(ELEMENTS, len(data) // _ELEMENT + 1)]
            return sum(self.document(told, kind, one, n) for n, one in enumerate(some) if type(one) is dict) > 0
        return document is NOTHING and self._judge(told, self._role(kind), False)

    def document(self, told: AnswerFacts, kind: str, document: dict[str, Any], part: int = 0) -> bool:
        """The same, of an event that is read; ``part`` of a batch."""
        for keys in self._kind:
            found = at(document, keys)
            if type(found) is str:
                kind = found
                break
        role = self._roles.get(kind, -1)
        role = self._role(kind) if role < 0 else role
        for key, rest, counting in self._places:
            node = document.get(key) if key else document
            if node and type(found := at(node, rest) if rest else node) is dict:
                for one in counting:
                    one.add(told.tokens, one.part_of(document, part) if one.part else part, found)
        for key, rest in self._errors:
            if (value := document.get(key)) and (not rest or at(value, rest)):
                role |= _ERROR
        for key, rest in self._ends:
            value = document.get(key)
            if value is not None and value is not False and (not rest or at(value, rest) not in (None, False)):
                role |= _END
        output = role & _TOKEN != 0 and (not self._tokens or _any(document, self._tokens))
        finished = any_flag(document, self._finishes) if self._finishes else False
        if output and not finished and role == _TOKEN and self._tokens and not told.ended:  # so nearly all come
            told.pieces += 1
            return True
        if finished or not output or not self._tokens:
            role |= self._late_in(told, document, part) | (_LAST if finished else 0)
        return self._judge(told, role, output)

    def counts(self, told: AnswerFacts) -> Counts:
        """Tokens of input, output, and those of the input that were cached, as far as the answer told them."""
        return counts(self._counting, told.tokens)

    def _late_in(self, told: AnswerFacts, document: dict[str, Any], part: int) -> int:
        """What an event may tell that brings no output, or is the last that does."""
        for around, one in self._late:
            for number, node in enumerate(nodes(document, around)):
                if type(node) is dict:
                    one.add(told.tokens, number if len(around) > 1 else part, node)
        for around, words in self._failures:
            for node in nodes(document, around):
                if type(node) is str and node in words:
                    return _FAILURE
        return 0

    def _judge(self, told: AnswerFacts, role: int, output: bool) -> bool:
        if role > _TOKEN:
            if role & _ERROR:
                told.failed = told.over = True
                return False
            told.ended = True
            told.failed = told.failed or role & _FAILURE != 0
            told.over = told.over or role & _END != 0
        elif output:
            told.ended = told.over  # what seemed to be the end was that of one choice
        if output:
            told.pieces += 1
        return output

    def _role(self, kind: str) -> int:
        role = self._roles.get(kind)
        if role is None:
            shape = self.shape
            role = (
                (_TOKEN if not shape.token_kinds or _fits(kind, shape.token_kinds) else 0)
                | (_END if _fits(kind, shape.end_kinds) else 0)
                | (_LAST if _fits(kind, shape.last_kinds) else 0)
                | (_ERROR if _fits(kind, shape.error_kinds) else 0)
            )
            if len(self._roles) < _KINDS:
                self._roles[kind] = role
        return role

    def _ends_of(self, told: AnswerFacts, kind: str, text: bytes) -> bool:
        """Of something too long to be kept: its last bytes, or its first and its last. An array tells nothing."""
        if not text.startswith(b"["):
            for one in self._counting:
                one.find(told.tokens, text)
        if not kind and self._kind and (found := _TYPE.match(text)):
            kind = found[1].decode()
        role = self._role(kind)
        return self._judge(told, role, bool(self.shape.token_kinds) and (not kind or role & _TOKEN != 0))


class MessageInspector:
    """A ``Message`` at work; see ``Look``."""

    def __init__(self, message: Message) -> None:
        self._roles: dict[tuple[int, ...], str] = {}
        self._words: dict[tuple[int, ...], tuple[bytes, ...]] = {}
        for name in ("input", "output", "cached", "tokens", "ends", "errors"):
            for text in getattr(message, name):
                pointer, _, words = text.partition("=")
                path = tuple(int(number) for number in pointer.split("."))
                self._roles[path] = name
                if words:
                    self._words[path] = tuple(word.encode() for word in words.split("|"))
        self._inner = {path[:depth] for path in self._roles for depth in range(1, len(path))}

    def event(self, told: AnswerFacts, kind: str, data: bytes, whole: bool) -> bool:  # noqa: ARG002 - as ``Look`` has it
        """Whether the message holds output; ``told`` learns the rest."""
        found: dict[str, int] = {}
        try:
            told.fields = self._walk(data, 0, len(data), (), found, max(0, told.fields - _EACH))
        except Unreadable:
            told.fields = _FIELDS + _EACH  # the next one is not even begun
            return False
        if "errors" in found:
            told.failed = told.over = True
            return False
        for name, value in found.items():
            if name in _COUNTS:
                told.tokens.setdefault((0, 0), Sums()).raise_to(_COUNTS[name], value)
        if "ends" in found:
            told.ended = True  # not over: the status is still to come
        output = "tokens" in found
        told.pieces += output
        return output

    def counts(self, told: AnswerFacts) -> Counts:
        """See ``Look``."""
        given, output, cached = told.tokens[0, 0].most if told.tokens else _NONE
        return given, output, cached

    def _walk(
        self, data: bytes, at: int, end: int, above: tuple[int, ...], found: dict[str, int], seen: int = 0
    ) -> int:
        """No deeper than the paths are long. ``seen``: fields of the message so far; returns them with those here."""
        for number, wire, _, value, after in fields_of(data, at, end):
            seen += 1
            if seen > _FIELDS:
                raise Unreadable("bad_grpc")
            path = (*above, number)
            role = self._roles.get(path)
            if role is not None and (wire == 0 or after > value or role == "ends"):
                words = self._words.get(path)
                if words is None or (wire == 2 and data[value:after] in words):
                    found[role] = value if wire == 0 else 0
            if path in self._inner and wire == 2:
                seen = self._walk(data, value, after, path, found, seen)
        return seen


def _failure(text: str) -> tuple[tuple[Keys, ...], frozenset[str]]:
    pointer, _, words = text.partition("=")
    return parts_of(pointer), frozenset(words.split("|"))


def _grouped(pointers: Sequence[str]) -> list[_Group]:
    """Pointers that differ in their last name only are one group."""
    found: dict[str, Keys] = {}
    for pointer in pointers:
        above, _, name = pointer.rpartition("/")
        found[above] = (*found.get(above, ()), name)
    return [(parts_of(above), names) for above, names in found.items()]


def _any(document: dict[str, Any], groups: Sequence[_Group]) -> bool:
    """Whether any pointer points at something that is not empty."""
    for parts, names in groups:  # noqa: SIM110 - half the time of any(): this is done for every token
        if _holds(document, parts, 0, names):
            return True
    return False


def _holds(node: Any, parts: tuple[Keys, ...], depth: int, names: Keys) -> bool:
    for key in parts[depth]:
        if type(node) is not dict:
            return False
        node = node.get(key)
    depth += 1
    if depth < len(parts):
        if type(node) is list:
            for one in node if len(node) <= _CHOICES else node[:_CHOICES]:
                if _holds(one, parts, depth, names):
                    return True
        return False
    if type(node) is not dict:
        return False
    for name in names:  # noqa: SIM110 - as above
        if node.get(name):
            return True
    return False


def _fits(kind: str, wanted: Sequence[str]) -> bool:
    for one in wanted:
        start, star, end = one.partition("*")
        if kind == one or (star and len(kind) >= len(one) and kind.startswith(start) and kind.endswith(end)):
            return True
    return False
