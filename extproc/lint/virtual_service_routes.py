"""VirtualService: matches that no request meets, routes that are refused."""

from __future__ import annotations

import re
from collections.abc import Iterator

from extproc.lint import match_comparison, re2_regex
from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Resource, Value
from extproc.lint.mesh import Mesh

NEVER = Rule(
    "AIM210",
    "error",
    "a match that no request meets",
    "The route is dead, and requests that it is for take the next one.",
    "write what requests really have",
)
WHOLE_VALUE = Rule(
    "AIM211",
    "warning",
    "a regular expression that has to match more than it says",
    "Envoy's expressions match the whole value and are not searched for in it: `/v1/chat` does not take "
    "/v1/chat/completions, nor `variant=beta` a cookie header with two cookies.",
    "write exact or prefix; for a cookie ^(.*; ?)?variant=beta(;.*)?$",
)
REFUSED = Rule(
    "AIM212",
    "error",
    "a route that istiod refuses",
    "Its webhook refuses the whole VirtualService; without the webhook istiod leaves the route out.",
    "keep one of route, redirect, directResponse and delegate, and one of mirror and mirrors",
)
BAD_REGEX = Rule(
    "AIM213",
    "error",
    "a regular expression that is none to RE2",
    "istiod refuses the VirtualService. RE2 has no look-around and no references back, and istiod takes 1024 "
    "characters at most.",
    "write it without (?=…), (?!…), (?<=…) and \\1",
)
NO_DURATION = Rule(
    "AIM214",
    "error",
    "a duration that is none",
    "The API server refuses the object. Durations are numbers, each with its unit.",
    "write h, m, s or ms after the number, as in 1.5s or 200ms",
)
SHORT_HOST = Rule(
    "AIM215",
    "error",
    "a host that is short of its namespace's suffix",
    "Istio completes names without a dot only; `chat.ai` is to it a host of the Internet, and not the Service chat in "
    "the namespace ai.",
    "write SERVICE.NAMESPACE.svc.cluster.local, or the name alone within its namespace",
)
RULES = (NEVER, WHOLE_VALUE, REFUSED, BAD_REGEX, NO_DURATION, SHORT_HOST)

_ANSWERS = ("route", "redirect", "directResponse", "delegate")
_NOT_BESIDE = {"redirect": ("fault", "rewrite"), "directResponse": ("fault", "rewrite")}
_MAX_REGEX = 1024
_NAMED_BY_USERS = re.compile(r"\.(?:headers|labels|matchLabels|queryParams)\b")
_DURATIONS = frozenset(
    (
        *("timeout", "perTryTimeout", "backoff", "maxAge", "fixedDelay", "connectTimeout", "idleTimeout", "interval"),
        *("maxConnectionDuration", "baseEjectionTime", "ttl", "warmupDurationSecs", "budgetInterval", "time"),
    )
)
"""Fields of VirtualServices and DestinationRules that are durations wherever they stand."""


def check(mesh: Mesh) -> Iterator[Finding]:
    """Every VirtualService, and what DestinationRules have in common with them."""
    for service in mesh.of("VirtualService"):
        gateways = match_comparison.gateways_of(service)
        for route in service.spec.at("http").items:
            yield from _refused(route)
            for match in route.at("match").items:
                if why := match_comparison.read(match, gateways, service.namespace).never():
                    yield match.breaks(NEVER, f"no request meets this match: {why}")
                for pattern, what in match_comparison.whole_value(match):
                    yield pattern.breaks(WHOLE_VALUE, f"{pattern.text} has to match all of {what}")
                yield from _regexes(match)
        yield from _hosts(service, mesh)
    for rule in mesh.of("DestinationRule"):
        yield from _hosts(rule, mesh)
    for resource in (*mesh.of("VirtualService"), *mesh.of("DestinationRule")):
        for value in resource.spec.walk():
            name = value.path.rpartition(".")[2]
            if name in _DURATIONS and not _NAMED_BY_USERS.search(value.path) and value.text and value.seconds is None:
                yield value.breaks(NO_DURATION, f"{value.text} is no duration")


def _refused(route: Value) -> Iterator[Finding]:
    answers = [name for name in _ANSWERS if route.at(name)]
    if not answers:
        yield route.breaks(REFUSED, "a route without any answer", "write route, redirect, directResponse or delegate")
    for name in answers[1:]:
        yield route.at(name).breaks(REFUSED, f"{name} beside {answers[0]}")
    for answer in answers:
        for name in _NOT_BESIDE.get(answer, ()):
            if written := route.at(name):
                yield written.breaks(REFUSED, f"{name} beside {answer}", f"remove {name}")
    if route.at("mirror") and (mirrors := route.at("mirrors")):
        yield mirrors.breaks(REFUSED, "mirrors beside mirror")
    shares = [route.at("mirrorPercentage", "value"), route.at("mirrorPercent")]
    for share in (*shares, *(m.at("percentage", "value") for m in route.at("mirrors").items)):
        if share.number is not None and not 0 <= share.number <= 100:
            yield share.breaks(REFUSED, f"a share of {share.text} %", "write a number from 0 to 100")


def _regexes(match: Value) -> Iterator[Finding]:
    for value in match.walk():
        pattern = value.at("regex")
        if not pattern.is_scalar or value is match:  # a header may be called regex, too
            continue
        if not pattern.text or len(pattern.text) > _MAX_REGEX:
            yield pattern.breaks(BAD_REGEX, "an empty regular expression, or one of more than 1024 characters")
        elif pattern.text != "*" and (why := re2_regex.refused(pattern.text)):
            yield pattern.breaks(BAD_REGEX, f"RE2 refuses {pattern.text}: {why}")
        # istiod takes an empty prefix, and matches everything by it.


def _hosts(resource: Resource, mesh: Mesh) -> Iterator[Finding]:
    """Hosts that are a Service's name and namespace, and no more."""
    services = {f"{service.name}.{service.namespace}" for service in mesh.of("Service")}
    for value in resource.spec.walk():
        if value.text.removesuffix(".svc") in services and value.path.rpartition(".")[2].partition("[")[0] in (
            "host",
            "hosts",
        ):
            yield value.breaks(SHORT_HOST, f"{value.text} is not the full name of a Service")
