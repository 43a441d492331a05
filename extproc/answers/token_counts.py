"""Adds up what an answer tells of its tokens.

Servers repeat their counts, in every event of a stream or in the last ones, and some end with zeros, or leave out what
they have told before. So a count never falls, and what is missing replaces nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from extproc.answers.json_pointers import ELEMENTS, at, keys_of
from extproc.answers.shape import Usage

Counts: TypeAlias = tuple[int | None, int | None, int | None]
"""Tokens of input, output, and those of the input that were cached; None: not told."""
Tokens: TypeAlias = dict[tuple[int, int], "Sums"]
"""By the number of the ``Usage`` in its shape, and the part of a batch."""

_OUTPUT = 1
_MOST = 1 << 53
_TRIES = 4
"""Places in which a name is looked for that is found where no value follows."""
_raw_decode = json.JSONDecoder().raw_decode


class Sums:
    """What one part has told."""

    __slots__ = ("most", "names")

    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self.most: list[int | None] = [None, None, None]

    def raise_to(self, role: int, count: int) -> None:
        """``count`` tokens of this role, unless there were more before."""
        before = self.most[role]
        if before is None or before < count:
            self.most[role] = count


class Counting:
    """A ``Usage`` at work; ``number`` is its place in the shape."""

    __slots__ = ("_names", "_roles", "number", "part", "usage")

    def __init__(self, number: int, usage: Usage) -> None:
        self.number = number
        self.usage = usage
        self.part = usage.part.strip("/")
        every = (usage.input, usage.output, usage.cached)
        self._roles = [(role, wanted) for role, wanted in enumerate(every) if wanted]
        self._names = [
            (name, keys_of(f"/{name}")[0], keys_of(f"/{name}")[1:]) for name in dict.fromkeys(sum(every, ()))
        ]

    def add(self, tokens: Tokens, part: int, node: Mapping[str, Any]) -> None:
        """What ``node`` tells."""
        sums = tokens.get((self.number, part))
        if sums is None:
            if len(tokens) >= ELEMENTS:
                return
            sums = tokens[self.number, part] = Sums()
        names, new = sums.names, False
        for name, key, rest in self._names:
            value = node.get(key)
            if rest:
                value = at(value, rest)
            if type(value) is float and value.is_integer():  # so Cohere writes them
                value = int(value)
            if type(value) is int and 0 <= value < _MOST and names.get(name) != value and (value or name not in names):
                names[name], new = value, True
        if new:
            for role, wanted in self._roles:
                if len(wanted) > 1:
                    given = [names[name] for name in wanted if name in names]
                    if given:
                        sums.raise_to(role, sum(given))
                elif (count := names.get(wanted[0])) is not None:
                    sums.raise_to(role, count)

    def part_of(self, document: Mapping[str, Any], part: int) -> int:
        """Of which part of a batch ``document`` is; ``part`` where it does not say."""
        number = document.get(self.part)
        return number if type(number) is int else part

    def find(self, tokens: Tokens, text: bytes) -> None:
        """What stands in the text of something that is not whole: its last bytes, or its first and its last."""
        for pointer in self.usage.at:
            if pointer:
                node = _value(text, pointer.rpartition("/")[2])
                if type(node) is dict:
                    self.add(tokens, 0, node)
            else:
                self.add(tokens, 0, {key: _value(text, key) for _, key, _ in self._names})


def counts(counting: Sequence[Counting], tokens: Tokens) -> Counts:
    """All that was told: of each count the first usage that tells more than nothing, over all parts."""
    found: list[int | None] = [None, None, None]
    for one in counting:
        parts = [sums.most for (number, _), sums in tokens.items() if number == one.number]
        for role in range(3):
            given = [count for most in parts if (count := most[role]) is not None]
            if given and not found[role]:
                found[role] = max(given) if one.usage.shared and role != _OUTPUT else sum(given)
    return found[0], found[1], found[2]


def _value(text: bytes, name: str) -> Any:
    """The last value of this name; None where there is none that can be read."""
    key, end = f'"{name}"'.encode(), len(text)
    for _ in range(_TRIES):
        end = text.rfind(key, 0, end)
        if end < 0:
            return None
        rest = text[end + len(key) :].lstrip()
        if rest.startswith(b":"):
            try:
                return _raw_decode(rest[1:].decode("utf-8", "replace").lstrip())[0]
            except (ValueError, RecursionError):
                continue
    return None
