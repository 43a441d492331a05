"""The dashboard's rows for a pipeline's services."""

from __future__ import annotations

from extproc.policy.snapshot import Snapshot
from extproc.render.grafana.dashboard import dashboard
from extproc.render.grafana.stage_rows import stage_rows


def test_a_row_for_each_service() -> None:
    rows = list(stage_rows(["preprocess", "postprocess"], "envoy"))
    assert [row.title for row in rows] == ["Stage: preprocess", "Stage: postprocess"]
    assert [panel["title"] for panel in rows[0].panels] == ["Success", "Requests", "Durations"]
    assert len(rows[0].panels[2]["targets"]) == 3


def test_they_stand_before_the_processor() -> None:
    titles = [panel["title"] for panel in dashboard(Snapshot(), ["llm"], "istio")["panels"] if panel["type"] == "row"]
    assert titles == ["Golden metrics", "Tokens", "Stage: llm", "The processor"]
