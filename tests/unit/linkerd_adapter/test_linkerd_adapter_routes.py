"""HTTPRoutes of one apex: conditions, order, limits, annotations."""

from __future__ import annotations

from typing import Any

import pytest
from linkerd_adapter import plan
from linkerd_adapter.names import Service
from linkerd_adapter.plan import UnrenderableError
from linkerd_adapter.routes import MAX_VALUE_LENGTH, http_routes, route_name

from extproc.policy.gpu import Requirement, describe
from extproc.policy.snapshot import GpuPool, Policy, RetryBudget, Snapshot, Version

APP = (("app", "chat"),)


def chat(*versions: Version, name: str = "chat", models: tuple[str, ...] = ("*",), **more: Any) -> Policy:
    return Policy(name, "ai", APP, "chat", models=models, versions=versions, **more)


def routes(*policies: Policy, pools: tuple[GpuPool, ...] = ()) -> list[dict[str, Any]]:
    snapshot = Snapshot(policies, pools)
    made = plan.make(snapshot, "ai")
    (apex,) = made.apexes
    return http_routes(snapshot, made, apex)


def rules(*policies: Policy, pools: tuple[GpuPool, ...] = ()) -> list[tuple[list[tuple[str, str]], dict[str, int]]]:
    """The conditions of each rule, a pattern after ``~``, and the weights of its backends."""
    found = []
    for rule in (rule for route in routes(*policies, pools=pools) for rule in route["spec"]["rules"]):
        headers = [header for match in rule.get("matches", []) for header in match["headers"]]
        shown = [(h["name"], ("~" if h["type"] == "RegularExpression" else "") + h["value"]) for h in headers]
        found.append((shown, {ref["name"]: ref["weight"] for ref in rule["backendRefs"]}))
    return found


def test_a_version_by_its_header_and_the_rest_by_weight() -> None:
    assert rules(chat(Version("v1", 9), Version("v2", 1), Version("shadow", 0, mirror=5))) == [
        ([("x-model-version", "v1")], {"chat-v1": 1}),
        ([("x-model-version", "v2")], {"chat-v2": 1}),
        ([], {"chat-v1": 9, "chat-v2": 1}),
    ]


def test_calls_of_grpc_have_rules_of_their_own_where_they_have_services() -> None:
    grpc = ("content-type", "~^application/grpc.*$")
    listed = Version("v1", 9, grpc_endpoints=("v1-grpc:81", "10.0.0.1:81", "10.0.0.2:81"))
    assert rules(chat(listed, Version("v2", 1))) == [
        ([("x-model-version", "v1"), grpc], {"v1-grpc": 1, "chat-v1-grpc": 2}),
        ([("x-model-version", "v1")], {"chat-v1": 1}),
        ([("x-model-version", "v2")], {"chat-v2": 1}),
        ([grpc], {"v1-grpc": 3, "chat-v1-grpc": 6, "chat-v2": 1}),
        ([], {"chat-v1": 9, "chat-v2": 1}),
    ]


def test_a_version_on_pools() -> None:
    pools = (GpuPool("a", describe("NVIDIA-A100-SXM4-80GB")), GpuPool("b", describe("NVIDIA-H100-80GB-HBM3")))
    assert rules(chat(Version("v1"), gpu=Requirement()), pools=pools) == [
        ([("x-model-version", "v1"), ("x-gpu-pool", "a")], {"chat-v1-a": 1}),
        ([("x-model-version", "v1"), ("x-gpu-pool", "b")], {"chat-v1-b": 1}),
        ([], {"chat-v1-a": 1, "chat-v1-b": 1}),
    ]


def test_policies_on_one_apex_ask_for_the_model_too() -> None:
    one = chat(Version("v1"), name="one", models=("a", "b.c"))
    wide = chat(name="wide", models=("d*", "*"))
    assert rules(one, wide) == [
        ([("x-model-name", r"~^(?:a|b\.c)$"), ("x-model-version", "v1")], {"chat-one-v1": 1}),
        ([("x-model-name", r"~^(?:a|b\.c)$")], {"chat-one-v1": 1}),
        ([("x-model-name", "~^(?:d.*)$"), ("x-model-version", "~^.+$")], {"chat": 1}),
        ([("x-model-name", "~^(?:d.*)$")], {"chat": 1}),
        ([], {"chat": 1}),
    ]
    assert rules(chat(name="one", models=("a",)), wide)[0][0][0] == ("x-model-name", "a"), "one name needs no pattern"


def test_patterns_of_many_models_keep_the_limit_of_a_value() -> None:
    names = tuple(f"model-{number:03}" for number in range(600))
    found = rules(chat(name="one", models=names), chat(name="wide"))
    values = {value for conditions, _ in found for name, value in conditions if name == "x-model-name"}
    assert len(values) == 2
    assert all(len(value) - 1 <= MAX_VALUE_LENGTH for value in values)
    assert max(len(value) - 1 for value in values) > MAX_VALUE_LENGTH - len("|model-000") - 4
    assert sum(value.count("model") for value in values) == 600


def test_rules_are_spread_over_routes_whose_names_sort() -> None:
    found = routes(chat(*(Version(f"v{n}", n == 0) for n in range(17))))
    assert [(r["metadata"]["name"], len(r["spec"]["rules"])) for r in found] == [("chat", 16), ("chat-002", 2)]
    names = [route_name(Service("ai", "chat"), number) for number in range(1, 120)]
    assert names == sorted(names)


def test_a_rule_has_at_most_16_backends() -> None:
    assert len(rules(chat(*(Version(f"v{n}") for n in range(16))))[-1][1]) == 16
    with pytest.raises(UnrenderableError, match="spread over 17 Services"):
        rules(chat(*(Version(f"v{n}") for n in range(17))))


def test_where_no_pool_fits_there_is_no_route() -> None:
    assert routes(chat(Version("v1"), gpu=Requirement("b200")), pools=(GpuPool("t4", describe("Tesla-T4")),)) == []


def test_what_a_route_is_attached_to() -> None:
    (route,) = routes(chat())
    assert (route["apiVersion"], route["kind"]) == ("gateway.networking.k8s.io/v1", "HTTPRoute")
    assert route["metadata"] == {"name": "chat", "namespace": "ai"}
    parent = {"group": "", "kind": "Service", "name": "chat", "namespace": "ai", "port": 8080}
    assert route["spec"]["parentRefs"] == [parent]
    assert route["spec"]["rules"][0]["backendRefs"] == [parent | {"weight": 1}]


def test_timeouts_and_retries_are_annotations_where_all_policies_want_them() -> None:
    budget = RetryBudget(0.2, 10)
    both = chat(name="a", models=("a",), timeout=10.0, retry_budget=budget)
    (route,) = routes(both)
    retries = {"retry.linkerd.io/http": "502,503", "retry.linkerd.io/limit": "1"}
    assert route["metadata"]["annotations"] == {"timeout.linkerd.io/idle": "90s", **retries}
    (route,) = routes(both, chat(name="b", models=("b",), timeout=20.0))
    assert route["metadata"]["annotations"] == {"timeout.linkerd.io/idle": "120s"}
    (route,) = routes(both, chat(name="b", models=("b",), retry_budget=budget))
    assert route["metadata"]["annotations"] == retries
    assert "annotations" not in routes(both, chat(name="b", models=("b",)))[0]["metadata"]
