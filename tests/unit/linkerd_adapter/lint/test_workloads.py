"""Workloads whose requests loop, bypass routes, or go where a client says."""

from __future__ import annotations

from pathlib import Path

import pytest
from linkerd_adapter.lint import workloads

from tests.lint.linkerd.corpus import PARENT, backend, bad, check, codes, route, service


@pytest.mark.parametrize("file", bad(workloads.RULES), ids=lambda file: file.stem)
def test_its_bad_manifests(file: Path) -> None:
    check(file)


def of(text: str) -> list[str]:
    return codes(text, workloads.RULES)


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


INGRESS = "linkerd.io/inject: ingress"


@pytest.mark.parametrize(
    ("annotations", "value", "found"),
    [
        (INGRESS, "", ["LNK510"]),
        (INGRESS, "l5d-dst-override", []),
        ("linkerd.io/inject: enabled", "", []),
        ("config.linkerd.io/skip-outbound-ports: '443,80'", "", ["LNK509"]),
        ("config.linkerd.io/skip-outbound-ports: '79-81'", "", ["LNK509"]),
        ("config.linkerd.io/skip-outbound-ports: '8080'", "", []),
    ],
)
def test_annotations(annotations: str, value: str, found: list[str]) -> None:
    assert of(route("{}") + deployment(value, annotations)) == found


def test_annotations_of_namespaces() -> None:
    text = f"---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: ai, annotations: {{{INGRESS}}}}}\n"
    ingress = "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: i}\nspec: {a: l5d-dst-override}\n"
    assert of(route("{}") + text) == ["LNK510"]
    assert of(route("{}") + text + ingress) == []


def test_skipped_ports_need_a_route_on_that_very_port() -> None:
    skipping = deployment(annotations="config.linkerd.io/skip-outbound-ports: '80'")
    assert of(skipping) == []
    assert of(route("{}", parents=PARENT.replace(", port: 80", "")) + skipping) == []


def proxy(spec: str) -> str:
    return (
        f"---\napiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyProxy\nmetadata: {{name: p}}\nspec: {{{spec}}}\n"
    )


def test_envoy_gateways_that_dial_pods() -> None:
    assert of(route("{}") + proxy("")) == ["LNK512"]
    assert of(route("{}") + proxy("routingType: Endpoint")) == ["LNK512"]
    assert of(route("{}") + proxy("routingType: Service")) == []
    assert of(proxy("")) == []
