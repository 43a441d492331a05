"""Lint rules: what makes Linkerd ignore routes altogether (protocols, opaque ports, profiles, other routes)."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Resource, Value
from linkerd_adapter.lint import service_profiles
from linkerd_adapter.lint.annotation_values import DEFAULT_OPAQUE_PORTS, names_port
from linkerd_adapter.lint.objects import POLICY, Given

OPAQUE_PROTOCOL = Rule(
    "LNK501",
    "error",
    "the `appProtocol` of a port with routes turns them off",
    "Linkerd knows `http` (HTTP/1) and `kubernetes.io/h2c` (HTTP/2). Any other, `grpc`, `http2` and `https` too, makes "
    "the port opaque: bytes, no requests, no routes.",
    "write `http`, or `kubernetes.io/h2c` for gRPC, or leave it out",
)
OPAQUE_HABIT = Rule(
    "LNK502",
    "warning",
    "an `appProtocol` as other meshes have it makes the port opaque",
    "Linkerd passes its bytes on: no balancing of requests, no retries, no metrics of requests.",
    "write `http`, or `kubernetes.io/h2c` for gRPC, or leave it out",
)
OPAQUE_PORT = Rule(
    "LNK503",
    "error",
    "a port with routes is opaque",
    "Linkerd passes its bytes on and does not look for requests: no routes. The policy controller takes no notice of "
    "the list, and the route's status says Accepted.",
    "take the port out of `config.linkerd.io/opaque-ports`, or use another port than Linkerd's opaque ones "
    "(25, 587, 3306, 4444, 5432, 6379, 9300, 11211)",
)
BESIDE_GRPC = Rule(
    "LNK504",
    "error",
    "an HTTPRoute and a GRPCRoute are on the same Service and port",
    "Any GRPCRoute turns the HTTPRoutes off, and requests by HTTP/1.1 are reset; theirs is the status "
    "`RouteReasonConflicted`.",
    "route all by HTTPRoutes (they route gRPC, too: by path and headers), or put gRPC on a port of its own",
)
PROFILE = Rule(
    "LNK505",
    "error",
    "a ServiceProfile masks the routes of a Service",
    "Where a profile has routes or dstOverrides, Linkerd looks at no HTTPRoute or GRPCRoute. One in the Service's "
    "namespace counts for all clients, one in another for the clients of that one. Clients that are at work already "
    "follow it only once their discovery has idled: the routes stop to count later, all of a sudden.",
    "delete the ServiceProfile",
)
SPLIT = Rule(
    "LNK506",
    "error",
    "a TrafficSplit masks the routes of a Service",
    "The SMI adapter makes a ServiceProfile of it, and that masks HTTPRoutes and GRPCRoutes.",
    "delete the TrafficSplit, and write its weights into the HTTPRoute",
)
PROFILE_OVER_ANNOTATIONS = Rule(
    "LNK507",
    "warning",
    "a Service with a ServiceProfile has annotations for retries or timeouts",
    "Where there is a ServiceProfile with routes or dstOverrides, they are ignored.",
    "delete the ServiceProfile, or configure retries and timeouts in it",
)
ENCRYPTED = Rule(
    "LNK508",
    "warning",
    "a port with routes looks as if clients speak TLS to it",
    "Linkerd can't see requests in a client's own TLS: no routes.",
    "let clients speak plain HTTP: Linkerd's proxies encrypt it",
)
RESET = Rule(
    "LNK515",
    "error",
    "a port is opaque, and its `appProtocol` says HTTP",
    "Linkerd's proxies fail on the contradiction, and reset every connection to that port.",
    "take the port out of `config.linkerd.io/opaque-ports`, or leave `appProtocol` out",
)
RATE_LIMIT = Rule(
    "LNK511",
    "error",
    "the target of an HTTPLocalRateLimitPolicy is no Server",
    "Rates are limited where requests arrive; the admission webhook refuses any other target.",
    f"target a Server (group `{POLICY}`)",
)
RULES = (
    *(OPAQUE_PROTOCOL, OPAQUE_HABIT, OPAQUE_PORT, BESIDE_GRPC, PROFILE, SPLIT, PROFILE_OVER_ANNOTATIONS, ENCRYPTED),
    *(RATE_LIMIT, RESET),
)

HTTP = frozenset({"http", "kubernetes.io/h2c"})
HABITS = frozenset({"grpc", "grpc-web", "http2", "http/2", "h2", "h2c", "http1", "http/1", "http/1.1"})
"""Values of ``appProtocol`` that other meshes take for HTTP."""


def check(given: Given) -> Iterator[Finding]:
    """Everything that keeps routes from being looked at."""
    for service in given.services.values():
        for port in service.spec.at("ports").items:
            yield from _port(service, port, given)
    for target in (target for route in given.routes for target in route.targets):
        if target.port == 443 and target.key not in given.services:
            yield target.place.breaks(ENCRYPTED)
    for routes in given.targets.values():
        if any(route.grpc for route in routes):
            yield from (route.resource.root.breaks(BESIDE_GRPC) for route in routes if not route.grpc)
    for profile in given.of("ServiceProfile", "linkerd.io"):
        yield from _profile(profile, given)
    for split in given.of("TrafficSplit", "split.smi-spec.io"):
        yield from _split(split, given)
    for limit in given.of("HTTPLocalRateLimitPolicy", POLICY):
        limited = limit.spec.at("targetRef")
        if limited and (limited.at("group").text, limited.at("kind").text) != (POLICY, "Server"):
            yield limited.breaks(RATE_LIMIT)


def _port(service: Resource, port: Value, given: Given) -> Iterator[Finding]:
    number = port.at("port").integer
    routed = number is not None and given.is_parent(service.key, number)
    protocol = port.at("appProtocol")
    if protocol and protocol.text.lower() not in HTTP:
        if routed:
            yield protocol.breaks(OPAQUE_PROTOCOL, f"appProtocol {protocol.text} turns the routes on this port off")
        elif protocol.text.lower() in HABITS:
            yield protocol.breaks(OPAQUE_HABIT, f"appProtocol {protocol.text} makes this port opaque")
    elif number is not None and (routed or protocol):
        opaque = _opaque_ports(service, given)
        if names_port(opaque.text if opaque else DEFAULT_OPAQUE_PORTS, number):
            if protocol:
                yield protocol.breaks(RESET, f"port {number} is opaque, and appProtocol {protocol.text} says HTTP")
            else:
                yield (opaque or port).breaks(OPAQUE_PORT, f"port {number} is opaque")
        elif not routed:
            return
        elif number == 443 or port.at("name").text.lower().startswith("https"):
            yield port.breaks(ENCRYPTED)


def _opaque_ports(service: Resource, given: Given) -> Value | None:
    """The Service's own list or its namespace's; None: Linkerd's. The first there is counts alone."""
    for resource in (service, given.namespaces.get(service.namespace)):
        if resource and (listed := resource.annotations.get("config.linkerd.io/opaque-ports")):
            return listed
    return None


def _profile(profile: Resource, given: Given) -> Iterator[Finding]:
    service = service_profiles.service_of(profile)
    at = service_profiles.masks(profile)
    if at is None:
        return
    whose = "" if profile.namespace == service[0] else f" for clients in {profile.namespace or 'its namespace'}"
    if given.is_parent(service):
        yield at.breaks(PROFILE, f"this ServiceProfile masks the routes of the Service {service[1]}{whose}")
    annotated = given.services.get(service) if not whose else None
    for key, place in annotated.annotations.items() if annotated else ():
        if key.startswith(("retry.linkerd.io/", "timeout.linkerd.io/")):
            yield place.breaks(PROFILE_OVER_ANNOTATIONS)


def _split(split: Resource, given: Given) -> Iterator[Finding]:
    apex = split.spec.at("service")
    if apex and given.is_parent((split.namespace, apex.text.partition(".")[0])):
        yield apex.breaks(SPLIT)
