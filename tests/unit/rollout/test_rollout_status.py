"""A rollout as plain data, before it begins and in a step."""

from __future__ import annotations

import pytest

from extproc.policy.rollout_plan import (
    COMPLETED,
    ERRORS,
    FAILED,
    PAUSED,
    Guard,
    Move,
    Phase,
    RolloutPlan,
    RolloutState,
)
from extproc.policy.snapshot import Policy, Version
from extproc.rollout.evidence import StepEvidence, VersionEvidence
from extproc.rollout.status import describe
from extproc.rollout.steps import in_force

PLAN = RolloutPlan("v2", (Guard(metric=ERRORS, maximum=0.01),), rolls_back=False)
POLICY = Policy("chat", versions=(Version("v1", 3), Version("v2", 0)), rollout=PLAN)
STATE = RolloutState("chat", "v2", PAUSED, 25, 7.0, "", (Move(7.0, PAUSED, 25, "by command"),))


def test_a_policy_without_one_has_none() -> None:
    assert describe(Policy("plain"), None) is None


def test_before_it_begins() -> None:
    found = describe(in_force(POLICY, None), StepEvidence("chat", 7.0, 3.0))
    assert found is not None
    assert (found["phase"], found["percent"], found["measured"], found["moves"]) == (None, 0, 0.0, [])
    assert found["reason"] == "it has not begun: nobody drives it yet"
    assert found["weights"] == {"v1": 1, "v2": 0}


def test_in_a_step() -> None:
    found = describe(in_force(POLICY, STATE), StepEvidence("chat", 7.0, 3.0, {"v2": VersionEvidence(5)}))
    assert found is not None
    assert (found["phase"], found["percent"], found["measured"]) == ("Paused", 25, 3.0)
    assert (found["requests"], found["onFailure"], found["reason"]) == ({"v2": 5}, "pause", "by command")
    assert found["weights"] == {"v1": 0.75, "v2": 0.25}


@pytest.mark.parametrize(
    ("phase", "begin"),
    [
        (PAUSED, ""),
        (FAILED, "mend v2, and `extproc rollout resume` begins at the first step again; or write another `to`"),
        (COMPLETED, "write v1 weight: 0, v2 weight: 100 into the policy, and remove its rollout"),
    ],
)
def test_what_is_left_to_do(phase: Phase, begin: str) -> None:
    state = RolloutState("chat", "v2", phase, 0 if phase == FAILED else 100, 7.0, "", ())
    found = describe(in_force(POLICY, state), None)
    assert found is not None
    assert found["todo"] == begin
