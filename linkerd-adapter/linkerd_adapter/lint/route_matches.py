"""Lint rules: matches, and how the rules of all routes on one Service compete."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Value
from extproc.yamldoc import quoted
from linkerd_adapter.lint import regexes
from linkerd_adapter.lint.objects import Given, Route

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
HOSTNAMES = Rule(
    "LNK204",
    "warning",
    "a route of a Service has `hostnames`",
    "They are compared with the Host header as the client wrote it: `llm`, `llm.ai`, `LLM.ai` and "
    "`llm.ai.svc.cluster.local` are four hosts. A request with another one gets no rule of this route.",
    "leave `hostnames` out: the Service's address has chosen the route already",
)
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
HEADER_ONLY = Rule(
    "LNK209",
    "error",
    "a GRPCRoute matches by headers only",
    "Linkerd's proxy refuses the whole policy of the Service: every call to it fails (linkerd2#14047).",
    "write `method.service` into the match, or use an HTTPRoute, which routes gRPC, too",
)
RULES = (HIDDEN, UNANCHORED, REGEX, HOSTNAMES, NO_DEFAULT, TWICE, EXACT, METHOD, HEADER_ONLY)

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
    """Everything about matches."""
    for route in given.routes:
        if hostnames := route.resource.root.at("spec", "hostnames"):
            yield hostnames.breaks(HOSTNAMES)
        for rule in route.rules:
            for match in rule.at("matches").items:
                yield from _regexes(match)
                if route.grpc and match.at("headers") and not match.at("method"):
                    yield match.breaks(HEADER_ONLY)
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


def _regexes(match: Value) -> Iterator[Finding]:
    places = [match.at("path"), *match.at("headers").items, *match.at("queryParams").items]
    found = [(place, place.at("value")) for place in places if place]
    if method := match.at("method"):
        found += [(method, method.at("service")), (method, method.at("method"))]
    for place, value in found:
        if not value.is_scalar or place.at("type").text != "RegularExpression":
            continue
        pattern = value.text
        if fault := regexes.fault(pattern):
            instead = regexes.path_template_pattern(pattern)
            remedy = f"write `{instead}`: a template of paths is no regular expression" if instead else ""
            yield value.breaks(REGEX, f"{quoted(pattern)} is no regular expression of Rust's: {fault}", remedy)
        elif lost := regexes.unreachable_alternative(pattern):
            message = f"in {quoted(pattern)}, {quoted(lost[0])} can't match, since {quoted(lost[1])} comes first"
            yield value.breaks(HIDDEN, message, _anchored(pattern))
        elif regexes.may_stop_short(pattern):
            yield value.breaks(UNANCHORED, remedy=_anchored(pattern))


def _anchored(pattern: str) -> str:
    return f"anchor it: {quoted(f'^(?:{pattern})$')}"


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
