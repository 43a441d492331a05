"""Panels: their queries, thresholds and units."""

from __future__ import annotations

from extproc.render.grafana.panels import DATASOURCE, heatmap, stat, time_series


def test_lines() -> None:
    found = time_series("T", "text", "s", ("up", "{{a}}"), ("down", ""), width=8)
    assert (found["type"], found["title"], found["description"]) == ("timeseries", "T", "text")
    assert [(one["refId"], one["expr"], one["legendFormat"]) for one in found["targets"]] == [
        ("A", "up", "{{a}}"),
        ("B", "down", ""),
    ]
    assert all(one["datasource"] == DATASOURCE for one in (found, *found["targets"]))
    defaults = found["fieldConfig"]["defaults"]
    assert (defaults["unit"], defaults["min"], "max" in defaults) == ("s", 0, False)
    assert defaults["thresholds"]["steps"] == [{"color": "green", "value": None}]
    assert defaults["custom"]["thresholdsStyle"] == {"mode": "off"}


def test_lines_with_a_top_and_a_limit() -> None:
    defaults = time_series("T", "", "percentunit", ("up", ""), max_value=0, limit=0.5)["fieldConfig"]["defaults"]
    assert defaults["max"] == 0
    assert defaults["thresholds"]["steps"][1] == {"color": "red", "value": 0.5}
    assert defaults["custom"]["thresholdsStyle"] == {"mode": "line"}


def test_one_number() -> None:
    found = stat("T", "text", "s", "up", ("red", None), ("green", 0.9))
    assert (found["type"], found["gridPos"]) == ("stat", {"w": 4, "h": 4})
    defaults = found["fieldConfig"]["defaults"]
    assert defaults["thresholds"]["steps"] == [{"color": "red", "value": None}, {"color": "green", "value": 0.9}]
    assert defaults["noValue"] == "no traffic"


def test_a_heatmap_is_of_classic_buckets() -> None:
    found = heatmap("T", "text", "buckets")
    (target,) = found["targets"]
    assert (target["format"], target["legendFormat"], target["expr"]) == ("heatmap", "{{le}}", "buckets")
    assert found["options"]["calculate"] is False
