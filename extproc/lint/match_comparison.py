"""Which requests a match of a VirtualService takes.

Matches are compared by what they take and not by how they are written: ``regex: ".*"``, ``prefix: /`` and no match at
all are one. Every answer is on the safe side: ``covers`` says no, and ``never`` nothing, where it is not certain.
Envoy's regular expressions (RE2) have to match the whole value; paths are matched without their query string.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

import msgspec

from extproc.lint import re2_regex
from extproc.lint.manifest import Resource, Value

Key: TypeAlias = tuple[str, str]
"""What a condition is about: ("uri", ""), ("header", "x-tier"), ("query", "v")."""

_ALWAYS_THERE = ("uri", "scheme", "method", "authority")
_TEXTS = ("exact", "prefix", "regex")
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
_LITERAL = re.compile(r"(?:[^\\.+*?()|\[\]{}^$]|\\[^A-Za-z0-9])*")
_QUANTIFIER = re.compile(r"[*+?{]")
_MAX_TRIED = 256
"""Characters of a value that is tried against a regular expression."""
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110, section 5.6.2."""


class Condition(msgspec.Struct, frozen=True):
    """What a value has to be. ``any``: it only has to be there."""

    kind: Literal["exact", "prefix", "regex", "any"]
    text: str = ""
    ignores_case: bool = False

    def takes(self, value: str) -> bool | None:
        """Whether it takes ``value``; None where only RE2 could tell."""
        if self.ignores_case:
            return Condition(self.kind, self.text.lower()).takes(value.lower())
        match self.kind:
            case "exact":
                return value == self.text
            case "prefix":
                return value.startswith(self.text)
            case "any":
                return True
        return _full_match(self.text, value)

    def within(self, other: Condition) -> bool:
        """Whether every value that this takes is one that ``other`` takes."""
        if other.kind == "any" or self == other:
            return True
        if self.kind == "any" or (self.ignores_case and not other.ignores_case):
            return False
        if self.kind == "exact":
            return other.takes(self.text) is True
        first = self.text if self.kind == "prefix" else _first_letters(self.text)
        return other.kind == "prefix" and other.takes(first) is True

    def apart(self, other: Condition) -> bool:
        """Whether no value is one that both take."""
        if self.ignores_case or other.ignores_case:
            return False
        if self.kind == "exact":
            return other.takes(self.text) is False
        if other.kind == "exact":
            return self.takes(other.text) is False
        if self.kind == other.kind == "prefix":
            return not (self.text.startswith(other.text) or other.text.startswith(self.text))
        return False


class Match(msgspec.Struct, frozen=True):
    """An item of ``match``; without any condition it takes every request."""

    conditions: tuple[tuple[Key, Condition], ...] = ()
    without: tuple[tuple[str, Condition], ...] = ()
    """Headers that a request may have only with other values."""
    exactly: frozenset[tuple[str, str]] = frozenset()
    """Settings that are compared as they are: port, source, and those that nobody knows."""
    gateways: frozenset[str] = frozenset()
    elsewhere: frozenset[str] = frozenset()
    """Gateways that it names and its VirtualService does not."""

    def covers(self, other: Match) -> bool:
        """Whether every request that ``other`` takes is one that this takes; False where that is not certain."""
        return (
            all(any(key == k and c.within(wide) for k, c in other.conditions) for key, wide in self.conditions)
            and all(other.excludes(name, banned) for name, banned in self.without)
            and self.exactly <= other.exactly
            and other.gateways <= self.gateways
        )

    def excludes(self, header: str, banned: Condition) -> bool:
        """Whether no request that it takes has a value of ``header`` that ``banned`` takes."""
        key = ("header", header)
        return any(k == key and c.apart(banned) for k, c in self.conditions) or any(
            name == header and banned.within(c) for name, c in self.without
        )

    def never(self) -> str:
        """Why no request meets it; empty where one may."""
        if self.elsewhere and not self.gateways:
            return f"{', '.join(sorted(self.elsewhere))} is not among the gateways of this VirtualService"
        for key, condition in self.conditions:
            if why := _impossible(key, condition):
                return why
            kind, name = key
            if any(k == key and c.apart(condition) for k, c in self.conditions):
                return f"{_called(key)} would need two values at once"
            if kind == "header" and any(n == name and condition.within(c) for n, c in self.without):
                return f"withoutHeaders excludes what headers asks of {name}"
        return ""


class Earlier:
    """The matches of routes that come first, each found by one exact value or prefix that it asks for."""

    def __init__(self) -> None:
        self._all: list[tuple[Value, Match]] = []
        self._by_text: dict[tuple[Key, str, str], list[int]] = {}
        self._others: list[int] = []

    def __iter__(self) -> Iterator[Match]:
        return (match for _, match in self._all)

    def add(self, route: Value, match: Match) -> None:
        """Notes a match of ``route``."""
        plain = ((k, c) for k, c in match.conditions if c.kind in ("exact", "prefix") and not c.ignores_case)
        key, found = next(plain, (None, None))
        places = self._by_text.setdefault((key, found.kind, found.text), []) if key and found else self._others
        places.append(len(self._all))
        self._all.append((route, match))

    def taker(self, match: Match) -> Value | None:
        """The first route that takes all that ``match`` takes."""
        places = set(self._others)
        for key, found in match.conditions:
            places.update(self._by_text.get((key, "exact", found.text), ()))
            first = found.text if found.kind in ("exact", "prefix") else _first_letters(found.text)
            for end in range(len(first) + 1):
                places.update(self._by_text.get((key, "prefix", first[:end]), ()))
        return next((self._all[place][0] for place in sorted(places) if self._all[place][1].covers(match)), None)


def read(match: Value, gateways: frozenset[str], namespace: str) -> Match:
    """An item of ``match`` in a VirtualService for ``gateways``, full names, that stands in ``namespace``."""
    ignores_case = match.at("ignoreUriCase").flag
    conditions: list[tuple[Key, Condition]] = []
    exactly: set[tuple[str, str]] = set()
    without: list[tuple[str, Condition]] = []
    named = gateways
    for name, value in match.entries.items():
        if name in _ALWAYS_THERE:
            found = condition(value, ignores_case=ignores_case and name == "uri")
            if not _whole(name, found):
                conditions.append(((name, ""), found))
        elif name == "headers":
            conditions += ((("header", _lower(key)), condition(text)) for key, text in value.entries.items())
        elif name == "queryParams":
            conditions += ((("query", key), condition(text)) for key, text in value.entries.items())
        elif name == "withoutHeaders":
            without += ((_lower(key), _banned(text)) for key, text in value.entries.items())
        elif name == "gateways":
            named = full_names(value, namespace) if value.items else gateways
        elif name == "sourceLabels":
            exactly |= {(f"label {key}", text.text) for key, text in value.entries.items()}
        elif name not in ("name", "ignoreUriCase", "statPrefix"):
            exactly.add((name, value.text))
    return Match(tuple(conditions), tuple(without), frozenset(exactly), named & gateways, named - gateways)


def full_names(gateways: Value, namespace: str) -> frozenset[str]:
    """Gateways by ``NAMESPACE/NAME``, and ``mesh``."""
    names = (item.text for item in gateways.items)
    return frozenset(name if "/" in name or name == "mesh" else f"{namespace}/{name}" for name in names)


def gateways_of(service: Resource) -> frozenset[str]:
    """For which gateways a VirtualService is; ``mesh`` stands for all sidecars."""
    return full_names(service.spec.at("gateways"), service.namespace) or frozenset(("mesh",))


def complements(matches: Iterable[Match]) -> bool:
    """Whether two of them differ in one header only, which one asks for and the other excludes, and take all else."""
    kept = list(matches)
    for one in kept:
        if len(one.conditions) == 1 and not (one.without or one.exactly):
            ((kind, name), asked) = one.conditions[0]
            other = Match(without=((name, asked),), gateways=one.gateways)
            if kind == "header" and any(match.covers(other) for match in kept):
                return True
    return False


def condition(value: Value, *, ignores_case: bool = False) -> Condition:
    """A StringMatch; a regular expression that is none in truth becomes what it says."""
    kind, text = next(((kind, found.text) for kind in _TEXTS if (found := value.at(kind))), ("any", ""))
    if kind == "regex":
        return _plain(text)
    if kind == "exact":
        return Condition("exact", text, ignores_case)
    return Condition("prefix", text, ignores_case) if kind == "prefix" and text else Condition("any")


def whole_value(matches: Value) -> Iterator[tuple[Value, str]]:
    """Regular expressions of one match without anything variable where values have more to them, and of what."""
    places = [("the path", matches.at("uri"))]
    places += [("the cookie header", v) for n, v in matches.at("headers").entries.items() if n.lower() == "cookie"]
    for what, place in places:
        if (pattern := place.at("regex")) and (
            (found := _plain(pattern.text)).kind == "exact" or (found.kind == "prefix" and what != "the path")
        ):
            yield pattern, what


def _plain(regex: str) -> Condition:
    """``.*`` and ``.+`` are any value, ``a.*`` is a prefix, and what has no operator is exact."""
    pattern = regex.removeprefix("^")
    if pattern.endswith("$") and not pattern.endswith("\\$"):
        pattern = pattern[:-1]
    while (inner := re.fullmatch(r"\((?:\?:)?([^()|]*)\)", pattern)) and not inner[1].endswith("\\"):
        pattern = inner[1]
    if pattern in (".*", ".*?", "*"):  # istiod takes "*" for a header that has to be there
        return Condition("any")
    if _LITERAL.fullmatch(pattern):
        return Condition("exact", re.sub(r"\\(.)", r"\1", pattern))
    before = pattern.removesuffix(".*")
    if before != pattern and _LITERAL.fullmatch(before):
        return Condition("prefix", re.sub(r"\\(.)", r"\1", before))
    return Condition("regex", regex)


def _banned(value: Value) -> Condition:
    """Of ``withoutHeaders``: a header that is missing counts as empty there, and ``.*`` takes that too."""
    found = condition(value)
    return Condition("regex", value.at("regex").text) if found.kind == "any" and value.at("regex") else found


def _whole(name: str, found: Condition) -> bool:
    """Whether a condition on what every request has takes all of them."""
    return found in (Condition("any"), Condition("regex", ".+")) or (
        name == "uri" and found.kind == "prefix" and found.text == "/"
    )


def _first_letters(regex: str) -> str:
    """With which letters every match begins, as far as that is plain."""
    pattern = regex.removeprefix("^")
    literal = _LITERAL.match(pattern)
    if "|" in regex or not literal or not literal[0]:
        return ""
    found = literal[0]
    if _QUANTIFIER.match(pattern, literal.end()):
        found = re.sub(r"\\?.\Z", "", found, flags=re.DOTALL)
    return re.sub(r"\\(.)", r"\1", found)


def _full_match(regex: str, value: str) -> bool | None:
    """None for what Python's engine may read otherwise than RE2, or would take long for."""
    if len(value) > _MAX_TRIED or len(_QUANTIFIER.findall(regex)) > 2 or re.search(r"\)[*+{]|\(\?|\\[A-Za-z]", regex):
        return None
    try:
        return re2_regex.compiled(regex).fullmatch(value) is not None
    except (re.error, OverflowError, RecursionError):
        return None


def _impossible(key: Key, condition: Condition) -> str:
    """Why no request has such a value."""
    (what, name), text, kind = key, condition.text, condition.kind
    plain = kind in ("exact", "prefix")
    if what == "uri":
        first = text if plain else _first_letters(text)
        if first and not first.startswith(("/", "*")):
            return "a path begins with /"
        if plain and ("?" in text or "#" in text):
            return "a path is matched without its query string; write queryParams"
    elif what == "method" and kind == "exact" and text not in _METHODS and text.upper() in _METHODS:
        return f"methods are written in capitals: {text.upper()}"
    elif what == "header":
        if not name.startswith(("@", ":")) and not _TOKEN.fullmatch(name):
            return f"{name!r} is no name of a header"
        if plain and (text != text.lstrip() or (kind == "exact" and text != text.rstrip())):
            return "spaces around a header's value are no part of it"
    return ""


def _called(key: Key) -> str:
    what, name = key
    return f"the {'query parameter' if what == 'query' else what} {name}".rstrip()


def _lower(header: str) -> str:
    """Names of headers have no case, those of claims do."""
    return header if header.startswith("@") else header.lower()
