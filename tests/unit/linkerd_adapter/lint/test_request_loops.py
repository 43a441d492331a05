"""A backend that calls its own parent."""

from __future__ import annotations

from pathlib import Path

import pytest
from linkerd_adapter.lint import request_loops

from tests.lint.linkerd.corpus import backend, bad, check, codes, route, service


@pytest.mark.parametrize("file", bad(request_loops.RULES), ids=lambda file: file.stem)
def test_its_bad_manifests(file: Path) -> None:
    check(file)


def of(text: str) -> list[str]:
    return codes(text, request_loops.RULES)


ROUTE = route(f"{{backendRefs: [{backend('gw')}]}}")
GATEWAY = service("gw", "selector: {app: gw}, ports: [{port: 80}]")


def deployment(value: str = "", annotations: str = "", labels: str = "app: gw", namespace: str = "ai") -> str:
    return (
        f"---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: gw, namespace: {namespace}}}\n"
        f"spec: {{template: {{metadata: {{labels: {{{labels}}}, annotations: {{{annotations}}}}}, "
        f"spec: {{containers: [{{name: a, env: [{{name: URL, value: '{value}'}}]}}]}}}}}}\n"
    )


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("http://llm.ai:80", ["LNK410"]),
        ("http://llm.ai.svc.cluster.local", ["LNK410"]),
        ("http://my-llm.ai", []),
        ("http://x.llm.ai", []),
        ("http://llm.ai-2", []),
        ("http://llm", []),
        ("http://gw.ai", []),
    ],
)
def test_a_backend_that_dials_the_parent(value: str, found: list[str]) -> None:
    assert of(ROUTE + GATEWAY + deployment(value)) == found


def test_only_workloads_behind_the_backend_loop() -> None:
    dials = "http://llm.ai"
    assert of(ROUTE + GATEWAY + deployment(dials, labels="app: other")) == []
    assert of(ROUTE + GATEWAY + deployment(dials, labels="app: gw, tier: x")) == ["LNK410"]
    assert of(ROUTE + GATEWAY + deployment(dials, namespace="ml")) == []
    assert of(ROUTE + service("gw", "ports: [{port: 80}]") + deployment(dials)) == [], "it selects nothing"
    assert of(ROUTE + deployment(dials)) == []


def test_addresses_in_config_maps_that_it_names_are_its_own() -> None:
    config = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: ai}\ndata: {a: 'http://llm.ai'}\n"
    assert of(ROUTE + GATEWAY + deployment("conf") + config % "conf") == ["LNK410"]
    assert of(ROUTE + GATEWAY + deployment("conf") + config % "other") == []
