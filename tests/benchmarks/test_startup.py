"""Start-up is measured up to an answer, and compared within a round."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from benchmarks.startup import OURS, measure, summarize


@pytest.mark.skipif(
    "EXTPROC_TEST_BENCHMARKS" not in os.environ, reason="by make test-benchmarks: a quarter of a minute"
)
def test_a_start_ends_with_an_answer(tmp_path: Path) -> None:
    def serve(policy: Path, listen: str) -> list[str]:
        serve = [sys.executable, "-m", "extproc", "serve", "-f", str(policy), "--listen", listen]
        return [*serve, "--admin", "127.0.0.1:0"]

    ((wall, cpu),) = measure({OURS: serve}, 1, tmp_path)[OURS]
    assert wall > 0
    assert cpu > 0


def test_ratios_are_those_of_one_round() -> None:
    found = summarize({OURS: [(1.0, 0.5), (2.0, 0.5), (3.0, 0.5)], "theirs": [(2.0, 0.25), (2.0, 0.5), (2.0, 1.0)]})
    theirs = found["theirs"]
    assert (theirs.wall, theirs.wall_range, theirs.cpu) == (2000, (2000, 2000), 500)
    assert (theirs.ratio, theirs.cpu_ratio) == (1.0, 1.0)
