"""The rollouts of a cluster: how they move, what they wait for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import settings

from extproc.kubernetes import cluster_rollouts
from extproc.kubernetes.api import ApiFailure, Object, Resource
from extproc.kubernetes.cluster_rollouts import NEWS_INTERVAL
from extproc.kubernetes.object_documents import read
from extproc.policy.snapshot import Policy
from extproc.rollout import guards
from tests.unit.kubernetes.memory_api import made
from tests.unit.kubernetes.rolled_out import VERSIONS, Cluster, Leader, begun, rollout
from tests.unit.kubernetes.two_leaders import TwoLeaders


def test_a_good_version_is_completed_step_by_step() -> None:
    cluster = Cluster()
    leader = begun(cluster)
    assert cluster.at() == ("Progressing", 1)
    assert cluster.weights() == {"v1": 99, "v2": 1, "v3": 0}
    seen = [leader.go_on(60) for _ in range(5)]
    assert seen == [("Progressing", step) for step in (5, 25, 50, 100)] + [("Completed", 100)]
    assert cluster.weights() == {"v1": 0, "v2": 1, "v3": 0}
    rolled_out = cluster.policy["status"]["rollout"]
    assert rolled_out["summary"] == "v2 Completed 100%"
    assert rolled_out["message"].startswith("write v1 weight: 0, v2 weight: 100, v3 weight: 0 into the policy")
    assert [kind for kind, *_ in cluster.events()] == ["Normal"] * 6
    assert cluster.events()[0] == ("Normal", "RolloutProgressing", "v2 1%: the rollout to v2 begins")
    leader.sync()
    leader.make_pass()
    assert cluster.at() == ("Completed", 100), "a pass changes nothing of it"


def test_processors_decide_by_the_status() -> None:
    cluster = Cluster()
    leader = begun(cluster)
    leader.go_on(60)
    document = read(cluster.policy).document
    assert document is not None
    assert isinstance(document.value, Policy)
    assert {version.name: version.weight for version in document.value.versions} == {"v1": 19, "v2": 1, "v3": 0}
    assert document.value.rollout_state == cluster.state


def test_a_bad_version_is_rolled_back_at_the_look_that_shows_it() -> None:
    cluster = Cluster()
    leader = begun(cluster)
    leader.go_on(60)
    assert leader.go_on(100, 40) == ("RollingBack", 0)
    assert cluster.weights() == {"v1": 1, "v2": 0, "v3": 0}
    for _ in range(6):
        leader.go_on()
    assert cluster.at() == ("Failed", 0)
    rolled_out = cluster.policy["status"]["rollout"]
    assert (rolled_out["verdict"], rolled_out["message"]) == ("failing", "errors ≤ 1%: 40% of 100 requests of v2")
    assert [event[:2] for event in cluster.events()[-2:]] == [
        ("Warning", "RolloutRollingBack"),
        ("Warning", "RolloutFailed"),
    ]
    (described,) = leader.rollouts.described
    assert (described["policy"], described["phase"], described["percent"]) == ("chat", "Failed", 0)


def test_what_was_counted_before_it_listened_does_not_count() -> None:
    cluster = Cluster()
    cluster.processors.count(999, 999)
    leader = begun(cluster)
    assert leader.go_on() == ("Progressing", 1)
    assert leader.go_on(60) == ("Progressing", 5)


def test_what_ends_after_a_rollback_does_not_count_when_it_is_resumed() -> None:
    cluster = Cluster()
    leader = begun(cluster)
    leader.go_on(100, 40)
    for _ in range(6):
        leader.go_on(20, 20)
    assert cluster.at() == ("Failed", 0)
    cluster.annotate("resume")
    assert [leader.go_on() for _ in range(3)] == [("Progressing", 1)] * 3
    assert leader.go_on(60) == ("Progressing", 5)


def test_a_processor_that_is_not_heard_makes_it_wait() -> None:
    cluster = Cluster()
    leader = begun(cluster)
    cluster.processors.heard = False
    assert [leader.go_on(60, 60) for _ in range(12)] == [("Progressing", 1)] * 12
    assert cluster.policy["status"]["rollout"]["message"] == (
        "the processor 192.0.2.1:9090 can't be heard: it takes too long"
    )
    cluster.processors.heard = True
    assert leader.go_on() == ("RollingBack", 0), "what it counted meanwhile is not lost"


def test_what_the_others_report_rolls_back_though_one_is_silent() -> None:
    """And promotes nothing."""
    cluster = Cluster()
    leader = begun(cluster)
    cluster.processors.another = True
    assert [leader.go_on(60) for _ in range(3)] == [("Progressing", 1)] * 3
    assert leader.go_on(100, 60) == ("RollingBack", 0)
    assert cluster.policy["status"]["rollout"]["message"].endswith(
        "of 280 requests of v2; the processor 192.0.2.1:9090 can't be heard: it takes too long"
    )


@pytest.mark.parametrize("where", ["judge", "read", "_change"])
def test_a_policy_that_can_not_be_looked_at_holds_up_no_other(
    where: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = Cluster()
    cluster.api.put(made("ModelInferencePolicy", "bad", {**cluster.policy["spec"], "models": ["other"]}))
    leader = begun(cluster)
    place = guards if where == "judge" else cluster_rollouts
    right = getattr(place, where)

    def fail(what: Any, *rest: Any) -> Any:
        name = what.policy if where == "judge" else what["metadata"]["name"]
        if name == "bad":
            raise ZeroDivisionError("a bug")
        return right(what, *rest)

    monkeypatch.setattr(place, where, fail)
    told = "it could not be looked at: ZeroDivisionError: a bug"
    for failures in (0, 40):
        cluster.now += NEWS_INTERVAL
        leader.go_on(100, failures)
    assert cluster.at() == ("RollingBack", 0)
    assert caplog.text.count(f"the rollout of bad stays as it is: {told}") == 1
    if where == "judge":
        assert cluster.api.find("ModelInferencePolicy", "bad")["status"]["rollout"]["message"] == told
        assert {one["policy"]: one["fault"] for one in leader.rollouts.described} == {"bad": told, "chat": ""}


def test_a_prometheus_that_nobody_has_allowed_is_not_asked() -> None:
    guards = [{"promql": "q", "min": 1}]
    cluster = Cluster(rollout=rollout(guards=guards, prometheus="http://169.254.169.254"))
    leader = begun(cluster)
    for _ in range(2):
        cluster.now += NEWS_INTERVAL
        leader.go_on()
    assert cluster.policy["status"]["rollout"]["message"] == (
        "q ≥ 1: no value: http://169.254.169.254 is no Prometheus that the controller may ask (its --prometheus)"
    )


def test_numbers_alone_are_written_now_and_then() -> None:
    cluster = Cluster()
    leader = begun(cluster)
    before = len(cluster.api.writes)
    for _ in range(int(3 * NEWS_INTERVAL)):
        leader.go_on(1)
    assert len(cluster.api.writes) - before in (3, 4)


def test_it_waits_for_a_server_of_the_new_version() -> None:
    cluster = Cluster()
    cluster.served = ("v1",)
    leader = begun(cluster)
    assert (cluster.at(), cluster.weights()["v2"]) == (("Progressing", 0), 0)
    cluster.annotate("promote")
    assert leader.go_on(60) == ("Progressing", 0)
    assert cluster.events()[-1][2] == "'promote' was not carried out: v2 has no server yet"
    cluster.served = ("v1", "v2")
    leader.sync()
    leader.make_pass()
    assert (cluster.at(), cluster.weights()) == (("Progressing", 1), {"v1": 99, "v2": 1, "v3": 0})


def test_a_failed_one_is_not_resumed_where_nobody_serves_the_new_version() -> None:
    cluster = Cluster()
    leader = begun(cluster)
    for failures in (40, *[0] * 6):
        leader.go_on(100, failures)
    assert cluster.at() == ("Failed", 0)
    cluster.served = ("v1",)
    leader.sync()
    leader.make_pass()
    cluster.annotate("resume")
    assert leader.go_on() == ("Failed", 0)
    assert cluster.events()[-1] == ("Warning", "UnfitCommand", "'resume' was not carried out: v2 has no server yet")
    cluster.served = ("v1", "v2")
    leader.sync()
    leader.make_pass()
    cluster.annotate("resume/2")
    assert leader.go_on() == ("Progressing", 1)


def test_each_command_is_carried_out_once() -> None:
    cluster = Cluster()
    leader = begun(cluster)
    cluster.annotate("pause")
    assert [leader.go_on(60) for _ in range(3)] == [("Paused", 1)] * 3
    cluster.annotate("resume")
    assert leader.go_on() == ("Progressing", 1)
    assert leader.go_on(60) == ("Progressing", 5), "resumed once: it begins a step, which has ended"
    cluster.annotate("resume/2")
    leader.go_on()
    assert cluster.events()[-1] == (
        "Warning",
        "UnfitCommand",
        "'resume/2' was not carried out: the rollout is Progressing: it takes pause, promote or abort",
    )
    cluster.annotate("abort")
    assert leader.go_on() == ("RollingBack", 0)
    assert cluster.policy["status"]["rolloutCommand"] == "abort"
    for _ in range(5):
        leader.go_on()
    cluster.annotate(None)
    leader.go_on()
    assert "rolloutCommand" not in cluster.policy["status"], "the same word can be given again"
    cluster.annotate("resume")
    assert leader.go_on() == ("Progressing", 1)
    cluster.annotate("promote")
    assert leader.go_on() == ("Completed", 100)


def test_a_command_to_a_rollout_that_is_over_is_not_one_to_the_next() -> None:
    cluster = Cluster()
    leader = begun(cluster)
    cluster.annotate("promote")
    leader.go_on()
    cluster.apply(rollout=rollout("v3"))
    leader.sync()
    leader.make_pass()
    assert (leader.go_on(), cluster.state and cluster.state.to) == (("Progressing", 1), "v3")
    assert cluster.weights() == {"v1": 0, "v2": 99, "v3": 1}, "what was completed serves on"
    cluster.apply(versions=[{"name": "v1", "weight": 0}, {"name": "v2", "weight": 1}])
    leader.sync()
    leader.make_pass()
    assert cluster.state is None
    cluster.annotate("abort")
    leader.go_on()
    assert cluster.events()[-1][2] == "'abort' was not carried out: no rollout is in force"
    cluster.apply(rollout=rollout())
    leader.sync()
    leader.make_pass()
    assert leader.go_on() == ("Progressing", 1)


def test_a_spec_that_changes_under_way() -> None:
    cluster = Cluster()
    leader = begun(cluster)
    leader.go_on(60)
    cluster.apply(rollout=rollout(steps=[10, 100]))
    leader.sync()
    leader.make_pass()
    assert cluster.at() == ("Progressing", 5)
    assert leader.go_on(60) == ("Progressing", 10)
    cluster.apply(versions=VERSIONS[:1], rollout=rollout())  # v2 is gone: what was in force stays
    leader.sync()
    leader.make_pass()
    assert (cluster.at(), cluster.weights()) == (("Progressing", 10), {"v1": 9, "v2": 1, "v3": 0})
    assert leader.go_on(60) == ("Progressing", 100)
    cluster.apply(versions=[{"name": "v1", "weight": 3}])
    leader.sync()
    leader.make_pass()
    assert (cluster.at(), cluster.weights()) == (None, {"v1": 3})
    assert leader.rollouts.described
    leader.go_on()
    assert leader.rollouts.described == ()


def test_without_the_api_server_it_stays_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster()
    leader = begun(cluster)
    cluster.processors.count(100, 40)
    before = list(cluster.api.writes)
    for _ in range(3):
        assert not leader.tick(away=True)
    cluster.api.away = True
    for _ in range(3):
        assert not leader.tick()
    assert (cluster.at(), cluster.api.writes) == (("Progressing", 1), before)
    assert caplog.text.count("rollouts stay as they are: ConnectError") == 1
    cluster.api.away = False
    assert leader.tick()
    assert cluster.at() == ("RollingBack", 0)


def test_a_policy_whose_status_is_refused_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = Cluster()
    cluster.api.put(made("ModelInferencePolicy", "other", {**cluster.policy["spec"], "models": ["other"]}))
    leader = begun(cluster)
    replace = cluster.api.replace

    async def refuse_one(resource: Resource, wanted: Object, subresource: str = "") -> Object:
        if wanted["metadata"]["name"] == "other":
            raise ApiFailure("spec.models: Invalid value", 422)
        return await replace(resource, wanted, subresource)

    monkeypatch.setattr(cluster.api, "replace", refuse_one)
    other = cluster.api.find("ModelInferencePolicy", "other")
    cluster.api.put({**other, "metadata": {**other["metadata"], "annotations": {"ai.istio.io/rollout": "pause"}}})
    cluster.processors.count(100, 40)
    leader.sync()
    leader.objects.sort(key=lambda one: one["metadata"]["name"], reverse=True)
    assert [one["metadata"]["name"] for one in leader.objects] == ["other", "chat"]
    assert leader.tick()
    assert cluster.at() == ("RollingBack", 0)
    assert "rollouts stay as they are: other: spec.models: Invalid value" in caplog.text


def test_a_pass_that_writes_during_a_look_wins() -> None:
    cluster = Cluster()
    leader = begun(cluster)
    cluster.processors.count(60)
    cluster.now += 1
    (change,) = asyncio.run(leader.rollouts.look(leader.objects))
    cluster.served = ("v1",)
    leader.make_pass()  # into the very objects that were looked at
    written = cluster.policy["status"]
    assert not asyncio.run(leader.rollouts.write(cluster.api, change, leader.check))  # type: ignore[arg-type]
    assert cluster.policy["status"] == written
    assert leader.go_on() == ("Progressing", 5)


def test_policies_of_other_controllers_are_left_alone() -> None:
    cluster = Cluster()
    leader = begun(cluster)
    status = {**cluster.policy["status"], "controller": "ai/another"}
    cluster.api.put({**cluster.policy, "status": status})
    before = list(cluster.api.writes)
    assert leader.go_on(100, 40) == ("Progressing", 1)
    assert (cluster.api.writes, leader.rollouts.described) == (before, ())


@pytest.mark.parametrize("another", [True, False])
def test_another_leader_goes_on_from_the_status(another: bool) -> None:
    """In each state; one that was killed leaves what was in force, and what it measured is measured again."""
    cluster = Cluster()
    leader = begun(cluster)

    def next_leader() -> Leader:
        if not another:
            return leader
        taken_over = Leader(cluster)
        taken_over.make_pass()
        taken_over.tick()
        return taken_over

    leader.go_on(60)
    moves: list[tuple[str | None, int, int]] = [("pause", 0, 0), ("resume", 0, 0), (None, 60, 0), (None, 100, 40)]
    moves += [(None, 0, 0)] * 5 + [("resume/2", 0, 0), ("promote", 0, 0), ("abort", 0, 0)]
    for command, requests, failures in moves:
        before = cluster.at()
        leader = next_leader()
        assert cluster.at() in (before, ("Failed", 0)) or before is None
        if command:
            cluster.annotate(command)
        leader.go_on(requests, failures)
    assert cluster.at() == ("RollingBack", 0)


def test_who_has_an_old_view_or_has_lost_the_lead_writes_nothing() -> None:
    cluster = Cluster()
    old, new = begun(cluster), begun(cluster)
    old.sync()
    assert new.go_on(60) == ("Progressing", 5)
    assert not old.tick(), "its resourceVersion is an old one"
    assert cluster.at() == ("Progressing", 5)
    old.objects[0]["spec"]["rollout"]["to"] = "v3"
    with pytest.raises(ApiFailure, match="changed while its status was written"):
        old.make_pass()
    new.leads = False
    assert new.go_on(60) == ("Progressing", 5)


TestTwoLeaders = TwoLeaders.TestCase
TestTwoLeaders.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
