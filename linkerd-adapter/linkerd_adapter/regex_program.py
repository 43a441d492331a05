"""Compiled regular expressions and the search that runs them, as Rust's ``regex`` does. Pure.

Python's ``re`` backtracks, and takes exponential time for patterns such as ``(a+)+b``. Here no instruction is tried
twice at one position, so a search takes at most (instructions + 1) x (characters + 1) steps. What it finds is the
leftmost match, of several at one place the one that is preferred: earlier alternatives, greedy or lazy repetitions.

Source: the bounded backtracker and the Thompson compiler of ``regex-automata`` (``nfa/thompson/compiler.rs``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias


class Consume(NamedTuple):
    """Goes over one character that ``expression``, one of Python's ``re``, matches."""

    expression: str


class Assert(NamedTuple):
    """Goes on where ``expression``, one of Python's ``re`` that consumes nothing, matches."""

    expression: str


class Split(NamedTuple):
    """Tries ``preferred``, then ``other``; offsets are relative to this instruction."""

    preferred: int
    other: int


class Jump(NamedTuple):
    """Goes on at ``offset``, relative to this instruction."""

    offset: int


Code: TypeAlias = tuple[Consume | Assert | Split | Jump, ...]
"""Instructions; the match is complete after the last of them."""


def alternation(branches: Sequence[Code]) -> Code:
    """One of ``branches``, the first that leads to a match."""
    code = branches[-1]
    for branch in reversed(branches[:-1]):
        code = (Split(1, len(branch) + 2), *branch, Jump(len(code) + 1), *code)
    return code


def repetition(body: Code, low: int, high: int | None, *, lazy: bool, may_be_empty: bool) -> Code:
    """``body`` from ``low`` to ``high`` times (None: without end); ``may_be_empty``: it can match no characters."""
    if high is not None:
        optional: Code = ()
        for _ in range(high - low):
            optional = _optional(body + optional, lazy=lazy)
        return body * low + optional
    if low == 0 and may_be_empty:  # as `(body+)?`, so that the preference of an empty match stays
        return _optional(repetition(body, 1, None, lazy=lazy, may_be_empty=True), lazy=lazy)
    if low == 0:
        return (_split(1, len(body) + 2, lazy=lazy), *body, Jump(-len(body) - 1))
    return (*body * low, _split(-len(body), 1, lazy=lazy))


def _optional(body: Code, *, lazy: bool) -> Code:
    return (_split(1, len(body) + 1, lazy=lazy), *body)


def _split(repeat: int, leave: int, *, lazy: bool) -> Split:
    return Split(leave, repeat) if lazy else Split(repeat, leave)


class Program:
    """A compiled pattern."""

    def __init__(self, code: Code) -> None:
        self.code = code

    def find(self, text: str) -> tuple[int, int] | None:
        """The span (start, end) of the leftmost match in ``text``; None without one."""
        tried = bytearray((len(self.code) + 1) * (len(text) + 1))
        for start in range(len(text) + 1):
            if (end := self._end_of_match(text, start, tried)) is not None:
                return start, end
        return None

    def _end_of_match(self, text: str, start: int, tried: bytearray) -> int | None:
        """``tried``: which instructions were tried at which positions, and led to no match; new ones are marked."""
        alternatives = [(0, start)]
        while alternatives:
            at, position = alternatives.pop()
            while not tried[key := at * (len(text) + 1) + position]:
                if at == len(self.code):
                    return position
                tried[key] = True
                match self.code[at]:
                    case Split(preferred, other):
                        alternatives.append((at + other, position))
                        at += preferred
                    case Jump(offset):
                        at += offset
                    case Assert(expression) if _compiled(expression).match(text, position):
                        at += 1
                    case Consume(expression) if _compiled(expression).match(text, position):
                        at += 1
                        position += 1
                    case _:
                        break
        return None


@lru_cache(maxsize=4096)
def _compiled(expression: str) -> re.Pattern[str]:
    return re.compile(expression)
