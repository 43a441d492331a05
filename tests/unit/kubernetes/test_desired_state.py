"""What is to be in force: with what the cluster tells, without what waits, and what is told of each object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from extproc.kubernetes.api import Object
from extproc.kubernetes.cluster_view import ClusterView
from extproc.kubernetes.conditions import InForce, VersionStatus
from extproc.kubernetes.desired_state import Desired, DesiredState, in_force, policy_texts, snapshot_of
from extproc.kubernetes.object_documents import Key
from extproc.kubernetes.rollout_in_status import told
from extproc.policy.rollout_plan import RolloutState
from extproc.policy.target import NOWHERE
from extproc.policyfile.rollout_files import decode_states
from tests.unit.kubernetes.memory_api import made
from tests.unit.kubernetes.test_cluster_view import service
from tests.unit.kubernetes.test_node_gpus import A100, node
from tests.unit.kubernetes.test_service_endpoints import endpoint, pod, slice_of

CHAT, WEST = Key("ModelInferencePolicy", "ai", "chat"), Key("GpuPool", "ai", "west")


def policy(
    name: str = "chat", *, age: int = 0, generation: int = 1, force: dict[str, Any] | None = None, **spec: Any
) -> Object:
    created = f"2026-01-01T00:00:{59 - age:02}Z"
    one = made(
        "ModelInferencePolicy", name, {"models": [name], **spec}, creationTimestamp=created, generation=generation
    )
    return one | ({"status": {"inForce": {"generation": 1, "spec": {"models": [name], **force}}}} if force else {})


def view(*ready: str, nodes: dict[str, dict[str, str]] | None = None) -> ClusterView:
    """A Service chat with a pod for each version, on node n1."""
    pods = [pod(f"p-{v}", {"version": v}, ip=f"10.0.0.{i}") for i, v in enumerate(ready)]
    slices = [slice_of(*(endpoint(f"10.0.0.{i}", f"p-{v}") for i, v in enumerate(ready)))]
    known = [node(labels, name=name) for name, labels in (nodes or {"n1": {**A100, "zone": "west"}}).items()]
    return ClusterView(known, [service("chat")], slices, pods)


def taken(
    *objects: Object, cluster: ClusterView | None = None, state: DesiredState | None = None, **more: Any
) -> Desired:
    return (state or DesiredState()).take(objects, cluster or view("v1", "v2"), **more)


TWO = [{"name": "v1", "weight": 9}, {"name": "v2", "weight": 1}]


FROM = {"httpRoute": "chat", "backends": {"v1": "chat-primary", "v2": "chat-canary"}}


def routed(primary: int, canary: int, **more: Any) -> ClusterView:
    """The same with a route that has these weights."""
    pods = [pod(f"p-{v}", {"version": v}, ip=f"10.0.0.{i}") for i, v in enumerate(("v1", "v2"))]
    slices = [slice_of(*(endpoint(f"10.0.0.{i}", f"p-v{i + 1}") for i in range(2)))]
    refs = [{"name": "chat-primary", "weight": primary}, {"name": "chat-canary", "weight": canary}]
    route = {"kind": "HTTPRoute", "spec": {"rules": [{"backendRefs": refs}]}}
    route["metadata"] = {"name": "chat", "namespace": "ai", **more}
    return ClusterView([], [service("chat")], slices, pods, [route])


def test_the_weights_in_force_are_those_of_the_route() -> None:
    state, chat = DesiredState(), policy(versions=TWO, weightsFrom=FROM)
    for primary, canary in ((100, 0), (70, 30)):
        found = taken(chat, cluster=routed(primary, canary), state=state)
        versions = [{"name": "v1", "weight": primary}, {"name": "v2", "weight": canary}]
        assert found.in_force[CHAT].spec == {"models": ["chat"], "versions": versions}
        assert found.told[CHAT].missing == ()
        assert [version.weight for version in found.told[CHAT].versions] == [primary, canary]


@pytest.mark.parametrize(
    "cluster", [view("v1", "v2"), routed(0, 0), routed(50, 50, namespace="other"), routed(50, 50, name="other")]
)
def test_without_its_weights_those_in_force_stay(cluster: ClusterView) -> None:
    first = taken(policy(versions=TWO, weightsFrom=FROM), cluster=cluster)
    assert first.in_force[CHAT].spec["versions"] == TWO, "those that are written, at first"
    force = {"versions": [{"name": "v1", "weight": 70}, {"name": "v2", "weight": 30}]}
    found = taken(policy(versions=TWO, weightsFrom=FROM, force=force), cluster=cluster)
    assert found.in_force[CHAT].spec["versions"] == force["versions"]
    message = "the HTTPRoute chat has no weights for chat-primary and chat-canary; those in force stay"
    assert found.told[CHAT].missing == (("WeightsNotFound", message),)


def spoiled(spec: Any) -> Iterator[Any]:
    """``spec`` with something else in each place of it."""
    yield from (None, True, 5, -1.5, "x", [], ["v1"], [[]], {}, {"v1": []})
    if isinstance(spec, dict):
        yield from (spec | {name: other} for name, value in spec.items() for other in spoiled(value))
    elif isinstance(spec, list):
        yield from ([*spec[:at], other, *spec[at + 1 :]] for at, one in enumerate(spec) for other in spoiled(one))


ROLLED_OUT = {"to": "v2", "steps": [5, 100], "guards": [{"metric": "errors", "max": "1%"}]}


@pytest.mark.parametrize("more", [{"weightsFrom": FROM}, {"rollout": ROLLED_OUT}], ids=lambda more: next(iter(more)))
def test_a_spec_that_is_wrong_in_any_place_is_its_own_fault(more: dict[str, Any]) -> None:
    """The CRD refuses most of it; an older one in the cluster, or a file, does not."""
    other, whole = policy("other", versions=TWO), {"versions": TWO, **more}
    for name, value in whole.items():
        for wrong in spoiled(value):
            found = taken(policy(**{**whole, name: wrong}), other, cluster=routed(70, 30))
            assert found.in_force[Key("ModelInferencePolicy", "ai", "other")].spec == other["spec"]


def test_a_spec_is_in_force_as_it_is_where_all_is_there() -> None:
    found = taken(policy(versions=TWO, generation=3))
    assert found.in_force == {CHAT: InForce(3, {"models": ["chat"], "versions": TWO})}
    told = found.told[CHAT]
    assert (told.problems, told.conflicts, told.missing) == ((), (), ())
    assert told.versions == (VersionStatus("v1", 9, 1), VersionStatus("v2", 1, 1))
    assert [p.name for p in found.snapshot.policies] == ["chat"]


def test_a_version_without_endpoints_waits() -> None:
    versions = [*TWO, {"name": "v3", "weight": 5, "match": [{"headers": {"x-beta": "1"}}]}]
    found = taken(policy(versions=versions, default="v1"))
    assert found.in_force[CHAT].spec["versions"] == [*TWO, {"name": "v3", "weight": 0}]
    assert found.told[CHAT].versions[2] == VersionStatus("v3", 0, 0)
    assert found.told[CHAT].missing == (
        ("NoReadyEndpoints", "the version v3 has no endpoint that is ready; it waits for pods"),
    )


@pytest.mark.parametrize(
    ("versions", "force", "expected"),
    [
        ([{"name": "v1"}, {"name": "v3"}], None, [{"name": "v1", "weight": 1}, {"name": "v3", "weight": 0}]),
        ([{"name": "v3"}], None, [{"name": "v3"}]),
        ([{"name": "v1", "weight": 0}, {"name": "v3", "weight": 1}], None, None),
        ([*TWO, {"name": "v3", "weight": 5}], [*TWO, {"name": "v3", "weight": 2}], None),
        (
            [*TWO, {"name": "v3", "weight": 5}],
            [*TWO, {"name": "v3", "weight": 0}],
            [*TWO, {"name": "v3", "weight": 0}],
        ),
        ([{"name": "v1"}, {"name": "v3", "mirror": 5}], None, None),
        ([{"name": "v1"}, {"name": "v3", "endpoints": ["192.0.2.1:80"]}], None, None),
    ],
    ids=["new", "alone", "nothing else has weight", "in force", "waiting still", "a mirror", "not of the cluster"],
)
def test_who_waits(versions: list[Any], force: list[Any] | None, expected: list[Any] | None) -> None:
    found = taken(policy(versions=versions, force={"versions": force} if force else None))
    assert found.in_force[CHAT].spec["versions"] == (versions if expected is None else expected)


def test_a_version_that_was_waiting_gets_its_share_when_it_is_served() -> None:
    waiting = policy(versions=TWO, force={"versions": [TWO[0], {"name": "v2", "weight": 0}]})
    assert taken(waiting, cluster=view("v1")).in_force[CHAT].spec["versions"][1]["weight"] == 0
    assert taken(waiting, cluster=view("v1", "v2")).in_force[CHAT].spec["versions"] == TWO


def test_a_pool_is_in_force_with_what_its_nodes_are() -> None:
    pool = made("GpuPool", "west", {"nodeSelector": {"zone": "west"}})
    found = taken(pool, policy(versions=TWO, gpuRequirements={"architecture": "a100", "minMemory": "40Gi"}))
    assert found.in_force[WEST].spec == {
        "nodeSelector": {"zone": "west"},
        "product": "NVIDIA-A100-SXM4-80GB",
        "memory": "81920Mi",
        "endpoints": ["10.0.0.0:8000", "10.0.0.1:8000"],
    }
    assert [v["endpoints"] for v in found.in_force[CHAT].spec["versions"]] == [["10.0.0.0:8000"], ["10.0.0.1:8000"]]
    targets = found.snapshot.targets["chat", "v2"]
    assert [(t.pool, t.endpoints) for t in targets] == [("west", ("10.0.0.1:8000",))]
    told = found.told[WEST]
    assert (told.found.nodes, told.found.count, told.endpoints, told.missing) == (("n1",), 8, 2, ())


def test_a_pool_whose_nodes_are_not_there() -> None:
    pool = made("GpuPool", "west", {"nodeSelector": {"zone": "moon"}, "product": "NVIDIA-L4"})
    (reason, message), *_ = taken(pool, policy()).told[WEST].missing
    assert (reason, message.partition(";")[0]) == ("NoMatchingNode", "no node has the labels zone=moon")


def test_a_pool_whose_nodes_have_gone_is_what_they_were_and_holds_nothing_up() -> None:
    pool = made("GpuPool", "west", {"nodeSelector": {"zone": "west"}})
    chat = policy(versions=[{"name": "v1", "weight": 1, "gpuPools": ["west"]}, {"name": "v2", "weight": 1}])
    chat["spec"]["gpuRequirements"] = {"architecture": "ampere"}
    state = DesiredState()
    before = taken(pool, chat, state=state).in_force[WEST].spec
    pool["status"] = {"inForce": {"generation": 1, "spec": before}}
    chat["spec"]["port"] = 81
    found = taken(pool, chat, state=state, cluster=view("v1", "v2", nodes={"n2": {"zone": "east"}}))
    assert all(problem.warning for problem in found.told[CHAT].problems)
    assert found.in_force[CHAT].spec["port"] == 81
    assert found.in_force[WEST].spec == {**before, "endpoints": [NOWHERE]}
    assert [reason for reason, _ in found.told[WEST].missing] == ["NoMatchingNode"]
    assert found.snapshot.targets["chat", "v1"] == ()
    # Another selector is another pool.
    pool["spec"] = {"nodeSelector": {"zone": "moon"}}
    found = taken(pool, chat, state=state, cluster=view("v1", "v2"))
    assert "west does not meet" in found.told[CHAT].problems[0].message


def test_a_bad_change_leaves_what_was_in_force() -> None:
    found = taken(policy(generation=2, port=0, force={"port": 81}), policy("other"))
    assert found.in_force[CHAT] == InForce(1, {"models": ["chat"], "port": 81})
    assert [p.path for p in found.told[CHAT].problems] == ["spec.port"]
    assert sorted(p.name for p in found.snapshot.policies) == ["chat", "other"]


def test_who_lost_a_conflict_is_told_and_not_in_force() -> None:
    old, new = policy("old", age=9, models=["m"]), policy("new", models=["m"])
    found = taken(new, old)
    assert [key.name for key in found.in_force] == ["old"]
    (conflict,) = found.told[Key("ModelInferencePolicy", "ai", "new")].conflicts
    assert "are the policy ai/old's, which is older" in conflict.message
    assert found.told[Key("ModelInferencePolicy", "ai", "new")].problems == ()


def test_an_object_that_is_blocked_goes_on_as_it_is_in_force() -> None:
    one = policy(generation=2, port=82, force={"port": 81})
    found = taken(one, policy("other"), without=[CHAT, Key("ModelInferencePolicy", "ai", "other")])
    assert found.in_force == {CHAT: InForce(1, {"models": ["chat"], "port": 81})}


def test_services_that_are_missing() -> None:
    found = taken(policy(host="nobody"))
    assert found.told[CHAT].missing == (
        ("ServiceNotFound", "no Service has the name nobody; create it, or correct the host"),
    )


def test_what_processors_decide_by_at_present() -> None:
    state = DesiredState()
    serving = taken(policy(port=81), policy("gone", age=3), state=state).serving
    objects = [policy(port=82, force={"port": 81}), policy("new")]
    gone = {key: one for key, one in serving.items() if key.name == "gone"}
    now = snapshot_of(in_force(objects, gone))
    assert [(p.name, p.port) for p in now.policies] == [("gone", 8080), ("chat", 81)]


def test_policies_as_files() -> None:
    texts = policy_texts(taken(policy(port=81)))
    assert yaml.safe_load(texts["modelinferencepolicy-ai-chat.yaml"]) == {
        "apiVersion": "ai.istio.io/v1alpha1",
        "kind": "ModelInferencePolicy",
        "metadata": {"name": "chat", "namespace": "ai"},
        "spec": {"models": ["chat"], "port": 81},
    }


ROLLOUT = {"to": "v2", "guards": [{"metric": "errors", "max": "1%"}]}
HELD = [{"name": "v1", "weight": 3}, {"name": "v2", "weight": 0}]


def weights(desired: Desired) -> dict[str, int]:
    return {version.name: version.weight for version in desired.snapshot.policies[0].versions}


def test_a_rollout_is_in_force_where_it_is_driven() -> None:
    one = policy(versions=HELD, rollout=ROLLOUT)
    assert weights(taken(one)) == {"v1": 1, "v2": 0}
    driven = taken(one, state=DesiredState(drives=True), now=9.0)
    assert weights(driven) == {"v1": 99, "v2": 1}
    assert driven.in_force[CHAT].spec == one["spec"], "the weights are no part of it"
    waits = taken(one, state=DesiredState(drives=True), cluster=view("v1"), now=9.0)
    assert weights(waits) == {"v1": 1, "v2": 0}


def test_files_of_policies_have_the_states_of_rollouts_beside_them() -> None:
    one = policy(versions=HELD, rollout=ROLLOUT)
    found = taken(one, state=DesiredState(drives=True), now=100.0)
    (state,) = decode_states(policy_texts(found)["rollouts.json"])
    assert (state.policy, state.to, state.phase, state.percent) == ("chat", "v2", "Progressing", 1)
    assert "rollouts.json" not in policy_texts(taken(one))


def test_a_rollout_goes_on_where_its_policy_can_not_be_carried_out_or_its_pods_have_gone() -> None:
    state = told(RolloutState("chat", "v2", "Progressing", 25, 1.0))
    match = [{"headers": {"x-beta": "1"}}]
    force: dict[str, Any] = {"versions": [HELD[0], HELD[1] | {"match": match}], "rollout": ROLLOUT}
    one = policy(force=force, **force)
    one["status"]["rollout"] = state
    for cluster, blocked in ((view("v1"), ()), (view("v1", "v2"), (CHAT,))):
        found = taken(one, state=DesiredState(drives=True), cluster=cluster, without=blocked)
        assert weights(found) == {"v1": 3, "v2": 1}
        assert found.in_force[CHAT].spec["versions"][1]["match"] == match


@pytest.mark.parametrize("versions", [[{"name": "v1"}, {"name": "v2"}], None])
def test_a_policy_that_asks_for_gpus_has_the_pods_of_its_endpoints(versions: list[dict[str, Any]] | None) -> None:
    west = made("GpuPool", "west", {"nodeSelector": {"zone": "west"}})
    spec: dict[str, Any] = {
        "selector": {"matchLabels": {"app": "chat"}},
        "gpuRequirements": {},
        "picking": {"metrics": {"gpuPort": 1}},
    }
    spec |= {"versions": versions} if versions else {}
    chat = policy(host="chat", port=8080, **spec)
    found = taken(chat, west).in_force[CHAT].spec["picking"]["metrics"]
    pods = {f"10.0.0.{i}:8000": {"pod": f"ai/p-v{i + 1}", "hostIP": "192.168.0.1"} for i in range(2)}
    assert found == {"gpuPort": 1, "pods": pods}
    assert "pods" not in taken(chat).in_force[CHAT].spec["picking"]["metrics"], (
        "its servers are nobody's that is picked"
    )
