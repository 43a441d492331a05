"""Some of the rollouts whose table is in docs/rollouts.md: good ones come through, bad ones never leave their step."""

from __future__ import annotations

import os

import pytest

from benchmarks.rollouts import BEHAVIOURS, PLAN, row, simulate

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
