"""Requests that would go round: a route to a gateway that dials the route's own Service.

May import floors 0 to 4 of ``extproc``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from extproc.findings import Finding, Rule
from extproc.yamldoc import Items, Mapping, Node, Scalar
from linkerd_adapter.lint.objects import Given, Key, Resource, Route
from linkerd_adapter.lint.place import Place

LOOP = Rule(
    "LNK410",
    "warning",
    "a backend's workload dials the parent Service",
    "Its own proxy follows the route, too, and sends its requests back to it: they go round.",
    "let clients dial the gateway by a Service of its own, or put the route into the clients' namespaces only",
)
RULES = (LOOP,)

KINDS = ("Deployment", "StatefulSet", "DaemonSet", "Pod")


def check(given: Given) -> Iterator[Finding]:
    """Where a workload, in its manifest or in a ConfigMap that it names, has the address of what leads to it."""
    gateways = [(workload, _labels(workload)) for kind in KINDS for workload in given.of(kind, "", "apps")]
    texts: dict[int, str] = {}
    for route in given.routes if gateways else ():
        for rule in route.rules:
            for backend in rule.each("backendRefs"):
                key = (backend.text_at("namespace") or route.namespace, backend.text_at("name") or "")
                for workload, labels in gateways:
                    if not _selects(given.services.get(key), workload, labels):
                        continue
                    if id(workload) not in texts:
                        texts[id(workload)] = _written(workload, given)
                    yield from _dials(route, backend, key, workload, texts[id(workload)])


def _labels(workload: Resource) -> dict[str, str | None]:
    pod = workload.spec.get("template") or workload.place
    labels = pod.get("metadata", "labels")
    return {key: place.text for key, place in labels.entries().items()} if labels else {}


def _selects(service: Resource | None, workload: Resource, labels: dict[str, str | None]) -> bool:
    selector = service.spec.get("selector") if service and service.namespace == workload.namespace else None
    wanted = selector.entries() if selector else {}
    return bool(wanted) and all(labels.get(key) == place.text for key, place in wanted.items())


def _written(workload: Resource, given: Given) -> str:
    """All texts of a workload, and of the ConfigMaps of its namespace that it names."""
    own = list(_texts(workload.spec.node))
    maps = [m for m in given.of("ConfigMap", "") if m.namespace == workload.namespace and m.name in own]
    return "\n".join([*own, *(text for m in maps for text in _texts(m.place.node))])


def _texts(node: Node) -> Iterator[str]:
    match node:
        case Scalar(text=text):
            yield text
        case Items(items=items):
            for item in items:
                yield from _texts(item)
        case Mapping(entries=entries):
            for _, value in entries:
                yield from _texts(value)


def _dials(route: Route, backend: Place, key: Key, workload: Resource, text: str) -> Iterator[Finding]:
    for target in route.targets:
        followed = route.namespace in (target.namespace, workload.namespace)
        address = rf"(?<![\w.-]){re.escape(target.name)}\.{re.escape(target.namespace)}(?![\w-])"
        if followed and target.key != key and target.name and re.search(address, text):
            message = f"the {workload.kind} {workload.name}, behind {key[1]}, dials the parent Service {target.name}"
            yield backend.breaks(LOOP, message)
