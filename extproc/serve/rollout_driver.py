"""Drives the rollouts of a machine: measures, judges, and writes what is in force.

Weights change by the file that every process reads with its policies (``policyfile.rollout_files``), never otherwise.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Thread
from typing import IO, Any

from extproc.fetch.prometheus_query import Question
from extproc.policy.rollout_plan import COMPLETED, PROGRESSING, RolloutState
from extproc.policy.snapshot import Snapshot
from extproc.policyfile.rollout_files import RolloutFiles, describe_rollouts
from extproc.rollout.looks import TICK, RolloutLooks
from extproc.rollout.steps import reconcile
from extproc.telemetry.measured_versions import Measured, MergedEvidence

log = logging.getLogger(__name__)

_STOP_PATIENCE = 2.0
"""Seconds that ``stop`` waits for a look that is under way."""

Measure = Callable[[], Measured]
"""What each process has counted."""


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
        self._merged = MergedEvidence()
        self._said = ""
        self._looks = RolloutLooks(Question, self._say)
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
        if self._driving is None:
            self._driving = self._files.become_driver()
            if self._driving is None:
                self._say("another process drives the rollouts of these policies")
                return
            self._looks.steps = {step.policy: step for step in self._files.read_evidence()}
        measured, now = self._measure(), self._clock()
        by_name = {policy.name: policy for policy in policies}
        self._looks.begin(policies, measured.unheard, now)
        with self._files.locked():
            before = self._files.read()
            reconciled, states = reconcile(policies, before, now), []
            fresh = self._merged.fresh(measured.processes, {state.policy: state.since for state in reconciled}, now)
            for state in reconciled:
                policy = by_name.get(state.policy)
                if policy is not None:
                    state, _ = self._looks.look(policy.rollout, state, fresh.get(state.policy, {}), now)
                states.append(state)
            if tuple(states) != before:
                self._files.write(states)
        self._log_moves(before, states)
        self._files.write_evidence([step for name, step in self._looks.steps.items() if name in by_name])

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

    def _say(self, text: str, error: Exception | None = None) -> None:
        """Logs what goes on for long only once."""
        if text != self._said:
            log.warning("%s", text, exc_info=error)
            self._said = text
