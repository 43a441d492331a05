"""The steps of a rollout: what moves it, what never does, and who is on which version meanwhile."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.policy.rollout_plan import (
    COMPLETED,
    ERRORS,
    EXPONENTIAL_STEPS,
    FAILED,
    PAUSED,
    PROGRESSING,
    ROLLING_BACK,
    Guard,
    RolloutPlan,
    RolloutState,
)
from extproc.policy.snapshot import Policy, Version
from extproc.rollout import steps
from extproc.rollout.steps import (
    COMMANDS,
    FAILING,
    MAX_MOVES,
    PASSING,
    RELOAD_TIME,
    WAITING,
    UnfitCommandError,
    Verdict,
    advance,
    begin,
    in_force,
    next_step,
    obey,
    reconcile,
    waits,
)

PLAN = RolloutPlan("v2", (Guard(metric=ERRORS, maximum=0.01),), interval=60)
USERS = [b"user %d" % n for n in range(400)]


def policy(plan: RolloutPlan | None = PLAN, **weights: int) -> Policy:
    weights = weights or {"v1": 100, "v2": 0}
    return Policy("chat", versions=tuple(Version(name, weight) for name, weight in weights.items()), rollout=plan)


def start(plan: RolloutPlan = PLAN) -> RolloutState:
    return begin(policy(plan), plan, None, 0)


def at(phase: str, percent: int) -> RolloutState:
    return msgspec.structs.replace(start(), phase=phase, percent=percent)


def run(state: RolloutState, *words: str, plan: RolloutPlan = PLAN) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for word in words:
        state = advance(state, plan, Verdict(word, "why"), 60, state.since + 60)
        found.append((state.phase, state.percent))
    return found


def test_it_goes_up_step_by_step_and_is_completed() -> None:
    assert run(start(), WAITING, PASSING, PASSING, PASSING, PASSING, WAITING, PASSING, FAILING) == [
        *((PROGRESSING, percent) for percent in (1, 5, 25, 50, 100, 100)),
        *((COMPLETED, 100), (COMPLETED, 100)),
    ]


def test_it_rolls_back_in_one_step_from_wherever_it_is() -> None:
    for passed in range(5):
        *_, last = run(start(), *[PASSING] * passed, FAILING)
        assert last == (ROLLING_BACK, 0)
    assert run(start(), FAILING, PASSING, PASSING) == [(ROLLING_BACK, 0), (FAILED, 0), (FAILED, 0)]


def test_it_pauses_at_its_share_where_it_is_told_to() -> None:
    plan = msgspec.structs.replace(PLAN, rolls_back=False)
    assert run(start(plan), PASSING, FAILING, PASSING, FAILING, plan=plan)[1:] == [(PAUSED, 5)] * 3


def test_a_step_lasts_as_long_as_was_measured() -> None:
    """What nobody heard is not measured, however much time has passed."""
    assert advance(start(), PLAN, Verdict(PASSING), 59, 1e9).percent == 1
    assert advance(start(), PLAN, Verdict(PASSING), 60, 60).percent == 5


def test_rolling_back_lasts_until_every_process_has_the_weights() -> None:
    state = advance(start(), PLAN, Verdict(FAILING, "errors"), 0, 10)
    assert advance(state, PLAN, Verdict(PASSING), 0, 10 + RELOAD_TIME - 0.1) is state
    failed = advance(state, PLAN, Verdict(PASSING), 0, 10 + RELOAD_TIME)
    assert (failed.phase, failed.moves[-1].reason) == (FAILED, "errors")


@pytest.mark.parametrize(
    ("phase", "percent", "command", "then"),
    [
        (PROGRESSING, 5, "pause", (PAUSED, 5)),
        (PROGRESSING, 5, "promote", (COMPLETED, 100)),
        (PROGRESSING, 5, "abort", (ROLLING_BACK, 0)),
        (PAUSED, 5, "resume", (PROGRESSING, 5)),
        (PAUSED, 5, "promote", (COMPLETED, 100)),
        (PAUSED, 5, "abort", (ROLLING_BACK, 0)),
        (FAILED, 0, "resume", (PROGRESSING, 1)),
        (COMPLETED, 100, "abort", (ROLLING_BACK, 0)),
    ],
)
def test_commands(phase: str, percent: int, command: str, then: tuple[str, int]) -> None:
    found = obey(at(phase, percent), PLAN, command, 7)
    assert (found.phase, found.percent, found.since) == (*then, 7)
    assert "command" in found.moves[-1].reason


@pytest.mark.parametrize(
    ("phase", "command", "said"),
    [
        (PROGRESSING, "resume", "it takes pause, promote or abort"),
        (PAUSED, "pause", "it takes resume, promote or abort"),
        (FAILED, "abort", "it takes resume"),
        (FAILED, "promote", "it takes resume"),
        (COMPLETED, "promote", "it takes abort"),
        (ROLLING_BACK, "resume", "wait for its end"),
    ],
)
def test_commands_that_do_not_fit(phase: str, command: str, said: str) -> None:
    with pytest.raises(UnfitCommandError, match=said):
        obey(at(phase, 5), PLAN, command, 7)


def test_steps_that_are_changed_on_the_way_never_lead_back() -> None:
    plan = msgspec.structs.replace(PLAN, steps=EXPONENTIAL_STEPS)
    assert [next_step(plan, percent) for percent in (0, 5, 25, 50, 100)] == [1, 8, 32, 64, 100]


def test_a_rollout_without_a_server_waits_at_nothing_whatever_is_measured() -> None:
    waiting = begin(policy(), PLAN, None, 0.0, ready=False)
    assert (waiting.phase, waiting.percent, waits(waiting)) == (PROGRESSING, 0, True)
    for word in (PASSING, FAILING):
        assert advance(waiting, PLAN, Verdict(word), 999.0, 999.0) is waiting
    begun = steps.start(waiting, PLAN, 9.0)
    assert (begun.percent, begun.since, waits(begun)) == (1, 9.0, False)


def test_reconciling_begins_keeps_and_drops() -> None:
    (begun,) = reconcile([policy()], [], 3)
    assert (begun.phase, begun.percent, begun.since) == (PROGRESSING, 1, 3)
    assert reconcile([policy()], [begun], 9) == (begun,)
    assert reconcile([], [begun], 9) == (begun,)  # its file may be missing for a moment
    assert reconcile([policy(None)], [begun], 9) == ()


def test_the_next_rollout_begins_from_what_serves() -> None:
    third = msgspec.structs.replace(PLAN, to="v3")
    both = policy(third, v1=100, v2=0, v3=0)
    (state,) = reconcile([both], [at(COMPLETED, 100)], 9)
    assert (state.to, state.serving, state.percent) == ("v3", "v2", 1)
    assert shares(both, state) == {"v1": 0, "v2": 0.99, "v3": 0.01}
    (again,) = reconcile([both], [msgspec.structs.replace(at(FAILED, 0))], 9)
    assert shares(both, again) == {"v1": 0.99, "v2": 0, "v3": 0.01}
    spoken = policy(third, v1=50, v2=50, v3=0)  # the file now says what serves
    assert shares(spoken, state) == {"v1": 0.495, "v2": 0.495, "v3": 0.01}


def shares(of: Policy, state: RolloutState | None) -> dict[str, Any]:
    served = in_force(of, state)
    total = sum(version.weight for version in served.versions)
    return {version.name: pytest.approx(version.weight / total) for version in served.versions}


def test_weights_before_at_and_after() -> None:
    three = policy(v1=60, v0=20, v2=0)
    assert shares(three, None) == {"v1": 0.75, "v0": 0.25, "v2": 0}
    assert shares(three, at(PROGRESSING, 5)) == {"v1": 0.7125, "v0": 0.2375, "v2": 0.05}
    assert shares(three, at(COMPLETED, 100)) == {"v1": 0, "v0": 0, "v2": 1}
    assert shares(three, at(ROLLING_BACK, 0)) == shares(three, None)
    other = msgspec.structs.replace(at(COMPLETED, 100), to="v9")  # the state of another rollout
    assert shares(three, other) == shares(three, None)


def test_a_policy_without_a_rollout_and_mirrors_stay_as_they_are() -> None:
    plain = policy(None, v1=3, v2=1)
    assert in_force(plain, at(PROGRESSING, 5)) is plain
    copied = msgspec.structs.replace(policy(), versions=(*policy().versions, Version("m", 0, mirror=10)))
    assert in_force(copied, at(PROGRESSING, 5)).versions[-1] == copied.versions[-1]


@given(
    st.lists(st.integers(1, 1_000_000), min_size=1, max_size=4),
    st.lists(st.integers(1, 100), min_size=1, max_size=8, unique=True),
)
def test_no_user_moves_twice(weights: list[int], steps: list[int]) -> None:
    """Up, each moves to the new version once and stays; back, each is where it was."""
    of = policy(PLAN, **{f"old{n}": weight for n, weight in enumerate(weights)}, v2=0)

    def placed(percent: int) -> list[str]:
        hashing = in_force(of, at(PROGRESSING, percent)).version_hash
        return [version.name for user in USERS if (version := hashing.choose(user))]

    before = now = placed(0)
    for percent in sorted(steps):
        then = placed(percent)
        assert all(new in (old, "v2") for old, new in zip(now, then, strict=True))
        now = then
    assert placed(0) == before
    assert set(placed(100)) == {"v2"}


WORDS = st.sampled_from([FAILING, WAITING, PASSING])
EVENTS = st.lists(st.one_of(WORDS, st.sampled_from(COMMANDS)), max_size=40)


@given(EVENTS, st.booleans())
def test_whatever_happens_the_share_goes_up_by_one_step_or_back_to_nothing(events: list[str], back: bool) -> None:
    plan = msgspec.structs.replace(PLAN, rolls_back=back)
    state, now = start(plan), 0.0
    for event in events:
        now += 60
        before = state
        if event in COMMANDS:
            try:
                state = obey(state, plan, event, now)
            except UnfitCommandError:
                continue
            assert state.percent in (before.percent, 0, plan.steps[0], 100)
        else:
            state = advance(state, plan, Verdict(event), 60, now)
            assert state.percent in (before.percent, 0, next_step(plan, before.percent))
            if event == FAILING and before.phase == PROGRESSING:
                assert state.phase == (ROLLING_BACK if back else PAUSED)
            assert state.percent <= before.percent or (event, before.phase) == (PASSING, PROGRESSING)
        assert (state.percent == 0) == (state.phase in (ROLLING_BACK, FAILED))
        assert len(state.moves) <= MAX_MOVES
        assert state.moves[-1].percent == state.percent
