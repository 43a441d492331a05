"""VirtualService: the order of routes, and requests that none of them takes."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint import match_comparison
from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Resource
from extproc.lint.mesh import Mesh

NO_DEFAULT = Rule(
    "AIM201",
    "error",
    "no default route",
    "A request that no `match` takes gets 404: also every one without the header, as while the processor is down.",
    "end the list with a route without match",
)
UNREACHABLE = Rule(
    "AIM202",
    "error",
    "a route that nothing reaches",
    "The first route that takes a request wins, and those before it take all that this one matches: by a shorter "
    "prefix, a wider expression, fewer headers, or none at all.",
    "move the narrower route before the wider one, and the one without match to the end",
)


RULES = (NO_DEFAULT, UNREACHABLE)


def check(mesh: Mesh) -> Iterator[Finding]:
    """Every VirtualService."""
    for service in mesh.of("VirtualService"):
        yield from _order(service)


def _order(service: Resource) -> Iterator[Finding]:
    routes = service.spec.at("http").items
    gateways = match_comparison.gateways_of(service)
    everything = match_comparison.Match(gateways=gateways)
    before = match_comparison.Earlier()
    for route in routes:
        written = route.at("match").items
        matches = [match_comparison.read(m, gateways, service.namespace) for m in written] or [everything]
        possible = [match for match in matches if not match.never()]
        wide = [before.taker(match) for match in possible]
        if wide and all(wide):
            line = wide[0].node.line if wide[0] else 0
            what = (
                "every request before this one" if before.taker(everything) else "every request that this one matches"
            )
            yield route.breaks(UNREACHABLE, f"the route on line {line} takes {what}")
        if not route.at("delegate"):  # what its VirtualService does not take goes on to the next route
            for match in possible:
                before.add(route, match)
    delegate = not service.spec.at("hosts").items
    incomplete = routes and not delegate and not before.taker(everything)
    if incomplete and not match_comparison.complements(before):
        yield routes[-1].breaks(NO_DEFAULT)
