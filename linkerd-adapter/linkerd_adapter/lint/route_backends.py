"""Lint rules: the backends of routes and their weights."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Value
from linkerd_adapter.lint.objects import CORE, Given, Route, service_port

ALONE_AT_ZERO = Rule(
    "LNK401",
    "error",
    "the only backend of a rule has weight 0",
    "A rule with one backend ignores weights: it gets every request.",
    "remove the backend or the rule; to switch it off, name the backend that should answer instead",
)
ALONE = Rule(
    "LNK402",
    "warning",
    "the only backend of a rule has a weight",
    "It is ignored: the backend gets every request, whatever the number says.",
    "remove `weight`, or write the other backend, too",
)
ALL_ZERO = Rule(
    "LNK403",
    "error",
    "every backend of a rule has weight 0",
    "The proxies fail on it: every rule on that Service fails with it, and its connections are closed. Other Services "
    "go on.",
    "give one of them a weight",
)
NO_PORT = Rule(
    "LNK404",
    "error",
    "a backendRef to a Service has no `port`",
    "The API server refuses the route; where it gets through, the backend's share gets 500.",
    "write the Service's `port`",
)
KIND = Rule(
    "LNK405",
    "error",
    "a backendRef of a Service's route is no Service",
    "Its share of the requests gets 500. An EgressNetwork is a backend only where that same one is the parent.",
    'use `kind: Service` with `group: ""`',
)
UNKNOWN = Rule(
    "LNK406",
    "warning",
    "a backend Service is not here, though other Services of its namespace are",
    "If it is not in the cluster either, its share of the requests gets 500.",
    "correct the name or the namespace, or look at the Service's manifest, too",
)
NO_SUCH_PORT = Rule(
    "LNK407",
    "error",
    "a backend Service has no such port",
    "Its pods are dialled on that very number: where they don't listen there, its share of the requests gets 502.",
    "write a port from the Service's `spec.ports[].port`",
)
EXTERNAL = Rule(
    "LNK408",
    "error",
    "a backend Service is of type ExternalName",
    "It has no endpoints that Linkerd could reach: its share of the requests gets 500.",
    "use a Service with endpoints; hosts outside the cluster are routed by an EgressNetwork's own routes",
)
NO_NAMESPACE = Rule(
    "LNK409",
    "error",
    "a backendRef of a consumer route has no `namespace`",
    "Linkerd looks for it in the parent's namespace, while the route's status is about one in the route's own.",
    "write the `namespace`",
)
NOT_READY = Rule(
    "LNK411",
    "warning",
    "a backend has no ready endpoint",
    "Requests drawn to it wait 3 s and get 504. After some of those the other backends get its share, until it has "
    "idled for half a minute and is tried again. Where there is no other, all fail.",
    "see why its pods are not ready, or why its selector finds none",
)
RULES = (ALONE_AT_ZERO, ALONE, ALL_ZERO, NO_PORT, KIND, UNKNOWN, NO_SUCH_PORT, EXTERNAL, NO_NAMESPACE, NOT_READY)


def check(given: Given) -> Iterator[Finding]:
    """Everything about backends."""
    for route in given.routes:
        for rule in route.rules:
            yield from _weights(rule.at("backendRefs").items)
            for backend in rule.at("backendRefs").items:
                yield from _backend(route, backend, given)


def _weights(backends: list[Value]) -> Iterator[Finding]:
    weights = [(backend.at("weight"), backend.at("weight").integer) for backend in backends]
    if len(weights) == 1:
        place, weight = weights[0]
        if place and weight == 0:
            yield place.breaks(ALONE_AT_ZERO)
        elif place and weight not in (None, 1):  # the API server fills in 1
            yield place.breaks(ALONE)
    elif weights and all(weight == 0 for _, weight in weights):
        yield backends[0].breaks(ALL_ZERO)


def _backend(route: Route, backend: Value, given: Given) -> Iterator[Finding]:
    kind, group = backend.at("kind").text or "Service", backend.at("group").text
    if kind.lower() != "service" or group.lower() not in CORE:
        yield backend.breaks(KIND)
        return
    port = backend.at("port").integer
    if not port:
        yield (backend.at("port") or backend).breaks(NO_PORT)
    abroad = [target for target in route.targets if route.namespace and target.namespace != route.namespace]
    written = backend.at("namespace").text
    if abroad and not written:
        yield backend.breaks(NO_NAMESPACE)
        return
    key = (written or route.namespace, backend.at("name").text)
    service = given.services.get(key)
    if service is None:
        if key[0] in given.service_namespaces:
            yield backend.breaks(UNKNOWN, f"the Service {key[1]} is not here, though others of its namespace are")
    elif service.spec.at("type").text == "ExternalName":
        yield backend.breaks(EXTERNAL)
    elif port and service_port(service, port) is None:
        yield backend.breaks(NO_SUCH_PORT, f"the Service {key[1]} has no port {port}")
    elif not given.ready.get(key, True):
        yield backend.breaks(NOT_READY, f"the Service {key[1]} has no ready endpoint")
