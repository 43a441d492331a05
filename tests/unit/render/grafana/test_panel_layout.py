"""Panels on Grafana's grid: side by side, and none on another."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from extproc.render.grafana.panel_layout import WIDTH, Row, layout
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
