"""`python -m benchmarks.mesh`: measures, prints tables on stderr, and writes JSON, Markdown and charts on request."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent

from rich.console import Console

from benchmarks.mesh import external, load, report, session
from benchmarks.mesh.load import Workload
from benchmarks.mesh.scenarios import BASELINE, Scenario, scenarios

WORKLOADS = (
    Workload("path only, c=1", 0, 1),
    Workload("path only, c=16", 0, 16),
    Workload("path only, c=64", 0, 64),
    Workload("0.5 KB chat, c=1", 512, 1),
    Workload("0.5 KB chat, c=16", 512, 16),
    Workload("0.5 KB chat, c=64", 512, 64),
    Workload("16 KB chat, c=16", 16 << 10, 16),
    Workload("220 KB chat, c=16", 220 << 10, 16),
    Workload("5 MB chat, c=1", 5 << 20, 1),
    Workload("streamed answer of 20 events, c=16", 512, 16, answer="streamed"),
    Workload("0.5 KB chat, open loop at 300 a second", 512, rate=300),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Never fails for being slow: a shared machine may be."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mesh",
        description="What the processor costs behind a real Envoy, beside what else could do its work.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=dedent("""\
            example:
              python -m benchmarks.mesh --rounds 16 --seconds 1 --workload 'c=1$' --scenario 'streamed$|reply'

            Needs wrk (Debian: apt-get install wrk) and two cores; with Go also measures a trivial Go processor.
            """),
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of every cell (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=2, help="length of a turn, whole ones (default: %(default)s)")
    parser.add_argument("--workload", action="append", metavar="REGEX", help="only workloads whose names match")
    parser.add_argument("--scenario", action="append", metavar="REGEX", help="only scenarios whose names match")
    external.add_flag(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="write results.json, results.md and charts there")
    options = parser.parse_args(arguments)
    console = Console(stderr=True, width=None if sys.stderr.isatty() else 120)
    if not load.available():
        console.print("wrk is missing, nothing was measured; on Debian: apt-get install wrk")
        return 1
    workloads = [w for w in WORKLOADS if not options.workload or any(re.search(t, w.name) for t in options.workload)]

    def chosen(go: Path | None) -> list[Scenario]:
        return [
            s
            for s in [*scenarios(go), *options.peer]
            if s.name == BASELINE or not options.scenario or any(re.search(t, s.name) for t in options.scenario)
        ]

    turns, memory = session.run(chosen, workloads, options.rounds, options.seconds, console)
    results = report.Results.of(turns, memory, BASELINE, options.rounds, options.seconds)
    report.show(results, console)
    if options.out is not None:
        report.write(results, options.out)
        console.print(f"Written to {options.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
