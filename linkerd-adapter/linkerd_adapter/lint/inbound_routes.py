"""Lint rules: routes of Servers, which authorize what arrives at pods, kubelet's probes included."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.headers import Headers
from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Resource, Value
from linkerd_adapter import route_selection
from linkerd_adapter.lint import workloads
from linkerd_adapter.lint.objects import POLICY, Given, parents

INBOUND = Rule(
    "LNK112",
    "warning",
    "a route of a Server has backendRefs",
    "A Server's routes are for authorization where requests arrive; where they go was decided before.",
    "attach the route to a Service, or remove the backendRefs",
)
UNPROBED = Rule(
    "LNK116",
    "warning",
    "a Server has routes, and none of them takes a pod's probe",
    "As long as a Server has no route, Linkerd lets kubelet's probes pass by itself. Once it has one, a probe that "
    "matches none is refused, and the pod never gets ready.",
    "write a route for the path of the probe, with an AuthorizationPolicy for kubelet's addresses",
)
RULES = (INBOUND, UNPROBED)

PROBES = ("readinessProbe", "livenessProbe", "startupProbe")


def check(given: Given) -> Iterator[Finding]:
    """Every route of a Server, and the probes that it leaves out."""
    routed: dict[tuple[str, str], list[route_selection.Route]] = {}
    for resource in given.all_routes:
        for parent in (parent for parent in parents(resource) if parent.of(POLICY, "Server")):
            for rule in resource.spec.at("rules").items:
                if refs := rule.at("backendRefs"):
                    yield refs.breaks(INBOUND)
            if resource.kind == "HTTPRoute":
                routed.setdefault(parent.key, []).append(_route(resource))
    servers = [server for server in given.of("Server", POLICY) if server.key in routed]
    served = workloads.workloads(given) if servers else []
    for server in servers:
        for workload in served:
            if server.namespace == workload.namespace and _selects(server, workload):
                yield from _probes(server, workload, route_selection.by_precedence(routed[server.key]))


def _probes(server: Resource, workload: Resource, routes: list[route_selection.Route]) -> Iterator[Finding]:
    pod = workload.spec.at("template", "spec") or workload.spec
    for container in (*pod.at("containers").items, *pod.at("initContainers").items):
        for probe in (container.at(kind, "httpGet") for kind in PROBES):
            if not probe or _port(container, probe.at("port")) != _port(container, server.spec.at("port")):
                continue
            path = probe.at("path").text or "/"
            try:
                taken = route_selection.select(routes, route_selection.Request("GET", path, Headers()))
            except ValueError:
                continue  # a pattern that can't be read, or not here
            if taken is None:
                message = f"no route of the Server {server.name} takes this probe of {path}: it is refused"
                yield (probe.at("path") or probe).breaks(UNPROBED, message)


def _selects(server: Resource, workload: Resource) -> bool:
    """Whether a Server selects the workload's pods by ``matchLabels``; False where it has ``matchExpressions``."""
    pod = workload.spec.at("template") or workload.root
    labels = pod.at("metadata", "labels")
    own = {key: place.text for key, place in labels.entries.items()}
    wanted = server.spec.at("podSelector", "matchLabels")
    if server.spec.at("podSelector", "matchExpressions").items:
        return False
    return all(own.get(key) == place.text for key, place in wanted.entries.items())


def _port(container: Value, port: Value) -> int | str | None:
    """A port's number; its name where the container has no port of that name."""
    if not port or port.integer is not None:
        return port.integer
    named = (own for own in container.at("ports").items if own.at("name").text == port.text)
    return next((own.at("containerPort").integer for own in named), port.text)


def _route(resource: Resource) -> route_selection.Route:
    rules = tuple(
        route_selection.Rule(tuple(map(_match, rule.at("matches").items))) for rule in resource.spec.at("rules").items
    )
    return route_selection.Route(resource.namespace, resource.name, rules)


def _match(match: Value) -> route_selection.Match:
    path = match.at("path")
    kind, value = (path.at("type").text or "PathPrefix", path.at("value").text or "/") if path else ("", "")
    return route_selection.Match(
        route_selection.PathMatch(kind, value) if path else None,
        _values(match.at("headers").items),
        _values(match.at("queryParams").items),
        match.at("method").text,
    )


def _values(places: list[Value]) -> tuple[route_selection.ValueMatch, ...]:
    return tuple(
        route_selection.ValueMatch(p.at("name").text, p.at("value").text, p.at("type").text == "RegularExpression")
        for p in places
    )
