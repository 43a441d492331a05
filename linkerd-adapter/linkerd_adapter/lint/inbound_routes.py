"""Lint rules: routes of Servers, which authorize what arrives at pods, kubelet's probes included."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.headers import Headers
from extproc.lint.findings import Finding, Rule
from linkerd_adapter import route_selection
from linkerd_adapter.lint.manifest_value import Place
from linkerd_adapter.lint.objects import POLICY, Given, Resource, parents
from linkerd_adapter.lint.workloads import KINDS

UNPROBED = Rule(
    "LNK116",
    "warning",
    "a Server has routes, and none of them takes a pod's probe",
    "As long as a Server has no route, Linkerd lets kubelet's probes pass by itself. Once it has one, a probe that "
    "matches none is refused, and the pod never gets ready.",
    "write a route for the path of the probe, with an AuthorizationPolicy for kubelet's addresses",
)
RULES = (UNPROBED,)

PROBES = ("readinessProbe", "livenessProbe", "startupProbe")


def check(given: Given) -> Iterator[Finding]:
    """Probes that the routes of a Server leave out."""
    routed: dict[tuple[str, str], list[route_selection.Route]] = {}
    for resource in given.all_routes:
        for parent in parents(resource):
            if parent.of(POLICY, "Server") and resource.kind == "HTTPRoute":
                routed.setdefault(parent.key, []).append(_route(resource))
    servers = [server for server in given.of("Server", POLICY) if server.key in routed]
    workloads = [workload for kind in KINDS for workload in given.of(kind, "", "apps", "batch")] if servers else []
    for server in servers:
        for workload in workloads:
            if server.namespace == workload.namespace and _selects(server, workload):
                yield from _probes(server, workload, route_selection.by_precedence(routed[server.key]))


def _probes(server: Resource, workload: Resource, routes: list[route_selection.Route]) -> Iterator[Finding]:
    pod = workload.spec.get("template", "spec") or workload.spec
    for container in (*pod.each("containers"), *pod.each("initContainers")):
        for probe in (container.get(kind, "httpGet") for kind in PROBES):
            if probe is None or _port(container, probe.get("port")) != _port(container, server.spec.get("port")):
                continue
            path = probe.text_at("path") or "/"
            try:
                taken = route_selection.select(routes, route_selection.Request("GET", path, Headers()))
            except ValueError:
                continue  # a pattern that can't be read, or not here
            if taken is None:
                message = f"no route of the Server {server.name} takes this probe of {path}: it is refused"
                yield (probe.get("path") or probe).breaks(UNPROBED, message)


def _selects(server: Resource, workload: Resource) -> bool:
    """Whether a Server selects the workload's pods by ``matchLabels``; False where it has ``matchExpressions``."""
    pod = workload.spec.get("template") or workload.place
    labels = pod.get("metadata", "labels")
    own = {key: place.text for key, place in labels.entries().items()} if labels else {}
    wanted = server.spec.get("podSelector", "matchLabels")
    if server.spec.each("podSelector", "matchExpressions"):
        return False
    return all(own.get(key) == place.text for key, place in wanted.entries().items()) if wanted else True


def _port(container: Place, port: Place | None) -> int | str | None:
    """A port's number; its name where the container has no port of that name."""
    if port is None or port.number is not None:
        return port.number if port else None
    named = (own for own in container.each("ports") if own.text_at("name") == port.text)
    return next((own.number_at("containerPort") for own in named), port.text)


def _route(resource: Resource) -> route_selection.Route:
    rules = tuple(
        route_selection.Rule(tuple(map(_match, rule.each("matches")))) for rule in resource.spec.each("rules")
    )
    return route_selection.Route(resource.namespace, resource.name, rules)


def _match(match: Place) -> route_selection.Match:
    path = match.get("path")
    kind, value = (path.text_at("type") or "PathPrefix", path.text_at("value") or "/") if path else ("", "")
    return route_selection.Match(
        route_selection.PathMatch(kind, value) if path else None,
        _values(match.each("headers")),
        _values(match.each("queryParams")),
        match.text_at("method") or "",
    )


def _values(places: list[Place]) -> tuple[route_selection.ValueMatch, ...]:
    return tuple(
        route_selection.ValueMatch(
            p.text_at("name") or "", p.text_at("value") or "", p.text_at("type") == "RegularExpression"
        )
        for p in places
    )
