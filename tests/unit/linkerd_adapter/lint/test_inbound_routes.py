"""Routes of Servers: backends, and probes of kubelet that they leave out."""

from __future__ import annotations

from pathlib import Path

import pytest
from linkerd_adapter.lint import inbound_routes

from tests.lint.linkerd.corpus import bad, check, codes, route


@pytest.mark.parametrize("file", bad(inbound_routes.RULES), ids=lambda file: file.stem)
def test_its_bad_manifests(file: Path) -> None:
    check(file)


def of(text: str) -> list[str]:
    return codes(text, inbound_routes.RULES)


SERVER = """---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: vllm, namespace: ai}
spec: {podSelector: {%s}, port: %s}
"""
ROUTE = """---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: a, namespace: ai}
spec: {parentRefs: [{group: policy.linkerd.io, kind: Server, name: vllm}], rules: [%s]}
"""
POD = """---
apiVersion: v1
kind: Pod
metadata: {name: vllm, namespace: %s, labels: {app: vllm}}
spec:
  containers:
  - name: vllm
    ports: [{name: http, containerPort: 8000}]
    readinessProbe: {%s}
"""
LABELS = "matchLabels: {app: vllm}"
PROBE = "httpGet: {path: /health, port: http}"


def prefix(path: str) -> str:
    return f"{{matches: [{{path: {{type: PathPrefix, value: {path}}}}}]}}"


@pytest.mark.parametrize(
    ("labels", "port", "rules", "namespace", "probe", "found"),
    [
        (LABELS, "8000", prefix("/v1"), "ai", PROBE, ["LNK116"]),
        (LABELS, "http", prefix("/v1"), "ai", PROBE, ["LNK116"]),
        (LABELS, "8000", prefix("/health"), "ai", PROBE, []),
        (LABELS, "8000", "{}", "ai", PROBE, []),
        (LABELS, "8000", "{matches: [{method: GET}]}", "ai", PROBE, []),
        (LABELS, "8000", "{matches: [{method: POST}]}", "ai", PROBE, ["LNK116"]),
        (LABELS, "8000", "{matches: [{headers: [{name: a, value: b}]}]}", "ai", PROBE, ["LNK116"]),
        (LABELS, "8000", "{matches: [{path: {type: Exact, value: /health}}]}", "ai", PROBE, []),
        (LABELS, "8000", "{matches: [{path: {type: RegularExpression, value: '/h.*'}}]}", "ai", PROBE, []),
        (LABELS, "8000", "{matches: [{path: {type: RegularExpression, value: '('}}]}", "ai", PROBE, []),
        (LABELS, "8001", prefix("/v1"), "ai", PROBE, []),
        (LABELS, "8000", prefix("/v1"), "ml", PROBE, []),
        ("matchLabels: {app: other}", "8000", prefix("/v1"), "ai", PROBE, []),
        ("", "8000", prefix("/v1"), "ai", PROBE, ["LNK116"]),
        ("matchExpressions: [{key: app, operator: Exists}]", "8000", prefix("/v1"), "ai", PROBE, []),
        (LABELS, "8000", prefix("/v1"), "ai", "httpGet: {port: 8000}", ["LNK116"]),
        (LABELS, "8000", prefix("/v1"), "ai", "tcpSocket: {port: 8000}", []),
    ],
)
def test_probes(labels: str, port: str, rules: str, namespace: str, probe: str, found: list[str]) -> None:
    assert of(SERVER % (labels, port) + ROUTE % rules + POD % (namespace, probe)) == found


def test_a_server_without_routes_lets_probes_pass() -> None:
    assert of(SERVER % (LABELS, "8000") + POD % ("ai", PROBE)) == []


def test_routes_of_servers_send_nothing_anywhere() -> None:
    server = "{group: policy.linkerd.io, kind: Server, name: a}"
    assert of(route("{backendRefs: [{name: a, port: 80}]}, {}", parents=server)) == ["LNK112"]
    assert of(route("{}", parents=server)) == []
