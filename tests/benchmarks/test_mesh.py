"""How turns of scenarios are compared; that scenarios run is the benchmark's own business."""

from __future__ import annotations

import pytest

from benchmarks.mesh.bench import Turn, added_ratio, ratio

TURNS = {
    (name, "chat"): [Turn(number, cpu, 0, 0, p50, 0, 0) for number, cpu, p50 in turns]
    for name, turns in {
        "none": [(0, 0, 100), (1, 0, 200), (2, 0, 100)],
        "ours": [(0, 30, 130), (1, 60, 260), (2, 10, 100)],
        "theirs": [(2, 20, 100), (1, 20, 240), (0, 20, 120)],
    }.items()
}


@pytest.mark.parametrize(
    ("one", "other", "cpu", "added"),
    [
        ("ours", "theirs", 1.5, 1.5),  # round 2 tells nothing of latency: theirs added none
        ("theirs", "ours", pytest.approx(2 / 3), pytest.approx(2 / 3)),
        ("ours", "nobody", None, None),
        ("nobody", "ours", None, None),
    ],
)
def test_ratios_compare_turns_of_one_round(one: str, other: str, cpu: float | None, added: float | None) -> None:
    assert ratio(TURNS, "chat", one, other) == cpu
    assert added_ratio(TURNS, "chat", one, other, "none") == added
