"""Which InferencePools a processor serves, and what it keeps of their pods."""

from __future__ import annotations

import pytest

from extproc.kubernetes.api import Object
from extproc.kubernetes.pool_source import PoolSource, WantedPools, part_of_pod
from extproc.kubernetes.pools_as_policies import ACTIVE_PORTS, place_of
from tests.unit.kubernetes.inference_objects import objective, pod, pool, rewrite, rule


def source(wanted: WantedPools, *objects: Object) -> PoolSource:
    """With objects as if they had been told."""
    made = PoolSource(wanted, lambda: None)
    for one in objects:
        for watch in made.watches:
            if (watch.resource.kind, watch.namespace) == (one["kind"], one["metadata"]["namespace"]):
                watch.objects[place_of(one)] = one
    return made


def names(wanted: WantedPools, *objects: Object) -> list[str]:
    filled, _ = source(wanted, *objects).fill(())
    return [one["metadata"]["name"] for one in filled]


def test_pools_by_their_names_or_by_their_picker() -> None:
    pools = [pool("a"), pool("b", picker="mine"), pool("c", namespace="team", picker="mine"), pool("d", namespace="x")]
    assert names(WantedPools(("ai/a", "x/d")), *pools) == ["a", "d"]
    assert names(WantedPools(pickers=("ai/mine",)), *pools) == ["b"]
    assert names(WantedPools(("ai/a",), ("team/mine",)), *pools) == ["a", "c"]


@pytest.mark.parametrize("more", [{"kind": "Gateway"}, {"group": "example.com"}])
def test_a_picker_that_is_no_service_is_another_one(more: dict[str, str]) -> None:
    one = pool(picker="mine")
    one["spec"]["endpointPickerRef"] |= more
    assert names(WantedPools(pickers=("ai/mine",)), one) == []


def test_pools_that_are_missing_are_told_where_they_are_named() -> None:
    made = source(WantedPools(("ai/a", "ai/llama"), ("ai/nobody",)), pool())
    assert [problem.file for problem in made.missing] == ["InferencePool ai/a"]
    assert made.fill(())[1] == made.missing


def test_a_pool_is_readable_where_one_that_is_wanted_is() -> None:
    broken = pool("a")
    del broken["spec"]["selector"]
    assert not source(WantedPools(("ai/a",)), broken, pool("b")).readable
    assert source(WantedPools(("ai/a", "ai/b")), broken, pool("b")).readable
    assert source(WantedPools(pickers=("ai/mine",)), broken, pool("b", picker="mine")).readable
    assert not source(WantedPools(("ai/a",))).readable


def test_only_the_namespaces_of_pools_are_watched_and_two_kinds_may_be_missing() -> None:
    watches = PoolSource(WantedPools(("ai/a", "ai/b"), ("team/mine",)), lambda: None).watches
    asked = {(watch.resource.kind, watch.namespace) for watch in watches}
    kinds = ("InferencePool", "InferenceObjective", "InferenceModelRewrite", "Pod")
    assert asked == {(kind, namespace) for kind in kinds for namespace in ("ai", "team")}
    assert len(watches) == len(asked)


def test_what_is_kept_of_a_pod_says_as_much_of_its_endpoints() -> None:
    conditions = [{"type": "Ready", "status": "True"}]
    pods = [
        pod(1, annotations={ACTIVE_PORTS: "8000", "long": "x" * 1000}),
        pod(2, ready=False),
        pod(3, deletionTimestamp="now"),
        pod(4) | {"status": {"podIP": "10.0.0.4", "phase": "Failed", "conditions": conditions, "hostIPs": ["1.1.1.1"]}},
        pod(5) | {"status": {}},
        {name: value for name, value in pod(6).items() if name != "status"},
    ]
    objects = (pool(), objective("b", 1), rewrite("r", rule("a", x=1)))
    whole = source(WantedPools(("ai/llama",)), *objects, *pods)
    parts = source(WantedPools(("ai/llama",)), *objects, *map(part_of_pod, pods))
    assert parts.fill(()) == whole.fill(())
    assert {"spec", "long", "hostIPs"} & set(str(list(map(part_of_pod, pods))).replace("'", " ").split()) == set()


def test_a_pool_without_a_picker_is_served_where_it_is_named() -> None:
    """As newer CRDs than 1.5 have it."""
    one = pool("a")
    del one["spec"]["endpointPickerRef"]
    assert names(WantedPools(("ai/a",)), one) == ["a"]
    assert names(WantedPools(pickers=("ai/picker",)), one, pool("b")) == ["b"]
