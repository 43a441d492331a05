"""Kills drivers of a rollout at any moment, and holds what they leave in their files. Run by ``test_rollout_driver``.

`python -m tests.unit.serve.killed_drivers FOLDER ROUNDS SEED` prints how many drivers left each phase, as JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

from extproc.policy.rollout_plan import COMPLETED, FAILED, PAUSED, PROGRESSING, ROLLING_BACK, Move, Phase, RolloutState
from extproc.policyfile import loader
from extproc.policyfile.rollout_files import RolloutFiles
from extproc.rollout import guards, steps  # noqa: F401 - guards are loaded once, and not by each driver
from extproc.rollout.evidence import VersionEvidence
from extproc.serve.rollout_driver import RolloutDriver
from extproc.telemetry.measured_versions import Measured, ProcessEvidence

POLICY = """\
apiVersion: ai.istio.io/v1alpha1
kind: ModelInferencePolicy
metadata: {name: chat}
spec:
  versions: [{name: v1, weight: 3}, {name: v2, weight: 0}]
  rollout: {to: v2, interval: 1ms, minRequests: 50, guards: [{metric: errors, max: 1%}]}
"""


def drive(file: Path, failing: bool, told: int) -> None:
    """Looks again and again, until it is killed; writes a byte to ``told`` after each look."""
    counts, clock = VersionEvidence(), iter(range(10**9))

    def measure() -> Measured:
        counts.add(VersionEvidence(100, 30 if failing else 0, 100))
        return Measured([ProcessEvidence(str(os.getpid()), {"chat": {"v2": counts.copy()}}, age=0.0)])

    base = read(RolloutFiles([file]))
    start = base.since if base else 0.0
    driver = RolloutDriver(
        [file], lambda: loader.load([file]).snapshot, measure, lambda: None, lambda: start + 2.0 * next(clock)
    )
    while True:
        driver.tick()
        os.write(told, b".")


def read(files: RolloutFiles) -> RolloutState | None:
    """What is in force. Raises ``ValueError`` where a driver has left half a file."""
    return next(iter(files.read()), None)


def hold(file: Path, before: RolloutState | None, after: RolloutState | None) -> None:
    """Moves were added one by one, each a step up or back to nothing, and the weights are those of the last."""
    if after is None:
        assert before is None
        return
    plan = loader.load([file]).snapshot.policies[0].rollout
    assert plan is not None
    kept = before.moves if before is not None else ()
    assert any(kept[at:] == after.moves[: len(kept) - at] for at in range(len(kept) + 1))
    for one, two in pairwise(after.moves):
        allowed = {one.percent, 0, steps.next_step(plan, one.percent)}
        assert two.percent in allowed or "command" in two.reason, (one, two)
    assert (after.phase, after.percent) == (after.moves[-1].phase, after.moves[-1].percent)
    assert (after.percent == 0) == (after.phase in (ROLLING_BACK, FAILED))
    served = {version.name: version.weight for version in loader.load([file]).snapshot.policies[0].versions}
    assert served["v2"] * 100 == after.percent * sum(served.values())


STATES: tuple[tuple[Phase, int], ...] = (
    *((PROGRESSING, 1), (PROGRESSING, 50), (PAUSED, 25)),
    *((ROLLING_BACK, 0), (FAILED, 0), (COMPLETED, 100)),
)


def main(folder: Path, rounds: int, seed: int) -> None:
    """So many drivers are killed in each state."""
    draw, file = random.Random(seed), folder / "policy.yaml"
    file.write_text(POLICY)
    files = RolloutFiles([file])
    left: Counter[str] = Counter()
    for phase, percent in (*STATES, *STATES) * rounds:
        before = RolloutState("chat", "v2", phase, percent, 9.0, "", (Move(9.0, phase, percent, "by command"),))
        with files.locked():
            files.write([before])
        hears, tells = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                drive(file, draw.random() < 0.4, tells)
            finally:
                os._exit(1)
        os.close(tells)
        for _ in range(draw.randrange(8)):
            assert os.read(hears, 1), "a driver could not look"
        for _ in range(draw.randrange(20_000)):  # a moment later, of any length
            os.getppid()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(hears)
        after = read(files)
        hold(file, before, after)
        left[after.phase if after else ""] += 1
    print(json.dumps(left))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
