"""Where panels stand: rows of a dashboard, on Grafana's grid of 24 columns (``gridPos``)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from extproc.render.document import Doc

WIDTH = 24
"""Columns of the grid."""


class Row(msgspec.Struct, frozen=True):
    """A row: its title, and its panels from left to right."""

    title: str
    panels: Sequence[Doc]


def layout(rows: Sequence[Row]) -> list[Doc]:
    """The rows and their panels with ids and grid positions; panels that do not fit go to a new line."""
    found: list[Doc] = []
    x = y = height = 0
    for row in rows:
        y += height
        heading = {"type": "row", "title": row.title, "collapsed": False, "panels": []}
        found.append({"id": len(found) + 1, "gridPos": _place(WIDTH, 1, 0, y), **heading})
        x, y, height = 0, y + 1, 0
        for panel in row.panels:
            size = panel["gridPos"]
            if x + size["w"] > WIDTH:
                x, y, height = 0, y + height, 0
            found.append(panel | {"id": len(found) + 1, "gridPos": _place(size["w"], size["h"], x, y)})
            x, height = x + size["w"], max(height, size["h"])
    return found


def _place(width: int, height: int, x: int, y: int) -> dict[str, int]:
    return {"w": width, "h": height, "x": x, "y": y}
