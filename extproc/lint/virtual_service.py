"""VirtualService: routes that reach nothing, timeouts and retries that hurt."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint import match_comparison
from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Resource, Value
from extproc.lint.mesh import Mesh, fqdn, routing

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
CUTS_STREAMS = Rule(
    "AIM205",
    "warning",
    "a timeout for the whole of a model's answer",
    "`timeout` counts until the last byte: a streamed answer (SSE) that takes longer is cut off in the middle.",
    "write timeout: 0s, and bound the wait for the first byte at the model server or the stream's idle time in Envoy",
)
RETRIES_TOO_LONG = Rule(
    "AIM206",
    "warning",
    "retries that the timeout leaves no time for",
    "`timeout` counts over all tries: the last of `attempts` + 1 tries of `perTryTimeout` each never ends.",
    "make (attempts + 1) x perTryTimeout fit into timeout",
)
COSTLY_RETRIES = Rule(
    "AIM207",
    "warning",
    "retries repeat inference that may be under way",
    "After `5xx`, `gateway-error`, `reset` or a status code the model may have computed half of the answer already: "
    "the GPU does it all again, when it can afford it least.",
    "write retryOn: connect-failure,refused-stream,unavailable,reset-before-request",
)
NOT_HTTP = Rule(
    "AIM208",
    "error",
    "HTTP routes to a port that is not HTTP",
    "Istio takes the protocol from the port's name or appProtocol; what is TCP or TLS to it is not read, so no "
    "header matches and no HTTP route applies.",
    "name the port http or http-…, or give it appProtocol: http",
)
TWO_OF_A_HOST = Rule(
    "AIM209",
    "error",
    "two VirtualServices for a host",
    "Sidecars take one of them, the older, and not the other at all; only gateways join the two.",
    "merge them",
)
RULES = (
    *(NO_DEFAULT, UNREACHABLE, NO_SUBSET, NO_WEIGHT, CUTS_STREAMS, RETRIES_TOO_LONG, COSTLY_RETRIES, NOT_HTTP),
    TWO_OF_A_HOST,
)

_SAFE_RETRIES = (
    "connect-failure",
    "refused-stream",
    "unavailable",
    "cancelled",
    "reset-before-request",
    "resource-exhausted",
)
_INFERENCE_PATHS = ("/v1/", "/v2/models", "/api/chat", "/api/generate", "/predict", "/invocations")
_OPAQUE_PROTOCOLS = ("tcp", "tls", "https", "mongo", "mysql", "redis")


def check(mesh: Mesh) -> Iterator[Finding]:
    """Every VirtualService."""
    for service in mesh.of("VirtualService"):
        routes = service.spec.at("http").items
        yield from _order(service)
        inference = _about_models(service, mesh)
        for route in routes:
            yield from _destinations(route, service, mesh)
            if inference:
                yield from _timeouts_and_retries(route)
    yield from _two_of_a_host(mesh)


def _two_of_a_host(mesh: Mesh) -> Iterator[Finding]:
    """What sidecars see of the VirtualServices here: those that name no gateway, or ``mesh`` among them."""
    first: dict[str, Resource] = {}
    for service in mesh.of("VirtualService"):
        gateways = [gateway.text for gateway in service.spec.at("gateways").items]
        hidden = [to.text for to in service.spec.at("exportTo").items] == ["."]
        if hidden or (gateways and "mesh" not in gateways):
            continue
        for host in service.spec.at("hosts").items:
            other = first.setdefault(fqdn(host.text, service.namespace), service)
            if other is not service and (other.name, other.namespace) != (service.name, service.namespace):
                yield host.breaks(TWO_OF_A_HOST, f"{other.name} ({other.location}) has routes for {host.text} too")


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


def _about_models(service: Resource, mesh: Mesh) -> bool:
    """Whether its routes look like inference: by a routing header, a path of an inference API, or whom they reach."""
    if any(map(mesh.serves_models, _reached(service))):
        return True
    for route in service.spec.at("http").items:
        for match in route.at("match").items:
            if any(map(routing, match.at("headers").entries)):
                return True
            if any(v.text.startswith(_INFERENCE_PATHS) for v in match.at("uri").entries.values()):
                return True
    return False


def _reached(service: Resource) -> Iterator[str]:
    """The full names of the hosts that its routes are for, or go to."""
    for host in service.spec.at("hosts").items:
        yield fqdn(host.text, service.namespace)
    for route in service.spec.at("http").items:
        for destination in route.at("route").items:
            yield fqdn(destination.at("destination", "host").text, service.namespace)


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


def _timeouts_and_retries(route: Value) -> Iterator[Finding]:
    timeout, retries = route.at("timeout"), route.at("retries")
    if timeout.seconds:
        yield timeout.breaks(CUTS_STREAMS)
    attempts, each = retries.at("attempts").number or 0, retries.at("perTryTimeout").seconds
    if attempts and each and timeout.seconds and (attempts + 1) * each > timeout.seconds:
        sum_ = f"{attempts + 1:g} tries of {each:g} s in a timeout of {timeout.seconds:g} s"
        yield retries.breaks(RETRIES_TOO_LONG, sum_)
    written = retries.at("retryOn")
    costly = [word.strip() for word in written.text.split(",") if word.strip() and word.strip() not in _SAFE_RETRIES]
    if attempts and costly:
        yield written.breaks(COSTLY_RETRIES, f"{', '.join(costly)}: repeats inference that may be under way")
