"""Parser of what matches one character in a regular expression of Rust's: escapes and classes in brackets. Pure.

Each is written as an expression of Python's ``re`` that matches exactly one character, so that Rust's operations on
classes (``&&``, ``--``, ``~~``, classes within classes) become alternatives and lookaheads.
"""

from __future__ import annotations

import re


class RefusedError(ValueError):
    """A pattern that Rust's ``regex`` refuses; the message says why."""


class UnjudgedError(ValueError):
    """A pattern that Rust's ``regex`` may accept and that can't be judged here; the message says why."""


MAX_NESTING = 250
"""Depth of a syntax tree, by ``regex-syntax``."""
ANY, NONE = r"[\s\S]", "(?!)"
_SPACE = r" \t-\r\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""Unicode's White_Space; Python's ``\\s`` has four control characters more."""
PERL = {
    "d": r"\d",
    "D": r"\D",
    "w": r"\w",
    "W": r"\W",
    "s": f"[{_SPACE}]",
    "S": f"[^{_SPACE}]",
}
_CONTROLS = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}
_CATEGORIES = "LMNPSZC"
"""The general categories that have one letter."""
POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_POSIX = re.compile(rf"\[:(\^?)({'|'.join(POSIX)}):\]")


class Cursor:
    """A place in a pattern, and the flags that hold there."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.flags: frozenset[str] = frozenset("u")
        self._depth = 0

    def deepen(self, by: int) -> None:
        """Enters a group or class, or with -1 leaves it. Raises ``RefusedError`` below ``MAX_NESTING``."""
        self._depth += by
        if self._depth > MAX_NESTING:
            raise RefusedError(f"it is nested deeper than {MAX_NESTING}")

    def peek(self) -> str:
        """The next character; empty at the end."""
        return self.pattern[self.at : self.at + 1]

    def take(self, text: str) -> bool:
        """Goes over ``text`` where it stands here."""
        found = self.pattern.startswith(text, self.at)
        self.at += len(text) * found
        return found

    def skip(self) -> None:
        """Goes over white space and comments, where the flag ``x`` allows them."""
        while "x" in self.flags and (character := self.peek()):
            if character == "#":
                end = self.pattern.find("\n", self.at)
                self.at = len(self.pattern) if end < 0 else end + 1
            elif character.isspace():
                self.at += 1
            else:
                return


def escape(cursor: Cursor) -> str:
    """An escape that matches one character; assertions are not among them. Raises ``RefusedError``."""
    text, control = _escape(cursor)
    return re.escape(text) if control else text


def _escape(cursor: Cursor) -> tuple[str, bool]:
    """A character and True, or an expression for a class and False."""
    cursor.at += 1
    letter = cursor.peek()
    cursor.at += 1
    if letter == "":
        raise RefusedError("it ends with a backslash")
    if letter in _HEX_DIGITS:
        return _hex(cursor, letter), True
    if letter in "pP":
        _property(cursor)
    if letter in PERL:
        return PERL[letter], False
    if letter in _CONTROLS:
        return _CONTROLS[letter], True
    if letter.isascii() and not letter.isalnum() and letter not in "<>":
        return letter, True
    if letter.isascii() and letter.isdigit():
        raise RefusedError(f"`\\{letter}` refers back, which Rust's regular expressions can't")
    raise RefusedError(f"`\\{letter}` is no escape of Rust's regular expressions")


def _hex(cursor: Cursor, letter: str) -> str:
    width = _HEX_DIGITS[letter]
    found = re.compile(rf"\{{([0-9A-Fa-f]+)\}}|([0-9A-Fa-f]{{{width}}})").match(cursor.pattern, cursor.at)
    if not found:
        raise RefusedError(f"`\\{letter}` needs {width} hexadecimal digits, or some in braces")
    number = int(found[1] or found[2], 16)
    if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
        raise RefusedError(f"`\\{letter}{found[0]}` is no character")
    cursor.at = found.end()
    return chr(number)


def _property(cursor: Cursor) -> None:
    """Always raises: Python has no tables of Unicode's properties."""
    found = re.compile(r"\{([^}]*)\}|([^\\{])").match(cursor.pattern, cursor.at)
    if not found or (found[2] and found[2].upper() not in _CATEGORIES):
        raise RefusedError(r"`\p` needs the name of a Unicode property, as in `\p{Greek}`")
    raise UnjudgedError(f"the Unicode property {found[0]} is not judged here")


def bracketed(cursor: Cursor) -> tuple[str, int]:
    """A class from ``[`` to its ``]``, and the height of its syntax tree."""
    cursor.deepen(1)
    cursor.at += 1
    cursor.skip()
    negated = cursor.take("^")
    cursor.skip()
    items: list[str] = []
    while cursor.take("-"):
        items.append("-")
        cursor.skip()
    if not items and cursor.take("]"):
        items.append(re.escape("]"))
    left, operator, height = "", "", 0
    while True:
        cursor.skip()
        if not cursor.peek():
            raise RefusedError("a class `[…` is not closed")
        if cursor.take("]"):
            break
        if found := _POSIX.match(cursor.pattern, cursor.at):
            cursor.at = found.end()
            items.append(f"[{'^' * bool(found[1])}{POSIX[found[2]]}]")
        elif cursor.peek() == "[":
            inner, below = bracketed(cursor)
            items.append(inner)
            height = max(height, below)
        elif (two := cursor.pattern[cursor.at : cursor.at + 2]) in ("&&", "--", "~~"):
            cursor.at += 2
            left, operator = _combined(left, operator, items), two
            items, height = [], height + 1
        else:
            items.append(_range(cursor))
    cursor.deepen(-1)
    expression = _combined(left, operator, items)
    return (f"(?:(?!{expression}){ANY})" if negated else expression), height + 1


def _combined(left: str, operator: str, items: list[str]) -> str:
    right = f"(?:{'|'.join(items)})" if items else NONE
    match operator:
        case "&&":
            return f"(?:(?={right}){left})"
        case "--":
            return f"(?:(?!{right}){left})"
        case "~~":
            return f"(?:(?!{right}){left}|(?!{left}){right})"
    return right


def _range(cursor: Cursor) -> str:
    """One item: a character, an escape or a range."""
    first, is_character = _item(cursor)
    cursor.skip()
    following = cursor.pattern[cursor.at : cursor.at + 2]
    if not following:
        raise RefusedError("a class `[…` is not closed")
    if following[0] != "-" or _after_space(cursor) in ("]", "-"):
        return re.escape(first) if is_character else first
    cursor.at += 1
    cursor.skip()
    if not cursor.peek():
        raise RefusedError("a class `[…` is not closed")
    last, also = _item(cursor)
    if not (is_character and also) or first > last:
        raise RefusedError(f"`{first}-{last}` is no range of characters")
    return f"[\\U{ord(first):08x}-\\U{ord(last):08x}]"


def _after_space(cursor: Cursor) -> str:
    """The character after the next one, and after what ``x`` lets be skipped."""
    back = cursor.at
    cursor.at += 1
    cursor.skip()
    found = cursor.peek()
    cursor.at = back
    return found


def _item(cursor: Cursor) -> tuple[str, bool]:
    if cursor.peek() == "\\":
        return _escape_in_class(cursor)
    character = cursor.peek()
    cursor.at += 1
    return character, True


def _escape_in_class(cursor: Cursor) -> tuple[str, bool]:
    letter = cursor.pattern[cursor.at + 1 : cursor.at + 2]
    if letter and letter in "AzbB<>":
        raise RefusedError(f"`\\{letter}` is no character, and can't be in a class")
    return _escape(cursor)
