"""Panels of a Grafana dashboard (JSON model)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from extproc.render.document import Doc

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

Query: TypeAlias = tuple[str, str]
"""PromQL, and the legend: ``{{label}}`` stands for a label's value."""


def time_series(
    title: str,
    text: str,
    unit: str,
    *queries: Query,
    width: int = 12,
    min_value: float = 0,
    max_value: float | None = None,
    limit: float = 0,
) -> Doc:
    """A panel with lines over time. ``min_value``, ``max_value``: ends of the axis; ``limit``: drawn as a line; above
    is bad.
    """
    steps: list[Doc] = [{"color": "green", "value": None}]
    if limit:
        steps.append({"color": "red", "value": limit})
    custom = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 8,
        "showPoints": "never",
        "thresholdsStyle": {"mode": "line" if limit else "off"},
    }
    defaults = {
        "unit": unit,
        "min": min_value,
        **({"max": max_value} if max_value is not None else {}),
        "color": {"mode": "palette-classic"},
        "custom": custom,
        "thresholds": {"mode": "absolute", "steps": steps},
    }
    options = {
        "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return _panel("timeseries", title, text, width, 8, defaults, options, list(_targets(queries)))


def stat(title: str, text: str, unit: str, query: str, *steps: tuple[str, float | None], width: int = 4) -> Doc:
    """A panel with one number, coloured by ``steps``: (colour, lower bound); the first bound is None."""
    thresholds = {"mode": "absolute", "steps": [{"color": color, "value": value} for color, value in steps]}
    defaults = {"unit": unit, "color": {"mode": "thresholds"}, "thresholds": thresholds, "noValue": "no traffic"}
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "area",
        "textMode": "value",
        "justifyMode": "auto",
        "orientation": "auto",
    }
    return _panel("stat", title, text, width, 4, defaults, options, list(_targets([(query, "")])))


def heatmap(title: str, text: str, buckets: str, *, width: int = 12) -> Doc:
    """A heatmap of a classic histogram in seconds; ``buckets``: a query for rates by ``le``."""
    options = {
        "calculate": False,
        "color": {
            "mode": "scheme",
            "scheme": "Blues",
            "steps": 32,
            "exponent": 0.5,
            "fill": "dark-blue",
            "reverse": True,
        },
        "cellGap": 1,
        "yAxis": {"unit": "s", "axisPlacement": "left"},
        "rowsFrame": {"layout": "le"},
        "tooltip": {"mode": "single", "yHistogram": True},
        "legend": {"show": True},
    }
    targets = [target | {"format": "heatmap"} for target in _targets([(buckets, "{{le}}")])]
    return _panel("heatmap", title, text, width, 8, {"unit": "s"}, options, targets)


def _panel(kind: str, title: str, text: str, w: int, h: int, defaults: Doc, options: Doc, targets: list[Doc]) -> Doc:
    return {
        "type": kind,
        "title": title,
        "description": text,
        "gridPos": {"w": w, "h": h},
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": targets,
    }


def _targets(queries: Sequence[Query]) -> Iterator[Doc]:
    for i, (expr, legend) in enumerate(queries):
        target: dict[str, Any] = {"refId": chr(ord("A") + i), "datasource": DATASOURCE, "expr": expr, "range": True}
        yield target | {"legendFormat": legend, "editorMode": "code"}
