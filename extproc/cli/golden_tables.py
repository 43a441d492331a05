"""``extproc stat`` and ``extproc edges``: golden metrics of running processors, by model and by caller.

Tables for people, JSON for machines, both of the last seconds that processors remember.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import msgspec
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from extproc.admin.fleet import FleetReport, collect_report
from extproc.policy.snapshot import NONE, OTHER
from extproc.telemetry.golden_metrics import Counts, GoldenMetrics, compute_golden_metrics
from extproc.telemetry.live_document import policy_label_sets
from extproc.telemetry.recent_traffic import group_rows, limit_callers

NOTHING = "\N{EN DASH}"
_EVERY = 2.0
"""Seconds between two looks."""
_WIDTH = 120
"""Columns where the output is no terminal."""

Rows = list[tuple[dict[str, str], GoldenMetrics]]
"""Labels, and the metrics of what has them."""


def stat(sources: Sequence[str], window: float, *, as_json: bool, watch: bool) -> int:
    """The exit status. Raises ``SetupError`` where no processor answers."""
    return _show(lambda: collect_report(sources, window), by_model, _STAT, as_json=as_json, watch=watch)


def show_edges(sources: Sequence[str], window: float, callers: int, *, as_json: bool, watch: bool) -> int:
    """The exit status. Raises ``SetupError`` where no processor answers."""
    return _show(
        lambda: collect_report(sources, window),
        lambda fleet: by_caller(fleet, callers),
        _EDGES,
        as_json=as_json,
        watch=watch,
    )


def by_model(fleet: FleetReport) -> Rows:
    """One row for each model, version and pool: those of the policy, also without traffic, and what else was asked."""
    with_traffic = group_rows(fleet.window.rows, lambda key: key[1:])
    found = {labels: Counts() for labels in policy_label_sets(fleet.config)} | with_traffic
    order = sorted(found.items(), key=lambda row: (row[0][0] == OTHER, row[0]))
    names = ("model", "version", "gpu_pool")
    return [
        (dict(zip(names, key, strict=True)), compute_golden_metrics(counts, fleet.window.seconds))
        for key, counts in order
    ]


def by_caller(fleet: FleetReport, callers: int) -> Rows:
    """One row for each caller of a model, version and pool; callers that ask less are ``other``."""
    names = ("caller", "model", "version", "gpu_pool")
    found = limit_callers(fleet.window.rows, callers).items()
    return [
        (dict(zip(names, key, strict=True)), compute_golden_metrics(counts, fleet.window.seconds))
        for key, counts in found
    ]


def printable(text: str) -> str:
    """Without what a terminal would take for a command; a caller's name is not ours."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def ms(value: float | None) -> str:
    """Milliseconds."""
    if value is None:
        return NOTHING
    return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def rate(value: float | None) -> str:
    """Per second; nothing is not zero."""
    if not value:
        return NOTHING
    return f"{value:.2f}" if value < 0.095 else f"{value:.1f}" if value < 999.5 else f"{value:.0f}"


def percent(share: float | None) -> str:
    """Never rounded up to all well."""
    if share is None:
        return NOTHING
    return "100 %" if share == 1 else f"{min(share * 100, 99.99):.2f} %"


def _two(first: float | None, second: float | None) -> str:
    return NOTHING if first is None else f"{ms(first)}/{ms(second)}"


_FIGURES: tuple[tuple[str, Callable[[GoldenMetrics], str]], ...] = (
    ("RPS", lambda g: rate(g.rps)),
    ("P50", lambda g: ms(g.p50_ms)),
    ("P95", lambda g: ms(g.p95_ms)),
    ("P99", lambda g: ms(g.p99_ms)),
    ("TTFT p50/p95", lambda g: _two(g.ttft_p50_ms, g.ttft_p95_ms)),
    ("TOK/S", lambda g: rate(g.tokens_per_second)),
)
_STAT = tuple(name for name, _ in _FIGURES)
_EDGES = ("RPS", "P95")


def table(rows: Rows, shown: Sequence[str]) -> Table:
    """For people: labels, success, and the figures of these names."""
    found = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in rows[0][0] if rows else ("model",):
        found.add_column({"gpu_pool": "POOL"}.get(name, name.upper()), overflow="fold")
    for name in ("SUCCESS", *shown):
        found.add_column(name, justify="right", no_wrap=True)
    for labels, metrics in rows:
        figures = [text(metrics) for name, text in _FIGURES if name in shown]
        names = (NOTHING if value == NONE else printable(value) for value in labels.values())
        found.add_row(*map(Text, names), _success(metrics.success), *figures)
    return found


def _success(share: float | None) -> Text:
    style = "dim" if share is None else "green" if share >= 0.999 else "yellow" if share >= 0.99 else "bold red"
    return Text(percent(share), style)


def document(fleet: FleetReport, rows: Rows) -> Mapping[str, Any]:
    """For machines."""
    return {
        "seconds": fleet.window.seconds,
        "replicas": list(fleet.answered),
        "problems": list(fleet.problems),
        "rows": [labels | msgspec.structs.asdict(metrics) for labels, metrics in rows],
    }


def _picture(fleet: FleetReport, rows: Rows, shown: Sequence[str]) -> RenderableType:
    count = len(fleet.answered)
    of = f"the last {fleet.window.seconds:.0f} s of {count} processor{'s' * (count != 1)}; times in ms"
    if not rows:
        return Text(f"No requests in {of.partition(';')[0]}.", "dim")
    return Group(table(rows, shown), Text(of, "dim"))


def _show(
    asked: Callable[[], FleetReport],
    rows: Callable[[FleetReport], Rows],
    shown: Sequence[str],
    *,
    as_json: bool,
    watch: bool,
) -> int:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH
    told: tuple[str, ...] = ()
    with Live(console=console, auto_refresh=False) if watch and console.is_terminal else nullcontext() as live:
        while True:
            fleet = asked()
            for problem in fleet.problems:
                if problem not in told:
                    print(f"extproc: {problem}", file=sys.stderr)
            told = fleet.problems
            found = rows(fleet)
            if as_json:
                sys.stdout.write(msgspec.json.encode(document(fleet, found)).decode() + "\n")
                sys.stdout.flush()
            elif isinstance(live, Live):
                live.update(_picture(fleet, found, shown), refresh=True)
            else:
                console.print(_picture(fleet, found, shown))
            if not watch:
                return 0
            time.sleep(_EVERY)
