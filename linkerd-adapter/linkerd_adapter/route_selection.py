"""A model of Linkerd's proxy: which rule of HTTPRoutes it selects for a request, and to which backends. Pure.

Source: linkerd2-proxy, ``linkerd/http/route`` and ``linkerd/distribute``, as of Linkerd 2.20:

- The rules of all routes of one parent compete. The longest path wins (an exact path is no better than a prefix of the
  same length), then the most headers, then the most query parameters, then a method; then the route and rule that stand
  first: routes are sorted by age and name. A match of the request's host counts before all of these.
- A header matches if *any* of its values does. A regular expression must span the value, and is tried once, from the
  left, with the first alternative that fits: ``v2|v2-beta`` does not match ``v2-beta``.
- The request's host is compared as the client wrote it: ``A5.AI`` is not ``a5.ai``.
- Where a parent has routes and none matches, the answer is 404.
- Backends are drawn by weight among those that are available. A rule with one backend ignores its weight. A backend
  that lost its endpoints is found out by the requests drawn to it: they wait 3 s (failfast) and get 504, then the
  others have its share, until it has idled and is tried again.
- Several backends without any weight in one rule make every rule of that parent fail.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from urllib.parse import parse_qsl

import msgspec

from extproc.headers import Headers
from linkerd_adapter import rust_regex
from linkerd_adapter.regex_program import Program


class Request(msgspec.Struct, frozen=True):
    """A request as the proxy sees it."""

    method: str
    path: str
    """With its query."""
    headers: Headers
    host: str = ""


class ValueMatch(msgspec.Struct, frozen=True):
    """A header or query parameter to match; ``regex``: ``value`` is a pattern."""

    name: str
    value: str
    regex: bool = False


class PathMatch(msgspec.Struct, frozen=True):
    """A path to match; ``kind``: Exact, PathPrefix or RegularExpression."""

    kind: str
    value: str


class Match(msgspec.Struct, frozen=True):
    """One of a rule's alternatives: all of its conditions must hold."""

    path: PathMatch | None = None
    headers: tuple[ValueMatch, ...] = ()
    query: tuple[ValueMatch, ...] = ()
    method: str = ""


class Backend(msgspec.Struct, frozen=True):
    """Where requests may go. ``broken``: why the proxy itself answers ``status`` instead; empty where it does not."""

    namespace: str
    name: str
    port: int
    weight: int = 1
    broken: str = ""
    status: int = 500

    def __str__(self) -> str:
        return f"{self.name}.{self.namespace}:{self.port}"


class Rule(msgspec.Struct, frozen=True):
    """``matches``: one of them must hold; without any the rule takes every request."""

    matches: tuple[Match, ...] = ()
    backends: tuple[Backend, ...] = ()
    """None: the parent itself."""
    redirect: bool = False


class Route(msgspec.Struct, frozen=True):
    """An HTTPRoute as the proxy gets it."""

    namespace: str
    name: str
    rules: tuple[Rule, ...]
    hosts: tuple[str, ...] = ()
    created: str = ""
    """The creationTimestamp, which sorts as text; empty where it was not created yet: younger than any."""


class Rank(msgspec.Struct, frozen=True, order=True):
    """How specific a match is: the greatest wins."""

    host: tuple[int, int]
    """(0, 0): the route names no host; (1, n): a wildcard, n characters after ``*``; (2, n): equal, n characters."""
    path: int
    """Characters of the path that its condition fits; 1 where it fits any path."""
    headers: int
    query: int
    method: int
    """1: the match names one."""


class Selection(msgspec.Struct, frozen=True):
    """The rule that the proxy selects."""

    route: Route
    number: int
    """Index of the rule in its route, from 0."""
    rank: Rank

    @property
    def rule(self) -> Rule:
        """The rule itself."""
        return self.route.rules[self.number]


def by_precedence(routes: Iterable[Route]) -> list[Route]:
    """``routes`` in the order that breaks ties: the oldest first, then by name.

    Which of two routes with one name in two namespaces comes first is undefined in Linkerd.
    """
    return sorted(routes, key=lambda r: (not r.created, r.created, r.name, r.namespace))


def select(routes: Sequence[Route], request: Request) -> Selection | None:
    """The rule for ``request`` among the ``routes`` of one parent, which must be sorted ``by_precedence``.

    None: no rule matches, and the proxy answers 404. Raises ``ValueError`` for a pattern that ``compiled`` refuses.
    """
    best: Selection | None = None
    for route in routes:
        host = _host(route.hosts, request.host)
        if host is None:
            continue
        for number, rule in enumerate(route.rules):
            ranks = [rank for match in rule.matches or (Match(),) if (rank := _rank(match, request, host))]
            if ranks and (best is None or max(ranks) > best.rank):
                best = Selection(route, number, max(ranks))
    return best


class UnservableError(Exception):
    """A rule on which the proxy itself fails; the message says why."""


def fatal_rule(routes: Iterable[Route]) -> str:
    """The rule that makes the proxy close every connection to the parent of ``routes``, and why; empty without one."""
    for route in routes:
        for number, rule in enumerate(route.rules):
            if has_no_weight(rule):
                return f"rules[{number}] of {route.name} has only backends of weight 0"
    return ""


def has_no_weight(rule: Rule) -> bool:
    """Whether it has several backends, all of weight 0."""
    return len(rule.backends) > 1 and not any(backend.weight for backend in rule.backends)


def shares(rule: Rule, available: Callable[[Backend], bool] = lambda _: True) -> Mapping[Backend, Fraction]:
    """The share of requests that each backend of ``rule`` gets; empty where none is available.

    A broken backend takes its share and answers its status. Raises ``UnservableError`` where several backends have
    no weight.
    """
    backends = rule.backends
    if len(backends) == 1:
        (only,) = backends
        return {only: Fraction(1)} if only.broken or available(only) else {}
    if has_no_weight(rule):
        raise UnservableError("every weight is 0: the proxy fails on such a rule")
    alive = [b for b in backends if b.weight and (b.broken or available(b))]
    total = sum(b.weight for b in alive)
    found: dict[Backend, Fraction] = {}
    for backend in alive:
        found[backend] = found.get(backend, Fraction(0)) + Fraction(backend.weight, total)
    return found


def _rank(match: Match, request: Request, host: tuple[int, int]) -> Rank | None:
    """The rank of ``match`` for the request; None where it does not hold."""
    path, _, query = request.path.partition("?")
    length = _path(match.path, path) if match.path else 1
    if length is None or (match.method and match.method != request.method):
        return None
    values = request.headers
    if not all(any(_header(v, h) for h in values.all(v.name.lower())) for v in match.headers):
        return None
    if match.query:
        pairs = parse_qsl(query, keep_blank_values=True)
        if not all(any(name == v.name and _parameter(v, text) for name, text in pairs) for v in match.query):
            return None
    return Rank(host, length, len(match.headers), len(match.query), int(bool(match.method)))


def _path(wanted: PathMatch, path: str) -> int | None:
    """The length by which a matching path is ranked; None where it does not match."""
    if wanted.kind == "Exact":
        return len(path) if path == wanted.value else None
    if wanted.kind == "RegularExpression":
        return len(path) if matches_whole(wanted.value, path) else None
    if wanted.value == "/":
        return 1
    prefix = wanted.value.rstrip("/")
    trimmed = path.rstrip("/")
    if trimmed == prefix or trimmed.startswith(f"{prefix}/"):
        return len(prefix)
    return None


def _host(hosts: Sequence[str], host: str) -> tuple[int, int] | None:
    """The rank of the best of ``hosts``, (0, 0) without any; None where none of them matches."""
    if not hosts:
        return (0, 0)
    name = host.rpartition(":")[0] if re.search(r":[0-9]+$", host) else host
    name = name.rstrip(".")
    ranks = []
    for wanted in hosts:
        suffix = wanted[1:]
        if wanted.startswith("*.") and name.endswith(suffix) and name != suffix:
            ranks.append((1, len(suffix)))
        elif wanted == name:
            ranks.append((2, len(wanted)))
    return max(ranks, default=None)


def _header(wanted: ValueMatch, value: bytes) -> bool:
    """Patterns are tried only on values that the ``http`` crate takes for text: visible ASCII, spaces and tabs."""
    if not wanted.regex:
        return wanted.value.encode() == value
    return all(0x20 <= byte < 0x7F or byte == 0x09 for byte in value) and matches_whole(
        wanted.value, value.decode("ascii")
    )


def _parameter(wanted: ValueMatch, text: str) -> bool:
    return matches_whole(wanted.value, text) if wanted.regex else wanted.value == text


def matches_whole(pattern: str, text: str) -> bool:
    """Whether the first match of ``pattern`` from the left is all of ``text``. Raises as ``compiled``."""
    return compiled(pattern).find(text) == (0, len(text))


class UnreadError(ValueError):
    """A pattern that Linkerd's proxy may accept and that can't be judged here."""


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> Program:
    """``pattern`` as a program that finds what Rust's ``regex`` finds.

    Raises ``ValueError`` for what Linkerd's proxy can't parse, ``UnreadError`` for what can't be judged here.
    """
    try:
        return rust_regex.parse(pattern)
    except rust_regex.RefusedError as error:
        raise ValueError(f"{pattern!r} is no regular expression of Rust's: {error}") from None
    except (rust_regex.UnjudgedError, RecursionError) as error:
        raise UnreadError(f"{pattern!r} can't be told: {error}") from None
