"""VirtualService: matches that no request meets, and regular expressions that RE2 refuses or that match too little."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint import match_comparison, re2_regex
from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Value
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
BAD_REGEX = Rule(
    "AIM213",
    "error",
    "a regular expression that is none to RE2",
    "istiod refuses the VirtualService. RE2 has no look-around and no references back, and istiod takes 1024 "
    "characters at most.",
    "write it without (?=…), (?!…), (?<=…) and \\1",
)
RULES = (NEVER, WHOLE_VALUE, BAD_REGEX)

_MAX_REGEX = 1024


def check(mesh: Mesh) -> Iterator[Finding]:
    """Every match of every VirtualService."""
    for service in mesh.of("VirtualService"):
        gateways = match_comparison.gateways_of(service)
        for route in service.spec.at("http").items:
            for match in route.at("match").items:
                if why := match_comparison.read(match, gateways, service.namespace).never():
                    yield match.breaks(NEVER, f"no request meets this match: {why}")
                for pattern, what in match_comparison.whole_value(match):
                    yield pattern.breaks(WHOLE_VALUE, f"{pattern.text} has to match all of {what}")
                yield from _regexes(match)


def _regexes(match: Value) -> Iterator[Finding]:
    for value in match.walk():
        pattern = value.at("regex")
        if not pattern.is_scalar or value is match:  # a header may be called regex, too
            continue
        if not pattern.text or len(pattern.text) > _MAX_REGEX:
            yield pattern.breaks(BAD_REGEX, "an empty regular expression, or one of more than 1024 characters")
        elif pattern.text != "*" and (why := re2_regex.refused(pattern.text)):
            yield pattern.breaks(BAD_REGEX, f"RE2 refuses {pattern.text}: {why}")
