"""Lint rules: workloads whose requests loop, bypass routes, or go where a client says."""

from __future__ import annotations

import re
from collections.abc import Iterator

from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Resource, Value
from linkerd_adapter.lint.annotation_values import names_port
from linkerd_adapter.lint.objects import Given, Key, Route

LOOP = Rule(
    "LNK410",
    "warning",
    "a backend's workload dials the parent Service",
    "Its own proxy follows the route, too, and sends its requests back to it: they go round.",
    "let clients dial the gateway by a Service of its own, or put the route into the clients' namespaces only",
)
SKIPPED = Rule(
    "LNK509",
    "warning",
    "a workload skips a port that routes are on",
    "Its requests to that port go past Linkerd's proxy: no routes.",
    "take the port out of `config.linkerd.io/skip-outbound-ports`",
)
INGRESS = Rule(
    "LNK510",
    "warning",
    "a workload runs in Linkerd's ingress mode",
    "The proxy sends each request wherever its header `l5d-dst-override` says, and nothing here sets or removes that "
    "header: a client's own would choose any Service.",
    "use `linkerd.io/inject: enabled` and dial the Services' own addresses; else remove `l5d-dst-override` at the door",
)
PODS = Rule(
    "LNK512",
    "warning",
    "an Envoy Gateway dials pods, where routes are on Services",
    "Linkerd finds a route by the ClusterIP that a client dials; by default this gateway's Envoy dials the pods' own "
    "addresses, and its requests pass every route by.",
    "write `routingType: Service`",
)
RULES = (LOOP, SKIPPED, INGRESS, PODS)

KINDS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "Pod")
OVERRIDE = "l5d-dst-override"


def check(given: Given) -> Iterator[Finding]:
    """Everything about workloads, and what a Namespace asks for all of its own."""
    workloads = [workload for kind in KINDS for workload in given.of(kind, "", "apps", "batch")]
    texts = {id(workload): _all_texts(workload, given) for workload in workloads}
    ingresses = "\n".join(text for i in given.of("Ingress", "networking.k8s.io") for text in _texts(i.root))
    for workload in workloads:
        yield from _annotated(workload, given, OVERRIDE in texts[id(workload)] or OVERRIDE in ingresses)
    for namespace in given.namespaces.values():
        yield from _annotated(namespace, given, OVERRIDE in ingresses)
    for proxy in given.of("EnvoyProxy", "gateway.envoyproxy.io") if given.routes else ():
        if proxy.spec.at("routingType").text != "Service":
            yield (proxy.spec.at("routingType") or proxy.spec).breaks(PODS)
    labels = [(workload, _labels(workload)) for workload in workloads]
    behind = {key: list(_selected(given.services[key], labels)) for key in given.backends if key in given.services}
    for route in given.routes if labels else ():
        for rule in route.rules:
            for backend in rule.at("backendRefs").items:
                key = (backend.at("namespace").text or route.namespace, backend.at("name").text)
                for workload in behind.get(key, ()):
                    yield from _dials(route, backend, key, workload, texts[id(workload)])


def _annotated(workload: Resource, given: Given, overrides: bool) -> Iterator[Finding]:
    template = workload.spec.at("template", "metadata", "annotations")
    annotations = workload.annotations | template.entries
    inject, skipped = annotations.get("linkerd.io/inject"), annotations.get("config.linkerd.io/skip-outbound-ports")
    if inject and inject.text == "ingress" and not overrides:
        yield inject.breaks(INGRESS)
    for (_, name), port in given.targets if skipped else ():
        if skipped and port is not None and names_port(skipped.text, port):
            yield skipped.breaks(SKIPPED, f"port {port} is skipped, and routes are on it (Service {name})")


def _labels(workload: Resource) -> dict[str, str]:
    pod = workload.spec.at("template") or workload.root
    labels = pod.at("metadata", "labels")
    return {key: place.text for key, place in labels.entries.items()}


def _selected(service: Resource, labels: list[tuple[Resource, dict[str, str]]]) -> Iterator[Resource]:
    """The workloads that a Service selects."""
    selector = service.spec.at("selector")
    wanted = {key: place.text for key, place in selector.entries.items()}
    for workload, own in labels if wanted else ():
        if workload.namespace == service.namespace and wanted.items() <= own.items():
            yield workload


def _all_texts(workload: Resource, given: Given) -> str:
    """All texts of a workload, and of the ConfigMaps of its namespace that it names."""
    own = set(_texts(workload.spec))
    maps = (
        given.config_maps[workload.namespace, name] for name in own if (workload.namespace, name) in given.config_maps
    )
    return "\n".join([*own, *(text for m in maps for text in _texts(m.root))])


def _texts(value: Value) -> Iterator[str]:
    return (inner.text for inner in value.walk() if inner.is_scalar)


def _dials(route: Route, backend: Value, key: Key, workload: Resource, text: str) -> Iterator[Finding]:
    for target in route.targets:
        followed = route.namespace in (target.namespace, workload.namespace)
        address = rf"(?<![\w.-]){re.escape(target.name)}\.{re.escape(target.namespace)}(?![\w-])"
        if followed and target.key != key and target.name and re.search(address, text):
            message = f"the {workload.kind} {workload.name}, behind {key[1]}, dials the parent Service {target.name}"
            yield backend.breaks(LOOP, message)
