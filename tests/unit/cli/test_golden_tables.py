"""Figures as people read them in a terminal, and that nothing is never all well."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.admin.fleet import FleetReport
from extproc.cli.golden_tables import NOTHING, by_model, ms, percent, printable, rate
from extproc.telemetry.golden_metrics import Counts
from extproc.telemetry.recent_traffic import TrafficWindow

WINDOW = TrafficWindow(10.0, {("a", "llama", "v1", "west"): Counts(requests=10, failures=1)})


@pytest.mark.parametrize(
    ("share", "text"),
    [(None, NOTHING), (1.0, "100 %"), (0.999999, "99.99 %"), (0.9, "90.00 %"), (0.0, "0.00 %")],
)
def test_shares(share: float | None, text: str) -> None:
    assert percent(share) == text


@given(st.integers(1, 10**7), st.integers(1, 10**7))
def test_a_single_failure_is_never_all_well(requests: int, failures: int) -> None:
    assert percent(1 - min(failures, requests) / requests) != "100 %"


@pytest.mark.parametrize(("value", "text"), [(None, NOTHING), (0.04, "0.0"), (9.94, "9.9"), (9.96, "10"), (999, "999")])
def test_times(value: float | None, text: str) -> None:
    assert ms(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, NOTHING), (0.0, NOTHING), (0.02, "0.02"), (99.94, "99.9"), (1234.5, "1234")],
)
def test_rates(value: float | None, text: str) -> None:
    assert rate(value) == text


@given(st.text())
def test_a_terminal_gets_no_commands(text: str) -> None:
    assert printable(text).isprintable()
    assert len(printable(text)) == len(text)
    assert printable("llama–3 é 中") == "llama–3 é 中"  # noqa: RUF001


def test_rows_of_the_policy_are_there_without_traffic() -> None:
    target = {"version": "v2", "pool": "", "endpoints": []}
    policy = {"models": ["llama"], "versions": [{"name": "v2", "mirror": None}], "targets": [target]}
    rows = by_model(FleetReport(WINDOW, {"policies": [policy]}, ("it",), ()))
    assert [(labels["version"], labels["gpu_pool"], metrics.success) for labels, metrics in rows] == [
        ("v1", "west", 0.9),
        ("v2", "none", None),
    ]
