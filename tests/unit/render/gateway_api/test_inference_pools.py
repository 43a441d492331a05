"""InferencePools, and routes to them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from extproc.errors import SetupError
from extproc.policy.load_balancer import LoadBalancer
from extproc.policy.picking import Picking
from extproc.policy.snapshot import Policy, RetryBudget, Snapshot, Version
from extproc.policy.upstream import Tls, Upstream
from extproc.render.gateway_api.gateway_options import PICKER, GatewayOptions
from extproc.render.gateway_api.inference_pools import documents, notes
from extproc.render.istio.provenance import ANNOTATION, differences
from tests.manifests import crds
from tests.unit.render.snapshots import Doc

OPTIONS = GatewayOptions(flavor="plain", gateway="infra/public", hosts=("llm.example.com",), processor=PICKER)
CRDS = ("gateway-api-1.6.0", "gateway-api-inference-extension-1.5.0")
SELECTOR = (("app", "chat"),)


def policy(name: str = "chat", **fields: Any) -> Policy:
    versions = Version("v1", 3, ("10.0.0.1:8000",)), Version("v2", 1, ("10.0.0.2:8000",))
    chosen: dict[str, Any] = {"namespace": "ai", "host": name.lower(), "selector": SELECTOR, "models": (f"{name}-*",)}
    return Policy(name, **chosen | {"versions": versions, "picking": Picking()} | fields)


def rendered(*policies: Policy, options: GatewayOptions = OPTIONS, fail_open: bool = True) -> list[Doc]:
    return documents(Snapshot(policies), options, fail_open=fail_open)


def rules(found: list[Doc]) -> list[tuple[str, list[dict[str, str]], list[str]]]:
    """Of every route its namespace; of each rule the headers that it asks for, and the pools that it leads to."""
    return [
        (
            route["metadata"]["namespace"],
            [{one["name"]: one["value"] for one in match.get("headers", [])} for match in rule["matches"]],
            [ref["name"] for ref in rule["backendRefs"]],
        )
        for route in found
        if route["kind"] == "HTTPRoute"
        for rule in route["spec"]["rules"]
    ]


def test_one_policy_is_one_pool_for_every_request() -> None:
    pool, route = rendered(policy())
    assert pool["spec"] == {
        "selector": {"matchLabels": {"app": "chat"}},
        "targetPorts": [{"number": 8000}],
        "endpointPickerRef": {"name": "aimesh-extproc", "port": {"number": 9002}, "failureMode": "FailOpen"},
    }
    assert (pool["kind"], pool["metadata"]["namespace"], pool["metadata"]["name"]) == ("InferencePool", "ai", "chat")
    assert route["spec"]["parentRefs"] == [{"name": "public", "namespace": "infra"}]
    assert route["spec"]["hostnames"] == ["llm.example.com"]
    assert rules([route]) == [("ai", [{}], ["chat"])]
    (backend,) = route["spec"]["rules"][0]["backendRefs"]
    assert backend == {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "chat"}


def test_no_rule_has_two_pools_and_what_nobody_has_read_yet_has_one() -> None:
    found = rules(rendered(policy(), policy("code", models=("code-7b", "code-9b"))))
    assert found == [
        ("ai", [{"x-model-name": "code-7b"}, {"x-model-name": "code-9b"}], ["code"]),
        ("ai", [{"x-model-name": r"chat\-.*"}], ["chat"]),
        ("ai", [{}], ["chat"]),
    ]
    everything = policy("any", models=("*",), namespace="ml")
    assert rules(rendered(policy(), everything))[-1] == ("ml", [{}], ["any"])


def test_many_models_are_divided() -> None:
    named = policy("chat", models=tuple(f"m{n}" for n in range(200)))
    found = rendered(named, policy("code"))
    assert [len(doc["spec"]["rules"]) for doc in found if doc["kind"] == "HTTPRoute"] == [16, 11]
    if any(crds.FOLDER.glob("*.yaml")):
        assert [problem for doc in found for problem in crds.problems(doc, CRDS)] == []


def test_ports_are_those_that_can_be_picked() -> None:
    several = Version("v1", 1, ("10.0.0.1:8001", "10.0.0.1:8002"), grpc_endpoints=("10.0.0.1:9000",))
    pool, _ = rendered(policy(versions=(several,)))
    assert [port["number"] for port in pool["spec"]["targetPorts"]] == [8001, 8002, 9000]
    pool, _ = rendered(policy(versions=(Version("v1", inference_pool="chat"),), port=80))
    assert [port["number"] for port in pool["spec"]["targetPorts"]] == [80]


def test_without_a_picker_requests_pass_or_not() -> None:
    modes = [rendered(policy(), fail_open=fail_open)[0]["spec"]["endpointPickerRef"] for fail_open in (True, False)]
    assert [mode["failureMode"] for mode in modes] == ["FailOpen", "FailClose"]


@pytest.mark.parametrize(("processor", "name"), [("p.ai.svc.cluster.local:1", "p"), ("p.ai:1", "p"), ("p:1", "p")])
def test_another_picker(processor: str, name: str) -> None:
    pool, _ = rendered(policy(), options=msgspec.structs.replace(OPTIONS, processor=processor))
    assert pool["spec"]["endpointPickerRef"]["name"] == name


@pytest.mark.parametrize(
    ("changed", "processor", "said"),
    [
        (policy(picking=None), PICKER, "policy chat picks no servers, which is what pools are for; write picking: {}"),
        (
            policy(versions=(Version("v1", 1, ("10.0.0.1:80", "127.0.0.1:81")),)),
            PICKER,
            "no pod of a pool is at 127.0.0.1:81",
        ),
        (policy(selector=()), PICKER, "nothing tells which pods"),
        (
            policy(versions=(Version("v1", inference_pool="chat"), Version("v2", inference_pool="llama"))),
            PICKER,
            "that is rendered is chat, and the version v2 has the pods of llama",
        ),
        (policy(versions=(Version("v1", upstream=Upstream(Tls())),)), PICKER, "pools have no https://"),
        (policy(), "p.other.svc.cluster.local:1", "in its own namespace"),
        (policy(), "10.0.0.1:1", "is no Service"),
        (policy(versions=(Version("v1", 1, tuple(f"10.0.0.1:{n}" for n in range(1, 10))),)), PICKER, "have 9 ports"),
    ],
)
def test_what_pools_can_not_do(changed: Policy, processor: str, said: str) -> None:
    with pytest.raises(SetupError, match=said):
        rendered(changed, options=msgspec.structs.replace(OPTIONS, processor=processor))


def test_nothing_of_nothing() -> None:
    assert rendered() == []


@crds.needed
def test_the_crds_take_it() -> None:
    found = rendered(policy(), policy("A.b_C", models=("*",)), fail_open=False)
    assert len(found) == 3
    assert [problem for doc in found for problem in crds.problems(doc, CRDS)] == []


def test_they_say_what_they_were_made_from() -> None:
    texts = {doc["metadata"]["annotations"][ANNOTATION] for doc in rendered(policy())}
    (text,) = texts
    assert differences(text, Snapshot((policy(),))) == []
    more = policy(versions=(*policy().versions, Version("v3", 1, ("10.0.0.3:8000",))))
    assert differences(text, Snapshot((more,))) == [], "a pool has every version"
    other = Snapshot((policy(selector=(("app", "talk"),)),))
    assert [found.part for found in differences(text, other)] == ["selectors"]


@pytest.mark.parametrize(
    ("fields", "lost"),
    [
        ({}, ""),
        ({"timeout": 1.0, "retry_budget": RetryBudget(0.1, 1)}, "timeout, retryBudget"),
        ({"load_balancer": LoadBalancer("random")}, "loadBalancer"),
        ({"versions": (Version("v1"), Version("next", 0, mirror=10))}, "mirror"),
    ],
)
def test_what_a_user_should_know(fields: dict[str, Any], lost: str) -> None:
    found = [*notes(Snapshot((policy(**fields),)), fail_open=False)]
    assert found[3:] == ([f"policy chat: not rendered: {lost}"] if lost else [])
    assert "whatever the weights" in [*notes(Snapshot((policy(),)), fail_open=True)][3]
