"""The report of a measurement: percentiles of what was answered, outcomes of all, in JSON and as a table."""

from __future__ import annotations

import pytest
from rich.console import Console

from extproc.cli.bench_report import summary, table
from extproc.cli.load_generator import Sample

ANSWERED = [Sample("200", n / 1000, n / 500, 0.002) for n in range(1, 101)]
FAILED = [Sample("503", 9, 9, 9), Sample("TimeoutError", 9, 9, None)]


def test_summary() -> None:
    found = summary([*ANSWERED, *FAILED], 2)
    assert found["requests"] == 102
    assert found["per_second"] == 51
    assert found["outcomes"] == {"200": 100, "503": 1, "TimeoutError": 1}
    assert found["first_byte_ms"] == {"p50": 50.5, "p90": 90.1, "p99": 99.01, "max": 100.0}
    assert found["total_ms"]["max"] == 200.0
    assert found["route_ms"]["p99"] == found["route_ms"]["max"] == 2.0


def test_a_single_request_is_every_percentile() -> None:
    assert summary([Sample("200", 0.001, 0.002, None)], 1)["total_ms"] == dict.fromkeys(("p50", "p90", "p99", "max"), 2)


@pytest.mark.parametrize("samples", [[], FAILED])
def test_without_answers_there_are_no_percentiles(samples: list[Sample]) -> None:
    found = summary(samples, 1)
    assert (found["first_byte_ms"], found["total_ms"], found["route_ms"]) == (None, None, None)
    assert found["requests"] == len(samples)


def lines(*samples: Sample) -> list[str]:
    console = Console(width=120, highlight=False)
    with console.capture() as captured:
        console.print(table({"http://a": summary(samples, 1)}))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_the_address_stands_once_and_failures_have_a_row() -> None:
    rows = lines(*ANSWERED, *FAILED)
    assert [row.split()[0] for row in rows] == ["address", "http://a", "whole", "routing", "failed"]
    assert rows[1].split() == ["http://a", "first", "byte", "50.50", "90.10", "99.01", "100.00", "102", "102.0"]
    assert "1 x 503, 1 x TimeoutError" in rows[-1]


def test_without_server_timing_there_is_no_row_for_routing() -> None:
    rows = lines(Sample("200", 0.001, 0.002, None))
    assert len(rows) == 3
    assert not any("routing" in row or "failed" in row for row in rows)


def test_where_all_failed_the_row_of_failures_has_the_address() -> None:
    assert [row.split()[:2] for row in lines(*FAILED)][1] == ["http://a", "failed"]
