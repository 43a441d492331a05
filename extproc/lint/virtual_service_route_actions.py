"""VirtualService: routes that istiod refuses for what they do (route, redirect, answer, mirror)."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Value
from extproc.lint.mesh import Mesh

REFUSED = Rule(
    "AIM212",
    "error",
    "a route that istiod refuses",
    "Its webhook refuses the whole VirtualService; without the webhook istiod leaves the route out.",
    "keep one of route, redirect, directResponse and delegate, and one of mirror and mirrors",
)
RULES = (REFUSED,)

_ANSWERS = ("route", "redirect", "directResponse", "delegate")
_NOT_BESIDE = {"redirect": ("fault", "rewrite"), "directResponse": ("fault", "rewrite")}


def check(mesh: Mesh) -> Iterator[Finding]:
    """Every route of every VirtualService."""
    for service in mesh.of("VirtualService"):
        for route in service.spec.at("http").items:
            yield from _refused(route)


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
