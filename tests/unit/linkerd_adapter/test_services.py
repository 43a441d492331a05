"""Services of apexes and of what stands behind them."""

from __future__ import annotations

from typing import Any

from linkerd_adapter import plan
from linkerd_adapter.services import MODE, services

from extproc.policy.snapshot import Policy, RetryBudget, Snapshot, Version

APP = (("app", "chat"),)


def rendered(
    *policies: Policy, port: int | str | None = None, protocol: str | None = None
) -> dict[str, dict[str, Any]]:
    made = plan.make(Snapshot(policies), "ai")
    docs = [doc for apex in made.apexes for doc in services(made, apex, port, protocol)]
    assert len({doc["metadata"]["name"] for doc in docs}) == len(docs)
    return {doc["metadata"]["name"]: doc for doc in docs}


def test_an_apex_and_its_versions() -> None:
    docs = rendered(Policy("chat", "ai", APP, "chat", versions=(Version("v1"), Version("v2"))))
    assert {name: doc["spec"]["selector"] for name, doc in docs.items()} == {
        "chat": {"app": "chat"},
        "chat-v1": {"app": "chat", "version": "v1"},
        "chat-v2": {"app": "chat", "version": "v2"},
    }
    for doc in docs.values():
        assert (doc["apiVersion"], doc["kind"], doc["metadata"]["namespace"]) == ("v1", "Service", "ai")
        assert doc["spec"]["ports"] == [{"name": "http", "port": 8080, "targetPort": 8080}]


def test_the_port_of_pods_and_the_protocol() -> None:
    docs = rendered(
        Policy("chat", "ai", APP, "chat", versions=(Version("v1"),)), port="grpc", protocol="kubernetes.io/h2c"
    )
    wanted = {"name": "http", "port": 8080, "targetPort": "grpc", "appProtocol": "kubernetes.io/h2c"}
    assert [doc["spec"]["ports"] for doc in docs.values()] == [[wanted]] * 2


def test_circuit_breaking_is_for_apexes_whose_policies_all_have_a_retry_budget() -> None:
    budget = RetryBudget(0.2, 10)
    one = Policy("a", "ai", APP, "chat", models=("a",), versions=(Version("v1"),), retry_budget=budget)
    docs = rendered(one)
    assert docs["chat"]["metadata"]["annotations"] == {
        MODE: "consecutive",
        f"{MODE}-consecutive-max-failures": "5",
        f"{MODE}-consecutive-min-penalty": "10s",
        f"{MODE}-consecutive-max-penalty": "120s",
    }
    assert "annotations" not in docs["chat-v1"]["metadata"]
    other = Policy("b", "ai", APP, "chat", models=("b",))
    assert "annotations" not in rendered(one, other)["chat"]["metadata"]


def test_addresses_have_slices_by_family_and_port() -> None:
    version = Version("v1", 1, ("10.0.0.1:80", "10.0.0.2:81", "[fd00::1]:80", "10.0.0.3:80"))
    docs = rendered(Policy("chat", "ai", (), "chat", versions=(version,)))
    assert list(docs) == ["chat", "chat-v1", "chat-v1-ipv4-80", "chat-v1-ipv4-81", "chat-v1-ipv6-80"]
    assert "selector" not in docs["chat"]["spec"]
    assert docs["chat-v1"]["spec"]["ports"] == [{"name": "http", "port": 8080, "targetPort": "http"}]
    first = docs["chat-v1-ipv4-80"]
    assert (first["kind"], first["addressType"]) == ("EndpointSlice", "IPv4")
    assert first["metadata"]["labels"]["kubernetes.io/service-name"] == "chat-v1"
    assert first["ports"] == [{"name": "http", "port": 80, "protocol": "TCP"}]
    assert [e["addresses"] for e in first["endpoints"]] == [["10.0.0.1"], ["10.0.0.3"]]
    assert docs["chat-v1-ipv6-80"]["endpoints"] == [{"addresses": ["fd00::1"], "conditions": {"ready": True}}]


def test_services_that_exist_are_not_declared() -> None:
    docs = rendered(Policy("chat", "ai", APP, "chat", versions=(Version("v1", 1, ("vllm.gpus.svc:80",)),)))
    assert list(docs) == ["chat"]
    assert rendered(Policy("chat", "ai", (), "chat")) == {}
