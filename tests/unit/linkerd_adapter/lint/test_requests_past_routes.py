"""Requests that pass routes by: skipped ports, ingress mode, gateways that dial pods."""

from __future__ import annotations

from pathlib import Path

import pytest
from linkerd_adapter.lint import requests_past_routes

from tests.lint.linkerd.corpus import PARENT, bad, check, codes, route


@pytest.mark.parametrize("file", bad(requests_past_routes.RULES), ids=lambda file: file.stem)
def test_its_bad_manifests(file: Path) -> None:
    check(file)


def of(text: str) -> list[str]:
    return codes(text, requests_past_routes.RULES)


def deployment(value: str = "", annotations: str = "", labels: str = "app: gw", namespace: str = "ai") -> str:
    return (
        f"---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: gw, namespace: {namespace}}}\n"
        f"spec: {{template: {{metadata: {{labels: {{{labels}}}, annotations: {{{annotations}}}}}, "
        f"spec: {{containers: [{{name: a, env: [{{name: URL, value: '{value}'}}]}}]}}}}}}\n"
    )


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
