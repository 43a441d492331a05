"""Rollouts simulated with users whose requests are like each other: how often a version that is as good as the other
one is rolled back. `python -m benchmarks.rollouts_by_user` prints a table of docs/rollouts.md.

The same requests are judged twice: with the word for each request's user, and without, as where requests have no keys.
"""

from __future__ import annotations

import argparse
from math import sqrt

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.rollouts import LOOK_SECONDS, PLAN
from extproc.policy.decision import USERS
from extproc.policy.rollout_plan import COMPLETED, FAILED, FIRST_TOKEN, OUTPUT_TOKENS, PER_TOKEN
from extproc.policy.snapshot import Policy, Version
from extproc.rollout.evidence import StepEvidence, VersionEvidence
from extproc.rollout.guards import judge
from extproc.rollout.steps import advance, begin

RATE = 100.0
SIGMAS = {FIRST_TOKEN: 0.36, PER_TOKEN: 0.25, OUTPUT_TOKENS: 1.0}
MEDIANS = {FIRST_TOKEN: 0.22, PER_TOKEN: 0.02, OUTPUT_TOKENS: 200.0}
"""As in ``benchmarks.rollouts``: of all requests of all users."""


class Users(msgspec.Struct, frozen=True):
    """Who asks."""

    number: int = 100_000
    unequal: float = 0.0
    """Standard deviation of the logarithm of how many requests they send."""
    alike: float = 0.0
    """Share of the variance of times and lengths, as logarithms, that is the user's."""
    heavy: int = 0
    """Users on the new version, who send ``share`` of all requests, with first tokens three times as late, and answers
    a fifth as long.
    """
    share: float = 0.0
    slow: float = 1.0
    short: float = 1.0
    """How many times as late first tokens of the new version are, and how many times as long its answers."""


SCENARIOS = {
    "each request another user's": Users(),
    "2,000 users, unequal, half of the variance theirs": Users(2_000, 1.5, 0.5),
    "200 users, unequal, half of the variance theirs": Users(200, 1.5, 0.5),
    "one user with 2 % of all requests, late and short": Users(heavy=1, share=0.02),
    "two users with 2 % each, late and short": Users(heavy=2, share=0.04),
    "three users with 2 % each, late and short": Users(heavy=3, share=0.06),
    "TTFT + 50 %, each request another user's": Users(slow=1.5),
    "TTFT + 50 %, 2,000 users": Users(2_000, 1.5, 0.5, slow=1.5),
    "tokens / 3, each request another user's": Users(short=1 / 3),
    "tokens / 3, 2,000 users": Users(2_000, 1.5, 0.5, short=1 / 3),
}


class Population:
    """The users of one rollout."""

    def __init__(self, users: Users, random: np.random.Generator) -> None:
        self._users, self._random = users, random
        activity = random.lognormal(0, users.unequal, users.number)
        self._activity = activity / activity.sum() * (1 - users.share)
        if users.heavy:
            self._activity[: users.heavy] = users.share / users.heavy
            self._activity /= self._activity.sum()
        self._places = random.random(users.number)
        self._places[: users.heavy] = 0.0
        self._own = {metric: random.standard_normal(users.number) for metric in SIGMAS}

    def ask(self, requests: int, percent: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The user of each request, and whether it goes to the new version."""
        users = self._random.choice(self._users.number, requests, p=self._activity)
        return users, self._places[users] < percent / 100

    def measure(self, users: NDArray[np.int64], new: bool, told: tuple[VersionEvidence, VersionEvidence]) -> None:
        """What is measured of the requests of these users: with their words, and without."""
        failures = int(self._random.binomial(len(users), 0.002))
        for one in told:
            one.requests, one.answers, one.failures = one.requests + len(users), one.answers + len(users), failures
        spec, heavy = self._users, users < self._users.heavy
        for metric, sigma in SIGMAS.items():
            noise = self._random.standard_normal(len(users))
            mixed = sqrt(spec.alike) * self._own[metric][users] + sqrt(1 - spec.alike) * noise
            values = MEDIANS[metric] * np.exp(sigma * mixed)
            if metric == FIRST_TOKEN:
                values *= np.where(heavy, 3.0, 1.0) * (spec.slow if new else 1.0)
            elif metric == OUTPUT_TOKENS:
                values *= np.where(heavy, 0.2, 1.0) * (spec.short if new else 1.0)
            for user, value in zip(users.tolist(), values.tolist(), strict=True):
                told[0].note(metric, value, f"{user * 2654435761 % 2**32 % USERS:02x}")
                told[1].note(metric, value)


def simulate(users: Users, seed: int, *, by_user: bool) -> str:
    """The phase in which one rollout ends."""
    random = np.random.default_rng(seed)
    population = Population(users, random)
    policy = Policy("chat", versions=(Version("v1"), Version("v2", weight=0)), rollout=PLAN)
    now = 0.0
    state = begin(policy, PLAN, None, now)
    step = StepEvidence("chat", now)
    while state.phase not in (COMPLETED, FAILED) and now < 240 * LOOK_SECONDS:
        now += LOOK_SECONDS
        asked, to_new = population.ask(int(random.poisson(RATE * LOOK_SECONDS)), state.percent)
        step.measured += LOOK_SECONDS
        for version, here in (("v1", ~to_new), ("v2", to_new)):
            more = VersionEvidence(), VersionEvidence()
            population.measure(asked[here], version == "v2", more)
            step.versions.setdefault(version, VersionEvidence()).add(more[0 if by_user else 1])
        before = state.since
        state = advance(state, PLAN, judge(step, PLAN, state.percent, {}, now), step.measured, now)
        if state.since != before:
            step = StepEvidence("chat", state.since)
    return state.phase


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rollouts_by_user", description=__doc__)
    parser.add_argument("--rollouts", type=int, default=100, help="of each row (%(default)s)")
    parser.add_argument("--from", dest="first", type=int, default=0, help="row to begin with (%(default)s)")
    options = parser.parse_args()
    print("| users; v2 equal, but for the last rows | rolled back | with keys | promoted | with keys |")
    print("|---|---|---|---|---|")
    for name, users in list(SCENARIOS.items())[options.first :]:
        ended = {
            by_user: [simulate(users, seed, by_user=by_user) for seed in range(options.rollouts)]
            for by_user in (False, True)
        }
        cells = [
            f"{100 * ended[by_user].count(phase) / options.rollouts:.0f} %"
            for phase in (FAILED, COMPLETED)
            for by_user in (False, True)
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
