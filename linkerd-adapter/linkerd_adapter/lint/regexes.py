"""What Linkerd's proxy makes of a regular expression.

It searches the value with Rust's ``regex`` (of alternatives the first that fits wins, not the longest), and matches
where what it found spans the whole value.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator

MAX_LENGTH = 4096
"""Of a value in a match, by the API."""

_ESCAPED = re.compile(r"\\(\W)")
_META = re.compile(r"[][.*+?(){}|^$\\]")
_RUST_HAS_NONE = re.compile(r"\(\?(?:[=!]|<[=!]|>|\()")
"""Lookaround, atomic and conditional groups."""
_PYTHON_HAS_NONE = re.compile(r"\\[pPzx]|\(\?[a-zA-Z-]*[RUux]|\(\?<|\[\[:|&&|--|~~|\(\?[a-zA-Z-]+[:)]")
"""What Rust reads and Python does not, or in another way: not judged here."""
_SURE = (
    *("missing ", "unbalanced parenthesis", "unterminated character set", "bad escape (end of pattern)"),
    *("min repeat greater than max repeat", "bad character range", "maximum recursion"),
)
"""Of Python's complaints those that are Rust's, too."""
_LAZY = re.compile(r"[*+?}]\?")


def fault(pattern: str) -> str | None:
    """Why Rust's ``regex`` refuses it, where that is plain."""
    if len(pattern) > MAX_LENGTH:
        return f"longer than {MAX_LENGTH} characters"
    if pattern.startswith(("*", "+", "?")):
        return f"nothing stands before `{pattern[0]}`"
    references = [piece for _, piece in _pieces(pattern) if piece[0] == "\\" and piece[1:] in tuple("123456789")]
    found = _RUST_HAS_NONE.search(_outline(pattern))
    if found or references:
        return f"`{found.group() if found else references[0]}` is not in Rust's regular expressions"
    if _PYTHON_HAS_NONE.search(pattern):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a later Python may take otherwise
            re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        return str(error) if str(error).startswith(_SURE) else None
    return None


def hidden(pattern: str) -> tuple[str, str] | None:
    """The first literal alternative that can't match since an earlier one is its beginning, and that earlier one."""
    plain: list[tuple[str, bool]] = []
    for alternative in _alternatives(_unwrapped(pattern)):
        text = _literal(alternative)
        if text is None:
            continue
        ways = (one for one, ends in plain if text == one or (text.startswith(one) and not ends))
        if (earlier := next(ways, text)) != text:
            return text, earlier
        plain.append((text, _ends(alternative)))
    return None


def unclear(pattern: str) -> bool:
    """Whether it has alternatives or lazy quantifiers that may stop short of the end of the value."""
    if all(map(_ends, _alternatives(pattern))):
        return False
    outline = _outline(pattern)
    patterns = any(_literal(way) is None for way in _alternatives(_unwrapped(pattern)))
    return bool(_LAZY.search(outline)) or ("|" in outline and patterns)


def _literal(alternative: str) -> str | None:
    """The one text that it matches, where there is one."""
    body = alternative.removeprefix("^")
    body = body[:-1] if _ends(body) else body
    return None if _META.search(_ESCAPED.sub("", body)) else _ESCAPED.sub(r"\1", body)


def _ends(alternative: str) -> bool:
    """Whether it matches at the end of the value only."""
    return alternative.endswith(("$", r"\z")) and not alternative.endswith(r"\$")


def _unwrapped(pattern: str) -> str:
    """Without a group around the whole."""
    body = pattern.removeprefix("^")
    inner = re.fullmatch(r"\((?:\?:)?(.*)\)", body, re.DOTALL)
    if not inner:
        return pattern
    depth = 0
    for at, character in _bare(body):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return inner.group(1) if at == len(body) - 1 else pattern
    return pattern


def _alternatives(pattern: str) -> Iterator[str]:
    depth = start = 0
    for at, character in _bare(pattern):
        depth += (character == "(") - (character == ")")
        if character == "|" and depth == 0:
            yield pattern[start:at]
            start = at + 1
    yield pattern[start:]


def _outline(pattern: str) -> str:
    """With ``_`` for escapes and classes."""
    return "".join(piece if len(piece) == 1 else "_" for _, piece in _pieces(pattern))


def _bare(pattern: str) -> Iterator[tuple[int, str]]:
    """Every character that is neither escaped nor in a class, with its place."""
    return ((at, piece) for at, piece in _pieces(pattern) if len(piece) == 1)


def _pieces(pattern: str) -> Iterator[tuple[int, str]]:
    """Characters, escapes with what they escape, and ``[]`` for classes, with their places."""
    at, in_class = 0, False
    while at < len(pattern):
        piece = pattern[at : at + 2] if pattern[at] == "\\" else pattern[at]
        if in_class:
            in_class = piece != "]"
        elif piece == "[":
            in_class = True
            yield at, "[]"
            at += pattern[at + 1 : at + 2] == "]"
        else:
            yield at, piece
        at += len(piece)
