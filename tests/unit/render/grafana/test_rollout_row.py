"""The dashboard's row of rollouts."""

from __future__ import annotations

from extproc.render.grafana.rollout_row import rollout_row
from extproc.telemetry.rollout_gauges import NAMES


def test_there_is_a_panel_for_each_gauge() -> None:
    row = rollout_row()
    queries = [target["expr"] for panel in row.panels for target in panel["targets"]]
    assert len(queries) == len(NAMES)
    assert all(any(f"({name}{{" in query for query in queries) for name in NAMES)


def test_a_broken_guard_is_below_zero() -> None:
    (guards,) = (panel for panel in rollout_row().panels if panel["title"] == "Guards")
    assert guards["fieldConfig"]["defaults"]["min"] == -1
    assert "{{guard}}" in guards["targets"][0]["legendFormat"]
