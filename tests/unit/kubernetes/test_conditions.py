"""Statuses: their conditions, when they change, and that nothing is written where nothing changes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.errors import Problem
from extproc.kubernetes.conditions import (
    MAX_MESSAGE,
    MAX_SUMMARY,
    Condition,
    InForce,
    VersionStatus,
    accepted,
    policy_status,
    pool_status,
    resolved,
)
from extproc.kubernetes.pool_discovery import FoundPool, Nodes
from extproc.policy.gpu import describe
from extproc.policy.snapshot import GpuPool
from tests.istio.test_policy_crds import CRDS
from tests.manifests import schema
from tests.unit.kubernetes.test_node_gpus import A100, node

T1, T2 = "2026-01-01T00:00:00Z", "2026-01-01T00:00:09Z"
ERROR = Problem("ai/chat", 3, 1, "spec.port", "0 is out of range", "give a number from 1 to 65535")
WARNING = Problem("ai/chat", 3, 1, "spec.versions", "no version has a weight", "give each one a weight", warning=True)
CONFLICT = Problem("ai/chat", 0, 0, "spec.models[0]", "taken", "choose another")
GOOD = (accepted((), ()), resolved(()), Condition("Programmed", "True", "Programmed"))
VERSIONS = (VersionStatus("v1", 90, 3), VersionStatus("v2", 10, 0), VersionStatus("v3", 0, None))


def status(before: dict[str, Any], conditions: tuple[Condition, ...] = GOOD, *, now: str = T1, **more: Any) -> Any:
    given = {"in_force": InForce(2, {"models": ["a"]}), "versions": VERSIONS, "generation": 2, **more}
    return policy_status(
        before, conditions, given.pop("in_force"), given.pop("versions"), controller="ai/c", now=now, **given
    )


def problems(kind: str, found: dict[str, Any]) -> list[str]:
    """What the API server would say against a status."""
    (version,) = CRDS[kind]["spec"]["versions"]
    whole = version["schema"]["openAPIV3Schema"]
    return list(schema.problems(whole["properties"]["status"], found, "$.status"))


def test_a_status_says_all_and_is_one_that_the_crd_takes() -> None:
    found = status({})
    assert problems("ModelInferencePolicy", found) == []
    assert [
        (c["type"], c["status"], c["observedGeneration"], c["lastTransitionTime"]) for c in found["conditions"]
    ] == [
        ("Accepted", "True", 2, T1),
        ("ResolvedRefs", "True", 2, T1),
        ("Programmed", "True", 2, T1),
    ]
    assert found["inForce"] == {"generation": 2, "spec": {"models": ["a"]}}
    assert found["versions"][1:] == [{"name": "v2", "weight": 10, "ready": 0}, {"name": "v3", "weight": 0}]
    assert found["summary"] == "v1 90 (3 ready), v2 10 (0 ready), v3 0"


def test_nothing_is_written_where_nothing_changed() -> None:
    assert status(status({}), now=T2) is None


def test_a_condition_keeps_its_time_until_its_status_changes() -> None:
    before = status({})
    waiting = (*GOOD[:2], Condition("Programmed", "False", "Pending", "the mesh is being told"))
    after = status(before, waiting, now=T2, generation=3)
    assert [c["lastTransitionTime"] for c in after["conditions"]] == [T1, T1, T2]
    assert {c["observedGeneration"] for c in after["conditions"]} == {3}
    assert [c["lastTransitionTime"] for c in status(after, now=T1)["conditions"]][:2] == [T1, T1]


@pytest.mark.parametrize(
    ("given_problems", "conflicts", "expected"),
    [
        ([], [], ("True", "Accepted", "")),
        (
            [WARNING],
            [],
            ("True", "Accepted", "warning: spec.versions: no version has a weight; give each one a weight"),
        ),
        (
            [WARNING, ERROR],
            [CONFLICT],
            ("False", "Invalid", "spec.port: 0 is out of range; give a number from 1 to 65535"),
        ),
        ([WARNING], [CONFLICT], ("False", "Conflicted", "spec.models[0]: taken; choose another")),
    ],
)
def test_accepted(given_problems: list[Problem], conflicts: list[Problem], expected: tuple[str, str, str]) -> None:
    found = accepted(given_problems, conflicts)
    assert (found.status, found.reason, found.message) == expected


def test_resolved_names_everything_that_is_missing() -> None:
    found = resolved([("PoolNotFound", "no pool is called west"), ("NoEndpoints", "v2 has none")])
    assert (found.status, found.reason) == ("False", "PoolNotFound")
    assert found.message == "no pool is called west\nv2 has none"


def test_long_messages_are_cut_between_problems() -> None:
    many = [Problem("f", 1, 1, f"spec.x{i}", "y" * 100, "z") for i in range(1000)]
    message = accepted(many, ()).message
    assert len(message) <= MAX_MESSAGE
    *lines, last = message.split("\n")
    assert last == f"and {1000 - len(lines)} more"
    assert accepted([Problem("f", 1, 1, "", "y" * 99_999, "z")], ()).message.endswith("y...")
    assert len(accepted([Problem("f", 1, 1, "", "y" * 99_999, "z")], ()).message) == MAX_MESSAGE


def test_a_pools_status_is_one_that_the_crd_takes() -> None:
    nodes = Nodes([node({**A100, "zone": "west"})])
    found = nodes.of(GpuPool("p", describe(), node_selector=(("zone", "west"),)))
    by: dict[str, Any] = {"controller": "ai/c", "generation": 1}
    first = pool_status({}, GOOD[:2], InForce(1, {"a": 1}), found, found.gpu, 3, now=T1, **by)
    assert first is not None
    assert problems("GpuPool", first) == []
    told = {key: value for key, value in first.items() if key != "conditions"}
    assert told == {
        "observedGeneration": 1,
        "inForce": {"generation": 1, "spec": {"a": 1}},
        "nodes": 1,
        "gpus": 8,
        "endpoints": 3,
        "product": "NVIDIA-A100-SXM4-80GB",
        "architecture": "a100",
        "memory": "81920Mi",
        "controller": "ai/c",
    }
    assert pool_status(first, GOOD[:2], InForce(1, {"a": 1}), found, found.gpu, 3, now=T2, **by) is None
    assert pool_status(first, GOOD[:2], None, FoundPool(), describe(), 3, now=T2, **by) is not None


TEXTS = st.text(max_size=40)
PROBLEMS = st.lists(st.builds(Problem, TEXTS, st.just(1), st.just(1), TEXTS, TEXTS, TEXTS, st.booleans()), max_size=4)


@given(PROBLEMS, PROBLEMS, st.lists(st.builds(VersionStatus, TEXTS, st.integers(0, 9), st.none() | st.integers(0, 9))))
def test_whatever_is_told_is_taken_by_the_crd_and_written_once(
    given_problems: list[Problem], conflicts: list[Problem], versions: list[VersionStatus]
) -> None:
    conditions = (accepted(given_problems, conflicts), resolved(()))
    unique = list({v.name: v for v in versions}.values())
    found = status({}, conditions, versions=unique)
    assert problems("ModelInferencePolicy", found) == []
    assert len(found.get("summary", "")) <= MAX_SUMMARY
    assert status(found, conditions, versions=unique, now=T2) is None
