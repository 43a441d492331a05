"""Typed reading of a YAML tree; problems are noted with place, path and remedy.

A reader method notes the problem of a bad value and returns None (or nothing), and its caller goes on with a default:
one run finds every problem.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Hashable, Iterable
from typing import Protocol, TypeVar

from extproc.errors import Problem
from extproc.yamldoc import Items, Mapping, Node, Scalar, child_path, quoted

T = TypeVar("T")
D = TypeVar("D")
H = TypeVar("H", bound=Hashable)
N = TypeVar("N", int, float)

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_NUMBER = re.compile(r"[-+]?[0-9]{1,18}(?:\.[0-9]{0,18})?(?:[eE][-+]?[0-9]{1,2})?")
_TYPE_NAMES = {"int": "a number", "float": "a number", "bool": "a truth value", "timestamp": "a date"}


class Named(Protocol):
    """A value with a name that is unique among those of its kind."""

    @property
    def name(self) -> str:
        """Empty where the file has none."""


M = TypeVar("M", bound=Named)


class Field:
    """A value in a document: its node, its path, and the list of the document's problems."""

    __slots__ = ("file", "node", "path", "problems")

    def __init__(self, file: str, problems: list[Problem], node: Node, path: str = "") -> None:
        self.file = file
        self.problems = problems
        self.node = node
        self.path = path

    def error(self, message: str, remedy: str) -> None:
        """Notes an error: the value can't be used."""
        self._note(message, remedy, warning=False)

    def warn(self, message: str, remedy: str) -> None:
        """Notes a warning: the value works, but probably not as its author means it."""
        self._note(message, remedy, warning=True)

    def _note(self, message: str, remedy: str, *, warning: bool) -> None:
        place = self.file, self.node.line, self.node.column
        self.problems.append(Problem(*place, self.path, message, remedy, warning))

    @property
    def place(self) -> str:
        """``file:line``, for a message elsewhere that refers to this field; what has no lines, by its name alone."""
        return f"{self.file}:{self.node.line}" if self.node.line else self.file

    @property
    def place_in_document(self) -> str:
        """``on line 3``, or where the document has no lines, ``at`` the path."""
        return f"on line {self.node.line}" if self.node.line else f"at {self.path}"

    @property
    def clean(self) -> bool:
        """Whether no error was noted for this value or one below it."""
        below = (f"{self.path}.", f"{self.path}[") if self.path else ("",)
        return not any(not p.warning and f"{p.path}.".startswith(below) for p in self.problems)

    def has(self, name: str) -> bool:
        """Whether this is a mapping with the key ``name``."""
        return isinstance(self.node, Mapping) and any(key.text == name for key, _ in self.node.entries)

    def at(self, *steps: str | int) -> Field:
        """The value at ``steps`` below; where the file has none, its path with the node that would contain it."""
        field = self
        for step in steps:
            node = field.node
            if isinstance(step, int):
                if isinstance(node, Items) and step < len(node.items):
                    node = node.items[step]
                field = field._below(node, f"{field.path}[{step}]")
            else:
                if isinstance(node, Mapping):
                    node = next((value for key, value in node.entries if key.text == step), node)
                field = field._below(node, child_path(field.path, step))
        return field

    def _below(self, node: Node, path: str) -> Field:
        return Field(self.file, self.problems, node, path)

    def scalar(self, expected: str) -> str | None:
        """The text of any scalar that isn't empty. ``expected`` says in the message what it should be."""
        if isinstance(self.node, Scalar) and self.node.tag != "null" and self.node.text:
            return self.node.text
        what = {Items: "a list", Mapping: "a mapping"}.get(type(self.node), "empty")
        self.error(f"is {what}", f"give {expected}, or remove the field")
        return None

    def text(self, expected: str = "a text", *, empty: bool = False) -> str | None:
        """A string. Texts that YAML reads as a number, a truth value or a date must be in quotes."""
        if isinstance(self.node, Scalar):
            written = quoted(self.node.text)
            if what := _TYPE_NAMES.get(self.node.tag):
                self.error(f"{self.node.text} is {what} in YAML, not a text", f"put it in quotes: {written}")
                return None
            if empty and self.node.tag != "null":
                return self.node.text
        return self.scalar(expected)

    def text_matching(self, pattern: re.Pattern[str], expected: str) -> str | None:
        """A string that ``pattern`` matches completely."""
        text = self.text(expected)
        if text is not None and not pattern.fullmatch(text):
            self.error(f"{quoted(text)} is not allowed", f"give {expected}")
            return None
        return text

    def integer(self, minimum: int, maximum: int) -> int | None:
        """A whole number in decimal."""
        number = self._decimal(_INTEGER, "a whole number", f"from {minimum} to {maximum}")
        return None if number is None else self._within(number, int(number), minimum, maximum)

    def number(self, minimum: float, maximum: float) -> float | None:
        """A number in decimal, with or without a fraction."""
        number = self._decimal(_NUMBER, "a number", f"from {minimum} to {maximum}")
        return None if number is None else self._within(number, float(number), minimum, maximum)

    def _decimal(self, pattern: re.Pattern[str], what: str, bounds: str) -> str | None:
        text = self.scalar(f"{what} {bounds}")
        if text is None:
            return None
        if isinstance(self.node, Scalar) and self.node.tag in ("int", "float") and pattern.fullmatch(text):
            return text
        self.error(f"{quoted(text)} is not {what}", f"give {what} {bounds}, in decimal, without quotes")
        return None

    def _within(self, text: str, value: N, minimum: N, maximum: N) -> N | None:
        if minimum <= value <= maximum:
            return value
        self.error(f"{text} is out of range", f"give a number from {minimum} to {maximum}")
        return None

    def boolean(self) -> bool | None:
        """``true`` or ``false``; not YAML 1.1's yes and no."""
        text = self.scalar("true or false")
        if text is None:
            return None
        if isinstance(self.node, Scalar) and self.node.tag == "bool" and text.lower() in ("true", "false"):
            return text.lower() == "true"
        self.error(f"{quoted(text)} is not a truth value", "write true or false, without quotes")
        return None

    def choice(self, *options: str) -> str | None:
        """One word of a closed set."""
        text = self.scalar(f"one of {', '.join(options)}")
        if text is None or text in options:
            return text
        self.error(f"{quoted(text)} is none of {', '.join(options)}", suggestion(text, options))
        return None

    @property
    def children(self) -> list[Field]:
        """The items of a list; empty, without a problem, where it is none."""
        nodes = self.node.items if isinstance(self.node, Items) else ()
        return [self._below(node, f"{self.path}[{i}]") for i, node in enumerate(nodes)]

    def items(self, *, minimum: int = 0) -> list[Field]:
        """The items of a list. No list, or fewer than ``minimum`` items, is an error."""
        if not isinstance(self.node, Items):
            self.error("is not a list", "write a list: [first, second], or one `- item` a line")
            return []
        if len(self.node.items) < minimum:
            self.error("is an empty list", "give an item, or remove the field")
        return self.children

    def distinct(self, read: Callable[[Field], H | None], what: str, *, minimum: int = 0) -> tuple[H, ...]:
        """The values that ``read`` makes of the items, without bad ones. The same value twice is an error."""
        seen: dict[H, Field] = {}
        for field in self.items(minimum=minimum):
            value = read(field)
            if value is None:
                continue
            if first := seen.get(value):
                field.error(f"the same {what} as {first.place_in_document}", "remove one of the two")
            else:
                seen[value] = field
        return tuple(seen)

    def named(self, read: Callable[[Field], M | None], what: str, *, minimum: int = 0) -> tuple[M, ...]:
        """The values that ``read`` makes of the items, without bad ones. The same name twice is an error."""
        first: dict[str, Field] = {}
        values = []
        for field in self.items(minimum=minimum):
            value = read(field)
            if value is None:
                continue
            if value.name and value.name in first:
                message = f"the {what} {value.name} is there already, {first[value.name].place_in_document}"
                field.at("name").error(message, "choose another name, or remove one of the two")
            first.setdefault(value.name, field)
            values.append(value)
        return tuple(values)

    def entries(self) -> list[tuple[str, Field, Field]]:
        """(key, field of the key, field of the value) of every entry of a mapping."""
        if not isinstance(self.node, Mapping):
            self.error("is not a mapping", "write fields below it: `key: value`, one a line, indented")
            return []
        paths = [child_path(self.path, key.text) for key, _ in self.node.entries]
        return [
            (key.text, self._below(key, path), self._below(value, path))
            for (key, value), path in zip(self.node.entries, paths, strict=True)
        ]

    def fields(self, *known: str, homes: dict[str, str] | None = None) -> Fields | None:
        """A mapping with the ``known`` keys; any other is an error. None where it is no mapping.

        ``homes``: for fields that are often written here, the one of ``known`` below which they belong.
        """
        entries = self.entries()
        for name, key, _ in entries:
            if name not in known:
                home = (homes or {}).get(name)
                key.error("is not a known field", f"write it below {home}" if home else suggestion(name, known))
        if not isinstance(self.node, Mapping):
            return None
        return Fields(self, {name: value for name, _, value in entries})


class Fields:
    """The fields of a mapping, read one by one."""

    def __init__(self, field: Field, by_name: dict[str, Field]) -> None:
        self.field = field
        self._by_name = by_name

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def required(self, name: str, read: Callable[[Field], T | None], remedy: str) -> T | None:
        """The value that ``read`` makes of the field ``name``. That it is missing is an error."""
        if name not in self._by_name:
            self.field.error(f"has no {name}", remedy)
            return None
        return read(self._by_name[name])

    def optional(self, name: str, read: Callable[[Field], T | None], default: D) -> T | D:
        """The value that ``read`` makes of the field ``name``; ``default`` where it is missing or bad."""
        value = read(self._by_name[name]) if name in self._by_name else None
        return default if value is None else value


def suggestion(text: str, options: Iterable[str]) -> str:
    """The remedy for a word that is none of ``options``: the most similar one, else all of them."""
    words = list(options)
    lowered = {w.lower(): w for w in words}
    if close := difflib.get_close_matches(text.lower()[:100], lowered, n=1, cutoff=0.6):
        return f'did you mean "{lowered[close[0]]}"?'
    return f"use one of: {', '.join(words)}" if words else "there is none to choose from"
