"""Lint rules: timeouts and retries of routes and Services."""

from __future__ import annotations

import re
from collections.abc import Iterator

from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Resource, Value
from extproc.yamldoc import quoted
from linkerd_adapter.lint.linkerd_annotations import (
    ANNOTATIONS,
    RETRY,
    TIMEOUT,
    is_readable,
    milliseconds,
)
from linkerd_adapter.lint.objects import Given, Route

STREAM = Rule(
    "LNK601",
    "warning",
    "a timeout counts until the answer has ended",
    "`timeouts.request`, `timeout.linkerd.io/request` and `timeout.linkerd.io/response` cut streams off: an answer by "
    "server-sent events that takes longer ends in the middle of a sentence.",
    "bound the pauses instead, by `timeout.linkerd.io/idle`",
)
BACKEND_REQUEST = Rule(
    "LNK602",
    "warning",
    "`timeouts.backendRequest` has no effect",
    "Linkerd does not convert it, though its documentation has it.",
    "use `retry.linkerd.io/timeout` for one try of several, `timeout.linkerd.io/idle` for pauses",
)
ZERO = Rule(
    "LNK603",
    "error",
    "a timeout annotation of zero",
    "In the field zero means no timeout; in the annotation it is taken as it stands: `request` fails requests at once, "
    "`response` lets only the quickest answers through, `idle` cuts streams off.",
    "remove the annotation",
)
BOTH = Rule(
    "LNK605",
    "warning",
    "a request timeout is given twice",
    "The annotation beats the field of every rule.",
    "keep one of them",
)
REPLACED = Rule(
    "LNK606",
    "warning",
    "timeouts or retries of a Service are replaced by those of a route on it",
    "One annotation of the sort on a route takes the place of all that the Service has.",
    "write everything that should count on the route",
)
OTHER_PROTOCOL = Rule(
    "LNK607",
    "warning",
    "a retry annotation is for the other kind of route",
    "`retry.linkerd.io/grpc` counts on GRPCRoutes only, `retry.linkerd.io/http` on HTTPRoutes only.",
    "use the one of the route's kind",
)
COMPOUND = Rule(
    "LNK615",
    "warning",
    "a timeout of several units has no effect",
    "`1s500ms` and `1m30s` are durations of the Gateway API, which Linkerd ignores without a word.",
    "write it in one unit, as in `1500ms` or `90s`",
)
NO_RETRY = Rule(
    "LNK616",
    "warning",
    "a retry limit of 0 does not switch retries off",
    "Beside another annotation for retries Linkerd takes 0 for a limit that is not given, and repeats once.",
    "remove all annotations `retry.linkerd.io/*` of it",
)
RULES = (STREAM, BACKEND_REQUEST, ZERO, BOTH, REPLACED, OTHER_PROTOCOL, COMPOUND, NO_RETRY)


def check(given: Given) -> Iterator[Finding]:
    """Every Service and route."""
    for service in given.services.values():
        yield from _annotations(service)
    for route in given.routes:
        yield from _annotations(route.resource)
        yield from _route(route)
        yield from _replaced(route, given)


def _annotations(resource: Resource) -> Iterator[Finding]:
    for key, place in resource.annotations.items():
        if not is_readable(key, place):
            continue
        if key.startswith(TIMEOUT) and milliseconds(place.text) == 0:
            yield place.breaks(ZERO)
        elif key == RETRY + "limit" and int(place.text) == 0:
            if any(other.startswith(RETRY) and other != key for other in resource.annotations):
                yield place.breaks(NO_RETRY)
        elif key in (TIMEOUT + "request", TIMEOUT + "response"):
            yield place.breaks(STREAM)


def _route(route: Route) -> Iterator[Finding]:
    annotations = route.resource.annotations
    other = annotations.get(RETRY + ("http" if route.grpc else "grpc"))
    if other:
        yield other.breaks(OTHER_PROTOCOL)
    for rule in route.rules:
        if backend := rule.at("timeouts", "backendRequest"):
            yield backend.breaks(BACKEND_REQUEST)
        if (request := rule.at("timeouts", "request")) and _compound(request):
            yield request.breaks(COMPOUND, f"{quoted(request.text)} has no effect: it has several units")
        if given := _given(rule):
            yield given.breaks(BOTH if TIMEOUT + "request" in annotations else STREAM)


def _given(rule: Value) -> Value | None:
    """A rule's request timeout; in the field zero (``0s``, ``0h0m``) is none, and one of several units is ignored."""
    request = rule.at("timeouts", "request")
    if request and _compound(request):
        return None
    return request if request and {c for c in request.text if c.isdecimal()} != {"0"} else None


def _compound(request: Value) -> bool:
    """Whether a duration has several units, as in ``1m30s``, and is not zero."""
    text = request.text
    return bool(re.fullmatch(r"(?:[0-9]{1,5}(?:h|ms|m|s)){2,4}", text)) and bool(re.search("[1-9]", text))


def _replaced(route: Route, given: Given) -> Iterator[Finding]:
    for target in route.targets:
        service = given.services.get(target.key)
        for prefix in (TIMEOUT, RETRY) if service else ():
            own = {key for key in route.resource.annotations if key.startswith(prefix)}
            if prefix == TIMEOUT and any(_given(rule) for rule in route.rules):
                own.add("timeouts.request")
            for key, place in service.annotations.items() if service and own else ():
                if key.startswith(prefix) and key in ANNOTATIONS and key not in own:
                    message = f"{key} does not count for the route {route.resource.name}, which has {min(own)}"
                    yield place.breaks(REPLACED, message)
