"""What makes Linkerd ignore routes: protocols, opaque ports, profiles, other kinds of routes."""

from __future__ import annotations

from pathlib import Path

import pytest
from linkerd_adapter.lint import protocols

from tests.lint.linkerd.corpus import PARENT, bad, check, codes, findings, route, service


@pytest.mark.parametrize("file", bad(protocols.RULES), ids=lambda file: file.stem)
def test_its_bad_manifests(file: Path) -> None:
    check(file)


def of(text: str) -> list[str]:
    return codes(text, protocols.RULES)


ROUTE = route("{}")
OPAQUE = ", annotations: {config.linkerd.io/opaque-ports: '%s'}"


def port(more: str, metadata: str = "", number: int = 80) -> str:
    return service("llm", f"ports: [{{port: {number}{more}}}]", metadata)


def namespace(ports: str) -> str:
    return f"---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: ai{OPAQUE % ports}}}\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (ROUTE + port(""), []),
        (ROUTE + port(", appProtocol: HTTP"), []),
        (ROUTE + port(", appProtocol: kubernetes.io/h2c"), []),
        (ROUTE + port(", appProtocol: grpc"), ["LNK501"]),
        (port(", appProtocol: grpc"), ["LNK502"]),
        (port(", appProtocol: mysql"), []),
        (ROUTE + port("", OPAQUE % "80"), ["LNK503"]),
        (ROUTE + port("", OPAQUE % "70-79,81"), []),
        (port("", OPAQUE % "80"), []),
        (ROUTE + port("") + namespace("80"), ["LNK503"]),
        (ROUTE + port("", OPAQUE % "81") + namespace("80"), []),
        (ROUTE + port(", appProtocol: http", OPAQUE % "80"), ["LNK515"]),
        (port(", appProtocol: http", OPAQUE % "80"), ["LNK515"]),
        (ROUTE.replace("80", "3306") + port("", "", 3306), ["LNK503"]),
        (ROUTE.replace("80", "3306") + port("", OPAQUE % "", 3306), []),
        (ROUTE.replace("80", "443") + port("", "", 443), ["LNK508"]),
        (port("", "", 443), []),
        (ROUTE + port(", name: HTTPS-api"), ["LNK508"]),
        (ROUTE.replace("80", "443"), ["LNK508"]),
        (route("{}", parents=PARENT.replace(", port: 80", "")) + port(", appProtocol: tcp"), ["LNK501"]),
    ],
)
def test_ports(text: str, found: list[str]) -> None:
    assert of(text) == found


def test_a_grpc_route_beside_an_http_route_on_the_same_port() -> None:
    grpc = route("{}", kind="GRPCRoute")
    assert of(ROUTE + grpc) == ["LNK504"]
    assert of(ROUTE + grpc.replace("port: 80", "port: 81")) == []
    assert of(ROUTE + route("{}", kind="GRPCRoute", parents=PARENT.replace(", port: 80", ""))) == ["LNK504"]
    assert of(grpc) == []


def profile(spec: str, namespace: str = "ai") -> str:
    return (
        "---\napiVersion: linkerd.io/v1alpha2\nkind: ServiceProfile\n"
        f"metadata: {{name: llm.ai.svc.cluster.local, namespace: {namespace}}}\nspec: {{{spec}}}\n"
    )


ANNOTATED = port("", ", annotations: {retry.linkerd.io/limit: '1', other: x}")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (ROUTE + profile("routes: [{name: a}]"), ["LNK505"]),
        (ROUTE + profile("dstOverrides: [{authority: a}]"), ["LNK505"]),
        (ROUTE + profile("routes: []"), []),
        (profile("routes: [{name: a}]"), []),
        (ANNOTATED + profile("routes: [{name: a}]"), ["LNK507"]),
        (ANNOTATED + profile("routes: [{name: a}]", "shop"), []),
    ],
)
def test_profiles(text: str, found: list[str]) -> None:
    assert of(text) == found


def test_a_profile_of_clients_is_told_for_whom_it_counts() -> None:
    (found,) = [f for f in findings(ROUTE + profile("routes: [{name: a}]", "shop")) if f.code == "LNK505"]
    assert found.message == "this ServiceProfile masks the routes of the Service llm for clients in shop"


def split(name: str) -> str:
    head = "---\napiVersion: split.smi-spec.io/v1alpha1\nkind: TrafficSplit\nmetadata: {name: a, namespace: ai}\n"
    return f"{head}spec: {{service: {name}}}\n"


def limit(target: str) -> str:
    head = "---\napiVersion: policy.linkerd.io/v1alpha1\nkind: HTTPLocalRateLimitPolicy\nmetadata: {name: a}\n"
    return f"{head}spec: {{targetRef: {target}}}\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (ROUTE + split("llm"), ["LNK506"]),
        (ROUTE + split("llm.ai"), ["LNK506"]),
        (ROUTE + split("other"), []),
        (limit("{group: policy.linkerd.io, kind: Server, name: a}"), []),
        (limit("{group: '', kind: Service, name: a}"), ["LNK511"]),
        (limit("{kind: Server, name: a}"), ["LNK511"]),
    ],
)
def test_splits_and_limits(text: str, found: list[str]) -> None:
    assert of(text) == found
