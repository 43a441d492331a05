"""What can be said of a regular expression by its text, as Linkerd's proxy takes it.

It searches the value with Rust's ``regex`` (of alternatives the first that fits wins, not the longest), and matches
where what it found spans the whole value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from linkerd_adapter import rust_regex

MAX_LENGTH = 4096
"""Of a value in a match, by the API."""

_ESCAPED = re.compile(r"\\(\W)")
_META = re.compile(r"[][.*+?(){}|^$\\]")
_PLACEHOLDER = re.compile(r"(?<!\\[pPbxuU])\{[A-Za-z_][\w.-]*\}")
_LAZY = re.compile(r"[*+?}]\?")


def fault(pattern: str) -> str | None:
    """Why Rust's ``regex`` refuses it; None where it is accepted or can't be judged."""
    if len(pattern) > MAX_LENGTH:
        return f"longer than {MAX_LENGTH} characters"
    try:
        rust_regex.parse(pattern)
    except rust_regex.RefusedError as error:
        return str(error)
    except rust_regex.UnjudgedError:
        return None
    return None


def path_template_pattern(pattern: str) -> str | None:
    """The pattern for a path template such as ``/v1/models/{model}/infer``; None where it is none."""
    return _PLACEHOLDER.sub("[^/]+", pattern) if _PLACEHOLDER.search(pattern) else None


def is_literal(pattern: str) -> bool:
    """Whether it is a plain text without anchors, by which authors mostly mean 'contains'."""
    return not pattern.startswith("^") and not _ends(pattern) and _literal(pattern) is not None


def unreachable_alternative(pattern: str) -> tuple[str, str] | None:
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


def may_stop_short(pattern: str) -> bool:
    """Whether it has alternatives or lazy quantifiers by which the first match may end before the value does."""
    if all(map(_ends, _alternatives(pattern))):
        return False
    outline = _outline(pattern)
    patterns = any(_literal(way) is None for way in _alternatives(_unwrapped(pattern)))
    return bool(_LAZY.search(outline)) or ("|" in outline and patterns)


def _literal(alternative: str) -> str | None:
    """The only text that an alternative matches; None where it matches several."""
    body = alternative.removeprefix("^")
    body = body[:-1] if _ends(body) else body
    return None if _META.search(_ESCAPED.sub("", body)) else _ESCAPED.sub(r"\1", body)


def _ends(alternative: str) -> bool:
    """Whether it matches at the end of the value only."""
    return alternative.endswith(("$", r"\z")) and not alternative.endswith(r"\$")


def _unwrapped(pattern: str) -> str:
    """The pattern without a group that encloses all of it."""
    body = pattern.removeprefix("^")
    inner = re.fullmatch(r"\((?:\?:)?(.*)\)", body, re.DOTALL)
    if not inner:
        return pattern
    depth = 0
    for at, character in _operators_and_literals(body):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return inner.group(1) if at == len(body) - 1 else pattern
    return pattern


def _alternatives(pattern: str) -> Iterator[str]:
    depth = start = 0
    for at, character in _operators_and_literals(pattern):
        depth += (character == "(") - (character == ")")
        if character == "|" and depth == 0:
            yield pattern[start:at]
            start = at + 1
    yield pattern[start:]


def _outline(pattern: str) -> str:
    """The pattern with ``_`` for escapes and classes."""
    return "".join(piece if len(piece) == 1 else "_" for _, piece in _pieces(pattern))


def _operators_and_literals(pattern: str) -> Iterator[tuple[int, str]]:
    """Every character that is neither escaped nor in a class, with its index."""
    return ((at, piece) for at, piece in _pieces(pattern) if len(piece) == 1)


def _pieces(pattern: str) -> Iterator[tuple[int, str]]:
    """Characters, escapes with what they escape, and ``[]`` for classes, with their indexes."""
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
