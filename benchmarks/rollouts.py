"""Rollouts simulated by seed: how often a bad version is rolled back, at which share, and how often a good one comes
through. `python -m benchmarks.rollouts` prints the table of docs/rollouts.md.

Requests are drawn, everything else is what serves: evidence, guards, verdicts, steps.
"""

from __future__ import annotations

import argparse
from collections import Counter
from math import exp, log
from statistics import median

import msgspec
import numpy as np

from extproc.policy.decision import USERS
from extproc.policy.rollout_plan import (
    COMPLETED,
    ERRORS,
    FAILED,
    FIRST_TOKEN,
    OUTPUT_TOKENS,
    PER_TOKEN,
    Guard,
    RolloutPlan,
)
from extproc.policy.snapshot import Policy, Version
from extproc.rollout.evidence import GROWTH, ZERO, StepEvidence, VersionEvidence, upper_bound
from extproc.rollout.guards import judge
from extproc.rollout.steps import advance, begin

LOOK_SECONDS = 5.0
"""Simulated seconds between two looks."""
PLAN = RolloutPlan(
    "v2",
    (
        Guard(metric=ERRORS, maximum=0.01),
        Guard(metric=FIRST_TOKEN, quantile=0.95, maximum=0.5),
        Guard(metric=PER_TOKEN, quantile=0.5, relative_to="v1", max_ratio=1.2),
        Guard(metric=OUTPUT_TOKENS, quantile=0.5, relative_to="v1", min_ratio=0.5),
    ),
    interval=60,
)
"""The guards of docs/rollouts.md."""


class Behaviour(msgspec.Struct, frozen=True):
    """How a version answers. Times and lengths are log-normal: heavy tails."""

    errors: float = 0.002
    """Share of the requests with a status of 5xx."""
    breaks: float = 0.0
    """Share of the streams that break off or end in an error."""
    first_token: float = 0.22
    """Median in seconds; the p95 is 1.8 times as much."""
    per_token: float = 0.02
    tokens: float = 200.0
    empty: float = 0.0
    """Share of the answers without a token."""
    looks: int = 600
    """Looks after which a rollout is left as it is."""


BEHAVIOURS = {
    "equal": Behaviour(),
    "errors 5 %": Behaviour(errors=0.05),
    "breaks mid-stream 5 %": Behaviour(breaks=0.05),
    "TTFT + 50 %": Behaviour(first_token=0.33),
    "TPOT + 50 %": Behaviour(per_token=0.03),
    "empty answers": Behaviour(empty=1.0),
    "60 % of answers empty": Behaviour(empty=0.6),
    "tokens / 3": Behaviour(tokens=67.0),
    "at every bound": Behaviour(
        errors=0.01, first_token=0.5 / exp(1.645 * 0.36), per_token=0.024, tokens=100, looks=150
    ),
}


class Outcome(msgspec.Struct, frozen=True):
    """How one rollout ended."""

    phase: str
    percent: int
    """Highest share that the new version had."""
    seconds: float
    answered: float
    """Share of all requests that the new version answered."""


def draw(behaviour: Behaviour, requests: int, random: np.random.Generator) -> VersionEvidence:
    """What is measured of so many requests."""
    found = VersionEvidence(requests=requests, answers=requests)
    found.failures = int(random.binomial(requests, behaviour.errors))
    found.answer_failures = int(random.binomial(requests - found.failures, behaviour.breaks))
    good = requests - found.failures
    empty = random.random(good) < behaviour.empty
    times = random.lognormal(np.log(behaviour.first_token), 0.36, good)[~empty]
    paces = random.lognormal(np.log(behaviour.per_token), 0.25, good)[~empty]
    tokens = np.where(empty, 0, np.ceil(random.lognormal(np.log(behaviour.tokens), 1.0, good)))
    for metric, values in zip((FIRST_TOKEN, PER_TOKEN, OUTPUT_TOKENS), (times, paces, tokens), strict=True):
        numbers = np.full(len(values), ZERO)
        numbers[values > 0] = np.ceil(np.log(values[values > 0]) / log(GROWTH))
        found.values[metric] = dict(zip(*map(np.ndarray.tolist, np.unique(numbers, return_counts=True)), strict=True))
    return found


def told_apart(counted: VersionEvidence, random: np.random.Generator) -> VersionEvidence:
    """The same where each request is another user's, and has a key."""
    found = VersionEvidence(counted.requests, 0, counted.answers)
    for _ in range(counted.failures):
        found.fail(_word(random))
    for _ in range(counted.answer_failures):
        found.fail_in_answer(_word(random))
    for metric, values in counted.values.items():
        for number, count in values.items():
            for _ in range(count):
                found.note(metric, upper_bound(number), _word(random))
    return found


def _word(random: np.random.Generator) -> str:
    return f"{random.integers(USERS):02x}"


def simulate(
    behaviour: Behaviour, seed: int, rate: float = 100.0, plan: RolloutPlan = PLAN, *, keys: bool = False
) -> Outcome:
    """One rollout with ``rate`` requests a second, until it ends or ``looks`` looks have been made. ``keys``: each
    request has the key of another user.
    """
    random = np.random.default_rng(seed)
    policy = Policy("chat", versions=(Version("v1"), Version("v2", weight=0)), rollout=plan)
    now, answered, total, highest = 0.0, 0, 0, 0
    state = begin(policy, plan, None, now)
    step = StepEvidence("chat", now)
    while state.phase not in (COMPLETED, FAILED) and now < behaviour.looks * LOOK_SECONDS:
        now += LOOK_SECONDS
        highest = max(highest, state.percent)
        requests = int(random.poisson(rate * LOOK_SECONDS))
        new = int(random.binomial(requests, state.percent / 100))
        answered, total = answered + new, total + requests
        step.measured += LOOK_SECONDS
        for version, how, number in (("v1", Behaviour(), requests - new), ("v2", behaviour, new)):
            drawn = draw(how, number, random)
            step.versions.setdefault(version, VersionEvidence()).add(told_apart(drawn, random) if keys else drawn)
        before = state.since
        state = advance(state, plan, judge(step, plan, state.percent, {}, now), step.measured, now)
        if state.since != before:
            step = StepEvidence("chat", state.since)
    return Outcome(state.phase, highest, now, answered / total)


HEAD = """\
| v2 | promoted | rolled back | at the first step | time, median and p95 | v2's answers, median and most |
|---|---|---|---|---|---|"""
"""Of the table."""


def row(name: str, outcomes: list[Outcome], plan: RolloutPlan = PLAN) -> str:
    """A row of the table."""
    number = len(outcomes)
    phases = Counter(outcome.phase for outcome in outcomes)
    at_first = sum(outcome.phase == FAILED and outcome.percent == plan.steps[0] for outcome in outcomes)
    share = sorted(outcome.answered for outcome in outcomes)
    seconds = sorted(outcome.seconds for outcome in outcomes)
    cells = (
        name,
        f"{100 * phases[COMPLETED] / number:.1f} %",
        f"{100 * phases[FAILED] / number:.1f} %",
        f"{100 * at_first / number:.1f} %",
        f"{median(seconds):.0f} s, {seconds[int(0.95 * (number - 1))]:.0f} s",
        f"{100 * median(share):.2f} %, {100 * share[-1]:.2f} %",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=int, default=200, help="of each behaviour (%(default)s)")
    arguments = parser.parse_args()
    print(HEAD)
    for name, behaviour in BEHAVIOURS.items():
        print(row(name, [simulate(behaviour, seed) for seed in range(arguments.rollouts)]), flush=True)


if __name__ == "__main__":
    main()
