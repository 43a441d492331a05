"""What Linkerd's proxy makes of a regular expression. May import floors 0 to 4 of ``extproc``.

It searches the value with Rust's ``regex`` (of alternatives the first that fits wins, not the longest), and matches
where what it found spans the whole value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_ESCAPED = re.compile(r"\\(\W)")
_META = re.compile(r"[][.*+?(){}|^$\\]")
_RUST_HAS_NONE = re.compile(r"\(\?(?:[=!]|<[=!]|>|\()|\\[1-9]|[*+?}]\+")
"""Lookaround, atomic and conditional groups, references back, possessive quantifiers."""
_PYTHON_HAS_NONE = re.compile(r"\\[pPzx]|\(\?[a-zA-Z-]*[RUux]|\(\?<|\[\[:|&&|--|~~|\(\?[a-zA-Z-]+[:)]")
"""What Rust reads and Python does not, or in another way: not judged here."""
_LAZY = re.compile(r"(?<!\\)[*+?}]\?")


def fault(pattern: str) -> str | None:
    """Why Rust's ``regex`` refuses it, where that is plain."""
    if found := _RUST_HAS_NONE.search(_without_classes(pattern)):
        return f"`{found.group()}` is not in Rust's regular expressions"
    if _PYTHON_HAS_NONE.search(pattern):
        return None
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        return str(error)
    return None


def hidden(pattern: str) -> tuple[str, str] | None:
    """The first literal alternative that can't match since an earlier one is its beginning, and that earlier one."""
    plain: list[str] = []
    for alternative in _alternatives(_unwrapped(pattern)):
        text = _literal(alternative)
        if text is None:
            continue
        if earlier := next((one for one in plain if text.startswith(one) and text != one), None):
            return text, earlier
        if not _ends(alternative):
            plain.append(text)
    return None


def unclear(pattern: str) -> bool:
    """Whether it has alternatives or lazy quantifiers that may stop short of the end of the value."""
    if all(map(_ends, _alternatives(pattern))):
        return False
    bare = _without_classes(pattern)
    return bool(_LAZY.search(bare)) or (
        "|" in bare and any(_literal(way) is None for way in _alternatives(_unwrapped(pattern)))
    )


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


def _without_classes(pattern: str) -> str:
    """Without what stands in ``[…]``; escapes stay."""
    return "".join(piece for _, piece in _pieces(pattern))


def _bare(pattern: str) -> Iterator[tuple[int, str]]:
    """Every character that is neither escaped nor in a class, with its place."""
    return ((at, piece) for at, piece in _pieces(pattern) if len(piece) == 1)


def _pieces(pattern: str) -> Iterator[tuple[int, str]]:
    """Characters and escapes, with their places, without classes."""
    at, in_class = 0, False
    while at < len(pattern):
        piece = pattern[at : at + 2] if pattern[at] == "\\" else pattern[at]
        if in_class:
            in_class = piece != "]"
        elif piece == "[":
            in_class = True
            at += pattern[at + 1 : at + 2] == "]"
        else:
            yield at, piece
        at += len(piece)
