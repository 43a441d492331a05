"""The whole pipeline with the real Envoy: every request one trace, its page, and nothing that stays."""

from __future__ import annotations

import json
import signal

import pytest

from extproc.demo.pipeline.stages import STAGES
from tests.demo.test_demo_with_envoy import Run, Start, run

__all__ = ["run"]
pytestmark = pytest.mark.envoy

FEW = 24
PICTURE = {
    ("client", "gateway"),
    ("gateway", "preprocess"),
    *(("preprocess", name) for name in ("feature-store", "model-router", "postprocess")),
    *(("model-router", name) for name in ("llm", "classifier", "hosted", "extproc")),
}
"""Who calls whom."""


def test_every_request_is_one_trace_and_nothing_stays(run: Start) -> None:
    demo: Run = run("pipeline", "--json", "--keep", "--requests", str(FEW), "--seed", "7")
    demo.wait_for("  page")
    assert demo.left(), "Envoy and the processor still run"
    demo.interrupt_group(signal.SIGINT)
    status, out, err = demo.ended()
    assert out, err
    report = json.loads(out)
    assert [c for c in report["checks"] if not c["ok"]] == []
    assert (report["ok"], report["seed"], report["requests"]) == (True, 7, FEW)
    assert [row["service"] for row in report["rows"]] == [*STAGES]
    assert all(row["success"] == 1 for row in report["rows"])
    assert {(edge["caller"], edge["callee"]) for edge in report["edges"]} == PICTURE
    assert status == 0
    demo.assert_nothing_left()
