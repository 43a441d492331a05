"""Lint rules: filters that Linkerd lacks, or applies otherwise than their authors mean."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Value
from extproc.yamldoc import quoted
from linkerd_adapter.lint.objects import POLICY, Given, Route
from linkerd_adapter.unconvertible_rules import HEADER_VALUE

VOID = Rule(
    "LNK301",
    "error",
    "a filter that Linkerd does not have voids the whole route",
    "RequestMirror, URLRewrite and ExtensionRef can't be converted: the route stays as it was before, or never comes "
    "to be, while its status says Accepted. Only the controller's log tells.",
    "remove the filter; where it is needed, do it in a gateway before Linkerd",
)
BACKEND = Rule(
    "LNK302",
    "error",
    "a backendRef has a filter that Linkerd does not have",
    "That backend counts as invalid: its share of the requests gets 500.",
    "remove the filter",
)
UNKNOWN = Rule(
    "LNK303",
    "error",
    "a filter of a type that is newer than Linkerd knows",
    "Linkerd parses the route and can't convert it: it is void, while its status says Accepted (CORS) or nothing. Only "
    "the controller's log tells.",
    "use RequestHeaderModifier, ResponseHeaderModifier and RequestRedirect only",
)
RESPONSE = Rule(
    "LNK304",
    "error",
    f"a ResponseHeaderModifier in a route of `{POLICY}`",
    "Its CRD refuses the type; where it gets through, Linkerd changes the request's headers instead.",
    "use an HTTPRoute of `gateway.networking.k8s.io/v1`",
)
APPENDED = Rule(
    "LNK305",
    "warning",
    "a header by which rules match is added, not set",
    "A client's copy stays beside the new one, and an Exact match takes a request if *any* of them is equal: clients "
    "choose their backend.",
    "use `set`",
)
TOO_LATE = Rule(
    "LNK306",
    "warning",
    "a filter changes a header by which another rule of the route matches",
    "Filters run after the rule is chosen: they can't choose another one.",
    "change the header before the request comes to Linkerd's proxy, in the client or a gateway",
)
L5D = Rule(
    "LNK307",
    "warning",
    "a filter sets a header that only Linkerd's proxy itself reads",
    "`l5d-retry-*` and `l5d-timeout*` are read before filters run, and only where the client's proxy allows it "
    "(`--allow-l5d-request-headers`); `l5d-dst-override` counts in ingress mode alone.",
    "use the annotations `retry.linkerd.io/*` and `timeout.linkerd.io/*` on the route",
)
UNFIT = Rule(
    "LNK308",
    "error",
    "a filter has a value that Linkerd can't convert",
    "A redirect's path must begin with `/`, and a header's value be visible ASCII. Else the whole route is void (of a "
    "backendRef: that backend), while its status says Accepted.",
    "write the path from its `/` on; encode what is no ASCII",
)
RULES = (VOID, BACKEND, UNKNOWN, RESPONSE, APPENDED, TOO_LATE, L5D, UNFIT)

SUPPORTED = frozenset({"RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect"})
VOIDING = frozenset({"RequestMirror", "URLRewrite", "ExtensionRef"})


def check(given: Given) -> Iterator[Finding]:
    """Everything about filters."""
    for route in given.routes:
        matched = [_matched(rule) for rule in route.rules]
        for i, rule in enumerate(route.rules):
            others = frozenset[str]().union(*matched[:i], *matched[i + 1 :])
            for filtered in rule.at("filters").items:
                yield from _type(route, filtered)
                yield from _unfit(filtered)
                yield from _headers(filtered, matched[i], others)
            for backend in rule.at("backendRefs").items:
                for filtered in backend.at("filters").items:
                    yield from _backend(route, filtered)


def _matched(rule: Value) -> frozenset[str]:
    """The headers by which a rule matches, in lower case."""
    headers = (header for match in rule.at("matches").items for header in match.at("headers").items)
    return frozenset(header.at("name").text.lower() for header in headers)


def _type(route: Route, filtered: Value) -> Iterator[Finding]:
    kind = filtered.at("type").text
    if kind in VOIDING:
        yield filtered.breaks(VOID, f"the filter {kind}, which Linkerd does not have, voids the whole route")
    elif kind not in SUPPORTED:
        yield filtered.breaks(UNKNOWN, f"the filter {kind} is newer than Linkerd knows" if kind else "")
    elif kind == "ResponseHeaderModifier" and route.resource.group == POLICY:
        yield filtered.breaks(RESPONSE)


def _backend(route: Route, filtered: Value) -> Iterator[Finding]:
    kind = filtered.at("type").text
    if kind in VOIDING:
        yield filtered.breaks(BACKEND, f"a backendRef has the filter {kind}, which Linkerd does not have")
    else:
        yield from _type(route, filtered)
        yield from _unfit(filtered)


def _unfit(filtered: Value) -> Iterator[Finding]:
    path = filtered.at("requestRedirect", "path")
    to = path.at("replaceFullPath") or path.at("replacePrefixMatch")
    if path and not to.text.startswith("/"):
        yield (to or path).breaks(UNFIT, "the path of a redirect does not begin with `/`")
    for modifier in ("requestHeaderModifier", "responseHeaderModifier"):
        for header in (*filtered.at(modifier, "set").items, *filtered.at(modifier, "add").items):
            value = header.at("value")
            if value.is_scalar and not HEADER_VALUE.fullmatch(value.text):
                yield value.breaks(UNFIT, f"{quoted(value.text)} is not all visible ASCII")


def _headers(filtered: Value, own: frozenset[str], others: frozenset[str]) -> Iterator[Finding]:
    for how in ("add", "set", "remove"):
        for header in filtered.at("requestHeaderModifier", how).items:
            name = (header if how == "remove" else header.at("name")).text.lower()
            if name.startswith("l5d-") and how != "remove":
                yield header.breaks(L5D, f"a filter sets {name}, which only Linkerd's proxy itself reads")
            elif how == "add" and name in own | others:
                yield header.breaks(APPENDED, f"{name}, by which rules match, is added, not set")
            elif name in others - own:
                yield header.breaks(TOO_LATE, f"a filter changes {name}, by which another rule of the route matches")
