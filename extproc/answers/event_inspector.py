"""Looks at one event of an answer, as its shape says.

A shape is compiled once; what an answer
has told so far is kept in ``Told``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from extproc.answers.shape import Message, Shape, Usage
from extproc.answers.wire.decoder import BARE, ERROR
from extproc.answers.wire.lenient_json import NOTHING, loads
from extproc.bodies.grpc_message import fields_of
from extproc.errors import Unreadable

DONE = b"[DONE]"
"""What ends OpenAI's streams, and those of all who took after them."""

_TOKEN, _END, _LAST, _ERROR = 1, 2, 4, 8
_MOST = 1 << 53
_KINDS = 256
"""Kinds of event that are kept in mind."""
_FIELDS, _EACH = 1000, 24
"""Fields that are looked at in one message and in those within it, and how many of those of all before do not count."""

_Keys: TypeAlias = tuple[str, ...]
_Place: TypeAlias = tuple[str, _Keys]
_Group: TypeAlias = tuple[tuple[_Keys, ...], _Keys]
"""(what stands before, between and behind each ``*``; names there)."""
_raw_decode = json.JSONDecoder().raw_decode


class AnswerFacts:
    """What an answer has told so far."""

    __slots__ = ("ended", "failed", "fields", "over", "pieces", "tokens")

    def __init__(self) -> None:
        self.pieces = 0
        """Events that held output."""
        self.tokens: dict[tuple[int, str], int] = {}
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
        self._kind = [_keys(pointer) for pointer in shape.kind]
        self._tokens = _grouped(shape.tokens)
        self._ends = [_place(pointer) for pointer in shape.ends]
        self._errors = [_place(pointer) for pointer in shape.errors]
        self._usage = [(n, _names(usage), [_place(at) for at in usage.at]) for n, usage in enumerate(shape.usage)]
        self._roles: dict[str, int] = {}

    def event(self, told: AnswerFacts, kind: str, data: bytes, whole: bool) -> bool:
        """Whether the event holds output; ``told`` learns the rest."""
        if data == DONE:
            told.ended = told.over = True
            return False
        if kind in (ERROR, BARE):
            told.failed = told.over = kind == ERROR
            told.pieces += kind == BARE
            return kind == BARE
        if not whole:
            self._end_of(told, data)
            role = self._role(kind)
            output = bool(self.shape.token_kinds) and (not kind or role & _TOKEN != 0)
            return self._judge(told, role, output)
        document = loads(data)
        if type(document) is list and document:
            document = document[0]
        if type(document) is not dict:
            return document is NOTHING and self._judge(told, self._role(kind), False)
        return self.document(told, kind, document)

    def document(self, told: AnswerFacts, kind: str, document: dict[str, Any]) -> bool:
        """The same, of an event that is read."""
        for keys in self._kind:
            found = _at(document, keys)
            if type(found) is str:
                kind = found
                break
        role = self._roles.get(kind)
        if role is None:
            role = self._role(kind)
        for number, names, places in self._usage:
            for key, rest in places:
                node = document.get(key) if key else document
                if rest and node:
                    node = _at(node, rest)
                if type(node) is dict:
                    _add(told, number, names, node)
        for key, rest in self._errors:
            if (value := document.get(key)) and (not rest or _at(value, rest)):
                role |= _ERROR
        for key, rest in self._ends:
            value = document.get(key)
            if value is not None and value is not False and (not rest or _at(value, rest) not in (None, False)):
                role |= _END
        output = role & _TOKEN != 0 and (not self._tokens or _any(document, self._tokens))
        return self._judge(told, role, output)

    def counts(self, told: AnswerFacts) -> tuple[int | None, int | None, int | None]:
        """Tokens of input, output, and those of the input that were cached, as far as the answer told them."""
        sums: list[int | None] = []
        for which in ("input", "output", "cached"):
            total = None
            for number, usage in enumerate(self.shape.usage):
                given = [told.tokens[number, n] for n in getattr(usage, which) if (number, n) in told.tokens]
                if given:
                    total = sum(given)
                    break
            sums.append(total)
        return sums[0], sums[1], sums[2]

    def _judge(self, told: AnswerFacts, role: int, output: bool) -> bool:
        if role > _TOKEN:
            if role & _ERROR:
                told.failed = told.over = True
                return False
            told.ended = True
            told.over = told.over or role & _END != 0
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

    def _end_of(self, told: AnswerFacts, tail: bytes) -> None:
        """Usage from the end of something too long to be kept."""
        for number, names, places in self._usage:
            for key, rest_ in places:
                name = f'"{(key, *rest_)[-1]}"'.encode() if key else b""
                at = tail.rfind(name) if name else -1
                rest = tail[at + len(name) :].lstrip() if at >= 0 else b""
                if not rest.startswith(b":"):
                    continue
                try:
                    node, _ = _raw_decode(rest[1:].decode("utf-8", "replace").lstrip())
                except (ValueError, RecursionError):
                    continue
                if type(node) is dict:
                    _add(told, number, names, node)


class MessageInspector:
    """A ``Message`` at work; see ``Look``."""

    def __init__(self, message: Message) -> None:
        self._roles: dict[tuple[int, ...], str] = {}
        for name in ("input", "output", "cached", "tokens", "ends", "errors"):
            for path in getattr(message, name):
                self._roles[tuple(int(number) for number in path.split("."))] = name
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
        for name in ("input", "output", "cached"):
            if name in found:
                told.tokens[0, name] = found[name]
        if "ends" in found:
            told.ended = True  # not over: the status is still to come
        output = "tokens" in found
        told.pieces += output
        return output

    def counts(self, told: AnswerFacts) -> tuple[int | None, int | None, int | None]:
        """See ``Look``."""
        tokens = told.tokens
        return tokens.get((0, "input")), tokens.get((0, "output")), tokens.get((0, "cached"))

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
                found[role] = value if wire == 0 else 0
            if path in self._inner and wire == 2:
                seen = self._walk(data, value, after, path, found, seen)
        return seen


def _keys(pointer: str) -> _Keys:
    return tuple(pointer.split("/")[1:])


def _place(pointer: str) -> _Place:
    """The first key, which is all that most pointers have, and the others. Empty: the whole document."""
    key, *rest = _keys(pointer) or ("",)
    return key, tuple(rest)


def _names(usage: Usage) -> list[tuple[str, _Keys]]:
    return [(name, tuple(name.split("/"))) for name in dict.fromkeys((*usage.input, *usage.output, *usage.cached))]


def _at(node: Any, keys: _Keys) -> Any:
    for key in keys:
        if type(node) is not dict:
            return None
        node = node.get(key)
    return node


def _add(told: AnswerFacts, number: int, names: Sequence[tuple[str, _Keys]], node: Mapping[str, Any]) -> None:
    for name, keys in names:
        value = _at(node, keys)
        if type(value) is float and value.is_integer():  # so Cohere writes them
            value = int(value)
        if type(value) is int and 0 <= value < _MOST:
            told.tokens[number, name] = value


def _grouped(pointers: Sequence[str]) -> list[_Group]:
    """Pointers that differ in their last name only are one group."""
    found: dict[str, _Keys] = {}
    for pointer in pointers:
        above, _, name = pointer.rpartition("/")
        found[above] = (*found.get(above, ()), name)
    return [
        (tuple(tuple(part.strip("/").split("/")) if part.strip("/") else () for part in above.split("*")), names)
        for above, names in found.items()
    ]


def _any(document: dict[str, Any], groups: Sequence[_Group]) -> bool:
    """Whether any pointer points at something that is not empty."""
    for parts, names in groups:  # noqa: SIM110 - half the time of any(): this is done for every token
        if _holds(document, parts, 0, names):
            return True
    return False


def _holds(node: Any, parts: tuple[_Keys, ...], depth: int, names: _Keys) -> bool:
    for key in parts[depth]:
        if type(node) is not dict:
            return False
        node = node.get(key)
    depth += 1
    if depth < len(parts):
        if type(node) is list:
            for one in node:
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
