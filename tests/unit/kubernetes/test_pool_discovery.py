"""Pools filled in from Nodes: which nodes, which GPUs, whose endpoints; and what requests then meet."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.bodies.request import InferenceRequest
from extproc.headers import Headers
from extproc.kubernetes.pool_discovery import FoundPool, Nodes, resolved_policy, resolved_pool
from extproc.kubernetes.service_endpoints import Endpoint
from extproc.policy.decision import decide
from extproc.policy.gpu import Gpu, Requirement, describe
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version
from extproc.policy.target import NOWHERE
from tests.unit.kubernetes.test_node_gpus import A100, node

L4 = {"nvidia.com/gpu.product": "NVIDIA-L4", "nvidia.com/gpu.memory": "23034", "nvidia.com/gpu.count": "1"}
SLICES = {
    "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB-MIG-1g.10gb",
    "nvidia.com/gpu.memory": "9856",
    "nvidia.com/gpu.count": "7",
}
CLUSTER = Nodes(
    [
        node({**A100, "zone": "west"}, name="w2"),
        node({**A100, "zone": "west"}, name="w1"),
        node({**L4, "zone": "east"}, name="e1"),
        node({**SLICES, "zone": "mig"}, name="m1"),
        node({"zone": "cpu"}, name="c1"),
    ]
)


def pool(selector: dict[str, str], product: str = "", architecture: str = "") -> GpuPool:
    gpu = describe(product, architecture) if product or architecture else Gpu()
    return GpuPool("p", gpu, node_selector=tuple(selector.items()))


def test_a_pool_has_the_nodes_that_it_selects_and_their_gpus() -> None:
    found = CLUSTER.of(pool({"zone": "west"}))
    assert (found.nodes, found.count, found.problem) == (("w1", "w2"), 16, "")
    assert found.gpu == describe("NVIDIA-A100-SXM4-80GB", memory=81920)


def test_the_product_tells_whole_gpus_from_their_slices() -> None:
    assert CLUSTER.of(pool({}, "NVIDIA-A100-SXM4-80GB")).nodes == ("w1", "w2")
    slices = CLUSTER.of(pool({}, "nvidia-a100-sxm4-80gb-mig-1g.10gb"))
    assert (slices.nodes, slices.count, slices.mig) == (("m1",), 7, "1g.10gb")


def test_the_architecture_narrows_what_is_selected() -> None:
    assert CLUSTER.of(pool({"nvidia.com/gpu.product": "NVIDIA-L4"}, architecture="a100")).nodes == ()
    assert CLUSTER.of(pool({"zone": "west"}, architecture="ampere")).count == 16
    assert CLUSTER.of(pool({}, architecture="ampere")) == FoundPool()


@pytest.mark.parametrize(
    ("selector", "product", "problem"),
    [
        ({"zone": "moon"}, "", "no node has the labels zone=moon; label the nodes, or correct nodeSelector"),
        ({"zone": "cpu"}, "", "none of the nodes with zone=cpu (c1) has a GPU that is known; is GPU feature"),
        ({"zone": "east"}, "NVIDIA-H100", "none of the nodes with zone=east (e1) has the GPU NVIDIA-H100; is"),
        ({}, "NVIDIA-H100", ""),
    ],
)
def test_what_is_wrong_with_a_pool(selector: dict[str, str], product: str, problem: str) -> None:
    said = CLUSTER.of(pool(selector, product)).problem
    assert said.startswith(problem)
    assert bool(said) == bool(problem)


def test_nodes_with_different_gpus() -> None:
    nodes = Nodes([node({**A100, "a": "b"}, name="1"), node({**L4, "a": "b"}, name="2")])
    found = nodes.of(pool({"a": "b"}))
    assert found.problem == (
        "the nodes with a=b have different GPUs (NVIDIA-A100-SXM4-80GB, NVIDIA-L4); name the product"
    )
    assert (found.gpu.product, found.gpu.architecture, found.gpu.memory) == ("", "", 23034)
    assert nodes.of(pool({"a": "b"}, "NVIDIA-L4")).problem == ""


def test_a_spec_is_filled_in_with_what_it_does_not_say() -> None:
    found = CLUSTER.of(pool({"zone": "west"}))
    here, there = Endpoint("10.0.0.1:8000", node="w1"), Endpoint("10.0.0.2:8000", node="e1")
    spec = {"nodeSelector": {"zone": "west"}, "locality": "us-west1"}
    assert resolved_pool(spec, found, [there, here]) == {
        **spec,
        "product": "NVIDIA-A100-SXM4-80GB",
        "memory": "81920Mi",
        "endpoints": ["10.0.0.1:8000"],
    }
    said = {**spec, "product": "NVIDIA-A100-SXM4-80GB", "memory": "40Gi", "endpoints": ["a:1"]}
    assert resolved_pool(said, found, [here]) == said


@pytest.mark.parametrize("spec", [{"product": "NVIDIA-L4"}, {"architecture": "a100", "endpoints": ["a:1"]}])
def test_a_pool_without_a_selector_stays_as_it_is(spec: dict[str, Any]) -> None:
    assert resolved_pool(spec, CLUSTER.of(pool({}, "NVIDIA-L4")), [Endpoint("b:1", node="e1")]) == spec


def test_a_pool_whose_gpus_differ_gets_what_they_share() -> None:
    found = FoundPool(("1",), (), Gpu("", "", "ampere", "", 23028))
    assert resolved_pool({"nodeSelector": {"a": "b"}}, found, []) == {
        "nodeSelector": {"a": "b"},
        "architecture": "ampere",
        "memory": "23028Mi",
        "endpoints": [NOWHERE],
    }
    nothing = FoundPool(("1",), (), Gpu("", "", "", "", 23028))
    assert resolved_pool({"nodeSelector": {"a": "b"}}, nothing, []) == {
        "nodeSelector": {"a": "b"},
        "endpoints": [NOWHERE],
    }


ON_NODES = GpuPool("west", describe("NVIDIA-A100-SXM4-80GB"), node_selector=(("zone", "west"),))
DECLARED = GpuPool("east", describe("NVIDIA-A100-SXM4-80GB"))
VERSIONS = (Version("v1"), Version("v2"), Version("v3", endpoints=("x:1",)))
SPEC = {"host": "chat", "versions": [{"name": "v1"}, {"name": "v2"}, {"name": "v3", "endpoints": ["x:1"]}]}


def chat(**fields: Any) -> Policy:
    return Policy("chat", host="chat", **{"versions": VERSIONS, "gpu": Requirement("a100"), **fields})


def test_versions_get_their_endpoints_where_a_pool_is_found_by_its_nodes() -> None:
    found = resolved_policy(SPEC, chat(), [ON_NODES, DECLARED], {"v1": [Endpoint("b:1"), Endpoint("a:1")]})
    assert found["versions"] == [
        {"name": "v1", "endpoints": ["a:1", "b:1"]},
        {"name": "v2", "endpoints": [NOWHERE]},
        {"name": "v3", "endpoints": ["x:1"]},
    ]


@pytest.mark.parametrize(
    ("policy", "pools"),
    [
        (chat(), [DECLARED]),
        (chat(gpu=Requirement("h100")), [ON_NODES]),
        (chat(gpu=None), [ON_NODES]),
        (chat(namespace="ai"), [msgspec.structs.replace(ON_NODES, namespace="x")]),
        (chat(versions=tuple(Version(v.name, gpu_pools=("east",)) for v in VERSIONS)), [ON_NODES, DECLARED]),
    ],
)
def test_versions_stay_as_they_are_where_no_such_pool_may_serve_them(policy: Policy, pools: list[GpuPool]) -> None:
    assert resolved_policy(SPEC, policy, pools, {"v1": [Endpoint("a:1")]}) == SPEC


def test_a_pool_may_be_used_by_name() -> None:
    policy = chat(gpu=None, versions=(Version("v1", gpu_pools=("west",)),))
    spec = {"versions": [{"name": "v1", "gpuPools": ["west"]}]}
    found = resolved_policy(spec, policy, [ON_NODES], {"v1": [Endpoint("a:1")]})
    assert found["versions"][0]["endpoints"] == ["a:1"]


def without_pods(pool: str, *, refuses: bool) -> Snapshot:
    """v1 has a pod on the nodes of the pool, if that is where it is; v2 has none."""
    found = resolved_policy(SPEC, chat(), [ON_NODES], {"v1": [Endpoint("a:1")]})
    versions = tuple(Version(v["name"], endpoints=tuple(v["endpoints"])) for v in found["versions"][:2])
    policy = chat(versions=versions, reject_without_gpu=refuses)
    return Snapshot((policy,), (msgspec.structs.replace(ON_NODES, endpoints=(pool,)),))


@pytest.mark.parametrize(("refuses", "targets"), [(True, []), (False, [("", (NOWHERE,))])])
@pytest.mark.parametrize("pool", ["a:1", NOWHERE])
def test_a_version_without_pods_is_served_by_nobody_on_its_pools_or_off_them(
    pool: str, *, refuses: bool, targets: list[tuple[str, tuple[str, ...]]]
) -> None:
    """The policy's host has the pods of all versions, so `onNoGpu: ignore` must not lead there."""
    snapshot = without_pods(pool, refuses=refuses)
    assert [(target.pool, target.endpoints) for target in snapshot.targets["chat", "v2"]] == targets
    assert "chat/v2" in snapshot.vacant


@pytest.mark.parametrize("refuses", [True, False])
def test_another_version_answers_for_it(*, refuses: bool) -> None:
    snapshot = without_pods("a:1", refuses=refuses)
    request = InferenceRequest("openai", "chat", "m")
    decided = (decide(request, Headers(), snapshot, bytes([n]), down=snapshot.vacant) for n in range(64))
    assert {decision.version for decision in decided} == {"v1"}


PODS = st.lists(
    st.tuples(st.sampled_from(["v1", "v2"]), st.sampled_from(["w1", "w2", "e1"])), min_size=1, max_size=6
).map(lambda where: [(version, Endpoint(f"10.0.0.{i}:80", node=on)) for i, (version, on) in enumerate(where)])


@given(PODS)
def test_a_target_has_exactly_the_pods_of_its_version_on_its_pools_nodes(pods: list[tuple[str, Endpoint]]) -> None:
    """End to end on plain specs: whatever is where, no version is served by another version's pods."""
    pools = {"west": ("w1", "w2"), "east": ("e1",)}
    ready = {v: [e for of, e in pods if of == v] for v in ("v1", "v2")}
    declared = [GpuPool(name, describe("NVIDIA-L4"), node_selector=(("zone", name),)) for name in pools]
    specs = {
        name: resolved_pool({"nodeSelector": {"zone": name}}, FoundPool(nodes), [e for _, e in pods])
        for name, nodes in pools.items()
    }
    policy = Policy("chat", host="chat", versions=(Version("v1"), Version("v2")), gpu=Requirement())
    spec = resolved_policy({"versions": [{"name": "v1"}, {"name": "v2"}]}, policy, declared, ready)
    versions = tuple(Version(v["name"], endpoints=tuple(v["endpoints"])) for v in spec["versions"])
    filled = tuple(GpuPool(p.name, p.gpu, tuple(specs[p.name]["endpoints"])) for p in declared)
    snapshot = Snapshot((Policy("chat", host="chat", versions=versions, gpu=Requirement()),), filled)
    for (_, version), targets in snapshot.targets.items():
        expected = {name: {e.address for v, e in pods if v == version and e.node in on} for name, on in pools.items()}
        assert {t.pool: set(t.endpoints) for t in targets} == {k: v for k, v in expected.items() if v}
