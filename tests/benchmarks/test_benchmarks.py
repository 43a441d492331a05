"""The benchmarks run and say what they measured. How long anything takes is no test's business."""

from __future__ import annotations

import json

import pytest

from benchmarks import picks
from benchmarks.__main__ import main
from benchmarks.apis import extra_memory, image_body
from benchmarks.measure import measure
from benchmarks.requests import chat_body
from extproc.headers import Headers


def test_every_case_is_measured_and_reported(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--json", "--rounds", "2", "--slice-ms", "0"])
    out, err = capsys.readouterr()
    report = json.loads(out)
    names = [case["case"] for case in report["cases"]]
    assert len(set(names)) == len(names) >= 14
    assert all(0 < case["lower"] <= case["median"] <= case["upper"] for case in report["cases"])
    assert all(case["ratio"] == 1 for case in report["cases"] if case["case"] == report["target"]["case"])
    assert "Target, a 4 KB chat request" in err
    assert err.count("Target, ") == 4 + len(picks.BELOW_US) + sum("below" in case for case in report["cases"])


@pytest.mark.parametrize("size", [512, 4096, 220 << 10])
def test_a_body_has_the_size_it_says(size: int) -> None:
    body = chat_body(size)
    assert len(body) == size
    assert json.loads(body)["model"] == "llama-3-8b"


@pytest.mark.parametrize("first", [True, False])
def test_reading_takes_no_more_memory_than_the_body(first: bool) -> None:
    body = image_body(first=first)
    assert 4_900_000 < len(body) < 5_100_000
    assert json.loads(body)["model"] == "llama-3-8b"
    assert extra_memory(body, Headers()) < 100_000


def test_cases_take_turns() -> None:
    order: list[str] = []
    calls = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    timings = measure(calls, "a", rounds=4, slice_seconds=0)
    turns = order[-8:]
    assert [sorted(turns[at : at + 2]) for at in range(0, 8, 2)] == [["a", "b"]] * 4
    assert timings["a"].ratio == 1
