"""What ``extproc bench`` prints: percentiles, rates and outcomes of each URL, as tables or as plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import quantiles
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from extproc.cli.load_generator import Sample

_PERCENTILES = (50, 90, 99)


def summary(samples: Sequence[Sample], seconds: float) -> dict[str, Any]:
    """Percentiles in milliseconds of the requests that were answered; rates and outcomes of all, within ``seconds``."""
    answered = [s for s in samples if s.ok]
    routes = [s.route for s in answered if s.route is not None]
    return {
        "requests": len(samples),
        "outcomes": dict(Counter(s.outcome for s in samples)),
        "per_second": round(len(samples) / seconds, 1),
        "first_byte_ms": _percentiles([s.first for s in answered]),
        "total_ms": _percentiles([s.total for s in answered]),
        "route_ms": _percentiles(routes),
    }


def _percentiles(seconds: Sequence[float]) -> dict[str, float] | None:
    if not seconds:
        return None
    cuts = quantiles(seconds, n=100, method="inclusive") if len(seconds) > 1 else [seconds[0]] * 99
    found = {f"p{p}": round(1000 * cuts[p - 1], 3) for p in _PERCENTILES}
    return {**found, "max": round(1000 * max(seconds), 3)}


def report_of(report: Mapping[str, Mapping[str, Any]]) -> Group:
    """For people, within 80 columns: ``report`` has the summary of each URL."""
    return Group(*(part for url, measured in report.items() for part in _parts(url, measured)))


def _parts(url: str, measured: Mapping[str, Any]) -> Iterator[RenderableType]:
    yield Text(f"{url}  {measured['requests']} requests, {measured['per_second']} per second", style="bold")
    failures = {k: n for k, n in measured["outcomes"].items() if not k.isdecimal() or int(k) >= 400}
    if failures:
        yield Text(f"  failed: {', '.join(f'{n} x {k}' for k, n in failures.items())}", style="red")
    table = Table("  ", box=None)
    for heading in ("p50 ms", "p90 ms", "p99 ms", "max ms"):
        table.add_column(heading, justify="right", no_wrap=True)
    for key, name in (("first_byte_ms", "first byte"), ("total_ms", "whole answer"), ("route_ms", "routing")):
        if (times := measured[key]) is not None:
            table.add_row(f"  {name}", *(f"{times[k]:.2f}" for k in ("p50", "p90", "p99", "max")))
    if table.row_count:
        yield table
