"""`python -m benchmarks`: measures, prints a table on stderr and, with --json, all as JSON on stdout."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import blocks, closed_loop, observe, picks
from benchmarks.apis import GROUP, IMAGE, READ_CHAT, Target, extra_memory, image_body, targets, verdicts
from benchmarks.core import FULL_PARSE, HEADLINE, PARSE, TARGET_US, Case, cases
from benchmarks.machine import processor
from benchmarks.measure import Timing, measure, verdict
from extproc.headers import Headers

LIBRARIES = ("aimesh-extproc", "protobuf", "msgspec", "envoy-data-plane")


def main(arguments: Sequence[str] | None = None) -> None:
    """Never fails for being slow: a shared machine may be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What the core costs per request.")
    parser.add_argument("--json", action="store_true", help="print everything as JSON on stdout, too")
    parser.add_argument("--rounds", type=int, default=200, help="samples of each case (default: %(default)s)")
    parser.add_argument("--slice-ms", type=float, default=5, help="length of a sample (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.rounds < 2:
        parser.error("--rounds: two at least, for a spread")

    reading = [*targets(), *observe.targets()]
    core = [*cases(), *blocks.cases(), *picks.cases()]
    bodies = [Case(GROUP, target.name, target.run) for target in reading]
    added = closed_loop.cases()
    every = [*core, *added, *bodies]
    timings: dict[str, Timing] = {}
    # Bodies of megabytes empty every cache: what reads them is not measured between what does not.
    for baseline, group in ((HEADLINE, core), (closed_loop.PLAIN, added), (READ_CHAT, bodies)):
        calls = {case.name: case.run for case in group}
        timings |= measure(calls, baseline, options.rounds, options.slice_ms / 1000)
    console = Console(stderr=True)
    console.print(_table(every, timings))
    console.print(_verdict(timings))
    for line in [*picks.verdicts(timings), *closed_loop.verdicts(timings), *verdicts(reading, timings)]:
        console.print(line)
    memory = extra_memory(image_body(first=False), Headers())
    console.print(f"Target, memory beside a 5 MB body under its size: {_met(memory < IMAGE)} ({memory >> 10} KiB).")
    console.print(", ".join(f"{key} {value}" for key, value in _surroundings().items()), style="dim")
    if options.json:
        print(json.dumps(_report(every, timings, reading), indent=2))


def _table(every: Sequence[Case], timings: dict[str, Timing]) -> Table:
    table = Table("", "case", box=None, title="Core cost per request, without gRPC", title_justify="left")
    for heading in ("best µs", "median µs", "quartiles µs", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    group = ""
    for case in every:
        timing = timings[case.name]
        spread = f"{timing.lower:.1f}-{timing.upper:.1f}"
        shown = "" if case.group == group else case.group
        group = case.group
        table.add_row(shown, case.name, f"{timing.best:.1f}", f"{timing.median:.1f}", spread, f"{timing.ratio:.2f}")
    return table


def _verdict(timings: dict[str, Timing]) -> str:
    full = timings[FULL_PARSE].ratio / timings[PARSE].ratio
    return (
        f"Target, a 4 KB chat request under {TARGET_US:g} µs: {verdict(timings[HEADLINE], TARGET_US)}.\n"
        f"envoy-data-plane parses {full:.0f} times as long as protobuf: so it is for tests only."
    )


def _met(yes: bool) -> str:
    return "met" if yes else "not met"


def _surroundings() -> dict[str, str]:
    versions = {name: version(name) for name in LIBRARIES}
    machine = f"{processor()}, {os.cpu_count()} CPUs, {platform.system()} {platform.release()}"
    return {"Python": platform.python_version(), **versions, "on": machine}


def _report(every: Sequence[Case], timings: dict[str, Timing], reading: Sequence[Target]) -> dict[str, Any]:
    below = {target.name: target.below_us for target in reading}
    return {
        "unit": "microseconds",
        "surroundings": _surroundings(),
        "target": {"case": HEADLINE, "below": TARGET_US, "met": timings[HEADLINE].median < TARGET_US},
        "cases": [
            {
                "group": case.group,
                "case": case.name,
                **timings[case.name].as_dict(),
                **({"below": below[case.name]} if case.name in below else {}),
            }
            for case in every
        ],
    }


if __name__ == "__main__":
    main()
