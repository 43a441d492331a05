"""HTTPRoutes by the headers that the processor sets."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.errors import SetupError
from extproc.policy.gpu import Requirement
from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.render.gateway_api.gateway_options import GatewayOptions
from extproc.render.gateway_api.http_routes import MAX_RULES, http_routes
from tests.manifests import crds
from tests.unit.render.snapshots import CANARY, EAST, MIRRORED, PLAIN, POOLED, WEST

Doc = dict[str, Any]
OPTIONS = GatewayOptions(flavor="envoy-gateway", gateway="infra/public")


def routes(snapshot: Snapshot, options: GatewayOptions = OPTIONS) -> list[Doc]:
    return [doc for doc in http_routes(snapshot, options) if doc["kind"] == "HTTPRoute"]


def rules(snapshot: Snapshot, options: GatewayOptions = OPTIONS) -> list[Doc]:
    return [rule for route in routes(snapshot, options) for rule in route["spec"]["rules"]]


def wanted(rule: Doc) -> list[dict[str, str]]:
    return [{one["name"]: one["value"] for one in match.get("headers", [])} for match in rule["matches"]]


def weights(rule: Doc) -> dict[str, int]:
    return {one["name"]: one["weight"] for one in rule["backendRefs"]}


def removed(rule: Doc) -> list[str]:
    return [name for one in rule.get("filters", []) for name in one.get("requestHeaderModifier", {}).get("remove", [])]


def test_versions_first_and_then_by_weight() -> None:
    first, second, default = rules(CANARY)
    assert [wanted(rule) for rule in (first, second, default)] == [
        [{"x-model-version": "v1"}],
        [{"x-model-version": "v2"}],
        [{}],
    ]
    assert [weights(rule) for rule in (first, second, default)] == [
        {"chat-v1": 1},
        {"chat-v2": 1},
        {"chat-v1": 9, "chat-v2": 1},
    ]
    assert removed(first) == ["x-gpu-pool"]
    assert removed(default) == ["x-model-version", "x-gpu-pool", "x-gpu-architecture"]
    (route,) = routes(CANARY)
    assert route["spec"]["parentRefs"] == [{"name": "public", "namespace": "infra"}]
    assert "hostnames" not in route["spec"]


def test_pools_and_hosts() -> None:
    options = GatewayOptions(flavor="envoy-gateway", hosts=("llm.example.com",))
    west, east, default = rules(POOLED, options)
    assert wanted(west) == [{"x-model-version": "v1", "x-gpu-pool": "west"}]
    assert wanted(east) == [{"x-model-version": "v1", "x-gpu-pool": "east"}]
    assert weights(default) == {"chat-v1-west": 2, "chat-v1-east": 1}
    assert removed(west) == []
    assert routes(POOLED, options)[0]["spec"]["hostnames"] == ["llm.example.com"]


def test_a_policy_without_versions_keeps_the_one_that_a_request_names() -> None:
    (only,) = rules(PLAIN)
    assert wanted(only) == [{}]
    assert removed(only) == ["x-gpu-pool"]


def test_several_policies_are_told_apart_by_model() -> None:
    exact = Policy("a", host="a", models=("llama", "qwen"), versions=(Version("v1", 1, ("a.svc:1",)),))
    glob = Policy("b", host="b", models=("llama-*",))
    rest = Policy("c", host="c", models=("*",))
    found = rules(Snapshot((rest, glob, exact)))
    assert [wanted(rule) for rule in found] == [
        [{"x-model-name": "llama", "x-model-version": "v1"}, {"x-model-name": "qwen", "x-model-version": "v1"}],
        [{"x-model-name": "llama"}, {"x-model-name": "qwen"}],
        [{"x-model-name": r"llama\-.*", "x-model-version": ".+"}],
        [{"x-model-name": r"llama\-.*"}],
        [{}],
    ]
    with pytest.raises(SetupError, match="compare headers exactly"):
        rules(Snapshot((rest, glob, exact)), GatewayOptions(flavor="gke"))


def test_a_pin_that_no_processor_has_checked_matches_no_rule() -> None:
    versions = Version("v1", 1, ("a.svc:1",)), Version("v2", 1, ("b.svc:1",))
    first, *_, default = rules(Snapshot((Policy("a", versions=versions, allow_pin=True),)))
    assert wanted(first) == [{"x-model-name": ".+", "x-model-version": "v1"}]
    assert wanted(default) == [{}]


def test_mirrors() -> None:
    for rule in rules(MIRRORED):
        (mirror,) = (one for one in rule["filters"] if one["type"] == "RequestMirror")
        assert mirror["requestMirror"]["backendRef"]["name"] == "chat-next"
        assert mirror["requestMirror"]["fraction"] == {"numerator": 3000, "denominator": 10_000}


def test_many_rules_are_several_routes_by_name() -> None:
    versions = tuple(Version(f"v{n}", 1, (f"s{n}.svc:1",)) for n in range(16))
    first, second = routes(Snapshot((Policy("chat", versions=versions),)))
    assert [one["metadata"]["name"] for one in (first, second)] == ["aimesh-001", "aimesh-002"]
    assert (len(first["spec"]["rules"]), len(second["spec"]["rules"])) == (MAX_RULES, 1)
    more = (*versions, Version("v16", 1, ("s16.svc:1",)))
    with pytest.raises(SetupError, match="spread over 17 backends"):
        routes(Snapshot((Policy("chat", versions=more),)))


def test_a_service_in_another_namespace_needs_a_grant() -> None:
    snapshot = Snapshot((Policy("chat", "ai", versions=(Version("v1", 1, ("vllm.gpus.svc:80",)),)),))
    grant, _ = http_routes(snapshot, OPTIONS)
    assert (grant["kind"], grant["metadata"]["namespace"]) == ("ReferenceGrant", "gpus")
    assert grant["spec"]["from"] == [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "ai"}]
    assert grant["spec"]["to"] == [{"group": "", "kind": "Service", "name": "vllm"}]


def test_names_that_clash_are_refused() -> None:
    first, second = (
        Policy(name, host="chat", selector=(("app", name),), models=(name,), versions=(Version("v1"),)) for name in "ab"
    )
    with pytest.raises(SetupError, match="two of the Services would be called default/chat-v1"):
        routes(Snapshot((first, second)))


@crds.needed
def test_very_many_models_are_within_the_limits_of_the_crd() -> None:
    models = tuple(f"m{n}" for n in range(130))
    many = Policy("many", host="many", models=models, versions=(Version("v1", 1, ("a.svc:1",)),))
    found = routes(Snapshot((many, Policy("rest", host="rest"))))
    assert len(found) > 2
    sizes = [[len(rule.get("matches", ())) for rule in route["spec"]["rules"]] for route in found]
    assert (max(map(len, sizes)), max(map(sum, sizes))) == (16, 128), "some are as large as may be"
    assert [crds.problems(route, ("gateway-api-1.6.0",)) for route in found] == [[]] * len(found)


def test_a_version_without_a_target_has_no_rule() -> None:
    policy = Policy("chat", host="chat", versions=(Version("v1"),), gpu=Requirement("h100"))
    assert rules(Snapshot((policy,), (WEST, EAST))) == []
