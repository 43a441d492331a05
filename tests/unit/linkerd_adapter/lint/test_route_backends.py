"""Backends of routes: weights, ports, Services that are not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from linkerd_adapter.lint import route_backends

from tests.lint.linkerd.corpus import backend, bad, check, codes, route, service


@pytest.mark.parametrize("file", bad(route_backends.RULES), ids=lambda file: file.stem)
def test_its_bad_manifests(file: Path) -> None:
    check(file)


def of(text: str) -> list[str]:
    return codes(text, route_backends.RULES)


@pytest.mark.parametrize(
    ("backends", "found"),
    [
        ([backend("a")], []),
        ([backend("a", ", weight: 1")], []),
        ([backend("a", ", weight: 0")], ["LNK401"]),
        ([backend("a", ", weight: 5")], ["LNK402"]),
        ([backend("a", ", weight: 0"), backend("b", ", weight: 0")], ["LNK403"]),
        ([backend("a", ", weight: 0"), backend("b")], []),
        ([], []),
        (["{name: a, namespace: ai}"], ["LNK404"]),
        (["{name: a, namespace: ai, port: 0}"], ["LNK404"]),
        (["{kind: service, group: Core, name: a, port: 80}"], []),
        (["{kind: Service, group: apps, name: a, port: 80}"], ["LNK405"]),
        (["{kind: EgressNetwork, group: policy.linkerd.io, name: a}"], ["LNK405"]),
    ],
)
def test_what_a_backend_ref_says_by_itself(backends: list[str], found: list[str]) -> None:
    assert of(route(f"{{backendRefs: [{', '.join(backends)}]}}")) == found


@pytest.mark.parametrize(
    ("services", "found"),
    [
        ([], []),
        ([service("a")], []),
        ([service("other")], ["LNK406"]),
        ([service("a", "ports: [{port: 8080}]")], ["LNK407"]),
        ([service("a", "type: ExternalName, externalName: x.com")], ["LNK408"]),
    ],
)
def test_a_backend_and_the_services_that_are_given(services: list[str], found: list[str]) -> None:
    assert of(route(f"{{backendRefs: [{backend('a')}]}}") + "".join(services)) == found


def slices(*ready: str) -> str:
    ends = ", ".join(f"{{addresses: [10.0.0.1], conditions: {{{condition}}}}}" for condition in ready)
    return (
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
        "metadata: {name: a-1, namespace: ai, labels: {kubernetes.io/service-name: a}}\n"
        f"endpoints: [{ends}]\n"
    )


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (slices("ready: false"), ["LNK411"]),
        (slices(), ["LNK411"]),
        (slices("ready: false", "ready: true"), []),
        (slices(""), []),
        (slices("ready: false") + slices("ready: true"), []),
    ],
)
def test_what_is_not_known_to_be_unready_is_ready(given: str, found: list[str]) -> None:
    assert of(route(f"{{backendRefs: [{backend('a')}]}}") + service("a") + given) == found


def test_a_consumer_route_names_the_namespace_of_its_backends() -> None:
    parent = '{group: "", kind: Service, name: llm, namespace: ml, port: 80}'
    assert of(route("{backendRefs: [{name: a, port: 80}]}", parents=parent)) == ["LNK409"]
    assert of(route(f"{{backendRefs: [{backend('a')}]}}", parents=parent)) == []
