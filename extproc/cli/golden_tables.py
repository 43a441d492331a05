"""GoldenMetrics metrics of running processors, by target (``extproc stat``) and by caller (``extproc edges``).

Tables for people, JSON for machines, both of the last seconds that processors remember.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from extproc.admin.replica_traffic import ReplicaTraffic, collect_report
from extproc.cli.looks import Look, print_looks
from extproc.cli.terminal_text import NOTHING, milliseconds, percent, printable, rate
from extproc.policy.snapshot import NONE, OTHER
from extproc.telemetry.golden_metrics import Counts, GoldenMetrics, compute_golden_metrics
from extproc.telemetry.live_document import policy_label_sets, pool_places
from extproc.telemetry.recent_traffic_by_caller import group_rows, limit_callers

Rows = list[tuple[dict[str, str], GoldenMetrics]]
"""Labels, and the golden metrics of the requests that have them."""


def print_targets(sources: Sequence[str], window: float, *, as_json: bool, watch: bool) -> int:
    """Prints a row for each target: the last ``window`` seconds. Raises ``SetupError`` where no processor answers."""
    return _print(lambda: collect_report(sources, window), by_target, _TARGET_COLUMNS, as_json=as_json, watch=watch)


def print_callers(sources: Sequence[str], window: float, callers: int, *, as_json: bool, watch: bool) -> int:
    """Prints a row for each caller of each target, the ``callers`` with the most requests by name.

    Raises ``SetupError`` where no processor answers.
    """
    return _print(
        lambda: collect_report(sources, window),
        lambda fleet: by_caller(fleet, callers),
        _CALLER_COLUMNS,
        as_json=as_json,
        watch=watch,
    )


def by_target(fleet: ReplicaTraffic) -> Rows:
    """One row for each model, version and pool: all of the policy, also without requests, and any other with some."""
    found = {place: Counts() for place in policy_label_sets(fleet.config)} | group_rows(
        fleet.window.rows, lambda key: key[1:]
    )
    order = sorted(found.items(), key=lambda row: (row[0][0] == OTHER, row[0]))
    names = ("model", "version", "gpu_pool")
    return [
        (dict(zip(names, key, strict=True)), compute_golden_metrics(counts, fleet.window.seconds))
        for key, counts in order
    ]


def by_caller(fleet: ReplicaTraffic, callers: int) -> Rows:
    """One row for each caller of a model, version and pool, with the pool's place where policies name places; callers
    beyond the first ``callers`` are ``other``.
    """
    names = ("caller", "model", "version", "gpu_pool")
    found = limit_callers(fleet.window.rows, callers).items()
    places = pool_places(fleet.config)
    nowhere = {"cluster": NONE, "locality": NONE} if places else {}
    return [
        (
            dict(zip(names, key, strict=True)) | places.get(key[-1], nowhere),
            compute_golden_metrics(counts, fleet.window.seconds),
        )
        for key, counts in found
    ]


def _pair(first: float | None, second: float | None) -> str:
    return NOTHING if first is None else f"{milliseconds(first)}/{milliseconds(second)}"


_FIGURES: tuple[tuple[str, Callable[[GoldenMetrics], str]], ...] = (
    ("REFUSED", lambda g: _share(g.refused)),
    ("RPS", lambda g: rate(g.rps)),
    ("P50", lambda g: milliseconds(g.p50_ms)),
    ("P95", lambda g: milliseconds(g.p95_ms)),
    ("P99", lambda g: milliseconds(g.p99_ms)),
    ("TTFT p50/p95", lambda g: _pair(g.ttft_p50_ms, g.ttft_p95_ms)),
    ("TOK/S", lambda g: rate(g.tokens_per_second)),
)
MOSTLY = 0.95
"""Share of the answers from which on nothing is said of those that were not read."""
_TARGET_COLUMNS = tuple(name for name, _ in _FIGURES)
_CALLER_COLUMNS = ("RPS", "P95")


def table(rows: Rows, columns: Sequence[str]) -> Table:
    """For people: labels, success, and the figures named in ``columns``; ``REFUSED`` only where something was."""
    if not any(metrics.refused for _, metrics in rows):
        columns = [name for name in columns if name != "REFUSED"]
    found = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in rows[0][0] if rows else ("model",):
        found.add_column({"gpu_pool": "POOL"}.get(name, name.upper()), overflow="fold")
    for name in ("SUCCESS", *columns):
        found.add_column(name, justify="right", no_wrap=True)
    for labels, metrics in rows:
        figures = [text(metrics) for name, text in _FIGURES if name in columns]
        names = (NOTHING if value == NONE else printable(value) for value in labels.values())
        found.add_row(*map(Text, names), _success(metrics.success), *figures)
    return found


def _share(share: float | None) -> str:
    """Of what is nearly always none."""
    return percent(share) if share else NOTHING


def _success(share: float | None) -> Text:
    style = "dim" if share is None else "green" if share >= 0.999 else "yellow" if share >= 0.99 else "bold red"
    return Text(percent(share), style)


def document(fleet: ReplicaTraffic, rows: Rows) -> Mapping[str, Any]:
    """For machines: what ``--json`` prints."""
    return {
        "seconds": fleet.window.seconds,
        "replicas": list(fleet.answered),
        "problems": list(fleet.problems),
        "rows": [labels | msgspec.structs.asdict(metrics) for labels, metrics in rows],
    }


def _for_people(fleet: ReplicaTraffic, rows: Rows, columns: Sequence[str]) -> RenderableType:
    count = len(fleet.answered)
    of = f"the last {fleet.window.seconds:.0f} s of {count} processor{'s' * (count != 1)}"
    if not rows:
        return Text(f"No requests in {of}.", "dim")
    return Group(
        table(rows, columns), Text(f"{of}; times in ms{_estimated(rows) if columns is _TARGET_COLUMNS else ''}", "dim")
    )


def _estimated(rows: Rows) -> str:
    """How much of the answers was read, where that is less than nearly all, and known."""
    requests = sum(metrics.requests for _, metrics in rows)
    read = sum(metrics.requests * (metrics.observed or 0.0) for _, metrics in rows)
    return f"; TTFT and tokens by {percent(read / requests)} of the answers" if 0 < read < MOSTLY * requests else ""


def _print(
    look_again: Callable[[], ReplicaTraffic],
    rows_of: Callable[[ReplicaTraffic], Rows],
    columns: Sequence[str],
    *,
    as_json: bool,
    watch: bool,
) -> int:
    def look() -> Look:
        fleet = look_again()
        rows = rows_of(fleet)
        return Look(fleet.problems, document(fleet, rows), _for_people(fleet, rows, columns))

    return print_looks(look, as_json=as_json, watch=watch)
