"""`python -m benchmarks.mesh.budget`: the CPU that a request costs more than without any filter.

Envoy and processor together, since a processor that is cheap by itself may cost Envoy much. Ours by what of it is on,
beside a trivial Go processor, Envoy's own filters, and any other processor that is named.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from textwrap import dedent

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.mesh import earlier, external, load, session
from benchmarks.mesh.bench import Turn
from benchmarks.mesh.load import Workload
from benchmarks.mesh.report import surroundings
from benchmarks.mesh.scenarios import BASELINE, Scenario, lua, native, native_path, peer, router_only, serve

STREAMING = 3.0
"""Seconds of a turn with streams. They begin before it, since what is observed goes by the last second's rate."""
WORKLOADS = (
    Workload("path only", 0, 16, tokens=200),
    Workload("0.5 KB", 512, 16, tokens=200),
    Workload("16 KB", 16 << 10, 16, tokens=200),
    Workload("0.5 KB, whole 2,000", 512, 16, tokens=2000),
    Workload("streamed 200", 512, rate=32, answer="streamed", tokens=200, seconds=STREAMING, lead=3),
    Workload("streamed 2,000", 512, rate=8, answer="streamed", tokens=2000, gap=0.002, seconds=STREAMING, lead=9),
)
SHORT, LONG = WORKLOADS[-2:]
"""What a token of a stream costs is their difference."""

ROUTED, COUNTED, DEFAULT, WATCHED = "ours, route only", "ours, counted", "ours", "ours, all observed"
PICKED = "ours, counted, one of 16 picked"
GO = "Go, route only"
PAIRS = (
    (ROUTED, GO),
    (COUNTED, ROUTED),
    (PICKED, COUNTED),
    (DEFAULT, COUNTED),
    (DEFAULT, WATCHED),
    (DEFAULT, GO),
    (WATCHED, GO),
)
"""Of what the ratio is told."""
ROUNDS, QUICK_ROUNDS = 10, 4

Turns = Mapping[tuple[str, str], Sequence[Turn]]
"""By (scenario, workload)."""


class Added(msgspec.Struct, frozen=True):
    """µs of CPU that a request costs more than without a filter: medians of the differences within a round."""

    total: float
    range: tuple[float, float]
    """Of the total, over the rounds."""
    processor: float
    envoy: float
    errors: int


class Budget(msgspec.Struct, frozen=True):
    """Everything that is reported."""

    surroundings: dict[str, str]
    baseline: dict[str, float]
    """µs of Envoy's CPU for a request without any filter, by workload."""
    baseline_range: dict[str, tuple[float, float]]
    added: dict[str, dict[str, Added]]
    """By scenario, then workload."""
    token: dict[str, float]
    """µs that each token of a stream adds, by scenario."""
    ratios: dict[str, dict[str, float]]
    """Of the totals, medians of the ratios within a round, by pair, then workload."""


def scenarios(go: Path | None, others: Sequence[Scenario]) -> list[Scenario]:
    """The rows of the table. Ours as users run it: buffered bodies."""
    ours = Scenario(ROUTED, serve(), body="buffered")
    change = msgspec.structs.replace
    return [
        Scenario(BASELINE, filters=router_only),
        Scenario("Envoy json_to_metadata", filters=native, only="body", streams=False),
        Scenario("Envoy header_to_metadata", filters=native_path, only="path"),
        Scenario("Envoy Lua", filters=lua, streams=False),
        *([Scenario(GO, peer(go), body="buffered")] if go else []),
        ours,
        change(ours, name=COUNTED, account=True),
        change(ours, name=PICKED, account=True, picking=True),
        change(ours, name=DEFAULT, account=True, observe=True),
        change(ours, name=WATCHED, account=True, observe=True, observability="{sampling: 1}"),
        *others,
    ]


def summarize(turns: Turns, told: dict[str, str], pairs: Sequence[tuple[str, str]] = PAIRS) -> Budget:
    """From the turns as they were measured."""
    base = {w: {t.round: t for t in found} for (s, w), found in turns.items() if s == BASELINE}
    added: dict[str, dict[str, Added]] = {}
    for (scenario, workload), mine in turns.items():
        if scenario != BASELINE:
            totals = _totals(turns, scenario, workload).values()
            envoys = [turn.envoy_cpu - base[workload][turn.round].envoy_cpu for turn in mine]
            added.setdefault(scenario, {})[workload] = Added(
                median(totals),
                (min(totals), max(totals)),
                median(turn.server_cpu for turn in mine),
                median(envoys),
                sum(turn.errors for turn in mine),
            )
    ratios: dict[str, dict[str, float]] = {}
    for one, other in pairs:
        for workload in base:
            ours, theirs = _totals(turns, one, workload), _totals(turns, other, workload)
            if found := [ours[number] / theirs[number] for number in ours if theirs.get(number, 0) > 0]:
                ratios.setdefault(f"{one} / {other}", {})[workload] = median(found)
    cpus = {workload: [turn.envoy_cpu for turn in rounds.values()] for workload, rounds in base.items()}
    return Budget(
        told,
        {workload: median(found) for workload, found in cpus.items()},
        {workload: (min(found), max(found)) for workload, found in cpus.items()},
        added,
        {
            name: (cells[LONG.name].total - cells[SHORT.name].total) / (LONG.tokens - SHORT.tokens)
            for name, cells in added.items()
            if {LONG.name, SHORT.name} <= cells.keys()
        },
        ratios,
    )


def _totals(turns: Turns, scenario: str, workload: str) -> dict[int, float]:
    """What a request costs more in Envoy and processor, by round."""
    base = {turn.round: turn.envoy_cpu for turn in turns[BASELINE, workload]}
    mine = turns.get((scenario, workload), ())
    return {turn.round: turn.server_cpu + turn.envoy_cpu - base[turn.round] for turn in mine}


def rows(budget: Budget) -> tuple[list[str], list[list[str]]]:
    """Headings, and a row for each scenario: what is added, and of that the processor's."""
    workloads = list(budget.baseline)
    absolute = [f"{budget.baseline[w]:,.0f} in all" for w in workloads]
    found = [[BASELINE, *absolute, ""]]
    for name, cells in budget.added.items():
        token = f"{budget.token[name]:.1f}" if name in budget.token else "-"
        found.append([name, *(_cell(cells.get(w)) for w in workloads), token])
    return ["", *workloads, "each token"], found


def _cell(added: Added | None) -> str:
    if added is None:
        return "-"
    failed = f", {added.errors} errors" if added.errors else ""
    return f"{added.total:,.0f} ({added.processor:,.0f})" + failed


def _ranges(budget: Budget) -> list[list[str]]:
    found = [[BASELINE, *(f"{low:,.0f}-{high:,.0f}" for low, high in budget.baseline_range.values())]]
    for name, cells in budget.added.items():
        spans = [cells[w].range if w in cells else None for w in budget.baseline]
        found.append([name, *("-" if span is None else f"{span[0]:,.0f}-{span[1]:,.0f}" for span in spans)])
    return found


def _ratios(budget: Budget) -> list[list[str]]:
    return [
        [pair, *(f"{found[w]:.2f}" if w in found else "-" for w in budget.baseline)]
        for pair, found in budget.ratios.items()
    ]


TITLES = (
    "Added CPU per request, µs: Envoy and processor (of that the processor)",
    "Lowest and highest of the rounds",
    "Ratios of what is added, medians of those within a round",
)


def tables(budget: Budget) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, headings and rows of each."""
    headings, found = rows(budget)
    return [
        (TITLES[0], headings, found),
        (TITLES[1], headings[:-1], _ranges(budget)),
        (TITLES[2], headings[:-1], _ratios(budget)),
    ]


def show(budget: Budget, console: Console) -> None:
    """Tables for people."""
    for title, headings, found in tables(budget):
        table = Table(box=None, title=title, title_justify="left", pad_edge=False)
        for n, heading in enumerate(headings):
            table.add_column(heading, justify="right" if n else "left", no_wrap=not n)
        for row in found:
            table.add_row(*row)
        console.print(table)
        console.print()
    console.print(", ".join(f"{key} {value}" for key, value in budget.surroundings.items()), style="dim")


def markdown(budget: Budget) -> str:
    """The same, for the documentation."""
    lines: list[str] = []
    for title, headings, found in tables(budget):
        lines += [f"{title}:", "", "| " + " | ".join(headings) + " |", "|---" + "|---:" * (len(headings) - 1) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in found] + [""]
    return "\n".join([*lines, *(f"- {key}: {value}" for key, value in budget.surroundings.items()), ""])


def main(arguments: Sequence[str] | None = None) -> int:
    """Tables on stderr, JSON on stdout if asked. Never fails for being slow: a shared machine may be."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mesh.budget",
        description="What CPU a request costs over no filter, in Envoy and processor, beside what else could do it.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=dedent("""\
            examples:
              python -m benchmarks.mesh.budget --quick
              python -m benchmarks.mesh.budget --earlier before=../before
              python -m benchmarks.mesh.budget --peer epp:duplex='./epp --grpc-port {port} --secure-serving=false'

            Needs wrk (Debian: apt-get install wrk) and two cores; with Go also measures a trivial Go processor.
            """),
    )
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds: 15 minutes")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="turns of every cell (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print everything as JSON on stdout, too")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write budget.json and budget.md there")
    external.add_flag(parser)
    earlier.add_flag(parser)
    options = parser.parse_args(arguments)
    console = Console(stderr=True, width=None if sys.stderr.isatty() else 160)
    if not load.available():
        console.print("wrk is missing, nothing was measured; on Debian: apt-get install wrk")
        return 1
    rounds = QUICK_ROUNDS if options.quick else options.rounds
    told = surroundings(rounds, 1) | {"load average before": f"{os.getloadavg()[0]:.1f}"}
    others = [*options.peer, *options.earlier]
    turns, _ = session.run(lambda go: scenarios(go, others), WORKLOADS, rounds, 1, console)
    pairs = [*PAIRS, *((DEFAULT, one.name) for one in others)]
    budget = summarize(turns, told, pairs)
    show(budget, console)
    encoded = msgspec.json.format(msgspec.json.encode(budget), indent=2) + b"\n"
    if options.json:
        sys.stdout.buffer.write(encoded)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "budget.json").write_bytes(encoded)
        (options.out / "budget.md").write_text(markdown(budget))
        console.print(f"Written to {options.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
