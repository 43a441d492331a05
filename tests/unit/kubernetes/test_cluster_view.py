"""Who serves a version: by its Service's slices and its pods' labels, by Services it names, or by Pods alone."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.kubernetes.cluster_view import ClusterView, missing_services
from extproc.policy.snapshot import Policy, Version
from tests.unit.kubernetes.test_service_endpoints import addresses, endpoint, pod, slice_of


def service(name: str, namespace: str = "ai", port: int = 8080, port_name: str | None = "http") -> dict[str, Any]:
    named = {"name": port_name} if port_name else {}
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"ports": [{"port": port, **named}]}}


PODS = [
    pod("a", {"app": "chat", "version": "v1"}, ip="10.0.0.1"),
    pod("b", {"app": "chat", "version": "v2"}, ip="10.0.0.2"),
]
SLICES = [slice_of(endpoint("10.0.0.1", "a"), endpoint("10.0.0.2", "b"))]
VIEW = ClusterView(services=[service("chat"), service("other", "x", 80)], slices=SLICES, pods=PODS)
CHAT = Policy("chat", "ai", (("app", "chat"),), host="chat", versions=(Version("v1"), Version("v2"), Version("v3")))


def found(view: ClusterView, policy: Policy, version: Version) -> list[str] | None:
    endpoints = view.of_version(policy, version)
    return None if endpoints is None else addresses(endpoints)


def test_a_version_has_the_pods_with_its_label() -> None:
    assert [found(VIEW, CHAT, version) for version in CHAT.versions] == [["10.0.0.1:8000"], ["10.0.0.2:8000"], []]
    assert found(VIEW, CHAT, Version("")) == ["10.0.0.1:8000", "10.0.0.2:8000"]


@pytest.mark.parametrize(
    "host", ["chat", "chat.ai", "chat.ai.svc", "chat.ai.svc.cluster.local", "chat.ai.svc.example."]
)
def test_a_service_by_every_name_it_has(host: str) -> None:
    assert VIEW.service(host, "ai") == ("ai", "chat")


@pytest.mark.parametrize("host", ["chat.x", "chat.ai.example", "10.0.0.1", "[::1]", "other"])
def test_what_is_no_service(host: str) -> None:
    assert VIEW.service(host, "ai") is None


def test_a_version_may_name_services() -> None:
    assert found(VIEW, CHAT, Version("v1", endpoints=("chat.ai.svc:8080",))) == ["10.0.0.1:8000", "10.0.0.2:8000"]
    assert found(VIEW, CHAT, Version("v1", endpoints=("other.x:80",))) == []
    assert found(VIEW, CHAT, Version("v1", endpoints=("chat:8080", "10.0.0.1:80"))) is None


def test_a_port_that_the_service_lacks_leads_nowhere() -> None:
    view = ClusterView(services=[service("chat", port=81)], slices=SLICES, pods=PODS)
    assert found(view, Policy("chat", "ai", host="chat"), Version("")) == []


def test_pods_alone_where_the_service_tells_nothing() -> None:
    for services in ([], [service("chat")]):
        view = ClusterView(services=services, pods=PODS)
        assert found(view, CHAT, Version("v2")) == ["10.0.0.2:8080"]
    assert found(ClusterView(pods=PODS), Policy("chat", "ai", host="chat"), Version("v1")) is None
    assert found(ClusterView(services=[service("chat")]), CHAT, Version("v1")) == []


def test_services_that_are_not_there() -> None:
    versions = (
        Version("v1", endpoints=("chat-v1:80", "10.0.0.1:80")),
        Version("v2", endpoints=("api.example.com:443",)),
    )
    policy = Policy("p", "ai", host="nobody.ai.svc.cluster.local", versions=versions)
    assert list(missing_services(VIEW, policy)) == ["nobody.ai.svc.cluster.local", "chat-v1"]
    assert list(missing_services(VIEW, CHAT)) == []
