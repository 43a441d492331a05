"""The report: its numbers, and that it can be read on a terminal and where there is none."""

from __future__ import annotations

import io
import json

import msgspec
import pytest
from msgspec.structs import replace
from rich.console import Console

from extproc.demo.checks import Check, verify
from extproc.demo.evidence import Evidence
from extproc.demo.report import Report, show, summarize
from tests.unit.demo.scene import IRIS, TARGETS, V2, good_run


def report(evidence: Evidence) -> Report:
    return summarize(evidence, verify(evidence), seed=7, seconds=4.0)


def printed(result: Report, encoding: str = "utf-8", **console: object) -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    show(result, Console(file=file, **console))  # type: ignore[arg-type]
    file.flush()
    return raw.getvalue().decode(encoding)


def test_rows_count_what_the_client_saw() -> None:
    evidence = good_run()
    result = report(evidence)
    assert result.ok
    assert [(r.model, r.version, r.gpu_pool) for r in result.rows] == [(a.model, a.version, a.pool) for a in TARGETS]
    v1, v2, iris = result.rows
    assert v1.requests + v2.requests + iris.requests == sum(a.status == 200 for a in evidence.answers)
    assert v1.users + v2.users == 150
    assert v1.share + v2.share == pytest.approx(1.0)
    assert (v1.weight, v2.weight, iris.weight) == (0.9, 0.1, 1.0)
    assert v1.rps == v1.requests / 4.0
    assert v1.success == 1.0
    times = sorted(a.seconds * 1000 for a in evidence.answers if evidence.target_of(a) == V2)
    assert v2.p50_ms is not None
    assert v2.p95_ms is not None
    assert v2.p99_ms is not None
    assert times[0] <= v2.p50_ms < v2.p95_ms < v2.p99_ms <= times[-1]
    assert v2.ttft_p50_ms is not None
    assert v2.ttft_p50_ms < v2.p50_ms
    assert iris.ttft_p50_ms is None, "nothing is streamed there"


def test_failures_show_in_their_row_and_lost_answers_in_one_of_their_own() -> None:
    evidence = good_run()
    at = next(i for i, a in enumerate(evidence.answers) if evidence.target_of(a) == IRIS)
    broken = [*evidence.answers]
    broken[at] = replace(broken[at], status=500)
    iris = report(replace(evidence, answers=broken)).rows[2]
    assert iris.success == 1 - 1 / iris.requests
    broken[at] = replace(broken[at], status=0, headers={}, error="gone")
    lost = report(replace(evidence, answers=broken)).rows[3]
    assert (lost.model, lost.version, lost.requests, lost.success, lost.p50_ms) == ("iris", "?", 1, 0.0, None)


def test_json_is_the_same_report() -> None:
    result = report(good_run())
    plain = json.loads(msgspec.json.encode(result))
    assert plain["ok"] is True
    assert plain["seed"] == 7
    assert len(plain["rows"]) == 3
    assert {c["name"] for c in plain["checks"]} == {c.name for c in result.checks}


@pytest.mark.parametrize("width", [80, 100, 160])
@pytest.mark.parametrize("requests", [20, 400, 9000])
def test_no_line_is_too_wide_and_no_number_is_cut(width: int, requests: int) -> None:
    result = report(good_run(requests))
    text = printed(result, force_terminal=True, width=width, color_system=None)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for row in result.rows:
        [line] = [line for line in text.splitlines() if line.startswith(f"{row.model} ") and row.gpu_pool in line]
        assert str(row.requests) in line.split()
        assert f"{100 * row.share:.1f}/{row.weight:.0%}" in line.split()
        assert f"{row.p99_ms:.0f}" in line.split()


def test_plain_where_there_is_no_terminal() -> None:
    text = printed(report(good_run()))
    assert "\x1b" not in text
    assert "✓ no errors" in text
    assert "All 12 checks hold (400 requests in 4.0 s, seed 7)." in text
    assert max(map(len, text.splitlines())) <= 100
    assert not [line for line in text.splitlines() if line != line.rstrip()]


def test_ascii_where_nothing_else_can_be_shown() -> None:
    text = printed(report(good_run()), encoding="ascii")
    assert "ok no errors" in text


def test_a_failed_check_stands_out_and_tells_the_seed() -> None:
    result = report(good_run())
    result = replace(result, checks=[*result.checks, Check("planted", False, "one of [b]these[/b]")])
    text = printed(result)
    assert "✗ planted" in text
    assert "one of [b]these[/b]" in text
    assert "1 of 13 checks failed (400 requests in 4.0 s, seed 7)." in text
