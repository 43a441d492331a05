"""The policies of a cluster beside those of files: what is loaded when, what is told of it, and starts from disk."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import Queue
from threading import Event
from typing import Any

import pytest

from extproc.errors import PolicyProblems, Problem, SetupError
from extproc.kubernetes import object_watch, policy_source
from extproc.kubernetes.policy_source import ClusterPolicies
from extproc.kubernetes.pool_source import WantedPools
from extproc.kubernetes.rollout_in_status import told as as_told
from extproc.kubernetes.snapshot_file import FILE
from extproc.policy.rollout_plan import RolloutState
from extproc.rollout.steps import Verdict
from tests.policy_documents import policy as policy_text
from tests.unit.kubernetes.fake_api import FakeApi, made
from tests.unit.kubernetes.inference_objects import pod, pool
from tests.waiting import until

Start = Callable[..., ClusterPolicies]
Told = tuple[bool, list[str]]


def policy(name: str = "chat", **spec: Any) -> dict[str, Any]:
    return made("ModelInferencePolicy", name, {"models": [name], **spec})


def ports(source: ClusterPolicies) -> dict[str, int]:
    return {found.name: found.port for found in source.snapshot.policies}


@pytest.fixture
def told() -> Queue[Told]:
    return Queue()


@pytest.fixture
def start(fake_api: FakeApi, told: Queue[Told], monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setattr(object_watch, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(object_watch, "LONGEST_PAUSE", 0.02)
    sources = []

    def on_reload(ok: bool, problems: Sequence[Problem]) -> None:
        told.put((ok, [problem.message for problem in problems]))

    def started(
        *paths: Path,
        namespaces: Sequence[str] | None = (),
        directory: Path | None = None,
        pools: WantedPools = WantedPools(),  # noqa: B008 - immutable
        locality: str = "",
    ) -> ClusterPolicies:
        source = ClusterPolicies(
            namespaces, paths, directory, on_reload, clock=lambda: 5.0, locality=locality, pools=pools
        )
        source.start()
        sources.append(source)
        return source

    yield started
    for source in sources:
        source.stop()


def test_the_objects_are_the_policies(fake_api: FakeApi, start: Start, told: Queue[Told]) -> None:
    fake_api.put(policy(port=1), made("GpuPool", "west", {"product": "a100"}))
    source = start()
    assert told.get(timeout=10) == (True, ["no policy uses the pool west"])
    assert (ports(source), source.snapshot.generation, source.loaded_at, source.unready) == ({"chat": 1}, 1, 5.0, "")
    assert [problem.message for problem in source.warnings] == ["no policy uses the pool west"]
    fake_api.put(policy(port=2))
    assert told.get(timeout=10) == (True, []), "only what is new is told"
    assert (ports(source), source.snapshot.generation) == ({"chat": 2}, 2)
    found = {"namespaces": [], "in_step": True, "failures": [], "objects": {"in_force": 2, "held": 0, "left_out": 0}}
    assert source.describe() == found
    assert source.gauges().in_step


def test_a_place_that_is_near_no_pool_is_told_once(fake_api: FakeApi, start: Start, told: Queue[Told]) -> None:
    endpoints = {"architecture": "a100", "endpoints": ["10.0.0.1:80"]}
    fake_api.put(policy(gpuRequirements={}), made("GpuPool", "west", {**endpoints, "locality": "us-west1/a"}))
    source = start(locality="eu/b")
    assert told.get(timeout=10) == (True, ["no GPU pool is in the region eu: none is nearer than others"])
    fake_api.put(policy(gpuRequirements={}, port=2))
    assert told.get(timeout=10) == (True, [])
    assert [str(problem).partition(":")[0] for problem in source.warnings] == ["--locality eu/b"]
    fake_api.put(made("GpuPool", "west", {**endpoints, "locality": "eu/a"}))
    assert told.get(timeout=10) == (True, [])
    assert (source.warnings, source.snapshot.locality) == ((), "eu/b")


def test_a_change_that_is_no_good_is_told_once(fake_api: FakeApi, start: Start, told: Queue[Told]) -> None:
    fake_api.put(policy(port=1))
    source = start()
    told.get(timeout=10)
    fake_api.put(policy(port=0))
    assert told.get(timeout=10) == (False, ["0 is out of range"])
    assert [problem.path for problem in source.problems] == ["spec.port"]
    fake_api.put(policy("code", port=2))
    assert told.get(timeout=10) == (True, []), "another's change is none of the bad one's"
    assert ports(source) == {"chat": 1, "code": 2}
    assert source.gauges().objects == {"in_force": 1, "held": 1, "left_out": 0}
    fake_api.put(policy(port=3))
    assert told.get(timeout=10) == (True, [])
    assert source.problems == ()


def test_what_changes_nothing_that_is_read_is_no_load(fake_api: FakeApi, start: Start, told: Queue[Told]) -> None:
    fake_api.put(policy(port=1))
    source = start()
    told.get(timeout=10)
    fake_api.put(policy(port=1) | {"status": {"conditions": [{"type": "Accepted"}]}})
    fake_api.put(policy("code"))
    told.get(timeout=10)
    assert source.snapshot.generation == 2
    before = source.snapshot
    fake_api.put(policy("code") | {"status": {"observedGeneration": 1}})
    fake_api.put(policy(port=7))
    told.get(timeout=10)
    assert source.snapshot.policies[1:] == before.policies[1:]


def test_a_rollout_that_moves_is_a_load_and_its_verdict_is_none(
    fake_api: FakeApi, start: Start, told: Queue[Told]
) -> None:
    versions = [{"name": "v1", "weight": 1}, {"name": "v2", "weight": 0}]
    rollout = {"to": "v2", "guards": [{"metric": "errors", "max": "1%"}]}

    def moved(percent: int, message: str = "") -> dict[str, Any]:
        one = put_in_force(policy(versions=versions, rollout=rollout))
        state = RolloutState("chat", "v2", "Progressing", percent, float(percent))
        return one | {"status": one["status"] | {"rollout": as_told(state, Verdict("waiting", message))}}

    fake_api.put(moved(10))
    source = start()
    told.get(timeout=10)
    assert [version.weight for version in source.snapshot.policies[0].versions] == [9, 1]
    fake_api.put(moved(10, "no request yet"))
    fake_api.put(moved(50))
    told.get(timeout=10)
    assert [version.weight for version in source.snapshot.policies[0].versions] == [1, 1]
    assert source.snapshot.generation == 2


def put_in_force(one: dict[str, Any]) -> dict[str, Any]:
    """As the controller leaves an object."""
    return one | {"status": {"inForce": {"generation": 1, "spec": one["spec"]}}}


def test_where_a_controller_works_new_objects_wait_for_it(fake_api: FakeApi, start: Start, told: Queue[Told]) -> None:
    fake_api.put(policy(port=1), policy("code", port=2))
    source = start()
    told.get(timeout=10)
    fake_api.put(put_in_force(policy(port=3)))
    told.get(timeout=10)
    assert ports(source) == {"chat": 3, "code": 2}, "it has not come to all of them yet"
    fake_api.put(policy("new", port=4), made("GpuPool", "west", {"product": "a100"}))
    fake_api.remove(policy())
    told.get(timeout=10)
    assert (ports(source), source.snapshot.pools) == ({"code": 2}, ())
    fake_api.remove(policy("code"))
    told.get(timeout=10)
    assert ports(source) == {}, "also where nothing is in force any more"
    fake_api.put(put_in_force(policy("new", port=4)))
    told.get(timeout=10)
    assert ports(source) == {"new": 4}


def test_only_the_namespaces_that_are_named(fake_api: FakeApi, start: Start, told: Queue[Told]) -> None:
    fake_api.put(policy(), policy("other") | {"metadata": policy("other")["metadata"] | {"namespace": "b"}})
    source = start(namespaces=["b", "c"])
    told.get(timeout=10)
    assert set(ports(source)) == {"other"}
    watched = {path for path, parameters in fake_api.requests if "watch" not in parameters}
    assert {path.split("/namespaces/")[1] for path in watched} == {
        *("b/modelinferencepolicies", "c/modelinferencepolicies", "b/gpupools", "c/gpupools")
    }


def test_files_beside_objects(fake_api: FakeApi, start: Start, told: Queue[Told], tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(policy_text("models: [of-file]", "of-file"))
    fake_api.put(policy("late", models=["of-file"]), policy(port=1))
    source = start(path)
    ok, problems = told.get(timeout=10)
    assert (ok, set(ports(source))) == (False, {"of-file", "chat"})
    assert "of-file" in problems[0]
    path.write_text("nonsense")
    source.request_reload()
    assert not told.get(timeout=10)[0]
    assert [problem.file for problem in source.problems] == [str(path), "ai/late"]
    assert set(ports(source)) == {"of-file", "chat"}
    path.write_text(policy_text("models: [other]", "of-file"))
    source.request_reload()
    assert told.get(timeout=10) == (True, [])
    assert (set(ports(source)), source.problems) == ({"of-file", "chat", "late"}, ())


def test_files_that_are_no_good_at_the_start(fake_api: FakeApi, start: Start, tmp_path: Path) -> None:
    with pytest.raises(PolicyProblems):
        start(tmp_path / "nowhere.yaml")


def test_without_the_server_it_is_not_ready_and_says_why(fake_api: FakeApi, start: Start, tmp_path: Path) -> None:
    fake_api.answer = (403, b'{"message": "forbidden"}')
    source = start(directory=tmp_path)
    until(lambda: "no snapshot in" in source.unready)
    reasons = ["no policies yet", "GpuPool: 403: forbidden", "ModelInferencePolicy: 403: forbidden"]
    assert source.unready.split("; ")[:3] == reasons
    assert (source.snapshot.policies, source.gauges().in_step) == ((), False)
    fake_api.put(policy(port=1))
    fake_api.answer = None
    until(lambda: not source.unready)
    assert ports(source) == {"chat": 1}


def test_a_start_from_disk(fake_api: FakeApi, start: Start, told: Queue[Told], tmp_path: Path) -> None:
    fake_api.put(policy(port=1), policy("code", port=1))
    first = start(directory=tmp_path)
    until(lambda: (tmp_path / FILE).exists())
    fake_api.put(policy(port=0))
    until(lambda: first.problems)
    fake_api.answer = (503, b"")
    fake_api.end_watches(b"{")
    second = start(directory=tmp_path)
    until(lambda: not second.unready)
    assert ports(second) == {"chat": 1, "code": 1}, "the last good ones"
    assert not second.gauges().in_step
    fake_api.answer = None
    until(lambda: second.gauges().in_step)
    until(lambda: second.problems)
    assert ports(second) == {"chat": 1, "code": 1}, "a bad object goes on as it was on disk"
    until(lambda: fake_api.watches == 4)  # what goes while a watch is not open yet is not told
    fake_api.remove(policy())
    until(lambda: ports(second) == {"code": 1} == ports(first))


def test_a_directory_that_cannot_be_written_is_told(
    fake_api: FakeApi, start: Start, told: Queue[Told], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = start(directory=tmp_path / "gone")
    told.get(timeout=10)
    until(lambda: "no snapshot can be written" in caplog.text)
    assert source.unready == ""


def test_a_load_that_fails_for_a_bug_is_not_the_last(
    fake_api: FakeApi,
    start: Start,
    told: Queue[Told],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = start()
    told.get(timeout=10)
    failed = Event()

    def fail(_: object) -> None:
        failed.set()
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(policy_source, "read", fail)
        fake_api.put(policy(port=1))
        assert failed.wait(10)
        until(lambda: "could not be loaded; generation 1 stays" in caplog.text)
    caplog.set_level(logging.INFO)
    fake_api.put(policy(port=2))
    told.get(timeout=10)
    assert ports(source) == {"chat": 2}


def test_without_credentials_there_is_no_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(SetupError, match=r"not found; set KUBECONFIG, or run as a pod"):
        ClusterPolicies([], [], None, lambda _ok, _problems: None)


def test_what_was_not_started_can_be_stopped(fake_api: FakeApi) -> None:
    ClusterPolicies([], [], None, lambda _ok, _problems: None).stop()
    assert fake_api.requests == []


def test_pools_are_policies_once_they_are_there(fake_api: FakeApi, start: Start, told: Queue[Told]) -> None:
    """No policy of the cluster is asked for, and kinds of the inference extension's other group may be missing."""
    fake_api.missing |= {"ModelInferencePolicy", "GpuPool", "InferenceObjective", "InferenceModelRewrite"}
    fake_api.put(pod(1))
    source = start(namespaces=None, pools=WantedPools(("ai/llama",)))
    until(lambda: "InferencePool ai/llama" in source.unready)
    # Nor is it ready by one that is there and can't be read.
    unreadable = pool()
    del unreadable["spec"]["targetPorts"]
    fake_api.put(unreadable)
    until(lambda: source.unready.endswith("InferencePool ai/llama: Object missing required field `targetPorts`"))
    assert source.snapshot.generation == 0
    fake_api.put(pool())
    assert told.get(timeout=10) == (True, [])
    assert (source.unready, source.in_step) == ("", True)
    assert source.snapshot.policies[0].versions[0].endpoints == ("10.0.0.1:8000",)
    fake_api.put(pod(2))
    until(lambda: len(source.snapshot.policies[0].versions[0].endpoints) == 2)
    assert told.get(timeout=10) == (True, [])
    fake_api.remove(pool())
    assert told.get(timeout=10) == (False, ["is not there, and its endpoints are to be picked"])
    assert [problem.file for problem in source.problems] == ["InferencePool ai/llama"]
    assert source.unready == "", "it has been ready: requests that come now get what nobody owns"


@pytest.mark.parametrize("other", [pool("mistral"), policy()], ids=["a pool", "a policy"])
def test_a_pool_that_cannot_be_read_holds_up_nobody_else(
    fake_api: FakeApi, start: Start, told: Queue[Told], other: dict[str, Any]
) -> None:
    unreadable = pool()
    del unreadable["spec"]["targetPorts"]
    for one in (unreadable, other, pod(1)):
        fake_api.put(one)
    wanted = ("ai/llama", "ai/mistral") if other["kind"] == "InferencePool" else ("ai/llama",)
    source = start(pools=WantedPools(wanted))
    assert told.get(timeout=10) == (False, ["counts for nothing: Object missing required field `targetPorts`"])
    assert (source.unready, list(ports(source))) == ("", [other["metadata"]["name"]])
    assert [problem.file for problem in source.problems] == ["InferencePool ai/llama"]
    fake_api.put(pool())
    until(lambda: not any("counts for nothing" in problem.message for problem in source.problems))


@pytest.mark.parametrize("kind", ["inferencepools", "pods", "inferenceobjectives"])
def test_a_pool_is_not_ready_while_something_of_it_may_not_be_read(kind: str, fake_api: FakeApi, start: Start) -> None:
    fake_api.put(pool(), pod(1), pool("other", namespace="team"))
    fake_api.forbidden = {("team", kind)}
    source = start(namespaces=None, pools=WantedPools(("ai/llama", "team/other")))
    until(lambda: "403" in source.unready)
    until(lambda: len([1 for path, _ in fake_api.requests if path.endswith(f"/team/{kind}")]) > 2)
    assert source.snapshot.generation == 0
    fake_api.forbidden = set()
    until(lambda: not source.unready)


def test_policies_and_pools_together_and_what_is_kept_of_them(
    fake_api: FakeApi, start: Start, told: Queue[Told], tmp_path: Path
) -> None:
    named = [{"name": "v1", "inferencePool": {"name": "llama"}}]
    fake_api.put(pool(), pool("other"), pod(1), policy(versions=named))
    wanted = WantedPools(("ai/llama",))
    source = start(pools=wanted, directory=tmp_path)
    told.get(timeout=10)
    assert [found.name for found in source.snapshot.policies] == ["chat"]
    until((tmp_path / FILE).exists)
    fake_api.answer = (500, b"")
    later = start(pools=wanted, directory=tmp_path)
    until(lambda: later.snapshot.generation)
    assert later.snapshot.policies[0].versions[0].endpoints == ("10.0.0.1:8000",)
    elsewhere = start(pools=WantedPools(("ai/other",)), directory=tmp_path)
    until(lambda: "of other namespaces" in elsewhere.unready)


def test_a_policy_that_goes_on_as_it_was_has_the_endpoints_of_now(
    fake_api: FakeApi, start: Start, told: Queue[Told]
) -> None:
    named = [{"name": "v1", "inferencePool": {"name": "llama"}}]
    fake_api.put(pool(), pod(1), policy(versions=named, port=1))
    source = start(pools=WantedPools(("ai/llama",)))
    told.get(timeout=10)
    fake_api.put(policy(versions=named, port=0))
    assert told.get(timeout=10) == (False, ["0 is out of range"])
    for number in (2, 3):
        fake_api.put(pod(number))
        until(lambda number=number: len(source.snapshot.policies[0].versions[0].endpoints) == number)  # type: ignore[misc]
        assert told.get(timeout=10) == (True, [])
    assert (ports(source), source.gauges().objects["held"]) == ({"chat": 1}, 1)
    fake_api.put(policy(versions=named, port=2))
    assert told.get(timeout=10) == (True, [])
    assert (ports(source), len(source.snapshot.policies[0].versions[0].endpoints)) == ({"chat": 2}, 3)
    assert source.problems == ()
