"""The benchmark of the collector: its pages are pages, and a short run of the real thing."""

from __future__ import annotations

import os

import pytest
from rich.console import Console

from benchmarks.collector import Row, measure, table
from benchmarks.page_servers import page
from extproc.policy.metrics_page import PageLoad, read_page


@pytest.mark.parametrize("size", [20_000, 100_000])
def test_a_page_is_one_of_vllm_of_that_size(size: int) -> None:
    found = page(size, 3, 7)
    assert read_page("vllm", found) == PageLoad(3, 7, 0.37, None, 16)
    assert len(found) == pytest.approx(size, rel=0.05)


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    Console(width=120).print(table([Row(100, 50_000, 0.0812, 81.2, 998.0, 2.0, 61.2, 104.5)]))
    cells = [cell.strip() for cell in capsys.readouterr().out.splitlines()[3].split("│")]
    assert cells[1:-1] == ["100", "50 KB", "8.1 %", "81 us", "998", "2", "62 ms", "105 ms"]


@pytest.mark.skipif(not os.environ.get("EXTPROC_TEST_BENCHMARKS"), reason="longer: make test-benchmarks")
def test_a_short_run() -> None:
    row = measure(20, 20_000, 1.0, servers=2)
    assert row.failed == 0
    assert row.pages_per_second > 50
    assert 0 < row.core < 1
