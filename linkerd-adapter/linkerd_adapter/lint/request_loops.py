"""Lint rules: requests that go round: a backend that calls its own parent."""

from __future__ import annotations

import re
from collections.abc import Iterator

from extproc.lint.findings import Finding, Rule
from extproc.lint.manifest import Resource, Value
from linkerd_adapter.lint import workloads
from linkerd_adapter.lint.objects import Given, Key, Route

LOOP = Rule(
    "LNK410",
    "warning",
    "a backend's workload dials the parent Service",
    "Its own proxy follows the route, too, and sends its requests back to it: they go round.",
    "let clients dial the gateway by a Service of its own, or put the route into the clients' namespaces only",
)
RULES = (LOOP,)


def check(given: Given) -> Iterator[Finding]:
    """Every workload behind a backend of a route."""
    found = workloads.workloads(given) if given.routes else []
    labels = [(workload, workloads.labels(workload)) for workload in found]
    texts = {id(workload): workloads.all_texts(workload, given) for workload in found}
    services = (key for key in given.backends if key in given.services)
    behind = {key: list(workloads.selected(given.services[key], labels)) for key in services}
    for route in given.routes if found else ():
        for rule in route.rules:
            for backend in rule.at("backendRefs").items:
                key = (backend.at("namespace").text or route.namespace, backend.at("name").text)
                for workload in behind.get(key, ()):
                    yield from _dials(route, backend, key, workload, texts[id(workload)])


def _dials(route: Route, backend: Value, key: Key, workload: Resource, text: str) -> Iterator[Finding]:
    for target in route.targets:
        followed = route.namespace in (target.namespace, workload.namespace)
        address = rf"(?<![\w.-]){re.escape(target.name)}\.{re.escape(target.namespace)}(?![\w-])"
        if followed and target.key != key and target.name and re.search(address, text):
            message = f"the {workload.kind} {workload.name}, behind {key[1]}, dials the parent Service {target.name}"
            yield backend.breaks(LOOP, message)
