"""What the demo shows in the end: golden metrics per model and version, and its checks.

``Report`` is also what ``--json`` prints.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from extproc.demo.checks import Check
from extproc.demo.evidence import Evidence
from extproc.demo.traffic import UNMATCHED, USER, Answer

WIDTH = 100
"""Columns where the output is no terminal."""


class Row(msgspec.Struct, frozen=True):
    """Golden metrics of one version of a model on one GPU pool, as the client saw them."""

    model: str
    version: str
    gpu_pool: str
    requests: int
    users: int
    """Users that were assigned to it; testers and forged requests don't count."""
    share: float
    """Of the model's users, between 0 and 1."""
    weight: float
    """The share that the policy wants."""
    success: float
    """Share of requests that were answered well."""
    rps: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    ttft_p50_ms: float | None
    """Time to first token, where something was streamed."""
    ttft_p95_ms: float | None


class Report(msgspec.Struct, frozen=True):
    """The whole result."""

    ok: bool
    seed: int
    requests: int
    seconds: float
    """That the traffic took."""
    rows: Sequence[Row]
    checks: Sequence[Check]


def summarize(evidence: Evidence, checks: Sequence[Check], seed: int, seconds: float) -> Report:
    """The result of one run whose traffic took ``seconds``."""
    groups: dict[tuple[str, str, str], list[Answer]] = {(a.model, a.version, a.pool): [] for a in evidence.targets}
    for answer in evidence.answers:
        if answer.request.role != UNMATCHED:
            target = evidence.target_of(answer)
            # Answers that name no target of the policy have a row of their own.
            key = (target.model, target.version, target.pool) if target else (answer.request.model, "?", "?")
            groups.setdefault(key, []).append(answer)
    weights = {(a.model, a.version, a.pool): a.weight for a in evidence.targets}
    users = {
        model: {a.request.user for a in evidence.answers_to(USER) if a.request.model == model} for model, _, _ in groups
    }
    rows = [_row(key, group, weights.get(key, 0.0), len(users[key[0]]), seconds) for key, group in groups.items()]
    return Report(all(c.ok for c in checks), seed, len(evidence.answers), seconds, rows, checks)


def _row(key: tuple[str, str, str], answers: Sequence[Answer], weight: float, of: int, seconds: float) -> Row:
    good = [a for a in answers if a.status == 200 and not a.error]
    users = len({a.request.user for a in answers if a.request.role == USER})
    return Row(
        *key,
        requests=len(answers),
        users=users,
        share=users / of if of else 0.0,
        weight=weight,
        success=len(good) / len(answers) if answers else 0.0,
        rps=len(answers) / seconds,
        p50_ms=percentile([a.seconds for a in good], 50),
        p95_ms=percentile([a.seconds for a in good], 95),
        p99_ms=percentile([a.seconds for a in good], 99),
        ttft_p50_ms=percentile([a.first_token for a in good if a.first_token is not None], 50),
        ttft_p95_ms=percentile([a.first_token for a in good if a.first_token is not None], 95),
    )


def percentile(seconds: Sequence[float], percent: float) -> float | None:
    """In milliseconds; None of nothing."""
    return round(float(np.percentile(seconds, percent)) * 1000, 3) if seconds else None


def render(report: Report, width: int = WIDTH, ascii_only: bool = False) -> RenderableType:
    """The report for people; 80 columns will do, 100 are better."""
    traffic = f"{report.requests} requests in {report.seconds:.1f} s, seed {report.seed}"
    caption = Text("times in ms, as the client saw them; share of the users / weight of the version\n", "dim")
    gap = Text("")
    return Group(
        gap,
        _golden(report.rows, width),
        caption,
        checks_table(report.checks, ascii_only),
        gap,
        verdict(report.checks, traffic),
    )


def _golden(rows: Sequence[Row], width: int) -> Table:
    wide = width >= WIDTH
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, int(wide), 0, 0), pad_edge=False)
    for name in ("model", "ver.", "GPU pool"):
        table.add_column(name, no_wrap=True, vertical="bottom")
    names = ("reqs", "users", "share/\nweight", "success", "RPS", "p50", "p95", "p99", "TTFT\np50", "TTFT\np95")
    for name in names:
        if wide or name != "users":
            table.add_column(name, justify="right", no_wrap=True, vertical="bottom")
    for row in rows:
        times = (row.p50_ms, row.p95_ms, row.p99_ms, row.ttft_p50_ms, row.ttft_p95_ms)
        table.add_row(
            row.model,
            row.version,
            row.gpu_pool,
            str(row.requests),
            *([str(row.users)] if wide else []),
            f"{100 * row.share:.1f}/{row.weight:.0%}",
            Text(f"{row.success:.1%}", "green" if row.success == 1 else "bold red"),
            f"{row.rps:.1f}",
            *("-" if ms is None else f"{ms:.0f}" for ms in times),
        )
    return table


def verdict(checks: Sequence[Check], traffic: str) -> Text:
    """One line on all of them. ``traffic``: what they judge."""
    if failed := sum(not c.ok for c in checks):
        return Text(f"{failed} of {len(checks)} checks failed ({traffic}).", "bold red")
    return Text(f"All {len(checks)} checks hold ({traffic}).", "bold green")


def checks_table(checks: Sequence[Check], ascii_only: bool) -> Table:
    """Every check, whether it holds, and what it found."""
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    good, bad = ("ok", "FAILED") if ascii_only else ("✓", "✗")
    for check in checks:
        mark = Text(good, "green") if check.ok else Text(bad, "bold red")
        table.add_row(mark, check.name, Text(check.detail, "" if check.ok else "red"))
    return table


def show(report: Report, console: Console) -> None:
    """Prints the report for people."""
    print_table(lambda width, ascii_only: render(report, width, ascii_only), console)


def print_table(made: Callable[[int, bool], RenderableType], console: Console) -> None:
    """Prints what ``made`` makes for a width, and for a terminal that has only ASCII or not."""
    if console.is_terminal:
        console.print(made(console.width, console.options.ascii_only))
        return
    console.width = WIDTH
    with console.capture() as captured:
        console.print(made(WIDTH, console.options.ascii_only))
    console.file.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())  # without padding


def print_json(report: msgspec.Struct) -> None:
    """Prints it for machines."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n")
    sys.stdout.flush()
