"""`python -m benchmarks.steady`: runs experiments, tells their progress on stderr, prints the outcomes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent

import msgspec
from rich.console import Console

from benchmarks import ours
from benchmarks.machine import processor
from benchmarks.mesh import load
from benchmarks.steady.experiments import EXPERIMENTS, Outcome, Size, run


def main(arguments: Sequence[str] | None = None) -> int:
    """1 where a soak found a fault; nothing else fails for what a shared machine does."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.steady",
        description="What shows only in time, behind a real Envoy. Needs wrk (Debian: apt-get install wrk), two cores.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=dedent("""\
            examples:
              python -m benchmarks.steady start idle policies
              python -m benchmarks.steady tail --tail-requests 20000
              python -m benchmarks.steady soak --soak-seconds 60 --json
            """),
    )
    parser.add_argument("experiment", nargs="*", choices=[*EXPERIMENTS, []], metavar="EXPERIMENT", help=_names())
    parser.add_argument("--json", action="store_true", help="the outcomes as JSON on stdout")
    sizes = Size()
    for field in msgspec.structs.fields(Size):
        default = getattr(sizes, field.name)
        flag = "--" + field.name.replace("_", "-")
        parser.add_argument(flag, type=type(default), default=default, metavar="N", help="(%(default)s)")
    options = parser.parse_args(arguments)
    console = Console(stderr=True)
    if not load.available():
        console.print("wrk is missing, nothing was measured; on Debian: apt-get install wrk")
        return 1
    size = Size(**{name: getattr(options, name) for name in Size.__struct_fields__})
    ours.prepare(console)
    outcomes: list[Outcome] = []
    with TemporaryDirectory(prefix="steady-") as name:
        for experiment in options.experiment or [e for e in EXPERIMENTS if e != "soak"]:
            with console.status(experiment) as status:
                outcome = run(
                    experiment,
                    size,
                    lambda text, shown=status, what=experiment: shown.update(f"{what}: {text}"),  # type: ignore[misc]
                    Path(name) / experiment,
                )
            outcomes.append(outcome)
            _show(outcome, console)
    console.print(processor(), style="dim")
    if options.json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(outcomes), indent=2) + b"\n")
    return int(any(outcome.name == "soak" and not outcome.held for outcome in outcomes))


def _names() -> str:
    return f"which: {', '.join(EXPERIMENTS)} (all but soak)"


def _show(outcome: Outcome, console: Console) -> None:
    console.print(f"{outcome.name}: {outcome.promise}: {'held' if outcome.held else 'NOT held'}", style="bold")
    for key, value in outcome.figures.items():
        if isinstance(value, dict):
            value = {k: v for k, v in value.items() if k != "slowest"}
        if key != "samples":
            console.print(f"  {key}: {value}", highlight=False)


if __name__ == "__main__":
    raise SystemExit(main())
