"""The steps of a rollout as a state machine, and the weights that are in force at each.

Weights are made so that rendezvous hashing (``policy.rendezvous``) moves nobody twice: those of the other versions keep
their proportions, and only the new version's share changes. A larger share moves keys to the new version and no others;
a share of 0 puts each key back to where it was.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import gcd

import msgspec

from extproc.policy.rollout_plan import (
    COMPLETED,
    FAILED,
    PAUSED,
    PROGRESSING,
    ROLLING_BACK,
    Move,
    Phase,
    RolloutPlan,
    RolloutState,
)
from extproc.policy.snapshot import Policy, Version

FAILING, WAITING, PASSING = "failing", "waiting", "passing"


class Verdict(msgspec.Struct, frozen=True):
    """What guards say of a step: ``FAILING``, ``WAITING`` or ``PASSING``, and why."""

    word: str
    reason: str = ""


MAX_MOVES = 50
"""Moves that a state keeps."""
RELOAD_TIME = 5.0
"""Seconds within which every process has the weights of a state that was written."""
COMMANDS = ("pause", "resume", "promote", "abort")


class UnfitCommandError(Exception):
    """A command does not fit the phase; its text says why and what would."""


def begin(
    policy: Policy, plan: RolloutPlan, former: RolloutState | None, now: float, *, ready: bool = True
) -> RolloutState:
    """The first step of a rollout. ``former``: the policy's last one, to another version.

    ``ready``: whether anybody serves the new version; else it ``waits`` at 0 percent, for ``start``.
    """
    serving = ""
    if former is not None:
        serving = former.to if former.phase == COMPLETED else former.serving
    serving = serving if serving in policy.by_name and serving != plan.to else ""
    state = RolloutState(policy.name, plan.to, PROGRESSING, 0, now, serving)
    return start(state, plan, now) if ready else _move(state, PROGRESSING, 0, f"{plan.to} has no server yet", now)


def start(state: RolloutState, plan: RolloutPlan, now: float) -> RolloutState:
    """The first step of a rollout that waits."""
    return _move(state, PROGRESSING, plan.steps[0], f"the rollout to {plan.to} begins", now)


def waits(state: RolloutState) -> bool:
    """Whether the rollout has not begun, since nobody serves the new version."""
    return state.phase == PROGRESSING and state.percent == 0


def reconcile(policies: Sequence[Policy], states: Sequence[RolloutState], now: float) -> tuple[RolloutState, ...]:
    """The states for ``policies``: new rollouts begin, those that a policy no longer has are dropped.

    What belongs to no policy that is there stays: its file may be missing for a moment.
    """
    by_policy = {state.policy: state for state in states}
    kept = [state for state in states if all(policy.name != state.policy for policy in policies)]
    found = []
    for policy in policies:
        state = by_policy.get(policy.name)
        if policy.rollout is None:
            continue
        if state is None or state.to != policy.rollout.to:
            state = begin(policy, policy.rollout, state, now)
        found.append(state)
    return (*kept, *found)


def advance(state: RolloutState, plan: RolloutPlan, verdict: Verdict, measured: float, now: float) -> RolloutState:
    """The state after a look at the guards; the same object where nothing changes.

    ``measured``: seconds of this step for which all processors' measurements are in the verdict.
    """
    if state.phase == ROLLING_BACK:
        reason = state.moves[-1].reason if state.moves else ""  # a state that somebody else has written may have none
        return _move(state, FAILED, 0, reason, now) if now - state.since >= RELOAD_TIME else state
    if state.phase != PROGRESSING or waits(state):
        return state
    if verdict.word == FAILING:
        if plan.rolls_back:
            return _move(state, ROLLING_BACK, 0, verdict.reason, now)
        return _move(state, PAUSED, state.percent, verdict.reason, now)
    if verdict.word != PASSING or measured < plan.interval:
        return state
    if state.percent >= plan.steps[-1]:
        return _move(state, COMPLETED, state.percent, "every guard held at the last step", now)
    return _move(state, PROGRESSING, next_step(plan, state.percent), f"every guard held at {state.percent} %", now)


def obey(state: RolloutState, plan: RolloutPlan, command: str, now: float) -> RolloutState:
    """The state after one of ``COMMANDS``. Raises ``UnfitCommandError``."""
    phase, percent = state.phase, state.percent
    match command:
        case "pause" if phase == PROGRESSING:
            return _move(state, PAUSED, percent, "paused by command", now)
        case "resume" if phase == PAUSED:
            return _move(state, PROGRESSING, percent, "resumed by command", now)
        case "resume" if phase == FAILED:
            return _move(state, PROGRESSING, plan.steps[0], "begun again by command", now)
        case "promote" if phase in (PROGRESSING, PAUSED):
            return _move(state, COMPLETED, plan.steps[-1], "promoted by command", now)
        case "abort" if phase in (PROGRESSING, PAUSED, COMPLETED):
            return _move(state, ROLLING_BACK, 0, "aborted by command", now)
    fitting = [one for one in COMMANDS if phase in _FITTING[one]]
    raise UnfitCommandError(
        f"the rollout is {phase}: " + (f"it takes {_alternatives(fitting)}" if fitting else "wait for its end")
    )


def _alternatives(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


_FITTING: dict[str, tuple[Phase, ...]] = {
    "pause": (PROGRESSING,),
    "resume": (PAUSED, FAILED),
    "promote": (PROGRESSING, PAUSED),
    "abort": (PROGRESSING, PAUSED, COMPLETED),
}


def next_step(plan: RolloutPlan, percent: int) -> int:
    """The first step above ``percent``; the last where there is none. Steps may have changed since it was reached."""
    return plan.steps[min(bisect_right(plan.steps, percent), len(plan.steps) - 1)]


def in_force(policy: Policy, state: RolloutState | None) -> Policy:
    """The policy with the weights of its rollout; without a state, the new version's is 0.

    ``policy``: as its file has it. What has no rollout stays as it is.
    """
    plan = policy.rollout
    if plan is None:
        return policy
    state = state if state is not None and state.to == plan.to else None
    weights = _weights(policy, plan, state)
    versions = tuple(
        version if version.mirror else msgspec.structs.replace(version, weight=weights[version.name])
        for version in policy.versions
    )
    return msgspec.structs.replace(policy, versions=versions, rollout_state=state)


def completed_weights(policy: Policy, to: str) -> str:
    """What the policy's file is to say in the place of a completed rollout, for people."""
    return ", ".join(f"{version.name} weight: {100 * (version.name == to)}" for version in policy.answering)


def _weights(policy: Policy, plan: RolloutPlan, state: RolloutState | None) -> dict[str, int]:
    serving = state.serving if state is not None else ""
    weights = {v.name: _base_weight(v, policy, serving) for v in policy.answering if v.name != plan.to}
    percent, others = state.percent if state is not None else 0, sum(weights.values())
    weights = {name: weight * (100 - percent) for name, weight in weights.items()} | {plan.to: others * percent}
    common = gcd(*weights.values()) or 1
    return {name: weight // common for name, weight in weights.items()}


def _base_weight(version: Version, policy: Policy, serving: str) -> int:
    """The weight beside the new version's: of the file, unless an earlier rollout's version serves, which the file
    gives none.
    """
    if serving in policy.by_name and policy.by_name[serving].weight == 0:
        return int(version.name == serving)
    return version.weight


def _move(state: RolloutState, phase: Phase, percent: int, reason: str, now: float) -> RolloutState:
    moves = (*state.moves, Move(now, phase, percent, reason))[-MAX_MOVES:]
    return msgspec.structs.replace(state, phase=phase, percent=percent, since=now, moves=moves)
