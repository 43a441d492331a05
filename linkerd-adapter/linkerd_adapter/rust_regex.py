"""Regular expressions by the grammar of Rust's ``regex`` crate, compiled for a search that finds what it finds. Pure.

Linkerd's policy controller and proxy read patterns with ``regex`` 1.x in its defaults (Unicode on, no octal escapes),
whose syntax (``regex-syntax``) is neither Python's nor RE2's: ``a**``, ``a++`` (no possessive quantifier there),
``[a&&b]``, ``\\z`` and ``(?<n>…)`` are accepted, ``\\Z``, ``\\0``, ``a{1`` and all lookaround are refused.

Results are exact for ASCII texts. In other texts ``\\w`` and ``\\d`` follow Python's Unicode tables.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from linkerd_adapter import rust_class
from linkerd_adapter.regex_program import Assert, Code, Consume, Program, alternation, repetition
from linkerd_adapter.rust_class import MAX_NESTING, RefusedError, UnjudgedError

__all__ = ["RefusedError", "UnjudgedError", "parse"]

MAX_COUNT = 2**32 - 1
"""Of a counted repetition, by ``regex-syntax``."""
MAX_SIZE = 20_000
"""Characters and classes, repetitions written out: beyond it a pattern may be too large for Rust (10 MB compiled)."""
MAX_INSTRUCTIONS = 5_000
"""Of a program: what is longer takes seconds to search with."""
_UNICODE_SIZE, _CLASS_SIZE, _DOT_SIZE = 80, 20, 4
"""Of ``\\w`` and its like, of other classes and of a dot, roughly, where a character has 1."""

_WORD = {
    "start": r"(?<!\w)(?=\w)",
    "end": r"(?<=\w)(?!\w)",
    "start-half": r"(?<!\w)",
    "end-half": r"(?!\w)",
}
_ASSERTIONS = {"A": r"\A", "z": r"\Z", "b": r"\b", "B": r"(?!\b)", "<": _WORD["start"], ">": _WORD["end"]}


class Piece(NamedTuple):
    """A compiled part of the pattern, and what limits depend on."""

    code: Code
    height: int = 0
    """Of its syntax tree."""
    size: int = 1
    """In characters, repetitions written out."""
    may_be_empty: bool = False
    """Whether it can match without a character."""


def parse(pattern: str) -> Program:
    """``pattern`` as a program.

    Raises ``RefusedError`` for what Rust refuses, ``UnjudgedError`` for what can't be judged here.
    """
    return _Parser(pattern).program()


class _Parser(rust_class.Cursor):
    """Recursive descent over one pattern, from left to right."""

    def __init__(self, pattern: str) -> None:
        super().__init__(pattern)
        self._names: set[str] = set()

    def program(self) -> Program:
        piece = self._alternatives()
        if self.peek():
            raise RefusedError("`)` closes no group")
        if piece.height > MAX_NESTING:
            raise RefusedError(f"it is nested deeper than {MAX_NESTING}")
        if len(piece.code) > MAX_INSTRUCTIONS:
            raise UnjudgedError("it is too large to be judged here")
        return Program(piece.code)

    def _alternatives(self) -> Piece:
        """Up to the end of the group or of the pattern. Flags that are set within end with the group."""
        outside = self.flags
        branches: list[Piece] = []
        concat: list[Piece] = []
        repeatable = False
        while True:
            self.skip()
            match self.peek():
                case "" | ")":
                    break
                case "|":
                    self.at += 1
                    branches.append(_concatenated(concat))
                    concat, repeatable = [], False
                case "*" | "+" | "?" | "{" as operator:
                    if not repeatable:
                        raise RefusedError(f"nothing stands before `{operator}`")
                    concat.append(self._repeated(concat.pop()))
                case "(":
                    group = self._group()
                    concat += [] if group is None else [group]
                    repeatable = group is not None
                case _:
                    concat.append(self._atom())
                    repeatable = True
        self.flags = outside
        branches.append(_concatenated(concat))
        return _either(branches)

    def _group(self) -> Piece | None:
        """None: it only sets flags, for what follows it in the group around."""
        self.deepen(1)
        self.at += 1
        self.skip()
        for prefix in ("?=", "?!", "?<=", "?<!"):
            if self.pattern.startswith(prefix, self.at):
                raise RefusedError(f"`({prefix}` looks around, which Rust's regular expressions can't")
        outside = self.flags
        if self.take("?P<") or self.take("?<"):
            self._name()
        elif self.take("?"):
            flags = self._flags()
            if self.take(")"):
                self.flags = flags
                self.deepen(-1)
                return None
            self.at += 1  # the colon
            self.flags = flags
        inner = self._alternatives()
        self.flags = outside
        self.deepen(-1)
        if not self.take(")"):
            raise RefusedError("a group is not closed")
        return inner._replace(height=inner.height + 1)

    def _name(self) -> None:
        name, closed, _ = self.pattern[self.at :].partition(">")
        if not closed:
            raise RefusedError("the name of a group is not closed by `>`")
        good = all(c in "_.[]" or c.isalnum() for c in name) and (name[:1] == "_" or name[:1].isalpha())
        if not good or name in self._names:
            raise RefusedError(f"`{name}` is no name for a group, or is given twice")
        self._names.add(name)
        self.at += len(name) + 1

    def _flags(self) -> frozenset[str]:
        """Those that hold from here on; stops before ``:`` or ``)``."""
        flags, seen, negated = set(self.flags), "", False
        while (letter := self.peek()) not in (":", ")"):
            if letter == "" or letter not in "imsUuRx-" or letter in seen:
                raise RefusedError(f"`(?{seen}{letter}` is no group or flag of Rust's regular expressions")
            seen += letter
            negated = negated or letter == "-"
            if letter != "-":
                (flags.discard if negated else flags.add)(letter)
            self.at += 1
        if seen.endswith("-") or (not seen and self.peek() == ")"):
            raise RefusedError("a group of flags lacks its flags")
        if "u" not in flags:
            raise UnjudgedError("it turns Unicode off, which Rust allows only where UTF-8 stays whole")
        return frozenset(flags)

    def _repeated(self, piece: Piece) -> Piece:
        low, high = self._bounds()
        lazy = self.take("?") != ("U" in self.flags)
        copies = max(1, low if high is None else high)
        size = piece.size * copies
        if size > MAX_SIZE or len(piece.code) * copies > MAX_INSTRUCTIONS:
            raise UnjudgedError("it may be too large for Rust")
        code = repetition(piece.code, low, high, lazy=lazy, may_be_empty=piece.may_be_empty)
        return Piece(code, piece.height + 1, size, piece.may_be_empty or low == 0)

    def _bounds(self) -> tuple[int, int | None]:
        """How often at least and at most; None: without end."""
        operator = self.pattern[self.at]
        self.at += 1
        if operator != "{":
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[operator]
        self.skip()
        low = self._number()
        high: int | None = low
        if self.take(","):
            self.skip()
            high = None if self.peek() == "}" else self._number()
        if not self.take("}"):
            raise RefusedError("`{` begins a count, and no `}` ends it")
        if high is not None and low > high:
            raise RefusedError(f"the count {{{low},{high}}} ends before it begins")
        self.skip()
        return low, high

    def _number(self) -> int:
        found = re.compile(r"\s*([0-9]*)\s*").match(self.pattern, self.at)
        digits = found[1] if found else ""
        if not digits or len(digits) > 30 or int(digits) > MAX_COUNT:
            raise RefusedError("`{` begins a count, and no whole number follows it")
        self.at += len(found[0]) if found else 0
        self.skip()
        return int(digits)

    def _atom(self) -> Piece:
        character = self.peek()
        if character == "[":
            expression, height = rust_class.bracketed(self)
            return self._folded(expression, height, _size(expression))
        if character == "\\":
            if assertion := self._assertion():
                return Piece((Assert(assertion),), may_be_empty=True)
            expression = rust_class.escape(self)
            return self._folded(expression, 0, _size(expression))
        self.at += 1
        if character == ".":
            ends = "" if "s" in self.flags else r"\r\n" if "R" in self.flags else r"\n"
            return Piece((Consume(f"[^{ends}]" if ends else rust_class.ANY),), size=_DOT_SIZE)
        if character in "^$":
            return Piece((Assert(self._anchor(character)),), may_be_empty=True)
        return self._folded(re.escape(character), 0, 1)

    def _anchor(self, character: str) -> str:
        if "m" not in self.flags:
            return {"^": r"\A", "$": r"\Z"}[character]
        if "R" in self.flags:
            raise UnjudgedError("lines that end with CR LF are not judged here")
        return f"(?m:{character})"

    def _assertion(self) -> str:
        """Empty where the escape here is none, and nothing is read then."""
        letter = self.pattern[self.at + 1 : self.at + 2]
        if letter not in _ASSERTIONS:
            return ""
        self.at += 2
        kind = re.compile(r"\{([A-Za-z-]+)(\}?)").match(self.pattern, self.at) if letter == "b" else None
        if kind is None:
            return _ASSERTIONS[letter]
        if not kind[2] or kind[1] not in _WORD:
            raise RefusedError(f"`\\b{kind[0]}` is no word boundary; known are {', '.join(_WORD)}")
        self.at = kind.end()
        return f"(?:{_WORD[kind[1]]})"

    def _folded(self, expression: str, height: int, size: int) -> Piece:
        return Piece((Consume(f"(?i:{expression})" if "i" in self.flags else expression),), height, size)


def _size(expression: str) -> int:
    """Of a class or a character."""
    if any(letter in expression for letter in (r"\d", r"\D", r"\w", r"\W")):
        return _UNICODE_SIZE
    return _CLASS_SIZE if len(expression) > 2 else 1


def _concatenated(pieces: list[Piece]) -> Piece:
    if len(pieces) == 1:
        return pieces[0]
    return Piece(
        tuple(instruction for piece in pieces for instruction in piece.code),
        max((piece.height + 1 for piece in pieces), default=0),
        sum(piece.size for piece in pieces),
        all(piece.may_be_empty for piece in pieces),
    )


def _either(branches: list[Piece]) -> Piece:
    if len(branches) == 1:
        return branches[0]
    return Piece(
        alternation([branch.code for branch in branches]),
        max(branch.height for branch in branches) + 1,
        sum(branch.size for branch in branches),
        any(branch.may_be_empty for branch in branches),
    )
