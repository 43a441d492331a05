"""Panels: their place on the grid, their queries, thresholds and units."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from extproc.render.grafana.panels import DATASOURCE, WIDTH, Row, heatmap, layout, stat, time_series
from tests.unit.render.snapshots import Doc


def panel(width: int, height: int) -> Doc:
    return {"gridPos": {"w": width, "h": height}, "title": "t"}


def places(*rows: Row) -> list[tuple[int, int, int, int]]:
    found = (one["gridPos"] for one in layout(rows))
    return [(place["x"], place["y"], place["w"], place["h"]) for place in found]


def test_panels_stand_side_by_side_until_a_line_is_full() -> None:
    assert places(Row("a", [panel(12, 4), panel(12, 8), panel(8, 3)]), Row("b", [panel(24, 2)])) == [
        (0, 0, 24, 1),
        (0, 1, 12, 4),
        (12, 1, 12, 8),
        (0, 9, 8, 3),
        (0, 12, 24, 1),
        (0, 13, 24, 2),
    ]


def test_a_row_without_panels_is_a_heading() -> None:
    assert places(Row("a", []), Row("b", [])) == [(0, 0, 24, 1), (0, 1, 24, 1)]
    (heading,) = layout([Row("a", [])])
    assert (heading["type"], heading["title"], heading["collapsed"], heading["panels"]) == ("row", "a", False, [])


@given(st.lists(st.lists(st.tuples(st.integers(1, WIDTH), st.integers(1, 9)), max_size=9), max_size=4))
def test_nothing_lies_on_another(sizes: list[list[tuple[int, int]]]) -> None:
    found = layout([Row("r", [panel(*size) for size in row]) for row in sizes])
    assert [one["id"] for one in found] == list(range(1, len(found) + 1))
    for one in found:
        assert 0 <= one["gridPos"]["x"] <= WIDTH - one["gridPos"]["w"]
    for one, other in combinations((each["gridPos"] for each in found), 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert apart or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]


def test_the_panel_that_is_laid_out_is_not_changed() -> None:
    one = panel(3, 3)
    layout([Row("a", [one])])
    assert one == panel(3, 3)


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
