"""The whole pipeline with the real Envoy: every request one trace, its page, and nothing that stays."""

from __future__ import annotations

import http.client
import json
import os
import signal
from urllib.parse import urlsplit

import pytest

from extproc.demo.pipeline.stages import STAGES
from tests.demo.test_demo_with_envoy import Run, Start, run
from tests.waiting import until

__all__ = ["run"]
pytestmark = [
    pytest.mark.envoy,
    pytest.mark.skipif("EXTPROC_TEST_PIPELINE" not in os.environ, reason="by make test-pipeline: half a minute"),
]

FEW = 24
PICTURE = {
    ("client", "gateway"),
    ("gateway", "preprocess"),
    *(("preprocess", name) for name in ("feature-store", "model-router", "postprocess")),
    *(("model-router", name) for name in ("llm", "classifier", "hosted", "extproc")),
}
"""Who calls whom."""
ON_PAGE = {"hosted": "hosted/2024-07-18"}
"""What tells nothing of itself has the name that Envoy has for it."""


def edges_of(page: str) -> set[tuple[str, str]]:
    """Those that the processor has heard of, by way of the demo's collector."""
    connection = http.client.HTTPConnection(urlsplit(page).netloc, timeout=10)
    try:
        connection.request("GET", "/traces")
        return {(edge["caller"], edge["callee"]) for edge in json.load(connection.getresponse())["edges"]}
    finally:
        connection.close()


def test_every_request_is_one_trace_and_nothing_stays(run: Start) -> None:
    demo: Run = run("pipeline", "--json", "--keep", "--requests", str(FEW), "--seed", "7")
    page = demo.wait_for("  page").split()[1]
    assert demo.left(), "Envoy and the processor still run"
    until(lambda: edges_of(page) == {(caller, ON_PAGE.get(callee, callee)) for caller, callee in PICTURE})
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
