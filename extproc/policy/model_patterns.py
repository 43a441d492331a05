"""Which pattern of models a name matches: exact names first, then globs, in which ``*`` stands for any text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

Owner = TypeVar("Owner")


class PatternIndex(Generic[Owner]):
    """The owners of patterns, found by a model's name."""

    __slots__ = ("_exact", "_globs")

    def __init__(self, patterns: Iterable[tuple[str, Owner]]) -> None:
        """``patterns`` with their owners; of equally long globs the first is tried first."""
        pairs = list(patterns)
        self._exact = {pattern: owner for pattern, owner in pairs if "*" not in pattern}
        globs = sorted((pair for pair in pairs if "*" in pair[0]), key=lambda pair: -len(pair[0]))
        self._globs = [(pattern.split("*"), owner) for pattern, owner in globs]

    @property
    def owners(self) -> tuple[Owner, ...]:
        """In the order in which their patterns are tried: exact names, then globs, the longest first."""
        return (*self._exact.values(), *(owner for _, owner in self._globs))

    def find(self, model: str) -> Owner | None:
        """The owner of the exact name, or else of the longest glob that matches; None: there is none."""
        if owner := self._exact.get(model):
            return owner
        for parts, owner in self._globs:
            if matches_glob(parts, model):
                return owner
        return None


def matches_glob(parts: Sequence[str], text: str) -> bool:
    """Whether ``text`` matches the glob that was split at ``*`` into ``parts`` (at least two)."""
    head, *middle, tail = parts
    if len(text) < len(head) + len(tail) or not text.startswith(head) or not text.endswith(tail):
        return False
    at, end = len(head), len(text) - len(tail)
    for part in middle:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True
