"""Drives the rollouts of a machine: measures, judges, and writes what is in force.

Weights change by the file that every process reads with its policies (``policyfile.rollout_files``), never otherwise.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from math import inf
from pathlib import Path
from threading import Event, Thread
from typing import IO, Any, NamedTuple

from extproc.policy.rollout_plan import COMPLETED, MEASURED, PROGRESSING, RolloutState
from extproc.policy.snapshot import Policy, Snapshot
from extproc.policyfile.rollout_files import RolloutFiles, describe_rollouts
from extproc.rollout.evidence import EvidenceByVersion, StepEvidence, VersionEvidence
from extproc.rollout.steps import WAITING, Verdict, advance, reconcile
from extproc.serve.prometheus_query import Question
from extproc.telemetry.measured_versions import ProcessEvidence, new_evidence

log = logging.getLogger(__name__)

TICK = 1.0
"""Seconds between two looks."""
QUERIES_PER_INTERVAL = 10
"""How often a query is asked within a step's shortest time; not more than once in a tick."""

_STOP_PATIENCE = 2.0
"""Seconds that ``stop`` waits for a look that is under way."""

Measure = Callable[[], Sequence[ProcessEvidence] | None]
"""What each process has counted; None where one of them can't be heard."""


class _OpenQuestion(NamedTuple):
    question: Question
    policy: str
    guard: str
    since: float
    """When the step began for which it was asked."""


class RolloutDriver:
    """One for each set of processes that serve the same policy files; of several, one drives."""

    def __init__(
        self,
        paths: Sequence[Path],
        snapshot: Callable[[], Snapshot],
        measure: Measure,
        on_move: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``on_move`` has the processes read the files at once. ``clock``: Unix time."""
        self._files = RolloutFiles(paths)
        self._snapshot, self._measure, self._on_move, self._clock = snapshot, measure, on_move, clock
        self._driving: IO[bytes] | None = None
        self._seen: dict[str, ProcessEvidence] = {}
        self._steps: dict[str, StepEvidence] = {}
        self._asked: dict[tuple[str, str], float] = {}
        self._open: _OpenQuestion | None = None
        self._last: float | None = None
        self._said = ""
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="rollouts", daemon=True)

    def start(self) -> None:
        """Drives in a thread of its own until ``stop``."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; another process may drive from now on: or, where the thread is slow, once this process has
        ended.
        """
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_PATIENCE)
        if self._driving is not None and not self._thread.is_alive():
            self._driving.close()
            self._driving = None

    def status(self) -> list[dict[str, Any]]:
        """Every rollout as plain data, whoever drives it."""
        return describe_rollouts(self._files, self._snapshot())

    def tick(self) -> None:
        """One look. Raises ``OSError`` where the files can't be written, ``ValueError`` where they can't be read."""
        policies = self._snapshot().policies
        if not any(policy.rollout for policy in policies) and not self._files.state.exists():
            return
        measured = self._measure()
        fresh = self._fresh(measured or ())
        if self._driving is None:
            self._driving = self._files.become_driver()
            if self._driving is None:
                self._say("another process drives the rollouts of these policies")
                return
            self._steps = {step.policy: step for step in self._files.read_evidence()}
        now = self._clock()
        passed, self._last = now - (self._last if self._last is not None else now), now
        passed = max(0.0, min(passed, 2 * TICK)) if measured is not None else 0.0
        by_name = {policy.name: policy for policy in policies}
        queried = self._answer()
        self._ask(policies, now)
        with self._files.locked():
            before = self._files.read()
            states = []
            for state in reconcile(policies, before, now):
                policy = by_name.get(state.policy)
                if policy is not None:
                    self._add(state, fresh.get(state.policy, {}), passed)
                    state = self._look(policy, state, queried.get((policy.name, state.since), {}), measured is not None)
                states.append(state)
            if tuple(states) != before:
                self._files.write(states)
        self._log_moves(before, states)
        self._files.write_evidence([step for name, step in self._steps.items() if name in by_name])

    def _fresh(self, measured: Sequence[ProcessEvidence]) -> dict[str, EvidenceByVersion]:
        """What was counted since the last look, in all processes together, by policy."""
        found: dict[str, EvidenceByVersion] = {}
        for process in measured:
            for policy, versions in new_evidence(process, self._seen.get(process.process)).items():
                for version, counts in versions.items():
                    found.setdefault(policy, {}).setdefault(version, VersionEvidence()).add(counts)
        if measured:
            self._seen = {process.process: process for process in measured}
        return found

    def _add(self, state: RolloutState, fresh: EvidenceByVersion, passed: float) -> None:
        step = self._steps.get(state.policy)
        if step is None or step.since != state.since:
            step = self._steps[state.policy] = StepEvidence(state.policy, state.since)
        if state.phase not in MEASURED:
            return
        step.measured += passed
        for version, counts in fresh.items():
            step.versions.setdefault(version, VersionEvidence()).add(counts)

    def _look(
        self, policy: Policy, state: RolloutState, queried: Mapping[str, float | str], heard: bool
    ) -> RolloutState:
        from extproc.rollout.guards import judge  # numpy takes a tenth of a second to load

        plan, now, step = policy.rollout, self._clock(), self._steps[state.policy]
        if plan is None:
            return state
        verdict = Verdict(WAITING, "a processor can't be heard")
        if heard and state.phase in MEASURED:
            verdict = judge(step, plan, state.percent, queried, now)
        return advance(state, plan, verdict, step.measured, now)

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
            question = Question(policy.rollout.prometheus, guard.promql)
            self._open = _OpenQuestion(question, policy.name, guard.label, policy.rollout_state.since)

    def _log_moves(self, before: Sequence[RolloutState], states: Sequence[RolloutState]) -> None:
        known = {state.policy: state for state in before}
        moved = [state for state in states if state != known.get(state.policy)]
        for state in moved:
            log.log(
                logging.INFO if state.phase in (PROGRESSING, COMPLETED) else logging.WARNING,
                "rollout of %s to %s: %s, %d %%: %s",
                *(state.policy, state.to, state.phase, state.percent, state.moves[-1].reason),
            )
        if moved or len(states) < len(before):
            self._on_move()

    def _run(self) -> None:
        while not self._stopping.wait(TICK):
            try:
                self.tick()
            except (OSError, ValueError) as error:
                self._say(f"rollouts stay as they are: {error}")
            except Exception:  # a bug must not stop what can roll back
                log.exception("rollouts could not be looked at")

    def _say(self, text: str) -> None:
        """Logs what goes on for long only once."""
        if text != self._said:
            log.warning("%s", text)
            self._said = text
