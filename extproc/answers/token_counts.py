"""Adds up the token counts of an answer.

Servers repeat counts, in every event of a stream or in its last ones; some end with zeros, or leave out a count that
they gave before. So a count never falls, and a missing one replaces nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from extproc.answers.json_pointers import MAX_ELEMENTS, keys_of, value_at
from extproc.apis.answer_shape import Usage

TokenCounts: TypeAlias = tuple[int | None, int | None, int | None]
"""Tokens of the input, of the output, and of the input that came from a cache; None: not known."""
CountsByPart: TypeAlias = dict[tuple[int, int], "PartCounts"]
"""By the index of the ``Usage`` in its shape, and the index of the part of a batch."""

INPUT, OUTPUT, CACHED = range(3)
"""Indexes in ``TokenCounts``."""
_MAX_COUNT = 1 << 53
"""JSON numbers of this size and more are not exact (RFC 8259 §6)."""
_MAX_SEARCHES = 4
"""Places in which the value of a member is looked for in a truncated text."""
_raw_decode = json.JSONDecoder().raw_decode


class PartCounts:
    """Counts of one part of a batch, by one ``Usage``."""

    __slots__ = ("totals", "values")

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        """By member: its last value that is not zero."""
        self.totals: list[int | None] = [None, None, None]

    def raise_to(self, index: int, count: int) -> None:
        """Sets the total at ``index``, unless it was greater before."""
        before = self.totals[index]
        if before is None or before < count:
            self.totals[index] = count


class UsageCounter:
    """A compiled ``Usage``; ``number`` is its index in the shape."""

    __slots__ = ("_members", "_sums", "number", "part_index", "usage")

    def __init__(self, number: int, usage: Usage) -> None:
        self.number = number
        self.usage = usage
        self.part_index = usage.part_index.strip("/")
        members = (usage.input, usage.output, usage.cached)
        self._sums = [(index, names) for index, names in enumerate(members) if names]
        self._members = [
            (name, keys_of(f"/{name}")[0], keys_of(f"/{name}")[1:]) for name in dict.fromkeys(sum(members, ()))
        ]

    def add(self, counts: CountsByPart, part: int, node: Mapping[str, Any]) -> None:
        """Takes the counts that ``node``, an object at one of ``Usage.objects``, has."""
        found = counts.get((self.number, part))
        if found is None:
            if len(counts) >= MAX_ELEMENTS:
                return
            found = counts[self.number, part] = PartCounts()
        values, changed = found.values, False
        for name, key, rest in self._members:
            value = node.get(key)
            if rest:
                value = value_at(value, rest)
            if type(value) is float and value.is_integer():  # Cohere writes counts as 9.0
                value = int(value)
            if (
                type(value) is int
                and 0 <= value < _MAX_COUNT
                and values.get(name) != value
                and (value or name not in values)
            ):
                values[name], changed = value, True
        if changed:
            for index, names in self._sums:
                if len(names) > 1:
                    present = [values[name] for name in names if name in values]
                    if present:
                        found.raise_to(index, sum(present))
                elif (count := values.get(names[0])) is not None:
                    found.raise_to(index, count)

    def part_of(self, document: Mapping[str, Any], part: int) -> int:
        """The part of a batch that ``document`` says it is of; ``part`` where it does not say."""
        number = document.get(self.part_index)
        return number if type(number) is int else part

    def add_truncated(self, counts: CountsByPart, text: bytes) -> None:
        """Takes the counts in a text that is not whole: the end of a JSON document, or its beginning and its end."""
        for pointer in self.usage.objects:
            if pointer:
                node = _last_value(text, pointer.rpartition("/")[2])
                if type(node) is dict:
                    self.add(counts, 0, node)
            else:
                self.add(counts, 0, {key: _last_value(text, key) for _, key, _ in self._members})


def total_counts(counters: Sequence[UsageCounter], counts: CountsByPart) -> TokenCounts:
    """Over all parts; of each count the first counter's that has more than zero."""
    totals: list[int | None] = [None, None, None]
    for counter in counters:
        parts = [found.totals for (number, _), found in counts.items() if number == counter.number]
        for index in range(3):
            present = [count for part in parts if (count := part[index]) is not None]
            if present and not totals[index]:
                totals[index] = max(present) if counter.usage.same_prompt and index != OUTPUT else sum(present)
    return totals[INPUT], totals[OUTPUT], totals[CACHED]


def _last_value(text: bytes, name: str) -> Any:
    """The last value of the member ``name`` that can be read; None where there is none."""
    key, end = f'"{name}"'.encode(), len(text)
    for _ in range(_MAX_SEARCHES):
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
