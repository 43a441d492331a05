"""Lint rules: matches that take fewer requests than it seems, or none."""

from __future__ import annotations

import re
from collections.abc import Iterator

from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Value
from extproc.yamldoc import quoted
from linkerd_adapter.lint import regexes
from linkerd_adapter.lint.objects import Given, Route
from linkerd_adapter.unconvertible_rules import HEADER_NAME, HEADER_VALUE

HOSTNAMES = Rule(
    "LNK204",
    "warning",
    "a route of a Service has `hostnames`",
    "They are compared with the Host header as the client wrote it: `llm`, `llm.ai`, `LLM.ai` and "
    "`llm.ai.svc.cluster.local` are four hosts. A request with another one gets no rule of this route.",
    "leave `hostnames` out: the Service's address has chosen the route already",
)
ONLY_THAT_VALUE = Rule(
    "LNK210",
    "warning",
    "a match takes nothing but the very value that it names, and looks as if it took more",
    "A regular expression must span the whole value: `/v1/chat` takes no `/v1/chat/completions`, and a Cookie header "
    "has every cookie of the client in one value.",
    "write `.*` where more may stand, or the type Exact",
)
TWICE = Rule(
    "LNK211",
    "warning",
    "a match names the same header or parameter twice",
    "Linkerd wants both: a request with one value never matches. The Gateway API has the first of them count alone.",
    "write two matches where either will do, or one regular expression",
)
NEVER = Rule(
    "LNK212",
    "warning",
    "no request meets this match",
    "Header values come without spaces around, a path begins with `/`, and `host` and names that begin with `:` are no "
    "headers to match by. What the API server does not refuse is never used, or voids the route.",
    "write what the request has: `hostnames` for hosts, `method` and `path` for what they are",
)
RULES = (HOSTNAMES, ONLY_THAT_VALUE, TWICE, NEVER)

_COOKIE = r"(?:^|[^\\])\.[*+]"


def check(given: Given) -> Iterator[Finding]:
    """Every match of a route, and its hostnames."""
    for route in given.routes:
        if hostnames := route.resource.root.at("spec", "hostnames"):
            yield hostnames.breaks(HOSTNAMES)
        for rule in route.rules:
            for match in rule.at("matches").items:
                yield from _match(route, match)


def _match(route: Route, match: Value) -> Iterator[Finding]:
    headers = match.at("headers").items
    yield from _twice(headers, fold=True)
    yield from _twice(match.at("queryParams").items, fold=False)
    for header in headers:
        yield from _header(header)
    for valued in (*headers, *match.at("queryParams").items):
        yield from _without_wildcards(valued)
    path = match.at("path")
    if path and not route.grpc:
        yield from _path(path)


def _twice(places: list[Value], *, fold: bool) -> Iterator[Finding]:
    seen: set[str] = set()
    for place in places:
        name = place.at("name").text
        name = name.lower() if fold else name
        if name and name in seen:
            yield place.breaks(TWICE, f"this match names {quoted(name)} twice")
        seen.add(name)


def _header(header: Value) -> Iterator[Finding]:
    name, value = header.at("name"), header.at("value")
    text = name.text
    if name and text.lower() == "host":
        yield name.breaks(NEVER, "HTTP/2 has no header `host`: no request by it meets this match", "write `hostnames`")
    elif name and not HEADER_NAME.fullmatch(text):
        remedy = "write what is meant as `method` or `path`" if text.startswith(":") else "correct the name"
        yield name.breaks(NEVER, f"{quoted(text)} is no name of a header: the route is refused or void", remedy)
    if value.is_scalar and header.at("type").text != "RegularExpression":
        if value.text != value.text.strip(" \t"):
            yield value.breaks(
                NEVER, f"{quoted(value.text)} has spaces around, and no header's value has", "remove them"
            )
        elif not HEADER_VALUE.fullmatch(value.text):
            yield value.breaks(NEVER, f"{quoted(value.text)} is not all visible ASCII: the route is void")
        elif text.lower() == "cookie" and ";" not in value.text:
            remedy = f"write a RegularExpression: `^(?:.*; ?)?{re.escape(value.text)}(?:;.*)?$`"
            yield value.breaks(ONLY_THAT_VALUE, "a client with another cookie besides does not match", remedy)


def _without_wildcards(valued: Value) -> Iterator[Finding]:
    value = valued.at("value")
    if not value.is_scalar or valued.at("type").text != "RegularExpression":
        return
    cookie = valued.at("name").text.lower() == "cookie"
    if regexes.is_literal(value.text):
        remedy = f"write `.*{value.text}.*` where more may stand around it, or the type Exact"
        yield value.breaks(ONLY_THAT_VALUE, f"{quoted(value.text)} takes nothing but that very value", remedy)
    elif cookie and not re.search(_COOKIE, value.text):
        yield value.breaks(ONLY_THAT_VALUE, f"{quoted(value.text)} leaves no room for other cookies")


def _path(path: Value) -> Iterator[Finding]:
    value, kind = path.at("value"), path.at("type").text or "PathPrefix"
    if not value.is_scalar:
        return
    if kind == "RegularExpression":
        if regexes.is_literal(value.text):
            remedy = "write the type PathPrefix, or Exact, or `.*` at the end"
            yield value.breaks(ONLY_THAT_VALUE, f"{quoted(value.text)} takes nothing but that very path", remedy)
    elif not value.text.startswith("/"):
        yield value.breaks(
            NEVER, f"{quoted(value.text)} is no path: it does not begin with `/`", f"write /{value.text}"
        )
