"""What processes spent in a part of a load that lasts."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.mesh import load
from benchmarks.mesh.load import Workload, within
from benchmarks.mesh.upstream import start_upstream


def test_what_was_spent_is_told_between_two_samples() -> None:
    samples = [(0.0, (0.0, 5.0)), (1.0, (1.0, 5.0)), (2.0, (3.0, 6.0)), (3.0, (3.0, 7.0))]
    assert within(samples, 0.5, 1.0) == (1.5, 0.5)
    assert within(samples, 1.0, 2.0) == (2.0, 2.0)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with ExitStack() as stack:
        address = start_upstream(stack, tmp_path_factory.mktemp("upstream") / "server")
        yield int(address.rpartition(":")[2])


def test_a_turn_with_a_lead_counts_what_it_spends_itself(port: int, tmp_path: Path) -> None:
    """Time itself is what is spent here: a turn is as long as it should be, though the load is longer."""
    streams = Workload("streams", 512, rate=20, answer="streamed", tokens=20, lead=0.5)
    core = min(os.sched_getaffinity(0))
    run = load.run(streams, tmp_path, port, 0.5, core, lambda: [time.monotonic()])
    (spent,) = run.spent
    assert spent == pytest.approx(0.5, abs=0.05)
    assert (run.requests, run.errors) == (10, 0)


def test_without_a_lead_all_of_it_counts(port: int, tmp_path: Path) -> None:
    streams = Workload("streams", 512, rate=20, answer="streamed", tokens=20)
    core = min(os.sched_getaffinity(0))
    run = load.run(streams, tmp_path, port, 0.5, core, lambda: [time.monotonic()])
    assert run.spent[0] > 0.5
    assert (run.requests, run.errors) == (10, 0)
