"""``extproc stat --endpoints``: the endpoints that processors pick, with their load and their share of the picks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from extproc.admin.client import Replica, Unreachable
from extproc.admin.replica_traffic import find_replicas, nobody_answers
from extproc.cli.looks import Look, print_looks
from extproc.cli.terminal_text import NOTHING, percent, printable
from extproc.picking.endpoint_state import EndpointState
from extproc.policy.snapshot import NONE

_MAX_CONCURRENT = 32
_NAMES = ("policy", "version", "gpu_pool", "endpoint")
_SUMS = ("in_flight", "picks")
"""What several replicas have sent is added up; what a server tells is as the latest of them knows it."""
_STATE = EndpointState.__struct_fields__
Row = dict[str, Any]


def print_endpoints(sources: Sequence[str], *, as_json: bool, watch: bool) -> int:
    """Prints a row for each endpoint of each target. Raises ``SetupError`` where no processor answers."""
    return print_looks(lambda: _look(sources), as_json=as_json, watch=watch)


def states(sources: Sequence[str]) -> dict[str, EndpointState]:
    """The endpoints that processors pick, as they know them. Raises ``SetupError`` where none answers."""
    rows, _, _ = _rows(sources)
    return {row["endpoint"]: msgspec.convert([row[name] for name in _STATE], EndpointState) for row in rows}


def _look(sources: Sequence[str]) -> Look:
    rows, names, problems = _rows(sources)
    shown = table(rows) if rows else Text("No policy picks endpoints (spec.picking).", "dim")
    return Look(tuple(problems), {"replicas": names, "problems": problems, "rows": rows}, shown)


def _rows(sources: Sequence[str]) -> tuple[list[Row], list[str], list[str]]:
    """The rows, names of the replicas that told them, and why others did not."""
    found, problems = find_replicas(sources)
    with ThreadPoolExecutor(min(_MAX_CONCURRENT, max(1, len(found)))) as pool:
        outcomes = list(pool.map(_fetch, found))
    problems += [outcome for outcome in outcomes if isinstance(outcome, str)]
    told = {each.name: rows for each, rows in zip(found, outcomes, strict=True) if not isinstance(rows, str)}
    if not told:
        raise nobody_answers(problems)
    return merge(list(told.values())), list(told), problems


def _fetch(replica: Replica) -> list[Row] | str:
    try:
        rows: list[Row] = json.loads(replica.get("/live?window=1"))["endpoints"]
    except Unreachable as problem:
        return str(problem)
    except (ValueError, KeyError, TypeError):
        return f"{replica.name} does not tell of endpoints as this command reads it"
    return rows


def merge(replicas: Sequence[Sequence[Row]]) -> list[Row]:
    """One row for each endpoint of each target. ``queued``: of the target, by all replicas, also those that do not know
    the endpoint.
    """
    found: dict[tuple[str, ...], Row] = {}
    picks: dict[tuple[str, ...], float] = {}
    queued: Counter[tuple[str, ...]] = Counter()
    for rows in replicas:
        queued.update({tuple(row[name] for name in _NAMES[:3]): row.get("queued", 0) for row in rows})
        for row in rows:
            key = tuple(row[name] for name in _NAMES)
            known = found.get(key)
            latest = row if known is None or _age(row) < _age(known) else known
            found[key] = latest | {name: row.get(name, 0.0) + (known[name] if known else 0.0) for name in _SUMS}
            picks[key[:3]] = picks.get(key[:3], 0.0) + row["picks"]
    return [
        row | {"queued": queued[key[:3]], "share": row["picks"] / picks[key[:3]] if picks[key[:3]] else None}
        for key, row in sorted(found.items())
    ]


def _age(row: Mapping[str, Any]) -> float:
    return float("inf") if row["age"] is None else float(row["age"])


_COLUMNS: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("POOL", lambda row: NOTHING if row["gpu_pool"] == NONE else printable(row["gpu_pool"])),
    ("ENDPOINT", lambda row: printable(row["endpoint"])),
    ("WAITING", lambda row: _number(row["waiting"])),
    ("RUNNING", lambda row: _number(row["running"])),
    ("CACHE", lambda row: percent(row["cache"])),
    ("GPU", lambda row: percent(row["gpu"])),
    ("IN FLIGHT", lambda row: _number(row["in_flight"])),
    ("PICKS/MIN", lambda row: _number(row["picks"])),
    ("SHARE", lambda row: percent(row["share"])),
    ("QUEUED", lambda row: _number(row["queued"] or None) if row["first"] else ""),
    ("AGE", lambda row: NOTHING if row["age"] is None else f"{row['age']:.1f} s"),
    ("ADAPTERS", lambda row: printable(", ".join(row["adapters"])) or NOTHING),
)
_TEXTS = ("POOL", "ENDPOINT", "ADAPTERS")
_LEFT_OUT = ("POOL", "GPU", "QUEUED", "ADAPTERS")
"""Columns that are only there where they say something."""


def table(rows: Sequence[Row]) -> Table:
    """For people."""
    found = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    found.add_column("POLICY", overflow="fold")
    found.add_column("VERSION", overflow="fold")
    columns = {name: [text(row) for row in _marked(rows)] for name, text in _COLUMNS}
    columns = {n: texts for n, texts in columns.items() if n not in _LEFT_OUT or {*texts} - {NOTHING, ""}}
    for name in columns:
        found.add_column(name, justify="left" if name in _TEXTS else "right", no_wrap=name != "ADAPTERS")
    for row, cells in zip(rows, zip(*columns.values(), strict=True), strict=True):
        version = NOTHING if row["version"] == NONE else printable(row["version"])
        unknown = row["waiting"] is None and row["running"] is None
        style = "yellow" if unknown else ""
        found.add_row(*(Text(cell, style) for cell in (printable(row["policy"]), version, *cells)))
    return found


def _marked(rows: Sequence[Row]) -> Iterator[Row]:
    """The rows, each with whether it is the ``first`` one of its target, whose queue is told once."""
    before: list[str] = []
    for row in rows:
        target = [row[name] for name in _NAMES[:3]]
        yield row | {"first": target != before}
        before = target


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.0f}"
