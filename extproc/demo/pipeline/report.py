"""What the pipeline's demo shows in the end: golden metrics of each service, the edges, one trace, and its checks.

``Report`` is also what ``--json`` prints.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from extproc.demo.checks import Check
from extproc.demo.pipeline.evidence import Evidence
from extproc.demo.pipeline.expected_trace import on_the_way, times_alone
from extproc.demo.pipeline.stages import CLIENT, HOSTED, LLM, STAGES
from extproc.demo.report import WIDTH, checks_table, percentile, verdict
from extproc.telemetry.spans import Span
from extproc.telemetry.trace_view import Bar, Edge, ShownTrace, edges, show_trace

_ENDS = ("█", "▏")
_ASCII_ENDS = ("#", "|")


class Row(msgspec.Struct, frozen=True):
    """Golden metrics of one service, by the spans of what it answered."""

    service: str
    requests: int
    success: float | None
    """Share of requests that it did not fail."""
    rps: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    alone_ms: float | None
    """Of an average request, the time that it spent here and nowhere further on."""


class Report(msgspec.Struct, frozen=True):
    """The whole result."""

    ok: bool
    seed: int
    requests: int
    seconds: float
    """That the traffic took."""
    rows: Sequence[Row]
    edges: Sequence[Edge]
    trace: ShownTrace | None
    """A request of the chat model, of middling length."""
    checks: Sequence[Check]


def summarize(evidence: Evidence, checks: Sequence[Check], seed: int, seconds: float) -> Report:
    """The result of one run whose traffic took ``seconds``."""
    alone = _alone(evidence)
    rows = [_row(name, evidence.served(name), seconds, alone.get(name, 0)) for name in STAGES]
    chats = sorted((a for a in evidence.answers if a.ask.service == LLM), key=lambda answer: answer.seconds)
    shown = chats[len(chats) // 2].ask.trace if chats else ""
    trace = show_trace(shown, evidence.traces[shown]) if shown in evidence.traces else None
    ok = all(check.ok for check in checks)
    return Report(ok, seed, len(evidence.answers), seconds, rows, edges(evidence.hops), trace, checks)


def _alone(evidence: Evidence) -> dict[str, int]:
    """Nanoseconds by service, over all requests."""
    hosted = {span.id for span in evidence.served(HOSTED)}
    found: dict[str, int] = {}
    for trace in evidence.traces.values():
        spans = on_the_way(trace)
        alone = times_alone(spans)
        for span in spans:
            service = HOSTED if span.id in hosted else span.service
            found[service] = found.get(service, 0) + alone[span.id]
    return found


def _row(service: str, served: Sequence[Span], seconds: float, alone: int) -> Row:
    times = [(span.end - span.start) / 1e9 for span in served]
    count = len(served)
    return Row(
        service,
        count,
        sum(not span.failed for span in served) / count if count else None,
        count / seconds,
        percentile(times, 50),
        percentile(times, 95),
        percentile(times, 99),
        round(alone / count / 1e6, 3) if count else None,
    )


def render(report: Report, width: int = WIDTH, ascii_only: bool = False) -> RenderableType:
    """The report for people; 80 columns will do, 100 are better."""
    traffic = f"{report.requests} requests in {report.seconds:.1f} s, seed {report.seed}"
    gap = Text("")
    parts: list[RenderableType] = [gap, _golden(report.rows), gap, _edges(report.edges, ascii_only), gap]
    if report.trace is not None:
        parts += [_waterfall(report.trace, width, ascii_only), gap]
    return Group(*parts, checks_table(report.checks, ascii_only), gap, verdict(report.checks, traffic))


def _golden(rows: Sequence[Row]) -> Table:
    table = _table("SERVICE", ("SUCCESS", "RPS", "LATENCY_P50", "LATENCY_P95", "LATENCY_P99", "ALONE"))
    for row in rows:
        times = (row.p50_ms, row.p95_ms, row.p99_ms, row.alone_ms)
        success = Text("-", "dim")
        if row.success is not None:
            success = Text(f"{row.success:.2%}", "green" if row.success == 1 else "bold red")
        table.add_row(row.service, success, f"{row.rps:.1f}/s", *map(_milliseconds, times))
    return table


def _edges(found: Sequence[Edge], ascii_only: bool) -> Table:
    arrow = "->" if ascii_only else "→"
    table = _table("EDGE", ("CALLS", "SUCCESS", "LATENCY_P50", "LATENCY_P95", "HOP ADDS"))
    for edge in found:
        success = 1 - edge.failed / edge.calls
        table.add_row(
            Text(f"{edge.caller} {arrow} {edge.callee}"),
            str(edge.calls),
            Text(f"{success:.2%}", "green" if success == 1 else "bold red"),
            *map(_milliseconds, (edge.p50_ms, edge.p95_ms, edge.added_p50_ms)),
        )
    return table


def _table(first: str, others: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _milliseconds(ms: float | None) -> str:
    return "-" if ms is None else f"{ms:.1f}ms"


def _waterfall(trace: ShownTrace, width: int, ascii_only: bool) -> Table:
    table = Table.grid(padding=(0, 1))
    table.title = Text(f"One of the chats, trace {trace.id}", "dim")
    table.title_justify = "left"
    labels = [_label(bar, ascii_only) for bar in trace.bars]
    room = max(10, width - max(map(len, labels)) - 12)
    for bar, label in zip(trace.bars, labels, strict=True):
        table.add_row(Text(label, "bold" if bar.service == CLIENT else ""), _bar(bar, trace.ms, room, ascii_only))
        table.columns[0].no_wrap = True
    return table


def _label(bar: Bar, ascii_only: bool) -> str:
    text = " ".join(filter(None, (bar.service, bar.title)))
    return "  " * bar.depth + (text.replace("→", "->") if ascii_only else text)


def _bar(bar: Bar, total: float, room: int, ascii_only: bool) -> Text:
    block, sliver = _ASCII_ENDS if ascii_only else _ENDS
    start = min(room - 1, int(bar.start_ms / total * room)) if total else 0
    length = min(room - start, round(bar.ms / total * room)) if total else 0
    drawn = " " * start + (block * length or sliver)
    return Text.assemble((f"{drawn:{room}}", "red" if bar.failed else "cyan"), f"{bar.ms:8.1f} ms")
