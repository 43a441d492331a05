"""What the pipeline's demo prints."""

from __future__ import annotations

import io
import json
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from rich.console import Console

from extproc.demo.checks import Check
from extproc.demo.pipeline.checks import verify
from extproc.demo.pipeline.evidence import Evidence
from extproc.demo.pipeline.report import Report, render, summarize
from extproc.demo.pipeline.stages import FEATURES, HOSTED, LLM, STAGES
from extproc.demo.report import print_table
from tests.unit.demo.pipeline.scene import good_run


def report(evidence: Evidence) -> Report:
    return summarize(evidence, verify(evidence), seed=7, seconds=4.0)


def printed(result: Report, encoding: str = "utf-8", **console: Any) -> str:
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding, write_through=True) as file:
        print_table(lambda width, ascii_only: render(result, width, ascii_only), Console(file=file, **console))
        return raw.getvalue().decode(encoding)


def test_golden_metrics_of_each_service() -> None:
    result = report(good_run())
    assert [row.service for row in result.rows] == [*STAGES]
    features = next(row for row in result.rows if row.service == FEATURES)
    assert (features.requests, features.success, features.rps) == (40, 1.0, 10.0)
    assert features.p50_ms == features.p99_ms == features.alone_ms == 4.0
    assert sum(row.requests for row in result.rows if row.service in (LLM, HOSTED)) == 28


def test_a_failed_span_is_no_success() -> None:
    evidence = good_run()
    broken = [replace(span, failed=span.service == FEATURES) for span in evidence.spans]
    rows = {row.service: row for row in report(replace(evidence, spans=broken)).rows}
    assert (rows[FEATURES].success, rows[LLM].success) == (0.0, 1.0)


def test_the_time_that_services_take_alone_is_all_that_the_client_waits() -> None:
    result = report(good_run())
    total = sum((row.alone_ms or 0) * row.requests for row in result.rows)
    assert 95 < total / result.requests <= 100


def test_json_is_the_same_report() -> None:
    plain = json.loads(msgspec.json.encode(report(good_run())))
    assert (plain["ok"], plain["seed"], plain["requests"]) == (True, 7, 40)
    assert [row["service"] for row in plain["rows"]] == [*STAGES]
    assert [bar["depth"] for bar in plain["trace"]["bars"][:3]] == [0, 1, 2]


@pytest.mark.parametrize("width", [80, 100, 160])
def test_no_line_is_too_wide(width: int) -> None:
    text = printed(report(good_run()), force_terminal=True, width=width, color_system=None)
    assert max(map(len, text.splitlines())) <= width
    for name in STAGES:
        assert any(line.startswith(f"{name} ") and "100.00%" in line for line in text.splitlines())


def test_one_chat_is_drawn_from_the_client_to_the_model() -> None:
    text = printed(report(good_run()))
    drawn = text.partition("One of the chats")[2].splitlines()[1:16]
    assert drawn[0].startswith("client ask llama-3-8b")
    assert drawn[0].endswith("100.0 ms")
    assert any(line.startswith("              llm ") for line in drawn)
    assert "All 8 checks hold (40 requests in 4.0 s, seed 7)." in text
    assert "\x1b" not in text


def test_ascii_where_nothing_else_can_be_shown() -> None:
    text = printed(report(good_run()), encoding="ascii")
    assert "client -> gateway" in text
    assert "ok no errors" in text


def test_nothing_at_all_can_be_shown_as_well() -> None:
    evidence = good_run()
    result = report(replace(evidence, answers=[], spans=[]))
    assert result.trace is None
    assert "8 of 8 checks failed" in printed(replace(result, checks=[Check(c.name, False, "") for c in result.checks]))
