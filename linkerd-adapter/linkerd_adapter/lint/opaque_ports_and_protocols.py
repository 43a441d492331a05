"""Lint rules: ports on which Linkerd sees no requests: by their protocol, as opaque ports, or by clients' own TLS."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Resource, Value
from linkerd_adapter.lint.linkerd_annotations import DEFAULT_OPAQUE_PORTS, names_port
from linkerd_adapter.lint.objects import Given

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
RULES = (OPAQUE_PROTOCOL, OPAQUE_HABIT, OPAQUE_PORT, ENCRYPTED, RESET)

HTTP = frozenset({"http", "kubernetes.io/h2c"})
HABITS = frozenset({"grpc", "grpc-web", "http2", "http/2", "h2", "h2c", "http1", "http/1", "http/1.1"})
"""Values of ``appProtocol`` that other meshes take for HTTP."""


def check(given: Given) -> Iterator[Finding]:
    """Every port of a Service, and every port with routes."""
    for service in given.services.values():
        for port in service.spec.at("ports").items:
            yield from _port(service, port, given)
    for target in (target for route in given.routes for target in route.targets):
        if target.port == 443 and target.key not in given.services:
            yield target.place.breaks(ENCRYPTED)


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
