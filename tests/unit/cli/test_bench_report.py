"""The report of a measurement: percentiles of what was answered, outcomes of all, in JSON and as a table."""

from __future__ import annotations

import pytest
from rich.console import Console

from extproc.cli.bench_report import report_of, summary
from extproc.cli.load_generator import Sample

ADDRESS = "http://istio-ingressgateway.istio-system:80"
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
    console = Console(width=80, highlight=False)
    with console.capture() as captured:
        console.print(report_of({ADDRESS: summary(samples, 1)}))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_each_line_is_whole_in_80_columns() -> None:
    slow = [Sample("200", 12.3456, 123.4567, 0.002)] * 10_000
    heading, columns, first, whole, routing = lines(*slow)
    assert heading == f"{ADDRESS}  10000 requests, 10000.0 per second"
    assert columns.split() == ["p50", "ms", "p90", "ms", "p99", "ms", "max", "ms"]
    assert first.split() == ["first", "byte", *["12345.60"] * 4]
    assert whole.split() == ["whole", "answer", *["123456.70"] * 4]
    assert routing.split() == ["routing", *["2.00"] * 4]


def test_failures_have_a_line() -> None:
    assert lines(*ANSWERED, *FAILED)[1] == "  failed: 1 x 503, 1 x TimeoutError"


def test_without_server_timing_there_is_no_row_for_routing() -> None:
    assert [row.split()[0] for row in lines(Sample("200", 0.001, 0.002, None))] == [ADDRESS, "p50", "first", "whole"]


def test_where_all_failed_there_are_no_times() -> None:
    assert len(lines(*FAILED)) == 2
