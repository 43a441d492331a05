"""Looks at rollouts: what is measured in the present step of each, its verdict, and the state that follows.

Whoever drives rollouts brings what was counted, the time and a way to ask queries, and keeps the states.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import NamedTuple, Protocol

from extproc.policy.rollout_plan import MEASURED, PROGRESSING, RolloutPlan, RolloutState
from extproc.policy.snapshot import Policy
from extproc.rollout.evidence import EvidenceByVersion, StepEvidence, VersionEvidence
from extproc.rollout.steps import FAILING, WAITING, Verdict, advance

TICK = 1.0
"""Seconds between two looks."""
QUERIES_PER_INTERVAL = 10
"""How often a query is asked within a step's shortest time; not more than once in a look."""


class Question(Protocol):
    """A query that was asked, and may be answered later."""

    answered: bool
    value: float | None
    problem: str
    """Why there is no value."""


class Say(Protocol):
    """Logs a problem."""

    def __call__(self, text: str, error: Exception | None = None) -> None:
        """``error``: what it comes from, to be logged with its traceback."""


class _OpenQuestion(NamedTuple):
    question: Question
    policy: str
    guard: str
    since: float
    """When the step began for which it was asked."""


class RolloutLooks:
    """What one driver remembers from one look to the next."""

    def __init__(self, ask: Callable[[str, str], Question], say: Say) -> None:
        """``ask(base, query)`` asks a Prometheus."""
        self.steps: dict[str, StepEvidence] = {}
        """What was measured, by policy."""
        self._ask_query, self._say = ask, say
        self._asked: dict[tuple[str, str], float] = {}
        self._open: _OpenQuestion | None = None
        self._last: float | None = None
        self._passed = 0.0
        self._unheard = ""
        self._queried: dict[tuple[str, float], dict[str, float | str]] = {}
        self._faults: dict[str, str] = {}
        self._known_faults: dict[str, str] = {}

    def begin(self, policies: Sequence[Policy], unheard: str, now: float) -> None:
        """A look at all rollouts begins. ``unheard``: which processors can't be heard, and why; empty: all are heard.
        ``now``: Unix time.
        """
        self._known_faults, self._faults = self._faults, {}
        passed, self._last = now - (self._last if self._last is not None else now), now
        self._passed = 0.0 if unheard else max(0.0, min(passed, 2 * TICK))
        self._unheard = unheard
        self._queried = self._answer()
        self._ask(policies, now)

    def look(
        self, plan: RolloutPlan | None, state: RolloutState, fresh: EvidenceByVersion, now: float
    ) -> tuple[RolloutState, Verdict]:
        """The state that follows, the same object where nothing changes, and what the guards say. ``fresh``: what was
        counted since the last look, by those that are heard. Where they show that a guard is broken, it is, whatever
        the others have counted; for everything else all are waited for. Raises nothing.
        """
        try:
            return self._look(plan, state, fresh, now)
        except Exception as error:  # a bug that one policy meets must not stop the rollbacks of others
            return state, Verdict(WAITING, self.fail(state.policy, error))

    def fail(self, policy: str, error: Exception) -> str:
        """Notes, and logs once, that the look at a policy's rollout has failed; what there is to say of it."""
        text = self._faults[policy] = f"it could not be looked at: {type(error).__name__}: {error}"
        if self._known_faults.get(policy) != text:
            self._say(f"the rollout of {policy} stays as it is: {text}", error)
        if policy in self.steps:
            self.steps[policy].fault = text
        return text

    def _look(
        self, plan: RolloutPlan | None, state: RolloutState, fresh: EvidenceByVersion, now: float
    ) -> tuple[RolloutState, Verdict]:
        step = self._add(state, fresh)
        verdict = Verdict(WAITING, self._unheard)
        if plan is None:
            return state, verdict
        if state.phase in MEASURED:
            from extproc.rollout.guards import judge  # numpy takes a tenth of a second to load

            queried: Mapping[str, float | str] = self._queried.get((state.policy, state.since), {})
            judged = judge(step, plan, state.percent, queried, now)
            if not self._unheard:
                verdict = judged
            elif judged.word == FAILING:
                verdict = Verdict(FAILING, f"{judged.reason}; {self._unheard}")
        return advance(state, plan, verdict, step.measured, now), verdict

    def _add(self, state: RolloutState, fresh: EvidenceByVersion) -> StepEvidence:
        step = self.steps.get(state.policy)
        if step is None or step.since != state.since:
            step = self.steps[state.policy] = StepEvidence(state.policy, state.since)
        step.fault = ""
        if state.phase not in MEASURED:
            return step
        step.measured += self._passed
        for version, counts in fresh.items():
            step.versions.setdefault(version, VersionEvidence()).add(counts)
        return step

    def _answer(self) -> dict[tuple[str, float], dict[str, float | str]]:
        """By policy and begin of the step for which it was asked: what the query gives, by guard; or why it gives
        nothing.
        """
        if self._open is None or not self._open.question.answered:
            return {}
        (question, policy, guard, since), self._open = self._open, None
        if question.problem:
            self._say(f"the guard {guard} of {policy} has no value: {question.problem}")
        return {(policy, since): {guard: question.problem if question.value is None else question.value}}

    def _ask(self, policies: Sequence[Policy], now: float) -> None:
        """Asks the query that is due for longest. Only those of rollouts that make progress are asked, and one at a
        time: an answer may take seconds.
        """
        queries = [
            (self._asked.get((policy.name, guard.label), 0.0) + plan.interval / QUERIES_PER_INTERVAL, policy, guard)
            for policy in policies
            if (plan := policy.rollout) and policy.rollout_state and policy.rollout_state.phase == PROGRESSING
            for guard in plan.guards
            if guard.promql
        ]
        due, policy, guard = min(queries, key=lambda query: query[0], default=(inf, None, None))
        if self._open is not None or due > now or policy is None or guard is None:
            return
        if policy.rollout is not None and policy.rollout_state is not None:
            self._asked[policy.name, guard.label] = now
            question = self._ask_query(policy.rollout.prometheus, guard.promql)
            self._open = _OpenQuestion(question, policy.name, guard.label, policy.rollout_state.since)
