"""Lint rules: regular expressions of matches, as Linkerd's proxy takes them, judged by their text.

It searches the value with Rust's ``regex`` (of alternatives the first that fits wins, not the longest), and matches
where what it found spans the whole value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Value
from extproc.yamldoc import quoted
from linkerd_adapter import rust_regex
from linkerd_adapter.lint.objects import Given

HIDDEN = Rule(
    "LNK201",
    "error",
    "an alternative of a regular expression can't match",
    "Linkerd takes the first alternative that fits and then wants the whole value: in `v2|v2-beta` the value `v2-beta` "
    "finds `v2`, which isn't all of it.",
    "anchor it: `^(?:…)$`",
)
UNANCHORED = Rule(
    "LNK202",
    "warning",
    "a regular expression with alternatives or lazy quantifiers has no anchors",
    "Linkerd takes the first way that fits, not the longest, and then wants it to span the whole value.",
    "anchor it: `^(?:…)$`",
)
REGEX = Rule(
    "LNK203",
    "error",
    "a regular expression is none of Rust's",
    "Linkerd's admission webhook refuses the route; where it doesn't run, the route is void, while its status says "
    "Accepted.",
    "write it in the syntax of Rust's `regex`: no lookaround, no references back",
)
RULES = (HIDDEN, UNANCHORED, REGEX)

MAX_LENGTH = 4096
"""Of a value in a match, by the API."""

_ESCAPED = re.compile(r"\\(\W)")
_META = re.compile(r"[][.*+?(){}|^$\\]")
_PLACEHOLDER = re.compile(r"(?<!\\[pPbxuU])\{[A-Za-z_][\w.-]*\}")
_LAZY = re.compile(r"[*+?}]\?")


def check(given: Given) -> Iterator[Finding]:
    """Every regular expression of a match."""
    for route in given.routes:
        for rule in route.rules:
            for match in rule.at("matches").items:
                yield from _match(match)


def _match(match: Value) -> Iterator[Finding]:
    places = [match.at("path"), *match.at("headers").items, *match.at("queryParams").items]
    found = [(place, place.at("value")) for place in places if place]
    if method := match.at("method"):
        found += [(method, method.at("service")), (method, method.at("method"))]
    for place, value in found:
        if not value.is_scalar or place.at("type").text != "RegularExpression":
            continue
        pattern = value.text
        if refused := fault(pattern):
            instead = path_template_pattern(pattern)
            remedy = f"write `{instead}`: a template of paths is no regular expression" if instead else ""
            yield value.breaks(REGEX, f"{quoted(pattern)} is no regular expression of Rust's: {refused}", remedy)
        elif lost := unreachable_alternative(pattern):
            message = f"in {quoted(pattern)}, {quoted(lost[0])} can't match, since {quoted(lost[1])} comes first"
            yield value.breaks(HIDDEN, message, _anchored(pattern))
        elif may_stop_short(pattern):
            yield value.breaks(UNANCHORED, remedy=_anchored(pattern))


def _anchored(pattern: str) -> str:
    return f"anchor it: {quoted(f'^(?:{pattern})$')}"


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
