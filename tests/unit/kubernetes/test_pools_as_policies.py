"""InferencePools as policies: endpoints, priorities, rewrites, and policies that name pools."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.errors import Problem
from extproc.kubernetes.api import Object
from extproc.kubernetes.last_good import LastGood
from extproc.kubernetes.object_documents import read
from extproc.kubernetes.pools_as_policies import ACTIVE_PORTS, PoolObjects, with_pools
from extproc.policy.picking import EndpointPages, EndpointPod, Picking
from extproc.policy.snapshot import ModelMatch, Policy, Snapshot
from extproc.policy.target import NOWHERE
from tests.unit.kubernetes.fake_api import made
from tests.unit.kubernetes.inference_objects import objective, pod, pool, rewrite, rule

PODS = [pod(1), pod(2, ready=False), pod(3), pod(4, "other")]
READY = ["10.0.0.1:8000", "10.0.0.3:8000"]


def policy(name: str = "chat", age: int = 0, **spec: Any) -> Object:
    return made("ModelInferencePolicy", name, {"models": [name], **spec}, age=age)


def taken(found: PoolObjects, *objects: Object, wrong: int = 0) -> tuple[dict[str, Policy], list[Problem]]:
    """The policies that serve, by their names, and what is told. ``wrong``: problems of the policies themselves."""
    filled, problems = with_pools(objects, found)
    outcome = LastGood().take([read(one) for one in filled])
    assert len(outcome.problems) == wrong
    assert outcome.warnings == ()
    return outcome.snapshot.by_name, problems


def picking(found: Policy) -> Picking:
    assert found.picking is not None
    return found.picking


def endpoints(policies: dict[str, Policy]) -> dict[str, dict[str, list[str]]]:
    return {name: {v.name: list(v.endpoints) for v in found.versions} for name, found in policies.items()}


def test_a_pool_alone_is_a_policy_that_owns_every_model() -> None:
    policies, problems = taken(PoolObjects([pool()], pods=PODS))
    assert endpoints(policies) == {"llama": {"llama": READY}}
    (only,) = policies.values()
    assert (only.models, only.namespace, problems) == (("*",), "ai", [])
    assert (picking(only).by, picking(only).metrics.kind) == ("prefix", "vllm")
    assert Snapshot((only,)).match("whatever") == ModelMatch(only, "*")


def test_a_policy_that_asks_for_gpus_knows_the_pods_of_its_pools() -> None:
    versions = [{"name": "v1", "inferencePool": {"name": "llama"}}]
    chat = policy(versions=versions, picking={"metrics": {"gpuPort": 9400}})
    policies, _ = taken(PoolObjects([pool("llama", 8000, 8001)], pods=PODS), chat)
    assert picking(policies["chat"]).metrics.pods == tuple(
        EndpointPod(f"10.0.0.{number}:{port}", f"ai/llama-{number}", "192.168.0.1")
        for number in (1, 3)
        for port in (8000, 8001)
    )
    policies, _ = taken(PoolObjects([pool()], pods=PODS), policy(versions=versions))
    assert picking(policies["chat"]).metrics.pods == ()


def test_a_long_name_is_cut_and_stays_its_own() -> None:
    long = "llama-" + "x" * 100
    rewrites = [rewrite(f"{long}-{end}", rule(end, x=1), ref=long) for end in ("a", "b")]
    policies, problems = taken(PoolObjects([pool(long)], rewrites=rewrites, pods=[pod(1, long)]))
    assert (sorted(found.models[0] for found in policies.values()), problems) == (["*", "a", "b"], [])
    assert all(len(name) == 63 and name.startswith("llama-xxx") for name in policies)


def test_a_pool_without_ready_pods_has_nobody() -> None:
    policies, _ = taken(PoolObjects([pool()], pods=[pod(2, ready=False), pod(1, deletionTimestamp="now")]))
    assert endpoints(policies) == {"llama": {"llama": [NOWHERE]}}


def test_each_port_of_a_pod_is_an_endpoint() -> None:
    ranks = [pod(1), pod(2, annotations={ACTIVE_PORTS: "8001, 9999"}), pod(3, annotations={ACTIVE_PORTS: "x"})]
    policies, _ = taken(PoolObjects([pool("llama", 8000, 8001)], pods=ranks))
    assert endpoints(policies)["llama"]["llama"] == ["10.0.0.1:8000", "10.0.0.1:8001", "10.0.0.2:8001"]


def test_pods_of_another_namespace_are_not_of_the_pool() -> None:
    policies, _ = taken(PoolObjects([pool(namespace="team")], pods=PODS))
    assert endpoints(policies) == {"llama": {"llama": [NOWHERE]}}


def test_of_several_pools_alone_the_oldest_has_every_model() -> None:
    found = PoolObjects([pool("other"), pool(age=5)], pods=PODS)
    policies, _ = taken(found, wrong=1)
    assert endpoints(policies) == {"llama": {"llama": READY}}


def test_objectives_that_refer_to_the_pool_have_priorities() -> None:
    objectives = [
        objective("batch", -1),
        objective("chat", None),
        objective("urgent", 2_000_000_000),
        objective("elsewhere", 5, ref="other"),
        objective("foreign", 5, group="example.com"),
        objective("unlike", 5, kind="Service"),
        objective("explicit", 5, group="inference.networking.k8s.io", kind="InferencePool"),
    ]
    policies, problems = taken(PoolObjects([pool()], objectives, pods=PODS))
    assert dict(picking(policies["llama"]).objectives) == {"batch": -1, "chat": 0, "urgent": 1_000_000, "explicit": 5}
    assert problems == []


def test_of_too_many_objectives_the_oldest_count_and_the_others_are_told() -> None:
    objectives = [objective(f"o{i:02}", i, age=59 - i % 60) for i in range(65)] + [objective("x" * 64, 1)]
    policies, problems = taken(PoolObjects([pool()], objectives, pods=PODS))
    assert len(picking(policies["llama"]).objectives) == 64
    assert {problem.file for problem in problems} == {
        "InferenceObjective ai/o59",
        f"InferenceObjective ai/{'x' * 64}",
    }


def test_rewrites_are_policies_and_the_rule_for_all_models_is_the_pools() -> None:
    rewrites = [rewrite("canary", rule("chat", v1=90, v2=10), rule(base=1)), rewrite("far", rule("a", b=1), ref="x")]
    policies, problems = taken(PoolObjects([pool()], rewrites=rewrites, pods=PODS))
    assert endpoints(policies) == {"canary": {"v1": READY, "v2": READY}, "llama": {"base": READY}}
    assert policies["canary"].models == ("chat",)
    assert [(v.weight, v.model_rewrite) for v in policies["canary"].versions] == [(90, "v1"), (10, "v2")]
    assert [v.model_rewrite for v in policies["llama"].versions] == ["base"]
    assert policies["canary"].picking == policies["llama"].picking
    assert problems == []


def test_a_rewrite_with_the_name_of_its_pool_has_another_as_a_policy() -> None:
    policies, _ = taken(PoolObjects([pool()], rewrites=[rewrite("llama", rule("chat", v1=1))], pods=PODS))
    assert set(policies) == {"llama", "llama-rewrite"}


def test_a_policy_has_the_endpoints_of_the_pools_that_it_names() -> None:
    pods = [pod(1, labels={"version": "v1"}), pod(3, labels={"version": "v2"}), pod(4, "other")]
    versions = [
        {"name": "v1", "weight": 1, "inferencePool": {"name": "llama", "matchLabels": {"version": "v1"}}},
        {"name": "v2", "weight": 1, "inferencePool": {"name": "other"}, "modelRewrite": "m"},
        {"name": "v3", "weight": 1, "endpoints": ["10.9.9.9:1"]},
    ]
    said = {"by": "least-loaded", "objectives": {"batch": -7, "mine": 1}, "metrics": {"port": 9}}
    objectives = [objective("batch", 3), objective("far", 4, ref="other"), objective("none", 4, ref="third")]
    found = PoolObjects([pool(), pool("other"), pool("third")], objectives, pods=pods)
    policies, problems = taken(found, policy(versions=versions, picking=said))
    assert endpoints(policies)["chat"] == {"v1": ["10.0.0.1:8000"], "v2": ["10.0.0.4:8000"], "v3": ["10.9.9.9:1"]}
    assert set(policies) == {"chat", "third"}, "pools that a policy names are its own"
    filled = picking(policies["chat"])
    assert (filled.by, filled.metrics) == ("least-loaded", EndpointPages("vllm", 9))
    assert dict(filled.objectives) == {"batch": -7, "mine": 1, "far": 4}, "its own word goes before that of objects"
    assert problems == []


def test_a_policy_without_picking_picks_by_prefix() -> None:
    versions = [{"name": "v1", "inferencePool": {"name": "llama"}}]
    policies, _ = taken(PoolObjects([pool()], pods=PODS), policy(versions=versions))
    assert picking(policies["chat"]).by == "prefix"


def test_the_type_of_the_servers_is_the_gpu_pools_where_the_policy_has_any() -> None:
    versions = [{"name": "v1", "inferencePool": {"name": "llama"}, "gpuPools": ["west"]}]
    gpus = made("GpuPool", "west", {"product": "a100", "metrics": {"type": "sglang", "url": "http://a/metrics"}})
    policies, _ = taken(PoolObjects([pool()], pods=PODS), policy(versions=versions), gpus)
    assert picking(policies["chat"]).metrics.kind == ""


def test_a_pool_that_is_not_served_leaves_the_version_without_endpoints() -> None:
    versions = [{"name": "v1", "inferencePool": {"name": "llama"}}]
    policies, (problem,) = taken(PoolObjects(pods=PODS), policy(versions=versions))
    assert endpoints(policies)["chat"] == {"v1": [NOWHERE]}
    assert (problem.file, problem.path) == ("ModelInferencePolicy ai/chat", "spec.versions[0].inferencePool")
    assert "--inference-pool ai/llama" in problem.remedy


def test_what_is_in_force_names_pools_as_well_and_keeps_its_rollout() -> None:
    versions = [{"name": "v1", "inferencePool": {"name": "llama"}}]
    rollout = {"to": "v1", "state": "Completed", "step": 100, "since": "2026-01-01T00:00:00Z"}
    in_force = {"generation": 1, "spec": {"versions": versions}}
    one = policy(port=1) | {"status": {"inForce": in_force, "rollout": rollout}}
    (filled, *_), _ = with_pools([one], PoolObjects([pool()], pods=PODS))
    assert [version["endpoints"] for version in filled["spec"]["versions"]] == [READY]
    assert "port" not in filled["spec"]
    assert filled["status"] == {"rollout": rollout}


@pytest.mark.parametrize("versions", ["x", [1], [{"name": "v1", "inferencePool": "llama"}], [{"inferencePool": {}}]])
def test_what_is_written_wrongly_is_left_to_who_reads_policies(versions: Any) -> None:
    one = policy(versions=versions)
    filled, problems = with_pools([one], PoolObjects([pool()], pods=PODS))
    assert filled[0] is one
    assert problems == []


def test_what_is_wrong_beside_a_pool_is_left_as_it_is() -> None:
    versions = [7, {"name": "v1", "inferencePool": {"name": "llama"}}]
    picking: tuple[Any, ...] = ("prefix", {"objectives": []}, {"metrics": 5})
    for said in picking:
        (filled, *_), _ = with_pools([policy(versions=versions, picking=said)], PoolObjects([pool()]))
        assert filled["spec"]["picking"] == said
        assert filled["spec"]["versions"][0] == 7


def test_a_policy_with_the_name_of_a_pool_that_it_does_not_name() -> None:
    policies, (problem,) = taken(PoolObjects([pool()], pods=PODS), policy("llama", host="x", versions=[{"name": "v1"}]))
    assert set(policies) == {"llama"}
    assert problem.file == "InferencePool ai/llama"
    assert "inferencePool: {name: llama}" in problem.remedy


def test_what_has_not_changed_is_filled_in_alike() -> None:
    found = PoolObjects([pool()], [objective("b", 1)], [rewrite("r", rule("a", x=1))], PODS)
    assert with_pools([policy()], found) == with_pools([policy()], found)


MODELS = st.text(max_size=300) | st.sampled_from(["a", "b", "a/b", "a:b", "*", "none"])
RULES = st.builds(
    lambda asked, wanted: {
        "matches": [{"model": {"value": model}} for model in asked],
        "targets": [{"modelRewrite": model, "weight": weight} for model, weight in wanted],
    },
    st.lists(MODELS, max_size=3),
    st.lists(st.tuples(MODELS, st.integers(1, 1_000_000)), max_size=3),
)
REWRITES = st.dictionaries(st.sampled_from(["llama", "r", "r-2"]), st.lists(RULES, max_size=3), max_size=3)


@given(REWRITES, st.lists(st.sampled_from(["llama", "x" * 64, "o"]), unique=True))
def test_whatever_rewrites_and_objectives_say_the_pool_is_served(
    rules: dict[str, list[dict[str, Any]]], names: list[str]
) -> None:
    rewrites = [rewrite(name, *listed) for name, listed in rules.items()]
    found = PoolObjects([pool()], [objective(name, 2**31 - 1) for name in names], rewrites, PODS)
    filled, _ = with_pools([], found)
    outcome = LastGood().take([read(one) for one in filled])
    policies = outcome.snapshot.by_name
    assert outcome.problems == (), "each rule that can be carried out is"
    assert len(policies) == len(filled)
    assert policies["llama"].models == ("*",)
    assert {tuple(v.endpoints) for policy in policies.values() for v in policy.versions} == {tuple(READY)}
