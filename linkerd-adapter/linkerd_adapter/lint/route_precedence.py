"""Lint rules: how the rules of all routes on one Service compete, and requests that none of them takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Value
from linkerd_adapter.lint.objects import Given, Route

NO_DEFAULT = Rule(
    "LNK205",
    "warning",
    "no rule takes every request",
    "Once a Service has a route, requests that match no rule get 404 (gRPC: NOT_FOUND): there is no default.",
    "add a last rule without `matches`, to the stable version",
)
TWICE = Rule(
    "LNK206",
    "warning",
    "another rule on the same Service has the same match",
    "Of two equals the older route wins, then the first by name, then the first rule: the other is never used.",
    "remove one, or make them distinct",
)
EXACT = Rule(
    "LNK207",
    "warning",
    "an Exact path loses to a PathPrefix that is as long and has more conditions",
    "Linkerd ranks paths by their length alone, then by the number of headers, where the Gateway API has Exact first.",
    "give the Exact rule the same conditions, or make the paths distinct",
)
METHOD = Rule(
    "LNK208",
    "warning",
    "a match by method loses to one by headers or query on the same path",
    "Linkerd ranks by headers, then query, then method, where the Gateway API has the method first.",
    "write the method into both",
)
RULES = (NO_DEFAULT, TWICE, EXACT, METHOD)

MAX_COMPARED = 128
"""Matches on one Service that are compared with each other."""


class Match(NamedTuple):
    """What one match asks for, and where it stands."""

    place: Value
    hosts: tuple[str, ...]
    path: tuple[str, str]
    method: str
    headers: frozenset[tuple[str, str, str]]
    query: frozenset[tuple[str, str, str]]

    @property
    def takes_all(self) -> bool:
        """Whether no request is left out."""
        anywhere = self.path == ("PathPrefix", "/")
        return anywhere and not (self.hosts or self.method or self.headers or self.query)


def check(given: Given) -> Iterator[Finding]:
    """All routes on each Service and port."""
    for routes in given.targets.values():
        yield from _across_routes(routes)


def matches(route: Route, rule: Value) -> list[Match]:
    """Of one rule; a rule without any has one that takes all."""
    hosts = tuple(sorted(host.text for host in route.resource.spec.at("hostnames").items))
    written = rule.at("matches").items
    if not written:
        return [Match(rule, hosts, ("PathPrefix", "/"), "", frozenset(), frozenset())]
    return [
        Match(
            place,
            hosts,
            _path(place),
            _method(place),
            _pairs(place.at("headers").items),
            _pairs(place.at("queryParams").items),
        )
        for place in written
    ]


def _path(match: Value) -> tuple[str, str]:
    """Its type and value; a prefix ends without a slash, which makes no difference."""
    kind, value = match.at("path", "type").text or "PathPrefix", match.at("path", "value").text or "/"
    return kind, (value.rstrip("/") or "/") if kind == "PathPrefix" else value


def _method(match: Value) -> str:
    """Of HTTP a word, of gRPC a service and a method."""
    method = match.at("method")
    if not method or method.is_scalar:
        return method.text
    return "/".join(method.at(key).text for key in ("type", "service", "method"))


def _pairs(places: list[Value]) -> frozenset[tuple[str, str, str]]:
    return frozenset((p.at("name").text.lower(), p.at("type").text or "Exact", p.at("value").text) for p in places)


def _across_routes(routes: list[Route]) -> Iterator[Finding]:
    """What can be said only of all routes on one Service."""
    of_http = [m for route in routes if not route.grpc for rule in route.rules for m in matches(route, rule)]
    every = [m for route in routes for rule in route.rules for m in matches(route, rule)]
    if every and not any(m.takes_all for m in every):
        at = routes[0].resource.spec.at("rules") or routes[0].resource.root
        yield at.breaks(NO_DEFAULT)
    first: dict[tuple[object, ...], Value] = {}
    for match in of_http:
        earlier = first.setdefault(match[1:], match.place)
        if earlier is not match.place:
            yield match.place.breaks(TWICE)
    for rank, one in enumerate(of_http[:MAX_COMPARED]):
        for other in of_http[:MAX_COMPARED][rank + 1 :]:
            yield from _ranked(one, other)
            yield from _ranked(other, one)


def _ranked(one: Match, other: Match) -> Iterator[Finding]:
    """Where the Gateway API would have ``one`` before ``other``, and Linkerd does not."""
    more = (len(other.headers), len(other.query)) > (len(one.headers), len(one.query))
    if one.hosts != other.hosts or not more:
        return
    if (one.path[0], other.path[0]) == ("Exact", "PathPrefix"):
        if one.path[1] == other.path[1]:
            message = f"this Exact path loses to the PathPrefix on line {other.place.node.line}, which has more headers"
            yield one.place.breaks(EXACT, message)
    elif one.path == other.path and one.method and not other.method:
        message = f"this match by method loses to the one on line {other.place.node.line}, which has more headers"
        yield one.place.breaks(METHOD, message)
