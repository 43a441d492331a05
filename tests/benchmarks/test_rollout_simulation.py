"""Some of the rollouts whose table is in docs/rollouts.md: good ones come through, bad ones never leave their step."""

from __future__ import annotations

import asyncio
import os

import pytest

from benchmarks import rollouts_by_user
from benchmarks.live_rollouts import LIVE_PLAN, Batch
from benchmarks.rollouts import BEHAVIOURS, PLAN, row, simulate
from benchmarks.rollouts_by_user import SCENARIOS, Users
from extproc.policy.rollout_plan import COMPLETED, FAILED

ROLLOUTS = int(os.environ.get("EXTPROC_TEST_ROLLOUTS", "2"))
RATE = 400.0
"""Requests a second: as many as that for less to compute."""


@pytest.mark.parametrize("name", ["errors 5 %", "breaks mid-stream 5 %", "TTFT + 50 %", "empty answers"])
def test_a_bad_version_is_rolled_back_at_its_first_step(name: str) -> None:
    for seed in range(ROLLOUTS):
        found = simulate(BEHAVIOURS[name], seed, RATE)
        assert (found.phase, found.percent) == ("Failed", PLAN.steps[0])
        assert found.answered < 0.02


def test_an_equal_version_is_promoted() -> None:
    found = [simulate(BEHAVIOURS["equal"], seed, RATE) for seed in range(ROLLOUTS)]
    assert {(one.phase, one.percent) for one in found} == {("Completed", 100)}
    assert row("equal", found).startswith("| equal | 100.0 % | 0.0 % | 0.0 % |")


@pytest.mark.parametrize(("heavy", "fails"), [(2, {False}), (3, {False, True})])
def test_where_users_are_known_two_of_them_roll_nothing_back(heavy: int, fails: set[bool]) -> None:
    users = Users(heavy=heavy, share=0.02 * heavy)
    ended = {by_user: rollouts_by_user.simulate(users, 1, by_user=by_user) for by_user in (False, True)}
    assert {by_user for by_user, phase in ended.items() if phase == FAILED} == fails
    assert COMPLETED not in ended.values()
    assert users in SCENARIOS.values()


def test_real_rollouts_run_at_once() -> None:
    found = asyncio.run(Batch(("empty answers",), 3, 1, 10.0).run())["empty answers"]
    assert [(one.phase, one.percent) for one in found] == 3 * [(FAILED, LIVE_PLAN.steps[0])]
    assert row("empty", found, LIVE_PLAN).startswith("| empty | 0.0 % | 100.0 % | 100.0 % |")
