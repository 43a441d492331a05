"""VirtualService: subsets, weights and ports of the destinations that its routes have."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Resource, Value
from extproc.lint.mesh import Mesh, fqdn

NO_SUBSET = Rule(
    "AIM203",
    "error",
    "a subset that no DestinationRule declares",
    "Requests to it get 503: there is no such cluster.",
    "declare the subset in a DestinationRule of the host, or check the files together",
)
NO_WEIGHT = Rule(
    "AIM204",
    "error",
    "weights that send a destination nothing",
    "Of several destinations one without `weight` has 0; where all of them come to 0 the route is refused.",
    "give every destination of the route a weight",
)
NOT_HTTP = Rule(
    "AIM208",
    "error",
    "HTTP routes to a port that is not HTTP",
    "Istio takes the protocol from the port's name or appProtocol; what is TCP or TLS to it is not read, so no "
    "header matches and no HTTP route applies.",
    "name the port http or http-…, or give it appProtocol: http",
)
RULES = (NO_SUBSET, NO_WEIGHT, NOT_HTTP)
_OPAQUE_PROTOCOLS = ("tcp", "tls", "https", "mongo", "mysql", "redis")


def check(mesh: Mesh) -> Iterator[Finding]:
    """Every route of every VirtualService."""
    for service in mesh.of("VirtualService"):
        for route in service.spec.at("http").items:
            yield from _destinations(route, service, mesh)


def _destinations(route: Value, service: Resource, mesh: Mesh) -> Iterator[Finding]:
    split = route.at("route").items
    weights = [destination.at("weight") for destination in split]
    if len(split) > 1:
        yield from (d.breaks(NO_WEIGHT) for d, w in zip(split, weights, strict=True) if not w)
    if split and all(weights) and not sum(w.number or 0 for w in weights):
        yield weights[0].breaks(NO_WEIGHT, "the weights of this route come to 0")
    mirrors = [mirror.at("destination") for mirror in route.at("mirrors").items]
    for destination in (*(d.at("destination") for d in split), route.at("mirror"), *mirrors):
        host, subset = fqdn(destination.at("host").text, service.namespace), destination.at("subset")
        rules = mesh.destination_rules(host)
        if subset and not any(s.at("name").text == subset.text for r in rules for s in r.spec.at("subsets").items):
            there = (
                f"the DestinationRule of {host} ({rules[0].location})"
                if rules
                else f"no DestinationRule of {host} here"
            )
            declares = "does not declare" if rules else "declares"
            yield subset.breaks(NO_SUBSET, f"{there} {declares} the subset {subset.text}")
        yield from _protocol(destination, host, mesh)


def _protocol(destination: Value, host: str, mesh: Mesh) -> Iterator[Finding]:
    if not destination or not (found := mesh.service(host)):
        return
    number = destination.at("port", "number").text
    ports = [p for p in found.spec.at("ports").items if not number or p.at("port").text == number]
    if len(ports) == 1:
        declared = ports[0].at("appProtocol") or ports[0].at("name")
        if declared.text.partition("-")[0].lower() in _OPAQUE_PROTOCOLS:
            where = f"{found.name} ({declared.file}:{declared.node.line})"
            yield destination.at("host").breaks(NOT_HTTP, f"the port of {where} is declared as {declared.text}")
